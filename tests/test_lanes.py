"""Programs evaluated by lanes against networks rebuilt; blocks against their own parts."""

import keras
import numpy as np
import pytest
from test_network import FAMILIES

import keras_resnets as kr
from keras_resnets.lanes import RESIDUAL, SHORTCUT, Lanes, Program, program

RESIDUAL_FAMILIES = {name: row for name, row in FAMILIES.items() if "plain" not in name and name != "vgg"}


def rebuilt(model, choices):
    """The network with some branches gone, made anew from its chain."""
    chain, index = [], 0
    for link in model.chain:
        if isinstance(link, kr.ResidualBlock):
            gone = {RESIDUAL: "shortcut", SHORTCUT: "residual"}.get(choices.get(index))
            link, index = link.rewrap(**({gone: None} if gone else {})), index + 1
        else:
            link = link.rewrap()
        chain.append(link)
    return kr.ResidualNetwork(chain, model.input_shape[1:])


@pytest.mark.parametrize(("name", "overrides"), RESIDUAL_FAMILIES.values(), ids=RESIDUAL_FAMILIES.keys())
def test_deletions_equal_rebuilt_networks(name, overrides, scramble):
    model = scramble(kr.build(name, (32, 32, 3), 7, classifier_activation=None, **overrides))
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    count = len(model.blocks)
    rows = Lanes(model).outputs(x, [program(model), *(program(model, {i: SHORTCUT}) for i in range(count))])
    np.testing.assert_allclose(rows[0], model.predict(x, verbose=0), rtol=1e-5, atol=1e-5)
    for i in range(0, count, max(1, count // 5)):
        expected = kr.delete(model, i).predict(x, verbose=0)
        np.testing.assert_allclose(rows[i + 1], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
        assert np.abs(rows[i + 1] - rows[0]).max() > 1e-4 or overrides.get("zero_gamma")


@pytest.mark.parametrize("budget", [1, 200_000, 2**30])
def test_random_programs_equal_rebuilt_networks_at_any_budget(budget, scramble):
    model = scramble(kr.build("preresnet20", (8, 8, 2), 5, classifier_activation=None))
    rng = np.random.default_rng(budget)
    x = rng.normal(size=(4, 8, 8, 2)).astype("float32")
    choices = [
        {int(i): str(rng.choice([RESIDUAL, SHORTCUT])) for i in rng.choice(9, rng.integers(0, 6), replace=False)}
        for _ in range(12)
    ]
    choices.append(choices[0])  # the same program twice shares its lane
    rows = Lanes(model, budget).outputs(x, [program(model, c) for c in choices])
    for row, choice in zip(rows, choices, strict=True):
        expected = rebuilt(model, choice).predict(x, verbose=0)
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5 * max(1, np.abs(expected).max()))


def test_orders_equal_a_rebuilt_chain(scramble):
    model = scramble(kr.build("resnet20", (8, 8, 2), 5, classifier_activation=None))
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype("float32")
    steps = list(program(model).steps)
    swapped = steps.copy()
    swapped[2], swapped[3] = swapped[3], swapped[2]  # stage1_block2 and stage1_block3
    rows = Lanes(model).outputs(x, [Program(tuple(steps)), Program(tuple(swapped))])
    chain = [model.chain[i].rewrap() for i, _ in swapped]
    np.testing.assert_allclose(
        rows[1], kr.ResidualNetwork(chain, (8, 8, 2)).predict(x, verbose=0), rtol=1e-4, atol=1e-4
    )
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


def test_every_step_of_a_sweep_is_walked_once(scramble):
    model = scramble(kr.build("resnet20", (8, 8, 1)))
    engine, rows = Lanes(model), []
    original = engine._apply
    engine._apply = lambda link, choice, x: (rows.append(x.shape[0]), original(link, choice, x))[1]
    engine.outputs(
        np.zeros((2, 8, 8, 1), "float32"), [program(model), *(program(model, {i: SHORTCUT}) for i in range(9))]
    )
    # Two rows each: the stem once, block i for i lanes and its shortcut for one, the head for all ten.
    assert sum(rows) == 2 * (1 + sum(i + 1 for i in range(9)) + 9 + 10)


def test_with_a_linear_sum_the_parts_add_to_the_whole(scramble):
    model = scramble(kr.build("preresnet20", (8, 8, 1)))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 16)).astype("float32")
    block = model.get_layer("stage1_block2")
    both, residual, shortcut = block(x), block.rewrap(shortcut=None)(x), block.rewrap(residual=None)(x)
    np.testing.assert_allclose(residual + shortcut, both, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(shortcut, x)


def test_shortcut_a_against_numpy():
    block = kr.build("resnet8", (8, 8, 1)).get_layer("stage2_block1").rewrap(residual=None, activation=None)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 16)).astype("float32")
    np.testing.assert_array_equal(block(x), np.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (0, 16))))


def test_deletion_leaves_the_original_alone(scramble):
    model = scramble(kr.build("resnet8", (8, 8, 1)))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    before, nodes = model.predict(x, verbose=0), [len(link._inbound_nodes) for link in model.chain]
    lesioned = kr.delete(model, ["stage1_block1", -1])
    gone = {v.path for v in model.weights} - {v.path for v in lesioned.weights}
    assert {path.split("/")[0] for path in gone} == {"stage1_block1", "stage3_block1"}
    assert [len(link._inbound_nodes) for link in model.chain] == nodes
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    assert all(any(v is w for w in model.weights) for v in lesioned.weights)
    assert lesioned.spec is None


def test_deletions_of_different_blocks_commute(scramble, tmp_path):
    model = scramble(kr.build("preresnet8", (8, 8, 1)))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    one, other = kr.delete(kr.delete(model, 0), 2), kr.delete(kr.delete(model, 2), 0)
    np.testing.assert_array_equal(one.predict(x, verbose=0), other.predict(x, verbose=0))
    one.save(tmp_path / "net.keras")
    np.testing.assert_array_equal(
        kr.load_model(tmp_path / "net.keras").predict(x, verbose=0), one.predict(x, verbose=0)
    )


def test_block_contract(scramble):
    model = scramble(kr.build("preresnet8", (8, 8, 1)))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 16)).astype("float32")
    for name in ("stage1_block1", "stage2_block1"):
        block = model.get_layer(name)
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(block))
        if not copy.built:
            copy.build(x.shape)
        copy.set_weights(block.get_weights())
        np.testing.assert_array_equal(copy(x), block(x))
        assert tuple(block.compute_output_shape(x.shape)) == block(x).shape
