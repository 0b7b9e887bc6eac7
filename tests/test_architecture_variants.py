"""Counts of every variant against the papers, names against patterns."""

import re

import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.architecture import counting, variants

M, G = 10**6, 10**9

_STRIDE8 = {"head": "2conv", "output_stride": 8}

# variant, overrides, trainable parameters, moving statistics, multiply-adds as printed (value, unit)
# He et al. 2015, Tables 1 and 6; He et al. 2016, section 4; Zagoruyko & Komodakis 2016, Tables 1, 7 and 8.
COUNTS = [
    ("resnet18", {}, 11_689_512, 9_600, 1.814, G),
    ("resnet18", {"shortcut": "A"}, 11_515_688, 7_808, 1.795, G),
    ("plain18", {}, 11_515_688, 7_808, 1.795, G),
    ("resnet34", {}, 21_797_672, 17_024, 3.664, G),
    # 3.664 G less the three projections, 3 * 6,422,528: 3.6445, which rounds to 3.644.
    ("resnet34", {"shortcut": "A"}, 21_623_848, 15_232, 3.6445, G),
    ("plain34", {}, 21_623_848, 15_232, 3.6445, G),
    ("resnet34", {"shortcut": "C"}, 22_716_840, 22_784, 3.831, G),
    ("resnet50", {}, 25_557_032, 53_120, 3.858, G),
    ("resnet50_v15", {}, 25_557_032, 53_120, 4.089, G),
    ("resnet101", {}, 44_549_160, 105_344, 7.570, G),
    ("resnet101_v15", {}, 44_549_160, 105_344, 7.801, G),
    ("resnet152", {}, 60_192_808, 151_424, 11.282, G),
    ("resnet152_v15", {}, 60_192_808, 151_424, 11.514, G),
    # 14.7763 G and 0.2312 for the three strides moved to the 3x3: 15.0075, just below its rounding up.
    ("resnet200_v2", {"placement": "post"}, 64_673_832, 176_000, 15.0075, G),
    ("resnet200_v2", {"placement": "post", "stride_place": "first"}, 64_673_832, 176_000, 14.776, G),
    ("resnet20", {}, 269_722, 1_376, 40.6, M),
    ("resnet32", {}, 464_154, 2_272, 68.9, M),
    ("resnet44", {}, 658_586, 3_168, 97.2, M),
    ("resnet56", {}, 853_018, 4_064, 125.5, M),
    ("resnet110", {}, 1_727_962, 8_096, 252.9, M),
    ("resnet1202", {}, 19_421_274, 89_632, 2829.2, M),
    ("plain20", {}, 269_722, 1_376, 40.6, M),
    ("plain32", {}, 464_154, 2_272, 68.9, M),
    ("plain44", {}, 658_586, 3_168, 97.2, M),
    ("plain56", {}, 853_018, 4_064, 125.5, M),
    ("plain110", {}, 1_727_962, 8_096, 252.9, M),
    ("resnet20", {"shortcut": "B"}, 272_474, None, None, None),
    ("resnet32", {"shortcut": "B"}, 466_906, None, None, None),
    ("resnet44", {"shortcut": "B"}, 661_338, None, None, None),
    ("resnet56", {"shortcut": "B"}, 855_770, None, None, None),
    ("resnet110", {"shortcut": "B"}, 1_730_714, None, None, None),
    ("resnet1202", {"shortcut": "B"}, 19_424_026, None, None, None),
    ("resnet110", {"shortcut": "C"}, 1_826_202, None, None, None),
    ("resnet110", {"classes": 100}, 1_733_812, None, None, None),
    ("preresnet110", {}, 1_727_962, 8_096, 252.9, M),
    ("preresnet110", {"shortcut": "B"}, 1_730_522, 8_096, 253.1, M),
    ("preresnet164", {}, 1_703_258, 24_224, 244.5, M),
    ("preresnet164", {"classes": 100}, 1_726_388, 24_224, None, None),
    ("preresnet1001", {}, 10_327_706, 149_216, 1487.8, M),
    ("preresnet1001", {"classes": 100}, 10_350_836, 149_216, None, None),
    ("preresnet164", {"placement": "post"}, 1_704_154, 25_120, 244.5, M),
    ("preresnet1001", {"placement": "post"}, 10_328_602, 150_112, 1487.8, M),
    ("resnet152_v2", {}, 60_185_128, 143_744, 11.51, G),
    ("resnet152_v2", {"stride_place": "first"}, 60_185_128, 143_744, 11.28, G),
    ("resnet200_v2", {}, 64_666_152, 168_320, 15.01, G),
    ("resnet200_v2", {"stride_place": "first"}, 64_666_152, 168_320, 14.78, G),
    ("resnet200_v2", {"input_shape": (320, 320, 3)}, 64_666_152, 168_320, 30.6, G),
    ("wrn_40_1", {}, 563_930, 2_720, 83.3, M),
    ("wrn_40_2", {}, 2_243_546, 5_408, 327.6, M),
    ("wrn_40_4", {}, 8_949_210, 10_784, 1298.6, M),
    ("wrn_40_4", {"classes": 100}, 8_972_340, 10_784, None, None),
    ("wrn_40_8", {}, 35_748_314, 21_536, 5172.0, M),
    ("wrn_40_10", {}, 55_841_754, 26_912, 8074.5, M),
    ("wrn_28_2", {}, 1_467_610, 3_616, 214.4, M),
    ("wrn_28_10", {}, 36_479_194, 17_952, 5243.3, M),
    ("wrn_28_10", {"classes": 100}, 36_536_884, 17_952, None, None),
    ("wrn_28_12", {}, 52_517_850, 21_536, 7543.9, M),
    ("wrn_22_8", {}, 17_158_106, 10_784, 2454, M),
    ("wrn_22_10", {}, 26_797_914, 13_472, 3828, M),
    ("wrn_16_4", {}, 2_748_890, 3_616, 392.6, M),
    ("wrn_16_8", {}, 10_961_370, 7_200, 1548.1, M),
    ("wrn_16_8", {"classes": 100}, 11_007_540, 7_200, None, None),
    ("wrn_16_10", {}, 17_116_634, 8_992, 2412.2, M),
    ("wrn_52_1", {}, 758_362, 3_616, 111.6, M),
    ("wrn18_w15", {}, 25_875_816, None, 3.87, G),
    ("wrn18_w2", {}, 45_618_216, None, 6.70, G),
    ("wrn18_w3", {}, 101_783_976, None, 14.72, G),
    ("resnet18", {"width": 2.0}, 45_618_216, None, 6.70, G),
    ("wrn34_w15", {}, 48_613_608, None, 8.03, G),
    ("wrn34_w2", {}, 86_036_008, None, 14.09, G),
    ("wrn50_2", {}, 68_883_240, None, 11.40, G),
    ("wrn101_2", {}, 126_886_696, None, 22.75, G),
    # Printed for github.com/kuangliu/pytorch-cifar's ResNet18 and, rounded, in weiaicunzai/pytorch-cifar100's README.
    ("resnet18_conv3", {}, 11_173_962, 9_600, 0.56, G),
    ("resnet18_conv3", {"classes": 100}, 11_220_132, None, None, None),
    ("resnet34_conv3", {}, 21_282_122, 17_024, 1.16, G),
    ("resnet50_conv3", {}, 23_520_842, 53_120, 1.30, G),
    ("resnet101_conv3", {}, 42_512_970, 105_344, 2.51, G),
    ("resnet152_conv3", {}, 58_156_618, 151_424, 3.72, G),
    # Less the batch-norms behind the projections, of 128, 256 and 512 channels; with an end for the stem's batch-norm.
    ("resnet18_v2_conv3", {}, 11_173_962 - 2 * 896, 7_808, 0.56, G),
    ("resnet18_v2_conv3", {"placement": "pre_open"}, 11_171_146, 6_784, 0.56, G),
    ("resnet34_v2_conv3", {}, 21_280_330, 15_232, 1.16, G),
    ("resnet50_v2_conv3", {}, 23_513_162, 45_440, 1.30, G),
    ("resnet101_v2_conv3", {}, 42_505_290, 97_664, 2.51, G),
    ("resnet152_v2_conv3", {}, 58_148_938, 143_744, 3.72, G),
    # Asserted in github.com/osmr/imgclsmob, `pytorchcv/models/resnet_cifar.py` and `preresnet_cifar.py`.
    ("resnet164bn", {}, 1_704_154, 25_120, None, None),
    ("resnet164bn", {"classes": 100}, 1_727_284, None, None, None),
    ("resnet272bn", {}, 2_816_986, None, None, None),
    ("resnet542bn", {}, 5_599_066, None, None, None),
    ("resnet1001bn", {}, 10_328_602, 150_112, None, None),
    ("preresnet164bn", {}, 1_703_258, 24_224, 244.5, M),
    ("preresnet272bn", {}, 2_816_090, None, None, None),
    # Wu et al. 2016, Table 1, and models A1 and A2.
    ("wu_f", {}, 139_328_040, 53_120, 7.16, G),
    ("wu_e", {}, 101_567_016, 40_832, 7.64, G),
    ("wu_d", {}, 139_328_040, 53_120, 9.49, G),
    ("wu_c", {}, 177_089_064, 65_408, 11.34, G),
    ("wu_16", {}, 63_732_008, 28_288, 12.52, G),
    ("wu_b", {}, 82_612_520, 34_432, 16.22, G),
    ("resnet38", {}, 109_167_912, 47_744, 49.52, G),
    ("resnet38", {"input_shape": (320, 320, 3)}, 109_167_912, 47_744, 101.05, G),
    ("resnet38_a1", {}, 109_167_912, 47_744, 49.52, G),
    ("resnet38_a2", {}, 109_167_912, 47_744, 49.52, G),
    # Their segmentation network of stride 8, of 504x504 and 1024x1024 pixels.
    ("resnet38_a1", {**_STRIDE8, "classes": 21, "input_shape": (504, 504, 3)}, 124_042_581, 47_744, 580, G),
    ("resnet38_a1", {**_STRIDE8, "classes": 19, "input_shape": (1024, 1024, 3)}, 124_033_363, 47_744, None, None),
    ("resnet38_a1", {**_STRIDE8, "classes": 150}, 124_637_142, 47_744, None, None),
]

