"""Weights of torchvision, timm and CIFAR's projects: logits against independent computations."""

import functools

import numpy as np
import pytest
from helpers import weight_references as reference
from helpers.weight_references import Held

import keras_resnets as kr
from keras_resnets.errors import ArgumentError


@pytest.mark.parametrize(("bottleneck", "inner"), [(False, 1), (True, 1), (True, 2)])
def test_names_of_torchvision(bottleneck, inner):
    arrays = reference.draw_torchvision((2, 1, 2, 1), 4, bottleneck, inner)
    archive, x = Held("torch", arrays), reference.images(2, 3, 37, 45)
    model = reference.logits(archive, input_shape=(37, 45, 3))
    reference.close(reference.scores(model, x), reference.torchvision(arrays, x))
    assert (*model.preprocessing.mean, *model.preprocessing.std) == pytest.approx(reference.IMAGENET)
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
    monkeypatch.setattr(kr.weights.transfer, "assemble", lambda spec, *_, **__: built.append(spec))
    monkeypatch.setattr(kr.weights.transfer, "fill", lambda *_, **__: None)
    kr.weights.network(Held("torch", draw(seed=None)))
    assert built[0].name == name
    assert built[0].classes == 5


@pytest.mark.torch
def test_torch_itself():
    torch = pytest.importorskip("torch", reason="the reference is torch itself")
    for name, blocks, width, bottleneck, inner in (
        ("resnet18", (2, 2, 2, 2), 64, False, 1),
        ("resnet50_v15", (3, 4, 6, 3), 64, True, 1),
        ("resnet", (3, 4, 6, 3), 8, True, 2),  # wide_resnet50_2, slim
    ):
        net = torch_resnet(torch, blocks, width, bottleneck, inner)
        x = reference.images(1, 3, 64, 64)
        with torch.no_grad():
            expected = net(torch.from_numpy(x)).numpy()
        arrays = {key: value.numpy() for key, value in net.state_dict().items()}
        model = reference.logits(Held("torch", arrays), input_shape=(64, 64, 3))
        assert model.spec.name == name
        reference.close(reference.scores(model, x), expected)


@pytest.mark.torch
def test_a_checkpoint_of_torch(tmp_path):
    torch = pytest.importorskip("torch", reason="torch writes the file")
    arrays, x = reference.draw_torchvision((1, 1, 1, 1), 2), reference.images(1, 3, 32, 32)
    state = {f"module.{name}": torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    torch.save({"epoch": 3, "state_dict": state, "best": None}, tmp_path / "checkpoint.pth.tar")
    model = reference.logits(tmp_path / "checkpoint.pth.tar", input_shape=(32, 32, 3))
    reference.close(reference.scores(model, x), reference.torchvision(arrays, x))


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


@pytest.mark.parametrize("projects", [False, True])
def test_names_of_akamaster(projects):
    arrays = reference.draw_akamaster(3, projects=projects)
    x = reference.images(2, 3, 32, 32)
    model = reference.logits(Held("torch", {f"state_dict.module.{name}": array for name, array in arrays.items()}))
    reference.close(reference.scores(model, x), reference.akamaster(arrays, x))
    assert model.spec.shortcut == ("B" if projects else "A")
    assert (*model.preprocessing.mean, *model.preprocessing.std) == pytest.approx(reference.IMAGENET)


def test_channels_of_akamaster_are_reordered_in_the_features_too():
    arrays = reference.draw_akamaster(1)
    model = reference.logits(Held("torch", arrays))
    x = reference.images(1, 3, 32, 32)
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
    x = reference.images(2, 3, 32, 32)
    expected = reference.wide(arrays, x)
    for held in (split, joined):
        model = reference.logits(Held("torch", held))
        reference.close(reference.scores(model, x), expected)
    assert model.spec.name == f"wrn_10_{widths[0] // 16}"
    assert model.preprocessing == kr.Preprocessing((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))


def test_the_name_in_the_file_is_believed_and_the_callers_word_more():
    arrays, archive = reference.draw_torchvision((1, 1, 1, 1), 2), None
    for arch in ("resnet18", "resnet50.tv_in1k", "wide_resnet50_2", ""):
        archive = Held("torch", arrays)
        archive.metadata = {"arch": arch}
        network = kr.weights.network(archive, input_shape=(32, 32, 3))
        assert (f"calls its network {arch!r}" if arch else "does not name") in str(kr.weights.plan(network, archive))
    archive.metadata = {"arch": "resnetblur18"}
    for ask in (
        lambda: kr.weights.network(archive),
        lambda: kr.weights.load(network, archive),
        lambda: kr.weights.load(network, archive, head=False),
    ):
        with pytest.raises(ArgumentError, match="says that its network is 'resnetblur18', which may compute"):
            ask()
    assert kr.weights.network(archive, "resnet18", input_shape=(32, 32, 3)).name == "resnet18"


def test_a_stride_that_no_file_tells_is_the_callers():
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2, True)
    archive = Held("torch", arrays)
    first = kr.weights.network(archive, input_shape=(32, 32, 3), stride_place="first", classifier_activation=None)
    second = kr.weights.network(archive, input_shape=(32, 32, 3), classifier_activation=None)
    x = reference.images(1, 3, 32, 32)
    reference.close(reference.scores(second, x), reference.torchvision(arrays, x))
    # The same weights, with the stride in the first convolution of a block.
    again = kr.build(second.spec.replace(stride_place="first"), classifier_activation=None)
    again.set_weights(second.get_weights())
    np.testing.assert_array_equal(reference.scores(first, x), reference.scores(again, x))
    assert np.abs(reference.scores(first, x) - reference.scores(second, x)).max() > 0.1
    assert "but stride_place 'first', as given" in str(kr.weights.plan(first, archive))
    with pytest.raises(ArgumentError, match=r"has stride_place='first', give that to keras_resnets.weights.network"):
        kr.weights.load(again, archive)


