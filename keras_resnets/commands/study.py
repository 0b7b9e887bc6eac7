"""The group `study`: a command for each study of the table in `studies`."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Any

import click

from keras_resnets.commands import checks, output
from keras_resnets.commands.console import has_labels_for, open_beside, open_source, open_to_train, start
from keras_resnets.commands.groups import Group
from keras_resnets.commands.output import Output
from keras_resnets.commands.studies import STUDIES, Entry, Source

# The options that most studies have come last in the help.
_SHARED = {"--data", "--data-dir", "--image-size", "--download", "--weights", "--out", "--json", "--quiet", "--help"}


class Command(click.Command):
    """The command of a study, which says so where an argument is another study's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        name = str(self.name)
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            takers = [other for other, command in study.commands.items() if _has(command, error.option_name)]
            if not takers:
                raise
            raise click.UsageError(
                f"{error.option_name} is not for the study {name!r}, but for {', '.join(takers)}.", ctx
            ) from None
        except click.MissingParameter as error:
            what = error.param.opts[0] if isinstance(error.param, click.Option) else "SOURCE"
            raise click.UsageError(f"{what} is needed for the study {name!r}.", ctx) from None
        if rest and STUDIES[name].source is Source.NONE and not ctx.resilient_parsing:
            raise click.UsageError(f"SOURCE is not for the study {name!r}; got {rest[0]!r}.", ctx)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        for title, shared in (("Options", False), ("Options of most studies", True)):
            shown = [option for option in options if bool(_SHARED & {*option.opts}) == shared]
            if records := [record for option in shown if (record := option.get_help_record(ctx))]:
                with formatter.section(title):
                    formatter.write_dl(records)


def _has(command: click.Command, flag: str) -> bool:
    return any(flag in (*param.opts, *param.secondary_opts) for param in command.params)


class Studies(Group):
    """The group, whose help has the studies in two sections."""

    one = "study"

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, trains in (("Of a trained network", False), ("That train", True)):
            with formatter.section(title):
                formatter.write_dl([(name, e.about) for name, e in STUDIES.items() if e.trains == trains])


@click.group(
    cls=Studies,
    subcommand_metavar="STUDY [SOURCE] ...",
    short_help="Delete, reorder or unskip blocks, follow paths, compare.",
)
def study() -> None:
    """Run a study on SOURCE, and write its table, figure and summary.

    SOURCE is a run directory, a .keras file, keras.applications:ResNet50, or public weights, such as akamaster/resnet56
    (keras-resnets weights lists them). A run directory brings its data along; other sources need --data. Of studies
    that train, SOURCE is a variant or a spec's JSON file; degradation, segment and littwin take none.

    The same command resumes a study that was interrupted; responses and littwin start again.

    \b
    keras-resnets study lesion runs/second
    keras-resnets study lesion --help
    """


_SOURCE_HELP = {
    Source.TRAINED: "SOURCE: a run directory, a .keras file, keras.applications:ResNet50, or public weights.",
    Source.SEVERAL: "SOURCE: two or more run directories, .keras files or public weights. Data: the first one's.",
    Source.VARIANT: "SOURCE: a variant, or a spec's JSON file.",
    Source.VARIANT_OR_DEFAULT: "SOURCE: a variant, or a spec's JSON file; the study has one of its own.",
    Source.NONE: "",
}


def _command(name: str, entry: Entry) -> click.Command:
    """Makes the command of a study."""

    @output.printing
    def run(say: Output, source: str | tuple[str, ...] | None = None, out: Path | None = None, **options: Any) -> None:
        given = {key: value for key, value in options.items() if value not in (None, ())}
        if entry.source is Source.SEVERAL:
            given["beside"] = list(source or ())[1:]
            source = next(iter(source or ()))
            if not given["beside"]:
                raise click.UsageError(f"SOURCE must be two or more networks; got {source!r} alone.")
        _run(name, say, str(source) if source is not None else None, out, given)

    for parameter in reversed(entry.parameters):
        run = parameter(run)
    about = entry.about[0].upper() + entry.about[1:] + "."
    parts = [about, _SOURCE_HELP[entry.source], f"\b\nkeras-resnets study {name} {entry.example}"]
    context = {"allow_extra_args": entry.source is Source.NONE}
    return click.command(name, Command, help="\n\n".join(filter(None, parts)), context_settings=context)(run)


for _name, _entry in STUDIES.items():
    study.add_command(_command(_name, _entry))


