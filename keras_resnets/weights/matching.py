"""Which tensor of a weight file fills which variable of a network: a plan, before anything is read."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from contextlib import AbstractContextManager

import keras
import numpy as np

from keras_resnets.architecture.spec import Spec
from keras_resnets.archives.archive import Archive
from keras_resnets.archives.reading import open_archive
from keras_resnets.errors import ArgumentError
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.weights import keras_families, torch_families, wu_families
from keras_resnets.weights.families import Contents, Family, Source
from keras_resnets.weights.plans import Plan, Row, some
from keras_resnets.weights.roles import role

Found = list[tuple[keras.Variable, Source | None]]

FAMILIES = (
    keras_families.FIRST,
    keras_families.SECOND,
    keras_families.OLD,
    keras_families.OLDEST,
    torch_families.TORCHVISION,
    torch_families.AKAMASTER,
    torch_families.ZAGORUYKO,
    wu_families.MXNET,
    wu_families.PSA,
    wu_families.WIDER,
    wu_families.INPLACE,
)


def recognise(archive: Archive) -> tuple[Family, Contents] | None:
    """Returns the family of a weight file, and the network's tensors in it; None where no family is known."""
    for known in FAMILIES:
        contents = known.contents(archive)
        if contents is not None:
            return known, contents
    return None


def recognised(archive: Archive) -> tuple[Family, Contents]:
    """The same; an `ArgumentError` where no family is known."""
    found = recognise(archive)
    if found is None:
        held = some([repr(name) for name in archive])
        names = ", ".join(dict.fromkeys(known.name for known in FAMILIES))
        raise ArgumentError(
            f"{str(archive.path)!r} is of no known family: its names are {held or 'none'}. Known are {names}; and a "
            f"network that was adopted takes the .h5 or .keras file of its own layers."
        )
    return found


def sources(model: ResidualNetwork, archive: Archive) -> tuple[Family, Contents, Found]:
    """Returns the family of a file, its tensors, and where each variable of a network comes from."""
    if not isinstance(model, ResidualNetwork):
        raise ArgumentError(
            f"model must be a network of keras_resnets; got {type(model).__name__}. Use keras_resnets.adopt first."
        )
    spec = model.spec
    if spec is None:
        return _by_layer(model, archive)
    known, contents = recognised(archive)
    if known.refusal:
        raise ArgumentError(f"{str(archive.path)!r} cannot fill {model.name!r}: {known.refusal}.")
    found: Found = []
    for variable in _weights(model):
        what = role(variable.path)
        found.append((variable, known.source(what, tuple(variable.shape), spec, contents) if what else None))
    return known, contents, found


def _weights(model: ResidualNetwork) -> list[keras.Variable]:
    """The weights without random states, such as of dropout."""
    return [variable for variable in model.weights if "seed_generator" not in variable.path]


def _by_layer(model: ResidualNetwork, archive: Archive) -> tuple[Family, Contents, Found]:
    """An adopted network has the layers that its files name."""
    if archive.kind not in keras_families.KINDS:
        raise ArgumentError(
            f"model: {model.name!r} was adopted or edited, so it has no spec, and can be filled from a .h5 or .keras "
            f"file of its own layers alone; {str(archive.path)!r} is of the kind {archive.kind!r}. Fill the network "
            f"that keras_resnets.build gives, and edit it then."
        )
    family = recognise(archive)
    preprocessing = family[0].preprocessing if family else model.preprocessing
    classifier = r"(predictions|probs)/.*"
    known = Family("layers of Keras", keras_families.KINDS, (), classifier=classifier, preprocessing=preprocessing)
    contents = Contents(archive)
    found: Found = []
    for variable in _weights(model):
        layer, name = variable.path.split("/")[-2:]
        likely = f"{layer}/{name}"
        others = [f"{layer}/depthwise_kernel"] if name == "kernel" else []  # Keras 2's name of a depthwise one
        others += [f"probs/{name}"] if layer == "predictions" else []
        found_as = next((other for other in [likely, *others] if other in contents), likely)
        found.append((variable, Source((found_as,), (tuple(variable.shape),))))
    twice = Counter(source.names[0] for _, source in found if source)
    if found and max(twice.values()) > 1:
        raise ArgumentError(
            f"model: more than one layer of {model.name!r} has the variable {twice.most_common(1)[0][0]!r}, so a file "
            f"cannot tell them apart; give the layers names of their own."
        )
    return known, contents, found


