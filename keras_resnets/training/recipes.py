"""Training recipes of the papers, as data.

Keras is imported when an optimiser is made of one: the command line checks recipes without it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.architecture.variants import imagenet_models
from keras_resnets.data import Augmentation
from keras_resnets.data.batching import normalisation, of_pixels, with_parts
from keras_resnets.errors import ArgumentError, number, one_of, whole_number
from keras_resnets.explaining import check_fields, explained

if TYPE_CHECKING:
    import keras


@explained
@dataclass(frozen=True)
class Recipe:
    """How to train: optimiser, schedule, decay, batches and augmentation.

    Args:
        name: the recipe's name.
        algorithm: `"sgd"`, or `"adamw"`, which ignores momentum and `bias_rate`.
        epochs: length of the training; ignored when `iterations` is given.
        iterations: length in optimiser steps, rounded up to whole epochs; 0 to count in epochs.
        batch_size: examples in a step.
        learning_rate: the rate after the warm-up.
        momentum: momentum of SGD.
        nesterov: whether SGD uses Nesterov momentum.
        momentum_form: `"keras"` or `"torch"`, as for `keras_resnets.optimizers.SGD`.
        schedule: `"steps"`, multiply by `factor` at each of `boundaries`; `"cosine"` or
            `"linear"`, fall to 0 at the end; `"poly"`, to 0 with the power 0.9; `"held"`, constant up to the one
            boundary, then `factor` of the rate, falling linearly to 0.
        boundaries: where the rate drops, in iterations when `iterations` is given, else epochs.
        factor: the rate is multiplied by this at each boundary.
        warmup_iterations: number of first steps at `warmup_rate` (`"steps"`), or over which the
            rate rises linearly from `warmup_rate` (`"cosine"`, `"linear"`, `"poly"`); none with `"held"`.
        warmup_rate: rate of the warm-up.
        weight_decay: L2 in the gradient; for AdamW, decoupled from it.
        decay: its scope, as for `keras_resnets.optimizers.SGD`.
        bias_rate: as for `SGD`.
        normalize: as for `keras_resnets.data.load`.
        augmentation: as for `keras_resnets.data.load`.
        drop_remainder: drop an incomplete last batch.
        hardest: for segmentation, as for `keras_resnets.segmentation.PixelLoss`.
        loss_at: for segmentation, the argument `at` of `PixelLoss`.
        label_smoothing: share of the label that is spread evenly over all classes (Szegedy et al. 2016).
        class_weight: weights of the classes in the training loss: `"balanced"`, examples / (classes * examples of the
            class), as scikit-learn's; a tuple with a number for each; None for equal ones.
        patience: stop when the score on the validation split has not risen for so many epochs, and end with the network
            of the best one; 0 to train to the end, and keep its network.
        freeze: number of first epochs in which only the classifier is trained, on what the rest gives in inference; for
            a network that starts from existing weights.
    """

    name: str
    algorithm: str = "sgd"
    epochs: int = 0
    iterations: int = 0
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    momentum_form: str = "keras"
    schedule: str = "steps"
    boundaries: tuple[int, ...] = ()
    factor: float = 0.1
    warmup_iterations: int = 0
    warmup_rate: float = 0.0
    weight_decay: float = 1e-4
    decay: str = "all"
    bias_rate: float = 1.0
    normalize: str | Preprocessing | None = "channel"
    augmentation: Augmentation = field(default_factory=Augmentation)
    drop_remainder: bool = False
    hardest: float | None = None
    loss_at: str = "output"
    label_smoothing: float = 0.0
    class_weight: str | tuple[float, ...] | None = None
    patience: int = 0
    freeze: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ArgumentError(f"name must be a non-empty text; got {self.name!r}.")
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(f.default, bool):
                one_of(f.name, value, (True, False))
            elif isinstance(f.default, int):
                whole_number(f.name, value, 0)
            elif isinstance(f.default, float):
                number(f.name, value)
        if isinstance(self.normalize, Preprocessing):
            object.__setattr__(self, "normalize", of_pixels(self.normalize))
        one_of("algorithm", self.algorithm, ("sgd", "adamw"))
        one_of("momentum_form", self.momentum_form, ("keras", "torch"))
        one_of("decay", self.decay, ("kernels", "weights", "all"))
        one_of("loss_at", self.loss_at, ("output", "input"))
        if not isinstance(self.augmentation, Augmentation):
            raise ArgumentError(f"augmentation must be an Augmentation or its fields; got {self.augmentation!r}.")
        if not isinstance(self.normalize, str | Preprocessing | None):
            raise ArgumentError(f"normalize must be a text, a Preprocessing or None; got {self.normalize!r}.")
        if not isinstance(self.boundaries, tuple):
            raise ArgumentError(f"boundaries must be a tuple of whole numbers; got {self.boundaries!r}.")
        for boundary in self.boundaries:
            whole_number("boundaries", boundary, 0)
        if self.hardest is not None:
            number("hardest", self.hardest, above=0, below=1, rule="a probability between 0 and 1, or None")
        one_of("schedule", self.schedule, ("steps", "cosine", "linear", "poly", "held"))
        if self.schedule == "held" and len(self.boundaries) != 1:
            raise ArgumentError(f"boundaries must be one with schedule='held'; got {self.boundaries!r}.")
        if self.schedule == "held" and self.warmup_iterations:
            raise ArgumentError(
                f"warmup_iterations must be 0 with schedule='held', which has no warm-up; got "
                f"{self.warmup_iterations!r}."
            )
        if self.epochs < 1 and self.iterations < 1:
            raise ArgumentError(f"epochs must be at least 1; got {self.epochs!r}.")
        number("learning_rate", self.learning_rate, above=0)
        whole_number("batch_size", self.batch_size, 1, 2**31 - 1)
        number("label_smoothing", self.label_smoothing, least=0, below=1)
        weights = self.class_weight
        if isinstance(weights, tuple):
            for weight in weights:
                number("class_weight", weight, least=0)
        elif weights not in (None, "balanced"):
            raise ArgumentError(
                f"class_weight must be 'balanced', a tuple of a number for each class, or None; got {weights!r}."
            )

    def replace(self, **overrides: Any) -> Recipe:
        """Returns a copy with some fields replaced; an unknown field is an `ArgumentError`."""
        check_fields(Recipe, overrides, "Recipe")
        return dataclasses.replace(self, **overrides)

    def lasting(self, epochs: int, steps_per_epoch: int) -> Recipe:
        """Returns the recipe with its schedule scaled to `epochs`: rates drop at the same fractions."""
        whole_number("epochs", epochs, 1)
        old = self.total_epochs(steps_per_epoch)
        if self.iterations:
            scale = epochs * steps_per_epoch / self.iterations
            new: dict[str, Any] = {"iterations": epochs * steps_per_epoch}
        else:
            scale, new = epochs / old, {"epochs": epochs}
        warmup = round(self.warmup_iterations * min(1, epochs / old))
        boundaries = tuple(max(1, round(b * scale)) for b in self.boundaries)
        return dataclasses.replace(self, boundaries=boundaries, warmup_iterations=warmup, **new)

    def total_epochs(self, steps_per_epoch: int) -> int:
        """Length of the training in epochs of `steps_per_epoch` steps."""
        return -(-self.iterations // steps_per_epoch) if self.iterations else self.epochs

    def rate(self, steps_per_epoch: int):
        """Returns the learning-rate schedule, a function of the optimiser's step alone."""
        from keras.optimizers import schedules

        from keras_resnets.training.schedules import Held, WarmedUp

        total = self.iterations or self.epochs * steps_per_epoch
        if self.schedule == "steps":
            unit = 1 if self.iterations else steps_per_epoch
            steps = [b * unit for b in self.boundaries]
            rates = [self.learning_rate * self.factor**i for i in range(len(steps) + 1)]
            if self.warmup_iterations:
                steps, rates = [self.warmup_iterations, *steps], [self.warmup_rate, *rates]
            if not steps:
                return self.learning_rate
            # Keras drops the rate after the boundary, the papers at it.
            return schedules.PiecewiseConstantDecay([s - 1 for s in steps], rates)
        decay = max(1, total - self.warmup_iterations)
        if self.schedule == "held":
            boundary = self.boundaries[0] * (1 if self.iterations else steps_per_epoch)
            return Held(self.learning_rate, boundary, self.factor, total)
        if self.schedule in ("linear", "poly"):
            fall = schedules.PolynomialDecay(self.learning_rate, decay, 0.0, 0.9 if self.schedule == "poly" else 1.0)
            return WarmedUp(self.warmup_rate, self.warmup_iterations, fall) if self.warmup_iterations else fall
        if not self.warmup_iterations:
            return schedules.CosineDecay(self.learning_rate, decay)
        return schedules.CosineDecay(
            self.warmup_rate, decay, warmup_target=self.learning_rate, warmup_steps=self.warmup_iterations
        )

    def optimizer(self, steps_per_epoch: int) -> keras.optimizers.Optimizer:
        """Returns a new optimiser with the recipe's schedule and decay."""
        from keras_resnets.training.optimizers import SGD, AdamW

        if self.algorithm == "adamw":
            return AdamW(self.rate(steps_per_epoch), self.weight_decay, decay=self.decay)
        return SGD(
            self.rate(steps_per_epoch),
            momentum=self.momentum,
            nesterov=self.nesterov,
            l2=self.weight_decay,
            decay=self.decay,
            bias_rate=self.bias_rate,
            form=self.momentum_form,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the recipe as plain data, without the later fields that are at their defaults.

        So it equals what versions without these fields wrote.
        """
        defaults = {field.name: field.default for field in dataclasses.fields(self) if field.name in _LATER}
        values = dataclasses.asdict(self)
        if isinstance(self.normalize, Preprocessing):
            values["normalize"] = normalisation(self.normalize)
        return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Inverse of `to_dict`, also after a round trip through JSON; an unknown key is an `ArgumentError`."""
        check_fields(cls, values, "Recipe")
        fields = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return cls(**with_parts(fields))


# Fields that early versions did not have.
_LATER = ("label_smoothing", "class_weight", "patience", "freeze")


_CIFAR = Augmentation(pad=4, flip=True)

_HE = Recipe(
    "he16",
    iterations=64_000,
    boundaries=(32_000, 48_000),
    warmup_iterations=400,
    warmup_rate=0.01,
    normalize="pixel",
    augmentation=_CIFAR,
)

_IMAGENET = Recipe(
    "imagenet",
    epochs=90,
    batch_size=256,
    boundaries=(30, 60),
    nesterov=True,
    momentum_form="torch",
    augmentation=Augmentation(flip=True, resized_crop=True, color=0.4),
)

_SEGMENTATION = Recipe(
    "segmentation",
    algorithm="adamw",
    epochs=60,
    batch_size=8,
    learning_rate=0.002,
    schedule="cosine",
    warmup_iterations=100,
    warmup_rate=1e-4,
    weight_decay=0.01,
    decay="weights",
    augmentation=Augmentation(flip=True, crop=320, scale=(0.7, 1.3), color=0.3),
    loss_at="input",
)

# Not from a paper: for sets of some dozens to some thousands of images.
_SMALL = Recipe(
    "small",
    epochs=100,
    batch_size=16,
    learning_rate=0.02,
    schedule="cosine",
    warmup_iterations=50,
    warmup_rate=0.002,
    weight_decay=5e-4,
    augmentation=_CIFAR,
)

# The same from existing weights: half the rate, and a third of the epochs.
_TUNING = _SMALL.replace(
    name="tuning", epochs=30, learning_rate=0.01, warmup_iterations=20, warmup_rate=0.001, weight_decay=1e-4
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        # He et al. 2015, section 4.2.
        Recipe(
            "he15",
            iterations=64_000,
            boundaries=(32_000, 48_000),
            normalize="pixel",
            augmentation=_CIFAR,
        ),
        # He et al. 2015, section 4.2, for 110 layers and more: the same with a rate of 0.01 at first. They raise it
        # when the training error falls below 80 %, after about 400 steps; here after 400.
        _HE.replace(name="he15_110"),
        # He et al. 2016, appendix: the same for all depths.
        _HE,
        # Huang et al. 2016, section 4, CIFAR. They divide by one standard deviation of all values, too.
        Recipe(
            "huang",
            epochs=500,
            boundaries=(250, 375),
            nesterov=True,
            momentum_form="torch",
            normalize="pixel",
            augmentation=_CIFAR,
        ),
        # Not from a paper: He et al.'s batch, augmentation and normalisation, with 30 epochs instead of 164, and
        # the weight decay of Wide ResNets, which was better than theirs: 87.3 against 85.5 % of 5,000 validation images
        # right, after 12 epochs of resnet20, one seed each.
        Recipe(
            "cifar_short",
            epochs=30,
            schedule="linear",
            warmup_iterations=400,
            warmup_rate=0.01,
            weight_decay=5e-4,
            normalize="pixel",
            augmentation=_CIFAR,
        ),
        # Zagoruyko & Komodakis 2016, section 3, and their train.lua.
        Recipe(
            "wrn",
            epochs=200,
            boundaries=(60, 120, 160),
            factor=0.2,
            nesterov=True,
            momentum_form="torch",
            weight_decay=5e-4,
            augmentation=Augmentation(pad=4, pad_mode="reflect", flip=True),
            drop_remainder=True,
        ),
        # Zagoruyko & Komodakis 2016, section 3, SVHN: pixels divided by 255, no augmentation.
        Recipe(
            "wrn_svhn",
            epochs=160,
            learning_rate=0.01,
            boundaries=(80, 120),
            nesterov=True,
            momentum_form="torch",
            weight_decay=5e-4,
            normalize="unit",
            drop_remainder=True,
        ),
        # fb.resnet.torch: scale and aspect augmentation, 90 epochs, drops every 30; without its lighting noise, and
        # with images resized bilinearly with antialiasing.
        _IMAGENET,
        # Wu et al. 2016's code for ImageNet, without its lighting noise; their rate ends at 1e-6.
        _IMAGENET.replace(name="wu_imagenet", schedule="linear", boundaries=(), decay="weights"),
        # Wu et al. 2016's code, for segmentation: Cityscapes from model A1, with frozen_bn in the network.
        Recipe(
            "wu",
            epochs=204,
            batch_size=16,
            learning_rate=0.0016,
            schedule="held",
            boundaries=(140,),
            factor=0.5,
            weight_decay=5e-4,
            decay="weights",
            bias_rate=2.0,
            augmentation=Augmentation(flip=True, crop=500, scale=(0.7, 1.3)),
            hardest=0.6,
        ),
        # Not from a paper: segmentation from random weights on two CPU cores, for any set, CamVid at 180x240, scenes.
        _SEGMENTATION,
        _SEGMENTATION.replace(
            name="camvid", augmentation=Augmentation(flip=True, crop=(176, 240), scale=(0.75, 1.5), color=0.3)
        ),
        # No flips: most mirrored digits are not digits.
        _SEGMENTATION.replace(
            name="scenes", epochs=40, augmentation=Augmentation(crop=128, scale=(0.7, 1.3), color=0.3)
        ),
        _SMALL,
        _SMALL.replace(name="small_pictures", augmentation=_IMAGENET.augmentation),
        _TUNING,
        _TUNING.replace(name="tuning_pictures", augmentation=_IMAGENET.augmentation),
        # Not from a paper: scikit-learn's 8x8 digits on two CPU cores in minutes.
        Recipe(
            "digits",
            epochs=20,
            batch_size=32,
            schedule="cosine",
            warmup_iterations=40,
            warmup_rate=0.01,
            augmentation=Augmentation(pad=1),
        ),
    )
}


