"""Load public weight files into networks, and build the networks that fit them."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from keras_resnets.architecture import counting, variants
from keras_resnets.architecture.spec import Spec
from keras_resnets.archives.archive import Archive
from keras_resnets.errors import ArgumentError, listed
from keras_resnets.explaining import explained
from keras_resnets.network.adoption import adopt
from keras_resnets.network.assembly import assemble
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.data_format import channels_last
from keras_resnets.network.saving import load_model, take_over
from keras_resnets.weights import fetching, keras_families, matching, public, recognition
from keras_resnets.weights.families import Contents, Family
from keras_resnets.weights.plans import Plan
from keras_resnets.weights.roles import Role

# More blocks than resnet1202 has, the deepest network of the papers.
_MOST_BLOCKS = 1000


@explained
def load(
    model: ResidualNetwork, file: str | os.PathLike | Archive, *, head: bool = True, prefix: str | None = None
) -> Plan:
    """Loads a public weight file into a network, completely or not at all, and sets `model.preprocessing`.

    The names in the file decide its family. Arrays are read once all names, shapes and dtypes fit.

    Args:
        model: a network of `keras_resnets.build`, or an adopted one, which takes the `.h5` or `.keras` file of its own
            layers.
        file: the weight file, the full name of public weights, or an open archive.
        head: False keeps the network's own classifier, for a file with other classes. A network without a classifier
            (`include_top=False`) always ignores the file's.
        prefix: beginning of the names of the network that is meant, where the file holds several, such as
            `"state_dict_ema."` for the average beside the weights.

    Returns:
        The plan that was carried out.

    Raises:
        ArgumentError: the file cannot be read; its family is unknown; a variable is missing or has another shape; or
            a field of the network's spec differs from what the family needs. The message says what to build.

    Example:
        >>> import keras, keras_resnets as kr, os, tempfile
        >>> file = os.path.join(tempfile.mkdtemp(), "net.keras")
        >>> keras.applications.ResNet50(weights=None, include_top=False).save(file)
        >>> model = kr.build("resnet50", include_top=False, bn_epsilon=1.001e-5)
        >>> plan = kr.weights.load(model, file)
        >>> model.preprocessing.channels
        'bgr'
    """
    with recognition.as_archive(file, prefix) as archive:
        return fill(model, archive, head=head)


def fill(
    model: ResidualNetwork,
    file: str | os.PathLike | Archive,
    *,
    head: bool = True,
    given: Collection[str] = (),
    derived: bool = False,
    named: bool = False,
) -> Plan:
    """Does what `load` does.

    Args:
        model: as for `load`.
        file: as for `load`.
        head: as for `load`.
        given: fields of the spec that the caller gave; his word counts in what no file tells.
        derived: whether the network was derived from the file.
        named: whether the caller said of this file which variant it is of.
    """
    with recognition.as_archive(file) as archive:
        family, contents, matches = matching.match_variables(model, archive)
        if model.spec is not None:
            if not named:
                recognition.check_arch(family, archive)
            matching.check_spec(family, contents, model.spec, given)
        plan = matching.make_plan(model, archive, family, contents, matches, head=head)
        plan.check(derived=derived)
        values = []
        for variable, source in matches:
            if source is None or matching.is_skipped(variable, head):
                continue
            arrays = [np.asarray(contents[name].read(), "float32") for name in source.names]
            values.append((variable, source.convert(*arrays)))
    for variable, value in values:
        variable.assign(value)
    model.preprocessing = plan.preprocessing
    names = archive.public.class_names if archive.public else None
    if names and head and has_classifier(model) and len(names) == model.output_shape[-1]:
        model.class_names = names
    return plan


def has_classifier(model: ResidualNetwork) -> bool:
    """Whether a network ends in a row of class scores, and not in features."""
    return any(matching.is_classifier(variable) for variable in model.weights) and len(model.output_shape) == 2


@explained
def network(
    file: str | os.PathLike | Archive,
    name: str | None = None,
    *,
    include_top: bool | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classifier_activation: str | None = "auto",
    prefix: str | None = None,
    **overrides,
) -> ResidualNetwork:
    """Builds the network of a public weight file, and loads the file into it.

    The file's shapes give the blocks, widths, classes and input channels.

    Args:
        file: the weight file, the full name of public weights, such as `"akamaster/resnet56"`, or an open archive.
        name: the variant; None derives it from names and shapes. Your word counts where the file calls its network
            otherwise.
        include_top: whether to end in the classifier; None keeps it if the file has one.
        input_shape: height, width and channels; None takes the variant's.
        pooling: as for `keras_resnets.build`.
        classifier_activation: as for `keras_resnets.build`; `"auto"` is `"softmax"`, or `"sigmoid"` for one output.
        prefix: beginning of the names of the network that is meant, where the file holds several, such as
            `"state_dict_ema."` for the average beside the weights.
        **overrides: further fields of `Spec`, such as `output_stride`. Your word counts in what no file tells:
            `stride_place="first"` for a ResNet of Caffe or Detectron under torchvision's names.

    Returns:
        The network, with its `preprocessing`; None if that is not known, as for other than three channels.

    Raises:
        ArgumentError: as for `load`; or the file fits several variants, which the message names.

    Example:
        >>> import keras, keras_resnets as kr, os, tempfile
        >>> file = os.path.join(tempfile.mkdtemp(), "net.keras")
        >>> keras.applications.ResNet50V2(weights=None, include_top=False).save(file)
        >>> kr.weights.network(file).preprocessing.mean
        (127.5,)
    """
    options: dict[str, Any] = {"pooling": pooling, "classifier_activation": classifier_activation}
    own = public.find(file)
    if own is not None and own.is_own:
        return _saved(own, name, include_top, input_shape, options, overrides)
    with recognition.as_archive(file, prefix) as archive:
        family, contents = recognition.require_family(archive)
        if family is keras_families.SECOND:
            given = [*([] if name is None else ["name"]), *overrides]
            if given:
                raise ArgumentError(
                    f"{given[0]} cannot be given for {str(archive.path)!r}, whose network is keras.applications' own "
                    f"and has no spec; leave it out."
                )
            model = _build_resnet_v2(contents, include_top, input_shape, options)
        elif family.refusal:
            raise ArgumentError(f"{str(archive.path)!r} cannot be used: {family.refusal}.")
        elif family is keras_families.OWN:
            raise ArgumentError(
                f"{str(archive.path)!r} holds the weights of a network of this package, and not its layers; give it to "
                f"keras_resnets.build(name, weights=file) with the network's name and options."
            )
        else:
            known = archive.public
            if name is None and known and known.variant in variants.imagenet_models():
                name = known.variant
            if name is None:
                recognition.check_arch(family, archive)
                _check_named(family, contents)
            if input_shape is None and known and known.size:
                input_shape = (known.size, known.size, 3)
            spec = derive_spec(family, contents, name)
            logits = family.name_of(Role("head", "logits", "kernel"), spec, contents)
            top = logits in contents if include_top is None else include_top
            _check_top(top, logits in contents, archive, family.heads(contents))
            _check_size(spec, contents, top)
            options["classifier_activation"] = _activation(classifier_activation, spec.classes, archive)
            shape = {} if input_shape is None else {"input_shape": tuple(input_shape)}
            model = assemble(spec.replace(**{**shape, **overrides}), include_top=top, **options)
        fill(model, archive, given=overrides, derived=True, named=name is not None)
    return model


def _saved(
    known: public.PublicSet, name: str | None, top: bool | None, input_shape, options: dict[str, Any], overrides
) -> ResidualNetwork:
    """Returns a network that comes with this package, as it was saved, or what a caller asks for with its weights."""
    public.check_use(known, name or known.variant, classes=None, channels=None, include_top=top is not False)
    saved = load_model(fetching.fetch(known)[0], compile=False)
    assert isinstance(saved, ResidualNetwork)
    assert saved.spec is not None
    if options["classifier_activation"] == "auto":
        options = {**options, "classifier_activation": "softmax"}
    shape = {} if input_shape is None else {"input_shape": tuple(input_shape)}
    model = assemble(saved.spec.replace(**{**shape, **overrides}), include_top=top is not False, **options)
    take_over(saved, model, known.name, include_top=top is not False)
    return model


@explained
def settings(file: str | os.PathLike | Archive, spec: Spec) -> dict[str, Any]:
    """Returns the settings that a file's weights were trained with, where they differ from a spec's.

    They change neither shapes nor layers, so the network keeps its name.

    Args:
        file: the weight file, or an open archive.
        spec: the spec of the network to be filled.

    Raises:
        ArgumentError: the file cannot be read, or its family is unknown.
    """
    with recognition.as_archive(file) as archive:
        family, _ = recognition.require_family(archive)
    return {key: value for key, value in family.differing(spec).items() if key in family.settings}


def derive_spec(family: Family, contents: Contents, name: str | None = None) -> Spec:
    """Derives the spec of a file's network from its names and shapes.

    Args:
        family: the file's family.
        contents: its tensors.
        name: the variant; None derives it as well.

    Raises:
        ArgumentError: the file fits several variants.
    """
    _check_known(family, contents)
    models = family.variants(contents)
    if name is not None:
        models = [model for model in models if model.name == name] or [variants.spec(name)]
    specs = [_fit_to_shapes(family, contents, model) for model in models]
    candidates = [spec for spec, model in zip(specs, models, strict=True) if spec.stages == model.stages]
    if not candidates:
        # No variant has these blocks and widths. If the fitted specs differ only in their names, they are one network.
        unnamed = {spec.replace(name="resnet") for spec in specs}
        candidates = list(unnamed) if len(specs) > len(unnamed) == 1 else specs
    if len(candidates) > 1:
        raise ArgumentError(
            f"name: {str(contents.archive.path)!r} has the names and shapes of {len(candidates)} networks; give the "
            f"right one: {', '.join(repr(spec.name) for spec in candidates)}."
        )
    return candidates[0]


def _fit_to_shapes(family: Family, contents: Contents, model: Spec) -> Spec:
    """Returns a variant with the blocks, widths, classes and input channels of a file."""
    spec = model.replace(**family.settings, **_reachable(family.fields(contents), model))
    output, channels = (0, 1) if family.outputs_first else (-1, -2)

    stages = []
    for number, stage in enumerate(spec.stages, 1):
        blocks = 0
        while blocks < _MOST_BLOCKS and _kernel_shape(family, spec, contents, "block", "conv", number, blocks + 1, 1):
            blocks += 1
        kernels = [
            _kernel_shape(family, spec, contents, "block", "conv", number, 1, n + 1) for n in range(len(stage.widths))
        ]
        widths = tuple(kernel[output] if kernel else width for kernel, width in zip(kernels, stage.widths, strict=True))
        stages.append(dataclasses.replace(stage, blocks=max(1, blocks), widths=widths))

    if stem := _kernel_shape(family, spec, contents, "stem", "conv"):
        spec = spec.replace(stem_width=stem[output], input_shape=(*spec.input_shape[:2], stem[channels]))
    if logits := _kernel_shape(family, spec, contents, "head", "logits"):
        spec = spec.replace(classes=logits[output])
    return spec.replace(stages=tuple(stages))


def _kernel_shape(
    family: Family, spec: Spec, contents: Contents, place: str, layer: str, *numbers: int
) -> tuple[int, ...] | None:
    """Returns the shape in the file of a layer's kernel; `numbers` are the stage, block and number of its `Role`."""
    return contents.kernel_shape(family.name_of(Role(place, layer, "kernel", *numbers), spec, contents))


