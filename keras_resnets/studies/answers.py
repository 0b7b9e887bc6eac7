"""What networks answer to each example: opens a network with the data it is measured on, and runs it on them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_resnets import data as datasets
from keras_resnets.data.batches import BATCH, DataFingerprint, batches, class_labels, examples_in, pixel_labels
from keras_resnets.data.labels import IGNORE
from keras_resnets.data.needs import as_needed, for_network
from keras_resnets.data.passes import joined
from keras_resnets.errors import ArgumentError, listed, notice, one_of
from keras_resnets.instruments.evaluation import measure_examples, progress
from keras_resnets.network.outputs import answer_one_class, check_classifier
from keras_resnets.network.probabilities import are_probabilities, softmax
from keras_resnets.runs import Run, fingerprint
from keras_resnets.segmentation.losses import enlarged
from keras_resnets.segmentation.metrics import confusion_matrix
from keras_resnets.training.feeding import data_of, in_size_of, tell_changed
from keras_resnets.training.opening import load_model

SPLITS = ("test", "validation", "train", "all")
Source: TypeAlias = "str | os.PathLike | keras.Model"


@dataclass(frozen=True)
class Subject:
    """A network, and the examples that it is measured on.

    Attributes:
        name: what it is called in tables and figures.
        model: the network.
        examples: the examples, as for `keras_resnets.data.batches.batches`.
        data: the data set that they are a split of; None for arrays and `tf.data`.
        split: which split.
        record: what is recorded of the run that it comes from; None if it comes from none.
        numbers: for each class of the data the network's number of it; None if they are the same.
    """

    name: str
    model: keras.Model
    examples: Any
    data: datasets.Data | None
    split: str
    record: dict[str, Any] | None = None
    numbers: np.ndarray | None = None

    @property
    def classes(self) -> int:
        """Number of classes that the network tells apart."""
        return self.model.output_shape[-1]

    @property
    def segments(self) -> bool:
        """Whether the network answers for each pixel."""
        return len(self.model.output_shape) == 4

    @property
    def class_names(self) -> list[str]:
        """The names of the network's classes; their numbers, where no names are known."""
        own = getattr(self.model, "class_names", None)
        if own is None and self.data is not None and self.numbers is None and self.data.classes == self.classes:
            own = self.data.class_names
        return list(own or map(str, range(self.classes)))

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """Returns the labels of a batch as numbers of the network's classes."""
        if self.numbers is None:
            return (pixel_labels if self.segments else class_labels)(labels, self.classes)
        labels = (pixel_labels if self.segments else class_labels)(labels, len(self.numbers))
        has_class = labels != IGNORE if self.segments else np.ones(labels.shape, bool)
        return np.where(has_class, self.numbers[np.where(has_class, labels, 0)], IGNORE)


