"""Programs evaluated by lanes against networks edited; blocks against their own parts."""

import functools

import hypothesis
import keras
import numpy as np
import pytest
from helpers.network_families import FAMILIES
from hypothesis import strategies as st

import keras_resnets as kr
from keras_resnets.instruments.lanes import RESIDUAL, SHORTCUT, Lanes, program, work
from keras_resnets.network.surgery import interchangeable

ADOPTED = ("ResNet50", "MobileNetV2", "EfficientNetB0")


@functools.cache
def network(name):
    """A network of a family, or of keras.applications, with weights that a trained one could have."""
    if name in FAMILIES:
        variant, overrides = FAMILIES[name]
        model = kr.build(variant, (32, 32, 3), 7, classifier_activation=None, **overrides)
    else:
        model = kr.adopt(getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=7))
    rng = np.random.default_rng(0)
    for v in model.weights:
        if v.path.endswith(("gamma", "moving_variance")):
            v.assign(rng.uniform(0.5, 1.5, v.shape))
        elif v.path.endswith(("beta", "moving_mean")):
            v.assign(rng.normal(0, 0.3, v.shape))
    return model, Lanes(model)


@st.composite
def edits(draw, model):
    """For each block whether it is left whole, deleted or unskipped; and exchanges of blocks of equal shapes."""
    blocks, choices = model.blocks, {}
    for i, block in enumerate(blocks):
        possible = [None, None]
        possible += [SHORTCUT] if block.shortcut is not None or block.input.shape[-1] <= block.output.shape[-1] else []
        possible += [RESIDUAL] if block.shortcut is not None else []
        if choice := draw(st.sampled_from(possible)):
            choices[i] = choice
    order = list(range(len(blocks)))
    for i, j in draw(st.lists(st.tuples(*[st.integers(0, len(blocks) - 1)] * 2), max_size=3)):
        if interchangeable(blocks[order[i]], blocks[order[j]]):
            order[i], order[j] = order[j], order[i]
    return choices, order


def edited(model, choices, order):
    for edit, choice in ((kr.delete, SHORTCUT), (kr.unskip, RESIDUAL)):
        chosen = [i for i, c in choices.items() if c == choice]
        model = edit(model, chosen) if chosen else model
    return kr.reorder(model, order)


@pytest.mark.parametrize("name", [*FAMILIES, *ADOPTED])
@hypothesis.settings(max_examples=4, deadline=None, database=None, derandomize=True)
@hypothesis.given(data=st.data())
def test_programs_equal_edited_networks(name, data):
    model, engine = network(name)
    drawn = data.draw(st.lists(edits(model), min_size=1, max_size=3))
    engine.budget = data.draw(st.sampled_from([1, 2_000_000, 2**30]))
    x = np.random.default_rng(data.draw(st.integers(0, 9))).normal(size=(2, 32, 32, 3)).astype("float32")
    programs = [program(model, choices, order) for choices, order in drawn]
    rows = engine.outputs(x, [program(model), *programs, programs[0]])
    np.testing.assert_array_equal(rows[-1], rows[1])
    for row, (choices, order) in zip(rows, [({}, range(len(model.blocks))), *drawn], strict=False):
        expected = np.asarray(edited(model, choices, order)(x, training=False))
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5 * max(1, np.abs(expected).max()))


def test_every_step_of_a_sweep_is_walked_once(scramble):
    model = scramble(kr.build("resnet20", (8, 8, 1)))
    engine, rows, ticks = Lanes(model), [], []
    original = engine._apply
    engine._apply = lambda link, choice, x: (rows.append(x.shape[0]), original(link, choice, x))[1]
    programs = [program(model), *(program(model, {i: SHORTCUT}) for i in range(9))]
    engine.outputs(np.zeros((2, 8, 8, 1), "float32"), programs, ticks.append)
    # Two rows each: the stem once, block i for i lanes and its shortcut for one, the head for all ten.
    assert sum(rows) == 2 * (1 + sum(i + 1 for i in range(9)) + 9 + 10)
    assert sum(ticks) == sum(rows) // 2 == work(programs)


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


def test_a_kept_batch_that_is_damaged_is_measured_again(tmp_path):
    from keras_resnets.instruments.evaluation import Kept

    model = kr.build("resnet8", (8, 8, 1))
    # Weights identify a network with a spec; an edited one may have the same.
    assert Kept(tmp_path, "a study", model).folder != Kept(tmp_path, "a study", kr.unskip(model, 0)).folder
    kept, sums = Kept(tmp_path, "a study", model), np.arange(8.0).reshape(2, 4)
    file = kept.file(0, np.zeros((2, 3)), None)
    kept.put(file, sums)
    np.testing.assert_array_equal(kept.get(file), sums)
    content = file.read_bytes()
    for damaged in (b"", content[:-3], content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]):
        file.write_bytes(damaged)
        assert kept.get(file) is None
    # An early version's has no checksum.
    (file.parent / ".sums" / f"{file.name}.json").unlink()
    file.write_bytes(b"")
    assert kept.get(file) is None
    file.write_bytes(content)
    np.testing.assert_array_equal(kept.get(file), sums)