# Built with Keras in every run of the tests: one of each kind of layout, the deepest ones aside.
BUILT = {
    "resnet18", "plain18", "resnet34", "resnet50", "resnet50_v15", "resnet20", "plain20", "preresnet110",
    "preresnet164", "resnet110", "wrn_28_2", "wrn_16_4", "wrn_40_1", "wrn18_w15", "resnet56", "wu_16",
}  # fmt: skip


def printed(value, unit):
    """Half of the last digit that the fact sheet prints."""
    digits = len(repr(value).split(".")[1]) if isinstance(value, float) else 0
    return 0.5001 * 10**-digits * unit


@pytest.mark.parametrize(("name", "overrides", "parameters", "statistics", "value", "unit"), COUNTS)
def test_counts(name, overrides, parameters, statistics, value, unit):
    counts = counting.count(variants.spec(name).replace(**overrides))
    assert counts.parameters == parameters
    if statistics is not None:
        assert counts.statistics == statistics
    if value is not None:
        assert counts.macs == pytest.approx(value * unit, abs=printed(value, unit))


@pytest.mark.parametrize(
    ("name", "overrides"),
    [(name, overrides) for name, overrides, *_ in COUNTS if name in BUILT]
    + [
        ("vgg15", {}),
        ("resnet50_v2", {}),
        ("resnet20", {"width": 1.5, "input_shape": (31, 17, 2)}),
        ("wrn_10_1", {"shortcut": "C"}),
        ("resnet38", {"width": 0.1, "input_shape": (67, 50, 3)}),
        ("resnet38", {"width": 0.1, "input_shape": (67, 50, 3), "pool_padding": "both"}),
        ("resnet38_a2", {"width": 0.1, "input_shape": (72, 64, 3), **_STRIDE8}),
        ("resnet18", {"width": 0.5, "input_shape": (75, 64, 3), "head": "1conv", "output_stride": 16}),
    ],
)
def test_built_network_has_the_counted_cost(name, overrides):
    # `count` is arithmetic on the spec; the network counts its own variables and layers.
    spec = variants.spec(name).replace(**overrides)
    model, counts = kr.build(spec), counting.count(spec)
    assert kr.parameters(model) == counts.parameters
    assert sum(int(np.prod(v.shape)) for v in model.weights if "moving" in v.path) == counts.statistics
    assert kr.macs(model) == counts.macs
    assert len(model.blocks) == spec.blocks == sum(stage.blocks for stage in spec.stages)


