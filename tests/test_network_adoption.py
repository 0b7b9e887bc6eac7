"""Foreign models cut into chains: what they compute, what they share, what is refused."""

import gc
import weakref

import keras
import numpy as np
import pytest
from helpers.foreign_models import residual_model
from keras import layers

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

APPLICATIONS = {
    # name: number of blocks, the first block, and the blocks whose shortcut is no identity
    "ResNet50": (16, "conv2_block1", 4),
    "ResNet50V2": (16, "conv2_block1", 7),  # the strided ones too: a max-pool
    "MobileNetV2": (10, "block_2", 0),
    "EfficientNetB0": (9, "block2b", 0),
    "EfficientNetV2B0": (15, "block2b", 0),
}


def original(name, size=32):
    # Without the stretch of ImageNet's variance: EfficientNetB0 would need the weights that go with it.
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=7)


def nodes(model):
    return {layer.name: (len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model.layers}


@pytest.mark.parametrize(
    "name", [*list(APPLICATIONS)[:-1], pytest.param("EfficientNetV2B0", marks=pytest.mark.thorough)]
)
def test_adopted_network_is_the_model_to_the_bit(name, scramble, tmp_path):
    count, first, projections = APPLICATIONS[name]
    model = scramble(original(name))
    before = nodes(model)
    network = kr.adopt(model)
    x = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(network.predict(x, verbose=0), expected)
    assert network.blocks[0].name == first
    assert len(network.blocks) == count
    assert sum(not isinstance(block.shortcut, layers.Identity) for block in network.blocks) == projections
    assert {id(v) for v in network.weights} == {id(v) for v in model.weights}
    assert kr.macs(network) == kr.macs(model)
    network.save(tmp_path / "net.keras")
    loaded = kr.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    assert {v.path for v in loaded.weights} == {v.path for v in model.weights}
    assert nodes(model) == before
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_it_trains_as_the_original_does(scramble):
    x, y = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32"), np.arange(8) % 7
    losses = []
    for wrap in (lambda model: model, kr.adopt):
        model = wrap(scramble(residual_model()))
        for variable in model.weights:
            rng = np.random.default_rng(list(variable.path.encode()))
            variable.assign(rng.normal(0.05, 0.1, variable.shape))
        model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
        losses.append([model.train_on_batch(x, y) for _ in range(4)])
        assert losses[-1][0] != losses[-1][-1]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


def test_branches_names_and_activations():
    network = kr.adopt(residual_model())
    assert [link.name for link in network.chain] == ["stem", "one", "two", "head"]
    one, two = network.blocks
    assert isinstance(one.shortcut, layers.Identity)
    assert [op.name for op in two.shortcut.operations] == ["two_0"]
    assert [op.name for op in two.residual.operations] == ["two_1", "two_bn", "two_2"]
    assert (one.activation.name, two.activation.name) == ("one_relu", "two_relu")
    assert network.stages == ["30x30x4", "30x30x6"]
    frozen = residual_model()
    frozen.trainable = False
    assert [op.name for op in kr.adopt(frozen).blocks[1].shortcut.operations] == ["two_0"]


def test_nested_models_are_unfolded_and_keep_their_mode():
    x = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32")
    body = keras.Model((m := residual_model()).input, m.layers[-2].output)
    inputs = keras.Input((32, 32, 3))
    outer = keras.Model(inputs, layers.Dense(3, "softmax")(body(inputs / 2, training=False)))
    network = kr.adopt(outer)
    assert [b.name for b in network.blocks] == ["one", "two"]
    np.testing.assert_array_equal(network.predict(x, verbose=0), outer.predict(x, verbose=0))
    # Keras puts the mode of the call before the recorded one: `fit` updates the original's statistics, too.
    weights = outer.get_weights()
    trained = []
    for model in (outer, network):
        outer.set_weights(weights)  # the network shares them
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.train_on_batch(x, np.zeros(8))
        trained.append(sorted(tuple(v.numpy().ravel()) for v in model.non_trainable_variables if "moving" in v.path))
    assert len(trained[0]) == len(trained[1]) > 0
    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert trained[0] != sorted(tuple(v.ravel()) for v in weights if v.ndim == 1)
    loaded = kr.ResidualNetwork.from_config(network.get_config())
    loaded.set_weights(network.get_weights())
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), network.predict(x, verbose=0))


def test_our_own_network_inside_another_model(scramble):
    inner = scramble(kr.build("preresnet8", (16, 16, 3), 5, include_top=False, pooling="avg"))
    inputs = keras.Input((16, 16, 3))
    network = kr.adopt(keras.Sequential([inputs, inner, layers.Dense(3, "softmax")]))
    assert [b.name for b in network.blocks] == [b.name for b in inner.blocks]
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    lesioned = kr.delete(network, 1)
    kernel, bias = network.chain[-1].body.operations[-1].get_weights()
    expected = kr.delete(inner, 1).predict(x, verbose=0) @ kernel + bias
    np.testing.assert_allclose(np.log(lesioned.predict(x, verbose=0)), expected - _logsumexp(expected), atol=1e-4)
    assert kr.adopt(inner) is inner


def _logsumexp(x):
    return np.log(np.exp(x).sum(1, keepdims=True))


def test_dtypes_of_input_and_layers_survive():
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = layers.Conv2D(3, 3, padding="same", dtype="mixed_float16")(layers.Rescaling(1 / 255)(inputs))
    outputs = layers.Add(dtype="mixed_float16")([x, layers.Conv2D(3, 1, dtype="mixed_float16")(x)])
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(dtype="float32")(outputs))
    network = kr.adopt(model)
    assert network.blocks[0].output.dtype == "float16"
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype="uint8")
    # Not by predict, whose graph optimiser may round half precision at other places.
    np.testing.assert_array_equal(network(x), model(x))
    again = kr.ResidualNetwork.from_config(network.get_config())
    assert again.inputs[0].dtype == "uint8"