@explained
def get(name: str | Recipe) -> Recipe:
    """Returns a recipe by name; `docs/recipes.md` says which there are, and where they differ from the papers.

    Raises:
        ArgumentError: no recipe has that name.

    Example:
        >>> import keras_resnets as kr
        >>> kr.recipes.get("wrn").boundaries
        (60, 120, 160)
    """
    if isinstance(name, Recipe):
        return name
    if name not in RECIPES:
        raise ArgumentError(f"There is no recipe {name!r}; there are: {', '.join(sorted(RECIPES))}.")
    return RECIPES[name]


# Sets with fewer images to train on than this are not trained by the papers' recipes for CIFAR and ImageNet.
SMALL = 10_000


@explained
def default(
    network: str, data: str, task: str = "classification", examples: int | None = None, tuned: bool = False
) -> str:
    """Returns the name of the recipe that fits a variant and a data set.

    Args:
        network: the variant's name.
        data: the name of the set.
        task: `"classification"` or `"segmentation"`.
        examples: number of images to train on; None if it is not known, for many.
        tuned: whether the training starts from existing weights.

    Example:
        >>> import keras_resnets as kr
        >>> kr.recipes.default("resnet18", "pets", examples=151), kr.recipes.default("resnet56", "cifar10")
        ('small_pictures', 'he15')
    """
    if task == "segmentation":
        return data if data in ("camvid", "scenes") else "segmentation"
    of_pictures = network in imagenet_models()
    if tuned:
        return "tuning_pictures" if of_pictures else "tuning"
    if data == "digits":
        return "digits"
    if examples is not None and examples < SMALL:
        return "small_pictures" if of_pictures else "small"
    if of_pictures:
        return "wu_imagenet" if network.startswith(("resnet38", "wu_")) else "imagenet"
    if network.startswith("wrn_"):
        return "wrn_svhn" if data == "svhn_cropped" else "wrn"
    deep = re.fullmatch(r"(?:resnet|plain)(\d+)(?:bn)?", network)
    return "he16" if network.startswith("preresnet") else "he15_110" if deep and int(deep[1]) >= 110 else "he15"
