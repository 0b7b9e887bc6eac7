"""`SGD` as in the papers, with either form of momentum and L2 in the gradient; `AdamW` with the same decay scopes."""

from __future__ import annotations

import keras
from keras import ops

from keras_resnets.errors import number, one_of
from keras_resnets.explaining import explained
from keras_resnets.network import private

# Scopes of weight decay, as parts of variables' names.
DECAYS = {"kernels": ("kernel",), "weights": ("kernel", "gamma"), "all": ("",)}


@explained
def decays(variable: keras.Variable, decay: str) -> bool:
    """Whether weight decay of that scope applies to a variable."""
    one_of("decay", decay, DECAYS)
    return any(kind in variable.name for kind in DECAYS[decay])


def _check_rate(rate) -> None:
    """Raises `ArgumentError` for a number that is no learning rate; schedules are not looked at."""
    if isinstance(rate, int | float):
        number("learning_rate", rate, least=0)


class _OfSome(keras.optimizers.Optimizer):
    """An optimiser that updates the variables that are trainable now, of those that it was built for.

    Keras' own do so on every backend except JAX, where they ask for all of them; so layers could not be frozen after
    the optimiser was built.
    """

    _known: list[keras.Variable]

    def build(self, variables):
        if not self.built:
            # Past `__setattr__`, by which Keras would count them among the optimiser's own.
            object.__setattr__(self, "_known", list(variables))
        super().build(variables)

    def stateless_apply(self, optimizer_variables, grads, trainable_variables):
        trained = [variable for variable in self._known if variable.trainable]
        if len(trained) == len(self._known) or len(trained) != len(trainable_variables):
            return super().stateless_apply(optimizer_variables, grads, trainable_variables)
        values = [*zip(trained, trainable_variables, strict=True)]
        values += zip(self.variables, optimizer_variables, strict=True)
        with keras.StatelessScope(state_mapping=values) as scope:
            self.apply(grads, trained)
        return [[scope.get_current_value(v) for v in variables] for variables in (trained, self.variables)]


@keras.saving.register_keras_serializable("keras_resnets")
class SGD(_OfSome, keras.optimizers.SGD):
    """Keras' SGD with two additions: the Torch form of momentum, and L2 decay inside the gradient.

    With `form="keras"` (and Caffe), the velocity includes the learning rate: `v = m v - rate g`,
    `w += v`. With `form="torch"` it does not: `v = m v + g`, `w -= rate v`. Both are the same
    while the rate is constant and differ for some ten steps after it changes. He et al. used
    the first form; Wide ResNets, ResNet-38 and stochastic depth used the second.

    `l2` adds `l2 * weight` to the gradient, as all of these papers did; Keras' own
    `weight_decay` bypasses the momentum. On TensorFlow a step is one fused operation per weight.

    Args:
        learning_rate: a number or a schedule.
        momentum: share of the velocity that is kept.
        nesterov: whether to use Nesterov momentum.
        l2: weight decay, added to the gradient.
        decay: scope of the decay: `"kernels"`; `"weights"`, kernels and the scales of normalisation (MXNet); or
            `"all"`, offsets and biases too.
        bias_rate: factor of the learning rate of biases and of the offsets of normalisation (Wu et al. 2016's
            segmentation: 2).
        form: `"keras"` or `"torch"`.
        **kwargs: as for `keras.optimizers.SGD`.

    Raises:
        ArgumentError: `l2`, `decay`, `bias_rate` or `form` breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> optimizer = kr.optimizers.SGD(0.1, momentum=0.9, l2=1e-4)
    """

    def __init__(
        self,
        learning_rate=0.01,
        momentum=0.0,
        nesterov=False,
        *,
        l2=0.0,
        decay="all",
        bias_rate=1.0,
        form="keras",
        **kwargs,
    ):
        _check_rate(learning_rate)
        number("momentum", momentum, least=0, most=1)
        super().__init__(learning_rate, momentum, nesterov, **kwargs)
        one_of("decay", decay, tuple(DECAYS))
        number("momentum", momentum, least=0, most=1)
        one_of("form", form, ("keras", "torch"))
        number("l2", l2, least=0, below=1)
        number("bias_rate", bias_rate, above=0)
        self.l2, self.decay, self.bias_rate, self.form = l2, decay, bias_rate, form

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._decays = [decays(variable, self.decay) for variable in variables]
        self._rates = [self.bias_rate if variable.name in ("bias", "beta") else 1.0 for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        index = private.index_of(self, variable)
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        if self._rates[index] != 1:
            rate = rate * self._rates[index]
        if self.l2 and self._decays[index]:
            gradient = gradient + self.l2 * ops.convert_to_tensor(variable)
        if not self.momentum:
            self.assign_sub(variable, rate * gradient)
        elif keras.config.backend() == "tensorflow":
            self._fused_step(gradient, variable, self.momentums[index].value, rate)
        else:
            velocity, torch = self.momentums[index], self.form == "torch"
            new = self.momentum * velocity + (gradient if torch else -rate * gradient)
            step = self.momentum * new + (gradient if torch else -rate * gradient) if self.nesterov else new
            self.assign(velocity, new)
            self.assign_add(variable, -rate * step if torch else step)

    def _fused_step(self, gradient, variable, velocity, rate):
        """Updates a variable and its velocity in one operation of TensorFlow."""
        import tensorflow as tf

        apply = tf.raw_ops.ResourceApplyKerasMomentum
        if self.form == "torch":
            apply = tf.raw_ops.ResourceApplyMomentum
        apply(
            var=variable.handle,
            accum=velocity.handle,
            lr=rate,
            grad=gradient,
            momentum=tf.constant(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )

    def get_config(self):
        own = {"l2": self.l2, "decay": self.decay, "bias_rate": self.bias_rate, "form": self.form}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("keras_resnets")
class AdamW(_OfSome, keras.optimizers.AdamW):
    """Keras' AdamW, with the scope of weight decay chosen as for `SGD`.

    Keras itself excludes weights by patterns that are lost when a model is saved.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: decoupled weight decay: each step subtracts this share of a weight, times the learning rate.
        decay: as for `SGD`.
        **kwargs: as for `keras.optimizers.AdamW`.

    Raises:
        ArgumentError: `decay` breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> optimizer = kr.optimizers.AdamW(0.002, weight_decay=0.01, decay="weights")
    """

    def __init__(self, learning_rate=0.001, weight_decay=0.004, *, decay="all", **kwargs):
        _check_rate(learning_rate)
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        one_of("decay", decay, tuple(DECAYS))
        self.decay = decay

    def build(self, variables):
        if not self.built:
            self.exclude_from_weight_decay([variable for variable in variables if not decays(variable, self.decay)])
        super().build(variables)

    def get_config(self):
        return {**super().get_config(), "decay": self.decay}
