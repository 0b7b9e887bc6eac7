"""Files of the families of CIFAR networks and of transformers, and their networks in NumPy, as their code has them."""

import numpy as np

from helpers.weight_references import Drawn, conv, norm, pool, relu


class Names:
    """What a project calls its layers; blocks and convolutions are counted from 0, stages from 1."""

    stem, stem_bn, end, classifier = "conv1", "", "", "fc"
    shortcut, shortcut_bn = "downsample.0", ""

    def block(self, stage, block):
        return f"layer{stage}.{block}."

    def conv(self, number):
        return f"conv{number + 1}"

    def bn(self, number):
        return f"bn{number + 1}"


class Chenyaofo(Names):
    stem_bn, shortcut_bn = "bn1", "downsample.1"


class Bearpaw(Names):
    end = "bn"


class Xternalz(Names):
    end, shortcut = "bn1", "convShortcut"

    def block(self, stage, block):
        return f"block{stage}.layer.{block}."


class Kuangliu(Names):
    stem_bn, classifier, shortcut, shortcut_bn = "bn1", "linear", "shortcut.0", "shortcut.1"


class KuangliuPre(Names):
    classifier, shortcut = "linear", "shortcut.0"


class KuangliuFork(KuangliuPre):
    end = "bn"


class Weiaicunzai(Names):
    stem, stem_bn, shortcut, shortcut_bn = "conv1.0", "conv1.1", "shortcut.0", "shortcut.1"

    def block(self, stage, block):
        return f"conv{stage + 1}_x.{block}."

    def conv(self, number):
        return f"residual_function.{(0, 3, 6)[number]}"

    def bn(self, number):
        return f"residual_function.{(1, 4, 7)[number]}"


class Osmr(Names):
    stem, stem_bn, classifier = "features.init_block.conv", "features.init_block.bn", "output"
    shortcut, shortcut_bn = "identity_conv.conv", "identity_conv.bn"

    def block(self, stage, block):
        return f"features.stage{stage}.unit{block + 1}."

    def conv(self, number):
        return f"body.conv{number + 1}.conv"

    def bn(self, number):
        return f"body.conv{number + 1}.bn"


class OsmrImagenet(Osmr):
    stem, stem_bn = "features.init_block.conv.conv", "features.init_block.conv.bn"


class OsmrPre(Osmr):
    stem, stem_bn, end = "features.init_block", "", "features.post_activ.bn"
    shortcut, shortcut_bn = "identity_conv", ""


class Transformers(Names):
    root, classifier = "resnet.", "classifier.1"
    shortcut, shortcut_bn = "shortcut.convolution", "shortcut.normalization"

    @property
    def stem(self):
        return f"{self.root}embedder.embedder.convolution"

    @property
    def stem_bn(self):
        return f"{self.root}embedder.embedder.normalization"

    def block(self, stage, block):
        return f"{self.root}encoder.stages.{stage - 1}.layers.{block}."

    def conv(self, number):
        return f"layer.{number}.convolution"

    def bn(self, number):
        return f"layer.{number}.normalization"


class Backbone(Transformers):
    root = ""


