"""`ResidualNetwork`, a chain of named links."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
from keras import ops

from keras_resnets import paths as policies
from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError
from keras_resnets.network import private
from keras_resnets.network.blocks import ResidualBlock, Segment
from keras_resnets.network.data_format import check_channels_last
from keras_resnets.network.devices import laid_out
from keras_resnets.network.gating import Gated
from keras_resnets.network.inside import find, graph_to


@dataclass(frozen=True)
class Folded:
    """What `keras_resnets.fold` did with the batch-norms of a network.

    Attributes:
        behind: how many it folded into the layer before them.
        before: how many it folded into the layer behind them.
        kept: how many stay.
    """

    behind: int
    before: int
    kept: int

    def sentence(self, name: str) -> str:
        """Returns the counts in words."""
        total = self.behind + self.before + self.kept
        if not total:
            return f"{name!r} has no batch-norm to fold."
        parts = [f"{self.behind} are folded into the layers before them"]
        parts += [f"{self.before} into those behind them"] * bool(self.before)
        parts += [f"{self.kept} stay"] * bool(self.kept)
        return f"Of the {total} batch-norms of {name!r}, {', '.join(parts)}."


@keras.saving.register_keras_serializable("keras_resnets")
class ResidualNetwork(private.BuiltByShape):
    """A Keras model that is a chain: stem, residual blocks, head.

    Usually created by `build`, `adopt` or an edit such as `delete`.

    Args:
        chain: the links in order, each a Keras layer; the studies work on those that are a
            `ResidualBlock`.
        inputs: shape of the input without the batch, or a Keras tensor to start from.
        spec: the `Spec` that the chain was built from; None for adopted and edited networks.
        preprocessing: the `Preprocessing` that its weights need; None if it is not known.
        name: name of the model.
        dtype: the policy; None takes the global one.

    Example:
        >>> import keras_resnets as kr
        >>> model = kr.build("resnet20")
        >>> [block.name for block in model.blocks][:2]
        ['stage1_block1', 'stage1_block2']
    """

    def __init__(self, chain, inputs, spec=None, name=None, dtype=None, preprocessing=None, **kwargs):
        if not isinstance(inputs, keras.KerasTensor):
            inputs = keras.Input(inputs, name="input")
        source, x = inputs, inputs
        if not isinstance(private.operation_of(inputs), keras.layers.InputLayer):
            # The layers that computed the given tensor become the first link of the chain.
            entry = Segment(keras.Model(_source_of(inputs), inputs, name="body"), name="entry")
            source = keras.Input(batch_shape=entry.body.input_shape, dtype=entry.body.input_dtype, name="input")
            chain = [entry, *chain]
            x = source
        check_channels_last(chain, name or "the network")
        for link in chain:
            x = link(x)
        super().__init__(inputs=source, outputs=x, name=name, **kwargs)
        if dtype is not None:
            # A functional model takes the global policy; an adopted or loaded one scales its loss by its own.
            self.dtype_policy = keras.dtype_policies.get(dtype)
        self._spec = spec
        self.preprocessing = preprocessing
        self.class_names = None
        # How it was trained, of a network that was opened from a run directory; told by an export's card.
        self.provenance: dict[str, Any] | None = None
        # What was folded, of a network that `fold` returned, and of one that it was edited to.
        self.folded: Folded | None = None
        self._paths: policies.Policy | None = None
        self._gated = Gated()

    @property
    def spec(self) -> Any:
        """The spec the network was built from; None for an adopted or edited network."""
        return self._spec

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The preprocessing of raw pixels that its weights need: `model(model.preprocessing(images))`.

        `kr.train`, `kr.weights.load` and the functions that adopt a network of `keras.applications` set it. It is saved
        with the network, and None if it is not known.
        """
        return self._preprocessing

    @preprocessing.setter
    def preprocessing(self, value: Preprocessing | None) -> None:
        if value is not None and not isinstance(value, Preprocessing):
            raise ArgumentError(f"preprocessing must be a keras_resnets.Preprocessing or None; got {value!r}.")
        self._preprocessing = value

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes that its outputs stand for, in their order; saved with it, None if not known."""
        return self._class_names

    @class_names.setter
    def class_names(self, value: Sequence[str] | None) -> None:
        if value is not None and (isinstance(value, str) or not all(isinstance(name, str) for name in value)):
            raise ArgumentError(f"class_names must be a text for each class, or None; got {value!r}.")
        outputs = self.outputs[0].shape[-1]
        if value is not None and len(value) != outputs and (outputs, len(value)) != (1, 2):
            raise ArgumentError(
                f"class_names must be as many as the outputs of {self.name!r}, {outputs}; got {len(value)}."
            )
        self._class_names = None if value is None else tuple(value)

    @property
    def chain(self) -> list[keras.Layer]:
        """All links in order, stem and head included."""
        return [layer for layer in self.layers if not isinstance(layer, keras.layers.InputLayer)]

    @property
    def blocks(self) -> list[ResidualBlock]:
        """The residual blocks in order."""
        return [link for link in self.chain if isinstance(link, ResidualBlock)]

    @property
    def stages(self) -> list[str]:
        """The stage of each block: the part of its name before `_block`, or else the shape of its output."""
        named = [re.fullmatch(r"(.+)_block\d+", block.name) for block in self.blocks]
        if all(named):
            return [match[1] for match in named if match]
        return ["x".join(str(n or "?") for n in block.output.shape[1:]) for block in self.blocks]

    def get_layer(self, name=None, index=None):
        """Returns a layer by its name, also one inside a link, such as `"predictions"`; or a link by its index.

        Raises:
            ArgumentError: several layers have the name, or none has it.
        """
        if index is not None or name is None or any(layer.name == name for layer in self.layers):
            return super().get_layer(name, index)
        inside = [(link, layer) for link in self.chain for layer in private.flattened(link) if layer.name == name]
        if len(inside) != 1:
            where = (
                f"{len(inside)} layers have it, one of them in {inside[0][0].name!r}" if inside else "no layer has it"
            )
            raise ArgumentError(
                f"name must be that of one layer of {self.name!r}; got {name!r}: {where}. Its links are "
                f"{', '.join(link.name for link in self.chain)[:300]}; take a layer from the parts of its link."
            )
        return inside[0][1]

    def inner(self, names: str | Sequence[str]) -> keras.Model:
        """Returns a model from the input to outputs inside the network, with the weights of this one.

        Args:
            names: `"stage1_block2/conv1"` for a layer of a link, `"stage1_block2/residual"` for the output of a part,
                before the block's scale, `"stage1_block2"` for that of the link; a layer's own name where no other has
                it; with the part between, where a link has the layer's name twice. Or several of them.

        Returns:
            A model with one output, or with a list of them in the order of the names. It runs as this network does, in
            training and in inference, with the scales that blocks have now; gradients pass through it.

        Raises:
            ArgumentError: no layer has the name, or several have; the sentence lists those of the link.

        Example:
            >>> import keras_resnets as kr, numpy as np
            >>> inner = kr.build("resnet20").inner(["stage1_block2/conv1", "head/logits"])
            >>> [y.shape for y in inner.predict(np.zeros((2, 32, 32, 3)), verbose=0)]
            [(2, 32, 32, 16), (2, 10)]
        """
        wanted = [names] if isinstance(names, str) else list(names)
        if not wanted:
            raise ArgumentError("names must be of one layer or more; got none.")
        graph = graph_to(self.chain, [find(self.chain, name, self.name) for name in wanted], isinstance(names, str))
        source = keras.Input(batch_shape=self.inputs[0].shape, dtype=self.inputs[0].dtype, name="input")
        return keras.Model(source, graph(source), name=f"{self.name}_inner")

    def features(self, x, training=None) -> dict[str, Any]:
        """Returns the named intermediate outputs.

        Args:
            x: a batch of inputs, or a Keras tensor to build a larger model from.
            training: as for `call`.

        Returns:
            `stem`, then `stage1` to `stageN` (the output of each stage's last block, not activated in
            pre-activation networks), then `head` if there is one. The stages are those of the property
            `stages`.
        """
        stages, outputs = dict(zip([block.name for block in self.blocks], self.stages, strict=True)), {}
        for link in self.chain:
            x = link(x, training=training)
            if link.name in stages:
                outputs[stages[link.name]] = x
            elif link.name in ("stem", "head"):
                outputs[link.name] = x
        return outputs

    def masked(self, x, gates, training=False):
        """Returns the output with some residual branches switched off.

        A block that is off passes on only its shortcut, as if it were deleted (`keras_resnets.delete`).

        Args:
            x: a batch of inputs.
            gates: booleans of shape (blocks,) that say which blocks are on; a branch that is off is not computed. Or
                weights of shape (blocks, examples) that multiply the branches' outputs for each example; 0 is off.
            training: as for `call`.

        Returns:
            The network's output, as from `call`.

        Raises:
            ArgumentError: the number of gates differs from the number of blocks.

        Example:
            >>> import keras_resnets as kr, numpy as np
            >>> model, x = kr.build("resnet20", (8, 8, 1)), np.ones((2, 8, 8, 1), "float32")
            >>> y = model.masked(x, [True] * 8 + [False])
        """
        gates = ops.convert_to_tensor(gates)
        if len(gates.shape) not in (1, 2) or gates.shape[0] != len(self.blocks):
            raise ArgumentError(
                f"gates must be of shape (blocks,) or (blocks, examples) with {len(self.blocks)} blocks; "
                f"got {tuple(gates.shape)}."
            )
        with self._gated.using(gates):
            return self(x, training=training)

    def compile(self, *args, paths=None, **kwargs):
        """Configures training, as `keras.Model.compile` does.

        Args:
            *args: as for `keras.Model.compile`.
            paths: a policy of `keras_resnets.paths` that draws which blocks take part in each training step; None for
                all blocks. A policy that rescales also sets the blocks' `scale`, which applies outside training;
                without a policy, the scales do not change.
            **kwargs: as for `keras.Model.compile`.

        Raises:
            ArgumentError: the policy does not fit the network.

        Example:
            >>> import keras_resnets as kr
            >>> model = kr.build("preresnet20")
            >>> model.compile("sgd", "sparse_categorical_crossentropy", paths="stochastic:0.5")
            >>> round(model.blocks[-1].scale, 6)
            0.5
        """
        policy = policies.get(paths)
        if policy is not None:
            policy.check(len(self.blocks))
            _check_no_activity_losses(self.blocks)
        super().compile(*args, **kwargs)
        self._paths = policy
        self.rescale()

    @property
    def paths(self) -> policies.Policy | None:
        """The policy that draws the blocks of a training step; None for all blocks."""
        return self._paths

    def rescale(self) -> None:
        """Sets the blocks' scales to those of the path policy at the current training step.

        Keras traces the functions of `evaluate` and `predict` once, with the scales at that time. Therefore both call
        this method, which discards the traces if a schedule of policies has changed a scale.
        """
        if self._paths is None:
            return
        step = int(ops.convert_to_numpy(self.optimizer.iterations)) if self.optimizer is not None else 0
        scales = [float(scale) for scale in self._paths.scales(len(self.blocks), step)]
        if scales != [block.scale for block in self.blocks]:
            for block, scale in zip(self.blocks, scales, strict=True):
                block.scale = scale
            self.test_function = self.predict_function = None

    def check_trainable(self) -> None:
        """Raises `ArgumentError` if the network was folded: its batch-norms could no longer normalise."""
        if self.folded is not None:
            raise ArgumentError(
                f"{self.name!r} was folded for inference (kr.fold): the statistics of its batch-norms are part of its "
                f"kernels, and it can be neither trained nor recalibrated. Train the network that it was folded from, "
                f"and fold the result."
            )

    def train_on_batch(self, *args, **kwargs):
        self.check_trainable()
        return super().train_on_batch(*args, **kwargs)

    def fit(self, *args, **kwargs):
        self.check_trainable()
        history = super().fit(*args, **kwargs)
        self.rescale()
        return history

    def evaluate(self, x=None, *args, **kwargs):
        self.rescale()
        with laid_out(x):
            return super().evaluate(x, *args, **kwargs)

    def predict(self, *args, **kwargs):
        self.rescale()
        with laid_out(None):
            return super().predict(*args, **kwargs)

    def predict_on_batch(self, x):
        # On several devices, TensorFlow's replicas each predict all of it.
        return super().predict_on_batch(x)[: len(x)]

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self._paths is not None:
            config["paths"] = keras.saving.serialize_keras_object(self._paths)
        return config

    def compile_from_config(self, config):
        scales = [block.scale for block in self.blocks]
        # How it was executed is not part of the network: on another backend or machine, it would be slow, or fail.
        config = {**config, "jit_compile": "auto", "steps_per_execution": 1}
        self.compile(**keras.saving.deserialize_keras_object(config))
        for block, scale in zip(self.blocks, scales, strict=True):
            block.scale = scale  # the scale of the step at which the network was saved
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def train_step(self, *args):
        """Runs one training step; a path policy draws the blocks for the optimiser's step.

        With gradient accumulation, all batches of an optimiser step share their blocks.
        """
        if self._paths is None:
            return super().train_step(*args)
        if keras.config.backend() == "jax":  # JAX passes the optimiser's state as an argument
            with keras.StatelessScope(list(zip(self.optimizer.variables, args[0][2], strict=True))):
                step = ops.convert_to_tensor(self.optimizer.iterations)
        else:
            step = ops.convert_to_tensor(self.optimizer.iterations)
        draw, blocks = self._paths.draw, len(self.blocks)
        with self._gated.using(lambda x: draw(step, blocks, ops.shape(x)[0])):
            return super().train_step(*args)

    def zero_grad(self, *args, **kwargs):
        """Clears the gradients of torch before a step; those of branches that a policy may turn off become zeros.

        torch has no gradient for what did not run, and Keras would leave its momentum and weight decay out.
        """
        super().zero_grad(*args, **kwargs)
        if self._gated.gates is not None:
            for block in self.blocks:
                for variable in [] if block.residual is None else block.residual.trainable_variables:
                    variable.value.grad = ops.zeros_like(variable.value)

    def call(self, inputs, training=None, mask=None):
        if self._only_shape:
            return ops.zeros(
                (ops.shape(inputs)[0], *self.compute_output_shape(inputs.shape)[1:]), self.outputs[0].dtype
            )
        if self._gated.gates is None:
            return super().call(inputs, training=training, mask=mask)
        return self._gated(self.chain, ops.cast(inputs, self.inputs[0].dtype), bool(training))

    def get_config(self):
        self.rescale()
        source = self.inputs[0]
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "inputs": {"shape": list(source.shape[1:]), "dtype": source.dtype},
            "chain": [keras.saving.serialize_keras_object(link) for link in self.chain],
            "spec": self.spec and self.spec.to_dict(),
            "preprocessing": self.preprocessing and self.preprocessing.to_dict(),
            "class_names": self.class_names,
            **({"folded": asdict(self.folded)} if self.folded is not None else {}),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        chain = [keras.saving.deserialize_keras_object(link, custom_objects) for link in config["chain"]]
        spec = config["spec"] and Spec.from_dict(config["spec"])
        source = keras.Input(**config["inputs"], name="input")
        policy = keras.dtype_policies.deserialize(config["dtype"])
        preprocessing = config.get("preprocessing")
        preprocessing = Preprocessing.from_dict(preprocessing) if preprocessing else None
        network = cls(chain, source, spec, config["name"], policy, preprocessing, trainable=config["trainable"])
        network.class_names = config.get("class_names")
        if config.get("folded"):
            network.folded = Folded(**config["folded"])
        return network


def _check_no_activity_losses(blocks: list[ResidualBlock]) -> None:
    """Raises `ArgumentError` if a residual branch contains a layer with an activity regularizer."""
    for block in blocks:
        for layer in private.flattened(block.residual) if block.residual is not None else ():
            if getattr(layer, "activity_regularizer", None) is not None:
                raise ArgumentError(
                    f"paths: the layer {layer.name!r} of block {block.name!r} has an activity_regularizer, whose loss "
                    f"would be missing while the block is off; remove it, or train without paths."
                )


def _source_of(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the single `keras.Input` that `tensor` was computed from."""
    sources: dict[int, keras.KerasTensor] = {}
    waiting, seen = [tensor], set()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation = private.operation_of(tensor)
        if isinstance(operation, keras.layers.InputLayer):
            sources[id(operation)] = operation.output
            continue
        waiting.extend(private.read_for(tensor))
    if len(sources) != 1:
        raise ArgumentError(f"input_tensor must be computed from one keras.Input; it comes from {len(sources)}.")
    return next(iter(sources.values()))
