"""The table of studies for the shell, from which `study` makes its commands: what each takes, its help, an example."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click

from keras_resnets.commands import console, names
from keras_resnets.commands.values import SEED, Listed, Whole


class Source(enum.Enum):
    """What the argument SOURCE of a study is."""

    TRAINED = "a trained network, which is measured"
    SEVERAL = "two or more trained networks, which are measured"
    VARIANT = "a variant to train"
    VARIANT_OR_DEFAULT = "a variant to train; the study has a default"
    NONE = "not taken"


@dataclass(frozen=True)
class Entry:
    """How the shell runs one study, the function of that name in `keras_resnets.studies`.

    Attributes:
        about: what it does, for the list of studies and its own help.
        source: what SOURCE is.
        example: the arguments of an example.
        options: those of `OPTIONS` that are passed to the function, each with its help if another is needed. Those for
            SOURCE and for the data follow from `source` and `task`.
        task: of the data; None for a study that takes no data.
        validation: the share of the training split that a study that trains holds out, or `"test"`.
        verbose: whether a study that trains is to print a line for each network.
        resumes: whether a study of a trained network keeps finished batches to resume from.
        tunes: whether a study of a trained network trains it further, by a recipe, below its folder.
    """

    about: str
    source: Source
    example: str
    options: dict[str, str] = field(default_factory=dict)
    task: str | None = "classification"
    validation: float | str = 0.1
    verbose: bool = True
    resumes: bool = True
    tunes: bool = False

    @property
    def trains(self) -> bool:
        """Whether it trains networks, and is not given one."""
        return self.source not in (Source.TRAINED, Source.SEVERAL)

    @property
    def parameters(self) -> list[Callable[[Any], Any]]:
        """The decorators that give a command the arguments and options of this study."""
        own = [OPTIONS[name](help=words) if words else OPTIONS[name]() for name, words in self.options.items()]
        if not self.trains:
            own += [] if "examples" in self.options else [OPTIONS["examples"]()]
            own += [console.recipe(help="Of the fine-tuning; by default that of the run.")] if self.tunes else []
            out = _out(required=self.source is Source.SEVERAL)
            return [_SOURCES[self.source], *own, console.data_options, console.weights, out]
        source = [] if self.source is Source.NONE else [_SOURCES[self.source]]
        fields = [console.fields(help="Replace a field of the spec.")] if source else []
        data = [console.recipe(help="As for train."), console.data_options] if self.task else []
        return [*source, *own, *fields, *data, _out(required=True)]


# The options that studies have of their own, by the name of the function's argument.
OPTIONS = {
    "beside": partial(
        click.option, "--beside", multiple=True, metavar="SOURCE", help="Another network for the figure."
    ),
    "most": partial(click.option, "--most", type=Whole(), help="The largest number of blocks."),
    "draws": partial(click.option, "--draws", type=Whole(), help="Random draws for each number of blocks."),
    "seed": partial(click.option, "--seed", type=SEED, help="Seed of the first training."),
    "examples": partial(click.option, "--examples", type=Whole(), help="Measure on at most this many examples."),
    "epochs": partial(click.option, "--epochs", type=Whole(0), help="Length of each training."),
    "seeds": partial(click.option, "--seeds", type=Whole(), help="Trainings of each kind."),
    "depths": partial(click.option, "--depths", type=Listed(int), metavar="N,...", help="Layers of the networks."),
    "families": partial(
        click.option, "--families", type=Listed(str), metavar="NAME,...", help="plain, resnet or preresnet."
    ),
    "arms": partial(click.option, "--arms", type=Listed(str), metavar="ARM,...", help="What is compared."),
    "parameters": partial(
        click.option, "--budget-params", "parameters", type=Whole(), help="Parameters of each network."
    ),
    "macs": partial(
        click.option, "--budget-macs", "macs", type=Whole(), help="Multiply-adds of each network for one image."
    ),
    "activations": partial(
        click.option, "--budget-memory", "activations", type=Whole(), help="Elements of convolutions' outputs."
    ),
    "full": partial(
        click.option, "--full/--slim", default=None, help="Whether to train the networks at their full width."
    ),
    "blocks": partial(click.option, "--blocks", type=Whole(), help="Number of blocks to train in each batch."),
    "length": partial(click.option, "--length", type=float, help="Effective path length, half of --blocks."),
    "rescale": partial(
        click.option, "--rescale/--no-rescale", default=None, help="Whether to scale branches after training."
    ),
    "survivals": partial(
        click.option, "--survival", "survivals", multiple=True, type=float, help="Survival of the last block."
    ),
    "decays": partial(click.option, "--decay", "decays", multiple=True, help="linear or uniform."),
    "lesion": partial(click.option, "--lesion/--no-lesion", default=None, help="Whether to delete blocks afterwards."),
}
_SOURCES = {
    Source.TRAINED: click.argument("source", shell_complete=names.weights),
    Source.SEVERAL: click.argument("source", nargs=-1, required=True, shell_complete=names.weights),
    Source.VARIANT: click.argument("source", shell_complete=names.spec),
    Source.VARIANT_OR_DEFAULT: click.argument("source", required=False, shell_complete=names.spec),
}


def _out(*, required: bool) -> Callable[[Any], Any]:
    where = "Where to write." if required else "Where to write; by default in the run directory."
    return click.option("--out", required=required, type=click.Path(path_type=Path), help=where)


_SEEDS = {"seeds": "", "epochs": "", "seed": ""}
_DRAWS = {"draws": "", "seed": "Seed of the draws."}

# A new study is an entry here and, if it has any of its own, its options above.
STUDIES = {
    "lesion": Entry(
        "delete each block in turn", Source.TRAINED, "runs/second --beside runs/plain --out runs/lesion", {"beside": ""}
    ),
    "unskip": Entry("remove each skip in turn, and one after the other", Source.TRAINED, "runs/second"),
    "delete": Entry(
        "delete several blocks at once", Source.TRAINED, "runs/second --most 10 --draws 20", {"most": "", **_DRAWS}
    ),
    "reorder": Entry("exchange blocks", Source.TRAINED, "runs/second --draws 20", {"most": "", **_DRAWS}),
    "responses": Entry(
        "how strongly each layer responds",
        Source.TRAINED,
        "runs/second --beside runs/plain",
        {"beside": ""},
        resumes=False,
    ),
    "paths": Entry(
        "the gradient by length of path",
        Source.TRAINED,
        "runs/second --draws 1000",
        {"draws": "Random draws for each length.", "seed": "Seed of the draws.", "examples": ""},
    ),
    "cancellation": Entry(
        "how far paths cancel in several networks, such as those of one training",
        Source.SEVERAL,
        "runs/first runs/second --draws 1000 --out runs/cancellation",
        {"draws": "Random draws for each length.", "seed": "Seed of the draws.", "examples": ""},
    ),
    "recovery": Entry(
        "remove a skip, and let batch-norm and training recover",
        Source.TRAINED,
        "runs/second --blocks 4 --epochs 1",
        {
            "blocks": "How many blocks to take, evenly spread.",
            "epochs": "Length of the fine-tuning; 0 for none.",
            "seed": "Seed of the fine-tuning.",
            "examples": "",
        },
        resumes=False,
        tunes=True,
    ),
    "degradation": Entry(
        "plain and residual networks, by depth",
        Source.NONE,
        "--depths 20,56 --seeds 3 --out runs/degradation",
        {"depths": "", "families": "", **_SEEDS},
        validation="test",
    ),
    "shortcuts": Entry(
        "other shortcuts, and shortcuts that scale, gate or drop",
        Source.VARIANT_OR_DEFAULT,
        "resnet20 --arms C,none,gate:-6 --out runs/shortcuts",
        {"arms": "Such as B,gate:-6.", **_SEEDS},
    ),
    "activation": Entry(
        "batch-norm and ReLU in other places",
        Source.VARIANT_OR_DEFAULT,
        "resnet20 --arms post,pre --out runs/activation",
        {"arms": "Placements, such as post,pre.", **_SEEDS},
    ),
    "width_depth": Entry(
        "deeper or wider, at an equal budget",
        Source.VARIANT_OR_DEFAULT,
        "preresnet20 --budget-params 20000 --out runs/width_depth",
        {"depths": "Blocks in each stage.", "parameters": "", "macs": "", "activations": "", **_SEEDS},
    ),
    "segment": Entry(
        "deep and dilated, or shallow and wide, for segmentation",
        Source.NONE,
        "--slim --seeds 1 --out runs/segment",
        {"macs": "", "full": "", **_SEEDS},
        task="segmentation",
    ),
    "effective": Entry(
        "train a fixed number of blocks per batch, against all",
        Source.VARIANT,
        "preresnet20 --blocks 4 --out runs/effective",
        {"blocks": "", "length": "", "rescale": "", **_SEEDS},
    ),
    "survival": Entry(
        "train with stochastic depth, against without",
        Source.VARIANT,
        "preresnet20 --survival 0.5 --out runs/survival",
        {"survivals": "", "decays": "", "lesion": "", **_SEEDS},
    ),
    # Of a single training, Keras itself draws the progress.
    "dynamics": Entry(
        "train, and follow the network's effective depth",
        Source.VARIANT,
        "preresnet20 --epochs 20 --out runs/dynamics",
        {"epochs": "Length of the training.", "seed": "Seed of the training.", "examples": ""},
        verbose=False,
    ),
    "littwin": Entry(
        "effective depth of a toy network, with and without batch-norm",
        Source.NONE,
        "--seeds 3 --out runs/littwin",
        {"seeds": "", "seed": ""},
        task=None,
        verbose=False,
    ),
}
