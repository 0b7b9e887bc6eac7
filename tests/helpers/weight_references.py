"""Networks of public weight files, computed once more from their arrays with NumPy alone, as papers and code have them.

Images are (examples, channels, height, width) here, as in the originals, and kernels (outputs, inputs, height, width).
"""

import keras
import numpy as np

import keras_resnets as kr
from keras_resnets.archives.archive import Archive, Tensor


class Held(Archive):
    """An archive of arrays in memory, which counts what is read."""

    def __init__(self, kind, arrays, path="file"):
        self.kind, self.path, self.metadata, self.arrays, self.reads = kind, path, {}, arrays, 0

    def __getitem__(self, name):
        array = self.arrays[name]

        def read():
            self.reads += 1
            return array

        return Tensor(array.shape, array.dtype, read)

    def __iter__(self):
        return iter(self.arrays)

    def __len__(self):
        return len(self.arrays)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def conv(x, w, stride=1, pad=None, dilation=1):
    reach = dilation * (w.shape[-1] - 1)
    pad = reach // 2 if pad is None else pad
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (reach + 1, reach + 1), (2, 3))
    return np.einsum("nchwij,ocij->nohw", windows[:, :, ::stride, ::stride, ::dilation, ::dilation], w, optimize=True)


def pool(x, padding):
    """A 3x3 max-pool of stride 2: "both", a pixel on each side; "end", none, but windows may be cut at the end."""
    if padding == "both":
        widths = ((1, 1), (1, 1))
    else:
        widths = tuple((0, max(0, 2 * int(np.ceil((side - 3) / 2)) + 3 - side)) for side in x.shape[2:])
    x = np.pad(x, ((0, 0), (0, 0), *widths), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::2, ::2].max((-2, -1))


def norm(x, gamma, beta, mean, variance, epsilon):
    gamma, beta, mean, variance = (v[:, None, None] for v in (gamma, beta, mean, variance))
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def relu(x):
    return np.maximum(x, 0)


class Drawn:
    """Random arrays of a file, with statistics far from 0 and 1; zeros where the seed is None."""

    def __init__(self, seed=0):
        self.arrays, self.rng = {}, None if seed is None else np.random.default_rng(seed)

    def _put(self, name, shape, draw):
        self.arrays[name] = np.zeros(shape, "float32") if self.rng is None else draw().astype("float32")

    def kernel(self, name, *shape):
        self._put(name, shape, lambda: self.rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape))

    def vector(self, name, width):
        self._put(name, (width,), lambda: self.rng.normal(0, 0.5, width))

    def norm(self, names, width):
        for name, positive in zip(names, (True, False, False, True), strict=True):
            spread = (lambda: self.rng.uniform(0.3, 3, width)) if positive else (lambda: self.rng.normal(0, 0.7, width))
            self._put(name, (width,), spread)


