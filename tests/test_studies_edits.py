"""The studies against loops over edited networks, their statistics against NumPy."""

import functools
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.board import check_curve, read

import keras_resnets as kr
from keras_resnets.data.batches import batches
from keras_resnets.instruments import evaluation
from keras_resnets.instruments.lanes import Lanes
from keras_resnets.reports.statistics import tau
from keras_resnets.studies.reorder import _pairs, exchanged


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


def test_data_is_read_as_it_is_needed_and_told_by_what_it_holds(tiny, images, scramble, monkeypatch):
    model, (x, y) = scramble(kr.build(tiny)), images
    monkeypatch.setattr(evaluation, "BATCH", 2)
    read, ahead, original = [], [], Lanes.outputs

    def examples():
        for pair in zip(x, y, strict=True):
            read.append(1)
            yield pair

    def watched(self, batch, programs, tick=None):
        ahead.append(len(read))
        return original(self, batch, programs, tick)

    monkeypatch.setattr(Lanes, "outputs", watched)
    signature = (tf.TensorSpec((8, 8, 1)), tf.TensorSpec((), "int32"))
    streamed = kr.studies.lesion(model, tf.data.Dataset.from_generator(examples, output_signature=signature).batch(3))
    assert ahead[0] < len(x)
    whole = kr.studies.lesion(model, (x, y.astype("int32")))
    np.testing.assert_allclose(streamed.rows["loss"], whole.rows["loss"], rtol=1e-6)
    assert streamed.summary["data_fingerprint"] == whole.summary["data_fingerprint"]
    assert whole.summary["examples"] == streamed.summary["examples"] == 12


def test_save_and_load(study, tmp_path):
    _, found = study
    files = found.save(tmp_path)
    assert all(file.exists() for file in files)
    loaded = kr.studies.Study.load(tmp_path)
    assert loaded.rows.equals(found.rows)
    assert loaded.summary == found.summary
    assert loaded.environment["versions"]["keras"] == keras.__version__
    assert found.save(tmp_path) == files  # again, over the old ones
    check_curve(tmp_path, found, "error, by deleted block", dict(found.rows.set_index("block")["error"]))
    assert read(tmp_path / "logs").Images("study/lesion/figure")[0].width > 500
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == [".sums"]


def test_fingerprints_tell_weights_and_data_apart(tiny, images, scramble):
    model = scramble(kr.build(tiny))
    first = kr.studies.lesion(model, images).summary
    again = kr.studies.lesion(model, images).summary
    other = kr.studies.lesion(scramble(model, seed=1), (images[0][::-1], images[1])).summary
    for key in ("weights_fingerprint", "data_fingerprint"):
        assert first[key] == again[key]
        assert first[key] != other[key]


# What follows is of the studies of several blocks, of skips and of orders.


def looped(model, x, y, edit):
    """Error and loss of an edited network, the long way."""
    p = np.asarray(edit(model)(x, training=False))
    return (p.argmax(1) != y).mean(), -np.log(np.maximum(p[range(len(y)), y], 1e-7)).mean()


@pytest.fixture
def deep(scramble):
    rng = np.random.default_rng(0)
    model = scramble(kr.build("preresnet20", (8, 8, 1), 5))
    return model, rng.normal(size=(12, 8, 8, 1)).astype("float32"), rng.integers(0, 5, 12)


def test_unskip_rows_equal_rebuilt_networks(deep):
    model, x, y = deep
    study = kr.studies.unskip(model, (x, y))
    rows = study.rows
    names = [b.name for b in model.blocks if b.has_identity_shortcut]
    assert list(rows[rows["kind"] == "unskip"]["block"]) == names
    edits = {
        "unskip": lambda row: lambda m: kr.unskip(m, row.block),
        "delete": lambda row: lambda m: kr.delete(m, row.block),
        "from_input": lambda row: lambda m: kr.unskip(m, names[: row.removed]),
        "from_output": lambda row: lambda m: kr.unskip(m, names[-row.removed :]),
    }
    for row in rows.rename(columns={"count": "removed"}).itertuples():
        error, loss = looped(model, x, y, edits[row.kind](row))
        assert row.error == pytest.approx(error)
        assert row.loss == pytest.approx(loss, rel=1e-4)
    one = rows[rows["kind"] == "unskip"]["error"]
    assert study.summary["unskip"]["median"] == np.median(one)
    chance, intact = 0.8, study.summary["intact"]["error"]
    first = rows[(rows["kind"] == "from_input") & (rows["error"] > (intact + chance) / 2)]["count"]
    expected = int(first.iloc[0]) if len(first) else None
    assert study.summary["removed_until_half_of_chance"]["from_input"] == expected


