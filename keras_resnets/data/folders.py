"""Reads folders of images: which splits and classes they have, and what is left out and why."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_resnets.data import pictures
from keras_resnets.errors import ArgumentError, listed

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {spelling: split for split, spellings in SPLITS.items() for spelling in spellings}
# Folders that programs leave behind; others of the kind start with a dot.
_LEFT_BEHIND = ("__macosx", "__pycache__", "@eadir", "$recycle.bin", "lost+found", "system volume information")


@dataclass
class Notes:
    """What there is to tell of a folder.

    Attributes:
        path: the folder.
        origins: the folder that each split was read from.
        left_out: what was left out and why, each with how often.
        remarks: what else its owner may not expect, each with how often.
        contents: of each split a fingerprint of its files, by their place in the folder, label and contents.
    """

    path: Path
    origins: dict[str, Path] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    contents: dict[str, str] = field(default_factory=dict)

    def fingerprint(self, split: str, files: Iterable[Path], labels: Iterable[Any], digests: Iterable[str]) -> None:
        """Notes what a split consists of, in whatever order its files are listed."""
        lines = [
            f"{os.fsencode(file.relative_to(self.path))!r} {label} {digest}"
            for file, label, digest in zip(files, labels, digests, strict=True)
        ]
        self.contents[split] = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]

    def lines(self, names: Iterable[str], sizes: dict[str, int]) -> Iterator[str]:
        """Yields the sentences: classes, sizes of the splits and where they came from, and what was left out."""
        parts = []
        for split in (split for split in SPLITS if split in sizes or split in self.origins):
            origin = self.origins.get(split)
            where = "held out of train" if origin is None else f"of {str(origin.relative_to(self.path))!r}"
            where = "of the folder itself" if origin == self.path else where
            unused = f"{split} unused, {where}, as the argument validation asks"
            parts.append(f"{split} {sizes[split]} images {where}" if split in sizes else unused)
        names = list(names)
        yield f"{self.path}: {len(names)} classes ({listed(names)}); {', '.join(parts)}."
        for title, counts in (("left out", self.left_out), ("note", self.remarks)):
            if counts:
                yield f"{self.path}: {title}: {listed((f'{n} {what}' for what, n in counts.items()), between='; ')}."


def splits(path: Path, is_split: Callable[[Path], bool], notes: Notes) -> dict[str, Path]:
    """Finds the folders of the splits, in any usual spelling; none if the folder is not divided.

    Args:
        path: the folder.
        is_split: whether a folder of such a name holds a split, and not the images of a class of that name.
        notes: takes the folders and files beside the splits.

    Raises:
        ArgumentError: two folders could be the same split, or there are splits but none to train on.
    """
    found: dict[str, Path] = {}
    beside = []
    for entry in visible(path, notes):
        split = _SPLIT_OF.get(entry.name.lower())
        if split is None or not entry.is_dir() or not is_split(entry):
            beside.append(entry)
        elif split in found:
            raise ArgumentError(
                f"{str(path)!r} must have one folder for {split}; got {found[split].name!r} and {entry.name!r}, join "
                f"them."
            )
        else:
            found[split] = entry
    if found and "train" not in found:
        raise ArgumentError(
            f"{str(path)!r} has a folder {next(iter(found.values())).name!r} and none to train on; add one of the name "
            f"'train'."
        )
    if found:
        notes.left_out.update(
            f"folder beside the splits ({e.name!r})" if e.is_dir() else "files beside the splits"
            for e in beside
            if e.is_dir() or e.name != "classes.txt"
        )
    return {split: found[split] for split in SPLITS if split in found}


def visible(path: Path, notes: Notes) -> list[Path]:
    """Lists a folder by name, without what programs and systems leave behind."""
    entries = sorted(path.iterdir())
    kept = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in _LEFT_BEHIND]
    notes.left_out.update(
        f"hidden or system folder ({e.name!r})" if e.is_dir() else "hidden files" for e in entries if e not in kept
    )
    return kept


def classified(path: Path) -> tuple[dict[str, list[tuple[Path, int]]], tuple[str, ...], Notes]:
    """Lists the images of a folder with one folder per class, at its top or under the splits.

    Returns:
        For each split its files with the numbers of their classes, in order; the classes' names; and what to tell.

    Raises:
        ArgumentError: classes or splits are not what can be trained and tested on.
        FileNotFoundError: there are no images.
    """
    notes = Notes(path)
    roots = splits(path, lambda entry: any(e.is_dir() for e in visible(entry, Notes(entry))), notes)
    if not roots:
        roots, notes = {"train": path}, Notes(path)
    notes.origins = roots
    found = {split: _classes(root, notes) for split, root in roots.items()}
    for split, root in roots.items():
        if not any(found[split].values()):
            loose = sum(entry.is_file() and entry.suffix.lower() in pictures.SUFFIXES for entry in root.iterdir())
            if loose:
                raise FileNotFoundError(
                    f"The {loose} images in {str(root)!r} are in no folder of a class; give the folder that holds one "
                    f"folder per class."
                )
            raise FileNotFoundError(
                f"There are no images in {str(root)!r}; it needs one folder per class with files ending in "
                f"{', '.join(pictures.SUFFIXES)}."
            )
    names = tuple(sorted({name for classes in found.values() for name in classes}))
    _check_classes(path, names, found, notes)
    number = {name: i for i, name in enumerate(names)}
    files = {
        split: [(file, number[name]) for name in names for file in classes.get(name, ())]
        for split, classes in found.items()
    }
    return files, names, notes


def _check_classes(path: Path, names: tuple[str, ...], found: dict[str, dict[str, list[Path]]], notes: Notes) -> None:
    """Demands two classes and more, each with images to train on; notes those that are not tested."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ArgumentError(f"{str(path)!r}: names of classes must be UTF-8; got {name!r}, rename it.") from error
        if not found["train"].get(name):
            others = [split for split, classes in found.items() if classes.get(name)]
            where = f"only in {' and '.join(others)}" if others else "in none"
            raise ArgumentError(
                f"{str(path)!r}: each class must have images to train on, with the suffixes "
                f"{', '.join(pictures.SUFFIXES)}; {name!r} has images {where}. Add some, or remove the folder."
            )
        for split, classes in found.items():
            if not classes.get(name):
                notes.remarks[f"class without an image in {split} ({name!r})"] += 1
    if len(names) < 2:
        raise ArgumentError(
            f"{str(path)!r} must have at least 2 folders, one for each class; got only {names[0]!r}. If that folder "
            f"holds the classes, give it."
        )


