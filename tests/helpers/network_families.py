"""One network of every family of layouts, small enough to build in a second or two."""

import keras_resnets as kr

FAMILIES = {
    "post-activation, option A": ("resnet8", {}),
    "post-activation, option B": ("resnet8", {"shortcut": "B"}),
    "post-activation, option C": ("resnet8", {"shortcut": "C"}),
    "plain": ("plain8", {}),
    "pre-activation, option A": ("preresnet8", {}),
    "pre-activation, bottleneck": ("preresnet29", {}),
    "pre-activation, option C": ("preresnet8", {"shortcut": "C"}),
    "wide, dropout": ("wrn_10_2", {"dropout": 0.3}),
    "imagenet, basic": ("resnet18", {"width": 0.125}),
    "imagenet, bottleneck": ("resnet50", {"width": 0.0625}),
    "imagenet, stride on the 3x3": ("resnet50_v15", {"width": 0.0625}),
    "imagenet, pre-activation": ("resnet50_v2", {"width": 0.0625}),
    "imagenet, plain": ("plain18", {"width": 0.125}),
    "vgg": ("vgg15", {"width": 0.125}),
    "zero gamma, decay": ("resnet8", {"zero_gamma": True, "weight_decay": 1e-4, "decay": "all"}),
    "dilated": (
        kr.Spec("dilated", (kr.Stage(2, (8, 8), dilation=2), kr.Stage(1, (4, 8, 16), (1, 3, 1), stride=2, dilation=2))),
        {"stem_width": 8},
    ),
    "pooled, unequal widths, branch dropout": (
        kr.Spec(
            "pooled", (kr.Stage(1, (6, 10)), kr.Stage(2, (4, 6, 12), (1, 3, 1), pool=3, dropout=0.2)), shortcut="B"
        ),
        {},
    ),
}