def parts(layer):
    return [f"{layer}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]


class Network:
    """A network of a project: its random arrays, and what it computes of them.

    Args:
        names: a `Names`.
        stages: number of stages.
        pre: whether batch-norm and ReLU stand before the convolutions.
        raw: with `pre`, whether a projection reads what comes into the block.
        deep: whether the stem is of 7x7 with a max-pool.
        first: whether the stride of a bottleneck is in its first convolution.
    """

    def __init__(self, names, stages, pre=False, raw=False, deep=False, first=False):
        self.names, self.stages, self.pre, self.raw, self.deep, self.first = names(), stages, pre, raw, deep, first

    def draw(self, blocks=1, width=4, stem=None, bottleneck=False, classes=10, seed=0):
        """The arrays of a network with so many blocks in each stage, or in one after the other."""
        d, names, into = Drawn(seed), self.names, stem or width
        counts = [blocks] * self.stages if isinstance(blocks, int) else blocks

        def bn(layer, width):
            d.norm(parts(layer), width)
            d.arrays[f"{layer}.num_batches_tracked"] = np.asarray(7)

        d.kernel(f"{names.stem}.weight", into, 3, *(7, 7) if self.deep else (3, 3))
        if names.stem_bn:
            bn(names.stem_bn, into)
        for s, count in enumerate(counts, 1):
            base = width * 2 ** (s - 1)
            out = 4 * base if bottleneck else base
            for b in range(count):
                block = names.block(s, b)
                shapes = [(base, into, 3), (base, base, 3)]
                if bottleneck:
                    shapes = [(base, into, 1), (base, base, 3), (out, base, 1)]
                for n, (o, c, k) in enumerate(shapes):
                    d.kernel(f"{block}{names.conv(n)}.weight", o, c, k, k)
                    bn(block + names.bn(n), c if self.pre else o)
                if b == 0 and (s > 1 or into != out):
                    d.kernel(f"{block}{names.shortcut}.weight", out, into, 1, 1)
                    if names.shortcut_bn:
                        bn(block + names.shortcut_bn, out)
                into = out
        if names.end:
            bn(names.end, into)
        d.kernel(f"{names.classifier}.weight", classes, into)
        d.vector(f"{names.classifier}.bias", classes)
        return d.arrays

    def __call__(self, arrays, x):
        """Logits for images with their channels in front."""
        names = self.names

        def bn(x, layer):
            return norm(x, *(arrays[name] for name in parts(layer)), 1e-5)

        x = conv(x, arrays[f"{names.stem}.weight"], *(2, 3) if self.deep else (1, 1))
        x = relu(bn(x, names.stem_bn)) if names.stem_bn else x
        x = pool(x, "both") if self.deep else x
        for s in range(1, self.stages + 1):
            b = 0
            while f"{names.block(s, b)}{names.conv(0)}.weight" in arrays:
                x = self.block(arrays, bn, x, names.block(s, b), 2 if s > 1 and b == 0 else 1)
                b += 1
        x = relu(bn(x, names.end)) if names.end else x
        return x.mean((2, 3)) @ arrays[f"{names.classifier}.weight"].T + arrays[f"{names.classifier}.bias"]

    def block(self, arrays, bn, x, block, stride):
        names = self.names
        count = 3 if f"{block}{names.conv(2)}.weight" in arrays else 2
        at = 1 if count == 3 and not self.first else 0
        h = activated = x
        for n in range(count):
            h = relu(bn(h, block + names.bn(n))) if self.pre else h
            activated = h if n == 0 else activated
            h = conv(h, arrays[f"{block}{names.conv(n)}.weight"], stride if n == at else 1)
            h = h if self.pre else bn(h, block + names.bn(n))
            h = h if self.pre or n == count - 1 else relu(h)
        if f"{block}{names.shortcut}.weight" in arrays:
            read = activated if self.pre and not self.raw else x
            x = conv(read, arrays[f"{block}{names.shortcut}.weight"], stride)
            x = bn(x, block + names.shortcut_bn) if names.shortcut_bn else x
        return h + x if self.pre else relu(h + x)


NETWORKS = {
    "chenyaofo": Network(Chenyaofo, 3),
    "bearpaw": Network(Bearpaw, 3, pre=True, raw=True),
    "xternalz": Network(Xternalz, 3, pre=True),
    "kuangliu": Network(Kuangliu, 4),
    "torchvision_conv3": Network(Chenyaofo, 4),
    "kuangliu_pre": Network(KuangliuPre, 4, pre=True),
    "kuangliu_fork": Network(KuangliuFork, 4, pre=True),
    "weiaicunzai": Network(Weiaicunzai, 4),
    "osmr": Network(Osmr, 3),
    "osmr_pre": Network(OsmrPre, 3, pre=True),
    "osmr_imagenet": Network(OsmrImagenet, 4, deep=True),
    "transformers": Network(Transformers, 4, deep=True),
    "backbone": Network(Backbone, 4, deep=True),
}