def _check_size(spec: Spec, contents: Contents, top: bool) -> None:
    """Raises if the network has more parameters than the file, of whose stages only the first blocks were read."""
    needed = counting.count(spec if top else spec.replace(classes=1, head="classifier")).parameters
    needed -= 0 if top else spec.stages[-1].widths[-1] + 1
    available = sum(math.prod(tensor.shape) for tensor in contents.values())
    if needed > available:
        raise ArgumentError(
            f"{str(contents.archive.path)!r} is damaged, or of another network: its first blocks are those of a "
            f"{spec.name!r} of {needed:,} parameters, and it holds {available:,} numbers. Fetch it again, or give "
            f"another name."
        )


def _check_known(family: Family, contents: Contents) -> None:
    """Raises if the file has layers that no network of the family has, though it has the family's marks."""
    start = f"{str(contents.archive.path)!r} has names of {family.name}, but"
    end = "which no network of this package has; build it with the code that it comes from."
    known = f"{family.known}|{family.classifier}"
    others = [name for name in contents if family.known and not re.fullmatch(known, name)]
    if others:
        names = listed(map(repr, others), 3)
        raise ArgumentError(f"{start} also {names}, as Res2Net or squeeze-and-excitation have, {end}")
    before, grouped = (contents.kernel_shape(f"layer1.0.conv{n}.weight") for n in (1, 2))
    if family.known and before and grouped and len(grouped) == 4 and grouped[1] < before[0]:
        raise ArgumentError(f"{start} its convolutions are in {before[0] // grouped[1]} groups, as in ResNeXt, {end}")


