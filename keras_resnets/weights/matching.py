"""Matching of a weight file with a network: a plan, made before any array is read."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Collection

import keras
import numpy as np

from keras_resnets.architecture.spec import Spec
from keras_resnets.archives.archive import Archive
from keras_resnets.errors import ArgumentError, listed
from keras_resnets.explaining import explained
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.weights import keras_families
from keras_resnets.weights.families import Contents, Family, Source
from keras_resnets.weights.plans import Plan, Row
from keras_resnets.weights.recognition import arch_of, as_archive, recognise, require_family
from keras_resnets.weights.roles import Role, role

# The variables of a network, each with its source in a file; None if the file's family has no such variable.
Matches = list[tuple[keras.Variable, Source | None]]


def match_variables(model: ResidualNetwork, archive: Archive) -> tuple[Family, Contents, Matches]:
    """Returns the family of a file, its tensors, and the source of each variable of a network."""
    if not isinstance(model, ResidualNetwork):
        raise ArgumentError(
            f"model must be a network of keras_resnets; got {type(model).__name__}. Use keras_resnets.adopt first."
        )
    spec = model.spec
    if spec is None and archive.prefix:
        raise ArgumentError(
            f"prefix cannot be given for {model.name!r}, which is filled by the names of its own layers; got "
            f"{archive.prefix!r}. Leave it out."
        )
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


@explained
def plan(
    model: ResidualNetwork, file: str | os.PathLike | Archive, *, head: bool = True, prefix: str | None = None
) -> Plan:
    """Matches a weight file with a network, without loading anything.

    Args:
        model: the network.
        file: the weight file, or an open archive.
        head: whether to match the classifier too.
        prefix: beginning of the names of the network that is meant, where the file holds several.

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
    with as_archive(file, prefix) as archive:
        return make_plan(model, archive, *match_variables(model, archive), head=head)


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
    notes = _notes(archive, family, model.spec)
    classes = model.spec and file_classes(family, contents, model.spec)
    # Of public weights it is known, with how pictures are resized; else it is the family's.
    stated = archive.public.preprocessing if archive.public else None
    if stated and stated.fits(model.input_shape[-1]):
        preprocessing = stated
    else:
        preprocessing, said = family.prepares(model.input_shape[-1], classes)
        notes += [said] if said else []
    if heads := [name for name in family.heads(contents) if contents.full[name] in left]:
        notes.append(f"the file's classifier is left: {listed(map(repr, heads), 3)}")
    return Plan(str(archive.path), family.name, preprocessing, tuple(rows), tuple(unused), tuple(left), tuple(notes))


def file_classes(family: Family, contents: Contents, spec: Spec) -> int | None:
    """Returns the number of classes of a file's own classifier; None if it has none that the family knows."""
    kernel = contents.kernel_shape(family.name_of(Role("head", "logits", "kernel"), spec, contents))
    return kernel[0 if family.outputs_first else -1] if kernel else None


def _notes(archive: Archive, family: Family, spec: Spec | None) -> list[str]:
    """Returns what a report says of what the file does not tell."""
    if not family.needs or spec is None:
        return []
    arch = arch_of(archive)
    given = [f"{key} {getattr(spec, key)!r}" for key in family.differing(spec) if key in family.untold]
    return [
        f"names and shapes do not tell where strides are, nor the kind of pooling, padding, activations and epsilon; "
        f"they are those of {family.name}{', but ' + ' and '.join(given) + ', as given' if given else ''}; "
        f"{f'the file calls its network {arch!r}' if arch else 'the file does not name its network'}"
    ]


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