def plan(model: ResidualNetwork, file: str | os.PathLike | Archive, *, head: bool = True) -> Plan:
    """Matches a weight file with a network; nothing is loaded.

    Args:
        model: the network.
        file: the weight file, or an open archive.
        head: whether the classifier takes part.

    Returns:
        The plan, whether it is complete or not.

    Raises:
        ArgumentError: the file cannot be read, or is of no family that is known.

    Example:
        >>> import keras, keras_resnets as kr, os, tempfile
        >>> original = keras.applications.ResNet50V2(weights=None, include_top=False)
        >>> file = os.path.join(tempfile.mkdtemp(), "net.keras")
        >>> original.save(file)
        >>> kr.weights.plan(kr.adopt(original), file).summary
        '270 fits of 270 variables; 0 unused, 0 left'
    """
    with opened(file) as archive:
        return made(archive, *sources(model, archive), head=head)


def opened(file: str | os.PathLike | Archive) -> AbstractContextManager[Archive]:
    """Opens a file for a `with` statement; an archive that is open stays so behind it."""
    return contextlib.nullcontext(file) if isinstance(file, Archive) else open_archive(file)


def made(archive: Archive, known: Family, contents: Contents, found: Found, *, head: bool = True) -> Plan:
    """Returns the plan of what `sources` found."""
    rows: list[Row] = []
    read: set[str] = set()
    for variable, source in found:
        if is_left(variable, head):
            continue
        rows.append(_row(variable, source, contents))
        read |= set(source.names) if source else set()
    has_classifier = any(_gives_scores(variable) and not is_left(variable, head) for variable, _ in found)
    left = [name for name in archive if name not in set(contents.full.values())]
    unused: list[str] = []
    for name in contents:
        if name in read:
            continue
        on_purpose = (known.left and re.fullmatch(known.left, name)) or (
            known.classifier and not has_classifier and re.fullmatch(known.classifier, name)
        )
        (left if on_purpose else unused).append(contents.full[name])
    return Plan(str(archive.path), known.name, known.preprocessing, tuple(rows), tuple(unused), tuple(left))


def _gives_scores(variable: keras.Variable) -> bool:
    what = role(variable.path)
    return what.is_classifier if what else variable.path.split("/")[-2] in ("predictions", "probs")


def is_left(variable: keras.Variable, head: bool) -> bool:
    """Whether a variable keeps its value, for it is of the classifier and that takes no part."""
    return not head and _gives_scores(variable)


def _row(variable: keras.Variable, source: Source | None, contents: Contents) -> Row:
    shape = tuple(variable.shape)
    if source is None:
        return Row(variable.path, "", shape, "missing")
    label = " and ".join(contents.full.get(name, name) for name in source.names)
    found = tuple(contents[name].shape for name in source.names if name in contents)
    if len(found) < len(source.names):
        return Row(variable.path, label, shape, "missing", found)
    if found != source.shapes:
        return Row(variable.path, label, shape, "wrong shape", found)
    if any(not np.issubdtype(contents[name].dtype, np.floating) for name in source.names):
        return Row(variable.path, label, shape, "wrong type", found)
    return Row(variable.path, label, shape, "fits", found)


def check_spec(known: Family, contents: Contents, spec: Spec) -> None:
    """Raises `ArgumentError` unless the network of a spec computes what the file's network computes."""
    differing = known.differing(spec)
    if differing:
        told = " and ".join(f"{key} {value!r} (it has {getattr(spec, key)!r})" for key, value in differing.items())
        fields = "".join(f", {key}={value!r}" for key, value in differing.items())
        raise ArgumentError(
            f"{str(contents.archive.path)!r} is of the family {known.name!r}, which needs {told}: use "
            f"keras_resnets.build({spec.name!r}{fields})."
        )
    models = known.variants(contents)
    if _shrinking(spec) not in [_shrinking(model) for model in models]:
        raise ArgumentError(
            f"{str(contents.archive.path)!r} is of the family {known.name!r}, whose networks have other stages than "
            f"{spec.name!r}, or shrink their maps elsewhere; use keras_resnets.build with one of: "
            f"{', '.join(model.name for model in models)}."
        )


def _shrinking(spec: Spec):
    return spec.stem, [(stage.stride, stage.pool, stage.dilation) for stage in spec.stages]
