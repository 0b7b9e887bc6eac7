"""Weight files written byte by byte, as their formats have it, without the libraries that the readers do without."""

import io
import json
import pickle
import struct
import zipfile

import h5py
import numpy as np

SAFETENSORS = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
TORCH = {
    "float64": "Double", "float32": "Float", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long",
    "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
}  # fmt: skip
MXNET = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


def numbers(shape, dtype="float32", seed=0):
    """Numbers that every type holds exactly; bfloat16 comes as float32."""
    values = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 100, shape)
    return values.astype("float32" if dtype == "bfloat16" else dtype)


def raw(array, dtype=None):
    """The bytes of an array."""
    if dtype == "bfloat16":
        return (array.view("uint32") >> 16).astype("<u2").tobytes()
    return np.ascontiguousarray(array).tobytes()


def safetensors(arrays, metadata=None, dtypes=None):
    header, body = {"__metadata__": metadata} if metadata else {}, b""
    for name, array in arrays.items():
        dtype = (dtypes or {}).get(name, array.dtype.name)
        data = raw(array, dtype)
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": SAFETENSORS[dtype], "shape": list(array.shape), "data_offsets": offsets}
        body += data
    return headed(json.dumps(header), body)


def headed(header, body=b""):
    """A safetensors file of any header."""
    return struct.pack("<Q", len(header)) + header.encode() + body


def mxnet(arrays, form="v2"):
    out = struct.pack("<QQQ", 0x112, 0, len(arrays))
    out += b"".join(mxnet_array(array, form) for array in arrays.values())
    out += struct.pack("<Q", len(arrays))
    return out + b"".join(struct.pack("<Q", len(name)) + name.encode() for name in arrays)


def mxnet_array(array, form):
    dims, count = array.shape, array.ndim
    if form == "legacy":
        head = struct.pack(f"<I{count}I", count, *dims)
    elif form == "v1":
        head = struct.pack(f"<II{count}q", 0xF993FAC8, count, *dims)
    else:
        head = struct.pack(f"<IiI{count}q", {"v2": 0xF993FAC9, "v3": 0xF993FACA}[form], 0, count, *dims)
    return head + struct.pack("<iii", 1, 0, MXNET[array.dtype.name]) + raw(array)


# Pickles, instruction by instruction.


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def whole(value):
    return b"J" + struct.pack("<i", value)


def sequence(values):
    """A tuple, with the instructions of their own that short ones have."""
    values = list(values)
    short = {0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}
    return b"".join(values) + short[len(values)] if len(values) in short else b"(" + b"".join(values) + b"t"


def called(module, name, *arguments):
    return f"c{module}\n{name}\n".encode() + sequence(arguments) + b"R"


def mapping(entries):
    """An ordered dictionary, as a state_dict is one."""
    pairs = b"".join(text(key) + value for key, value in entries.items())
    return called("collections", "OrderedDict") + b"(" + pairs + b"u"


def finished(value, protocol=2):
    return b"\x80" + bytes([protocol]) + value + b"."


def storage(key, dtype, count, *view):
    kind = f"ctorch\n{TORCH[dtype]}Storage\n".encode()
    return sequence([text("storage"), kind, text(key), text("cpu"), whole(count), *view]) + b"Q"


def rebuilt(held, offset, shape, strides, function="_rebuild_tensor_v2"):
    sizes, steps = sequence(map(whole, shape)), sequence(map(whole, strides))
    rest = [b"\x89", called("collections", "OrderedDict")] if function == "_rebuild_tensor_v2" else []
    return called("torch._utils", function, held, whole(offset), sizes, steps, *rest)


def tensor(key, array, dtype=None, view=()):
    strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides) if array.ndim else ()
    return rebuilt(storage(key, dtype or array.dtype.name, array.size, *view), 0, array.shape, strides)


def zipped(members, **options):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, **options)
    return out.getvalue()


END = struct.Struct("<4s4H2IH")


def of_64_bits(content):
    """The same zip with the end that large ones have."""
    at = len(content) - END.size
    *_, count, size, offset, _ = END.unpack(content[at:])
    large = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    return content[:at] + large + locator + END.pack(b"PK\x05\x06", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0)


