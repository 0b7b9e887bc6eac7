"""The studies on arrays, on every backend: their rows against networks edited."""

import sys

import keras
import numpy as np
import pytest

import keras_resnets as kr

# On TensorFlow each study has a test of its own.
pytestmark = [pytest.mark.backends] + [pytest.mark.thorough] * (keras.config.backend() == "tensorflow")


@pytest.fixture(scope="module")
def measured():
    """A network of three blocks, one of them trained by a policy, and what it is measured on."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(12, 8, 8, 1)).astype("float32"), rng.integers(0, 5, 12)
    stages = (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2))
    model = kr.build(kr.Spec("tiny", stages, (8, 8, 1), 5, stem_width=4, placement="pre"))
    model.compile(kr.optimizers.SGD(0.05, 0.9), "sparse_categorical_crossentropy", paths="stochastic:0.5")
    model.fit(*data, batch_size=6, epochs=2, verbose=0)
    assert [round(block.scale, 3) for block in model.blocks] == [0.833, 0.667, 0.5]
    return model, data


def loss(model, data):
    p = model.predict_on_batch(data[0])
    return -np.log(p[range(len(p)), data[1]]).mean()


def test_every_edit_is_measured_as_the_network_edited(measured):
    model, data = measured
    indices = {block.name: i for i, block in enumerate(model.blocks)}

    def check(rows, edits):
        expected = [loss(edit, data) for edit in edits]
        np.testing.assert_allclose(rows["loss"], expected, rtol=1e-4)

    rows = kr.studies.lesion(model, data).rows
    check(rows, [kr.delete(model, i) for i in range(3)])
    rows = kr.studies.unskip(model, data).rows
    check(
        rows[rows["kind"] == "unskip"], [kr.unskip(model, indices[n]) for n in rows["block"][rows["kind"] == "unskip"]]
    )
    rows = kr.studies.delete(model, data, draws=1).rows
    check(rows, [kr.delete(model, [indices[name] for name in blocks.split()]) for blocks in rows["blocks"]])
    rows = kr.studies.reorder(model, data, most=1, draws=1).rows
    check(rows, [kr.reorder(model, [int(i) for i in order.split()]) for order in rows["order"]])


def test_responses_are_the_deviations_behind_the_batch_norms(measured):
    model, data = measured
    rows = kr.studies.responses(model, data).rows.set_index("name")
    for block in model.blocks:
        values = model.inner(f"{block.name}/bn2").predict_on_batch(data[0])
        assert rows.loc[f"{block.name}/conv1", "std"] == pytest.approx(values.std(), rel=1e-3)


def test_the_gradient_by_path_sums_to_the_gradient(measured):
    model, data = measured
    study = kr.studies.paths(model, data, examples=4, draws=2)
    rows = study.rows[study.rows["kind"] == "input"]
    assert rows["share"].sum() == pytest.approx(1, rel=1e-5)
    assert study.summary["checked_in_double_precision"]["largest_error_of_sum"] < 1e-6
    assert study.summary["checked_in_double_precision"]["largest_difference_of_a_part"] < 1e-4


def test_studies_while_a_network_trains(measured, tmp_path):
    model, data = measured
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    callback = kr.studies.callbacks.Lesion(data, tmp_path)
    model.fit(*data, batch_size=6, verbose=0, callbacks=[callback])
    found = callback.studies[1].rows["loss"]
    np.testing.assert_allclose(found, kr.studies.lesion(model, data).rows["loss"], rtol=1e-5)


def test_a_saved_network_is_the_same_and_the_toy_of_littwin_learns(measured, tmp_path):
    model, data = measured
    model.save(tmp_path / "net.keras")
    loaded = kr.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(data[0]), model.predict_on_batch(data[0]), rtol=1e-5)
    assert [block.scale for block in loaded.blocks] == [block.scale for block in model.blocks]
    study = kr.studies.littwin(layers=3, width=8, classes=5, samples=50, steps=1, seeds=1)
    assert study.rows["layer"].tolist() == [1, 2, 3] * 4
    if keras.config.backend() != "tensorflow":
        assert "tensorflow" not in sys.modules or sys.modules["tensorflow"] is None
