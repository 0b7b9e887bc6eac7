"""Damages weight files at random and reads them: `python tests/fuzz_weight_files.py --files 100000 --seed 0`.

Every file must be read with the shapes that were promised, or be refused with a `WeightFileError`, in little time and
memory, and without anything being run, imported or written elsewhere. Files are read in a process of limited memory
that is watched: whatever else happens there is a failure, and the process is started anew. The exit status is 1 if
there was one.

HDF5 files are converted in that process too, where libhdf5 may crash or not come to an end; such files are counted, and
the first of them are given to `open_archive` itself afterwards, which must refuse them.
"""

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import select
import struct
import subprocess
import sys
import tempfile
import time
import types
import zipfile
from pathlib import Path

import numpy as np
from helpers import weight_files as write

from keras_resnets.archives import hdf5_child, hdf5_file
from keras_resnets.archives.archive import WeightFileError
from keras_resnets.archives.reading import open_archive

READERS = ("safetensors", "torch", "torch_stream", "mxnet", "hdf5", "keras")
MEMORY, SECONDS, TO_START = 256 << 20, 5, 60
# Of the files that libhdf5 does not survive, so many are given to `open_archive`, which takes its time to give up.
CHECKED = 10
# The files have some kilobytes. What is converted by libhdf5 has the memory of its process.
LARGEST = 32 << 20
EXTREME = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**60, 2**63 - 1, 2**64 - 1]
OPCODES = (
    b"().012FGIJKLMNPQRSTUVX]abcdeghijlopqrstu}\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x90\x93\x94"
)
EVENTS = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.spawn", "subprocess.Popen", "exec",
    "compile", "import", "pickle.find_class", "socket.__new__", "ctypes.dlopen", "marshal.loads", "code.__new__",
)  # fmt: skip


def samples(reader):
    """Small valid files of a reader, and hostile ones."""
    arrays = {name: write.numbers(shape, dtype) for name, shape, dtype in (
        ("a/kernel", (3, 3, 2, 4), "float32"), ("a/bias", (4,), "float16"), ("b/step", (), "int64"),
    )}  # fmt: skip
    if reader == "safetensors":
        return [write.safetensors(arrays, {"format": "pt"}), write.safetensors({"x": arrays["a/bias"]})]
    if reader == "mxnet":
        return [write.mxnet(arrays, "v3")] + [
            write.mxnet({k: v for k, v in arrays.items() if v.ndim}, form) for form in ("legacy", "v1", "v2")
        ]
    if reader in ("torch", "torch_stream"):
        attack = write.mapping({"x": write.called("os", "system", write.text("touch canary"))})
        if reader == "torch":
            known = [write.torch_file(arrays), write.torch_zip(attack, {"0": b""}), transposed()]
            return [*known, write.of_64_bits(transposed())]
        return [write.torch_file(arrays, zipped=False), write.torch_stream(attack, {})]
    if reader == "hdf5":
        return [write.hdf5(arrays), write.hdf5(arrays, whole_model=True), compressed()]
    layers = [write.layer("Conv2D", "a", use_bias=False), write.layer("BatchNormalization", "b", scale=False)]
    held = {"layers/conv2d/vars/0": arrays["a/kernel"]}
    held |= {f"layers/batch_normalization/vars/{n}": write.numbers(4, seed=n) for n in range(3)}
    return [write.keras(layers, held)]


def transposed():
    values = write.numbers((4, 6))
    view = write.rebuilt(write.storage("0", "float32", 24), 0, (6, 4), (1, 6))
    return write.torch_zip(write.mapping({"t": view, "again": view}), {"0": write.raw(values)})


def compressed():
    out = io.BytesIO()
    with hdf5_child.h5py.File(out, "w") as file:
        file.create_dataset(
            "a/a/kernel:0", data=write.numbers((64, 8)), chunks=(16, 8), compression="gzip", shuffle=True
        )
        file.create_dataset("a/a/bias:0", data=np.zeros(8, "float32"), fletcher32=True, chunks=(8,))
    return out.getvalue()


# Damage


def damaged(reader, seed, number, known):
    """The bytes of a damaged file, the same for the same seed and number."""
    rng = random.Random(f"{reader} {seed} {number}")
    content = rng.choice(known)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if reader in ("torch", "keras") and rng.random() < 0.7:
            content = inside(rng, content, known)
        elif reader == "safetensors" and rng.random() < 0.6:
            content = header(rng, content)
        elif reader == "torch_stream" and rng.random() < 0.4:
            content = instructions(rng, content, known)
        else:
            content = rng.choice(WAYS)(rng, content, known)
    return content


