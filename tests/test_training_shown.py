"""What TensorBoard shows of a training beside its curves, against what was asked for."""

import dataclasses

import pytest
from helpers.board import hyperparameters, read, row_name, table, text

import keras_resnets as kr
from keras_resnets.training.curves import Curves
from keras_resnets.training.shown import hyperparameters as of_training
from keras_resnets.training.shown import unit_of

RECIPE = kr.recipes.get("digits").replace(epochs=3, learning_rate=0.03, bias_rate=2.0)
ASKED = {"seed": 5, "paths": {"class_name": "FixedSize", "config": {"blocks": 2, "seed": 5, "rescale": True}}}


@pytest.fixture(scope="module")
def begun(digits, tmp_path_factory):
    logs = tmp_path_factory.mktemp("run") / "logs"
    stages = (kr.Stage(1, (4, 4)), kr.Stage(2, (4, 4, 16), (1, 3, 1), stride=2))
    spec = kr.Spec("shown", stages, (8, 8, 1), 10, stem_width=4, placement="pre", dropout=0.25)
    curves, model = Curves(logs, 3), kr.build(spec)
    for _ in range(2):  # a training that is started again in its first epoch replaces what it wrote
        curves.begin(model, digits, RECIPE, ASKED)
    curves.end({"epochs": 3, "test_examples": 64, "test_accuracy": 0.75, "test_loss": 0.5, "best_epoch": 2})
    return logs, spec


@pytest.mark.backends
def test_hyperparameters_are_those_of_recipe_spec_and_data(begun):
    logs, spec = begun
    values, costs = hyperparameters(read(logs)), kr.budget.costs(spec)
    for name in ("algorithm", "learning_rate", "schedule", "momentum", "weight_decay", "label_smoothing", "bias_rate"):
        assert values[name] == getattr(RECIPE, name)
    for name in ("placement", "shortcut", "skip", "dropout"):
        assert values[name] == getattr(spec, name)
    assert (values["depth"], values["width"], values["blocks"], values["unit"]) == (10, 16, "1-2", "basic bottleneck")
    assert (values["parameters"], values["macs"], values["memory"]) == tuple(costs.values())
    assert (values["data"], values["image"], values["classes"], values["examples"]) == ("digits", "8x8x1", 10, 256)
    assert (values["recipe"], values["epochs"], values["batch_size"]) == ("digits", 3, 32)
    assert (values["paths"], values["weights"], values["precision"]) == ("FixedSize 2", "random", "float32")
    assert values["seed"] == 5
    assert "factor" not in values  # at its default
    assert all(len(value) < 40 for value in values.values() if isinstance(value, str))
    assert row_name(read(logs)).endswith(logs.parent.name)


@pytest.mark.backends
def test_texts_are_the_recipe_the_network_and_the_data(begun):
    logs, spec = begun
    events = read(logs)
    recipe, network, data, run = (
        dict(table(text(events, f"about/{name}"))[1:]) for name in ("recipe", "network", "data", "run")
    )
    plain = {name: value for name, value in dataclasses.asdict(RECIPE).items() if isinstance(value, str | int)}
    assert plain.items() >= {name: type(plain[name])(recipe[name]) for name in ("name", "batch_size", "epochs")}.items()
    assert float(recipe["learning_rate"]) == 0.03
    assert recipe["augmentation.pad"] == "1"
    assert (network["name"], network["placement"]) == (spec.name, "pre")
    assert (data["examples.train"], data["validation"]) == ("256", "0.3")
    assert run["seed"] == "5"


@pytest.mark.backends
def test_the_graph_has_a_box_for_each_stage_block_and_branch(begun):
    logs, _ = begun
    nodes = {node.name: node for node in read(logs).Graph().node}
    conv = nodes["stage2/stage2_block2/residual/conv2"]
    assert conv.op == "Conv2D"
    assert conv.attr["kernel_size"].s == b"(3, 3)"
    assert [size.size for size in conv.attr["_output_shapes"].list.shape[0].dim] == [-1, 4, 4, 4]
    total = nodes["stage2/stage2_block2/sum"]
    assert list(total.input) == ["stage2/stage2_block2/residual/conv3", "stage2/stage2_block2/shortcut"]
    assert list(nodes["stage2/stage2_block2/shortcut"].input) == ["stage2/stage2_block1/sum"]
    assert list(nodes["stem/conv"].input) == ["input"]
    assert {name.split("/")[0] for name in nodes} == {"input", "stem", "stage1", "stage2", "head"}
    read_ones = {name for node in nodes.values() for name in node.input}
    assert read_ones == set(nodes) - {"head/predictions"}  # all but the output go somewhere


@pytest.mark.backends
def test_the_scores_on_the_test_split_are_a_point_at_the_last_epoch(begun):
    logs, _ = begun
    events = read(logs / "test")
    for name, value in (("epoch_accuracy", 0.75), ("epoch_loss", 0.5)):
        assert [(point.step, point.value) for point in events.Scalars(name)] == [(2, value)]
    assert events.Tags()["scalars"] == ["epoch_accuracy", "epoch_loss"]


@pytest.mark.backends
@pytest.mark.parametrize("unit", ["basic", "bottleneck", "B(3,1)"])
def test_units_are_named_as_a_search_takes_them(unit):
    spec = kr.budget.with_unit(kr.variants.spec("resnet20"), unit)
    assert {unit_of(stage) for stage in spec.stages} == {unit}


@pytest.mark.backends
def test_weights_are_told_by_name_or_fingerprint(digits):
    model = kr.build("resnet8", (8, 8, 1), classes=10)
    for asked, told in (
        (None, "random"),
        ({"name": "/a/b/last.keras", "fingerprint": "12", "head": "kept"}, "last.keras"),  # as `train` writes them
        ("0123456789abcdef", "given, 01234567"),  # as `fine_tune` does
    ):
        assert of_training(model, digits, RECIPE, {"weights": asked})["weights"] == told
