"""Building, saving, features and options of networks."""

import keras
import numpy as np
import pytest
from helpers.network_families import FAMILIES

import keras_resnets as kr
from keras_resnets.architecture import variants
from keras_resnets.errors import ArgumentError

families = pytest.mark.parametrize(("name", "overrides"), FAMILIES.values(), ids=FAMILIES.keys())


def made(name, overrides, size=32):
    return kr.build(name, (size, size, 3), 7, **overrides)


@families
def test_keras_round_trip_is_exact(name, overrides, scramble, tmp_path):
    model = scramble(made(name, overrides))
    # Not traced, for the sake of time: what is saved is the same.
    model.compile(kr.optimizers.SGD(0.1, 0.9, l2=1e-4), "sparse_categorical_crossentropy", run_eagerly=True)
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    model.train_on_batch(x, np.arange(4))
    model.save(tmp_path / "net.keras")
    loaded = kr.load_model(tmp_path / "net.keras")
    loaded.run_eagerly = True
    assert type(loaded) is kr.ResidualNetwork
    assert loaded.spec == model.spec
    assert [link.name for link in loaded.chain] == [link.name for link in model.chain]
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    for a, b in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [v.path for v in loaded.weights] == [v.path for v in model.weights]
    # It goes on training alike; dropout draws afresh.
    if "dropout" not in overrides and "pooled" not in model.name:
        model.reset_metrics()  # of the first step, which older releases of Keras average with the next
        np.testing.assert_array_equal(model.train_on_batch(x, np.arange(4)), loaded.train_on_batch(x, np.arange(4)))


@families
def test_spec_survives_json(name, overrides):
    spec = made(name, overrides).spec
    assert kr.Spec.from_json(spec.to_json()) == spec
    assert kr.Spec.from_dict(spec.to_dict()) == spec


@families
def test_variable_paths_are_unique(name, overrides):
    model = made(name, overrides)
    assert len({v.path for v in model.weights}) == len(model.weights)


def test_networks_from_one_spec_start_differently_but_for_a_seed():
    kernels = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        kernels.append(np.asarray(kr.build("resnet8").blocks[1].residual.get_layer("conv1").kernel))
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).mean() > 1e-3


@pytest.mark.parametrize(("init", "fan"), [("fan_in", 64 * 9), ("fan_out", 128 * 9)])
def test_he_initialisation(init, fan):
    # He et al. 2015b: variance 2 / fan, untruncated: 4.6 % of the draws lie beyond two deviations.
    model = kr.build("resnet18", (32, 32, 3), 2, init=init)
    kernel = np.asarray(model.get_layer("stage2_block1").residual.get_layer("conv1").kernel)
    deviation = np.sqrt(2 / fan)
    assert kernel.std() == pytest.approx(deviation, rel=0.02)
    assert (np.abs(kernel) > 2 * deviation).mean() == pytest.approx(0.0455, abs=0.003)


