"""Public weight files: logits of the networks filled from them against independent computations."""

import dataclasses
import functools
import struct

import keras
import numpy as np
import pytest
import weight_references as reference
from safetensors.numpy import save_file
from weight_references import Held

import keras_resnets as kr
from keras_resnets import variants
from keras_resnets.cli import main
from keras_resnets.errors import ArgumentError

IMAGENET = (123.675, 116.28, 103.53, 58.395, 57.12, 57.375)  # 255 times torch's mean and deviation


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def scores(model, x):
    """What a network gives for images with their channels in front, with its own channels in front."""
    y = np.asarray(model(np.moveaxis(x, 1, -1)))
    return y if y.ndim == 2 else np.moveaxis(y, -1, 1)


def logits(archive, name=None, **options):
    return kr.weights.network(archive, name, classifier_activation=None, **options)


def close(found, expected, tolerance=1e-4):
    assert found.shape == expected.shape
    # Moving statistics far from 0 and 1 let the numbers grow from block to block.
    np.testing.assert_allclose(found, expected, atol=tolerance * max(1, np.abs(expected).max()))


# torchvision and timm


@pytest.mark.parametrize(("bottleneck", "inner"), [(False, 1), (True, 1), (True, 2)])
def test_names_of_torchvision(bottleneck, inner):
    arrays = reference.draw_torchvision((2, 1, 2, 1), 4, bottleneck, inner)
    archive, x = Held("torch", arrays), images(2, 3, 37, 45)
    model = logits(archive, input_shape=(37, 45, 3))
    close(scores(model, x), reference.torchvision(arrays, x))
    assert (*model.preprocessing.mean, *model.preprocessing.std) == pytest.approx(IMAGENET)
    assert model.spec.classes == 5
    counters = [name for name in arrays if name.endswith("num_batches_tracked")]
    assert set(kr.weights.plan(model, archive).left) == set(counters)


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (functools.partial(reference.draw_torchvision, (2, 2, 2, 2), 64), "resnet18"),
        (functools.partial(reference.draw_torchvision, (3, 4, 6, 3), 64), "resnet34"),
        (functools.partial(reference.draw_torchvision, (3, 4, 6, 3), 64, True), "resnet50_v15"),
        (functools.partial(reference.draw_torchvision, (3, 4, 6, 3), 64, True, 2), "wrn50_2"),
        (functools.partial(reference.draw_akamaster, 3, 16), "resnet20"),
        (functools.partial(reference.draw_akamaster, 8, 16), "resnet50_cifar"),
        (functools.partial(reference.draw_wide, 1, (64, 128, 256)), "wrn_10_4"),
    ],
)
def test_names_and_shapes_tell_the_variant(draw, name, monkeypatch):
    built = []
    monkeypatch.setattr(kr.weights.loading, "build", lambda spec, *_, **__: built.append(spec))
    monkeypatch.setattr(kr.weights.loading, "load", lambda *_: None)
    kr.weights.network(Held("torch", draw(seed=None)))
    assert built[0].name == name
    assert built[0].classes == 5


def test_torch_itself():
    torch = pytest.importorskip("torch", reason="the reference is torch itself")
    for name, blocks, width, bottleneck, inner in (
        ("resnet18", (2, 2, 2, 2), 64, False, 1),
        ("resnet50_v15", (3, 4, 6, 3), 64, True, 1),
        ("resnet", (3, 4, 6, 3), 8, True, 2),  # wide_resnet50_2, slim
    ):
        net = torch_resnet(torch, blocks, width, bottleneck, inner)
        x = images(1, 3, 64, 64)
        with torch.no_grad():
            expected = net(torch.from_numpy(x)).numpy()
        arrays = {key: value.numpy() for key, value in net.state_dict().items()}
        model = logits(Held("torch", arrays), input_shape=(64, 64, 3))
        assert model.spec.name == name
        close(scores(model, x), expected)


