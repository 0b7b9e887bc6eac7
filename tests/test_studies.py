"""The lesion study against a loop over rebuilt networks, its statistics against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnets as kr
from keras_resnets.studies.evaluation import batches


@pytest.fixture
def study(tiny, images, scramble):
    model = scramble(kr.build(tiny))
    return model, kr.studies.lesion(model, images)


def test_rows_equal_a_loop_over_rebuilt_networks(study, images):
    model, found = study
    x, y = images
    intact = model.predict(x, verbose=0).argmax(1)
    assert list(found.rows["block"]) == ["stage1_block1", "stage1_block2", "stage2_block1"]
    for row in found.rows.itertuples():
        p = kr.delete(model, row.block).predict(x, verbose=0)
        assert row.error == pytest.approx((p.argmax(1) != y).mean())
        assert row.agreement == pytest.approx((p.argmax(1) == intact).mean())
        assert row.loss == pytest.approx(
            float(keras.losses.sparse_categorical_crossentropy(y, p).numpy().mean()), rel=1e-4
        )
        assert row.top5_error == 0  # five classes
    assert found.summary["intact"]["error"] == pytest.approx((intact != y).mean())
    assert found.summary["intact"]["agreement"] == 1


def test_interval_is_wilson(study):
    row, n, z = study[1].rows.iloc[0], 12, 1.959964
    centre = (row.error + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(row.error * (1 - row.error) / n + z**2 / (4 * n**2))
    assert (row.error_low, row.error_high) == pytest.approx((centre - half, centre + half), abs=1e-5)


def test_logits_and_probabilities_give_the_same_study(tiny, images, scramble):
    rows = []
    for activation in ("softmax", None):
        model = scramble(kr.build(tiny, classifier_activation=activation))
        keras.utils.set_random_seed(0)
        for variable in model.weights:
            if variable.name == "kernel":
                variable.assign(np.random.default_rng(len(variable.shape)).normal(0, 0.2, variable.shape))
        rows.append(kr.studies.lesion(model, images).rows)
    for column in ("error", "loss", "agreement"):
        np.testing.assert_allclose(rows[0][column], rows[1][column], rtol=1e-3)


def test_top5_counts_the_rank(scramble):
    model = scramble(kr.build("resnet8", (8, 8, 1), 20))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 8, 8, 1)).astype("float32"), rng.integers(0, 20, 30)
    rows = kr.studies.lesion(model, (x, y)).rows
    p = kr.delete(model, 1).predict(x, verbose=0)
    assert rows["top5_error"][1] == pytest.approx(
        np.mean([label not in np.argsort(-q)[:5] for q, label in zip(p, y, strict=True)])
    )


def test_all_kinds_of_data_give_the_same_study(tiny, images, scramble):
    model = scramble(kr.build(tiny))
    x, y = images
    batched = tf.data.Dataset.from_tensor_slices((x, y)).batch(5)
    a, b = kr.studies.lesion(model, images), kr.studies.lesion(model, batched)
    np.testing.assert_allclose(a.rows["error"], b.rows["error"])
    np.testing.assert_allclose(a.rows["loss"], b.rows["loss"], rtol=1e-6)
    digits = kr.data.load("digits", batch_size=50)
    assert sum(len(labels) for _, labels in batches(digits)) == 397


def test_save_and_load(study, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, found = study
    files = found.save(tmp_path)
    assert all(file.exists() for file in files)
    loaded = kr.studies.Study.load(tmp_path)
    assert loaded.rows.equals(found.rows)
    assert loaded.summary == found.summary
    assert loaded.environment["versions"]["keras"] == keras.__version__
    assert found.save(tmp_path) == files  # again, over the old ones
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    assert [event.value for event in events.Scalars("lesion/error")] == pytest.approx(list(found.rows["error"]))
    assert events.Images("lesion/figure")[0].width > 500
    assert not [file.name for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_fingerprints_tell_weights_and_data_apart(tiny, images, scramble):
    model = scramble(kr.build(tiny))
    first = kr.studies.lesion(model, images).summary
    again = kr.studies.lesion(model, images).summary
    other = kr.studies.lesion(scramble(model, seed=1), (images[0][::-1], images[1])).summary
    for key in ("weights_fingerprint", "data_fingerprint"):
        assert first[key] == again[key]
        assert first[key] != other[key]