def _classes(root: Path, notes: Notes) -> dict[str, list[Path]]:
    """Returns the images of each class below a folder."""
    classes = {}
    for entry in visible(root, notes):
        if entry.is_dir():
            classes[entry.name] = list(_images_below(entry, notes))
        else:
            notes.left_out["files outside the folders of the classes"] += 1
    return classes


def _images_below(folder: Path, notes: Notes) -> Iterator[Path]:
    """Yields the images of a class, those in its sub-folders too."""
    entered, waiting = set(), [folder]
    while waiting:
        inside = waiting.pop(0)
        real = os.path.realpath(inside)
        if real in entered:
            notes.left_out[f"link to a folder that is read already ({inside.name!r})"] += 1
            continue
        entered.add(real)
        for entry in visible(inside, notes):
            if entry.is_dir():
                if entry.name.lower() in _SPLIT_OF:
                    raise ArgumentError(
                        f"{str(entry)!r} looks like a split inside of a class; put classes into splits, as in "
                        f"{str(Path(entry.name) / folder.name)!r}, or rename it."
                    )
                waiting.append(entry)
            elif is_image(entry, notes):
                if inside != folder:
                    notes.remarks[f"images in sub-folders of the class {folder.name!r}"] += 1
                yield entry


def is_image(file: Path, notes: Notes) -> bool:
    """Returns whether a path is to be read as an image; what is not is noted."""
    if not file.is_file():
        notes.left_out[f"entry that is no file ({file.name!r})"] += 1
    elif file.suffix.lower() not in pictures.SUFFIXES:
        notes.left_out[f"files ending in {file.suffix!r}" if file.suffix else "files without a suffix"] += 1
    else:
        return True
    return False


def by_stem(folder: Path, notes: Notes) -> dict[str, Path]:
    """Returns the images of a folder by their names without suffix.

    Raises:
        ArgumentError: two have one name.
    """
    found: dict[str, Path] = {}
    for file in visible(folder, notes) if folder.is_dir() else ():
        if not is_image(file, notes):
            continue
        if file.stem in found:
            raise ArgumentError(
                f"{str(folder)!r} must have one file for each name; got {found[file.stem].name!r} and {file.name!r}, "
                f"rename or remove one."
            )
        found[file.stem] = file
    return found


def lines_of(file: Path) -> list[str]:
    """Returns the lines of a text file that are not empty.

    Raises:
        ArgumentError: it is not UTF-8.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ArgumentError(
            f"{str(file)!r} must be text in UTF-8; line {line} has the byte {error.object[error.start]:#x}, save it as "
            f"UTF-8."
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
