"""Path policies in `fit` on every backend: a step against networks edited, and branches that do not run."""

import keras
import numpy as np
import pytest
from helpers.path_training import fit, one_on
from keras import ops

import keras_resnets as kr
from keras_resnets.paths import FixedSize, Schedule

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("placement", ["post", "pre"])
def test_a_step_is_one_of_the_network_without_the_blocks_that_are_off(tiny, images, scramble, placement):
    spec, (policy, gates) = tiny.replace(placement=placement), one_on(5)
    model, before, after = fit(scramble(kr.build(spec)), images, policy, steps=1, l2=0.0)
    off = np.flatnonzero(~gates).tolist()
    edited = kr.delete(kr.build(spec), off)
    edited.set_weights([before[variable.path] for variable in edited.weights])
    _, _, expected = fit(edited, images, None, steps=1, l2=0.0)
    assert len(off) == 2
    for path, value in expected.items():
        np.testing.assert_allclose(after[path], value, rtol=1e-5, atol=1e-5, err_msg=path)
    for i in off:
        for variable in model.blocks[i].residual.weights:  # moving statistics, too
            np.testing.assert_array_equal(after[variable.path], before[variable.path], err_msg=variable.path)
    on = model.blocks[int(np.flatnonzero(gates)[0])].residual
    moved = {v.path: np.abs(after[v.path] - before[v.path]).max() > 0 for v in on.weights}
    assert all(moved.values()), moved


def test_fit_draws_new_blocks_at_each_step(tiny, images):
    model = kr.build(tiny)
    model.compile(kr.optimizers.SGD(0.05), "sparse_categorical_crossentropy", paths=FixedSize(1, seed=3))
    rows = [np.asarray(ops.convert_to_numpy(model.paths.draw(step, 3))) for step in range(4)]
    assert len({tuple(row) for row in rows}) > 1
    statistics = [block.residual.get_layer("bn1").moving_mean for block in model.blocks]
    found = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if keras.config.backend() == "jax":
                model.jax_state_sync()
            found.append([ops.convert_to_numpy(variable).copy() for variable in statistics])

    model.fit(*images, batch_size=3, shuffle=False, verbose=0, callbacks=[Look()])
    before = [np.zeros_like(value) for value in found[0]]
    for row, after in zip(rows, found, strict=True):
        assert [bool((a != b).any()) for a, b in zip(after, before, strict=True)] == row.tolist()
        before = after


def test_momentum_runs_out_and_decay_goes_on_where_a_block_is_off(tiny, images):
    """As if its gradient were zero; torch has no gradient for what did not run."""
    policy = Schedule(((0, None), (1, FixedSize(0))))
    model, start, once = fit(tiny, images, policy, steps=1)
    model.train_on_batch(*images)
    for block in model.blocks:
        for v in block.residual.trainable_variables:
            # The first step's velocity is what it moved the weight by.
            expected = once[v.path] + 0.9 * (once[v.path] - start[v.path]) - 0.05 * 1e-3 * once[v.path]
            np.testing.assert_allclose(ops.convert_to_numpy(v), expected, rtol=1e-5, atol=1e-7, err_msg=v.path)


def test_a_branch_that_is_off_does_not_run(tiny, images):
    """On TensorFlow and JAX its operations stand in a condition; torch does not call it."""
    model = kr.build(tiny)
    gates, x = [True, False, False], ops.convert_to_tensor(images[0])
    if keras.config.backend() == "jax":
        import jax

        values = [variable.value for variable in model.variables]

        def step(values, gates, x):
            with keras.StatelessScope(list(zip(model.variables, values, strict=True))):
                return ops.sum(model.masked(x, gates, training=True))

        text = jax.jit(jax.grad(step)).lower(values, np.array(gates), x).as_text()
        assert text.count("stablehlo.case") >= 3  # one for each configuration, and backwards
        gradients = jax.jit(jax.grad(step))(values, np.array(gates), x)
        of = {variable.path: np.abs(g).max() for variable, g in zip(model.variables, gradients, strict=True)}
        assert [of[b.residual.get_layer("bn2").beta.path] > 0 for b in model.blocks] == gates
        return
    ran = []
    for block in model.blocks:
        layer = block.residual.get_layer("conv1")
        vars(layer)["call"] = lambda *a, layer=layer, **k: ran.append(layer) or type(layer).call(layer, *a, **k)
    if keras.config.backend() == "torch":
        model.masked(x, gates, training=True)
        assert ran == [model.blocks[0].residual.get_layer("conv1")]
        return
    import tensorflow as tf

    function = tf.function(lambda gates: model.masked(x, gates, training=True)).get_concrete_function(
        tf.TensorSpec(3, "bool")
    )
    graph = function.graph.as_graph_def()
    kinds = [node.op for f in [graph, *graph.library.function] for node in (getattr(f, "node", None) or f.node_def)]
    assert kinds.count("If") + kinds.count("StatelessIf") == 2  # one for each configuration of branch
    assert len(ran) == 2