def torch_norm(layer):
    return [f"{layer}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]


class TorchNet:
    """What the post-activation networks of torch share: names, and blocks of 2 or 3 convolutions."""

    def __init__(self, arrays):
        self.arrays = arrays

    def bn(self, x, layer, epsilon=1e-5):
        return norm(x, *(self.arrays[name] for name in torch_norm(layer)), epsilon)

    def block(self, x, layer, strides, projection=None, pad=0):
        h, count = x, len(strides)
        for i, stride in enumerate(strides, 1):
            h = self.bn(conv(h, self.arrays[f"{layer}.conv{i}.weight"], stride), f"{layer}.bn{i}")
            h = h if i == count else relu(h)
        stride = max(strides)
        if projection and f"{layer}.{projection}.0.weight" in self.arrays:
            x = self.bn(conv(x, self.arrays[f"{layer}.{projection}.0.weight"], stride), f"{layer}.{projection}.1")
        elif x.shape != h.shape:
            # akamaster: zero channels on each side
            planes = h.shape[1]
            x = np.pad(x[:, :, ::2, ::2], ((0, 0), (planes // 4, planes // 4), (0, 0), (0, 0)))
        return relu(h + x)


def draw_torchvision(blocks, width, bottleneck=False, inner=1, classes=5, channels=3, seed=0):
    """The state of a network with the names of torchvision (`resnet.py`)."""
    d = Drawn(seed)
    d.kernel("conv1.weight", width, channels, 7, 7)
    d.norm(torch_norm("bn1"), width)
    into = width
    for s, count in enumerate(blocks, 1):
        base = width * 2 ** (s - 1)
        out = 4 * base if bottleneck else base
        for b in range(count):
            layer = f"layer{s}.{b}"
            shapes = [(base, into, 3), (base, base, 3)]
            if bottleneck:
                shapes = [(base * inner, into, 1), (base * inner, base * inner, 3), (out, base * inner, 1)]
            for i, (o, c, k) in enumerate(shapes, 1):
                d.kernel(f"{layer}.conv{i}.weight", o, c, k, k)
                d.norm(torch_norm(f"{layer}.bn{i}"), o)
                d.arrays[f"{layer}.bn{i}.num_batches_tracked"] = np.asarray(7)
            if b == 0 and (s > 1 or into != out):
                d.kernel(f"{layer}.downsample.0.weight", out, into, 1, 1)
                d.norm(torch_norm(f"{layer}.downsample.1"), out)
            into = out
    d.kernel("fc.weight", classes, into)
    d.vector("fc.bias", classes)
    return d.arrays


def torchvision(arrays, x):
    net = TorchNet(arrays)
    x = pool(relu(net.bn(conv(x, arrays["conv1.weight"], 2, 3), "bn1")), "both")
    for s in range(1, 5):
        b = 0
        while f"layer{s}.{b}.conv1.weight" in arrays:
            stride = 2 if s > 1 and b == 0 else 1
            bottleneck = f"layer{s}.{b}.conv3.weight" in arrays
            x = net.block(x, f"layer{s}.{b}", (1, stride, 1) if bottleneck else (stride, 1), "downsample")
            b += 1
    return x.mean((2, 3)) @ arrays["fc.weight"].T + arrays["fc.bias"]


def draw_akamaster(count, width=4, classes=5, projects=False, seed=0):
    d = Drawn(seed)
    d.kernel("conv1.weight", width, 3, 3, 3)
    d.norm(torch_norm("bn1"), width)
    into = width
    for s in (1, 2, 3):
        out = width * 2 ** (s - 1)
        for b in range(count):
            for i, c in ((1, into), (2, out)):
                d.kernel(f"layer{s}.{b}.conv{i}.weight", out, c, 3, 3)
                d.norm(torch_norm(f"layer{s}.{b}.bn{i}"), out)
            if projects and into != out:
                d.kernel(f"layer{s}.{b}.shortcut.0.weight", out, into, 1, 1)
                d.norm(torch_norm(f"layer{s}.{b}.shortcut.1"), out)
            into = out
    d.kernel("linear.weight", classes, into)
    d.vector("linear.bias", classes)
    return d.arrays


def akamaster(arrays, x):
    net = TorchNet(arrays)
    x = relu(net.bn(conv(x, arrays["conv1.weight"]), "bn1"))
    for s in (1, 2, 3):
        b = 0
        while f"layer{s}.{b}.conv1.weight" in arrays:
            x = net.block(x, f"layer{s}.{b}", (2 if s > 1 and b == 0 else 1, 1), "shortcut")
            b += 1
    return x.mean((2, 3)) @ arrays["linear.weight"].T + arrays["linear.bias"]


def draw_wide(count, widths=(32, 64, 128), classes=5, seed=0):
    d = Drawn(seed)
    d.kernel("conv0", 16, 3, 3, 3)
    into = 16
    for g, out in enumerate(widths):
        for b in range(count):
            block = f"group{g}.block{b}"
            d.norm(torch_norm(f"{block}.bn0"), into)
            d.kernel(f"{block}.conv0", out, into, 3, 3)
            d.norm(torch_norm(f"{block}.bn1"), out)
            d.kernel(f"{block}.conv1", out, out, 3, 3)
            if into != out:
                d.kernel(f"{block}.convdim", out, into, 1, 1)
            into = out
    d.norm(torch_norm("bn"), into)
    d.kernel("fc.weight", classes, into)
    d.vector("fc.bias", classes)
    return d.arrays


def wide(arrays, x):
    net = TorchNet(arrays)
    x = conv(x, arrays["conv0"])
    for g in (0, 1, 2):
        b = 0
        while (block := f"group{g}.block{b}") + ".conv0" in arrays:
            stride = 2 if g and b == 0 else 1
            first = relu(net.bn(x, f"{block}.bn0"))
            h = conv(first, arrays[f"{block}.conv0"], stride)
            h = conv(relu(net.bn(h, f"{block}.bn1")), arrays[f"{block}.conv1"])
            x = h + (conv(first, arrays[f"{block}.convdim"], stride) if f"{block}.convdim" in arrays else x)
            b += 1
    return relu(net.bn(x, "bn")).mean((2, 3)) @ arrays["fc.weight"].T + arrays["fc.bias"]


# Wu et al. 2016: level -> widths of a unit's convolutions, slim; a level's last is the next one's input, as there.
WU_WIDTHS = {1: (4, 4), 2: (6, 6), 3: (8, 8), 4: (10, 10), 5: (8, 12), 6: (8, 12, 16), 7: (12, 16, 20)}


def mxnet_names(level, unit, branch, what):
    name = f"{level}a" if level > 1 and unit == 0 else f"{level}b{unit + (level == 1)}"
    if what == "conv":
        return f"arg:res{name}_branch{branch}_weight"
    parts = ("arg", "gamma"), ("arg", "beta"), ("aux", "moving_mean"), ("aux", "moving_var")
    return [f"{kind}:bn{name}_branch{branch}_{part}" for kind, part in parts]


def psa_names(level, unit, branch, what):
    name = f"b{level}" + (f"_{unit}" if unit else "")
    if what == "conv":
        return f"{name}.conv_branch{branch}.weight"
    return torch_norm(f"{name}.bn_branch{branch}")


def wider_names(level, unit, branch, what):
    block = f"mod{level}.block{unit + 1}"
    number = {"1": "", "2a": 1, "2b1": 2, "2b2": 3}[branch]
    if what == "conv":
        return f"{block}.convs.conv{number}.weight" if number else f"{block}.proj_conv.weight"
    return torch_norm(f"{block}.bn1.0" if number == 1 else f"{block}.convs.bn{number}.0")


MXNET_END = ["arg:bn7_gamma", "arg:bn7_beta", "aux:bn7_moving_mean", "aux:bn7_moving_var"]
ENDS = {
    "mxnet": ("arg:conv1a_weight", MXNET_END),
    "psa": ("conv1a.weight", torch_norm("bn7")),
    "wider": ("mod1.conv1.weight", torch_norm("bn_out.0")),
}
NAMES = {"mxnet": mxnet_names, "psa": psa_names, "wider": wider_names}
BRANCHES = ("2a", "2b1", "2b2")


def draw_wu(kind, units, seed=0):
    """The trunk: `units` is the number of units of the levels 1 to 7."""
    d, names = Drawn(seed), NAMES[kind]
    stem, end = ENDS[kind]
    d.kernel(stem, 4, 3, 3, 3)
    into = 4
    for level, count in enumerate(units, 1):
        widths = WU_WIDTHS[level]
        for unit in range(count):
            c = into
            for branch, width in zip(BRANCHES, widths, strict=False):
                d.norm(names(level, unit, branch, "bn"), c)
                kernel = 3 if len(widths) == 2 or branch == "2b1" else 1
                d.kernel(names(level, unit, branch, "conv"), width, c, kernel, kernel)
                c = width
            if unit == 0 and level > 1:
                d.kernel(names(level, unit, "1", "conv"), widths[-1], into, 1, 1)
            into = widths[-1]
    d.norm(end, into)
    return d


def wu(kind, arrays, x, pools=(), strides=(), padding="end", epsilon=1e-5, dilations=None):
    """The last map, behind its BN and ReLU. `dilations` gives (first convolution, others, later units) of a level."""
    names = NAMES[kind]
    stem, end = ENDS[kind]
    x = conv(x, arrays[stem])

    def bn(x, layer):
        return relu(norm(x, *(arrays[name] for name in layer), epsilon))

    for level in range(1, 8):
        if level in pools:
            x = pool(x, padding)
        first, others, later = (dilations or {}).get(level, (1, 1, 1))
        unit = 0
        while names(level, unit, "2a", "conv") in arrays:
            stride = 2 if unit == 0 and level in strides else 1
            activated = h = bn(x, names(level, unit, "2a", "bn"))
            for i, branch in enumerate(BRANCHES[: len(WU_WIDTHS[level])]):
                w = arrays[names(level, unit, branch, "conv")]
                h = bn(h, names(level, unit, branch, "bn")) if i else h
                dilation = 1 if w.shape[-1] == 1 else later if unit else others if i else first
                h = conv(h, w, stride if i == 0 else 1, dilation=dilation)
            projection = names(level, unit, "1", "conv")
            x = h + (conv(activated, arrays[projection], stride) if projection in arrays else x)
            unit += 1
    return bn(x, end)


# What the tests of several families share.

IMAGENET = (123.675, 116.28, 103.53, 58.395, 57.12, 57.375)  # 255 times torch's mean and deviation


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def scores(model, x):
    """What a network gives for images with their channels in front, with its own channels in front."""
    y = keras.ops.convert_to_numpy(model(np.moveaxis(x, 1, -1)))
    return y if y.ndim == 2 else np.moveaxis(y, -1, 1)


def logits(archive, name=None, **options):
    return kr.weights.network(archive, name, classifier_activation=None, **options)


def close(found, expected, tolerance=1e-4):
    assert found.shape == expected.shape
    # Moving statistics far from 0 and 1 let the numbers grow from block to block.
    np.testing.assert_allclose(found, expected, atol=tolerance * max(1, np.abs(expected).max()))


def values(model):
    """Copies of a network's weights."""
    return [keras.ops.convert_to_numpy(v).copy() for v in model.weights]


# Units of the levels of Wu et al. 2016's model A.
WU_A = (0, 3, 3, 6, 3, 1, 1)


def classifier(drawn, weight="arg:linear5_weight", bias="arg:linear5_bias"):
    drawn.kernel(weight, 5, 20)
    drawn.vector(bias, 5)
    return drawn.arrays


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)
