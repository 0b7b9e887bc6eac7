"""Matching of a weight file with a network: a plan, made before any array is read."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections import Counter
from collections.abc import Collection
from contextlib import AbstractContextManager

import keras
import numpy as np

from keras_resnets.architecture.spec import Spec
from keras_resnets.archives.archive import Archive
from keras_resnets.errors import ArgumentError
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.weights import keras_families, torch_families, wu_families
from keras_resnets.weights.families import Contents, Family, Source
from keras_resnets.weights.opening import open_archive
from keras_resnets.weights.plans import Plan, Row, first_few
from keras_resnets.weights.roles import role

# The variables of a network, each with its source in a file; None if the file's family has no such variable.
Matches = list[tuple[keras.Variable, Source | None]]

FAMILIES = (
    keras_families.OWN,
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
    """Returns the family of a weight file, and the network's tensors in it; None if the family is unknown."""
    for family in FAMILIES:
        contents = family.contents(archive)
        if contents is not None:
            return family, contents
    return None


def require_family(archive: Archive) -> tuple[Family, Contents]:
    """Does the same as `recognise`, but raises `ArgumentError` if the family is unknown."""
    recognised = recognise(archive)
    if recognised is None and (is_whole(archive) or any(name.startswith("layers/residual_block") for name in archive)):
        raise ArgumentError(
            f"{str(archive.path)!r} was saved by this package, and is no public weight file: open it with "
            f"keras_resnets.load_model, or give it to keras_resnets.build(name, weights=file). Weights alone that an "
            f"old Keras saved have no names; load them with load_weights of the same network."
        )
    if recognised is None:
        tensors = first_few([repr(name) for name in archive])
        names = ", ".join(dict.fromkeys(family.name for family in FAMILIES[1:]))
        raise ArgumentError(
            f"{str(archive.path)!r} is of no known family: its names are {tensors or 'none'}. Known are {names}; an "
            f"adopted network takes the .h5 or .keras file of its own layers."
        )
    return recognised


def match_variables(model: ResidualNetwork, archive: Archive) -> tuple[Family, Contents, Matches]:
    """Returns the family of a file, its tensors, and the source of each variable of a network."""
    if not isinstance(model, ResidualNetwork):
        raise ArgumentError(
            f"model must be a network of keras_resnets; got {type(model).__name__}. Use keras_resnets.adopt first."
        )
    spec = model.spec
    recognised = recognise(archive)
    if recognised and recognised[0] is keras_families.OWN:
        return _match_by_path(model, recognised[1])
    if spec is None:
        return _match_by_layer(model, archive)
    family, contents = require_family(archive)
    if family.refusal:
        raise ArgumentError(f"{str(archive.path)!r} cannot fill {model.name!r}: {family.refusal}.")
    matches: Matches = []
    for variable in _weights(model):
        position = role(variable.path)
        source = family.source(position, tuple(variable.shape), spec, contents) if position else None
        matches.append((variable, source))
    return family, contents, matches


def _match_by_path(model: ResidualNetwork, contents: Contents) -> tuple[Family, Contents, Matches]:
    """Matches the weights alone of a network of this package, whose preprocessing they do not have."""
    family = dataclasses.replace(keras_families.OWN, preprocessing=model.preprocessing)
    numbers: Counter[str] = Counter()
    matches: Matches = []
    for variable in _weights(model):
        path, shape = variable.path, tuple(variable.shape)
        layer = path.rpartition("/")[0]
        # Variables of layers of other classes have numbers in the file, in the order of the layer.
        numbered = f"{layer}/{numbers[layer]}"
        numbers[layer] += 1
        matches.append((variable, Source((numbered if numbered in contents else path,), (shape,))))
    return family, contents, matches


def is_whole(archive: Archive) -> bool:
    """Whether a file in HDF5 holds a whole network of this package, with its layers."""
    return '"class_name": "ResidualNetwork"' in archive.metadata.get("model_config", "")[:100]


def _weights(model: ResidualNetwork) -> list[keras.Variable]:
    """Returns the weights without the states of random generators, such as dropout's."""
    return [variable for variable in model.weights if "seed_generator" not in variable.path]