def test_a_checkpoint_of_torch(tmp_path):
    torch = pytest.importorskip("torch", reason="torch writes the file")
    arrays, x = reference.draw_torchvision((1, 1, 1, 1), 2), images(1, 3, 32, 32)
    state = {f"module.{name}": torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    torch.save({"epoch": 3, "state_dict": state, "best": None}, tmp_path / "checkpoint.pth.tar")
    model = logits(tmp_path / "checkpoint.pth.tar", input_shape=(32, 32, 3))
    close(scores(model, x), reference.torchvision(arrays, x))


def torch_resnet(torch, blocks, width, bottleneck, inner):
    """torchvision's module: the stride on the 3x3, a max-pool with a pixel on each side; random statistics."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, into, base, out, stride):
            super().__init__()
            rows = [(base, into, 3, stride), (base, base, 3, 1)]
            if bottleneck:
                wide = base * inner
                rows = [(wide, into, 1, 1), (wide, wide, 3, stride), (out, wide, 1, 1)]
            self.count = len(rows)
            for i, (o, c, k, s) in enumerate(rows, 1):
                setattr(self, f"conv{i}", nn.Conv2d(c, o, k, s, k // 2, bias=False))
                setattr(self, f"bn{i}", nn.BatchNorm2d(o))
            self.downsample = None
            if stride != 1 or into != out:
                self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

        def forward(self, x):
            h = x
            for i in range(1, self.count + 1):
                h = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(h))
                h = torch.relu(h) if i < self.count else h
            return torch.relu(h + (x if self.downsample is None else self.downsample(x)))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
            self.pool, into = nn.MaxPool2d(3, 2, 1), width
            for s, count in enumerate(blocks):
                base = width * 2**s
                out = 4 * base if bottleneck else base
                layer = []
                for b in range(count):
                    layer.append(Block(into, base, out, 2 if s and not b else 1))
                    into = out
                setattr(self, f"layer{s + 1}", nn.Sequential(*layer))
            self.fc = nn.Linear(into, 1000)

        def forward(self, x):
            x = self.pool(torch.relu(self.bn1(self.conv1(x))))
            for s in range(1, 5):
                x = getattr(self, f"layer{s}")(x)
            return self.fc(x.mean((2, 3)))

    torch.manual_seed(0)
    net = Net().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.3, 1.5)
            module.bias.data.normal_(0, 0.5)
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 3)
    return net


@pytest.mark.parametrize("prefix", ["module.", "state_dict.", "state_dict.module.", "model.", "model.state_dict."])
def test_wrappers_are_stripped(prefix):
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    wrapped = {prefix + name: array for name, array in arrays.items()}
    wrapped["optimizer.state.0.momentum_buffer"] = np.zeros(3, "float32")
    archive, x = Held("torch", wrapped), images(1, 3, 32, 32)
    model = logits(archive, input_shape=(32, 32, 3))
    close(scores(model, x), reference.torchvision(arrays, x))
    assert "optimizer.state.0.momentum_buffer" in kr.weights.plan(model, archive).left


def test_an_average_beside_the_network_is_left():
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    average = {f"state_dict_ema.{name}": array + 1 for name, array in arrays.items()}
    archive = Held("torch", {**average, **{f"state_dict.{name}": array for name, array in arrays.items()}})
    model = kr.weights.network(archive, input_shape=(32, 32, 3))
    np.testing.assert_array_equal(values(model)[0], arrays["conv1.weight"].transpose(2, 3, 1, 0))
    assert set(average) <= set(kr.weights.plan(model, archive).left)


def test_two_networks_in_one_file_are_refused():
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    both = {prefix + name: array for prefix in ("model.", "state_dict.") for name, array in arrays.items()}
    with pytest.raises(ArgumentError, match=r"2 networks, under 'model.' and 'state_dict.'; keep one"):
        kr.weights.network(Held("torch", both))


# CIFAR


@pytest.mark.parametrize("projects", [False, True])
def test_names_of_akamaster(projects):
    arrays = reference.draw_akamaster(3, projects=projects)
    x = images(2, 3, 32, 32)
    model = logits(Held("torch", {f"state_dict.module.{name}": array for name, array in arrays.items()}))
    close(scores(model, x), reference.akamaster(arrays, x))
    assert model.spec.shortcut == ("B" if projects else "A")
    assert (*model.preprocessing.mean, *model.preprocessing.std) == pytest.approx(IMAGENET)


def test_channels_of_akamaster_are_reordered_in_the_features_too():
    arrays = reference.draw_akamaster(1)
    model = logits(Held("torch", arrays))
    x = images(1, 3, 32, 32)
    ours = np.asarray(model.features(np.moveaxis(x, 1, -1))["stage2"])[0]
    net = reference.TorchNet(arrays)
    h = reference.relu(net.bn(reference.conv(x, arrays["conv1.weight"]), "bn1"))
    theirs = net.block(net.block(h, "layer1.0", (1, 1)), "layer2.0", (2, 1))[0]
    # Of 8 channels, 2 zeros stand in front of the 4 that came.
    np.testing.assert_allclose(ours, np.moveaxis(theirs[[2, 3, 4, 5, 0, 1, 6, 7]], 0, -1), atol=1e-4)


@pytest.mark.parametrize("widths", [(32, 64, 128), (16, 32, 64)])
def test_names_of_zagoruyko(widths):
    arrays = reference.draw_wide(1, widths)
    split = {("stats." if "running" in n else "params.") + n: array for n, array in arrays.items()}
    joined = {"params." + n: array for n, array in arrays.items()}
    x = images(2, 3, 32, 32)
    expected = reference.wide(arrays, x)
    for held in (split, joined):
        model = logits(Held("torch", held))
        close(scores(model, x), expected)
    assert model.spec.name == f"wrn_10_{widths[0] // 16}"
    assert model.preprocessing == kr.Preprocessing((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))


# Wu et al. 2016

A = (0, 3, 3, 6, 3, 1, 1)
A1_AT_8 = {5: (1, 2, 2), 6: (1, 4, 4), 7: (4, 4, 4)}


def wu_scores(features, arrays, weight="arg:linear5_weight", bias="arg:linear5_bias"):
    return features.mean((2, 3)) @ arrays[weight].T + arrays[bias]


def classifier(drawn, weight="arg:linear5_weight", bias="arg:linear5_bias"):
    drawn.kernel(weight, 5, 20)
    drawn.vector(bias, 5)
    return drawn.arrays


@pytest.fixture(scope="module")
def wu38():
    return classifier(reference.draw_wu("mxnet", A))


@pytest.mark.parametrize(
    ("name", "pools", "strides"),
    [
        ("resnet38", (2, 3, 4, 5, 6), ()),
        ("resnet38_a1", (), (2, 3, 4, 5, 6)),
        ("resnet38_a2", (2, 3), (4, 5, 6)),
    ],
)
def test_names_of_mxnet(name, pools, strides, wu38):
    x = images(1, 3, 37, 42)
    features = reference.wu("mxnet", wu38, x, pools, strides, "end", 1.001e-5)
    model = logits(Held("mxnet", wu38), name, input_shape=(37, 42, 3))
    close(scores(model, x), wu_scores(features, wu38))
    assert model.spec.bn_epsilon == 1.001e-5
    assert (*model.preprocessing.mean, *model.preprocessing.std) == pytest.approx(IMAGENET)


def test_a_second_classifier_is_not_left(wu38):
    archive = Held("mxnet", {**wu38, "arg:linear7_weight": zeros(7, 20)})
    model = logits(Held("mxnet", wu38), "resnet38_a1", input_shape=(32, 32, 3))
    assert kr.weights.plan(model, archive).unused == ("arg:linear7_weight",)


def test_a_file_that_may_be_of_three_networks(wu38):
    with pytest.raises(ArgumentError, match=r"3 networks; .*'resnet38', 'resnet38_a1', 'resnet38_a2'"):
        kr.weights.network(Held("mxnet", wu38))


@pytest.mark.parametrize(("units", "name"), [((0, 1, 1, 1, 3, 1, 1), "wu_b"), ((0, 1, 1, 1, 1, 1, 1), "wu_16")])
def test_names_tell_the_shallow_networks(units, name):
    x, kinds = images(1, 3, 32, 32), {"mxnet": ("end", 1.001e-5), "wider": ("both", 1e-5)}
    for kind, (padding, epsilon) in kinds.items():
        arrays = reference.draw_wu(kind, units).arrays
        expected = reference.wu(kind, arrays, x, (2, 3, 4, 5, 6), (), padding, epsilon)
        archive = Held("mxnet" if kind == "mxnet" else "torch", arrays)
        if kind == "wider":  # the names are those of a network with two pools, too
            with pytest.raises(ArgumentError, match=f"2 networks; .*'{name}', '{name}_a2'"):
                kr.weights.network(archive)
        model = kr.weights.network(archive, None if kind == "mxnet" else name, input_shape=(32, 32, 3))
        close(scores(model, x), expected)
        assert model.spec.name == name


def test_names_of_mxnet_with_a_first_level():
    arrays = classifier(reference.draw_wu("mxnet", (1, 1, 1, 1, 5, 1, 1)))
    x = images(1, 3, 24, 24)
    features = reference.wu("mxnet", arrays, x, (2, 3, 4, 5), (), "end", 1.001e-5)
    model = logits(Held("mxnet", arrays), "wu_e", input_shape=(24, 24, 3))
    close(scores(model, x), wu_scores(features, arrays))


def test_a_trunk_for_segmentation_from_a_classifiers_file(wu38):
    archive = Held("mxnet", wu38)
    spec = kr.weights.network(archive, "resnet38_a1").spec
    model = kr.segmentation.fcn(spec, 21, input_shape=(32, 32, 3))
    with pytest.raises(ArgumentError, match=r"lacks: arg:conv6a_weight for head/body/conv/kernel"):
        kr.weights.load(model, archive)
    plan = kr.weights.load(model, archive, head=False)
    assert sorted(plan.left) == ["arg:linear5_bias", "arg:linear5_weight"]
    x = images(1, 3, 32, 32)
    features = reference.wu("mxnet", wu38, x, (), (2, 3, 4), "end", 1.001e-5, A1_AT_8)
    found = np.asarray(model.features(np.moveaxis(x, 1, -1))["stage6"])
    end = {v.path.split("/")[-1]: np.asarray(v) for v in model.weights if v.path.startswith("head/body/bn/")}
    found = reference.norm(
        np.moveaxis(found, -1, 1), *(end[n] for n in ("gamma", "beta", "moving_mean", "moving_variance")), 1.001e-5
    )
    close(reference.relu(found), features)


def test_names_of_mxnet_for_segmentation():
    drawn = reference.draw_wu("mxnet", A)
    drawn.kernel("arg:conv6a_weight", 6, 20, 3, 3)
    drawn.vector("arg:conv6a_bias", 6)
    drawn.kernel("arg:linear21_weight", 21, 6, 3, 3)
    drawn.vector("arg:linear21_bias", 21)
    arrays, x = drawn.arrays, images(1, 3, 72, 64)
    h = reference.wu("mxnet", arrays, x, (), (2, 3, 4), "end", 1.001e-5, A1_AT_8)
    h = reference.relu(reference.conv(h, arrays["arg:conv6a_weight"], dilation=12) + drawn_bias(arrays, "conv6a"))
    expected = reference.conv(h, arrays["arg:linear21_weight"], dilation=12) + drawn_bias(arrays, "linear21")
    model = logits(Held("mxnet", arrays), "resnet38_a1", input_shape=(72, 64, 3))
    close(scores(model, x), expected)
    assert (model.spec.head, model.spec.classes, model.spec.head_width) == ("2conv", 21, 6)


def drawn_bias(arrays, layer):
    return arrays[f"arg:{layer}_bias"][:, None, None]


def test_a_params_file(wu38, tmp_path):
    file, (names, arrays) = tmp_path / "ilsvrc-cls_rna-a1_cls1000_ep-0001.params", zip(*wu38.items(), strict=True)
    with open(file, "wb") as out:
        out.write(struct.pack("<QQQ", 0x112, 0, len(arrays)))
        for array in arrays:
            out.write(struct.pack("<II", 0xF993FAC8, array.ndim) + struct.pack(f"<{array.ndim}q", *array.shape))
            out.write(struct.pack("<iii", 1, 0, 0) + array.tobytes())
        out.write(struct.pack("<Q", len(names)))
        for name in names:
            out.write(struct.pack("<Q", len(name)) + name.encode())
    x = images(1, 3, 32, 32)
    features = reference.wu("mxnet", wu38, x, (), (2, 3, 4, 5, 6), "end", 1.001e-5)
    model = kr.build(
        kr.weights.network(Held("mxnet", wu38), "resnet38_a1").spec,
        (32, 32, 3),
        weights=file,
        classifier_activation=None,
    )
    close(scores(model, x), wu_scores(features, wu38))


def test_names_of_psa():
    drawn = reference.draw_wu("psa", A)
    drawn.kernel("fc8.weight", 5, 20, 1, 1)
    arrays, x = drawn.arrays, images(1, 3, 32, 48)
    features = reference.wu("psa", arrays, x, (), (2, 3, 4), dilations=A1_AT_8)
    model = logits(Held("torch", arrays), input_shape=(32, 48, 3))
    close(scores(model, x), features.mean((2, 3)) @ arrays["fc8.weight"][:, :, 0, 0].T)
    assert (model.spec.name, model.spec.output_stride, model.spec.bn_epsilon) == ("resnet38_a1", 8, 1e-5)


@pytest.mark.parametrize(
    ("name", "pools", "strides", "options", "dilations"),
    [
        ("resnet38", (2, 3, 4, 5, 6), (), {}, None),
        ("resnet38_a2", (2, 3), (4, 5, 6), {}, None),
        ("resnet38_a2", (2, 3), (4,), {"output_stride": 8}, {5: (2, 2, 2), 6: (4, 4, 4), 7: (4, 4, 4)}),
    ],
)
def test_names_of_wider_resnet(name, pools, strides, options, dilations):
    arrays = classifier(reference.draw_wu("wider", A), "classifier.fc.weight", "classifier.fc.bias")
    x = images(1, 3, 37, 42)
    features = reference.wu("wider", arrays, x, pools, strides, "both", dilations=dilations)
    held = Held("torch", {f"state_dict.module.{n}": a for n, a in arrays.items()})
    model = logits(held, name, input_shape=(37, 42, 3), **options)
    close(scores(model, x), wu_scores(features, arrays, "classifier.fc.weight", "classifier.fc.bias"))


def test_inplace_abn_is_refused():
    names = ("mod1.conv1.weight", "mod2.block1.bn1.weight")
    with pytest.raises(ArgumentError, match=r"leaky ReLU .* rename 'bn1.weight' to 'bn1.0.weight'"):
        kr.weights.network(Held("torch", dict.fromkeys(names, np.zeros(1, "float32"))))


# Keras


def by_layer(model):
    return {"/".join(v.path.split("/")[-2:]): keras.ops.convert_to_numpy(v) for v in model.weights}


@pytest.fixture(scope="module")
def keras_first():
    """ResNet50 with biases and statistics that are not 0 and 1, and what it gives for an image."""
    keras.utils.set_random_seed(0)
    original = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=7, classifier_activation=None)
    return scrambled(original)


@pytest.fixture(scope="module")
def keras_second():
    keras.utils.set_random_seed(0)
    original = keras.applications.ResNet50V2(
        weights=None, input_shape=(64, 64, 3), classes=7, classifier_activation=None
    )
    return scrambled(original)


def scrambled(model):
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.path.endswith(("gamma", "moving_variance")):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.path.endswith(("beta", "moving_mean", "bias")):
            variable.assign(rng.normal(0, 0.3, variable.shape))
    x = images(1, 64, 64, 3)
    return model, x, np.asarray(model(x))


def test_first_networks_of_keras(keras_first, tmp_path):
    original, x, expected = keras_first
    original.save(tmp_path / "net.keras")
    model = kr.weights.network(tmp_path / "net.keras", input_shape=(64, 64, 3), classifier_activation=None)
    close(np.asarray(model(x)), expected)
    assert (model.spec.name, model.spec.bn_epsilon, model.spec.classes) == ("resnet50", 1.001e-5, 7)
    assert model.preprocessing == kr.Preprocessing((103.939, 116.779, 123.68), (1.0,), "bgr")


def test_second_networks_of_keras(keras_second, tmp_path):
    original, x, expected = keras_second
    original.save(tmp_path / "net.keras")
    model = kr.weights.network(tmp_path / "net.keras", input_shape=(64, 64, 3), classifier_activation=None)
    np.testing.assert_array_equal(np.asarray(model(x)), expected)
    assert model.preprocessing == kr.Preprocessing((127.5,), (127.5,))
    with pytest.raises(ArgumentError, match=r"output_stride cannot be given for .*net.keras"):
        kr.weights.network(tmp_path / "net.keras", output_stride=8)
    raw = np.array([[[0, 127.5, 255]]])
    np.testing.assert_allclose(model.preprocessing(raw), [[[-1, 0, 1]]])


def test_caffe_names_of_old(keras_first):
    original, x, _ = keras_first
    renamed = {}
    for name, array in by_layer(original).items():
        layer, variable = name.split("/")
        renamed[old_name(layer) + "/" + variable] = array
    for block in original.layers:
        if isinstance(block, keras.layers.BatchNormalization):
            block.epsilon = 1e-3
    original.make_predict_function(force=True)
    expected = np.asarray(original(x))
    for block in original.layers:
        if isinstance(block, keras.layers.BatchNormalization):
            block.epsilon = 1.001e-5
    older = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}
    oldest = {}
    for name, array in renamed.items():
        layer, variable = name.split("/")
        oldest[f"{layer}/{layer}_{older.get(variable, variable)}"] = array
    model = logits(Held("hdf5", renamed), input_shape=(64, 64, 3))
    assert model.spec.bn_epsilon == 1e-3
    close(np.asarray(model(x)), expected)
    scrambled(model)
    kr.weights.load(model, Held("hdf5", oldest))
    close(np.asarray(model(x)), expected)


def old_name(layer):
    """conv3_block2_0_bn -> bn3b_branch1, as Keras' resnet50.py before 2.2 had it."""
    if layer in ("conv1_conv", "conv1_bn"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[layer]
    if layer == "predictions":
        return "fc1000"
    stage, block, number, kind = layer.removeprefix("conv").replace("block", "").split("_")
    branch = "1" if number == "0" else "2" + "abc"[int(number) - 1]
    return f"{ {'conv': 'res', 'bn': 'bn'}[kind] }{stage}{'abcdef'[int(block) - 1]}_branch{branch}"


def test_files_call_the_classifier_of_keras_otherwise(keras_first, keras_second):
    for (original, x, expected), model in (
        (keras_first, kr.build("resnet50", (64, 64, 3), 7, bn_epsilon=1.001e-5, classifier_activation=None)),
        (keras_second, kr.adopt(keras.models.clone_model(keras_second[0]))),
    ):
        arrays = {name.replace("predictions/", "probs/"): array for name, array in by_layer(original).items()}
        kr.weights.load(model, Held("hdf5", arrays))
        close(np.asarray(model(x)), expected)


def test_an_adopted_network_takes_its_own_layers(images, tmp_path):
    def made():
        x = keras.Input((8, 8, 1))
        h = keras.layers.Conv2D(4, 3, padding="same", name="first")(x)
        inner = keras.layers.DepthwiseConv2D(3, padding="same", name="inner")(h)
        h = keras.layers.Add(name="sum")([h, keras.layers.Conv2D(4, 3, padding="same", name="outer")(inner)])
        return keras.Model(x, keras.layers.Dense(5, name="scores")(keras.layers.GlobalAveragePooling2D()(h)))

    original, other = made(), kr.adopt(made())
    original.save(tmp_path / "net.keras")
    kr.weights.load(other, tmp_path / "net.keras")
    np.testing.assert_array_equal(other.predict(images[0], verbose=0), original.predict(images[0], verbose=0))
    assert other.preprocessing is None
    lacking = {name: array for name, array in by_layer(original).items() if not name.startswith("inner")}
    with pytest.raises(ArgumentError, match="lacks: inner/kernel for inner/kernel"):
        kr.weights.load(other, Held("hdf5", lacking))
    with pytest.raises(ArgumentError, match="lacks: extra/kernel"):
        kr.weights.load(other, Held("hdf5", {**by_layer(original), "extra/kernel": np.zeros(3, "float32")}))


# The ways in


def test_functions_of_applications_take_a_file(tmp_path, keras_first):
    original, x, expected = keras_first
    original.save(tmp_path / "net.h5")
    model = kr.ResNet50(weights=tmp_path / "net.h5", input_shape=(64, 64, 3), classes=7, classifier_activation=None)
    close(np.asarray(model(x)), expected)
    assert model.spec.bn_epsilon == 1.001e-5


def test_build_takes_a_file(tmp_path):
    arrays, x = reference.draw_akamaster(1, 16, 10), images(1, 3, 32, 32)
    file = tmp_path / "model.safetensors"
    save_file(arrays, file)
    model = kr.build("resnet8", weights=file, classifier_activation=None)
    close(scores(model, x), reference.akamaster(arrays, x))
    with pytest.raises(
        ArgumentError, match=r"needs bn_epsilon 1e-05 \(it has 0.001\).*build\('resnet8', bn_epsilon=1e"
    ):
        kr.build("resnet8", weights=file, bn_epsilon=1e-3)
    spec = variants.spec("resnet8").replace(bn_epsilon=1e-3)
    with pytest.raises(ArgumentError, match=r"needs bn_epsilon 1e-05 \(it has 0.001\)"):
        kr.build(spec, weights=file)


def test_applications_of_the_second_kind_take_a_file(tmp_path, keras_second):
    original, x, expected = keras_second
    original.save(tmp_path / "net.h5")
    model = kr.ResNet50V2(weights=tmp_path / "net.h5", input_shape=(64, 64, 3), classes=7, classifier_activation=None)
    np.testing.assert_array_equal(np.asarray(model(x)), expected)
    with pytest.raises(ArgumentError, match=r"resnet50_v2.*stride at the end.*use kr.ResNet50V2"):
        kr.build("resnet50_v2", (64, 64, 3), 7, weights=tmp_path / "net.h5", bn_epsilon=1.001e-5)


def test_build_takes_numbers_from_a_file_and_no_layers():
    archive = Held("torch", reference.draw_torchvision((1, 1, 1, 1), 2, True))
    spec = variants.spec("resnet50").replace(bn_epsilon=1e-3)  # the file's has its stride elsewhere, too
    assert kr.weights.settings(archive, spec) == {"bn_epsilon": 1e-5}


def test_layers_of_one_name_are_refused():
    def branch(x):
        return keras.layers.Conv2D(4, 3, padding="same", name="conv")(x)

    x, h = keras.Input((8, 8, 4)), keras.Input((8, 8, 4))
    nested = keras.Model(h, keras.layers.Add()([h, branch(h)]), name="nested")
    network = kr.adopt(keras.Model(x, branch(nested(x))))
    with pytest.raises(ArgumentError, match=r"more than one layer of .* has the variable 'conv/kernel'"):
        kr.weights.plan(network, Held("hdf5", {"conv/kernel": zeros(3, 3, 4, 4), "conv/bias": zeros(4)}))


@pytest.fixture
def small():
    """A file of a torchvision network, and a network that it fills."""
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    spec = kr.weights.network(Held("torch", arrays), input_shape=(32, 32, 3)).spec
    return arrays, kr.build(spec, classifier_activation=None)


def values(model):
    return [keras.ops.convert_to_numpy(v).copy() for v in model.weights]


def test_a_plan_reads_nothing(small):
    arrays, model = small
    archive = Held("torch", arrays)
    plan = kr.weights.plan(model, archive)
    assert archive.reads == 0
    assert plan.is_complete
    assert (plan.missing, plan.unused, plan.wrong_shape) == ((), (), ())
    table = str(plan).splitlines()
    assert table[1].split() == ["stem/body/conv/kernel", "conv1.weight", "7x7x3x2", "fits"]
    assert table[-1] == f"{len(model.weights)} fits of {len(model.weights)} variables; 0 unused, 8 left"


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


CHANGES = [
    ("layer2.0.bn1.running_var", None, "lacks: layer2.0.bn1.running_var for stage2_block1", "missing", "missing"),
    ("layer2.0.conv2.weight", zeros(4, 4, 3, 1), "wrong shape: 4x4x3x1", "wrong_shape", "wrong shape"),
    ("fc.bias", zeros(5, dtype="int64"), "fc.bias .wrong type", "wrong_shape", "wrong type"),
    ("layer1.1.conv1.weight", zeros(2, 2, 3, 3), "what the network lacks: layer1.1.conv1.weight", "unused", None),
]


@pytest.mark.parametrize(("name", "value", "message", "part", "row"), CHANGES, ids=[change[0] for change in CHANGES])
def test_what_does_not_fit_is_listed_and_nothing_read(name, value, message, part, row, small):
    arrays, model = small
    arrays = {**arrays, name: value}
    if value is None:
        del arrays[name]
    archive, before = Held("torch", arrays), values(model)
    plan = kr.weights.plan(model, archive)
    assert len(getattr(plan, part)) == 1
    assert sum(r.status == row for r in plan.rows) == (1 if row else 0)
    with pytest.raises(ArgumentError, match=message):
        kr.weights.load(model, archive)
    assert archive.reads == 0
    for old, new in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_file_that_ends_in_the_middle_changes_nothing(small):
    arrays, model = small

    class Torn(Held):
        def __getitem__(self, name):
            tensor = super().__getitem__(name)
            if name != "fc.bias":
                return tensor

            def read():
                raise ArgumentError("torn")

            return dataclasses.replace(tensor, read=read)

    before = values(model)
    with pytest.raises(ArgumentError, match="torn"):
        kr.weights.load(model, Torn("torch", arrays))
    assert model.preprocessing is None
    for old, new in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_backbone_leaves_the_classifier(small):
    arrays, whole = small
    backbone = kr.build(whole.spec, include_top=False)
    archive = Held("torch", arrays)
    plan = kr.weights.load(backbone, archive)
    assert {"fc.weight", "fc.bias"} <= set(plan.left)
    kr.weights.load(whole, archive)
    x = images(1, 32, 32, 3)
    np.testing.assert_allclose(backbone(x), whole.features(x)["stage4"], atol=1e-4)
    headless = {name: array for name, array in arrays.items() if not name.startswith("fc.")}
    assert kr.weights.network(Held("torch", headless), input_shape=(32, 32, 3)).output_shape == (None, 1, 1, 16)
    with pytest.raises(ArgumentError, match="include_top must be False"):
        kr.weights.network(Held("torch", headless), include_top=True)


def test_other_classes_keep_their_classifier(small):
    arrays, whole = small
    model = kr.build(whole.spec.replace(classes=9))
    before = values(model)[-2:]
    kr.weights.load(model, Held("torch", arrays), head=False)
    for old, new in zip(before, values(model)[-2:], strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(values(model)[0], arrays["conv1.weight"].transpose(2, 3, 1, 0))


def test_the_network_must_be_the_files(small, wu38):
    arrays, model = small
    archive = Held("torch", arrays)
    for fields, remedy in (
        ({"bn_epsilon": 1e-3}, r"bn_epsilon 1e-05 \(it has 0.001\): use .*bn_epsilon=1e-05"),
        ({"skip": "scale:0.5:0.5"}, "skip='identity'"),
        ({"placement": "pre"}, "placement='post'"),
    ):
        with pytest.raises(ArgumentError, match=remedy):
            kr.weights.load(kr.build(model.spec.replace(**fields)), archive)
    bottleneck = reference.draw_torchvision((1, 1, 1, 1), 2, True)
    with pytest.raises(ArgumentError, match=r"stride_place '3x3' \(it has 'first'\)"):
        kr.weights.load(kr.build("resnet50", (32, 32, 3), width=0.05), Held("torch", bottleneck))
    with pytest.raises(ArgumentError, match=r"other stages than 'wu_e'.*resnet38, resnet38_a1, resnet38_a2"):
        kr.weights.load(kr.build("wu_e", (32, 32, 3), width=0.02), Held("mxnet", wu38))
    psa = reference.draw_wu("psa", A).arrays
    with pytest.raises(ArgumentError, match=r"shrink their maps elsewhere.*resnet38_a1"):
        kr.weights.load(
            kr.build("resnet38", (32, 32, 3), width=0.02, bn_epsilon=1e-5, include_top=False), Held("torch", psa)
        )


def test_no_family_is_told_as_such(small):
    _, model = small
    unknown = Held("torch", {"encoder.weight": np.zeros(1, "float32")})
    for ask in (lambda: kr.weights.plan(model, unknown), lambda: kr.weights.network(unknown)):
        with pytest.raises(ArgumentError, match=r"no known family: its names are 'encoder.weight'. Known are"):
            ask()
    edited = kr.delete(model, "stage1_block1", copy=True)
    with pytest.raises(ArgumentError, match=r"adopted or edited.*edit it then"):
        kr.weights.load(edited, Held("torch", reference.draw_torchvision((1, 1, 1, 1), 2)))
    with pytest.raises(ArgumentError, match="model must be a network of keras_resnets; got Sequential"):
        kr.weights.load(keras.Sequential(), unknown)


def test_a_file_cannot_have_a_large_network_built(monkeypatch):
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    for block in range(1, 400):
        arrays[f"layer3.{block}.conv1.weight"] = np.zeros((1, 1), "float32")
    monkeypatch.setattr(kr.weights.loading, "build", lambda *_, **__: pytest.fail("was built"))
    with pytest.raises(ArgumentError, match=r"is damaged, .* parameters, and it holds"):
        kr.weights.network(Held("torch", arrays))


def test_numbers_of_half_and_double_precision(small):
    arrays, model = small
    for dtype in ("float16", "float64"):
        kr.weights.load(model, Held("torch", {n: a.astype(dtype) for n, a in arrays.items()}))
        kernel = arrays["conv1.weight"].astype(dtype).astype("float32")
        np.testing.assert_array_equal(values(model)[0], kernel.transpose(2, 3, 1, 0))


def test_an_open_archive_stays_open(small):
    arrays, model = small
    closed = []

    class Closing(Held):
        def __exit__(self, *_):
            closed.append(True)

    archive = Closing("torch", arrays)
    kr.weights.network(archive)
    kr.weights.load(model, archive)
    kr.weights.plan(model, archive)
    kr.weights.parity(model, archive)
    assert not closed


def test_preprocessing_is_saved_with_the_network(small, tmp_path):
    arrays, model = small
    kr.weights.load(model, Held("torch", arrays))
    model.save(tmp_path / "net.keras")
    again = kr.build(model.spec, weights=tmp_path / "net.keras")
    assert again.preprocessing == model.preprocessing
    assert again.preprocessing is not None


# Parity, and the command


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


def test_parity_with_keras(keras_first):
    archive = Held("hdf5", by_layer(keras_first[0]))
    model = kr.weights.network(archive, input_shape=(64, 64, 3))
    found = kr.weights.parity(model, archive, examples=1)
    assert (found.reference, found.examples) == ("keras.applications.ResNet50", 1)
    assert found.difference < 1e-4
    assert "over 1 random inputs" in str(found)
    small = Held("torch", reference.draw_torchvision((1, 1, 1, 1), 2))
    backbone = kr.weights.network(small, include_top=False)
    assert str(kr.weights.parity(backbone, small)) == "no independent computation to compare with"


def test_the_command_converts(tmp_path, capsys):
    arrays = reference.draw_akamaster(3, 16, 10)
    file, out = tmp_path / "model.safetensors", tmp_path / "out" / "net.keras"
    save_file(arrays, file)
    assert main(["convert", str(file), "--image-size", "24", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    model = kr.load_model(out)
    assert f"{file}: akamaster" in said
    assert "97 fits of 97 variables; 0 unused, 0 left" in said
    assert f"resnet20, {kr.parameters(model):,} parameters, as counted from its spec" in said
    assert "preprocessing: (RGB from 0 to 255 - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]" in said
    assert "largest difference of logits from torch" in said or "no independent computation" in said
    x = images(1, 3, 24, 24)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(reference.akamaster(arrays, x)))
    close(scores(model, x), expected)
    assert model.preprocessing.std[0] == pytest.approx(58.395)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.pth", "--out", "x.keras"], "none.pth"),
        (["none.pth", "--out", "x.h5"], "--out must end in .keras; got 'x.h5'."),
    ],
)
def test_the_command_refuses(arguments, message, capsys):
    assert main(["convert", *arguments]) == 2
    assert message in capsys.readouterr().err
