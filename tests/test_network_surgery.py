"""Edits of a chain against networks made otherwise."""

import keras
import numpy as np
import pytest

import keras_resnets as kr


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype("float32")


@pytest.fixture
def model(scramble):
    return scramble(kr.build("preresnet20", (8, 8, 2), 5, classifier_activation=None))


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * max(1, np.abs(b).max()))


def test_a_network_without_skips_is_the_plain_one(x, scramble):
    residual = scramble(kr.build("resnet20", (8, 8, 2), 5))
    plain = kr.build("plain20", (8, 8, 2), 5)
    plain.set_weights(residual.get_weights())
    # In a block the first ReLU is inside the branch and the second behind it, in a plain layer each is the layer's.
    close(kr.unskip(residual, range(9)).predict(x, verbose=0), plain.predict(x, verbose=0))


def test_a_plain_layer_deleted_is_a_layer_less(x, scramble):
    plain = scramble(kr.build("plain20", (8, 8, 2), 5))
    i = 3  # stage1_block4: same shape on both sides, its input not negative
    y = x
    for link in plain.chain:
        y = y if link is plain.blocks[i] else link(y, training=False)
    close(kr.delete(plain, i).predict(x, verbose=0), np.asarray(y))


def test_a_plain_layer_that_changes_the_shape_is_bridged_by_option_a(x, scramble):
    plain = scramble(kr.build("plain20", (8, 8, 2), 5))
    i = next(i for i, block in enumerate(plain.blocks) if block.name == "stage2_block1")
    y = x
    for link in plain.chain:
        if link is plain.blocks[i]:
            y = np.pad(np.asarray(y)[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (0, 16)))
        else:
            y = link(y, training=False)
    close(kr.delete(plain, i).predict(x, verbose=0), np.asarray(y))


def test_edits_of_different_blocks_commute(model, x):
    edits = (
        lambda m: kr.delete(m, "stage1_block2"),
        lambda m: kr.unskip(m, "stage3_block3"),
        lambda m: kr.reorder(m, [0, 1, 2, 3, 5, 4, 6, 7, 8]),
    )
    results = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        network = model
        for i in order:
            network = edits[i](network)
        results.append(network.predict(x, verbose=0))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert np.abs(results[0] - model.predict(x, verbose=0)).max() > 1e-3


@pytest.mark.parametrize(
    "edit",
    [
        lambda m, **how: kr.delete(m, [1, "stage3_block2"], **how),
        lambda m, **how: kr.unskip(m, [1, "stage3_block2"], **how),
        lambda m, **how: kr.reorder(m, [0, 2, 1, 3, 4, 5, 6, 8, 7], **how),
    ],
    ids=["delete", "unskip", "reorder"],
)
def test_edited_networks_are_networks(edit, model, x, tmp_path):
    """They save, load, train, export and count; a copy has weights of its own."""
    before, nodes = model.predict(x, verbose=0), [len(link._inbound_nodes) for link in model.chain]
    edited, own = edit(model), edit(model, copy=True)
    expected = edited.predict(x, verbose=0)
    assert np.abs(expected - before).max() > 1e-3
    np.testing.assert_array_equal(own.predict(x, verbose=0), expected)
    assert {id(v) for v in edited.weights} <= {id(v) for v in model.weights}
    assert not {id(v) for v in own.weights} & {id(v) for v in model.weights}
    assert edited.spec is None

    edited.save(tmp_path / "net.keras")
    np.testing.assert_array_equal(kr.load_model(tmp_path / "net.keras").predict(x, verbose=0), expected)
    assert kr.export.saved_model(edited, tmp_path / "saved", calls=0)["max_difference"] < 1e-4
    present = [b for b in edited.blocks if b.residual is not None]
    assert kr.parameters(edited) == sum(
        int(np.prod(v.shape)) for link in (edited.chain[0], *present, edited.chain[-1]) for v in link.trainable_weights
    )
    assert kr.macs(edited) == kr.macs(model) - sum(
        _macs(whole) for whole, block in zip(model.blocks, edited.blocks, strict=True) if block.residual is None
    )

    own.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    own.train_on_batch(x, np.arange(3))
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    edited.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    edited.train_on_batch(x, np.arange(3))
    assert np.abs(model.predict(x, verbose=0) - before).max() > 0
    assert [len(link._inbound_nodes) for link in model.chain] == nodes


def _macs(block):
    """Two 3x3 convolutions by hand; the second works on the output's shape."""
    (*_, channels), (_, h, w, width) = block.input.shape, block.output.shape
    return h * w * 9 * (channels * width + width * width)


def test_blocks_go_by_name_or_index(model):
    for chosen in (1, "stage1_block2", [-8], np.array([1]), (i for i in [1])):
        assert kr.delete(model, chosen).blocks[1].residual is None
    names = [b.name for b in model.blocks]
    swapped = kr.reorder(model, ["stage1_block3", "stage1_block2", "stage1_block1", *names[3:]])
    assert [b.name for b in swapped.blocks][:3] == ["stage1_block3", "stage1_block2", "stage1_block1"]


def test_a_plain_layer_that_narrows_is_bridged_by_its_first_channels(x, scramble):
    stages = (kr.Stage(1, (8, 8)), kr.Stage(1, (4, 4)))
    plain = scramble(kr.build(kr.Spec("narrow", stages, (8, 8, 2), 5, shortcut="none", stem_width=8)))
    stem, first, _, head = plain.chain
    y = np.asarray(first(stem(x, training=False), training=False))[..., :4]
    close(kr.delete(plain, 1).predict(x, verbose=0), np.asarray(head(y, training=False)))
