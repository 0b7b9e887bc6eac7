"""The networks of CIFAR projects and of transformers as torch modules, with the attributes that name their weights.

Each is written from what its project publishes; `build` fills it with random weights and statistics.
"""

import torch
from torch import nn
from torch.nn import functional


def conv(into, out, kernel=3, stride=1):
    return nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False)


def shapes(into, width, stride, bottleneck, first=False):
    """Inputs, outputs, kernel and stride of the convolutions of a block, and its output."""
    if bottleneck:
        one, three = (stride, 1) if first else (1, stride)
        return [(into, width, 1, one), (width, width, 3, three), (width, 4 * width, 1, 1)], 4 * width
    return [(into, width, 3, stride), (width, width, 3, 1)], width


class Post(nn.Module):
    """conv1, bn1, ...; the projection is in `downsample` or `shortcut`."""

    def __init__(self, into, width, stride, bottleneck, projection):
        super().__init__()
        rows, out = shapes(into, width, stride, bottleneck)
        self.layers, self.projection = len(rows), projection
        for n, row in enumerate(rows, 1):
            setattr(self, f"conv{n}", conv(*row))
            setattr(self, f"bn{n}", nn.BatchNorm2d(row[1]))
        changes = stride != 1 or into != out
        project = nn.Sequential(conv(into, out, 1, stride), nn.BatchNorm2d(out)) if changes else nn.Sequential()
        setattr(self, projection, project)

    def forward(self, x):
        h = x
        for n in range(1, self.layers + 1):
            h = getattr(self, f"bn{n}")(getattr(self, f"conv{n}")(h))
            h = functional.relu(h) if n < self.layers else h
        return functional.relu(h + getattr(self, self.projection)(x))


class Pre(nn.Module):
    """bn1, conv1, ...; `form` is what the projection is called, which for one of them reads the raw input."""

    def __init__(self, into, width, stride, bottleneck, form):
        super().__init__()
        rows, out = shapes(into, width, stride, bottleneck)
        self.layers, self.form = len(rows), form
        for n, row in enumerate(rows, 1):
            setattr(self, f"bn{n}", nn.BatchNorm2d(row[0]))
            setattr(self, f"conv{n}", conv(*row))
        if stride != 1 or into != out:
            project = conv(into, out, 1, stride)
            setattr(self, form, project if form == "convShortcut" else nn.Sequential(project))

    def forward(self, x):
        first = h = functional.relu(self.bn1(x))
        for n in range(1, self.layers + 1):
            h = functional.relu(getattr(self, f"bn{n}")(h)) if n > 1 else h
            h = getattr(self, f"conv{n}")(h)
        if hasattr(self, self.form):
            x = getattr(self, self.form)(x if self.form == "downsample" else first)
        return h + x


class Sequence(nn.Module):
    """weiaicunzai's block: `residual_function`, `shortcut`."""

    def __init__(self, into, width, stride, bottleneck):
        super().__init__()
        rows, out = shapes(into, width, stride, bottleneck)
        layers = [layer for row in rows for layer in (conv(*row), nn.BatchNorm2d(row[1]), nn.ReLU())]
        self.residual_function = nn.Sequential(*layers[:-1])
        changes = stride != 1 or into != out
        self.shortcut = nn.Sequential(*[conv(into, out, 1, stride), nn.BatchNorm2d(out)] if changes else [])

    def forward(self, x):
        return functional.relu(self.residual_function(x) + self.shortcut(x))


class ConvBlock(nn.Module):
    """pytorchcv's: `conv` and `bn`, in either order."""

    def __init__(self, row, pre=False, activate=True):
        super().__init__()
        self.conv, self.bn = conv(*row), nn.BatchNorm2d(row[0] if pre else row[1])
        self.pre, self.activate = pre, activate

    def forward(self, x):
        if self.pre:
            return self.conv(functional.relu(self.bn(x)))
        x = self.bn(self.conv(x))
        return functional.relu(x) if self.activate else x


