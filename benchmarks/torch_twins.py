"""The same networks as one would write them in PyTorch, for timing beside ours; `gpu.py` uses them."""

import torch
from torch import nn
from torch.nn import functional as F


def conv(channels, width, kernel, stride=1):
    return nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    """A residual block of the original order (He et al. 2015) or of pre-activation (He et al. 2016).

    `kernels` and `widths` are those of its convolutions; the stride is the first convolution's, or in a bottleneck the
    one of the 3x3. `shared`: the first normalisation and ReLU of a pre-activation block also precede its shortcut.
    """

    def __init__(self, channels, widths, kernels, stride, pre, projects, shared=False, dropout=()):
        super().__init__()
        self.pre, self.shared = pre, shared
        at = kernels.index(3)
        inputs = (channels, *widths[:-1])
        self.convs = nn.ModuleList(
            conv(c, w, k, stride if i == at else 1)
            for i, (c, w, k) in enumerate(zip(inputs, widths, kernels, strict=True))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in (inputs if pre else widths))
        self.drops = nn.ModuleList(nn.Dropout(rate) for rate in dropout)
        changes = channels != widths[-1] or stride > 1
        self.project = conv(channels, widths[-1], 1, stride) if changes and projects else None
        self.project_norm = nn.BatchNorm2d(widths[-1]) if self.project is not None and not pre else None
        self.stride, self.more = stride, widths[-1] - channels

    def skip(self, x):
        if self.project is not None:
            x = self.project(x)
            return x if self.project_norm is None else self.project_norm(x)
        # Shortcut A: every second pixel, the new channels zero.
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more)) if self.more else x

    def forward(self, x):
        if self.pre:
            h = F.relu(self.norms[0](x))
            skip = self.skip(h if self.shared and self.project is not None else x)
            for i, layer in enumerate(self.convs):
                if i:
                    h = F.relu(self.norms[i](h))
                    # The dropout of ResNet-38's last blocks, before all convolutions but the first.
                    h = self.drops[i - 1](h) if i <= len(self.drops) else h
                h = layer(h)
            return h + skip
        h = x
        for i, (layer, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            h = norm(layer(h))
            h = F.relu(h) if i < len(self.convs) - 1 else h
        return F.relu(h + self.skip(x))


def network(stem, blocks, width, classes, last_norm):
    end = [nn.BatchNorm2d(width), nn.ReLU()] if last_norm else []
    return nn.Sequential(*stem, *blocks, *end, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def cifar(depth, pre):
    """He et al. 2015, section 4.2, or He et al. 2016 with basic blocks; shortcut A."""
    blocks, channels = [], 16
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        for i in range((depth - 2) // 6):
            blocks.append(Block(channels, (width, width), (3, 3), 1 if i else stride, pre, False))
            channels = width
    stem = [conv(3, 16, 3), *([] if pre else [nn.BatchNorm2d(16), nn.ReLU()])]
    return network(stem, blocks, 64, 10, pre)


def resnet50():
    """He et al. 2015, Table 1, with the stride in the 3x3 convolutions (v1.5)."""
    blocks, channels = [], 64
    for count, width, stride in ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)):
        for i in range(count):
            blocks.append(Block(channels, (width, width, 4 * width), (1, 3, 1), 1 if i else stride, False, True))
            channels = 4 * width
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return network(stem, blocks, 2048, 1000, False)


def resnet38():
    """Wu et al. 2016, Table 1, model A."""
    blocks, channels = [], 64
    rows = ((3, (128, 128)), (3, (256, 256)), (6, (512, 512)), (3, (512, 1024)), (1, (512, 1024, 2048)))
    for count, widths in rows:
        blocks.append(nn.MaxPool2d(3, 2, 1))
        for _ in range(count):
            kernels = (3, 3) if len(widths) == 2 else (1, 3, 1)
            drop = (0.3,) if len(widths) == 3 else ()
            blocks.append(Block(channels, widths, kernels, 1, True, True, True, drop))
            channels = widths[-1]
    blocks.append(Block(channels, (1024, 2048, 4096), (1, 3, 1), 1, True, True, True, (0.3, 0.5)))
    return network([conv(3, 64, 3)], blocks, 4096, 1000, True)


TWINS = {
    "resnet20": lambda: cifar(20, False),
    "resnet8": lambda: cifar(8, False),
    "preresnet110": lambda: cifar(110, True),
    "resnet50_v15": resnet50,
    "resnet38": resnet38,
}


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def timed(name, size, batch, training, precision, seconds, rounds):
    """Returns images per second, one number for each of `rounds`, of the compiled twin; and its parameters."""
    import time

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    model = TWINS[name]().to(device).to(memory_format=torch.channels_last)
    model.train(training)
    classes = 10 if size == 32 else 1000
    x = torch.randn(batch, 3, size, size, device=device).to(memory_format=torch.channels_last)
    y = torch.randint(0, classes, (batch,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, fused=device == "cuda")
    compiled = torch.compile(model, mode="reduce-overhead" if device == "cuda" else "default")
    low = torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")

    def step():
        if not training:
            with torch.inference_mode(), low:
                return compiled(x)
        with low:
            loss = F.cross_entropy(compiled(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(4):
        step()
    wait()
    yield parameters(model)
    begin = time.perf_counter()
    for _ in range(3):
        step()
    wait()
    steps = max(1, int(seconds / rounds / ((time.perf_counter() - begin) / 3)))
    rates = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        wait()
        rates.append(batch * steps / (time.perf_counter() - begin))
    yield rates
