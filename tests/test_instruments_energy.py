"""Energies of residual branches against NumPy."""

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.instruments.energy import measure


def through(part, x):
    """A part of a link layer by layer, in training but for dropout, batch-norm written out."""
    for layer in getattr(part, "layers", [part]):
        if isinstance(layer, keras.layers.BatchNormalization):
            axes = tuple(range(x.ndim - 1))
            x = (x - x.mean(axes)) / np.sqrt(x.var(axes) + layer.epsilon)
            x = x * np.asarray(layer.gamma) + np.asarray(layer.beta)
        elif not isinstance(layer, keras.layers.Dropout):
            x = np.asarray(layer(x))
    return x


@pytest.mark.parametrize("placement", ["post", "bn_after", "pre"])
def test_energies_equal_numpy(tiny, images, scramble, placement):
    model, (h, _) = scramble(kr.build(tiny, placement=placement, shortcut="B", dropout=0.5)), images
    last = "bn1" if placement == "bn_after" else "bn2"  # in front of the addition, or of the last convolution
    for block in model.blocks:
        gamma = block.residual.get_layer(last).gamma
        gamma.assign(gamma * np.resize([-1, 1], gamma.shape).astype("float32"))
        block.scale = 0.5  # as after stochastic depth
    before, answers = [variable.numpy() for variable in model.variables], np.asarray(model(h))
    found = measure(model, h)
    for variable, was in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, was)

    h, rows = through(model.chain[0].body, h), []
    for block in model.blocks:
        h = h if block.preactivation is None else through(block.preactivation, h)
        f, s = (through(branch, h).astype("float64") for branch in (block.residual, block.shortcut))
        f = 0.5 * f
        cosine = np.dot(f.ravel(), s.ravel()) / np.linalg.norm(f) / np.linalg.norm(s)
        rows.append([(f**2).sum() / (s**2).sum(), cosine, np.abs(block.residual.get_layer(last).gamma).mean()])
        h = (f + s).astype("float32")
        h = h if block.activation is None else through(block.activation, h)
    np.testing.assert_allclose(found[["energy_ratio", "cosine", "gamma"]], rows, rtol=1e-4, atol=1e-5)
    assert list(found["block"]) == [block.name for block in model.blocks]
    assert list(found["stage"]) == ["stage1", "stage1", "stage2"]
    # Called again, the layers normalise by their averages as ever.
    np.testing.assert_array_equal(model(images[0]), answers)


def test_a_frozen_batch_norm_keeps_its_averages(tiny, images, scramble):
    model, (x, _) = scramble(kr.build(tiny)), images
    model.trainable = False
    block, h = model.blocks[0], np.asarray(model.chain[0](x, training=False))
    f, s = np.asarray(block.residual(h, training=False)), h
    assert measure(model, x)["energy_ratio"][0] == pytest.approx((f**2).sum() / (s**2).sum(), rel=1e-4)


def test_blocks_of_one_branch_are_left_out(tiny, images, scramble):
    model, (x, _) = scramble(kr.build(tiny)), images
    assert list(measure(kr.unskip(kr.delete(model, 0), 1), x)["block"]) == ["stage2_block1"]
    with pytest.raises(ArgumentError, match="no block of 'tiny' has a residual branch and a shortcut"):
        measure(kr.build(tiny, shortcut="none"), x)
