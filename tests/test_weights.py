"""Planning and loading: what does not fit is listed before anything is read, and nothing is left half loaded."""

import dataclasses

import keras
import numpy as np
import pytest
from helpers import weight_references as reference
from helpers.weight_references import Held
from safetensors.numpy import save_file

import keras_resnets as kr
from keras_resnets.architecture import variants
from keras_resnets.errors import ArgumentError


def test_build_takes_a_file(tmp_path):
    arrays, x = reference.draw_akamaster(1, 16, 10), reference.images(1, 3, 32, 32)
    file = tmp_path / "model.safetensors"
    save_file(arrays, file)
    model = kr.build("resnet8", weights=file, classifier_activation=None)
    reference.close(reference.scores(model, x), reference.akamaster(arrays, x))
    with pytest.raises(
        ArgumentError, match=r"needs bn_epsilon 1e-05 \(it has 0.001\).*build\('resnet8', bn_epsilon=1e"
    ):
        kr.build("resnet8", weights=file, bn_epsilon=1e-3)
    spec = variants.spec("resnet8").replace(bn_epsilon=1e-3)
    with pytest.raises(ArgumentError, match=r"needs bn_epsilon 1e-05 \(it has 0.001\)"):
        kr.build(spec, weights=file)


def test_build_takes_numbers_from_a_file_and_no_layers():
    archive = Held("torch", reference.draw_torchvision((1, 1, 1, 1), 2, True))
    spec = variants.spec("resnet50").replace(bn_epsilon=1e-3)  # the file's has its stride elsewhere, too
    assert kr.weights.settings(archive, spec) == {"bn_epsilon": 1e-5}


@pytest.fixture
def small():
    """A file of a torchvision network, and a network that it fills."""
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    spec = kr.weights.network(Held("torch", arrays), input_shape=(32, 32, 3)).spec
    return arrays, kr.build(spec, classifier_activation=None)


def test_a_plan_reads_nothing(small):
    arrays, model = small
    archive = Held("torch", arrays)
    plan = kr.weights.plan(model, archive)
    assert archive.reads == 0
    assert plan.is_complete
    assert (plan.missing, plan.unused, plan.wrong_shape) == ((), (), ())
    table = str(plan).splitlines()
    assert table[1].split() == ["stem/body/conv/kernel", "conv1.weight", "7x7x3x2", "fits"]
    assert table[-1] == f"{len(model.weights)} fits of {len(model.weights)} variables; 0 unused, 8 left"


CHANGES = [
    ("layer2.0.bn1.running_var", None, "lacks: layer2.0.bn1.running_var for stage2_block1", "missing", "missing"),
    ("layer2.0.conv2.weight", reference.zeros(4, 4, 3, 1), "wrong shape: 4x4x3x1", "wrong_shape", "wrong shape"),
    ("fc.bias", reference.zeros(5, dtype="int64"), "fc.bias .wrong type", "wrong_shape", "wrong type"),
    (
        "layer1.1.conv1.weight",
        reference.zeros(2, 2, 3, 3),
        "what the network lacks: layer1.1.conv1.weight",
        "unused",
        None,
    ),
]