def opened(
    source: Source, data=None, *, split: str = "test", match: str = "name", name: str | None = None, **where: Any
) -> Subject:
    """Opens a network, and a split of its data.

    Args:
        source: a run directory, a `.keras` file or a model.
        data: as for `keras_resnets.evaluate`.
        split: as for `keras_resnets.evaluate`.
        match: as for `keras_resnets.evaluate`.
        name: what it is called; None takes the network's name.
        **where: further arguments of `keras_resnets.data.load` for data given by name, and for those of a run.

    Raises:
        ArgumentError: an argument breaks its rule, or the network is not for these data.
    """
    one_of("split", split, SPLITS)
    one_of("match", match, ("name", "number"))
    where = {key: value for key, value in where.items() if value not in (None, False)}
    is_run = isinstance(source, str | os.PathLike) and Path(source).is_dir()
    model = source if isinstance(source, keras.Model) else load_model(source)
    if getattr(model, "output_shape", None) is None or isinstance(model.output_shape, dict | list):
        raise ArgumentError(f"source must be a network with one output; {model.name!r} has another.")
    if len(model.output_shape) != 4:
        check_classifier(model)
    elif not answer_one_class(model):
        raise ArgumentError(f"source must give a score for each class at each pixel; {model.name!r} does not.")
    record = Run(source, {}).record if is_run else None  # type: ignore[arg-type]

    is_named = isinstance(data, str | os.PathLike)
    # The data: the run's own, by name, as they were loaded, or arrays.
    if data is None:
        if not is_run:
            raise ArgumentError(
                f"data is needed unless source is a run directory, which names its own; got {source!r}."
            )
        data = data_of(source, **where)  # type: ignore[arg-type]
    elif is_named:
        name_of_data, data = data, _named(model, data, record, where)
        if is_run:
            tell_changed(source, record or {}, name_of_data, data)  # type: ignore[arg-type]
    elif where:
        raise ArgumentError(f"{sorted(where)[0]} is for data given by name; got {type(data).__name__}.")
    if not isinstance(data, datasets.Data):
        if split != "test":
            raise ArgumentError(f"split must be left out for arrays and tf.data, which have no splits; got {split!r}.")
        return Subject(name or model.name, model, data, None, "given", record)

    _check_task(model, data)
    data = for_network(data, model)
    examples = batches_of(data, split)
    numbers = _numbers(model, data, match)
    if is_named and record is None and getattr(model, "preprocessing", None) is None and "normalize" not in where:
        notice(
            f"It is not known how {model.name!r} takes its images; those of {data.name!r} are normalised by their own "
            f"mean and standard deviation. Set model.preprocessing, or give data that are prepared."
        )
    return Subject(name or model.name, model, examples, data, split, record, numbers)


def batches_of(data: datasets.Data, split: str):
    """Returns the batches of a split in order, without augmentation; `"all"` for all splits one after the other.

    Raises:
        ArgumentError: there is no such split.
    """
    found = {"train": data.train_in_order, "validation": data.validation, "test": data.test}
    if split == "all":
        return joined([batches for batches in found.values() if batches is not None])
    if found[split] is None:
        raise ArgumentError(
            f"split must be one that {data.name!r} has, and nothing is held out of its training split for "
            f"{split!r}; give one of {', '.join(name for name, b in found.items() if b is not None)}, or all."
        )
    return found[split]


def _named(model: keras.Model, name: str | os.PathLike, record: dict[str, Any] | None, where: dict[str, Any]):
    """Loads data by name as the network takes them: of its size, by its own preprocessing."""
    segments = len(model.output_shape) == 4
    of_run = ((record or {}).get("asked") or {}).get("data") or {}
    options: dict[str, Any] = {"task": "segmentation" if segments else "classification"}
    if "validation" in of_run:
        options["validation"] = of_run["validation"]
    if getattr(model, "preprocessing", None) is not None:
        options["normalize"] = None
    elif "normalize" in of_run:
        options["normalize"] = of_run["normalize"]
    if segments:
        options |= {field: of_run[field] for field in ("pad_to", "image_size") if field in of_run}
    load = functools.partial(datasets.load, name, **{**options, **where})
    # Pictures with masks keep their size.
    is_sized = segments or "image_size" in where
    return as_needed(load() if is_sized else in_size_of(model, name, load, of_run.get("image_size")), model)


def _check_task(model: keras.Model, data: datasets.Data) -> None:
    """Raises `ArgumentError` if only one of network and data is for a class at each pixel."""
    if (len(model.output_shape) == 4) != (data.task == "segmentation"):
        kind = "each pixel" if len(model.output_shape) == 4 else "each image"
        raise ArgumentError(
            f"data must have a label for {kind}, as {model.name!r} answers for it; {data.name!r} is for {data.task}."
        )


def _numbers(model: keras.Model, data: datasets.Data, match: str) -> np.ndarray | None:
    """Returns for each class of the data the network's number of it; None where they are the same.

    Raises:
        ArgumentError: the data have classes that the network does not.
    """
    classes, own = model.output_shape[-1], getattr(model, "class_names", None)
    if match == "name" and own is not None:
        ours, theirs = ([name.strip().casefold() for name in names] for names in (own, data.class_names))
        if ours == theirs:
            return None
        known = {name: number for number, name in enumerate(ours) if ours.count(name) == 1}
        if not known.keys() >= set(theirs):
            raise ArgumentError(
                f"data must be of the classes that {model.name!r} tells apart, {listed(own, 5)}; {data.name!r} has "
                f"{listed(data.class_names, 5)}. If they are the same in the same order, give match='number' (--match "
                f"number)."
            )
        notice(f"The classes of {data.name!r} are matched with those of {model.name!r} by their names.")
        return np.array([known[name] for name in theirs])
    if data.classes != classes:
        raise ArgumentError(
            f"data must have the {classes} classes that {model.name!r} tells apart; {data.name!r} has {data.classes}."
        )
    return None


