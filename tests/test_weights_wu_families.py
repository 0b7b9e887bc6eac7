"""Weights of Wu et al. 2016's networks: logits against an independent computation."""

import struct

import numpy as np
import pytest
from helpers import weight_references as reference
from helpers.weight_references import Held

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

A1_AT_8 = {5: (1, 2, 2), 6: (1, 4, 4), 7: (4, 4, 4)}


def wu_scores(features, arrays, weight="arg:linear5_weight", bias="arg:linear5_bias"):
    return features.mean((2, 3)) @ arrays[weight].T + arrays[bias]


@pytest.mark.parametrize(
    ("name", "pools", "strides"),
    [
        ("resnet38", (2, 3, 4, 5, 6), ()),
        ("resnet38_a1", (), (2, 3, 4, 5, 6)),
        ("resnet38_a2", (2, 3), (4, 5, 6)),
    ],
)
def test_names_of_mxnet(name, pools, strides, wu38):
    x = reference.images(1, 3, 37, 42)
    features = reference.wu("mxnet", wu38, x, pools, strides, "end", 1.001e-5)
    model = reference.logits(Held("mxnet", wu38), name, input_shape=(37, 42, 3))
    reference.close(reference.scores(model, x), wu_scores(features, wu38))
    assert model.spec.bn_epsilon == 1.001e-5
    assert (*model.preprocessing.mean, *model.preprocessing.std) == pytest.approx(reference.IMAGENET)


def test_a_second_classifier_is_not_left(wu38):
    archive = Held("mxnet", {**wu38, "arg:linear7_weight": reference.zeros(7, 20)})
    model = reference.logits(Held("mxnet", wu38), "resnet38_a1", input_shape=(32, 32, 3))
    assert kr.weights.plan(model, archive).unused == ("arg:linear7_weight",)


def test_a_file_that_may_be_of_three_networks(wu38):
    with pytest.raises(ArgumentError, match=r"3 networks; .*'resnet38', 'resnet38_a1', 'resnet38_a2'"):
        kr.weights.network(Held("mxnet", wu38))


@pytest.mark.parametrize(("units", "name"), [((0, 1, 1, 1, 3, 1, 1), "wu_b"), ((0, 1, 1, 1, 1, 1, 1), "wu_16")])
def test_names_tell_the_shallow_networks(units, name):
    x, kinds = reference.images(1, 3, 32, 32), {"mxnet": ("end", 1.001e-5), "wider": ("both", 1e-5)}
    for kind, (padding, epsilon) in kinds.items():
        arrays = reference.draw_wu(kind, units).arrays
        expected = reference.wu(kind, arrays, x, (2, 3, 4, 5, 6), (), padding, epsilon)
        archive = Held("mxnet" if kind == "mxnet" else "torch", arrays)
        if kind == "wider":  # the names are those of a network with two pools, too
            with pytest.raises(ArgumentError, match=f"2 networks; .*'{name}', '{name}_a2'"):
                kr.weights.network(archive)
        model = kr.weights.network(archive, None if kind == "mxnet" else name, input_shape=(32, 32, 3))
        reference.close(reference.scores(model, x), expected)
        assert model.spec.name == name


def test_names_of_mxnet_with_a_first_level():
    arrays = reference.classifier(reference.draw_wu("mxnet", (1, 1, 1, 1, 5, 1, 1)))
    x = reference.images(1, 3, 24, 24)
    features = reference.wu("mxnet", arrays, x, (2, 3, 4, 5), (), "end", 1.001e-5)
    model = reference.logits(Held("mxnet", arrays), "wu_e", input_shape=(24, 24, 3))
    reference.close(reference.scores(model, x), wu_scores(features, arrays))


