"""The commands under test: a line with tiny settings for each, and what has to lie there before it."""

from __future__ import annotations

import importlib.util
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Of a training: two epochs of ten steps on images of 8x8 pixels.
_TRAIN = "--data {base}/digits.npz --epochs 2 --set stem_width=4 --quiet"


@dataclass(frozen=True)
class Command:
    """A command under test.

    Attributes:
        line: its command line; `{base}` is a folder with what it reads, `{out}` one of its own that it may write to.
        reads: what it reads of `{base}`, a file or a folder of this package, which faults damage.
        alone: whether it prints its result and writes nothing.
        needs: a package without which it cannot run.
        fresh: whether it needs a process of its own, because it starts others.
        timed: what its files that draw times end in.
    """

    line: str
    reads: str | None = None
    alone: bool = False
    needs: str | None = None
    fresh: bool = False
    timed: tuple[str, ...] = ()

    def arguments(self, base: Path, out: Path) -> list[str]:
        """Returns the arguments of `keras-resnets`."""
        return [word.format(base=base, out=out) for word in shlex.split(self.line)]

    @property
    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        if self.needs and importlib.util.find_spec(self.needs) is None:
            return f"{self.needs} is not installed"
        return None


_SEARCH = (
    "search preresnet8 --data {base}/digits.npz --budget-params 3000 --blocks 1 --choose learning_rate=0.02:0.2 "
    "--oracle random --trials 2 --epochs 2 --set bn_momentum=0.8 --quiet --out {out}/search"
)
COMMANDS = {
    "train": Command(f"train resnet8 {_TRAIN} --out {{out}}/run"),
    "segmentation": Command(
        "train resnet8 --task segmentation --data {base}/masks --recipe segmentation --epochs 2 --set stem_width=4 "
        "--set head=2conv --set head_width=4 --set-recipe 'augmentation={{\"crop\":16}}' --quiet --out {out}/run"
    ),
    "study": Command("study lesion {base}/run --quiet --out {out}/lesion", reads="run"),
    "training study": Command(
        "study degradation --depths 8 --families resnet --seeds 2 --epochs 1 --data {base}/digits.npz --quiet "
        "--out {out}/degradation"
    ),
    "search": Command(_SEARCH, timed=("study/figure.png", "study/figure.svg")),
    "search on Ray": Command(
        f"{_SEARCH} --workers 2", needs="ray", fresh=True, timed=("study/figure.png", "study/figure.svg")
    ),
    "prune": Command("prune {base}/run --blocks 1 --fine-tune 1 --timed 0 --quiet --out {out}/pruned", reads="run"),
    "export litert": Command("export {base}/run --format litert --calls 0 --quiet --out {out}/net.tflite", reads="run"),
    "export saved_model": Command("export {base}/run --calls 0 --quiet --out {out}/net", reads="run"),
    "export onnx": Command(
        "export {base}/run --format onnx --calls 0 --quiet --out {out}/net.onnx", reads="run", needs="tf2onnx"
    ),
    "convert": Command("convert {base}/net.safetensors resnet18 --image-size 32 --quiet --out {out}/net.keras"),
    "predict": Command("predict {base}/run {base}/pictures --json", reads="run", alone=True),
    "predict litert": Command("predict {base}/litert/net.tflite {base}/pictures --json", reads="litert", alone=True),
    "evaluate": Command("evaluate {base}/run --quiet --out {out}/scores", reads="run"),
    "compare": Command("compare {base}/run {base}/other --timed 0 --quiet --out {out}/compared", reads="run"),
    "report": Command("report {base}/run --no-images --quiet --out {out}/report.html", reads="run"),
}
# What makes `{base}`, in this order.
PREPARED = (
    f"train resnet8 {_TRAIN} --out {{base}}/run",
    f"train resnet8 {_TRAIN} --seed 1 --out {{base}}/other",
    "study lesion {base}/run --quiet",
    "export {base}/run --format litert --calls 0 --quiet --out {base}/litert/net.tflite",
)


def materials(base: Path) -> None:
    """Writes what is no file of this package: images, masks, pictures, and the weights of another library."""
    from helpers import mask_files
    from helpers import weight_references as reference
    from PIL import Image
    from safetensors.numpy import save_file
    from sklearn.datasets import load_digits

    base.mkdir(parents=True)
    digits = load_digits()
    images, labels = digits.images[:240].astype("uint8") * 15, digits.target[:240]
    np.savez(base / "digits.npz", x_train=images[:180], y_train=labels[:180], x_test=images[180:], y_test=labels[180:])
    (base / "pictures").mkdir()
    for number in range(4):
        Image.fromarray(images[number]).save(base / "pictures" / f"{number}.png")
    mask_files.fill(base / "masks" / "train", range(10, 130, 10))
    mask_files.fill(base / "masks" / "test", range(201, 205), palette=False)
    (base / "masks" / "classes.txt").write_text("sky\nsea\nsand\n")
    save_file(reference.draw_torchvision((2, 2, 2, 2), 4), base / "net.safetensors")