def test_deletions_at_random_and_by_choice(deep):
    model, x, y = deep
    study = kr.studies.delete(model, (x, y), most=3, draws=4, seed=3)
    for row in study.rows.rename(columns={"count": "deleted"}).itertuples():
        names = row.blocks.split()
        assert len(names) == len(set(names)) == row.deleted
        error, loss = looped(model, x, y, lambda m, names=names: kr.delete(m, names))
        assert row.error == pytest.approx(error)
        assert row.loss == pytest.approx(loss, rel=1e-4)
    blocks = [b.name for b in model.blocks]
    for kind, pick in (("best", min), ("worst", max)):
        chosen = []
        for _ in range(3):
            rest = [b for b in blocks if b not in chosen]
            tried = {b: looped(model, x, y, lambda m, b=b, c=tuple(chosen): kr.delete(m, [*c, b])) for b in rest}
            best = pick(tried.values())
            found = study.rows[study.rows["kind"] == kind]["blocks"].iloc[len(chosen)].split()
            assert tried[found[-1]] == pytest.approx(best, rel=1e-4)
            assert found[:-1] == chosen
            chosen = found
    errors = study.rows[(study.rows["kind"] == "random") & (study.rows["count"] == 2)]["error"]
    assert study.summary["random"]["2"]["50%"] == np.median(errors)
    again = kr.studies.delete(model, (x, y), most=3, draws=4, seed=3, greedy=False)
    other = kr.studies.delete(model, (x, y), most=3, draws=4, seed=4, greedy=False)
    random = study.rows[study.rows["kind"] == "random"].reset_index(drop=True)
    assert again.rows.equals(random)
    assert list(other.rows["blocks"]) != list(random["blocks"])


def test_greedy_choices_are_made_on_the_validation_split(deep):
    model, x, y = deep
    test, validation = (tf.data.Dataset.from_tensor_slices((x, labels)).batch(5) for labels in (y, (y + 2) % 5))
    study = kr.studies.delete(model, types.SimpleNamespace(test=test, validation=validation), most=1, draws=1)
    best = [
        kr.studies.lesion(model, split).rows.sort_values(["error", "loss"], kind="stable")["block"].iloc[0]
        for split in (test, validation)
    ]
    assert best[0] != best[1]
    assert study.rows.set_index("kind").loc["best", "blocks"] == best[1]
    assert study.summary["chosen_on"] == "the validation split"
    assert study.summary["intact"]["error"] == kr.studies.lesion(model, test).summary["intact"]["error"]


def test_every_set_of_blocks_is_drawn_alike(deep):
    from itertools import combinations

    from scipy.stats import chisquare

    model = kr.build("resnet8", (8, 8, 1), 5)
    rows = kr.studies.delete(model, (deep[1][:1], deep[2][:1]), most=2, draws=600, greedy=False).rows
    for count in (1, 2):
        found = rows[rows["count"] == count]["blocks"].value_counts()
        expected = [" ".join(c) for c in combinations([b.name for b in model.blocks], count)]
        assert sorted(found.index) == sorted(expected)
        assert chisquare(found).pvalue > 0.001


def test_orders_equal_rebuilt_networks(deep):
    model, x, y = deep
    study = kr.studies.reorder(model, (x, y), most=3, draws=3)
    for row in study.rows.itertuples():
        order = list(map(int, row.order.split()))
        error, loss = looped(model, x, y, lambda m, order=order: kr.reorder(m, order))
        assert row.error == pytest.approx(error)
        assert row.loss == pytest.approx(loss, rel=1e-4)
        pairs = [np.sign(b - a) for i, a in enumerate(order) for b in order[i + 1 :]]
        assert row.tau == pytest.approx(np.mean(pairs))


def test_tau_after_random_exchanges_is_that_of_the_paper():
    """papers.md, section 4.4: means over 60 draws, in-stage pairs that are not down-sampling, 54 blocks."""
    stages = [range(18), range(19, 36), range(37, 54)]
    pairs = [(i, j) for stage in stages for j in stage for i in stage if i < j]
    rng = np.random.default_rng(0)
    for swaps, mean in {1: 0.985, 2: 0.970, 5: 0.936, 10: 0.881, 20: 0.811}.items():
        taus = [tau(exchanged(54, pairs, swaps, rng)) for _ in range(400)]
        # Their 60 draws and our 400 each have an error of the mean.
        assert abs(np.mean(taus) - mean) < 4 * np.std(taus) * (1 / 60 + 1 / 400) ** 0.5


def test_pairs_are_of_equal_shapes_and_all_of_them():
    model = kr.build("preresnet20", (8, 8, 1))
    # Stage 1 has three blocks of equal shapes, the others two beside the down-sampling one.
    assert _pairs(model) == [(0, 1), (0, 2), (1, 2), (4, 5), (7, 8)]


def test_networks_side_by_side(deep, scramble):
    model, x, y = deep
    plain = scramble(kr.build("plain8", (8, 8, 1), 5), seed=2)
    study = kr.studies.lesion(model, (x, y), beside=[plain, model])
    assert list(study.rows["model"].unique()) == ["preresnet20", "plain8", "preresnet20 (3)"]
    alone = kr.studies.lesion(plain, (x, y))
    mine = study.rows[study.rows["model"] == "plain8"].reset_index(drop=True)
    assert mine.equals(alone.rows)
    assert study.summary["beside"]["plain8"]["bridged_without_weights"] == ["stage2_block1", "stage3_block1"]
    assert alone.summary["worst"] == study.summary["beside"]["plain8"]["worst"]