def _match_by_layer(model: ResidualNetwork, archive: Archive) -> tuple[Family, Contents, Matches]:
    """Matches a file with an adopted network, whose layers have the names in its own files."""
    if archive.kind not in keras_families.KINDS:
        raise ArgumentError(
            f"model: {model.name!r} was adopted or edited, so it has no spec, and can be filled only from a .h5 or "
            f".keras file of its own layers; {str(archive.path)!r} is of the kind {archive.kind!r}. Fill a network of "
            f"keras_resnets.build, and edit it then."
        )
    recognised = recognise(archive)
    preprocessing = recognised[0].preprocessing if recognised else model.preprocessing
    classifier = r"(predictions|probs)/.*"
    family = Family("layers of Keras", keras_families.KINDS, (), classifier=classifier, preprocessing=preprocessing)
    contents = Contents(archive)

    matches: Matches = []
    for variable in _weights(model):
        layer, name = variable.path.split("/")[-2:]
        likely = f"{layer}/{name}"
        others = [f"{layer}/depthwise_kernel"] if name == "kernel" else []  # Keras 2's name of a depthwise kernel
        others += [f"probs/{name}"] if layer == "predictions" else []
        source_name = next((other for other in [likely, *others] if other in contents), likely)
        matches.append((variable, Source((source_name,), (tuple(variable.shape),))))

    counts = Counter(source.names[0] for _, source in matches if source)
    if matches and max(counts.values()) > 1:
        raise ArgumentError(
            f"model: more than one layer of {model.name!r} has the variable {counts.most_common(1)[0][0]!r}, so a file "
            f"cannot tell them apart; give the layers different names."
        )
    return family, contents, matches


def plan(model: ResidualNetwork, file: str | os.PathLike | Archive, *, head: bool = True) -> Plan:
    """Matches a weight file with a network, without loading anything.

    Args:
        model: the network.
        file: the weight file, or an open archive.
        head: whether to match the classifier too.

    Returns:
        The plan, whether it is complete or not.

    Raises:
        ArgumentError: the file cannot be read, or its family is unknown.

    Example:
        >>> import keras, keras_resnets as kr, os, tempfile
        >>> original = keras.applications.ResNet50V2(weights=None, include_top=False)
        >>> file = os.path.join(tempfile.mkdtemp(), "net.keras")
        >>> original.save(file)
        >>> kr.weights.plan(kr.adopt(original), file).summary
        '270 fits of 270 variables; 0 unused, 0 left'
    """
    with as_archive(file) as archive:
        return make_plan(model, archive, *match_variables(model, archive), head=head)


def as_archive(file: str | os.PathLike | Archive) -> AbstractContextManager[Archive]:
    """Opens a file, or public weights, for a `with` statement; an archive that is open stays open after it."""
    return contextlib.nullcontext(file) if isinstance(file, Archive) else open_archive(file)


def make_plan(
    model: ResidualNetwork, archive: Archive, family: Family, contents: Contents, matches: Matches, *, head: bool = True
) -> Plan:
    """Returns the plan of the matches that `match_variables` returned for a network."""
    rows: list[Row] = []
    read: set[str] = set()
    for variable, source in matches:
        if is_skipped(variable, head):
            continue
        rows.append(_make_row(variable, source, contents))
        read |= set(source.names) if source else set()

    # A tensor of the network that fills no variable is an error, unless it is ignored on purpose.
    has_classifier = any(is_classifier(variable) and not is_skipped(variable, head) for variable, _ in matches)
    left = [name for name in archive if name not in set(contents.full.values())]
    unused: list[str] = []
    for name in contents:
        if name in read:
            continue
        on_purpose = (family.ignored and re.fullmatch(family.ignored, name)) or (
            family.classifier and not has_classifier and re.fullmatch(family.classifier, name)
        )
        (left if on_purpose else unused).append(contents.full[name])
    channels = model.input_shape[-1]
    # Of public weights it is known, with how pictures are resized; else it is the family's.
    stated = archive.public.preprocessing if archive.public else None
    preprocessing = stated if stated and stated.fits(channels) else family.prepares(channels)
    notes = _notes(archive, family, model.spec)
    if preprocessing is None and family.preprocessing is not None:
        notes.append(f"preprocessing not known: that of {family.name} is not for {channels} channels")
    return Plan(str(archive.path), family.name, preprocessing, tuple(rows), tuple(unused), tuple(left), tuple(notes))