class Unit(nn.Module):
    """pytorchcv's: `body` with `conv1`, `conv2`, ..., and `identity_conv`."""

    def __init__(self, into, width, stride, bottleneck, pre, first=False):
        super().__init__()
        rows, out = shapes(into, width, stride, bottleneck, first)
        self.body, self.pre = nn.Module(), pre
        for n, row in enumerate(rows, 1):
            setattr(self.body, f"conv{n}", ConvBlock(row, pre, n < len(rows)))
        self.layers = len(rows)
        self.identity_conv = None
        if stride != 1 or into != out:
            row = (into, out, 1, stride)
            self.identity_conv = conv(*row) if pre else ConvBlock(row, activate=False)

    def forward(self, x):
        h = x
        for n in range(1, self.layers + 1):
            h = getattr(self.body, f"conv{n}")(h)
        if self.identity_conv is not None:
            x = self.identity_conv(functional.relu(self.body.conv1.bn(x)) if self.pre else x)
        return h + x if self.pre else functional.relu(h + x)


class ConvLayer(nn.Module):
    """transformers': `convolution`, `normalization`."""

    def __init__(self, into, out, kernel, stride=1, activate=True):
        super().__init__()
        self.convolution, self.normalization = conv(into, out, kernel, stride), nn.BatchNorm2d(out)
        self.activate = activate

    def forward(self, x):
        x = self.normalization(self.convolution(x))
        return functional.relu(x) if self.activate else x


class Layer(nn.Module):
    """transformers': `shortcut`, `layer`."""

    def __init__(self, into, width, stride, bottleneck):
        super().__init__()
        rows, out = shapes(into, width, stride, bottleneck)
        changes = stride != 1 or into != out
        self.shortcut = ConvLayer(into, out, 1, stride, activate=False) if changes else nn.Identity()
        self.layer = nn.Sequential(*(ConvLayer(*row, activate=n < len(rows)) for n, row in enumerate(rows, 1)))

    def forward(self, x):
        return functional.relu(self.layer(x) + self.shortcut(x))


def stages(block, into, counts, width, bottleneck):
    """The blocks of each stage, and the width of the last one."""
    made = []
    for s, count in enumerate(counts):
        base, row = width * 2**s, []
        for b in range(count):
            row.append(block(into, base, 2 if s and not b else 1, bottleneck))
            into = base * (4 if bottleneck else 1)
        made.append(row)
    return made, into


class Net(nn.Module):
    """Everything on one level: a stem, stages, and a dense layer behind an average pool."""

    def __init__(self, block, stem, names, stem_bn="", end="", classifier="fc", counts=(1, 1, 1), **sizes):
        super().__init__()
        self.stem, self.stem_bn, self.names, self.end, self.classifier = stem, stem_bn, names, end, classifier
        first = sizes.pop("stem_width", sizes["width"])
        classes = sizes.pop("classes", 10)
        setattr(self, stem, conv(3, first))
        if stem_bn:
            setattr(self, stem_bn, nn.BatchNorm2d(first))
        made, into = stages(block, first, counts, **sizes)
        for name, row in zip(names, made, strict=False):
            stage = nn.Sequential(*row)
            if name.startswith("block"):  # xternalz: blocks are in `layer` of another module
                stage, inner = nn.Module(), stage
                stage.layer = inner
            setattr(self, name, stage)
        if end:
            setattr(self, end, nn.BatchNorm2d(into))
        setattr(self, classifier, nn.Linear(into, classes))

    def forward(self, x):
        x = getattr(self, self.stem)(x)
        x = functional.relu(getattr(self, self.stem_bn)(x)) if self.stem_bn else x
        for name in self.names:
            stage = getattr(self, name)
            x = getattr(stage, "layer", stage)(x)
        x = functional.relu(getattr(self, self.end)(x)) if self.end else x
        return getattr(self, self.classifier)(x.mean((2, 3)))


