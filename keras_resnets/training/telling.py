"""What a training says of itself: what is trained, on what and how long, before the first epoch; then the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import keras

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.data import Data
from keras_resnets.errors import listed
from keras_resnets.network.cost import parameters
from keras_resnets.showing import counted
from keras_resnets.training.recipes import Recipe

Tell = Callable[[str], None]
# More epochs than any paper trains: so many follow from a length in steps where the data are few.
_MANY_EPOCHS = 1000


def say(line: str) -> None:
    """Prints a line, as Keras prints its own lines of a training."""
    print(line.encode(errors="backslashreplace").decode(), flush=True)


def teller(tell: Tell | None, verbose: int | str) -> Tell:
    """Returns what is called with each line: `tell`, or by `verbose` a function that prints it or one that does not."""
    return tell or (say if verbose else lambda line: None)


def describe(model: keras.Model, data: Data, recipe: Recipe) -> Iterator[str]:
    """Yields the lines before the first epoch: the network, the data, the recipe, and the length.

    Args:
        model: the network.
        data: the data, in the recipe's batches.
        recipe: the recipe, with the length of this training.
    """
    shape = "x".join("any" if side is None else str(side) for side in data.input_shape)
    names = f" ({listed(data.class_names)})" if data.class_names else ""
    yield f"network   {model.name}: {parameters(model):,} parameters, images of {shape}, {data.classes} classes{names}"
    sizes = data.sizes
    held = {"validation": "to choose by", "test": "to test on"}
    rest = ", ".join(f"{sizes[split]:,} {what}" for split, what in held.items() if split in sizes)
    yield f"data      {data.name}: {sizes['train']:,} images to train on, {rest}"
    yield f"recipe    {recipe.name}: {', '.join(_recipe(recipe, data))}"
    steps = data.steps_per_epoch
    epochs = recipe.total_epochs(steps)
    yield f"length    {counted(epochs, 'epoch')} of {counted(steps, 'step')}, {epochs * steps:,} in all"
    if epochs >= _MANY_EPOCHS:
        yield (
            "note      that is long for so few images; this recipe is made for more of them. Epochs (--epochs) scale "
            "its schedule to another length, and the recipes 'small' and 'small_pictures' are for few"
        )
    if sizes["train"] < recipe.batch_size:
        yield f"note      {sizes['train']} images are less than a batch of {recipe.batch_size}: each epoch is one step"


def _recipe(recipe: Recipe, data: Data) -> Iterator[str]:
    """Yields what matters of a recipe, shortly."""
    yield f"{recipe.algorithm} at rate {recipe.learning_rate:g} ({recipe.schedule})"
    yield f"batch {data.options['batch_size']}"
    yield f"weight decay {recipe.weight_decay:g}"
    norm = data.options["normalize"]
    yield (
        "raw pixels"
        if norm is None
        else "normalised for the weights"
        if isinstance(norm, dict)
        else f"normalised by {norm}"
    )
    changes = {name: value for name, value in data.options["augmentation"].items() if value and name != "pad_mode"}
    yield (
        f"augmented by {', '.join(f'{name} {value}' for name, value in changes.items())}" if changes else "plain images"
    )
    if recipe.label_smoothing:
        yield f"label smoothing {recipe.label_smoothing:g}"
    if recipe.class_weight:
        yield f"class weights {recipe.class_weight if isinstance(recipe.class_weight, str) else 'given'}"
    if recipe.patience:
        yield f"ends after {counted(recipe.patience, 'epoch')} without a better validation, with the best network"
    if recipe.freeze:
        yield f"the classifier alone for the first {counted(recipe.freeze, 'epoch')}"


def normalised(value: str | Preprocessing | None) -> str:
    """Describes a normalisation in a sentence."""
    if not isinstance(value, Preprocessing):
        return repr(value)
    mean, std = (", ".join(f"{number:.4g}" for number in numbers) for numbers in (value.mean, value.std))
    return f"mean {mean}, deviation {std}{', BGR' if value.channels == 'bgr' else ''}"


def duration(seconds: float) -> str:
    """Returns a time in words, rounded as an estimate deserves.

    Example:
        >>> from keras_resnets.training.telling import duration
        >>> duration(45), duration(260), duration(2.2 * 3600), duration(4 * 86400)
        ('45 seconds', '4 minutes', '2.2 hours', '4.0 days')
    """
    for unit, size, least, digits in (("days", 86400, 2, 1), ("hours", 3600, 1.5, 1), ("minutes", 60, 1.5, 0)):
        if seconds >= least * size:
            return f"{seconds / size:.{digits}f} {unit}"
    whole = max(1, round(seconds))
    return counted(whole, "second")


class Estimate(keras.callbacks.Callback):
    """Tells after the first epoch how long the others will take, and again when a frozen network has thawed.

    The first step is traced, which takes long, and so is the first validation. Of an epoch of minutes, both are left
    out of the estimate; after a short one it waits for the second, which has neither.

    Args:
        epochs: the number of the last epoch of this training.
        tell: called with the line.
        freeze: the number of first epochs in which the network is frozen.
        validation: the size of the validation split, as a share of the training split.
    """

    # The first epoch of fewer seconds is waited out.
    SHORT = 60.0

    def __init__(self, epochs: int, tell: Tell, freeze: int = 0, validation: float = 0.0):
        super().__init__()
        self._epochs, self._tell, self._freeze, self._validation = epochs, tell, freeze, validation
        self._clock: Callable[[], float] = time.perf_counter
        self._begun, self._steps = 0.0, [0.0]
        self._ended: float | None = None
        self._told = False

    def on_epoch_begin(self, epoch, logs=None):
        self._begun, self._steps = self._clock(), []
        if epoch == self._freeze:
            self._ended, self._told = None, False  # the step is traced anew

    def on_train_batch_end(self, batch, logs=None):
        self._steps.append(self._clock())

    def on_epoch_end(self, epoch, logs=None):
        now, before, left = self._clock(), self._ended, self._epochs - epoch - 1
        self._ended = now
        if self._told or left < 1:
            return
        if before is not None:
            seconds = now - before
        elif now - self._begun >= self.SHORT and len(self._steps) > 1:
            step = (self._steps[-1] - self._steps[0]) / (len(self._steps) - 1)
            # A step goes forwards and backwards, which costs twice as much again.
            seconds = step * len(self._steps) * (1 + self._validation / 3)
        else:
            return
        more = epoch < self._freeze < self._epochs
        then = ", and longer once the whole network is trained" if more else ""
        self._tell(
            f"time      {duration(seconds)} an epoch; about {duration(seconds * left)} for the "
            f"{counted(left, 'epoch')} left{then}"
        )
        self._told = True
