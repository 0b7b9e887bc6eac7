"""Optimisers of the recipes against NumPy."""

import keras
import numpy as np
import pytest

import keras_resnets as kr


@pytest.fixture(scope="module")
def small():
    stages = (kr.Stage(1, (4, 4)), kr.Stage(1, (8, 8), stride=2))
    return kr.Spec("small", stages, (8, 8, 1), 10, stem_width=4)


@pytest.mark.parametrize("decay", ["kernels", "all"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("form", "momentum"), [("keras", 0.9), ("torch", 0.9), ("keras", 0.0)])
@pytest.mark.backends
def test_optimizer_equals_numpy_across_a_drop(form, momentum, nesterov, decay):
    """Three steps at 0.1 and three at 0.01; where the velocity holds the rate, the drop comes later."""
    recipe = kr.recipes.Recipe(
        "x",
        iterations=6,
        boundaries=(3,),
        momentum=momentum,
        nesterov=nesterov,
        momentum_form=form,
        weight_decay=0.05,
        decay=decay,
    )
    optimizer = recipe.optimizer(steps_per_epoch=6)
    rng = np.random.default_rng(1)
    names = ["kernel", "bias", "gamma", "beta"]
    starts = {name: rng.normal(size=(3, 4)).astype("float32") for name in names}
    variables = [keras.Variable(start, name=name) for name, start in starts.items()]
    gradients = rng.normal(size=(6, 4, 3, 4)).astype("float32")
    for step in range(6):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients[step]], variables)

    for i, name in enumerate(names):
        w, v = starts[name].astype("float64"), 0.0
        for step in range(6):
            rate = 0.1 if step < 3 else 0.01
            g = gradients[step][i] + (0.05 * w if decay == "all" or name == "kernel" else 0.0)
            if form == "keras":
                v = momentum * v - rate * g
                w = w + (momentum * v - rate * g if nesterov else v)
            else:
                v = momentum * v + g
                w = w - rate * (g + momentum * v if nesterov else v)
        np.testing.assert_allclose(variables[i].numpy(), w, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("decay", "names"), [("kernels", {"kernel"}), ("weights", {"kernel", "gamma"})])
@pytest.mark.backends
def test_adamw_of_a_recipe_equals_numpy(decay, names):
    """Decay is taken off apart from the gradient, at the schedule's rate, and from the named weights alone."""
    recipe = kr.recipes.Recipe(
        "x", "adamw", epochs=1, learning_rate=0.1, schedule="linear", weight_decay=0.05, decay=decay
    )
    optimizer = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(recipe.optimizer(5)))
    rng = np.random.default_rng(1)
    starts = {name: rng.normal(size=(3, 4)).astype("float32") for name in ("kernel", "bias", "gamma", "beta")}
    variables = [keras.Variable(start, name=name) for name, start in starts.items()]
    gradients = rng.normal(size=(4, 4, 3, 4)).astype("float32")
    for step in range(4):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients[step]], variables)
    for i, (name, start) in enumerate(starts.items()):
        w, m, v = start.astype("float64"), 0.0, 0.0
        for step in range(4):
            rate, g = 0.1 * (1 - step / 5), gradients[step][i]
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            w = w * (1 - rate * 0.05 * (name in names))
            unbiased = np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
            w = w - rate * unbiased * m / (np.sqrt(v) + 1e-7)
        np.testing.assert_allclose(variables[i].numpy(), w, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("decay", ["kernels", "all"])
@pytest.mark.backends
def test_decay_of_the_spec_equals_decay_of_the_optimizer(small, decay):
    """One as a penalty in the loss, the other in the optimiser: the same gradient, `0.1 * weight`."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 8, 8, 1)).astype("float32"), rng.integers(0, 10, 16)
    after = []
    for spec, l2 in ((small.replace(weight_decay=0.1, decay=decay), 0.0), (small, 0.1), (small, 0.0)):
        keras.utils.set_random_seed(3)
        model = kr.build(spec)
        for variable in model.trainable_variables:  # zeros would not show decay
            variable.assign(variable + 0.5)
        model.compile(kr.optimizers.SGD(0.1, 0.9, l2=l2, decay=decay), "sparse_categorical_crossentropy")
        model.train_on_batch(x, y)
        after.append([v.numpy() for v in model.trainable_variables])
    kinds = [v.name for v in model.trainable_variables]
    for kind, ours, theirs, without in zip(kinds, *after, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=kind)
        decays = kind == "kernel" or decay == "all"
        assert (np.abs(theirs - without).max() > 1e-3) == decays, kind


def test_bias_rate_and_decay_of_weights(tiny, images, scramble):
    # One step of plain SGD by hand; MXNet's rule decays kernels and scales (papers.md 5.5).
    x, y = images
    model = scramble(kr.build(tiny))
    model.compile(kr.optimizers.SGD(0.1, l2=0.01, decay="weights", bias_rate=2.0), "sparse_categorical_crossentropy")
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=True))
    scramble(model)  # the moving statistics moved
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    before = [np.asarray(v) for v in model.trainable_variables]
    model.train_on_batch(x, y)
    for variable, old, gradient in zip(model.trainable_variables, before, gradients, strict=True):
        decays = variable.name in ("kernel", "gamma")
        step = 0.1 * (2 if variable.name in ("bias", "beta") else 1) * (np.asarray(gradient) + 0.01 * decays * old)
        np.testing.assert_allclose(variable, old - step, rtol=1e-4, atol=1e-6, err_msg=variable.path)
    again = kr.optimizers.SGD.from_config(model.optimizer.get_config())
    assert (again.bias_rate, again.decay) == (2.0, "weights")