def test_cifar_resnet_of_152_layers():
    # Huang et al. 2016 train n = 25 on SVHN; the name resnet152 is the ImageNet network's.
    assert counting.count(variants.cifar("svhn152", 25)).parameters == 2_408_474


def test_every_listed_name_has_a_row():
    rows = {name for name, *_ in COUNTS if not name.endswith(("272bn", "542bn", "preresnet164bn"))} | {
        "vgg15",
        "resnet50_v2",
        "resnet101_v2",
    }
    rows |= {f"preresnet{depth}" for depth in (20, 32, 44, 56)}  # the counts of resnet20 and so on, below
    assert rows == set(kr.list_models())
    assert kr.list_models() == sorted(kr.list_models())


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_preactivation_moves_no_parameter(depth):
    # With option A, BN-ReLU-conv and conv-BN-ReLU hold the same weights (He et al. 2016, section 4).
    assert (
        counting.count(variants.spec(f"preresnet{depth}")).parameters
        == counting.count(variants.spec(f"resnet{depth}")).parameters
    )


@pytest.mark.parametrize(("name", "depth"), [("resnet8", 8), ("preresnet29", 29), ("plain14", 14), ("wrn_10_3", 8)])
def test_patterns_accept_every_n(name, depth):
    spec = variants.spec(name)
    assert spec.depth == depth
    assert spec.name == name


