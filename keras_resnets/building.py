"""Networks made from a spec, and opened from a file."""

from __future__ import annotations

import contextlib
import importlib
import os
import zipfile
import zlib
from pathlib import Path

import keras

from keras_resnets import dilation, layout, variants
from keras_resnets.errors import ArgumentError, one_of
from keras_resnets.network import ResidualNetwork
from keras_resnets.spec import Spec


def build(
    name_or_spec: str | Spec,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int | None = None,
    *,
    include_top: bool = True,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    weights: str | os.PathLike | None = None,
    input_tensor=None,
    name: str | None = None,
    **overrides,
) -> ResidualNetwork:
    """Builds a network from a variant's name or a spec.

    Args:
        name_or_spec: one of `list_models()`, a name of the patterns given there, or a `Spec`.
        input_shape: height, width and channels; None takes the spec's. Height and width may be
            None for any size.
        classes: number of classes; None takes the spec's.
        include_top: whether to end in pooling and classifier.
        pooling: without the top, `"avg"` or `"max"` global pooling, or None for the feature map.
        classifier_activation: activation of the classifier; None for logits.
        weights: path of a `.keras` file or run directory of the same network, or of a public weight file
            (`keras_resnets.weights`), whose batch-norm epsilon and the like are then taken unless given, where the
            network is named; None for random. Without the top, a classifier's weights will do.
        input_tensor: a Keras tensor to use as input instead of a new one.
        name: name of the model; None takes the spec's.
        **overrides: fields of `Spec` to replace, such as `shortcut="C"` or `bn_momentum=0.99`.

    Returns:
        A `ResidualNetwork`.

    Raises:
        ArgumentError: an argument breaks its rule; the message says which, and the remedy.

    Example:
        >>> import keras_resnets as kr
        >>> model = kr.build("preresnet20", input_shape=(8, 8, 1), classes=10)
        >>> kr.parameters(model)
        269434
    """
    spec = variants.spec(name_or_spec) if not isinstance(name_or_spec, Spec) else name_or_spec
    if input_tensor is not None:
        if not isinstance(input_tensor, keras.KerasTensor):
            raise ArgumentError(f"input_tensor must be a Keras tensor, as keras.Input gives; got {input_tensor!r}.")
        input_shape = tuple(input_tensor.shape[1:])
    for field, value in (("input_shape", input_shape), ("classes", classes), ("name", name)):
        if value is not None:
            overrides[field] = tuple(value) if isinstance(value, list) else value
    spec = spec.replace(**overrides)
    one_of("include_top", include_top, (True, False))
    one_of("pooling", pooling, (None, "avg", "max"))
    _check_size(spec)
    files = importlib.import_module("keras_resnets.weights") if _is_public(weights) else None
    with files.open_archive(weights) if files else contextlib.nullcontext() as archive:
        if files and not isinstance(name_or_spec, Spec):
            spec = spec.replace(**{**files.settings(archive, spec), **overrides})
        links = _links(spec, include_top, pooling, classifier_activation)
        source = spec.input_shape if input_tensor is None else input_tensor
        model = ResidualNetwork(links, source, spec, spec.name)
        if files:
            files.load(model, archive)
    if weights is not None and not files:
        saved = load_model(weights)
        copy_weights(saved, model, weights)
        model.preprocessing = getattr(saved, "preprocessing", None)
    return model


def _links(spec: Spec, include_top: bool, pooling: str | None, classifier_activation: str | None) -> list[keras.Layer]:
    """Lays out the chain of a spec."""
    links = [layout.stem(spec)]
    channels, activated = spec.stem_width, spec.stem == "conv7"
    for s, (stage, grid) in enumerate(zip(spec.stages, dilation.grids(spec), strict=True)):
        if stage.pool:
            links.append(layout.pool(spec, stage, grid, f"stage{s + 1}_pool"))
        for b in range(1, stage.blocks + 1):
            links.append(layout.block(spec, s, grid, f"stage{s + 1}_block{b}", channels, b == 1, activated))
            channels, activated = spec.widths(stage)[-1], False
    end = layout.head(spec, include_top, pooling, classifier_activation)
    return [*links, end] if end else links


