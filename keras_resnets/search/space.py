"""The space that is searched: depth is chosen, width follows from the budget."""

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
from keras_resnets.network.assembly import assemble
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.search.choices import BLOCKS, FREE, LOADING, OF_RECIPE, OF_SPEC, PATHS, UNIT, Range, checked, declare
from keras_resnets.training import recipes, training
from keras_resnets.training.feeding import data_for, fed
from keras_resnets.training.recipes import Recipe


@dataclass(frozen=True)
class Plan:
    """What one point of the space means.

    Attributes:
        spec: the network.
        recipe: how it is trained.
        paths: the path policy in its short form, or None for all blocks.
        values: the choices that led to it.
    """

    spec: Spec
    recipe: Recipe
    paths: str | None
    values: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Returns the plan as plain data."""
        return {"spec": self.spec.to_dict(), "recipe": self.recipe.to_dict(), "paths": self.paths}


class DepthWidth(keras_tuner.HyperModel):
    """Networks of different depth that all cost the same: a hypermodel for every tuner of keras-tuner.

    How deep a network is and what its blocks are like are hyperparameters; how wide it is follows, so
    that every point meets one budget (Wu et al. 2016, section 4 and Table 1, hold the memory of
    activations; Zagoruyko & Komodakis 2016, Table 4, parameters). Depths at which no width meets the
    budget, with whatever else may be chosen, are left out of the space (`left_out`), so no trial
    fails for its size. The first value of each choice is where the space begins.

    Args:
        network: a variant's name or a spec, for the number of stages, the proportions of their widths,
            and all that is not chosen.
        data: as for `keras_resnets.train`; it sets input shape and classes, and trials are scored on what it holds out
            of the training split: of a set given by name, a fifth.
        recipe: a recipe or its name, for all that is not chosen.
        parameters: the budget in trainable parameters.
        macs: the budget in multiply-adds for one example.
        activations: the budget in elements of all convolutions' outputs for one example, to which the
            memory of a training step is proportional (Wu et al. 2016). One of the three is given.
        tolerance: share of the budget by which a network may miss it.
        blocks: blocks of each stage to choose from; an entry for different numbers in the stages is
            a sequence such as `(3, 4, 6, 3)`.
        epochs: as for `keras_resnets.train`.
        seed: of an oracle's draws, and the first of the trainings'.
        **choices: further hyperparameters, each with the values to choose from: `unit`, as for
            `keras_resnets.budget.with_unit`; `paths`, short forms of path policies, `"all"` for none; a field
            of `Spec` such as `shortcut`, `placement`, `skip` or `dropout`; or a field of `Recipe` such as
            `learning_rate` or `weight_decay`. Numbers that do not change the size of the network may
            be a `Range`.

    Attributes:
        left_out: depths for which there is no such width.

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
        given = {"parameters": parameters, "macs": macs, "activations": activations}
        named = {measure: amount for measure, amount in given.items() if amount is not None}
        if len(named) != 1:
            raise ArgumentError(
                f"A budget of parameters, macs or activations must be given, and only one; got {named or 'none'}."
            )
        ((self.measure, self.amount),) = named.items()
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
        wanted = [tuple(b) if isinstance(b, list | tuple) else b for b in blocks]
        kept = [number for number in wanted if self._meets(number)]
        self.left_out = [number for number in wanted if number not in kept]
        if not kept:
            raise ArgumentError(
                f"blocks: none of {wanted} leaves a width that meets {self.amount:,} {self.measure} within "
                f"{tolerance:.1%} for all of the other choices. Give another budget, other numbers of blocks, "
                f"or fewer choices."
            )
        self._kept = kept
        uniform = all(isinstance(number, int) for number in kept)
        self.blocks = kept if uniform else [_text(number) for number in kept]

    def _meets(self, blocks) -> bool:
        """Whether a width meets the budget with so many blocks, whatever else is chosen."""
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
        return spec.replace(name=f"{self.template.name}_b{_text(blocks)}_w{widths}")

    def plan(self, hp) -> Plan:
        """Returns what a point of the space means: network, recipe and path policy.

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
        """Whether another process can load the data, by its name."""
        return self._data.is_named

    def data_for(self, recipe: Recipe) -> datasets.Data:
        """Returns the data as a recipe has it."""
        key = json.dumps({name: value for name, value in recipe.to_dict().items() if name in LOADING})
        if key not in self._loaded:
            # What is searched is also how images are normalised.
            data = self._data.batched(normalize=recipe.normalize) if "normalize" in self.choices else self._data
            self._loaded[key] = fed(data, recipe, self.seed)
        return self._loaded[key]

    def build(self, hp) -> ResidualNetwork:
        """Builds and compiles the network at a point of the space.

        Its optimiser has its state, so that a tuner that goes on with a trial (Hyperband) gives it back
        momentum and step, and with the step the learning rate.
        """
        plan = self.plan(hp)
        model = assemble(plan.spec)
        steps = self.data_for(plan.recipe).steps_per_epoch
        policy = policies.get(plan.paths)
        if policy is not None:
            policy = policy.replace(seed=self.seed)
        recipe = plan.recipe.lasting(self.epochs, steps)
        training.compile_for(model, recipe, steps, policy)
        return model

    def fit(self, hp, model, *args, **kwargs):
        """Trains the network on the space's data, if no other is given; as `keras_tuner.HyperModel.fit`."""
        if not args and "x" not in kwargs:
            data = self.data_for(self.plan(hp).recipe)
            first, last = kwargs.get("initial_epoch", 0), kwargs.get("epochs", self.epochs)
            ours = {"epochs": last, "validation_data": data.validation, "shuffle": False}
            args = (data.epochs(first, last),)
            kwargs = {**ours, "steps_per_epoch": data.steps_per_epoch, **kwargs}
        return model.fit(*args, **kwargs)

    def config(self) -> dict[str, Any]:
        """Returns the space as plain data; data given as `Data` has to be given again to `from_config`."""
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
        """Inverse of `config`."""
        config = dict(config)
        recipe = Recipe.from_dict(config.pop("recipe"))
        choices: dict[str, Any] = {
            name: Range(**values) if isinstance(values, dict) else values
            for name, values in config.pop("choices").items()
        }
        network = Spec.from_dict(config.pop("network"))
        where = {name: config.pop(name) for name in ("data_dir", "image_size", "validation", "download")}
        name = config.pop("data")
        return cls(network, data or data_for(recipe, name, **where), recipe, **config, **choices)


def _text(blocks) -> str:
    return str(blocks) if isinstance(blocks, int) else "-".join(map(str, blocks))