class Weiaicunzai(nn.Module):
    def __init__(self, counts, width, bottleneck, classes=10):
        super().__init__()
        self.conv1 = nn.Sequential(conv(3, width), nn.BatchNorm2d(width), nn.ReLU())
        made, into = stages(Sequence, width, counts, width, bottleneck)
        self.conv2_x, self.conv3_x, self.conv4_x, self.conv5_x = (nn.Sequential(*row) for row in made)
        self.fc = nn.Linear(into, classes)

    def forward(self, x):
        x = self.conv5_x(self.conv4_x(self.conv3_x(self.conv2_x(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


class Pytorchcv(nn.Module):
    def __init__(self, counts, width, bottleneck, pre=False, deep=False, first=False, stem_width=None, classes=10):
        super().__init__()
        begin = stem_width or width
        self.features = nn.Sequential()
        if deep:
            block = nn.Sequential()
            block.add_module("conv", ConvBlock((3, begin, 7, 2)))
            block.add_module("pool", nn.MaxPool2d(3, 2, 1))
        else:
            block = conv(3, begin) if pre else ConvBlock((3, begin, 3, 1))
        self.features.add_module("init_block", block)
        made, into = stages(lambda *row: Unit(*row, pre, first), begin, counts, width, bottleneck)
        for s, row in enumerate(made, 1):
            stage = nn.Sequential()
            for n, unit in enumerate(row, 1):
                stage.add_module(f"unit{n}", unit)
            self.features.add_module(f"stage{s}", stage)
        if pre:
            end = nn.Sequential()
            end.add_module("bn", nn.BatchNorm2d(into))
            end.add_module("activ", nn.ReLU())
            self.features.add_module("post_activ", end)
        self.output = nn.Linear(into, classes)

    def forward(self, x):
        return self.output(self.features(x).mean((2, 3)))


class Transformers(nn.Module):
    def __init__(self, counts, width, bottleneck, classes=10):
        super().__init__()
        self.resnet = nn.Module()
        self.resnet.embedder = nn.Module()
        self.resnet.embedder.embedder = ConvLayer(3, width, 7, 2)
        self.resnet.encoder = nn.Module()
        made, into = stages(Layer, width, counts, width, bottleneck)
        self.resnet.encoder.stages = nn.ModuleList()
        for row in made:
            stage = nn.Module()
            stage.layers = nn.Sequential(*row)
            self.resnet.encoder.stages.append(stage)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(into, classes))

    def forward(self, x):
        x = functional.max_pool2d(self.resnet.embedder.embedder(x), 3, 2, 1)
        for stage in self.resnet.encoder.stages:
            x = stage.layers(x)
        return self.classifier(x.mean((2, 3), keepdim=True))


LAYERS = tuple(f"layer{s}" for s in range(1, 5))


def post(projection, stages, **names):
    return lambda counts, **sizes: Net(
        lambda *row: Post(*row, projection), "conv1", LAYERS[:stages], "bn1", counts=counts, **names, **sizes
    )


def pre(form, stage_names, **names):
    return lambda counts, **sizes: Net(
        lambda *row: Pre(*row, form), "conv1", stage_names, counts=counts, **names, **sizes
    )


MODULES = {
    "chenyaofo": post("downsample", 3),
    "bearpaw": pre("downsample", LAYERS[:3], end="bn"),
    "xternalz": pre("convShortcut", ("block1", "block2", "block3"), end="bn1"),
    "kuangliu": post("shortcut", 4, classifier="linear"),
    "torchvision_conv3": post("downsample", 4),
    "kuangliu_pre": pre("shortcut", LAYERS, classifier="linear"),
    "kuangliu_fork": pre("shortcut", LAYERS, classifier="linear", end="bn"),
    "weiaicunzai": Weiaicunzai,
    "osmr": Pytorchcv,
    "osmr_pre": lambda *a, **k: Pytorchcv(*a, **k, pre=True),
    "osmr_imagenet": lambda *a, **k: Pytorchcv(*a, **k, deep=True),
    "transformers": Transformers,
}


def build(name, counts, width, bottleneck=False, **sizes):
    """A network of random weights and statistics, for inference."""
    torch.manual_seed(0)
    net = MODULES[name](counts, width=width, bottleneck=bottleneck, **sizes).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.3, 1.5)
            module.bias.data.normal_(0, 0.5)
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 3)
    return net
