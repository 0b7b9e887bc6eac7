"""The subcommand `convert`: somebody else's weights as a network of ours."""

from __future__ import annotations

from pathlib import Path

import click

from keras_resnets.commands import console
from keras_resnets.errors import ArgumentError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("model", required=False)
@click.option("--set", "fields", multiple=True, metavar="FIELD=VALUE", help="Replace a field of the spec.")
@click.option("--image-size", type=int, help="Side of the network's input; the variant's by default.")
@click.option("--no-top", is_flag=True, help="Leave the classifier out.")
@click.option("--list", "listed", is_flag=True, help="Print every variable and where it comes from.")
@console.seed
@console.out
def convert(file, model, fields, image_size, no_top, listed, seed, out) -> None:
    """Write a network filled from FILE, public weights, as a .keras file.

    FILE may be of keras.applications, torchvision or timm, Wu et al. 2016's ResNet-38 or its ports to torch,
    akamaster's CIFAR networks or Zagoruyko's wide ones. MODEL is the variant, to be given where the file does not tell
    it: for ResNet-38 resnet38, resnet38_a1 or resnet38_a2.

    What was matched is told, and how far the logits are from an independent computation, where there is one.
    """
    if out.suffix != ".keras":
        raise ArgumentError(f"--out must end in .keras; got {str(out)!r}.")
    console.start()
    from keras_resnets import runs, weights
    from keras_resnets.network.cost import parameters

    overrides = dict(console.field(text) for text in fields)
    shape = (image_size, image_size, 3) if image_size else None
    with weights.open_archive(file) as archive:
        network = weights.network(archive, model, include_top=False if no_top else None, input_shape=shape, **overrides)
        plan = weights.plan(network, archive)
        click.echo(str(plan) if listed else f"{plan.file}: {plan.format}\n{plan.summary}")
        click.echo(f"network: {network.name}, {_counted(network, parameters(network))}")
        click.echo(f"preprocessing: {_told(plan.preprocessing)}")
        click.echo(str(weights.parity(network, archive, seed=seed)))
    with runs.whole(out) as part:
        network.save(part)
    console.tell([out])


def _counted(network, found: int) -> str:
    from keras_resnets.architecture import counting

    if network.spec is None or network.chain[-1].name != "head" or len(network.output_shape) != 2:
        return f"{found:,} parameters"
    height, width, channels = network.spec.input_shape
    expected = counting.count(network.spec, (height or 256, width or 256, channels)).parameters
    agrees = "as counted from its spec" if found == expected else f"but its spec counts {expected:,}"
    return f"{found:,} parameters, {agrees}"


def _told(preprocessing) -> str:
    if preprocessing is None:
        return "not known"
    order = preprocessing.channels.upper()
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (preprocessing.mean, preprocessing.std))
    return f"({order} from 0 to 255 - [{mean}]) / [{std}]"