def header(rng, content):
    """Damages the JSON, and says its length as it is then."""
    length = struct.unpack_from("<Q", content.ljust(8, b"\0"))[0]
    changed = words(rng, content[8 : 8 + length], [])
    return struct.pack("<Q", len(changed)) + changed + content[8 + length :]


def inside(rng, content, known):
    """Damages a member of a zip, and packs it with the check sum that it has then."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        members = {}
    if not members:
        return flipped(rng, content, known)
    name = rng.choice([name for name in members for _ in range(6 if name.endswith((".pkl", ".json", ".h5")) else 1)])
    ways = [words, *WAYS] if name.endswith(".json") else [instructions, *WAYS] if name.endswith(".pkl") else WAYS
    changed = rng.choice(ways)(rng, members[name], list(members.values()))
    if rng.random() < 0.05:
        members[rng.choice(("../canary", "/canary", name + "x"))] = members.pop(name)
        return write.zipped(members)
    members[name] = changed
    return write.zipped(members, compress_type=zipfile.ZIP_DEFLATED if rng.random() < 0.02 else None)


def flipped(rng, content, known):
    out = bytearray(content or b"\0")
    for _ in range(rng.randint(1, 8)):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(rng, content, known):
    return content[: rng.randrange(len(content) + 1)]


def grown(rng, content, known):
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice((rng.randbytes(rng.randint(1, 40)), bytes(9), content[: 2 * at])) + content[at:]


def shrunk(rng, content, known):
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at + rng.randint(1, 64) :]


def spliced(rng, content, known):
    other = rng.choice(known or [content])
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


def lengths(rng, content, known):
    """Puts an extreme value where a length or an offset may be."""
    out, size = bytearray(content.ljust(8, b"\0")), rng.choice((1, 2, 4, 8))
    at = rng.randrange(len(out) - size + 1)
    value = rng.choice([*EXTREME, len(out), len(out) - 1, rng.getrandbits(64)])
    out[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    return bytes(out)


def instructions(rng, content, known):
    """Puts instructions of pickle where it likes, and a far place of the memo now and then."""
    at = rng.randrange(len(content) + 1)
    new = bytes(rng.choice(OPCODES) for _ in range(rng.randint(1, 6)))
    far = [
        b"r\xff\xff\xff\xff",
        b"\x8e" + b"\xff" * 8,
        b"B\xff\xff\xff\x7f",
        b"\x95" + b"\xff" * 8,
        b"cos\nsystem\n",
        b"}}s",
    ]
    return content[:at] + rng.choice([new, new, rng.choice(far)]) + content[at + rng.choice((0, 1, 2)) :]


def words(rng, content, known):
    """Puts other values into JSON."""
    found = list(re.finditer(rb"-?\d+|\"[^\"]*\"|true|false|null|[\[\]{},:]", content))
    if not found:
        return flipped(rng, content, known)
    match = rng.choice(found)
    values = [str(rng.choice(EXTREME)), "-1", "1e999", "NaN", "9" * 5000, '""', '"a/kernel"', "null", "{}", "[" * 3000]
    value = rng.choice(values).encode() if rng.random() < 0.6 else rng.choice(found).group()
    return content[: match.start()] + value + content[match.end() :]


WAYS = [flipped, cut, grown, shrunk, spliced, lengths, lengths]


# The process that reads


def read_all(path):
    """Opens a file and reads what it has; says whether it was refused."""
    try:
        with open_archive(path) as archive:
            for tensor in archive.values():
                array = tensor.read()
                assert array.shape == tensor.shape, f"{array.shape} is not {tensor.shape}"
                assert array.dtype == tensor.dtype, f"{array.dtype} is not {tensor.dtype}"
    except WeightFileError as error:
        said = str(error)
        assert said.isprintable(), f"not fit for a line: {said!r}"
        assert len(said) < 600, f"{len(said)} characters: {said[:300]!r}"
        return said
    return None


def convert_here(command, **_):
    """In place of `subprocess.run`: the same function, in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = hdf5_child.answer(*command[-2:])
    return types.SimpleNamespace(returncode=code, stdout=said.getvalue().encode())


def peak():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) << 10