def torch_zip(root, storages, root_name="archive", **more):
    """A file of torch 1.6 or later, of a pickled object and the bytes of its storages by key."""
    members = {"data.pkl": finished(root), "byteorder": b"little", **more}
    members |= {f"data/{key}": content for key, content in storages.items()} | {"version": b"3\n"}
    return zipped({f"{root_name}/{name}": content for name, content in members.items()})


MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"


def torch_stream(root, storages, little=b"\x88"):
    """A file of torch before 1.6; storages are counts and bytes by key."""
    system = b"}" + text("protocol_version") + b"M\xe9\x03s" + text("little_endian") + little + b"s"
    keys = b"](" + b"".join(map(text, storages)) + b"e"
    head = finished(MAGIC) + finished(b"M\xe9\x03") + finished(system) + finished(root) + finished(keys)
    return head + b"".join(struct.pack("<q", count) + content for count, content in storages.values())


def state(arrays, dtypes=None, view=()):
    """The pickle of a state_dict, whose storages are numbered."""
    entries = zip(arrays.items(), map(str, range(len(arrays))), strict=True)
    return mapping({name: tensor(key, array, (dtypes or {}).get(name), view) for (name, array), key in entries})


def torch_file(arrays, zipped=True, dtypes=None):
    dtypes = dtypes or {}
    contents = [(array.size, raw(array, dtypes.get(name))) for name, array in arrays.items()]
    if zipped:
        return torch_zip(state(arrays, dtypes), {str(key): content for key, (_, content) in enumerate(contents)})
    held = {str(key): content for key, content in enumerate(contents)}
    return torch_stream(state(arrays, dtypes, view=(b"N",)), held)


# HDF5 needs its library.


def hdf5(arrays, whole_model=False, suffix=":0"):
    """A legacy file of Keras: a group for each layer, with its weights in another of its name."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        root = file.create_group("model_weights") if whole_model else file
        root.attrs["layer_names"] = [name.encode() for name in dict.fromkeys(name.split("/")[0] for name in arrays)]
        root.attrs["keras_version"] = "2.4.0"
        for name, array in arrays.items():
            layer, weight = name.split("/")
            root[f"{layer}/{layer}/{weight}{suffix}"] = array
        if whole_model:
            file["optimizer_weights/step"] = np.int64(7)
    return out.getvalue()


def positions(arrays):
    """The HDF5 inside a `.keras` file."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return out.getvalue()


def layer(kind, name, **config):
    return {"class_name": kind, "config": {"name": name, **config}}


def keras(layers, arrays, about='{"keras_version": "3.15.1"}', **more):
    config = {"class_name": "Functional", "config": {"name": "net", "layers": layers}}
    members = {"metadata.json": about, "config.json": json.dumps(config), "model.weights.h5": positions(arrays)}
    return zipped(members | more)


def python_pickle(value):
    """A pickle of Python's own."""
    return pickle.dumps(value, protocol=2)


# What the tests of several readers share.

HELD = numbers(4)
BF16 = {f"bfloat16.{n}": "bfloat16" for n in range(4)}


def of_types(dtypes):
    """An array of each type, of no, one and many dimensions, and one that is empty."""
    shapes = [(2, 3, 1), (), (5,), (0, 4)]
    return {f"{dtype}.{n}": numbers(shape, dtype, n) for dtype in dtypes for n, shape in enumerate(shapes)}


def one_torch(value, storages=None, **more):
    return torch_zip(value, {"0": raw(HELD)} if storages is None else storages, **more)


def same(archive, arrays):
    assert archive.keys() == arrays.keys()
    for name, array in arrays.items():
        tensor = archive[name]
        assert (tensor.shape, tensor.dtype) == (array.shape, array.dtype), name
        read = tensor.read()
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array, err_msg=name, strict=True)


def patched(at, form, value, content):
    """Content with a number in another's place."""
    out = bytearray(content)
    struct.pack_into(form, out, at, value)
    return bytes(out)


def by_sentence(value):
    """Names a case by its sentence, for files are long."""
    return value[:50] if isinstance(value, str) else ""


# Of no layout in particular, but whole.
FLAT = storage("0", "float32", 4)
PLACE = {"layers/conv2d/vars/0": HELD}
CONV = [layer("Conv2D", "a", use_bias=False)]
