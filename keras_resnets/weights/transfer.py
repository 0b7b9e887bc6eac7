"""Networks filled from public weight files, and built for them."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Any

import keras
import numpy as np

from keras_resnets.architecture import counting, variants
from keras_resnets.architecture.spec import Spec
from keras_resnets.archives.archive import Archive
from keras_resnets.errors import ArgumentError
from keras_resnets.network.adoption import adopt
from keras_resnets.network.assembly import assemble
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.weights import keras_families, matching
from keras_resnets.weights.families import Contents, Family
from keras_resnets.weights.plans import Plan
from keras_resnets.weights.roles import Role

# More than the deepest network of the papers has, resnet1202.
_MOST_BLOCKS = 1000


def load(model: ResidualNetwork, file: str | os.PathLike | Archive, *, head: bool = True) -> Plan:
    """Fills a network from a public weight file, whole or not at all, and sets `model.preprocessing`.

    The file's family is told by its names. Arrays are read when all names, shapes and types fit.

    Args:
        model: a network that `keras_resnets.build` made, or an adopted one, which takes the `.h5` or `.keras` file of
            its own layers.
        file: the weight file, or an open archive.
        head: False leaves the network's classifier as it is, for a file with other classes. A network without one
            (`include_top=False`) leaves the file's in any case.

    Returns:
        The plan that was carried out.

    Raises:
        ArgumentError: the file cannot be read; it is of no known family; a variable is missing or of another shape; or
            the network has a field of the spec otherwise than the family needs it. The message says what to build.

    Example:
        >>> import keras, keras_resnets as kr, os, tempfile
        >>> file = os.path.join(tempfile.mkdtemp(), "net.keras")
        >>> keras.applications.ResNet50(weights=None, include_top=False).save(file)
        >>> model = kr.build("resnet50", include_top=False, bn_epsilon=1.001e-5)
        >>> plan = kr.weights.load(model, file)
        >>> model.preprocessing.channels
        'bgr'
    """
    with matching.opened(file) as archive:
        known, contents, found = matching.sources(model, archive)
        if model.spec is not None:
            matching.check_spec(known, contents, model.spec)
        plan = matching.made(archive, known, contents, found, head=head)
        plan.check()
        values = []
        for variable, source in found:
            if source is None or matching.is_left(variable, head):
                continue
            arrays = [np.asarray(contents[name].read(), "float32") for name in source.names]
            values.append((variable, source.convert(*arrays)))
    for variable, value in values:
        variable.assign(value)
    model.preprocessing = plan.preprocessing
    return plan


def network(
    file: str | os.PathLike | Archive,
    name: str | None = None,
    *,
    include_top: bool | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    **overrides,
) -> ResidualNetwork:
    """Builds the network that a public weight file is of, and fills it.

    Blocks, widths, classes and input channels are those of the file's shapes.

    Args:
        file: the weight file, or an open archive.
        name: the variant; None where names and shapes tell it.
        include_top: whether to end in the classifier; None where the file has one.
        input_shape: height, width and channels; None takes the variant's.
        pooling: as for `keras_resnets.build`.
        classifier_activation: as for `keras_resnets.build`.
        **overrides: further fields of `Spec`, such as `output_stride`.

    Returns:
        The network, with its `preprocessing`.

    Raises:
        ArgumentError: as for `load`; or the file does not tell which variant it is of, and the message names those
            that it may be.

    Example:
        >>> import keras, keras_resnets as kr, os, tempfile
        >>> file = os.path.join(tempfile.mkdtemp(), "net.keras")
        >>> keras.applications.ResNet50V2(weights=None, include_top=False).save(file)
        >>> kr.weights.network(file).preprocessing
        Preprocessing(mean=(127.5,), std=(127.5,), channels='rgb')
    """
    with matching.opened(file) as archive:
        known, contents = matching.recognised(archive)
        options: dict[str, Any] = {"pooling": pooling, "classifier_activation": classifier_activation}
        if known is keras_families.SECOND:
            for field in (["name"] if name is not None else []) + list(overrides):
                raise ArgumentError(
                    f"{field} cannot be given for {str(archive.path)!r}, whose network is keras.applications' own and "
                    f"has no spec; leave it out."
                )
            model = _second(contents, include_top, input_shape, options)
        elif known.refusal:
            raise ArgumentError(f"{str(archive.path)!r} cannot be used: {known.refusal}.")
        else:
            spec = derived(known, contents, name)
            logits = known.name_of(Role("head", "logits", "kernel"), spec, contents)
            top = logits in contents if include_top is None else include_top
            _check_top(top, logits in contents, archive)
            _check_size(spec, contents, top)
            shape = {} if input_shape is None else {"input_shape": tuple(input_shape)}
            model = assemble(spec.replace(**{**shape, **overrides}), include_top=top, **options)
        load(model, archive)
    return model


def settings(file: str | os.PathLike | Archive, spec: Spec) -> dict[str, Any]:
    """Returns the fields that a file's numbers were trained with, where a spec has others.

    These change neither shapes nor places of layers: the network keeps its name.

    Args:
        file: the weight file, or an open archive.
        spec: the network that is to be filled.

    Raises:
        ArgumentError: the file cannot be read, or is of no family that is known.
    """
    with matching.opened(file) as archive:
        known, _ = matching.recognised(archive)
    return {key: value for key, value in known.differing(spec).items() if key in known.settings}


def derived(known: Family, contents: Contents, name: str | None = None) -> Spec:
    """Returns the spec of a file's network.

    Args:
        known: the file's family.
        contents: its tensors.
        name: the variant; None where the file tells it.
    """
    models = known.variants(contents)
    if name is not None:
        models = [model for model in models if model.name == name] or [variants.spec(name)]
    specs = [_shaped(known, contents, model) for model in models]
    named = [spec for spec, model in zip(specs, models, strict=True) if spec.stages == model.stages]
    if not named:
        # No variant has these blocks and widths; where those that are left differ in nothing else, they are one.
        alike = {spec.replace(name="resnet") for spec in specs}
        named = list(alike) if len(specs) > len(alike) == 1 else specs
    if len(named) > 1:
        raise ArgumentError(
            f"name: the names and shapes of {str(contents.archive.path)!r} are those of {len(named)} networks; give "
            f"the one that it is of: {', '.join(repr(spec.name) for spec in named)}."
        )
    return named[0]


def _shaped(known: Family, contents: Contents, model: Spec) -> Spec:
    """A variant with the blocks, widths, classes and channels of a file."""
    spec = model.replace(**known.settings, **_possible(known.fields(contents), model))
    side = 0 if known.outer else -1

    def shape(what: Role) -> tuple[int, ...] | None:
        return contents.kernel(known.name_of(what, spec, contents))

    stages = []
    for number, stage in enumerate(spec.stages, 1):
        blocks = 0
        while blocks < _MOST_BLOCKS and shape(Role("block", "conv", "kernel", number, blocks + 1, 1)):
            blocks += 1
        kernels = [shape(Role("block", "conv", "kernel", number, 1, n + 1)) for n in range(len(stage.widths))]
        widths = tuple(kernel[side] if kernel else width for kernel, width in zip(kernels, stage.widths, strict=True))
        stages.append(dataclasses.replace(stage, blocks=max(1, blocks), widths=widths))
    if stem := shape(Role("stem", "conv", "kernel")):
        channels = stem[1 if known.outer else -2]
        spec = spec.replace(stem_width=stem[side], input_shape=(*spec.input_shape[:2], channels))
    if logits := shape(Role("head", "logits", "kernel")):
        spec = spec.replace(classes=logits[side])
    return spec.replace(stages=tuple(stages))


def _check_size(spec: Spec, contents: Contents, top: bool) -> None:
    """Refuses to build what is larger than the file, of whose stages the first blocks alone were looked at."""
    need = counting.count(spec if top else spec.replace(classes=1, head="classifier")).parameters
    need -= 0 if top else spec.stages[-1].widths[-1] + 1
    held = sum(math.prod(tensor.shape) for tensor in contents.values())
    if need > held:
        raise ArgumentError(
            f"{str(contents.archive.path)!r} is damaged, or of another network: its first blocks are those of a "
            f"{spec.name!r} of {need:,} parameters, and it holds {held:,} numbers. Fetch it again, or give another "
            f"name."
        )


def _possible(fields: dict[str, Any], spec: Spec) -> dict[str, Any]:
    """Leaves an output stride out that the network does not come by."""
    return {key: value for key, value in fields.items() if key != "output_stride" or value in spec.strides}


def _check_top(top: bool, has_classifier: bool, archive: Archive) -> None:
    if top and not has_classifier:
        raise ArgumentError(
            f"include_top must be False for {str(archive.path)!r}, which has no classifier; got True. To train one, "
            f"build the network with the classes wanted and use keras_resnets.weights.load(model, file, head=False)."
        )


def _second(contents: Contents, include_top: bool | None, input_shape, options: dict[str, Any]) -> ResidualNetwork:
    """The network of `keras.applications` that a file of its second kind is of."""
    deep, middle = (f"conv{stage}_block{block}_1_conv/kernel" in contents for stage, block in ((3, 8), (4, 23)))
    function = getattr(keras.applications, f"ResNet{152 if deep else 101 if middle else 50}V2")
    logits = [f"{name}/kernel" for name in ("predictions", "probs") if contents.kernel(f"{name}/kernel")]
    top = bool(logits) if include_top is None else include_top
    _check_top(top, bool(logits), contents.archive)
    if top:
        options = {**options, "classes": contents[logits[0]].shape[-1]}
    return adopt(function(include_top=top, weights=None, input_shape=input_shape, **options))