def _check_named(family: Family, contents: Contents) -> None:
    """Raises if neither names nor shapes tell which network the file is of."""
    if family.asks:
        names = " or ".join(repr(spec.name) for spec in family.variants(contents))
        raise ArgumentError(
            f"name must be given for {str(contents.archive.path)!r}, whose names and shapes do not tell {family.asks}; "
            f"got None. Give {names}, as in keras_resnets.weights.network(file, name), if that is its network."
        )


def _activation(activation: str | None, classes: int, archive: Archive) -> str | None:
    """Returns the activation of a classifier; `"auto"` is softmax, or sigmoid for one output."""
    if activation == "auto":
        return "softmax" if classes > 1 else "sigmoid"
    if activation == "softmax" and classes == 1:
        raise ArgumentError(
            f"classifier_activation cannot be 'softmax' for {str(archive.path)!r}, which has one output: it would "
            f"always be 1. Give 'sigmoid', or None for logits."
        )
    return activation


def _reachable(fields: dict[str, Any], spec: Spec) -> dict[str, Any]:
    """Returns the fields without an output stride that the network does not reach."""
    return {key: value for key, value in fields.items() if key != "output_stride" or value in spec.strides}


def _check_top(top: bool, has_classifier: bool, archive: Archive, heads: Collection[str] = ()) -> None:
    if top and not has_classifier:
        names = listed(map(repr, heads), 3)
        lacks = f"whose classifier is not the family's ({names})" if heads else "which has no classifier"
        raise ArgumentError(
            f"include_top must be False for {str(archive.path)!r}, {lacks}; got True. To train one, "
            f"build the network with its classes and use keras_resnets.weights.load(model, file, head=False)."
        )


def _build_resnet_v2(
    contents: Contents, include_top: bool | None, input_shape, options: dict[str, Any]
) -> ResidualNetwork:
    """Builds the ResNetV2 of `keras.applications` that a file belongs to."""
    deep, middle = (f"conv{stage}_block{block}_1_conv/kernel" in contents for stage, block in ((3, 8), (4, 23)))
    function = getattr(keras.applications, f"ResNet{152 if deep else 101 if middle else 50}V2")
    logits = [f"{name}/kernel" for name in ("predictions", "probs") if contents.kernel_shape(f"{name}/kernel")]
    top = bool(logits) if include_top is None else include_top
    _check_top(top, bool(logits), contents.archive)
    if top:
        classes = contents[logits[0]].shape[-1]
        activation = _activation(options["classifier_activation"], classes, contents.archive)
        options = {**options, "classes": classes, "classifier_activation": activation}
    with channels_last():
        return adopt(function(include_top=top, weights=None, input_shape=input_shape, **options))