def graph(join):
    inputs = keras.Input((8, 8, 4), name="input")
    return keras.Model(inputs, join(inputs), name="strange")


def crossing(x):
    one = layers.Conv2D(4, 1, name="inside")(x)
    two = layers.Add(name="first_add")([x, layers.Conv2D(4, 1)(one)])
    return layers.Add(name="second_add")([one, layers.Conv2D(4, 1)(two)])


def shared(x):
    conv = layers.Conv2D(4, 1, name="twice")
    return layers.Add()([x, conv(conv(x))])


def hidden(x):
    y = layers.Add(name="inner_add")([x, layers.Conv2D(4, 1)(x)])
    return layers.Concatenate(name="joint")([x, y])


def two_inputs():
    a, b = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    return keras.Model([a, b], layers.Add()([a, b]), name="strange")


class Subclassed(keras.Model):
    def call(self, x):
        return x


REFUSED = {
    "DenseNet": (lambda: keras.applications.DenseNet121(weights=None), ["'conv2_block1_concat'", "no addition"]),
    "Inception": (lambda: keras.applications.InceptionV3(weights=None), ["'mixed0'", "no addition"]),
    "VGG": (lambda: keras.applications.VGG16(weights=None), ["'vgg16'", "no addition of two branches"]),
    "crossing": (lambda: graph(crossing), ["'second_add'", "'inside'", "both of its branches"]),
    "shared layer": (lambda: graph(shared), ["'twice'", "more than once"]),
    "hidden": (lambda: graph(hidden), ["'inner_add'", "'joint'"]),
    "three terms": (
        lambda: graph(lambda x: layers.Add(name="sum")([x, layers.Conv2D(4, 1)(x), layers.Conv2D(4, 1)(x)])),
        ["'sum'", "3 terms"],
    ),
    "two inputs": (two_inputs, ["2 inputs", "'left'", "'right'"]),
    "two outputs": (
        lambda: keras.Model((i := keras.Input((4,))), [layers.Dense(4, name="a")(i), layers.Dense(4, name="b")(i)]),
        ["2 outputs", "'a'", "'b'"],
    ),
    "subclassed": (Subclassed, ["functional", "Subclassed"]),
    "unbuilt": (lambda: keras.Sequential([layers.Dense(3)], name="late"), ["functional", "'late'"]),
    "no model": (lambda: "resnet50", ["Keras model", "got str"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_chain_is_refused_by_name(name):
    make, parts = REFUSED[name]
    with pytest.raises(ArgumentError) as caught:
        kr.adopt(make())
    text = str(caught.value)
    assert not [part for part in parts if part not in text], text
    assert text.endswith(".")


def test_a_thousand_adoptions_and_deletions_leave_nothing():
    inputs = keras.Input((8, 8, 2))
    y = layers.Add(name="only_add")([inputs, layers.Conv2D(2, 1)(inputs)])
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(y)))

    def cycle(times):
        for _ in range(times):
            kr.delete(kr.adopt(model), "only")
        gc.collect()
        return len(gc.get_objects())

    before, after = cycle(100), cycle(1000)
    assert after - before < 500, "an object or more stays behind in every other cycle"


def test_functions_named_after_keras_applications_are_its_networks():
    ours = kr.ResNet50V2(weights=None, input_shape=(64, 64, 3), classes=5)
    theirs = keras.applications.ResNet50V2(weights=None, input_shape=(64, 64, 3), classes=5)
    theirs.set_weights([w.numpy() for w in _in_order_of(theirs, ours)])
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    assert kr.parameters(kr.ResNet50V2(weights=None)) == 25_613_800 - 45_440  # papers.md, section 8.6, less statistics


def _in_order_of(model, other):
    by_path = {v.path: v for v in other.weights}
    return [by_path[v.path] for v in model.weights]


@pytest.mark.parametrize(("block_type", "pre"), [("bottleneck_block", False), ("basic_block", True)])
def test_keras_hub_backbone(block_type, pre, tmp_path):
    hub = pytest.importorskip("keras_hub", reason="keras-hub, an optional dependency, is not installed")
    options = {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 128],
        "stackwise_num_blocks": [2, 2],
        "stackwise_num_strides": [1, 2],
        "block_type": block_type,
        "use_pre_activation": pre,
        "image_shape": (32, 32, 3),
    }
    backbone = hub.models.ResNetBackbone(**options)
    rng = np.random.default_rng(0)
    backbone.set_weights([rng.uniform(0.1, 0.2, value.shape) for value in backbone.get_weights()])
    x = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    expected = backbone.predict(x, verbose=0)
    network = kr.adopt(backbone)
    np.testing.assert_array_equal(network.predict(x, verbose=0), expected)
    assert len(network.blocks) == 4
    # A preset is opened by keras-hub, and its file of weights fills a network of the same layers.
    backbone.save_to_preset(tmp_path)
    opened = kr.adopt(hub.models.ResNetBackbone.from_preset(str(tmp_path)))
    np.testing.assert_array_equal(opened.predict(x, verbose=0), expected)
    other = kr.adopt(hub.models.ResNetBackbone(**options))
    assert kr.weights.load(other, tmp_path / "model.weights.h5").is_complete
    np.testing.assert_array_equal(other.predict(x, verbose=0), expected)
