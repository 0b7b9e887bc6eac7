"""Folders of pictures as they are found on disks: names, kinds of files, links, and pictures of every kind."""

import io
import os
import shutil
from pathlib import Path

import hypothesis
import numpy as np
from helpers.input_watch import ask, snapshot
from hypothesis import strategies as st
from PIL import Image

import keras_resnets as kr

NAMES = [
    "cat",
    "dog",
    "a b",
    "é",
    "e\u0301",
    "-dash",
    "new\nline",
    "train",
    "Val",
    ".hidden",
    "__MACOSX",
    "CAT",
    "x" * 200,
    "\udcff",
]
FILES = [
    "0.png",
    "1.PNG",
    "2.jpg",
    "3.jpeg",
    "4.gif",
    "5.bmp",
    "6.tif",
    "7.webp",
    "-8.png",
    "9 \n.png",
    "a.txt",
    "b",
    ".c.png",
    "d.png.bak",
]
MODES = ["RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "I;16", "F", "I"]
SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".webp": "WEBP",
}
DAMAGE = st.sampled_from([None, None, None, "cut", "empty", "flip", "text"])


@st.composite
def pictures(draw, name):
    """The bytes of a picture file, of any kind of pixels and size, whole or damaged."""
    mode, size = draw(st.sampled_from(MODES)), draw(st.sampled_from([(1, 1), (8, 8), (3, 17), (64, 2)]))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    image = Image.fromarray(random.integers(0, 255, (size[1], size[0], 3), "uint8"))
    image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    kind, content = SUFFIXES.get(Path(name).suffix.lower(), "PNG"), io.BytesIO()
    more = (
        {"save_all": True, "append_images": [image]}
        if draw(st.booleans()) and kind in ("GIF", "TIFF", "PNG", "WEBP")
        else {}
    )
    try:
        image.save(content, draw(st.sampled_from([kind, "PNG"])), **more)
    except (OSError, ValueError):  # no such pixels in such a file
        image.convert("RGB").save(content, "PNG")
    content, damage = content.getvalue(), draw(DAMAGE)
    if damage == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if damage == "flip":
        at = draw(st.integers(0, len(content) - 1))
        return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]
    return {"empty": b"", "text": b"no picture"}.get(damage, content)


@st.composite
def trees(draw):
    """Paths of files in a folder with their bytes; a text is where a link leads, and None a folder."""
    tree = {}
    right = draw(st.booleans())
    for name in draw(
        st.lists(st.sampled_from(NAMES[:6] if right else NAMES), min_size=2 if right else 0, max_size=4, unique=True)
    ):
        for split in (
            draw(st.sampled_from([[""], [""], ["train", "test"], ["train"], ["training", "val"], ["TEST"]]))
            if not right
            else [""]
        ):
            for file in draw(
                st.lists(
                    st.sampled_from(FILES[:7] if right else FILES), min_size=4 if right else 0, max_size=6, unique=True
                )
            ):
                tree[os.path.join(split, name, file)] = draw(pictures(file))
    extra = draw(st.sampled_from([None, "loop", "dangling", "deep", "fifo-like", "empty"]))
    if not right and extra == "loop":
        tree["cat/again"] = ".."
    if not right and extra == "dangling":
        tree["dog/gone.png"] = "nowhere"
    if not right and extra == "deep":
        tree["cat/" + "d/" * 30 + "0.png"] = draw(pictures("0.png"))
    if not right and extra == "empty":
        tree["void"] = None
    return tree


def lay_out(root, tree):
    for name, content in tree.items():
        path = root / name
        try:
            (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.symlink_to(content)
            elif content is not None:
                path.write_bytes(content)
        except OSError:  # no such name on this file system, or a file stands there already
            continue


@hypothesis.given(tree=trees(), root=st.sampled_from(["set", "a set", "-set", "é\n"]), size=st.sampled_from([1, 8]))
def test_any_folder_is_read_or_refused(tree, root, size, tmp_path_factory):
    base = tmp_path_factory.getbasetemp() / "folders"
    shutil.rmtree(base, ignore_errors=True)
    folder = base / root
    folder.mkdir(parents=True)
    lay_out(folder, tree)
    before = snapshot(base)
    given = {"image_size": size, "normalize": None, "augmentation": None, "tell": lambda line: None}

    def call():
        data = kr.data.load(folder, **given)
        return data, {split: [np.asarray(x) for x, _ in getattr(data, split)] for split in data.sizes}

    found, _ = ask("data.load (folder)", call, work=base)
    assert snapshot(base) == before, "the folder was changed"
    if found:
        data, images = found
        assert {split: sum(map(len, parts)) for split, parts in images.items()} == data.sizes
        assert all(part.shape[1:] == (size, size, 3) for parts in images.values() for part in parts)
        # What can be decoded is there: every name that ends as a picture does, and is not hidden.
        names = [
            n
            for n, c in tree.items()
            if Path(n).suffix.lower() in SUFFIXES and not any(p.startswith(".") for p in Path(n).parts)
        ]
        assert sum(data.sizes.values()) <= len(names) * (1 + ("cat/again" in tree))


@hypothesis.given(name=st.sampled_from(FILES[:8]), drawn=st.data())
def test_any_picture_is_predicted_or_named(name, drawn, tmp_path_factory):
    from helpers.input_arguments import network

    folder = tmp_path_factory.getbasetemp() / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / name).write_bytes(drawn.draw(pictures(name)))
    plain = kr.Preprocessing()
    answers, _ = ask(
        "predict (pictures)", lambda: kr.predict(network(), [folder / name], preprocessing=plain), work=folder
    )
    if answers is not None:
        assert len(answers) == 1
        assert answers[0].error is not None or abs(answers[0].probabilities.sum() - 1) < 1e-5
