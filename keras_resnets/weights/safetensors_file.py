"""Files of the format safetensors, by its own library, which checks them before it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_resnets.weights.archive import MOST_ARRAYS, Archive, Tensor, elements, name_of, refuse

TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def open_file(path: Path, kind: str = "safetensors", close=None) -> Archive:
    """Opens a safetensors file."""
    import safetensors

    try:
        file = safetensors.safe_open(str(path), "np")
    except safetensors.SafetensorError as error:
        raise refuse(path, str(error).strip().splitlines()[0][:120]) from error
    names = list(file.keys())
    if len(names) > MOST_ARRAYS:
        raise refuse(path, f"it has {len(names):,} arrays")
    tensors = {name_of(path, name): _tensor(path, file, name) for name in names}
    return Archive(kind, path, tensors, file.metadata(), close)


def _tensor(path: Path, file, name: str) -> Tensor:
    part = file.get_slice(name)
    shape, stored = tuple(part.get_shape()), TYPES.get(part.get_dtype())
    if stored is None:
        raise refuse(path, f"the array {name[:80]!r} is of the type {part.get_dtype()}")
    elements(path, name, shape, path.stat().st_size)
    if stored == "bfloat16":
        return Tensor(shape, np.dtype("float32"), lambda: np.asarray(file.get_tensor(name)).astype("float32"))
    return Tensor(shape, np.dtype(stored), lambda: np.asarray(file.get_tensor(name)))
