"""`fold`: batch-norm folded into convolutions, beside the network and beside NumPy."""

import keras
import numpy as np
import pytest
from helpers.network_families import FAMILIES
from helpers.precision import policy

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.network import private

PLACEMENTS = ("bn_after", "relu_before", "relu_only", "pre", "pre_open")
SKIPS = ("gate:-1", "shortcut_gate:-1", "scale:0.5:0.7", "dropout:0.5")
NETWORKS = FAMILIES | {f"placement {name}": ("resnet8", {"placement": name}) for name in PLACEMENTS}
NETWORKS |= {f"skip {skip}": ("preresnet8", {"skip": skip, "shortcut": "B"}) for skip in SKIPS}
NETWORKS |= {"resnet38": ("resnet38", {"width": 0.03125}), "pixels": ("resnet8", {"head": "2conv", "head_dilation": 2})}
# One of each kind in every run, the others in `make test-all`.
QUICK = ("post-activation, option B", "pre-activation, option C", "placement bn_after", "skip gate:-1", "pixels")
QUICK += ("skip scale:0.5:0.7",)


def norms(layer):
    return [part for part in private.flattened(layer) if isinstance(part, keras.layers.BatchNormalization)]


def same(a, b, tolerance):
    a, b = (np.asarray(keras.ops.convert_to_numpy(y), "float64") for y in (a, b))
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.backends
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.thorough) for name in NETWORKS]
)
def test_outputs_are_those_of_the_network_in_float64(name, scramble):
    with policy("float64"), private.keeping_doubles():
        network, options = NETWORKS[name]
        size = 16 if network == "resnet8" else 32
        model = scramble(kr.build(network, (size, size, 3), 5, classifier_activation=None, **options))
        x = np.random.default_rng(1).normal(size=(2, size, size, 3))
        folded = kr.fold(model)
        assert len(norms(folded)) == folded.folded.kept
        assert folded.folded.behind + folded.folded.before + folded.folded.kept == len(norms(model))
        assert folded.folded.behind > 0
        same(folded(x, training=False), model(x, training=False), 1e-12)