def _is_public(file: str | os.PathLike | None) -> bool:
    """Whether a file is of somebody else's making, and not one that a network of ours was saved in."""
    if file is None or not Path(file).is_file():
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return b'"class_name": "ResidualNetwork"' not in archive.open("config.json").read(1000)
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, EOFError, OSError):
        return True


def _check_size(spec: Spec) -> None:
    for axis, size in zip(("height", "width"), spec.input_shape, strict=False):
        if size is not None and size < spec.total_stride:
            raise ArgumentError(
                f"input_shape: the {axis} must be at least {spec.total_stride}, the factor by which "
                f"{spec.name} shrinks its input; got {spec.input_shape}. Use larger images, or a network for "
                f"smaller ones."
            )


def copy_weights(source: keras.Model, target: keras.Model, where: str | os.PathLike, *, new_head: bool = False) -> None:
    """Copies variable by variable, matched by path, after checking that all are there and fit.

    What only the source's head has may be left over: a classifier's weights fill its backbone.

    Args:
        source: where from.
        target: where to.
        where: what a message calls the source.
        new_head: whether what the head of the target has and the source lacks, or has in another shape, stays as it is.

    Raises:
        ArgumentError: a variable is missing, left over or of another shape; nothing is copied then.
    """
    have, want = ({v.path: v for v in m.weights} for m in (source, target))
    if new_head:
        want = {
            path: variable
            for path, variable in want.items()
            if not path.startswith("head/") or tuple(getattr(have.get(path), "shape", ())) == tuple(variable.shape)
        }
    # Random states, such as of dropout, are no weights.
    have, want = ({p: v for p, v in m.items() if "seed_generator" not in p} for m in (have, want))
    start = f"weights: {str(where)!r} is of another network, {source.name!r} and not {target.name!r}:"
    remedy = "Give weights of the same network, or build the one that these are of with the same options."
    for path in sorted(want.keys() - have.keys()):
        raise ArgumentError(f"{start} it lacks {path!r}. {remedy}")
    for path in sorted(have.keys() - want.keys()):
        if not path.startswith("head/"):
            raise ArgumentError(f"{start} it has an extra {path!r}. {remedy}")
    for path, variable in want.items():
        if tuple(have[path].shape) != tuple(variable.shape):
            raise ArgumentError(
                f"{start} its {path!r} has shape {tuple(have[path].shape)}, not {tuple(variable.shape)}. {remedy}"
            )
    for path, variable in want.items():
        variable.assign(have[path])


def load_model(path: str | os.PathLike) -> keras.Model:
    """Opens a saved network.

    Args:
        path: a `.keras` file, or a run directory, whose `model.keras` is opened.

    Returns:
        The model, compiled as it was.

    Raises:
        ArgumentError: there is no such file, or it is not a model saved by Keras 3.

    Example:
        >>> import keras_resnets as kr, tempfile, os
        >>> file = os.path.join(tempfile.mkdtemp(), "net.keras")
        >>> kr.build("resnet20").save(file)
        >>> kr.load_model(file).name
        'resnet20'
    """
    file = Path(path)
    if file.is_dir():
        file = file / "model.keras"
    if not file.is_file():
        raise ArgumentError(
            f"There is no saved network at {str(path)!r}; give a .keras file or a finished run directory."
        )
    for module in ("optimizers", "recipes", "segmentation"):  # registers what a compiled network needs
        importlib.import_module(f"keras_resnets.{module}")
    try:
        return keras.saving.load_model(file)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:300].rstrip(".") if str(error).strip() else type(error).__name__
        raise ArgumentError(
            f"{str(file)!r} cannot be opened as a Keras 3 model ({reason}); give a .keras file that model.save wrote."
        ) from error