def worker(reader, seed, folder):
    """Reads the files whose numbers come in, and answers with a line of JSON for each."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    hdf5_file.subprocess = types.SimpleNamespace(
        run=convert_here, DEVNULL=None, TimeoutExpired=subprocess.TimeoutExpired
    )
    known, path = samples(reader), Path(folder, "file")
    for content in known:
        path.write_bytes(content)
        read_all(path)
    tempfile.tempdir = folder
    with open("/proc/self/statm") as status:
        taken = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seen, is_watching = [], False

    def hook(event, arguments):
        if not is_watching:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        elsewhere = (
            writes and isinstance(arguments[0], str | bytes) and not os.fsdecode(arguments[0]).startswith(folder)
        )
        if event in EVENTS or elsewhere:
            seen.append(f"{event} {arguments!r:.100}")

    sys.addaudithook(hook)
    for line in sys.stdin:
        content = damaged(reader, seed, int(line), known)
        path.write_bytes(content)
        with open("/proc/self/clear_refs", "w") as clear:
            clear.write("5")
        before, begun, failure, said = peak(), time.perf_counter(), None, None
        is_watching = True
        try:
            said = read_all(path)
        except BaseException as error:
            failure = f"{type(error).__name__}: {error!s:.200}"
        is_watching = False
        seconds = time.perf_counter() - begun
        answer = {"failure": failure or "; ".join(seen[:3]), "said": said, "seconds": seconds, "peak": peak() - before}
        seen.clear()
        out.write(json.dumps(answer) + "\n")


class Watched:
    """A worker, started anew when it is gone."""

    def __init__(self, reader, seed, folder):
        self.command = [sys.executable, __file__, "--worker", reader, "--seed", str(seed), "--folder", str(folder)]
        self.process, self.folder = None, folder

    def read(self, number):
        """The answer for a file, or what became of the process."""
        limit = SECONDS
        if self.process is None:
            limit = TO_START
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=self.folder
            )
        begun = time.monotonic()
        self.process.stdin.write(f"{number}\n".encode())
        self.process.stdin.flush()
        ready, *_ = select.select([self.process.stdout], [], [], limit)
        line = self.process.stdout.readline() if ready else b""
        if line:
            return json.loads(line)
        code = self.process.wait() if ready else "no end"
        self.stop()
        return {"died": f"ended with {code}", "seconds": time.monotonic() - begun}

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def fuzz(reader, files, seed, first=0, tell=print):
    """Reads so many damaged files with a reader; returns what happened."""
    found = {"reader": reader, "files": files, "read": 0, "refused": 0, "failures": [], "died": []}
    slowest, largest, sentences, begun = (0.0, None), (0, None), {}, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        watched = Watched(reader, seed, folder)
        try:
            for number in range(first, first + files):
                answer = watched.read(number)
                if "died" in answer:
                    found["died"].append((number, answer["died"]))
                    tell(f"{reader} {number}: {answer['died']}")
                    continue
                if answer["peak"] > LARGEST and reader not in ("hdf5", "keras"):
                    answer["failure"] = f"took {answer['peak']:,} bytes"
                if answer["failure"]:
                    found["failures"].append((number, answer["failure"]))
                    tell(f"{reader} {number}: {answer['failure']}")
                found["refused" if answer["said"] else "read"] += 1
                said = re.sub(r"'.*'|[\d,]+|0x\w+", "_", (answer["said"] or "").partition("' ")[2])
                sentences[said] = sentences.get(said, 0) + 1
                slowest = max(slowest, (answer["seconds"], number), key=lambda pair: pair[0])
                largest = max(largest, (answer["peak"], number), key=lambda pair: pair[0])
        finally:
            watched.stop()
        found |= {"seconds": round(time.monotonic() - begun, 1), "sentences": len(sentences)}
        found |= {"slowest": (round(slowest[0], 4), slowest[1]), "peak_mib": (round(largest[0] / 2**20, 1), largest[1])}
        # Where the process may die, it is a child's that has died, and the reader must say so.
        for number, how in found["died"][:CHECKED] if reader in ("hdf5", "keras") else []:
            path = Path(folder, "again")
            path.write_bytes(damaged(reader, seed, number, samples(reader)))
            try:
                read_all(path)
            except BaseException as error:
                found["failures"].append((number, f"after {how}: {error!r:.200}"))
        if reader not in ("hdf5", "keras"):
            found["failures"] += found["died"]
        if Path(folder, "canary").exists():
            found["failures"].append((-1, "the canary: something was run"))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000, help="files for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=READERS, action="append", help="one reader; all of them by default")
    parser.add_argument("--first", type=int, default=0, help="the number of the first file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker, given.seed, given.folder)
        return 0
    failed = False
    for reader in given.reader or READERS:
        found = fuzz(reader, given.files, given.seed, given.first)
        failed |= bool(found["failures"])
        died = found["died"]
        found |= {"died": len(died), "first_died": died[:3], "failures": len(found["failures"])}
        print(json.dumps(found), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
