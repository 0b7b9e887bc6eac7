"""Output strides, and the dilated layers and heads of ResNet-38."""

import itertools

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.architecture import variants
from keras_resnets.errors import ArgumentError

NETWORKS = {
    "basic": ("resnet18", {"width": 0.125}),
    "bottleneck, stride on the 1x1": ("resnet50", {"width": 0.0625}),
    "bottleneck, stride on the 3x3": ("resnet50_v15", {"width": 0.0625}),
    "pre-activation": ("resnet50_v2", {"width": 0.0625}),
    "option A": ("resnet18", {"width": 0.125, "shortcut": "A", "stem_width": 8}),
    "A: pools": ("resnet38", {"width": 0.03}),
    "A, torch's padding": ("resnet38", {"width": 0.03, "pool_padding": "both"}),
    "A1: strides": ("resnet38_a1", {"width": 0.03}),
    "A2: both": ("resnet38_a2", {"width": 0.03}),
    "stride without new channels": (
        kr.Spec("same", (kr.Stage(1, (4, 4)), kr.Stage(2, (4, 4), stride=2)), shortcut="B", stem="conv7"),
        {"output_stride": 4},
    ),
}


@pytest.mark.parametrize(("name", "overrides"), NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.parametrize("stride", [8, 16])
def test_dilated_features_are_the_strided_ones_and_more_in_between(name, overrides, stride, scramble):
    overrides = {"output_stride": stride, **overrides}
    shape = (96, 64, 3)
    plain = scramble(kr.build(name, shape, include_top=False, **{**overrides, "output_stride": None}))
    dilated = kr.build(name, shape, include_top=False, **overrides)
    for ours, theirs in zip(dilated.weights, plain.weights, strict=True):
        assert ours.path == theirs.path
        ours.assign(theirs)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    coarse, fine = plain.predict(x, verbose=0), dilated.predict(x, verbose=0)
    step = plain.spec.total_stride // dilated.spec.total_stride
    assert step > 1
    assert fine.shape[1:3] == (96 // dilated.spec.total_stride, 64 // dilated.spec.total_stride)
    np.testing.assert_allclose(fine[:, ::step, ::step], coarse, rtol=1e-4, atol=1e-5 * np.abs(coarse).max())


def convolutions(model, block):
    """Stride and dilation of each convolution of a block's branches; a strided 1x1 subsamples in front of it."""
    parts = model.get_layer(block).parts()
    found = []
    for branch in ("residual", "shortcut"):
        kernels, stride = [], 1
        for layer in parts[branch]._flatten_layers():
            if isinstance(layer, keras.layers.AveragePooling2D):
                stride = layer.strides[0]
            if isinstance(layer, keras.layers.Conv2D):
                kernels.append((stride * layer.strides[0], layer.dilation_rate[0]))
                stride = 1
        found.append(kernels)
    return found


@pytest.mark.parametrize(
    ("rule", "first"), [("exact", [(1, 1), (1, 2)]), ("block", [(1, 1), (1, 1)]), ("stage", [(1, 2), (1, 2)])]
)
def test_layers_of_a1_at_stride_8(rule, first):
    # papers.md 5.4, unit by unit; the rules differ in 5a alone.
    model = kr.build("resnet38_a1", (64, 64, 3), 5, width=0.03, output_stride=8, head="2conv", dilation_rule=rule)
    strided = [[(2, 1), (1, 1)], [(2, 1)]]
    for stage in (1, 2, 3):
        assert convolutions(model, f"stage{stage}_block1") == strided
        assert convolutions(model, f"stage{stage}_block2") == [[(1, 1), (1, 1)], []]
    assert convolutions(model, "stage4_block1") == [first, [(1, 1)]]
    assert convolutions(model, "stage4_block2") == convolutions(model, "stage4_block3") == [[(1, 2), (1, 2)], []]
    deep = [[(1, 1), (1, {"exact": 4, "block": 2, "stage": 4}[rule]), (1, 1)], [(1, 1)]]
    assert convolutions(model, "stage5_block1") == deep
    assert convolutions(model, "stage6_block1") == [[(1, 1), (1, 4), (1, 1)], [(1, 1)]]
    head = [c.dilation_rate[0] for c in model.get_layer("head").body.layers if isinstance(c, keras.layers.Conv2D)]
    assert head == [12, 12]


def test_layers_of_a_and_a1_at_stride_16():
    a1 = kr.build("resnet38_a1", (64, 64, 3), width=0.03, output_stride=16)
    assert convolutions(a1, "stage4_block1") == [[(2, 1), (1, 1)], [(2, 1)]]
    assert convolutions(a1, "stage5_block1") == [[(1, 1), (1, 2), (1, 1)], [(1, 1)]]
    assert convolutions(a1, "stage6_block1") == [[(1, 1), (1, 2), (1, 1)], [(1, 1)]]
    a = kr.build("resnet38", (64, 64, 3), width=0.03, output_stride=16)
    pools = [(link.body.stride, link.body.dilation) for link in a.chain if link.name.endswith("_pool")]
    assert pools == [(2, 1)] * 4 + [(1, 1)]
    assert convolutions(a, "stage5_block1") == [[(1, 1), (1, 2), (1, 1)], [(1, 1)]]
    assert len([link for link in kr.build("resnet38_a2", width=0.03).chain if link.name.endswith("_pool")]) == 2


def test_a_projection_stays_where_its_stride_is_taken_out():
    spec, overrides = NETWORKS["stride without new channels"]
    for stride in (None, 4):
        model = kr.build(spec, (32, 32, 3), **{**overrides, "output_stride": stride})
        assert convolutions(model, "stage2_block1")[1] == [(1 if stride else 2, 1)]
        assert convolutions(model, "stage2_block2")[1] == []
        assert kr.parameters(model) == kr.counting.count(model.spec).parameters


def test_strided_convolution_of_one_pixel(scramble):
    # Laid out as a layer that subsamples and one of stride 1; reading every other pixel is what it means.
    block = scramble(kr.build("resnet38_a1", (64, 64, 3), width=0.0625)).get_layer("stage1_block1")
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 64)).astype("float32")
    kernel = np.asarray(block.shortcut.get_layer("conv").kernel)[0, 0]
    np.testing.assert_allclose(block.shortcut(x), x[:, ::2, ::2] @ kernel, rtol=1e-4, atol=1e-4)


