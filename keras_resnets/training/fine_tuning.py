"""Trains an existing network further, with the mechanism of `training`."""

from __future__ import annotations

import os

import keras

from keras_resnets.data import Data
from keras_resnets.data.needs import for_network
from keras_resnets.errors import ArgumentError, number, whole_number
from keras_resnets.explaining import explained
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.outputs import check_classifier
from keras_resnets.network.probabilities import are_probabilities
from keras_resnets.network.surgery import copied
from keras_resnets.runs import Run, fingerprint
from keras_resnets.training import places, recipes
from keras_resnets.training.devices import Team
from keras_resnets.training.execution import Execution, check_one_process
from keras_resnets.training.feeding import fed
from keras_resnets.training.fitting import check_recipe, fit
from keras_resnets.training.opening import load_model
from keras_resnets.training.training import is_complete

# The initial learning rate of fine-tuning, as a share of the recipe's.
RATE = 0.1


@explained
def fine_tune(
    model: keras.Model,
    data: Data,
    recipe: str | recipes.Recipe = "digits",
    *,
    out: str | os.PathLike,
    epochs: int,
    rate: float = RATE,
    seed: int = 0,
    verbose: int | str = "auto",
    execution: Execution | None = None,
) -> ResidualNetwork:
    """Trains a trained, edited or adopted network for some more epochs, in a run directory.

    The learning rate starts at a tenth of the recipe's and falls to 0 by a cosine, without a warm-up; all else is as
    in the recipe. As with `keras_resnets.train`, an interrupted training that is started again with the same
    arguments resumes and ends with the same weights, bit for bit; a finished one is opened.

    Args:
        model: a classifier: a `ResidualNetwork`, or a model that `adopt` takes; it is not changed. Weight decay of its
            layers replaces the recipe's.
        data: what `keras_resnets.data.load` gives, with as many classes as the network has outputs.
        recipe: a recipe or its name.
        out: the run directory, as for `train`.
        epochs: length of the training.
        rate: initial learning rate, as a share of the recipe's.
        seed: seed of data order, augmentation and dropout.
        verbose: as for `train`.
        execution: as for `train`; a precision of None keeps the network's.

    Returns:
        The network after the last epoch, with weights of its own and the spec of the one given.

    Raises:
        ArgumentError: an argument breaks its rule, or `out` holds another run.
        OSError: `out` cannot be written, or another process works in it.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> data, model = kr.data.load("digits", batch_size=400), kr.build("resnet8", (8, 8, 1))
        >>> tuned = kr.fine_tune(model, data, out=tempfile.mkdtemp(), epochs=1, verbose=0)
        >>> round(float(tuned.optimizer.learning_rate), 6)
        0.0
    """
    # The network, the shortened recipe and the data in its batches.
    check_one_process(execution, "Fine-tuning")
    network, team = adopt(model), Team.of(execution)
    network.check_trainable()
    recipe = short(recipe, epochs, rate)
    whole_number("seed", seed, 0, 2**31 - 1)
    data = for_network(data, network)
    check_data(network, data)
    data = fed(data, recipe, seed, out=out, normalized=True)
    team.check(data)
    if any(getattr(variable, "regularizer", None) for variable in network.trainable_variables):
        recipe = recipe.replace(weight_decay=0.0)
    check_recipe(recipe, data)

    # A copy is trained, unless the run is finished.
    asked = {
        "network": network.name,
        "weights": fingerprint(network.weights),
        "data": places.asked(data, out),
        "recipe": recipe.to_dict(),
        "seed": seed,
    }
    precision = team.execution.precision
    if precision not in (None, network.dtype_policy.name):
        asked["dtype"] = precision
    with team.scope(), Run(out, asked) as run:
        if not is_complete(run):
            own = copied(network, precision)
            own.class_names = own.class_names or data.class_names
            if data.preprocessing is not None and not data.preprocessing.same_pixels(own.preprocessing):
                own.preprocessing = data.preprocessing  # what it is trained on from now on
            places.note(run, own, data)
            scores = own.predict_on_batch(next(iter(data.test.take(1)))[0][:8])
            keras.utils.set_random_seed(seed)
            logits = not are_probabilities(scores)
            fit(own, data.seeded(seed), recipe, None, run, verbose=verbose, from_logits=logits, team=team)
    return load_model(out)


def short(recipe: str | recipes.Recipe, epochs: int, rate: float = RATE) -> recipes.Recipe:
    """Returns a recipe for fine-tuning: a cosine from a share of its learning rate to 0 in `epochs`.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> from keras_resnets.training.fine_tuning import short
        >>> recipe = short("he15", epochs=5)
        >>> recipe.name, recipe.epochs, round(recipe.learning_rate, 6), recipe.schedule
        ('he15 fine-tuning', 5, 0.01, 'cosine')
    """
    recipe = recipes.get(recipe)
    whole_number("epochs", epochs, 1)
    number("rate", rate, above=0, rule="a positive share of the recipe's learning rate, such as 0.1")
    return recipe.replace(
        name=f"{recipe.name} fine-tuning",
        epochs=epochs,
        iterations=0,
        learning_rate=rate * recipe.learning_rate,
        schedule="cosine",
        boundaries=(),
        warmup_iterations=0,
    )


def check_data(network: ResidualNetwork, data) -> None:
    """Raises `ArgumentError` unless the classifier can be trained on the data."""
    if not isinstance(data, Data) or data.task != "classification":
        raise ArgumentError(
            f"data must be what keras_resnets.data.load gives for classification, to train on its training split; "
            f"got {f'{data.name!r}, for {data.task}' if isinstance(data, Data) else type(data).__name__}."
        )
    check_classifier(network)
    outputs = network.output_shape
    if outputs[1] != data.classes:
        raise ArgumentError(
            f"data must have as many classes as {network.name!r} has outputs, {outputs[-1]}; got {data.name!r} with "
            f"{data.classes}."
        )
