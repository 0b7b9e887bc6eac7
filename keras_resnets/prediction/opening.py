"""Opens whatever holds a network for a prediction: a run, a `.keras` file, a SavedModel, LiteRT, ONNX, or a model."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.architecture.preprocessing import Preprocessing, Resizing
from keras_resnets.errors import ArgumentError
from keras_resnets.export import formats


@dataclass(frozen=True)
class Network:
    """A network that is ready to predict.

    Attributes:
        name: what messages call it.
        run: returns the outputs for a batch of inputs, or of raw images where `inside`.
        shape: height, width and channels of its inputs; height and width may be None for any.
        preprocessing: of raw images, with how pictures are resized; None if it is not known.
        inside: whether `run` applies it.
        class_names: the names of its classes; None if they are not known.
        end: the activation at its end; None if it is not known.
    """

    name: str
    run: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int | None, ...]
    preprocessing: Preprocessing | None
    inside: bool
    class_names: tuple[str, ...] | None
    end: str | None


def opened(source: Any) -> Network:
    """Opens a network.

    Args:
        source: as for `keras_resnets.predict`.

    Raises:
        ArgumentError: it is none of these, or takes no images.
    """
    if not isinstance(source, str | os.PathLike):
        network = _of_model(source, source)
    else:
        path = Path(source)
        form = formats.form_of(path)
        network = _of_file(path, form) if form else _of_saved(path)
    if len(network.shape) != 3 or network.shape[2] is None:
        raise ArgumentError(f"{network.name} must take images of (height, width, channels); it takes {network.shape}.")
    return network


def _of_file(path: Path, form: str) -> Network:
    """Opens an exported file in its own runtime."""
    if missing := formats.FORMATS[form].missing:
        raise ArgumentError(
            f"To read {str(path)!r}, {', '.join(missing)} must be installed: pip install 'keras_resnets[onnx]'."
        )
    try:
        file = formats.FORMATS[form].open(path)
    except (ArgumentError, ImportError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise ArgumentError(f"{str(path)!r} cannot be opened as {form} ({reason}).") from error
    carried = file.carried
    if carried is None:
        return Network(repr(str(path)), file.run, file.shape, None, False, None, None)
    return Network(
        repr(str(path)),
        file.run,
        file.shape,
        carried.preprocessing,
        carried.inside,
        carried.class_names,
        carried.end,
    )


def _of_saved(path: Path) -> Network:
    """Opens a run directory or a file that Keras saved; what early versions did not save comes from the run's data."""
    from keras_resnets.network.chain import ResidualNetwork
    from keras_resnets.training import places
    from keras_resnets.training.feeding import data_of
    from keras_resnets.training.opening import load_model

    model = load_model(path)
    if places.lacks(model) and isinstance(model, ResidualNetwork) and path.is_dir() and (path / "run.json").is_file():
        with contextlib.suppress(ArgumentError, OSError):
            places.fill(model, data_of(path))
    return _of_model(model, path)


def _of_model(model: Any, source: Any) -> Network:
    """Returns a Keras model as a network."""
    import keras

    from keras_resnets.network.outputs import activation_at_end

    if not isinstance(model, keras.Model) or len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise ArgumentError(
            f"source must be a run directory, a .keras file, a SavedModel, a .tflite or an .onnx file, or a Keras "
            f"model with one input and one output; got {type(source).__name__}."
        )
    if len(model.output_shape) != 2:
        raise ArgumentError(
            f"source must end in one row of class scores per picture; {model.name!r} has outputs of "
            f"{model.output_shape}. For a class of each pixel take keras_resnets.segmentation.predict."
        )
    named = repr(str(source)) if isinstance(source, str | os.PathLike) else repr(model.name)
    return Network(
        named,
        lambda x: np.asarray(model.predict_on_batch(x), "float32"),
        tuple(model.input_shape[1:]),
        getattr(model, "preprocessing", None),
        False,
        getattr(model, "class_names", None),
        activation_at_end(model),
    )


def completed(
    network: Network, preprocessing: Preprocessing | Mapping[str, Any] | None, class_names: Sequence[str] | None
) -> Network:
    """Returns a network with what the caller says of it in place of what it carries.

    Args:
        network: the network.
        preprocessing: a `Preprocessing`, or those of its fields that replace the network's own.
        class_names: the names of its classes.

    Raises:
        ArgumentError: what is said breaks a rule, or preprocessing is known from neither.
    """
    steps = network.preprocessing
    if isinstance(preprocessing, Mapping):
        steps = _replaced(steps, preprocessing)
    elif preprocessing is not None:
        if not isinstance(preprocessing, Preprocessing):
            raise ArgumentError(
                f"preprocessing must be a keras_resnets.Preprocessing or its fields; got {preprocessing!r}."
            )
        steps = preprocessing
    if steps is None:
        raise ArgumentError(
            f"preprocessing: {network.name} does not say what its inputs are made of, and a guess would give wrong "
            f"classes. Say it: mean and std of the raw pixels, and how pictures are resized (--preprocessing "
            f'\'{{"mean": [127.5], "std": [127.5], "resizing": {{"crop": 0.875}}}}\').'
        )
    if class_names is None:
        return dataclasses.replace(network, preprocessing=steps)
    if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names):
        raise ArgumentError(f"class_names must be a text for each class; got {class_names!r}.")
    return dataclasses.replace(network, preprocessing=steps, class_names=tuple(class_names))


def _replaced(steps: Preprocessing | None, fields: Mapping[str, Any]) -> Preprocessing | None:
    """Returns a preprocessing with fields replaced, as JSON has them; those of `resizing` among themselves."""
    values = dict(fields)
    known = {field.name for field in dataclasses.fields(Preprocessing)}
    if unknown := values.keys() - known:
        raise ArgumentError(f"preprocessing has the fields {', '.join(sorted(known))}; got {sorted(unknown)[0]!r}.")
    if steps is None and not {"mean", "std"} <= values.keys():
        return None
    try:
        if isinstance(values.get("resizing"), Mapping):
            own = dataclasses.asdict(steps.resizing) if steps is not None and steps.resizing is not None else {}
            values["resizing"] = dataclasses.asdict(Resizing(**{**own, **values["resizing"]}))
        base = {"channels": "rgb"} if steps is None else steps.to_dict()
        return Preprocessing.from_dict({**base, **values})
    except (TypeError, AttributeError) as error:
        raise ArgumentError(f"preprocessing cannot be read: {error}.") from error