def _notes(archive: Archive, family: Family, spec: Spec | None) -> list[str]:
    """Returns what a report says of what the file does not tell."""
    if not family.needs or spec is None:
        return []
    arch = _arch(archive)
    given = [f"{key} {getattr(spec, key)!r}" for key in family.differing(spec) if key in family.untold]
    return [
        f"names and shapes do not tell where strides are, nor the kind of pooling, padding, activations and epsilon; "
        f"they are those of {family.name}{', but ' + ' and '.join(given) + ', as given' if given else ''}; "
        f"{f'the file calls its network {arch!r}' if arch else 'the file does not name its network'}"
    ]


def _arch(archive: Archive) -> str:
    """Returns what a checkpoint of torch calls its network; an empty text if it does not say."""
    return archive.metadata.get("arch", "")[:80]


def check_arch(family: Family, archive: Archive) -> None:
    """Raises `ArgumentError` if the file itself says that its network is another than its names and shapes suggest."""
    arch = _arch(archive)
    if arch and family.archs and not re.fullmatch(family.archs, arch):
        raise ArgumentError(
            f"name: {str(archive.path)!r} says that its network is {arch!r}, which may compute something else than "
            f"a network of {family.name!r} with the same names and shapes (other strides or pooling). If it does "
            f"not, name the variant in keras_resnets.weights.network(file, name)."
        )


def is_classifier(variable: keras.Variable) -> bool:
    """Whether a variable belongs to a classifier."""
    position = role(variable.path)
    return position.is_classifier if position else variable.path.split("/")[-2] in ("predictions", "probs")


def is_skipped(variable: keras.Variable, head: bool) -> bool:
    """Whether a variable keeps its value, because it belongs to the classifier and `head` is False."""
    return not head and is_classifier(variable)


def _make_row(variable: keras.Variable, source: Source | None, contents: Contents) -> Row:
    shape = tuple(variable.shape)
    if source is None:
        return Row(variable.path, "", shape, "missing")
    label = " and ".join(contents.full.get(name, name) for name in source.names)
    shapes = tuple(contents[name].shape for name in source.names if name in contents)
    if len(shapes) < len(source.names):
        return Row(variable.path, label, shape, "missing", shapes)
    if shapes != source.shapes:
        return Row(variable.path, label, shape, "wrong shape", shapes)
    if any(not np.issubdtype(contents[name].dtype, np.floating) for name in source.names):
        return Row(variable.path, label, shape, "wrong type", shapes)
    return Row(variable.path, label, shape, "fits", shapes)


def check_spec(family: Family, contents: Contents, spec: Spec, given: Collection[str] = ()) -> None:
    """Raises `ArgumentError` unless the network of a spec computes the same as the file's network.

    In what no file tells, the word of the caller counts: the fields that are `given`.
    """
    differing = family.differing(spec, given)
    if differing:
        own = [f"{key}={getattr(spec, key)!r}" for key in differing if key in family.untold]
        needed = " and ".join(f"{key} {value!r} (it has {getattr(spec, key)!r})" for key, value in differing.items())
        fields = "".join(f", {key}={value!r}" for key, value in differing.items())
        raise ArgumentError(
            f"{str(contents.archive.path)!r} is of the family {family.name!r}, which needs {needed}: use "
            f"keras_resnets.build({spec.name!r}{fields})."
            + (f" If its network has {own[0]}, give that to keras_resnets.weights.network." if own else "")
        )
    models = family.variants(contents)
    if models and _downsampling(spec) not in [_downsampling(model) for model in models]:
        raise ArgumentError(
            f"{str(contents.archive.path)!r} is of the family {family.name!r}, whose networks have other stages than "
            f"{spec.name!r}, or shrink their maps elsewhere; use keras_resnets.build with one of: "
            f"{', '.join(model.name for model in models)}."
        )


def _downsampling(spec: Spec):
    """Returns the stem, and the stride, pool and dilation of each stage."""
    return spec.stem, [(stage.stride, stage.pool, stage.dilation) for stage in spec.stages]