@pytest.mark.parametrize(("name", "depth"), [("b", 20), ("c", 42), ("d", 34), ("e", 26), ("f", 34)])
def test_depth_of_networks_named_by_a_letter(name, depth):
    assert variants.spec(f"wu_{name}").depth == depth  # Wu et al. 2016, Table 1


@pytest.mark.parametrize(
    ("name", "elements"),
    [("f", 2.68), ("e", 5.77), ("d", 6.07), ("c", 6.37), ("16", 12.97), ("b", 13.57)],
)
def test_outputs_of_convolutions(name, elements):
    assert counting.count(variants.spec(f"wu_{name}")).activations == pytest.approx(elements * M, abs=0.00501 * M)


@pytest.mark.parametrize("name", [name for name in kr.list_models() if not re.fullmatch("wu_[a-z]", name)])
def test_the_depth_in_a_name_is_the_depth(name):
    depth = int(re.findall(r"\d+", name)[0])
    # A Wide ResNet's name counts the three projections and not the classifier (their section 3).
    assert variants.spec(name).depth == depth - 2 * name.startswith("wrn_")


def test_applications_are_the_imagenet_table():
    from keras_resnets.models import applications

    listed = {name for name in kr.__all__ if hasattr(applications, name) and name[0].isupper()} - {"ResidualNetwork"}
    assert listed == set(applications._FUNCTIONS)
    assert len(listed) == len(variants.imagenet_models())
    model = kr.WRN18W2(include_top=False, pooling="max", input_shape=(64, 64, 3), name="backbone")
    assert (model.name, model.output_shape) == ("backbone", (None, 1024))
    assert model.spec == variants.spec("wrn18_w2").replace(input_shape=(64, 64, 3), name="backbone")
