"""Turns an HDF5 file into a safetensors file; a program of its own, run by `hdf5_file` within limits.

libhdf5 is a large library in C, made for files that one trusts. What a damaged file does to it ends with this process.
Nothing of this package is imported.
"""

import sys

MOST_ARRAYS, MOST_GROUPS = 20_000, 40_000
# Real files are not compressed; this much is allowed for.
MOST_COMPRESSED = 16


def convert(source: str, target: str) -> str | None:
    """Writes the arrays of a file by their paths; returns what is wrong with it, or None."""
    import os

    import h5py
    import numpy as np
    from safetensors.numpy import save_file

    size, total = os.path.getsize(source), 0
    found: dict[str, np.ndarray] = {}
    seen: set[int] = set()
    with h5py.File(source, "r") as file:
        waiting = [("", file)]
        while waiting:
            path, group = waiting.pop()
            address = h5py.h5o.get_info(group.id).addr
            if address in seen:
                return "its groups contain one another"
            seen.add(address)
            for name in group:
                if len(waiting) + len(seen) > MOST_GROUPS or len(found) > MOST_ARRAYS:
                    return "it has too many parts"
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    return f"{name[:40]!r} is a link to another place"
                item, place = group[name], f"{path}/{name}" if path else name
                if isinstance(item, h5py.Group):
                    waiting.append((place, item))
                elif isinstance(item, h5py.Dataset):
                    if item.dtype.kind not in "fiub":
                        continue  # texts and the like, such as an optimiser's settings
                    if item.external or item.is_virtual:
                        return f"{name[:40]!r} lies in another file"
                    total += item.nbytes
                    if total > MOST_COMPRESSED * size + 2**20:
                        return f"it claims {total:,} bytes of numbers in {size:,}"
                    found[place] = np.ascontiguousarray(item[()])
    save_file(found, target)
    return None


def limit(size: int) -> None:
    """Bounds this process: memory, seconds, what it may write."""
    import resource

    memory = 2**31 + 3 * MOST_COMPRESSED * size
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (60 + size // 2**22,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def main() -> None:
    import os

    source, target = sys.argv[1:]
    import h5py  # noqa: F401  # before the limits, which are for the file
    import safetensors.numpy  # noqa: F401

    limit(os.path.getsize(source))
    try:
        wrong = convert(source, target)
    except (Exception, MemoryError) as error:
        wrong = f"it is damaged ({type(error).__name__})"
    if wrong:
        sys.stdout.write(wrong)
        sys.stdout.flush()
    os._exit(3 if wrong else 0)


if __name__ == "__main__":
    main()