@pytest.mark.parametrize("name", ["resnet8", "preresnet8"])
def test_zero_gamma_makes_every_identity_block_its_shortcut_and_still_learns(name):
    model = kr.build(name, (8, 8, 3), 4, zero_gamma=True)
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), kr.delete(model, range(len(model.blocks))).predict(x, verbose=0)
    )
    before = [np.asarray(block.residual.get_layer("conv2").kernel) for block in model.blocks]
    model.compile(kr.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    for _ in range(3):
        model.train_on_batch(x, np.arange(6) % 4)
    for block, old in zip(model.blocks, before, strict=True):
        assert np.abs(np.asarray(block.residual.get_layer("conv2").kernel) - old).max() > 0


def test_weight_decay_is_half_the_squared_norm(scramble):
    rate, sums = 0.01, {}
    for scope in ("kernels", "all"):
        model = scramble(kr.build("wrn_10_1", (8, 8, 1), 3, weight_decay=rate, decay=scope))
        decayed = [v for v in model.trainable_variables if scope == "all" or v.name == "kernel"]
        sums[scope] = sum(float((np.asarray(v) ** 2).sum()) for v in decayed)
        assert float(sum(model.losses)) == pytest.approx(rate / 2 * sums[scope], rel=1e-5)
    assert sums["all"] > sums["kernels"]


def test_features_are_the_links_outputs(scramble):
    model = scramble(kr.build("preresnet8", (16, 16, 3)))
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    features = model.features(x)
    assert list(features) == ["stem", "stage1", "stage2", "stage3", "head"]
    for name, layer in {"stem": "stem", "stage2": "stage2_block1", "head": "head"}.items():
        tap = keras.Model(model.input, model.get_layer(layer).output)
        np.testing.assert_allclose(features[name], tap.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_features_of_a_keras_tensor_make_a_backbone():
    backbone = kr.build("resnet18", (64, 64, 3), include_top=False, width=0.125)
    image = keras.Input((64, 64, 3))
    features = backbone.features(image)
    model = keras.Model(image, keras.layers.GlobalMaxPooling2D()(features["stage3"]))
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(
        model.predict(x, verbose=0), np.asarray(backbone.features(x)["stage3"]).max((1, 2)), rtol=1e-4, atol=1e-5
    )


def test_top_pooling_and_activation_compose(scramble):
    whole = scramble(kr.build("preresnet8", (16, 16, 3), 5))
    x = np.random.default_rng(1).normal(size=(3, 16, 16, 3)).astype("float32")

    def twin(**kwargs):
        model = kr.build("preresnet8", (16, 16, 3), 5, **kwargs)
        values = {v.path: v for v in whole.weights}
        for variable in model.weights:
            variable.assign(values[variable.path])
        return model.predict(x, verbose=0)

    maps, logits = twin(include_top=False), twin(classifier_activation=None)
    np.testing.assert_allclose(twin(include_top=False, pooling="avg"), maps.mean((1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(twin(include_top=False, pooling="max"), maps.max((1, 2)), rtol=1e-5, atol=1e-6)
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(whole.predict(x, verbose=0), exponents / exponents.sum(1, keepdims=True), rtol=1e-4)
    dense = whole.get_layer("head").body.get_layer("logits")
    np.testing.assert_allclose(
        maps.mean((1, 2)) @ np.asarray(dense.kernel) + np.asarray(dense.bias), logits, rtol=1e-4, atol=1e-5
    )


def test_the_head_is_met_as_on_keras_applications():
    network = kr.build("preresnet8", (8, 8, 1), 2)
    assert network.layers[-1].activation is keras.activations.softmax
    assert network.get_layer("predictions") is network.layers[-1].body.layers[-1]
    assert network.get_layer("head") is network.get_layer(index=-1) is network.layers[-1]
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
    probabilities = network.predict(x, verbose=0)
    network.layers[-1].activation = keras.activations.linear
    logits = network(x)
    np.testing.assert_allclose(keras.ops.softmax(logits), probabilities, rtol=1e-5)
    with pytest.raises(ArgumentError, match="got 'conv1': 3 layers have it, one of them in 'stage1_block1'"):
        network.get_layer("conv1")
    with pytest.raises(ArgumentError, match=r"got 'predictionz': no layer has it. Its links are stem, stage1_block1"):
        network.get_layer("predictionz")


def test_without_top_and_size_maps_are_of_any_size():
    # As keras.applications.ResNet50(include_top=False) has them.
    assert kr.Plain18(include_top=False).output_shape == (None, None, None, 512)
    assert kr.Plain18().input_shape == (None, 224, 224, 3)
    assert kr.Plain18(include_top=False, input_shape=(64, 64, 3)).output_shape == (None, 2, 2, 512)


def test_any_size_and_channel_count():
    open_size = kr.build("resnet8", (None, None, 2), 3)
    for height, width in ((8, 8), (31, 17), (4, 9)):
        fixed = kr.build("resnet8", (height, width, 2), 3)
        fixed.set_weights(open_size.get_weights())
        x = np.random.default_rng(0).normal(size=(2, height, width, 2)).astype("float32")
        np.testing.assert_allclose(open_size.predict(x, verbose=0), fixed.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_input_tensor_plain_and_computed(tmp_path):
    plain = kr.ResNet18(weights=None, input_tensor=keras.Input((32, 32, 3)), classes=3)
    assert [link.name for link in plain.chain][:2] == ["stem", "stage1_block1"]
    image = keras.Input((16, 16, 1))
    tensor = keras.layers.Rescaling(0.5)(keras.layers.Concatenate()([image] * 3))
    model = kr.build("resnet8", classes=4, input_tensor=tensor)
    bare = kr.build("resnet8", (16, 16, 3), 4)
    bare.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype("float32")
    y = bare.predict(np.repeat(x, 3, -1) * 0.5, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), y, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "net.keras")
    np.testing.assert_array_equal(
        kr.load_model(tmp_path / "net.keras").predict(x, verbose=0), model.predict(x, verbose=0)
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, scramble, tmp_path):
    full = scramble(kr.build("preresnet8", (16, 16, 3), 5))
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = kr.build("preresnet8", (16, 16, 3), 5)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    model.set_weights(full.get_weights())
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    assert {v.dtype for v in model.weights} == {"float32"}
    assert model.blocks[0].output.dtype == policy.removeprefix("mixed_")
    assert model.output.dtype == "float32"
    np.testing.assert_allclose(model.predict(x, verbose=0), full.predict(x, verbose=0), atol=0.05)
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(model.train_on_batch(x, np.arange(4)))
    model.save(tmp_path / "net.keras")
    assert (type(model.optimizer).__name__ == "LossScaleOptimizer") == (policy == "mixed_float16")
    loaded = kr.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_first_step_does_not_trace_the_network_for_its_shape(images, tiny):
    # The shortcut of `_symbolic_build` must not change what is trained.
    x, y = images
    losses = []
    for shortcut in (True, False):
        keras.utils.set_random_seed(3)
        model = kr.build(tiny)
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        if not shortcut:
            keras.Model._symbolic_build(model, data_batch=(x, y))
        losses.append([model.train_on_batch(x, y) for _ in range(3)])
        assert not model._only_shape
    np.testing.assert_array_equal(*losses)
    assert losses[0][0][0] != losses[0][2][0]


def test_preactivation_layout():
    model = kr.build("preresnet164")
    # He et al. 2016, appendix: no BN on the projection, shared first BN-ReLU, BN-ReLU at the end.
    for block in model.blocks:
        first = block.name.endswith("_block1")
        assert (block.preactivation is not None) == first
        assert block.activation is None
        if first:
            assert [type(layer).__name__ for layer in block.preactivation.layers] == ["BatchNorm", "ReLU"]
            # A strided 1x1 is a subsampling layer and one of stride 1.
            front = [] if block.name == "stage1_block1" else ["AveragePooling2D"]
            assert [type(layer).__name__ for layer in block.shortcut.layers] == [*front, "Conv2D"]
            assert block.residual.layers[len(front)].name == "conv1"
        else:
            assert block.has_identity_shortcut
    assert [layer.name for layer in model.get_layer("head").body.layers][:2] == ["bn", "relu"]
    assert [layer.name for layer in model.get_layer("stem").body.layers] == ["conv"]


def test_wide_resnet_reads_the_raw_input_where_it_does_not_project():
    # Zagoruyko & Komodakis 2016 with k = 1: the first group has no projection, so nothing is shared there.
    shared = [b.name for b in kr.build("wrn_10_1").blocks if b.preactivation is not None]
    assert shared == ["stage2_block1", "stage3_block1"]


def test_stride_place():
    def strides(name):
        block = kr.build(name, (64, 64, 3), width=0.0625).get_layer("stage2_block1")
        return {layer.name: layer.strides[0] for layer in block.residual.layers if hasattr(layer, "strides")}

    assert strides("resnet50") == {"conv1_subsample": 2, "conv1": 1, "conv2": 1, "conv3": 1}
    assert strides("resnet50_v15") == {"conv1": 1, "conv2": 2, "conv3": 1}


def test_strided_convolution_pads_on_both_sides():
    # TensorFlow's "same" pads a strided convolution on the far side alone; the papers' frameworks pad both.
    model = kr.build("resnet8", (8, 8, 1))
    block = model.get_layer("stage2_block1")
    first = keras.Sequential(block.residual.layers[:2])
    kernel = np.random.default_rng(0).normal(size=(3, 3, 16, 32)).astype("float32")
    block.residual.get_layer("conv1").kernel.assign(kernel)
    x = np.random.default_rng(1).normal(size=(1, 8, 8, 16)).astype("float32")
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.stack(
        [
            [np.einsum("hwc,hwco->o", padded[0, i : i + 3, j : j + 3], kernel) for j in range(0, 8, 2)]
            for i in range(0, 8, 2)
        ]
    )
    np.testing.assert_allclose(first(x)[0], expected, rtol=1e-4, atol=1e-4)


def test_weights_argument_copies_by_path(tmp_path, scramble):
    model = scramble(kr.build("resnet8", (16, 16, 3), 5))
    model.save(tmp_path / "net.keras")
    twin = kr.build("resnet8", (32, 32, 3), 5, weights=tmp_path / "net.keras")
    for a, b in zip(model.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    backbone = kr.build("resnet8", (16, 16, 3), include_top=False, weights=tmp_path / "net.keras")
    for a, b in zip(model.weights, backbone.weights, strict=False):
        np.testing.assert_array_equal(a, b)
    assert len(backbone.weights) == len(model.weights) - 2


def test_macs_of_other_keras_models():
    # keras.applications' ResNet50 is the stride-on-1x1 network: 3.858 G (He et al. 2015, Table 1).
    assert kr.macs(keras.applications.ResNet50(weights=None)) == kr.macs(kr.build("resnet50"))
    assert kr.macs(keras.applications.MobileNetV2(weights=None)) == pytest.approx(300e6, rel=0.01)


def test_spec_is_frozen_and_hashable():
    spec = variants.spec("resnet20")
    with pytest.raises(AttributeError):
        spec.classes = 3
    assert len({spec, variants.spec("resnet20"), spec.replace(classes=3)}) == 2
