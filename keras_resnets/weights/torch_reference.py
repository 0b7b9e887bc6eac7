"""Reference implementations in torch of the networks of torch's weight files, to compare ours with.

They follow the originals' forward passes, use the file's own tensors, and share no code with the loading of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Tensors = Mapping[str, Any]


class _Net:
    """Layers by name, with the file's tensors."""

    def __init__(self, tensors: Tensors):
        import torch

        self.tensors, self.relu, self.functional = tensors, torch.relu, torch.nn.functional

    def conv(self, x, name: str, stride: int = 1):
        kernel = self.tensors[name]
        return self.functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def bn(self, x, layer: str):
        gamma, beta, mean, variance = (
            self.tensors[f"{layer}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return self.functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-5)

    def dense(self, x, layer: str):
        return self.functional.linear(x.mean((2, 3)), self.tensors[f"{layer}.weight"], self.tensors[f"{layer}.bias"])


def _torchvision(tensors: Tensors, x):
    net = _Net(tensors)
    x = net.functional.max_pool2d(net.relu(net.bn(net.conv(x, "conv1.weight", 2), "bn1")), 3, 2, 1)
    return net.dense(_stages(net, x, 4, "downsample"), "fc")


def _akamaster(tensors: Tensors, x):
    net = _Net(tensors)
    x = net.relu(net.bn(net.conv(x, "conv1.weight"), "bn1"))
    return net.dense(_stages(net, x, 3, "shortcut"), "linear")


def _stages(net: _Net, x, stages: int, projection: str):
    for stage in range(1, stages + 1):
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in net.tensors:
            layer, h, stride = f"layer{stage}.{block}", x, 2 if stage > 1 and block == 0 else 1
            count = 3 if f"{layer}.conv3.weight" in net.tensors else 2
            for i in range(1, count + 1):
                conv_stride = stride if i == count - 1 else 1  # the 3x3 of a bottleneck, the first of a basic block
                h = net.bn(net.conv(h, f"{layer}.conv{i}.weight", conv_stride), f"{layer}.bn{i}")
                h = net.relu(h) if i < count else h
            if f"{layer}.{projection}.0.weight" in net.tensors:
                x = net.bn(net.conv(x, f"{layer}.{projection}.0.weight", stride), f"{layer}.{projection}.1")
            elif h.shape != x.shape:
                quarter = h.shape[1] // 4
                x = net.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
            x, block = net.relu(h + x), block + 1
    return x


def _zagoruyko(tensors: Tensors, x):
    net = _Net(tensors)
    x = net.conv(x, "conv0")
    for group in range(3):
        block = 0
        while f"group{group}.block{block}.conv0" in tensors:
            layer, stride = f"group{group}.block{block}", 2 if group and block == 0 else 1
            first = net.relu(net.bn(x, f"{layer}.bn0"))
            h = net.relu(net.bn(net.conv(first, f"{layer}.conv0", stride), f"{layer}.bn1"))
            skip = net.conv(first, f"{layer}.convdim", stride) if f"{layer}.convdim" in tensors else x
            x, block = net.conv(h, f"{layer}.conv1") + skip, block + 1
    return net.dense(net.relu(net.bn(x, "bn")), "fc")


# By the family's name.
NETWORKS: dict[str, Callable[[Tensors, Any], Any]] = {
    "torchvision": _torchvision,
    "akamaster's CIFAR networks": _akamaster,
    "Zagoruyko's wide networks": _zagoruyko,
}


def logits(family: str, tensors: Mapping[str, Any], images):
    """Computes the logits of a file's network.

    Args:
        family: a key of `NETWORKS`.
        tensors: the file's arrays, by the names of the network's code.
        images: an array of (examples, height, width, channels).

    Raises:
        ImportError: torch is not installed.
    """
    import torch

    weights = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    with torch.no_grad():
        return NETWORKS[family](weights, torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
