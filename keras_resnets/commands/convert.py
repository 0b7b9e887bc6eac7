"""The subcommand `convert`: turns public weights into a network of this package."""

from __future__ import annotations

import dataclasses

import click

from keras_resnets.commands import checks, console, names, output
from keras_resnets.commands.output import Output
from keras_resnets.commands.values import Whole
from keras_resnets.errors import ArgumentError


@click.command(short_help="Turn a public weight file into a .keras file.")
@click.argument("file", shell_complete=names.weights)
@click.argument("model", required=False, shell_complete=names.variant)
@console.fields(help="Replace a field of the spec.")
@click.option("--image-size", type=Whole(), help="Side of the network's input; the variant's by default.")
@click.option("--prefix", help="Beginning of the names of the network that is meant, where FILE holds several.")
@click.option("--no-top", is_flag=True, help="Leave the classifier out.")
@click.option("--list", "listed", is_flag=True, help="Print every variable and where it comes from.")
@console.seed
@console.out
@output.printing
def convert(file, model, fields, image_size, prefix, no_top, listed, seed, out, say: Output) -> None:
    """Load the public weights in FILE, or of that name, into a network and write it as a .keras file.

    FILE may be from keras.applications, torchvision, timm or transformers, Wu et al. 2016's ResNet-38 or its ports to
    torch, or of the CIFAR networks of akamaster, chenyaofo, kuangliu, bearpaw, weiaicunzai, osmr (pytorchcv) and
    Zagoruyko. MODEL is the variant, needed where the file does not identify it: for ResNet-38 resnet38, resnet38_a1 or
    resnet38_a2. A name such as akamaster/resnet56 is one that keras-resnets weights lists; its file is fetched.

    The command prints what was matched and, where an independent computation exists, how far the logits are from it.
    """
    if out.suffix != ".keras":
        raise ArgumentError(f"--out must end in .keras; got {str(out)!r}.")
    checks.out(out, is_file=True)
    overrides = dict(checks.parse_field(text) for text in fields)
    if model is not None:
        checks.read_spec(model, fields)
    from keras_resnets import runs, weights

    shape = (image_size, image_size, 3) if image_size else None
    with weights.open_archive(file) as opened:
        console.start()
        from keras_resnets.network.cost import parameters

        archive = opened if prefix is None else opened.under(prefix)
        network = weights.network(archive, model, include_top=False if no_top else None, input_shape=shape, **overrides)
        plan = weights.plan(network, archive)
        count, parity = parameters(network), weights.parity(network, archive, seed=seed)
    with runs.whole(out) as part:
        network.save(part)
    say.result(
        {
            "file": plan.file,
            "format": plan.format,
            "network": network.name,
            "parameters": count,
            "preprocessing": plan.preprocessing and plan.preprocessing.to_dict(),
            "variables": [dataclasses.asdict(row) for row in plan.rows],
            "unused": plan.unused,
            "left": plan.left,
            "notes": plan.notes,
            "parity": dataclasses.asdict(parity),
            "written": [str(out)],
        },
        str(plan) if listed else "\n".join([f"{plan.file}: {plan.format}", plan.summary, *plan.notes]),
        f"network: {network.name}, {_describe_parameters(network, count)}",
        f"preprocessing: {_describe_preprocessing(plan.preprocessing)}",
        str(parity),
    )
    say.written([out])


def _describe_parameters(network, count: int) -> str:
    """Returns the parameter count, compared with the one that the spec gives."""
    from keras_resnets.architecture import counting

    if network.spec is None or network.chain[-1].name != "head" or len(network.output_shape) != 2:
        return f"{count:,} parameters"
    height, width, channels = network.spec.input_shape
    expected = counting.count(network.spec, (height or 256, width or 256, channels)).parameters
    agrees = "as counted from its spec" if count == expected else f"but its spec counts {expected:,}"
    return f"{count:,} parameters, {agrees}"


def _describe_preprocessing(preprocessing) -> str:
    """Returns the normalisation of raw pixels as a formula."""
    if preprocessing is None:
        return "not known"
    order = preprocessing.channels.upper()
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (preprocessing.mean, preprocessing.std))
    return f"({order} from 0 to 255 - [{mean}]) / [{std}]"
