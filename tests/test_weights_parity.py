"""Agreement with the source's own framework."""

import pytest
from helpers import weight_references as reference
from helpers.weight_references import Held

import keras_resnets as kr


@pytest.mark.torch
@pytest.mark.parametrize(
    "arrays",
    [
        reference.draw_torchvision((1, 2, 1, 1), 4, True),
        reference.draw_torchvision((1, 2, 1, 1), 4),
        reference.draw_akamaster(1),
        reference.draw_wide(1),
    ],
    ids=["bottleneck", "basic", "akamaster", "wide"],
)
def test_parity_with_torch(arrays):
    pytest.importorskip("torch", reason="the reference is torch itself")
    archive = Held("torch", arrays)
    model = kr.weights.network(archive, input_shape=(32, 32, 3))
    found = kr.weights.parity(model, archive)
    assert found.reference == "torch"
    assert found.difference < 1e-4 * max(1, found.scale)
    last = model.blocks[-1].residual.layers[-1]
    last.set_weights([2 * last.get_weights()[0], *last.get_weights()[1:]])
    assert kr.weights.parity(model, archive).difference > 0.01 * found.scale