def test_a_trunk_for_segmentation_from_a_classifiers_file(wu38):
    archive = Held("mxnet", wu38)
    spec = kr.weights.network(archive, "resnet38_a1").spec
    model = kr.segmentation.fcn(spec, 21, input_shape=(32, 32, 3))
    with pytest.raises(ArgumentError, match=r"lacks: arg:conv6a_weight for head/body/conv/kernel"):
        kr.weights.load(model, archive)
    plan = kr.weights.load(model, archive, head=False)
    assert sorted(plan.left) == ["arg:linear5_bias", "arg:linear5_weight"]
    x = reference.images(1, 3, 32, 32)
    features = reference.wu("mxnet", wu38, x, (), (2, 3, 4), "end", 1.001e-5, A1_AT_8)
    found = np.asarray(model.features(np.moveaxis(x, 1, -1))["stage6"])
    end = {v.path.split("/")[-1]: np.asarray(v) for v in model.weights if v.path.startswith("head/body/bn/")}
    found = reference.norm(
        np.moveaxis(found, -1, 1), *(end[n] for n in ("gamma", "beta", "moving_mean", "moving_variance")), 1.001e-5
    )
    reference.close(reference.relu(found), features)


def test_names_of_mxnet_for_segmentation():
    drawn = reference.draw_wu("mxnet", reference.WU_A)
    drawn.kernel("arg:conv6a_weight", 6, 20, 3, 3)
    drawn.vector("arg:conv6a_bias", 6)
    drawn.kernel("arg:linear21_weight", 21, 6, 3, 3)
    drawn.vector("arg:linear21_bias", 21)
    arrays, x = drawn.arrays, reference.images(1, 3, 72, 64)
    h = reference.wu("mxnet", arrays, x, (), (2, 3, 4), "end", 1.001e-5, A1_AT_8)
    h = reference.relu(reference.conv(h, arrays["arg:conv6a_weight"], dilation=12) + drawn_bias(arrays, "conv6a"))
    expected = reference.conv(h, arrays["arg:linear21_weight"], dilation=12) + drawn_bias(arrays, "linear21")
    model = reference.logits(Held("mxnet", arrays), "resnet38_a1", input_shape=(72, 64, 3))
    reference.close(reference.scores(model, x), expected)
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
    x = reference.images(1, 3, 32, 32)
    features = reference.wu("mxnet", wu38, x, (), (2, 3, 4, 5, 6), "end", 1.001e-5)
    model = kr.build(
        kr.weights.network(Held("mxnet", wu38), "resnet38_a1").spec,
        (32, 32, 3),
        weights=file,
        classifier_activation=None,
    )
    reference.close(reference.scores(model, x), wu_scores(features, wu38))


def test_names_of_psa():
    drawn = reference.draw_wu("psa", reference.WU_A)
    drawn.kernel("fc8.weight", 5, 20, 1, 1)
    arrays, x = drawn.arrays, reference.images(1, 3, 32, 48)
    features = reference.wu("psa", arrays, x, (), (2, 3, 4), dilations=A1_AT_8)
    model = reference.logits(Held("torch", arrays), input_shape=(32, 48, 3))
    reference.close(reference.scores(model, x), features.mean((2, 3)) @ arrays["fc8.weight"][:, :, 0, 0].T)
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
    arrays = reference.classifier(
        reference.draw_wu("wider", reference.WU_A), "classifier.fc.weight", "classifier.fc.bias"
    )
    x = reference.images(1, 3, 37, 42)
    features = reference.wu("wider", arrays, x, pools, strides, "both", dilations=dilations)
    held = Held("torch", {f"state_dict.module.{n}": a for n, a in arrays.items()})
    model = reference.logits(held, name, input_shape=(37, 42, 3), **options)
    reference.close(
        reference.scores(model, x), wu_scores(features, arrays, "classifier.fc.weight", "classifier.fc.bias")
    )


def test_inplace_abn_is_refused():
    names = ("mod1.conv1.weight", "mod2.block1.bn1.weight")
    with pytest.raises(ArgumentError, match=r"leaky ReLU .* rename 'bn1.weight' to 'bn1.0.weight'"):
        kr.weights.network(Held("torch", dict.fromkeys(names, np.zeros(1, "float32"))))
