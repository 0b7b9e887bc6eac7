"""The initial weights that a seed gives: those that it gave in version 0.1.0, whatever the order of the code."""

import keras
import numpy as np
import pytest

import keras_resnets as kr

# Of the kernels in order: the sum of their magnitudes, each times its number; the first number of the first; the first
# of the last. Taken from version 0.1.0.
DRAWN = [
    ("basic", {}, [1312.802, 0.505599, -0.279816]),
    ("dropout", {"dropout": 0.3}, [1288.421, 0.505599, 0.123063]),
    ("bottleneck", {"kernels": (1, 3, 1), "shortcut": "B"}, [1643.747, 0.505599, -0.251542]),
    ("gate", {"skip": "gate:-6", "shortcut": "B"}, [2037.84, 0.505599, -0.251542]),
    ("shortcut_gate", {"skip": "shortcut_gate:-6"}, [1870.25, 0.505599, 0.123063]),
    ("skip dropout", {"skip": "dropout:0.5"}, [1288.421, 0.505599, 0.123063]),
    ("pre", {"placement": "pre", "shortcut": "C"}, [1870.25, 0.505599, 0.123063]),
    ("plain", {"shortcut": "none"}, [1312.802, 0.505599, -0.279816]),
    (
        "dense",
        {"head": "2conv", "head_width": 8, "head_dilation": 1, "head_dropout": (0.5,)},
        [2261.336, 0.505599, 0.054485],
    ),
    ("hidden", {"hidden": (6,)}, [1439.618, 0.505599, 0.317207]),
]


@pytest.mark.parametrize(("name", "fields", "expected"), DRAWN, ids=[row[0] for row in DRAWN])
def test_a_seed_gives_the_weights_that_it_gave(name, fields, expected):
    fields = {"kernels": (3, 3), **fields}
    kernels = fields.pop("kernels")
    stages = [kr.Stage(2, (4,) * len(kernels), kernels), kr.Stage(1, (8,) * len(kernels), kernels, stride=2)]
    spec = kr.Spec("tiny", tuple(stages), (8, 8, 1), 5, stem_width=4, **fields)
    keras.utils.set_random_seed(0)
    model = kr.build(spec)
    drawn = [np.asarray(v) for v in model.trainable_variables if v.path.endswith("kernel")]
    weighted = sum(number * np.abs(kernel).sum(dtype="float64") for number, kernel in enumerate(drawn, 1))
    np.testing.assert_allclose((weighted, drawn[0].flat[0], drawn[-1].flat[0]), expected, rtol=1e-5)
