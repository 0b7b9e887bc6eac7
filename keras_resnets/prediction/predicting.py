"""`predict`: class names and probabilities for pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.errors import ArgumentError, notice, whole_number
from keras_resnets.explaining import explained
from keras_resnets.network.probabilities import class_probabilities
from keras_resnets.prediction import images as reading
from keras_resnets.prediction.opening import Network, completed, opened


@dataclass(frozen=True)
class Prediction:
    """The answer for a picture.

    Attributes:
        picture: its path, or its place among the arrays given.
        name: the name of the most probable class, or its number as a text where names are not known; None for a picture
            that cannot be read.
        probability: its probability; NaN for a picture that cannot be read.
        top: the most probable classes, each with its probability, the first first.
        probabilities: those of all classes, in the order of the network's outputs.
        error: why the picture cannot be read; None for one that can.
    """

    picture: str
    name: str | None = None
    probability: float = math.nan
    top: tuple[tuple[str, float], ...] = ()
    probabilities: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    error: str | None = None


@explained
def predict(
    source: Any,
    images: Any,
    *,
    top: int = 5,
    class_names: Sequence[str] | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    batch_size: int = 32,
) -> list[Prediction]:
    """Says which class each picture shows, and how probable it is.

    Pictures are read, brought to the network's size and preprocessed as in its training, which the run, the file or the
    model carries. A picture in colour becomes grey for a network of one channel. Outputs that are logits become
    probabilities; where several outputs end in a sigmoid each, the probabilities are independent of each other.

    Args:
        source: a run directory (of one that is not finished, its best network so far), a `.keras` file, a SavedModel's
            folder, a `.tflite` or an `.onnx` file, or a Keras model.
        images: the path of a picture, or of a folder, of which all pictures below it are taken; an array of (height,
            width, channels) or a batch of them, in the units of the training images (of uint8 from 0 to 255, in any
            size); a picture of Pillow; or a list of them.
        top: how many of the most probable classes are named.
        class_names: names in place of those that the network carries.
        preprocessing: in place of what the network carries, whole, or a mapping of those fields that differ, such as
            `{"resizing": {"crop": 0.875}}`.
        batch_size: pictures that are computed together.

    Returns:
        A `Prediction` for each picture, in order. One that is damaged has an `error`, of which a `Notice` tells.

    Raises:
        ArgumentError: an argument breaks its rule; no picture can be read; or what the prediction needs is not known:
            the message says what, and how to give it.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.build("resnet8", (8, 8, 1), 2)
        >>> model.class_names, model.preprocessing = ("dark", "light"), kr.Preprocessing((127.5,), (127.5,))
        >>> answer, = kr.predict(model, np.full((8, 8, 1), 200, "uint8"))
        >>> answer.name in ("dark", "light"), round(answer.probabilities.sum(), 6)
        (True, np.float64(1.0))
    """
    whole_number("top", top, 1)
    whole_number("batch_size", batch_size, 1)
    listed = reading.items(images)
    network = completed(opened(source), preprocessing, class_names)
    headers = reading.inspected(listed)

    answers: dict[int, Prediction] = {}
    waiting: list[tuple[int, np.ndarray]] = []
    for number, raw in _raw_images(network, listed, headers, answers):
        waiting.append((number, raw))
        if len(waiting) == batch_size:
            answers |= _answers(network, listed, waiting, top)
            waiting = []
    if waiting:
        answers |= _answers(network, listed, waiting, top)

    damaged = [answer.error for answer in answers.values() if answer.error]
    if len(damaged) == len(listed):
        raise ArgumentError(damaged[0] + (f" (Nor can the {len(damaged) - 1} others.)" if damaged[1:] else ""))
    for sentence in damaged:
        notice(sentence)
    if network.class_names is None:
        notice(
            f"{network.name} does not say what its classes are called, so they are numbers; give their names "
            f"(class_names, --class-names FILE)."
        )
    return [answers[number] for number in range(len(listed))]


def _raw_images(
    network: Network, listed: list[reading.Item], headers: list, answers: dict[int, Prediction]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the raw image of each picture with its number; enters those that cannot be read in the answers."""
    assert network.preprocessing is not None
    for number, (item, header) in enumerate(zip(listed, headers, strict=True)):
        if not isinstance(header, ArgumentError):
            try:
                yield number, reading.raw_image(item, header, network.preprocessing, network.shape)
                continue
            except reading.pictures.Unreadable as error:
                header = error
        answers[number] = Prediction(item.name, error=str(header))


def _answers(network: Network, listed, waiting: list[tuple[int, np.ndarray]], top: int) -> dict[int, Prediction]:
    """Returns the answers for a batch of raw images."""
    assert network.preprocessing is not None
    if len({raw.shape for _, raw in waiting}) > 1:  # a network for images of any size, and arrays of several
        return {k: v for one in waiting for k, v in _answers(network, listed, [one], top).items()}
    raw = np.stack([image for _, image in waiting])
    names = network.class_names
    scores = np.asarray(network.run(raw if network.inside else network.preprocessing(raw)))
    probabilities = class_probabilities(scores, network.end, None if names is None else len(names))
    if names is not None and len(names) != probabilities.shape[1]:
        raise ArgumentError(
            f"class_names must be as many as the classes of {network.name}, {probabilities.shape[1]}; got {len(names)}."
        )
    if not np.isfinite(probabilities).all():
        raise ArgumentError(f"{network.name} answers with NaN or infinity: its training diverged, or it is damaged.")
    answers = {}
    for (number, _), row in zip(waiting, probabilities, strict=True):
        order = np.argsort(-row, kind="stable")[:top]
        named = tuple((str(i) if names is None else names[i], float(row[i])) for i in order)
        answers[number] = Prediction(listed[number].name, *named[0], named, row)
    return answers


def as_plain(prediction: Prediction) -> dict[str, Any]:
    """Returns a prediction as plain data, for JSON."""
    if prediction.error is not None:
        return {"picture": prediction.picture, "error": prediction.error}
    top = [{"class": name, "probability": probability} for name, probability in prediction.top]
    return {"picture": prediction.picture, "class": prediction.name, "probability": prediction.probability, "top": top}