def test_few_channels_train_to_the_end(scramble):
    # TensorFlow 2.21's gradient of a strided 1x1 convolution of 8 channels on 64x64 maps corrupts memory here.
    model = kr.build("resnet38_a1", (64, 64, 3), 3, width=0.0625, stem_width=8)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).normal(size=(16, 64, 64, 3)).astype("float32")
    losses = [model.train_on_batch(x, np.arange(16) % 3) for _ in range(3)]
    assert np.isfinite(losses).all()
    assert not any(
        layer.kernel_size == (1, 1) and layer.strides != (1, 1)
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Conv2D)
    )


def test_dropout_of_resnet38_comes_with_the_segmentation_head():
    def rates(model):
        found = {}
        for block in model.blocks:
            for layer, behind in itertools.pairwise(block.residual.layers):
                if isinstance(layer, keras.layers.Dropout):
                    found[block.name] = (layer.rate, behind.kernel_size[0])
        return found

    # In front of the last convolution, a 1x1, of 6a and 7a (papers.md 5.2).
    found = rates(kr.build("resnet38_a1", (32, 32, 3), 5, width=0.03, head="2conv"))
    assert found == {"stage5_block1": (0.3, 1), "stage6_block1": (0.5, 1)}
    assert rates(kr.build("resnet38_a1", (32, 32, 3), 5, width=0.03)) == {}


def test_segmentation_head_is_two_dilated_convolutions(scramble):
    model = scramble(
        kr.build("resnet38_a1", (32, 40, 3), 5, width=0.03, head="2conv", output_stride=8, head_dilation=2)
    )
    x = np.random.default_rng(0).normal(size=(2, 32, 40, 3)).astype("float32")
    maps = np.asarray(keras.Model(model.input, model.get_layer("stage6_block1").output)(x), "float64")
    bn, _, first, last, _ = model.get_layer("head").body.layers
    gamma, beta, mean, variance = (np.asarray(v, "float64") for v in bn.weights)
    maps = np.maximum((maps - mean) / np.sqrt(variance + 1.001e-5) * gamma + beta, 0)
    for layer, end in ((first, lambda z: np.maximum(z, 0)), (last, lambda z: z)):
        kernel, bias = (np.asarray(v, "float64") for v in layer.weights)
        padded = np.pad(maps, [(0, 0), (2, 2), (2, 2), (0, 0)])
        height, width = maps.shape[1:3]
        taps = [
            padded[:, 2 * i : 2 * i + height, 2 * j : 2 * j + width] @ kernel[i, j] for i in range(3) for j in range(3)
        ]
        maps = end(sum(taps) + bias)
    maps = np.exp(maps - maps.max(-1, keepdims=True))
    np.testing.assert_allclose(model(x), maps / maps.sum(-1, keepdims=True), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: variants.spec("resnet50").replace(output_stride=2), "one of 4, 8, 16, 32; got 2"),
        (lambda: variants.spec("resnet50").replace(output_stride=12), "output_stride of 'resnet50' must be None or"),
        (lambda: variants.spec("resnet20").replace(head_dropout=(0.1,) * 4), "head_dropout must have no more than one"),
        (lambda: variants.spec("resnet20").replace(head_dropout=(1.0,)), "head_dropout must be a number from 0"),
        (lambda: variants.spec("resnet20").replace(head="3conv"), "head must be one of"),
        (lambda: kr.layers.MaxPool(3, 2, 2), "stride or dilation must be 1; got stride 2 and dilation 2"),
        (lambda: kr.Preprocessing(std=(0.0,)), "std must be positive"),
        (lambda: kr.Preprocessing(mean=()), "mean must be a tuple of numbers"),
        (lambda: setattr(kr.build("resnet8"), "preprocessing", "caffe"), "preprocessing must be a keras_resnets.Pre"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
