"""`Data`: a data set as seeded batches, normalised, shuffled and augmented."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.data import arrays, labels, pairs, sources
from keras_resnets.data.augmentation import Augmentation, augment
from keras_resnets.data.batching import Batching, Layout, Source, lay_out, normalisation, white
from keras_resnets.data.indexed import draws, order
from keras_resnets.data.resizing import resizing_of
from keras_resnets.errors import listed, whole_number
from keras_resnets.showing import Description, Shown, Table, describes


@dataclass(frozen=True)
class Data(Shown):
    """A data set, ready for `fit`: training, validation and test batches of images and labels.

    Made by `load`. Batches are a `keras.utils.PyDataset` of arrays, which works on every backend, and whose `stream()`
    is the same as `tf.data`; those of sets of tensorflow-datasets that do not fit into memory are `tf.data`. Images are
    float32, normalised with statistics of the training split; labels are int32 class numbers, one per image or, for
    segmentation, (batch, height, width).

    Attributes:
        name: the name given to `load`.
        input_shape: height, width and channels of a network's input; height and width are None where batches differ in
            them.
        classes: number of classes.
        class_names: their names.
        sizes: number of examples of each split.
        options: the arguments of `load`, enough to load the same data again; of arrays also `contents`, their
            fingerprint.
        given: names of the batching arguments that the caller of `load` has set; a training's recipe sets the others.
        task: `"classification"` or `"segmentation"`.
        ignore: the label of pixels that count in no loss and no score, 255; None for classification.
        colors: red, green and blue of each class, for pictures of masks; None for classification.
        prepare: the function given to `prepared`; None for the usual normalisation.
    """

    name: str
    input_shape: tuple[int | None, int | None, int]
    classes: int
    class_names: tuple[str, ...]
    options: dict[str, Any]
    _splits: dict[str, sources.Arrays | sources.Pictures | sources.Stream] = dataclasses.field(repr=False)
    _mean: np.ndarray = dataclasses.field(repr=False)
    _std: np.ndarray = dataclasses.field(repr=False)
    _held_out: bool = dataclasses.field(default=False, repr=False)
    _most: int | None = dataclasses.field(default=None, repr=False)
    task: str = "classification"
    ignore: int | None = None
    colors: tuple[labels.Color, ...] | None = dataclasses.field(default=None, repr=False)
    # Height and width of evaluated images, for segmentation; None where they differ.
    _frame: tuple[int, int] | None = dataclasses.field(default=None, repr=False)
    prepare: Callable | None = dataclasses.field(default=None, repr=False)
    given: frozenset[str] = dataclasses.field(default=frozenset(), repr=False)
    _source: Source | None = dataclasses.field(default=None, repr=False)
    _layout: Layout | None = dataclasses.field(default=None, repr=False)

    @property
    def is_named(self) -> bool:
        """Whether `load` gives the same data again from their name and options."""
        unchanged = self._most is None and self.prepare is None and self.name != arrays.NAME
        return unchanged and self._layout is not None and self._splits is self._layout.splits

    @classmethod
    def of(cls, source: Source, batching: Batching, layout: Layout, seed: int, given: frozenset[str]) -> Data:
        """Makes the data from a source and its batches."""
        labelled = source.labels
        options = {
            "data_dir": source.where["data_dir"],
            "batch_size": batching.batch_size,
            "validation": source.where["validation"],
            "image_size": source.where["image_size"],
            "normalize": normalisation(batching.normalize),
            "augmentation": dataclasses.asdict(batching.augmentation),
            "drop_remainder": batching.drop_remainder,
            "seed": seed,
        }
        if labelled is not None:
            options |= {"task": source.task, "pad_to": batching.pad_to}
        if source.contents is not None:
            options["contents"] = source.contents
        return cls(
            name=source.name,
            input_shape=layout.shape,
            classes=len(source.names),
            class_names=source.names,
            options=options,
            _splits=layout.splits,
            _mean=layout.mean,
            _std=layout.std,
            _held_out=source.held_out,
            task=source.task,
            ignore=None if labelled is None else labels.IGNORE,
            colors=None if labelled is None else labelled.colors or labels.palette(len(source.names)),
            _frame=layout.frame,
            given=given,
            _source=source,
            _layout=layout,
        )

    @property
    def files(self) -> dict[str, str]:
        """Fingerprints of a folder's splits, as it divides them; empty for other data."""
        return {} if self._source is None else self._source.files

    @property
    def sizes(self) -> dict[str, int]:
        return {name: split.size for name, split in self._splits.items()}

    @property
    def steps_per_epoch(self) -> int:
        """Training batches in an epoch."""
        size, batch = self.sizes["train"], self.options["batch_size"]
        return size // batch if self.options["drop_remainder"] else -(-size // batch)

    @property
    def train(self):
        """Training batches, shuffled and augmented differently in each pass: from epoch 0 on, as `epochs` has them."""
        return self._training(0, None)

    def epochs(self, first: int, last: int):
        """Returns the training batches of the epochs `first` to `last - 1`, one after the other.

        Order and augmentation depend only on the seed and the number of the epoch, so a
        run that resumes at an epoch sees the same batches as one that was not interrupted.
        """
        return self._training(first, last)

    def _training(self, first: int, last: int | None):
        """Returns the training batches of some epochs or, without a last one, of another epoch in each pass."""
        split, augmentation = self._splits["train"], Augmentation(**self.options["augmentation"])
        batch, seed = self.options["batch_size"], self.options["seed"]
        example = functools.partial(self._pair, augmentation) if self.task == "segmentation" else None
        steps, count = self.steps_per_epoch, 1 if last is None else last - first
        if isinstance(split, sources.Stream):
            return self._streamed(split, first, last, augmentation, example)

        def read(number: int):
            epoch, step = first + number // steps, number % steps
            index = order(split.size, seed, epoch)[step * batch : (step + 1) * batch]
            images, labels = split.read(index, (seed, epoch), example)
            if example is None:
                images = augment(self._normalize(images), augmentation, draws(seed, epoch, 0, step))
            return images, labels

        from keras_resnets.data.passes import Batches

        sizes = [min(batch, split.size - step * batch) for step in range(steps)]
        return Batches(sizes * count, read, last is None, split.workers)

    def _streamed(self, split: sources.Stream, first: int, last: int | None, augmentation: Augmentation, example):
        """Returns the same of a split that is read by `tf.data`."""
        import tensorflow as tf

        batch, drop, seed = (self.options[k] for k in ("batch_size", "drop_remainder", "seed"))

        def epoch(number):
            number = number % (2**31 - 1)
            batches = split.batches(
                batch, example, augmentation.window or self._frame or (None, None), drop, (seed, number)
            )
            if example:
                return batches

            def augmented(step, epoch, images):
                return augment(self._normalize(images), augmentation, draws(seed, int(epoch), 0, int(step)))

            def prepare(step, pair):
                images, labels = pair
                found = tf.numpy_function(augmented, [step, number, images], "float32", stateful=False)
                return tf.ensure_shape(found, (None, *self.input_shape)), labels

            return batches.enumerate().map(prepare, tf.data.AUTOTUNE)

        if last is None:
            epochs = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
            count = 1
        else:
            epochs, count = tf.data.Dataset.range(first, last), last - first
        joined = epochs.flat_map(epoch).apply(tf.data.experimental.assert_cardinality(count * self.steps_per_epoch))
        return joined.prefetch(tf.data.AUTOTUNE)

    def _normalize(self, images: np.ndarray) -> np.ndarray:
        if self.prepare is not None:
            from keras import ops

            return np.asarray(ops.convert_to_numpy(self.prepare(images.astype("float32"))), "float32")
        if self._channels == "bgr":
            images = images[..., ::-1]
        return (images.astype("float32") - self._mean) / self._std

    def _pair(self, augmentation: Augmentation, image, mask, random):
        """Prepares an example for segmentation: augmented in training; whole in evaluation, without random draws."""
        if augmentation.color:
            image = pairs.recolored(image, augmentation, random)
        image, longer = self._normalize(image), self.options["image_size"]
        image, mask = pairs.window(image, mask, augmentation, longer, random)
        if not augmentation.window:
            multiple = self.options["pad_to"]
            height, width = self._frame or (-(-side // multiple) * multiple for side in mask.shape)
            image, mask = pairs.frame(image, mask, (height, width))
        return image, mask.astype("int32")

    def _evaluation(self, split: str):
        """Returns the batches of a split in order, without augmentation; None if there is no such split."""
        if split not in self._splits:
            return None
        found, segments = self._splits[split], self.task == "segmentation"
        size = self.options["batch_size"] if self._frame or not segments else 1
        example = functools.partial(self._pair, Augmentation()) if segments else None
        if isinstance(found, sources.Stream):
            return self._streamed_evaluation(found, size, example)
        batches = found.batches(size, example)
        if example is None:
            batches = batches.mapped(self._normalize)
        return batches if self._most is None else batches.first(self._most)

    def _streamed_evaluation(self, split: sources.Stream, size: int, example):
        """Returns the same of a split that is read by `tf.data`."""
        import tensorflow as tf

        batches = split.batches(size, example, self._frame or (None, None))
        if self._most is not None:
            from keras_resnets.data.passes import first_of

            batches = first_of(batches, self._most)
        if example is None:

            def prepare(images, labels):
                found = tf.numpy_function(self._normalize, [images], "float32", stateful=False)
                return tf.ensure_shape(found, (None, *self.input_shape)), labels

            batches = batches.map(prepare, tf.data.AUTOTUNE)
        return batches.prefetch(tf.data.AUTOTUNE)

    @property
    def train_in_order(self):
        """Batches of the training split in order and without augmentation, for measurements."""
        return self._evaluation("train")

    @property
    def validation(self):
        """Batches held out of the training split, in order; None with `validation=0` or `"test"`."""
        return self._evaluation("validation")

    @property
    def test(self):
        """Batches of the test split, in order."""
        return self._evaluation("test")

    @property
    def watched(self):
        """Batches evaluated after each epoch of a training: `validation`, or `test` with `validation="test"`."""
        return self.test if self.options["validation"] == "test" else self.validation

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The normalisation as a `Preprocessing` for raw images, with how they are resized; None for a function's."""
        if self.prepare is not None:
            return None
        given = self.options["normalize"]
        if isinstance(given, dict):
            exact = Preprocessing.from_dict(given)
        else:
            exact = Preprocessing(_as_numbers(self._mean), _as_numbers(self._std))
        resizing = resizing_of(self.task, self.options["image_size"]) if self._white else None
        return dataclasses.replace(exact, resizing=resizing, white=self._white)

    @functools.cached_property
    def _white(self) -> float | None:
        """The value of white in raw pixels; None where the inputs are no pixels, or it is not known."""
        split = self._splits["train"]
        if isinstance(split, sources.Arrays):
            images = split.images
            return white(images.max()) if images.min() >= 0 else None
        if isinstance(split, sources.Stream) and not self.options["image_size"]:
            return 255.0 if split.dataset.element_spec[0].dtype == "uint8" else None
        return 255.0

    @property
    def _channels(self) -> str:
        """The order of the channels of a network's input."""
        given = self.options["normalize"]
        return given["channels"] if isinstance(given, dict) else "rgb"

    @property
    def raw(self) -> Data:
        """The same data with raw images, before normalisation: what `preprocessing` takes.

        Padding of images for segmentation, elsewhere the mean colour, is black here.
        """
        options = {**self.options, "normalize": None}
        plain: dict[str, Any] = {"_mean": np.zeros((), "float32"), "_std": np.ones((), "float32"), "prepare": None}
        return dataclasses.replace(self, options=options, **plain)

    def sample(self, examples: int, seed: int = 0) -> list[np.ndarray]:
        """Draws training images at random, without augmentation except for the crop that gives them one size.

        Args:
            examples: number of images; all, if there are fewer.
            seed: seed of the draw.

        Returns:
            Images of (height, width, channels), normalised as the batches are.

        Example:
            >>> import keras_resnets as kr
            >>> len(kr.data.load("digits").sample(5))
            5
        """
        whole_number("examples", examples, 1)
        # One batch, unless images differ in size.
        batch = min(examples, self.sizes["train"]) if self._frame or self.task != "segmentation" else 1
        plain: dict[str, Any] = {"augmentation": dataclasses.asdict(Augmentation()), "batch_size": batch, "seed": seed}
        drawn = dataclasses.replace(self, options={**self.options, **plain}).epochs(0, 1)
        return [image for images, _ in drawn.take(-(-examples // batch)).as_numpy_iterator() for image in images]

    @property
    def batching(self) -> Batching:
        """How the examples become batches."""
        return Batching.of(self.options)

    def batched(self, **fields: Any) -> Data:
        """Returns the same data in other batches.

        Args:
            **fields: fields of `Batching` to replace, such as `batch_size=32`.

        Raises:
            ArgumentError: a field breaks its rule.

        Example:
            >>> import keras_resnets as kr
            >>> kr.data.load("digits").batched(batch_size=100, drop_remainder=True).steps_per_epoch
            12
        """
        old, source = self.batching, self._source
        new = old.replace(**fields)
        if new == old or source is None:
            return self
        # Only `resized_crop` needs images as they are on disk, so only it makes reading again necessary.
        same_splits = new.augmentation.resized_crop == old.augmentation.resized_crop
        measured = (self._mean, self._std) if same_splits and new.normalize == old.normalize else None
        layout = lay_out(source, new, self._splits if same_splits else None, measured)
        data = Data.of(source, new, layout, self.options["seed"], self.given | frozenset(fields))
        return dataclasses.replace(data, _most=self._most, prepare=self.prepare)

    def seeded(self, seed: int) -> Data:
        """Returns the same data with another seed of order and augmentation."""
        return dataclasses.replace(self, options={**self.options, "seed": seed}, given=self.given - {"seed"})

    def prepared(self, function: Callable) -> Data:
        """Returns the same data, with raw images passed through a function instead of the normalisation.

        Args:
            function: maps a batch of raw float32 images to the network's inputs, such as the `preprocess_input` of a
                network of `keras.applications`.
        """
        return dataclasses.replace(self, prepare=function)

    def first(self, examples: int) -> Data:
        """Returns the same data with at most this many examples each for validation and test.

        A study of fewer examples is faster and has wider intervals. They are the first in the order of the set, which
        is random for CIFAR, and for folders, which are shuffled when read.
        """
        whole_number("examples", examples, 1)
        return dataclasses.replace(self, _most=examples)

    def evaluated(self, split: str) -> int:
        """Returns how many examples of a split are evaluated, as limited by `first`."""
        return min(self.sizes[split], self._most or self.sizes[split])

    def class_share(self) -> np.ndarray:
        """Returns the share of each class among the training examples or, for segmentation, their labelled pixels.

        Example:
            >>> import keras_resnets as kr
            >>> share = kr.data.load("scenes", task="segmentation", image_size=64).class_share()
            >>> round(float(share[0]), 2)  # of the background
            0.81
        """
        split, counts = self._splits["train"], np.zeros(self.classes, "int64")
        known = getattr(split, "labels", None)
        parts = [known] if known is not None else (batch for _, batch in split.batches(1).as_numpy_iterator())
        for part in parts:
            numbers = part.ravel()
            counts += np.bincount(numbers[numbers != self.ignore], minlength=self.classes)
        return counts / counts.sum()

    @property
    def unseen(self):
        """Batches for a network not trained on this set: the set's own test split, or all splits if it has none."""
        from keras_resnets.data.passes import joined

        splits = [self._evaluation(split) for split in self._splits] if self._held_out else [self.test]
        return joined(splits)


def _as_numbers(array: np.ndarray):
    """Returns an array as nested tuples of numbers."""
    if np.ndim(array) > 1:
        return tuple(_as_numbers(part) for part in array)
    return tuple(float(value) for value in np.atleast_1d(array))


@describes(Data)
def _shown(data: Data) -> Description:
    """Returns what notebooks show."""
    options = data.options
    changes = {name: value for name, value in options["augmentation"].items() if value and name != "pad_mode"}
    facts = [
        ("task", data.task),
        ("images", "x".join("any" if side is None else str(side) for side in data.input_shape)),
        ("classes", f"{data.classes}: {listed(data.class_names)}"),
        ("batch size", options["batch_size"]),
        ("normalisation", "by a function of its own" if data.prepare else options["normalize"]),
        ("augmentation", ", ".join(f"{name} {value}" for name, value in changes.items()) or "none"),
    ]
    return Description(str(data.name), facts, tables=[Table(("split", "examples"), list(data.sizes.items()))])