@pytest.mark.parametrize(("name", "value", "message", "part", "row"), CHANGES, ids=[change[0] for change in CHANGES])
def test_what_does_not_fit_is_listed_and_nothing_read(name, value, message, part, row, small):
    arrays, model = small
    arrays = {**arrays, name: value}
    if value is None:
        del arrays[name]
    archive, before = Held("torch", arrays), reference.values(model)
    plan = kr.weights.plan(model, archive)
    assert len(getattr(plan, part)) == 1
    assert sum(r.status == row for r in plan.rows) == (1 if row else 0)
    with pytest.raises(ArgumentError, match=message):
        kr.weights.load(model, archive)
    assert archive.reads == 0
    for old, new in zip(before, reference.values(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_file_that_ends_in_the_middle_changes_nothing(small):
    arrays, model = small

    class Torn(Held):
        def __getitem__(self, name):
            tensor = super().__getitem__(name)
            if name != "fc.bias":
                return tensor

            def read():
                raise ArgumentError("torn")

            return dataclasses.replace(tensor, read=read)

    before = reference.values(model)
    with pytest.raises(ArgumentError, match="torn"):
        kr.weights.load(model, Torn("torch", arrays))
    assert model.preprocessing is None
    for old, new in zip(before, reference.values(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_backbone_leaves_the_classifier(small):
    arrays, whole = small
    backbone = kr.build(whole.spec, include_top=False)
    archive = Held("torch", arrays)
    plan = kr.weights.load(backbone, archive)
    assert {"fc.weight", "fc.bias"} <= set(plan.left)
    kr.weights.load(whole, archive)
    x = reference.images(1, 32, 32, 3)
    np.testing.assert_allclose(backbone(x), whole.features(x)["stage4"], atol=1e-4)
    headless = {name: array for name, array in arrays.items() if not name.startswith("fc.")}
    assert kr.weights.network(Held("torch", headless), input_shape=(32, 32, 3)).output_shape == (None, 1, 1, 16)
    with pytest.raises(ArgumentError, match="include_top must be False"):
        kr.weights.network(Held("torch", headless), include_top=True)


def test_other_classes_keep_their_classifier(small):
    arrays, whole = small
    model = kr.build(whole.spec.replace(classes=9))
    before = reference.values(model)[-2:]
    kr.weights.load(model, Held("torch", arrays), head=False)
    for old, new in zip(before, reference.values(model)[-2:], strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(reference.values(model)[0], arrays["conv1.weight"].transpose(2, 3, 1, 0))


def test_another_number_of_classes_says_so(small, tmp_path):
    arrays, model = small
    other = kr.build(model.spec.replace(classes=3))
    with pytest.raises(ArgumentError, match=r"fc.weight .wrong shape.*All else fits: .*include_top=False.*head=False"):
        kr.weights.load(other, Held("torch", arrays))
    model.save(tmp_path / "net.keras")
    with pytest.raises(
        ArgumentError, match=r"'head/body/logits/kernel' has shape .16, 5., not .16, 3..*include_top=False"
    ):
        kr.build(other.spec, weights=tmp_path / "net.keras")


def test_the_network_must_be_the_files(small, wu38):
    arrays, model = small
    archive = Held("torch", arrays)
    for fields, remedy in (
        ({"bn_epsilon": 1e-3}, r"bn_epsilon 1e-05 \(it has 0.001\): use .*bn_epsilon=1e-05"),
        ({"skip": "scale:0.5:0.5"}, "skip='identity'"),
        ({"placement": "pre"}, "placement='post'"),
    ):
        with pytest.raises(ArgumentError, match=remedy):
            kr.weights.load(kr.build(model.spec.replace(**fields)), archive)
    bottleneck = reference.draw_torchvision((1, 1, 1, 1), 2, True)
    with pytest.raises(ArgumentError, match=r"stride_place '3x3' \(it has 'first'\)"):
        kr.weights.load(kr.build("resnet50", (32, 32, 3), width=0.05), Held("torch", bottleneck))
    with pytest.raises(ArgumentError, match=r"other stages than 'wu_e'.*resnet38, resnet38_a1, resnet38_a2"):
        kr.weights.load(kr.build("wu_e", (32, 32, 3), width=0.02), Held("mxnet", wu38))
    psa = reference.draw_wu("psa", reference.WU_A).arrays
    with pytest.raises(ArgumentError, match=r"shrink their maps elsewhere.*resnet38_a1"):
        kr.weights.load(
            kr.build("resnet38", (32, 32, 3), width=0.02, bn_epsilon=1e-5, include_top=False), Held("torch", psa)
        )


def test_no_family_is_told_as_such(small):
    _, model = small
    unknown = Held("torch", {"encoder.weight": np.zeros(1, "float32")})
    for ask in (lambda: kr.weights.plan(model, unknown), lambda: kr.weights.network(unknown)):
        with pytest.raises(ArgumentError, match=r"no known family: its names are 'encoder.weight'. Known are"):
            ask()
    edited = kr.delete(model, "stage1_block1", copy=True)
    with pytest.raises(ArgumentError, match=r"adopted or edited.*edit it then"):
        kr.weights.load(edited, Held("torch", reference.draw_torchvision((1, 1, 1, 1), 2)))
    with pytest.raises(ArgumentError, match="model must be a network of keras_resnets; got Sequential"):
        kr.weights.load(keras.Sequential(), unknown)


def test_a_file_cannot_have_a_large_network_built(monkeypatch):
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    for block in range(1, 400):
        arrays[f"layer3.{block}.conv1.weight"] = np.zeros((1, 1), "float32")
    monkeypatch.setattr(kr.weights.transfer, "assemble", lambda *_, **__: pytest.fail("was built"))
    with pytest.raises(ArgumentError, match=r"is damaged, .* parameters, and it holds"):
        kr.weights.network(Held("torch", arrays))


def test_numbers_of_half_and_double_precision(small):
    arrays, model = small
    for dtype in ("float16", "float64"):
        kr.weights.load(model, Held("torch", {n: a.astype(dtype) for n, a in arrays.items()}))
        kernel = arrays["conv1.weight"].astype(dtype).astype("float32")
        np.testing.assert_array_equal(reference.values(model)[0], kernel.transpose(2, 3, 1, 0))


def test_an_open_archive_stays_open(small):
    arrays, model = small
    closed = []

    class Closing(Held):
        def __exit__(self, *_):
            closed.append(True)

    archive = Closing("torch", arrays)
    kr.weights.network(archive)
    kr.weights.load(model, archive)
    kr.weights.plan(model, archive)
    kr.weights.parity(model, archive)
    assert not closed


def test_preprocessing_is_saved_with_the_network(small, tmp_path):
    arrays, model = small
    kr.weights.load(model, Held("torch", arrays))
    model.save(tmp_path / "net.keras")
    again = kr.build(model.spec, weights=tmp_path / "net.keras")
    assert again.preprocessing == model.preprocessing
    assert again.preprocessing is not None