@dataclass(frozen=True)
class Answers:
    """What a classifier answers to each example; all arrays have an entry for each.

    Attributes:
        labels: the class numbers of the examples.
        answers: the classes answered.
        confidence: the probability that the network gives its answer.
        losses: cross-entropies in nats.
        ranks: how many classes score higher than the label's.
        facts: fingerprints of weights and data.
    """

    labels: np.ndarray
    answers: np.ndarray
    confidence: np.ndarray
    losses: np.ndarray
    ranks: np.ndarray
    facts: dict[str, Any]

    @property
    def right(self) -> np.ndarray:
        """Whether each answer is right."""
        return self.labels == self.answers


@dataclass(frozen=True)
class PixelAnswers:
    """What a network for segmentation answers.

    Attributes:
        confusions: the confusion matrix of each image, (images, classes, classes), of its pixels by label and answer.
        loss: mean cross-entropy over the pixels that have a class, in nats.
        facts: fingerprints of weights and data.
    """

    confusions: np.ndarray
    loss: float
    facts: dict[str, Any]


def answers_of(subject: Subject, verbose: bool = False) -> Answers | PixelAnswers:
    """Runs a network on its examples.

    Scores of pixels are compared at the resolution of the labels, as in training.

    Args:
        subject: the network and its examples.
        verbose: whether to draw a progress bar.

    Raises:
        ArgumentError: the examples have no labels, or other ones than the network's classes.
    """
    model = subject.model
    if (rescale := getattr(model, "rescale", None)) is not None:
        rescale()
    parts, images = [], DataFingerprint()
    measure: Callable = _pixel_answers if subject.segments else _example_answers
    total = examples_in(subject.examples) if subject.data is None else _count(subject)
    read = batches(subject.examples, 1 if subject.segments else BATCH, shape=model.input_shape[1:])
    with progress(f"measuring {subject.name}", total, verbose) as advance:
        for x, y in read:
            if y is None:
                raise ArgumentError("data must have labels to compare the answers with; got inputs alone.")
            images.add(x, y)
            parts.append(measure(np.asarray(model.predict_on_batch(x)), subject.labels(y), subject.classes))
            advance(len(x))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    facts = {"weights_fingerprint": fingerprint(model.weights), "data_fingerprint": images.text}
    if not subject.segments:
        labels, best, confidence, losses, ranks = columns
        return Answers(labels, best, confidence, losses, ranks, facts)
    confusions, losses = columns
    return PixelAnswers(confusions, float(losses.sum() / confusions.sum()), facts)


def _count(subject: Subject) -> int:
    data = subject.data
    assert data is not None
    return sum(map(data.evaluated, data.sizes)) if subject.split == "all" else data.evaluated(subject.split)


def _example_answers(scores: np.ndarray, labels: np.ndarray, classes: int):
    """Returns what `Answers` holds, of a batch."""
    scores = scores.astype("float64")
    best, ranks, losses = measure_examples(scores, labels)
    likely = scores / scores.sum(-1, keepdims=True) if are_probabilities(scores) else softmax(scores)
    return labels, best, likely.max(-1), losses, ranks


def _pixel_answers(scores: np.ndarray, labels: np.ndarray, classes: int):
    """Returns the confusion matrices and the summed losses of the images of a batch."""
    scores = np.asarray(ops.convert_to_numpy(enlarged(scores, labels)))
    best, _, losses = measure_examples(scores.astype("float64"), np.where(labels == IGNORE, 0, labels))
    each = [confusion_matrix(*pair, classes) for pair in zip(labels, best, strict=True)]
    return np.stack(each), np.where(labels == IGNORE, 0, losses).sum((1, 2))