def test_kin_of_the_networks_are_called_that():
    arrays = reference.draw_torchvision((1, 1, 1, 1), 4, True)
    name = "layer1.0.conv2.weight"
    for change, sentence in (
        ({name: arrays[name][:, :2]}, "convolutions are in 2 groups, as in ResNeXt, which no network"),
        ({"layer1.0.convs.0.weight": arrays[name]}, "also 'layer1.0.convs.0.weight', as Res2Net"),
        ({"layer1.0.se.fc1.weight": arrays["fc.weight"]}, "squeeze-and-excitation have, which no network"),
    ):
        with pytest.raises(ArgumentError, match=sentence):
            kr.weights.network(Held("torch", arrays | change))
    with pytest.raises(ArgumentError, match=r"No network of this package has its layers; build it with") as raised:
        kr.weights.network(Held("torch", {n: a for n, a in arrays.items() if n != "layer3.0.bn2.bias"}))
    assert "weights.network" not in str(raised.value)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_preprocessing_is_for_the_channels_of_the_network(channels):
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    arrays["conv1.weight"] = np.random.default_rng(0).normal(size=(2, channels, 7, 7)).astype("float32")
    archive = Held("torch", arrays)
    network = kr.weights.network(archive, input_shape=(32, 32, channels))
    plan = kr.weights.plan(network, archive)
    assert (network.preprocessing is None) == (plan.preprocessing is None) == (channels != 3)
    assert (f"preprocessing not known: that of torchvision is not for {channels} channels" in str(plan)) == (
        channels != 3
    )


def test_one_output_has_a_sigmoid():
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    arrays |= {"fc.weight": arrays["fc.weight"][:1], "fc.bias": arrays["fc.bias"][:1]}
    archive, x = Held("torch", arrays), reference.images(3, 3, 32, 32)
    network = kr.weights.network(archive, input_shape=(32, 32, 3))
    reference.close(reference.scores(network, x), 1 / (1 + np.exp(-reference.torchvision(arrays, x))))
    with pytest.raises(ArgumentError, match=r"cannot be 'softmax' for .*, which has one output"):
        kr.weights.network(archive, classifier_activation="softmax")
