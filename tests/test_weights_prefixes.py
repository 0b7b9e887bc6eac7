"""Names with prefixes: what trainers add is seen through; of several networks in a file, the caller says which."""

import numpy as np
import pytest
from helpers import weight_references as reference
from helpers.family_references import NETWORKS
from helpers.weight_references import Held
from safetensors.numpy import save_file

import keras_resnets as kr
from keras_resnets.commands.cli import main
from keras_resnets.errors import ArgumentError

ARRAYS = reference.draw_torchvision((1, 1, 1, 1), 2)


def under(prefix, change=0):
    return {prefix + name: np.asarray(array + array.dtype.type(change)) for name, array in ARRAYS.items()}


@pytest.mark.parametrize("prefix", ["module.", "state_dict.module.", "model.", "net.module.", "encoder_q."])
def test_wrappers_are_stripped(prefix):
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    wrapped = {prefix + name: array for name, array in arrays.items()}
    wrapped["optimizer.state.0.momentum_buffer"] = np.zeros(3, "float32")
    archive, x = Held("torch", wrapped), reference.images(1, 3, 32, 32)
    model = reference.logits(archive, input_shape=(32, 32, 3))
    reference.close(reference.scores(model, x), reference.torchvision(arrays, x))
    assert "optimizer.state.0.momentum_buffer" in kr.weights.plan(model, archive).left


def test_a_network_within_another_is_found():
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    for prefix in ("_orig_mod.", "module._orig_mod.", "encoder.", "module.encoder_q.", "model_ema."):
        archive = Held("torch", {prefix + name: array for name, array in arrays.items()} | {"queue": arrays["fc.bias"]})
        plan = kr.weights.plan(kr.weights.network(archive, input_shape=(32, 32, 3)), archive)
        assert plan.is_complete
        assert "queue" in plan.left


@pytest.mark.parametrize(
    ("prefixes", "wanted", "meant"),
    [
        (("state_dict.", "state_dict_ema."), "state_dict_ema", "state_dict_ema."),
        (("model.", "model_ema.module."), "model_ema.", "model_ema.module."),
        (("model.", "model_ema.module."), "model", "model."),
        (("", "teacher."), "", ""),
        (("", "teacher."), "teacher", "teacher."),
    ],
)
def test_of_several_networks_the_caller_says_which(prefixes, wanted, meant):
    archive = Held("torch", {**under(prefixes[0], 1), **under(prefixes[1], 2)})
    with pytest.raises(
        ArgumentError, match=r"holds 2 networks, under .* and .*; say which one is meant: .*prefix="
    ) as e:
        kr.weights.network(archive)
    for prefix in prefixes:
        assert repr(prefix) in str(e.value) if prefix else "no prefix" in str(e.value)
    network = kr.weights.network(archive, input_shape=(32, 32, 3), prefix=wanted)
    kernel = ARRAYS["conv1.weight"].transpose(2, 3, 1, 0) + np.float32(1 + prefixes.index(meant))
    np.testing.assert_array_equal(reference.values(network)[0], kernel)
    other = next(prefix for prefix in prefixes if prefix != meant)
    again = kr.build(network.spec)
    plan = kr.weights.load(again, archive, prefix=wanted)
    assert {f"{other}conv1.weight"} <= set(plan.left)
    assert kr.weights.plan(again, archive, prefix=wanted) == plan
    np.testing.assert_array_equal(reference.values(again)[0], kernel)


def test_a_wrong_prefix_is_told_what_there_is():
    archive = Held("torch", under("state_dict."))
    with pytest.raises(
        ArgumentError, match=r"prefix must be .*; got 'ema', and it holds a network under 'state_dict.'"
    ):
        kr.weights.network(archive, prefix="ema")
    with pytest.raises(ArgumentError, match=r"got 'state', and it holds 2 networks|holds 2 networks"):
        kr.weights.network(Held("torch", {**under("state_dict."), **under("state.")}), prefix="stat")
    with pytest.raises(ArgumentError, match="holds no network of a known family"):
        kr.weights.network(Held("torch", {"a.weight": ARRAYS["fc.weight"]}), prefix="a.")
    with pytest.raises(ArgumentError, match=r"prefix must be a text such as .*; got 3"):
        kr.weights.network(archive, prefix=3)
    adopted = kr.delete(kr.build("resnet8", (8, 8, 1), 2), "stage1_block1", copy=True)
    with pytest.raises(ArgumentError, match="prefix cannot be given for"):
        kr.weights.load(adopted, Held("keras", {"x/kernel": ARRAYS["fc.weight"]}), prefix="x")


def test_networks_of_two_families_in_a_file():
    other = {f"student.{name}": array for name, array in NETWORKS["chenyaofo"].draw(1, 2).items()}
    archive = Held("torch", {**under("teacher."), **other})
    with pytest.raises(ArgumentError, match=r"2 networks, under 'student.' and 'teacher.'"):
        kr.weights.network(archive)
    network = kr.weights.network(archive, prefix="student")
    assert kr.weights.plan(network, archive, prefix="student").format.startswith("chenyaofo")


def test_the_command_takes_a_prefix(tmp_path, capsys):
    file = tmp_path / "both.safetensors"
    save_file({**under("state_dict.", 1), **under("state_dict_ema.", 2)}, file)
    arguments = ["convert", str(file), "--image-size", "32", "--out", str(tmp_path / "net.keras")]
    assert main(arguments) == 2
    assert "prefix='state_dict_ema.'" in capsys.readouterr().err
    assert main([*arguments, "--prefix", "state_dict_ema"]) == 0
    kernel = ARRAYS["conv1.weight"].transpose(2, 3, 1, 0) + np.float32(2)
    np.testing.assert_array_equal(kr.load_model(tmp_path / "net.keras").get_weights()[0], kernel)


def test_heads_of_others():
    # As in MoCo v2, and behind a dropout: dense layers of which nothing says what stands between them.
    head = {"fc.0.weight": reference.zeros(16, 16), "fc.2.weight": reference.zeros(3, 16)}
    arrays = {name: array for name, array in ARRAYS.items() if not name.startswith("fc.")} | head
    archive = Held("torch", arrays)
    backbone = kr.weights.network(archive, input_shape=(32, 32, 3))
    assert backbone.output_shape == (None, 1, 1, 16)
    assert "the file's classifier is left: 'fc.0.weight', 'fc.2.weight'" in kr.weights.plan(backbone, archive).notes
    with pytest.raises(ArgumentError, match=r"whose classifier is not the family's \('fc.0.weight', 'fc.2.weight'\)"):
        kr.weights.network(archive, include_top=True)
    fine_tuned = kr.build(backbone.spec.replace(classes=4), include_top=True)
    plan = kr.weights.load(fine_tuned, archive, head=False)
    assert set(head) <= set(plan.left)


@pytest.mark.parametrize("name", ["chenyaofo", "osmr_pre", "transformers"])
def test_another_number_of_classes_says_so_in_every_family(name):
    archive = Held("torch", NETWORKS[name].draw(1, 2, classes=7))
    spec = kr.weights.network(archive, input_shape=(32, 32, 3)).spec
    with pytest.raises(ArgumentError, match=r"All else fits: with other classes .*include_top=False.*head=False"):
        kr.weights.load(kr.build(spec.replace(classes=3)), archive)
    assert kr.weights.load(kr.build(spec.replace(classes=3)), archive, head=False).is_complete
    assert kr.weights.load(kr.build(spec, include_top=False), archive).is_complete