def test_foreign_models_are_adopted(deep):
    _, x, y = deep
    inputs = keras.Input((8, 8, 1))
    h = keras.layers.Add(name="first_add")([inputs, keras.layers.Conv2D(1, 3, padding="same")(inputs)])
    model = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(h)))
    study = kr.studies.lesion(model, (x, y))
    assert list(study.rows["block"]) == ["first"]
    kernel, bias = model.layers[-1].get_weights()
    assert study.rows["error"][0] == pytest.approx(((x.reshape(12, -1) @ kernel + bias).argmax(1) != y).mean())


def test_without_labels_error_is_disagreement(deep):
    model, x, y = deep
    given = kr.studies.lesion(model, (x, y)).rows
    for data in ((x, None), tf.data.Dataset.from_tensor_slices(x).batch(5)):
        study = kr.studies.lesion(model, data)
        np.testing.assert_allclose(study.rows["error"], 1 - study.rows["agreement"])
        np.testing.assert_allclose(study.rows["agreement"], given["agreement"])
        assert study.summary["intact"]["error"] == 0
        assert "left whole" in study.summary["labels"]


def test_one_hot_labels_are_labels(deep):
    model, x, y = deep
    one_hot = kr.studies.lesion(model, (x, np.eye(5)[y])).rows
    assert one_hot.equals(kr.studies.lesion(model, (x, y)).rows)


# The curves of each in TensorBoard: the name, the kind of its rows, and what it is by.
CURVES = {
    "lesion": [("error, by deleted block", None, "block")],
    "unskip": [
        ("error, one skip removed", "unskip", "block"),
        ("error, one block deleted", "delete", "block"),
        ("error, skips removed from the output on", "from_output", "count"),
    ],
    "delete": [
        ("error, at random, median", "random", "count"),
        ("error, chosen to cost least", "best", "count"),
        ("error, chosen to cost most", "worst", "count"),
    ],
    "reorder": [("error, median", None, "swaps")],
}
STUDIES = {
    "lesion": {},
    "unskip": {},
    "delete": {"most": 2, "draws": 3},
    "reorder": {"most": 2, "draws": 3},
}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_saved_drawn_and_told(name, deep, tmp_path):
    model, x, y = deep
    study = getattr(kr.studies, name)(model, (x, y), **STUDIES[name])
    study.save(tmp_path)
    loaded = kr.studies.Study.load(tmp_path)
    assert loaded.rows.equals(study.rows)
    assert loaded.summary == study.summary
    assert loaded.summary["data"] == "given"
    intact = study.summary["intact"]["error"]
    assert "error" in kr.studies.describe(loaded)
    drawn = [text.get_text() for text in study.figure().findobj(lambda artist: hasattr(artist, "get_text"))]
    for curve, kind, column in CURVES[name]:
        rows = study.rows[study.rows["kind"] == kind] if kind else study.rows
        check_curve(tmp_path, study, curve, dict(rows.groupby(column, sort=False)["error"].median()))
    assert any(model.name in text for text in drawn)
    assert any(f"left whole: {intact:.1%}" in text for text in drawn)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_stopped_goes_on_from_its_finished_batches(name, deep, tmp_path, monkeypatch):
    model, _, _ = deep
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 8, 8, 1)).astype("float32"), rng.integers(0, 5, 10)
    monkeypatch.setattr(evaluation, "BATCH", 2)
    monkeypatch.setattr(evaluation, "WORKERS", 1)
    run = functools.partial(getattr(kr.studies, name), model, (x, y), **STUDIES[name])
    expected, whole_run = run(), []
    original = Lanes.outputs

    def counted(self, x, programs, *args):
        whole_run.append(1)
        if len(whole_run) == stop:
            raise KeyboardInterrupt
        return original(self, x, programs, *args)

    monkeypatch.setattr(Lanes, "outputs", counted)
    stop = 0
    run()
    total, whole_run[:], stop = len(whole_run), [], 4
    with pytest.raises(KeyboardInterrupt):
        run(resume=tmp_path)
    whole_run[:], stop = [], 0
    again = run(resume=tmp_path)
    assert len(whole_run) == total - 3
    assert again.rows.equals(expected.rows)
    again.save(tmp_path)
    assert not (tmp_path / ".unfinished").exists()
    # Batches of other weights are not taken for these.
    run(resume=tmp_path)
    model.layers[-1].body.layers[-2].bias.assign_add([1.0, 0, 0, 0, 0])
    whole_run[:] = []
    run(resume=tmp_path)
    assert len(whole_run) == total


def test_studies_leave_the_network_alone(deep):
    model, x, y = deep
    before, nodes = model.get_weights(), [len(link._inbound_nodes) for link in model.chain]
    for name, options in {**STUDIES, "responses": {}}.items():
        getattr(kr.studies, name)(model, (x, y), **options)
    for value, was in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, was)
    assert [len(link._inbound_nodes) for link in model.chain] == nodes
