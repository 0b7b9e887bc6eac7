"""A network that no paper has named
=================================

How is a network described that no paper has named?

Command: `python examples/custom_network.py`

Time: under half a minute; nothing is trained.
Expect: the printed counts; the saved network gives the outputs of the one that was saved.

With `--tiny`: a quarter of the width.
"""

import argparse
from pathlib import Path

import numpy as np

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--out", type=Path, default=Path("runs/custom"))
arguments = parser.parse_args()

# %%
# A stage is a run of like blocks: how many, the widths and kernels of the convolutions inside each, the stride of the
# first. Here basic blocks, then bottlenecks, then dilated blocks that keep the resolution.
spec = kr.Spec(
    "mixed",
    stages=(
        kr.Stage(2, widths=(32, 32)),
        kr.Stage(3, widths=(32, 32, 128), kernels=(1, 3, 1), stride=2),
        kr.Stage(2, widths=(128, 128), dilation=2, dropout=0.2),
    ),
    input_shape=(32, 32, 3),
    classes=7,
    stem_width=32,
    placement="pre",
    shortcut="B",
    width=0.25 if arguments.tiny else 1.0,
)
print(f"{spec.name}: depth {spec.depth}, {spec.blocks} blocks, shrinks its input {spec.total_stride} times")

# %%
# A spec is plain data: it survives JSON, and the command line reads it too (keras-resnets train mixed.json ...).
arguments.out.mkdir(parents=True, exist_ok=True)
(arguments.out / "mixed.json").write_text(spec.to_json())
assert kr.Spec.from_json((arguments.out / "mixed.json").read_text()) == spec

model = kr.build(spec)
print(f"{kr.parameters(model):,} parameters, {kr.macs(model):,} multiply-adds an image")
for block in model.blocks:
    print(f"  {block.name}: {kr.parameters(block):,} parameters")

# %%
# Any field can be replaced when building.
wider = kr.build(spec, name="wider", width=2 * spec.width)
print(f"{wider.name}: {kr.parameters(wider):,} parameters")

# %%
# A saved network knows its spec, and opens without knowing what to import.
model.save(arguments.out / "mixed.keras")
loaded = kr.load_model(arguments.out / "mixed.keras")
x = np.random.default_rng(0).normal(size=(4, *spec.input_shape)).astype("float32")
difference = np.abs(model.predict(x, verbose=0) - loaded.predict(x, verbose=0)).max()
print(f"loaded: same spec {loaded.spec == spec}, largest difference {difference:.1e}")
