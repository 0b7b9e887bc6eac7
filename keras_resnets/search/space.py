"""The space of a search: depth is a hyperparameter, and width follows from the budget."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras_tuner

from keras_resnets import data as datasets
from keras_resnets import paths as policies
from keras_resnets.architecture import budget, variants
from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.explaining import explained
from keras_resnets.network.assembly import assemble
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.search.choices import BLOCKS, FREE, LOADING, OF_RECIPE, OF_SPEC, PATHS, UNIT, Range, checked, declare
from keras_resnets.training import fitting, recipes
from keras_resnets.training.feeding import data_for, fed
from keras_resnets.training.recipes import Recipe


@dataclass(frozen=True)
class Plan:
    """The network and training at one point of the space.

    Attributes:
        spec: the network.
        recipe: the training.
        paths: the path policy in its short form, or None for all blocks.
        values: the values of the hyperparameters.
    """

    spec: Spec
    recipe: Recipe
    paths: str | None
    values: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Returns the plan as plain data."""
        return {"spec": self.spec.to_dict(), "recipe": self.recipe.to_dict(), "paths": self.paths}


@explained
class DepthWidth(keras_tuner.HyperModel):
    """Networks of different depth and equal cost: a hypermodel for every tuner of keras-tuner.

    The depth of a network and the kind of its blocks are hyperparameters; the width follows, so that
    every point meets one budget (Wu et al. 2016, section 4 and Table 1, fix the memory of
    activations; Zagoruyko & Komodakis 2016, Table 4, parameters). The space excludes depths at which,
    for some values of the other choices, no width meets the budget (`left_out`), so no trial fails
    because of its size. The first value of each choice is its default.

    Args:
        network: a variant's name or a spec, for the number of stages, the proportions of their widths,
            and everything that is not chosen.
        data: as for `keras_resnets.train`; it sets input shape and classes. Its validation split, a fifth of the
            training split if the data is given by name, scores the trials.
        recipe: a recipe or its name, for everything that is not chosen.
        parameters: the budget in trainable parameters.
        macs: the budget in multiply-adds for one example.
        activations: the budget in elements of all convolutions' outputs for one example, to which the
            memory of a training step is proportional (Wu et al. 2016). Give exactly one of the three.
        tolerance: the share of the budget by which a network may miss it.
        blocks: numbers of blocks in each stage to choose from; for different numbers in the stages, an
            entry is a sequence such as `(3, 4, 6, 3)`.
        epochs: as for `keras_resnets.train`.
        seed: the seed of an oracle's draws, and of the first training of each trial.
        **choices: further hyperparameters, each with the values to choose from: `unit`, as for
            `keras_resnets.budget.with_unit`; `paths`, short forms of path policies, `"all"` for none; a field
            of `Spec` such as `shortcut`, `placement`, `skip` or `dropout`; or a field of `Recipe` such as
            `learning_rate` or `weight_decay`. Numbers that do not change the size of the network may
            be a `Range`.

    Attributes:
        left_out: depths at which no width meets the budget.

    Raises:
        ArgumentError: an argument breaks its rule, or no depth is left.

    Example:
        >>> import keras_resnets as kr, keras_tuner
        >>> space = kr.search.DepthWidth("preresnet20", parameters=50_000, blocks=(1, 2), shortcut=("A", "B"))
        >>> model = space.build(keras_tuner.HyperParameters())
        >>> abs(kr.parameters(model) / 50_000 - 1) <= 0.02
        True
    """

    def __init__(
        self,
        network: str | Spec = "preresnet20",
        data: str | os.PathLike | datasets.Data = "digits",
        recipe: str | Recipe = "digits",
        *,
        parameters: int | None = None,
        macs: int | None = None,
        activations: int | None = None,
        tolerance: float = 0.02,
        blocks: Sequence[int | Sequence[int]] = (1, 2, 3, 5, 9),
        epochs: int | None = None,
        seed: int = 0,
        **choices: Sequence[Any] | Range,
    ):
        super().__init__(name="depth_width")

        # The budget.
        budgets = {"parameters": parameters, "macs": macs, "activations": activations}
        given = {measure: amount for measure, amount in budgets.items() if amount is not None}
        if len(given) != 1:
            raise ArgumentError(
                f"A budget of parameters, macs or activations must be given, and only one; got {given or 'none'}."
            )
        ((self.measure, self.amount),) = given.items()

        # Training, choices and data, and the network as far as it is not chosen.
        self.tolerance, self.seed = tolerance, seed
        self.recipe = recipes.get(recipe)
        self._data = data if isinstance(data, datasets.Data) else data_for(self.recipe, data, validation=0.2)
        self._loaded: dict[str, datasets.Data] = {}
        self.choices: dict[str, Any] = {name: checked(name, values) for name, values in choices.items()}
        first = self.data_for(self.recipe)
        if epochs is not None:
            whole_number("epochs", epochs, 1)
        self.epochs = epochs or self.recipe.total_epochs(first.steps_per_epoch)
        spec = network if isinstance(network, Spec) else variants.spec(network)
        self.template = spec.replace(input_shape=first.input_shape, classes=first.classes)

        # The depths at which every choice can meet the budget.
        all_blocks = [tuple(b) if isinstance(b, list | tuple) else b for b in blocks]
        kept = [number for number in all_blocks if self._fits_budget(number)]
        self.left_out = [number for number in all_blocks if number not in kept]
        if not kept:
            raise ArgumentError(
                f"blocks: none of {all_blocks} leaves a width that meets {self.amount:,} {self.measure} within "
                f"{tolerance:.1%} for all of the other choices. Give another budget, other numbers of blocks, "
                f"or fewer choices."
            )
        self._kept = kept
        uniform = all(isinstance(number, int) for number in kept)
        self.blocks = kept if uniform else [_join(number) for number in kept]

    def _fits_budget(self, blocks) -> bool:
        """Returns whether with these blocks there is a width that meets the budget for all values of other choices."""
        names = [name for name in self.choices if name == UNIT or name in OF_SPEC - FREE]
        for values in itertools.product(*(list(self.choices[name]) for name in names)):
            try:
                self.spec_of({BLOCKS: blocks, **dict(zip(names, values, strict=True))})
            except ArgumentError as error:
                if not str(error).startswith("No width"):
                    raise
                return False
        return True

    def declare_hyperparameters(self, hp) -> None:
        """Adds the hyperparameters to a keras-tuner space."""
        declare(hp, BLOCKS, self.blocks)
        for name, values in self.choices.items():
            declare(hp, name, values)

    def spec_of(self, values: Mapping[str, Any]) -> Spec:
        """Returns the network at a point of the space, by the values of its hyperparameters."""
        blocks = values[BLOCKS]
        if isinstance(blocks, str):
            blocks = tuple(int(number) for number in blocks.split("-"))
        spec = budget.with_blocks(self.template, blocks)
        if values.get(UNIT) is not None:
            spec = budget.with_unit(spec, values[UNIT])
        spec = spec.replace(**{name: value for name, value in values.items() if name in OF_SPEC})
        spec = budget.solve(spec, self.measure, self.amount, self.tolerance)
        widths = "-".join(str(stage.widths[-1]) for stage in spec.stages)
        return spec.replace(name=f"{self.template.name}_b{_join(blocks)}_w{widths}")

    def plan(self, hp) -> Plan:
        """Returns the network, the recipe and the path policy at a point of the space.

        Args:
            hp: `keras_tuner.HyperParameters`.
        """
        self.declare_hyperparameters(hp)
        values = {name: hp.get(name) for name in (BLOCKS, *self.choices)}
        recipe = self.recipe.replace(**{name: value for name, value in values.items() if name in OF_RECIPE})
        paths = values.get(PATHS, "all")
        return Plan(self.spec_of(values), recipe, None if paths == "all" else paths, values)

    @property
    def named(self) -> bool:
        """Whether another process can load the data by its name."""
        return self._data.is_named

    def data_for(self, recipe: Recipe) -> datasets.Data:
        """Returns the data with the batches, normalisation and augmentation of a recipe."""
        key = json.dumps({name: value for name, value in recipe.to_dict().items() if name in LOADING})
        if key not in self._loaded:
            # If the normalisation is a hyperparameter, the recipe's replaces the data's.
            data = self._data.batched(normalize=recipe.normalize) if "normalize" in self.choices else self._data
            self._loaded[key] = fed(data, recipe, self.seed)
        return self._loaded[key]

    def build(self, hp) -> ResidualNetwork:
        """Builds and compiles the network at a point of the space.

        The optimiser is built, so that a tuner that continues a trial (Hyperband) restores its momentum and step, and
        with the step the learning rate.
        """
        plan = self.plan(hp)
        model = assemble(plan.spec)
        steps = self.data_for(plan.recipe).steps_per_epoch
        policy = policies.get(plan.paths)
        if policy is not None:
            policy = policy.replace(seed=self.seed)
        recipe = plan.recipe.lasting(self.epochs, steps)
        fitting.compile_for(model, recipe, steps, policy)
        return model

    def fit(self, hp, model, *args, **kwargs):
        """Trains the network, by default on the space's data; as `keras_tuner.HyperModel.fit`."""
        if not args and "x" not in kwargs:
            data = self.data_for(self.plan(hp).recipe)
            first, last = kwargs.get("initial_epoch", 0), kwargs.get("epochs", self.epochs)
            defaults = {"epochs": last, "validation_data": data.validation, "shuffle": False}
            args = (data.epochs(first, last),)
            kwargs = {**defaults, "steps_per_epoch": data.steps_per_epoch, **kwargs}
        return model.fit(*args, **kwargs)

    def config(self) -> dict[str, Any]:
        """Returns the space as plain data; if it was created with a `Data`, `from_config` needs it again."""
        return {
            "network": self.template.to_dict(),
            "data": self._data.name,
            "recipe": self.recipe.to_dict(),
            self.measure: self.amount,
            "tolerance": self.tolerance,
            "blocks": [list(number) if isinstance(number, tuple) else number for number in self._kept],
            "epochs": self.epochs,
            "seed": self.seed,
            **{name: self._data.options[name] for name in ("data_dir", "image_size", "validation")},
            "download": False,
            "choices": {
                name: dataclasses.asdict(values) if isinstance(values, Range) else list(values)
                for name, values in self.choices.items()
            },
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], data: datasets.Data | None = None) -> DepthWidth:
        """Creates the space of a `config`."""
        config = dict(config)
        recipe = Recipe.from_dict(config.pop("recipe"))
        choices: dict[str, Any] = {
            name: Range(**values) if isinstance(values, dict) else values
            for name, values in config.pop("choices").items()
        }
        network = Spec.from_dict(config.pop("network"))
        options = {name: config.pop(name) for name in ("data_dir", "image_size", "validation", "download")}
        name = config.pop("data")
        return cls(network, data or data_for(recipe, name, **options), recipe, **config, **choices)


def _join(blocks) -> str:
    return str(blocks) if isinstance(blocks, int) else "-".join(map(str, blocks))