def _run(name: str, say: Output, source: str | None, out: Path | None, options: dict[str, Any]) -> None:
    """Runs a study, saves it, and prints its result."""
    from keras_resnets.reports.study import Study, describe

    entry, data = STUDIES[name], options.pop("data", None)
    where = {key: options.pop(key, None) for key in ("data_dir", "image_size")}
    where["download"] = options.pop("download", False)
    if entry.trains:
        run = _trainer(name, source, data, where, options)
    else:
        if not Path(str(source)).is_dir():
            for option, value in (("--out", out), ("--data", data)):
                if value is None:
                    raise click.UsageError(f"{option} is needed unless SOURCE is a run directory.")
        run = _measurer(name, str(source), data, where, options)
        out = out or Path(str(source)) / "studies" / name
    assert out is not None
    Study.check_folder(out)
    checks.out(out)

    start()
    from keras_resnets import studies
    from keras_resnets.runs import usable

    with usable(out):
        result = run(getattr(studies, name), out, say)
        say.written(result.save(out))
    say.result(output.of_study(result), describe(result))


def _trainer(name: str, source: str | None, data: str | None, where: dict[str, Any], options: dict[str, Any]):
    """Checks what a study that trains is given; returns what runs it once Keras is there."""
    entry, fields = STUDIES[name], options.pop("fields", ())
    spec = checks.read_spec(source, fields) if source is not None else None
    asked = options.pop("recipe", None)
    recipe = None if asked is None else checks.read_recipe(asked)
    checks.data(data, task=entry.task, **where)

    def run(function, out: Path, say: Output):
        from keras_resnets.training import recipes
        from keras_resnets.training.feeding import data_for

        defaults, arguments = inspect.signature(function).parameters, []
        if entry.source is not Source.NONE:
            arguments = [spec or checks.read_spec(defaults["network"].default, fields)]
        if entry.task:
            named = data or defaults["data"].default
            network = source or (defaults["network"].default if arguments else "")
            chosen = recipe or recipes.get(recipes.default(network, named, entry.task))
            arguments += [data_for(chosen, named, entry.task, validation=entry.validation, **where), chosen]
            options["out"] = out
        if entry.verbose:
            options["verbose"] = not say.quiet
        return function(*arguments, **options)

    return run


def _measurer(name: str, source: str, data: str | None, where: dict[str, Any], options: dict[str, Any]):
    """Checks what a study of a trained network is given; returns what runs it once Keras is there."""
    beside, weights = options.pop("beside", ()), options.pop("weights")
    asked = options.pop("recipe", None)
    if asked is not None:
        checks.read_recipe(asked)
    for network in (source, *beside):
        checks.source(network)
    checks.data(data, run=source, **where)
    # A study that has this option of its own is told, too.
    examples = options.get("examples") if "examples" in STUDIES[name].options else options.pop("examples", None)

    def run(function, out: Path, say: Output):
        from keras_resnets.data.needs import as_needed
        from keras_resnets.training.feeding import data_of

        if STUDIES[name].tunes:
            network, loaded, chosen, _ = open_to_train(source, data, asked, weights, where)
            return function(network, loaded, chosen, out=out, verbose=say.verbose, **options)
        network, preprocess = open_source(source, weights, where["image_size"])
        others = [
            open_beside(other, weights, where["image_size"], None if preprocess is None else network)
            for other in beside
        ]
        if preprocess is None:
            loaded = as_needed(data_of(source, data, **where), network)
            loaded = loaded.first(examples) if examples else loaded
        else:
            loaded = _unseen(network, preprocess, str(data), examples, **where)
        if STUDIES[name].resumes:
            options["resume"] = out
        if STUDIES[name].source is Source.SEVERAL:
            from keras_resnets.studies.measured import names_of

            called = list(names_of((source, *beside), "SOURCE"))
            if all(label.endswith(".keras") for label in called):
                called = [label.removesuffix(".keras") for label in called]
            together = dict(zip(called, (network, *others), strict=True))
            return function(together, loaded, verbose=say.verbose, **options)
        if others:
            options["beside"] = others
        return function(network, loaded, verbose=say.verbose, **options)

    return run


def _unseen(network, preprocess, data: str, examples: int | None, **where):
    """Returns data that the network was not trained on; with labels if their classes are the network's."""
    from keras_resnets import data as datasets
    from keras_resnets.data.passes import first_of, unlabelled
    from keras_resnets.training.feeding import in_size_of

    load = functools.partial(datasets.load, data, normalize=None, validation=0)
    loaded = in_size_of(network, data, lambda image_size: load(**{**where, "image_size": image_size}))
    unseen = loaded.prepared(preprocess).unseen
    unseen = first_of(unseen, examples) if examples else unseen
    unseen = unseen if has_labels_for(loaded, network) else unlabelled(unseen)
    unseen.name = loaded.name  # for the study's summary and figure
    return unseen
