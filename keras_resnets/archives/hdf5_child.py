"""A separate program that copies the arrays of an HDF5 file into a safetensors file, with limited memory and time.

libhdf5 is C code that trusts the file, so a damaged file may crash it or make it run forever. Here only a child process
is lost. The program imports nothing of this package, because importing TensorFlow takes seconds.
"""

import json
import os
import resource
import sys

import h5py
import numpy as np

_MOST_OBJECTS, _MOST_ARRAYS, _MOST_DEPTH, _LONGEST_NAME = 200_000, 50_000, 32, 1000
# Keras does not compress. The arrays of a file that was compressed may take this many times its size.
_MOST_TIMES, _SMALL = 16, 1 << 20
_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)
_TYPES = {
    "f2": "F16", "f4": "F32", "f8": "F64", "i1": "I8", "i2": "I16", "i4": "I32", "i8": "I64", "u1": "U8",
    "u2": "U16", "u4": "U32", "u8": "U64", "b1": "BOOL",
}  # fmt: skip
_METADATA = ("keras_version", "backend", "layer_names", "model_config", "training_config")
REFUSED = 3


class Refused(Exception):
    """The file contains something that a weight file may not contain."""


def convert(source: str, target: str) -> None:
    """Writes the arrays of an HDF5 file into a new safetensors file."""
    size = os.path.getsize(source)
    with h5py.File(source, "r") as file:
        root = file
        if _link_type(file, b"model_weights") == h5py.h5l.TYPE_HARD and isinstance(file["model_weights"], h5py.Group):
            root = file["model_weights"]
        arrays = _collect_arrays(root, size)

        # Of a whole model Keras reads the configuration in the file's own attributes.
        metadata = {**_read_metadata(root), **_read_metadata(file), "names": json.dumps(_read_names(root, arrays))}
        header: dict[str, dict] = {"__metadata__": metadata}
        at = 0
        for name, array in arrays.items():
            end = at + array.size * array.dtype.itemsize
            key = f"{array.dtype.kind}{array.dtype.itemsize}"
            # Keras stores bfloat16, which HDF5 lacks, as whole numbers.
            kind = "BF16" if key == "u2" and array.attrs.get("dtype") == "bfloat16" else _TYPES[key]
            header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, end]}
            at = end

        text = json.dumps(header).encode()
        with open(target, "xb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            for array in arrays.values():
                np.asarray(array[()], array.dtype.newbyteorder("<")).tofile(out)


def _link_type(group: h5py.Group, name: bytes) -> int | None:
    return group.id.links.get_info(name).type if name in group.id else None


def _collect_arrays(root: h5py.Group, size: int) -> dict[str, h5py.Dataset]:
    """Returns the arrays below a group by path; raises unless each is in the file, reachable once, and small enough."""
    arrays, seen, total, waiting = {}, set(), 0, [("", root, 0)]
    while waiting:
        path, item, depth = waiting.pop()
        info = h5py.h5o.get_info(item.id)
        if (info.fileno, info.addr) in seen:
            raise Refused(f"it reaches {path[:80]!r} in two ways")
        seen.add((info.fileno, info.addr))
        if depth > _MOST_DEPTH or len(seen) > _MOST_OBJECTS or len(path) > _LONGEST_NAME:
            raise Refused("its groups are too deep, too many, or their names too long")
        if isinstance(item, h5py.Dataset):
            total += _memory_for(path, item)
            arrays[path] = item
            if total > _MOST_TIMES * size + _SMALL or len(arrays) > _MOST_ARRAYS:
                raise Refused(f"its {len(arrays):,} arrays would have {total:,} bytes, and the file has {size:,}")
        elif isinstance(item, h5py.Group):
            if len(item) > _MOST_OBJECTS:
                raise Refused("its groups are too many")
            for name in reversed(list(item)):
                inner = f"{path}/{name}" if path else name
                if _link_type(item, name.encode()) != h5py.h5l.TYPE_HARD:
                    raise Refused(f"{inner[:80]!r} is a link, which may lead out of the file")
                waiting.append((inner, item[name], depth + 1))
        else:
            raise Refused(f"{path[:80]!r} is neither a group nor an array")
    return arrays


def _memory_for(path: str, array: h5py.Dataset) -> int:
    """Returns the bytes of memory that reading an array takes; raises unless its numbers are in the file."""
    settings, dtype = array.id.get_create_plist(), array.dtype
    if array.shape is None or f"{dtype.kind}{dtype.itemsize}" not in _TYPES:
        raise Refused(f"{path[:80]!r} is not an array of numbers")
    if settings.get_layout() == h5py.h5d.VIRTUAL or settings.get_external_count():
        raise Refused(f"{path[:80]!r} lies in another file")
    for number in range(settings.get_nfilters()):
        if settings.get_filter(number)[0] not in _FILTERS:
            raise Refused(f"{path[:80]!r} is not compressed with gzip")
    size = array.size * dtype.itemsize
    if settings.get_nfilters() == 0 and size > array.id.get_storage_size():
        raise Refused(f"{path[:80]!r} has {size:,} bytes, of which {array.id.get_storage_size():,} are in the file")
    # A chunk is decompressed as a whole, however little of it is used.
    chunk = int(np.prod(array.chunks, dtype=object)) * dtype.itemsize if array.chunks else 0
    return max(size, chunk)


def _read_metadata(group: h5py.Group) -> dict[str, str]:
    """Returns the attributes of interest; Keras splits a long list of layer names over several attributes."""
    metadata = {}
    for key in _METADATA:
        pieces = [key] if key in group.attrs else []
        while f"{key}{len(pieces)}" in group.attrs and len(pieces) < 1000:
            pieces.append(f"{key}{len(pieces)}")
        values: list[str] = []
        for piece in pieces:
            if group.attrs.get_id(piece).get_storage_size() <= 1 << 20:
                values += [v.decode() if isinstance(v, bytes) else str(v) for v in np.ravel(group.attrs[piece])]
        if values:
            metadata[key] = json.dumps(values) if key == "layer_names" else values[0]
    return metadata


def _read_names(root: h5py.Group, arrays: dict[str, h5py.Dataset]) -> dict[str, str]:
    """Returns the names of layers by their paths, which Keras 3 writes beside their variables."""
    names: dict[str, str] = {}
    for path in arrays:
        parts = path.split("/")
        for end in range(1, len(parts)):
            parent = "/".join(parts[:end])
            if parent in names or not isinstance(root.get(f"{parent}/vars"), h5py.Group):
                continue
            name = root[f"{parent}/vars"].attrs.get("name")
            if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME:
                names[parent] = name
    return names


def limit(size: int) -> None:
    """Limits the memory, output and CPU time of this process, according to the size of the file."""
    with open("/proc/self/statm") as status:
        used = int(status.read().split()[0]) * resource.getpagesize()
    data = _MOST_TIMES * size + _SMALL
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20) + 3 * data,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * data + (64 << 20),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds = 10 + size // (20 << 20)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def main(source: str, target: str) -> int:
    """Converts a file; returns the exit status. If the file is refused, the last line printed says why."""
    limit(os.path.getsize(source))
    return answer(source, target)


def answer(source: str, target: str) -> int:
    """Does the same without limiting this process."""
    try:
        convert(source, target)
    except Refused as error:
        print(error)
        return REFUSED
    except MemoryError:
        print("it needs more memory than its size allows")
        return REFUSED
    except Exception as error:
        # h5py raises many classes of exceptions for errors of libhdf5.
        print(f"libhdf5 says {type(error).__name__}: {str(error)[:120]!r}")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
