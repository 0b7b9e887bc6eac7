"""Channels come last whatever keras.json says: the same networks are built, and another order is refused."""

import ast
import inspect
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.models import applications


@pytest.fixture
def channels_first():
    """Keras as image_data_format="channels_first" in keras.json sets it up."""
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


# One variant for each layer that a spec can bring: deep stem, both kinds of pools, both shortcuts, gates, dense heads.
BUILT = {
    "resnet8": {},
    "resnet18": {"width": 0.0625, "input_shape": (32, 32, 3)},
    "vgg15": {"width": 0.0625, "input_shape": (32, 32, 3)},
    "resnet38_a1": {"width": 0.0625, "input_shape": (32, 32, 3), "head": "2conv", "head_dilation": 1},
    "gated": {"skip": "gate:-1"},
    "torch pools": {"width": 0.0625, "input_shape": (32, 32, 3), "pool_padding": "both"},
}


def _build(name):
    variant = {"gated": "resnet8", "torch pools": "resnet38_a1"}.get(name, name)
    keras.utils.set_random_seed(1)
    return kr.build(variant, **BUILT[name])


@pytest.mark.parametrize("name", BUILT)
def test_the_same_network_is_built_where_keras_puts_channels_first(name, channels_first):
    ours = _build(name)
    keras.config.set_image_data_format("channels_last")
    expected = _build(name)
    assert kr.parameters(ours) == kr.parameters(expected)
    assert ours.get_config() == expected.get_config()
    keras.config.set_image_data_format("channels_first")
    x = np.random.default_rng(0).normal(size=(2, *expected.input_shape[1:])).astype("float32")
    np.testing.assert_array_equal(ours(x), expected(x))


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_features_are_pooled_over_height_and_width(pooling, channels_first):
    model = kr.build("resnet8", include_top=False, pooling=pooling)
    assert model.output_shape == (None, 64)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    pooled = np.mean if pooling == "avg" else np.max
    maps = kr.build("resnet8", include_top=False)
    maps.set_weights(model.get_weights())
    np.testing.assert_allclose(model(x), pooled(np.asarray(maps(x)), (1, 2)), rtol=1e-5, atol=1e-6)


def test_scores_of_pixels_are_enlarged_over_height_and_width(channels_first):
    model = kr.segmentation.fcn("resnet18", 5, width=0.0625, stem_width=8, head_dilation=1)
    x = np.random.default_rng(0).normal(size=(1, 32, 48, 3)).astype("float32")
    ours = kr.segmentation.probabilities(model, x, scales=(1.0, 0.5))
    keras.config.set_image_data_format("channels_last")
    np.testing.assert_array_equal(ours, kr.segmentation.probabilities(model, x, scales=(1.0, 0.5)))
    assert ours.shape == (1, 32, 48, 5)


def test_networks_of_keras_applications_are_built_with_channels_last(channels_first):
    network, preprocess = applications.foreign("ResNet50V2", None, (32, 32, 3))
    assert network.input_shape == (None, 32, 32, 3)
    pixels = np.full((1, 2, 2, 3), 255.0, "float32")
    np.testing.assert_array_equal(preprocess(pixels.copy()), keras.applications.resnet_v2.preprocess_input(pixels))
    assert keras.config.image_data_format() == "channels_first", "the user's own choice is left as it was"


def _first():
    inputs = keras.Input((4, 6, 6))
    y = keras.layers.Conv2D(4, 3, padding="same", data_format="channels_first", name="odd")(inputs)
    return keras.Model(inputs, keras.layers.Add()([inputs, y]), name="net")


def _pooled_first():
    """An operation that is no layer, in a nested model."""
    inputs = keras.Input((4, 6, 6))
    y = keras.ops.average_pool(inputs, 3, 1, "same", data_format="channels_first")
    inner = keras.Model(inputs, keras.layers.Add()([inputs, y]), name="inner")
    outer = keras.Input((4, 6, 6))
    return keras.Model(outer, inner(outer), name="net")


def _block():
    inner = keras.Sequential([keras.layers.Conv2D(4, 3, padding="same", data_format="channels_first", name="odd")])
    block = kr.ResidualBlock(inner, keras.layers.Identity(), name="block")
    return kr.ResidualNetwork([block], (4, 6, 6), name="net")


@pytest.mark.parametrize(
    "call",
    [
        lambda: kr.adopt(_first()),
        lambda: kr.adopt(_pooled_first()),
        lambda: kr.studies.responses(_first(), (np.zeros((2, 4, 6, 6), "float32"), None)),
        _block,
    ],
    ids=["adopt", "adopt an operation", "responses", "a block of one's own"],
)
def test_channels_first_are_refused_by_name(call):
    with pytest.raises(ArgumentError, match=r"channels must come last, and '(odd|average_pool\w*)' of 'net'.*build it"):
        call()


def test_every_call_that_has_a_choice_states_it():
    """Layers and operations whose default is keras.json's, in the whole package."""
    seen, silent = 0, []
    root = Path(kr.__file__).parent
    for file in root.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if not isinstance(call, ast.Call):
                continue
            words = ast.unparse(call.func).split(".")
            if len(words) < 2 or words[0] not in ("keras", "layers", "keras_layers", "ops") or "config" in words:
                continue
            found = keras
            for word in [{"keras_layers": "layers"}.get(w, w) for w in words if w != "keras"]:
                found = getattr(found, word, None)
            if found is None or not callable(found):
                continue
            names = inspect.signature(found).parameters
            if "data_format" not in names and not (
                inspect.isclass(found) and issubclass(found, keras.layers.DepthwiseConv2D)
            ):
                continue
            seen += 1
            if not any(keyword.arg == "data_format" for keyword in call.keywords):
                silent.append(f"{file.relative_to(root)}:{call.lineno}")
    assert seen > 10
    assert not silent
