"""The toy network of Littwin & Wolf 2016 against NumPy, and what its study says against its rows."""

import math

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError
from keras_resnets.instruments import energy
from keras_resnets.studies.littwin import WITH, WITHOUT, by_run
from keras_resnets.studies.toy import learn, toy


def forward(network, x, normalised):
    """The equations of the paper, layer by layer; returns N_p and each layer's branch."""
    n, branches = x.astype("float64"), []
    for number, link in enumerate(network.chain[:-1], 1):
        dense, *rest = (link.body if number == 1 else link.residual).layers
        branch = np.maximum(n @ np.asarray(dense.kernel, "float64"), 0)
        if normalised:
            norm = rest[-1]
            branch = (branch - branch.mean(0)) / np.sqrt(branch.var(0) + norm.epsilon) * np.asarray(norm.gamma)
        branches.append((branch, n))
        n = branch if number == 1 else branch + n
    return n, branches


@pytest.mark.parametrize("normalised", [True, False])
def test_the_toy_network_computes_the_papers_equations(normalised):
    network = toy(5, 7, 3, 4, normalised)
    rng = np.random.default_rng(0)
    for variable in network.trainable_variables:
        if variable.name == "gamma":
            variable.assign(rng.normal(1, 0.5, 7))
    # By hand: 3 x 7 and 4 times 7 x 7 weights, 7 scales a layer with batch-norm, 7 x 4 weights and 4 biases on top.
    assert kr.parameters(network) == 21 + 4 * 49 + (5 * 7 if normalised else 0) + 28 + 4
    x = rng.normal(size=(40, 3)).astype("float32")
    n, branches = forward(network, x, normalised)
    logits = n @ np.asarray(network.layers[-1].body.kernel)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(network(x, training=True), expected, rtol=1e-3, atol=1e-6)
    found = energy.measure(network, x)["energy_ratio"]
    np.testing.assert_allclose(found, [(b**2).sum() / (s**2).sum() for b, s in branches[1:]], rtol=1e-4)


def test_energies_at_the_start_are_those_of_the_paper():
    """`E[N_{l+1}^2] = 1 + E[N_l^2]`, with batch-norm: the ratios of layers 2, 3, ... are 1, 1/2, ..., nearly."""
    x = np.random.default_rng(0).normal(size=(500, 20)).astype("float32")
    keras.utils.set_random_seed(0)
    ratios = energy.measure(toy(10, 400), x)["energy_ratio"]
    np.testing.assert_allclose(ratios, 1 / np.arange(1, 10), rtol=0.12)
    plain = energy.measure(toy(10, 400, normalised=False), x)
    # Half of the energy passes a ReLU, whatever the layer; both branches are positive behind the first.
    assert plain["energy_ratio"].between(0.4, 0.6).all()
    assert (plain["cosine"] > 0.3).all()


def test_moments_are_those_of_the_network_at_that_step():
    def trained(steps):
        keras.utils.set_random_seed(1)
        network = toy(3, 6, 4, 5)
        network.compile(keras.optimizers.SGD(0.3), "sparse_categorical_crossentropy")
        rng = np.random.default_rng(2)
        means = rng.normal(size=(5, 4))
        return network, list(learn(network, means, 80, steps, rng))

    network, rows = trained(3)
    assert [(row["step"], row["layer"]) for row in rows] == [(s, layer) for s in range(4) for layer in (1, 2, 3)]
    for layer, link in enumerate(network.chain[:-1], 1):
        dense, _, norm = (link.body if layer == 1 else link.residual).layers
        assert rows[8 + layer]["norm"] == pytest.approx(np.sqrt((np.asarray(dense.kernel) ** 2).sum()))
        assert rows[8 + layer]["scale"] == pytest.approx(np.abs(norm.gamma).mean())
    assert rows[9]["scale"] != rows[6]["scale"] != rows[3]["scale"] != rows[0]["scale"] == 1
    fewer = trained(2)[1]
    np.testing.assert_equal(fewer, rows[:9])


def test_each_network_is_trained_at_its_rate_on_the_same_gaussians():
    rows = kr.studies.littwin(
        layers=2, width=5, dimension=3, classes=4, apart=2, samples=50, steps=3, learning_rate=0.5, seeds=1, seed=7
    ).rows
    for name, normalised, rate in ((WITH, True, 0.5), (WITHOUT, False, 0.05)):
        keras.utils.set_random_seed(7)
        network, rng = toy(2, 5, 3, 4, normalised), np.random.default_rng(7)
        network.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        means = 2 * rng.standard_normal((4, 3))
        expected = [row["norm"] for row in learn(network, means, 50, 3, rng)]
        np.testing.assert_allclose(rows[rows["network"] == name]["norm"], expected, rtol=1e-6)


@pytest.fixture(scope="module")
def study():
    return kr.studies.littwin(layers=3, width=12, dimension=4, classes=5, samples=300, steps=40, seeds=2, seed=3)


def test_the_toy_network_learns(study):
    runs = by_run(study.rows)["error"].unstack("step")
    assert (runs[0] > 0.6).all()
    assert (runs[40] < runs[0] - 0.2).loc[WITH].all()
    assert sorted(runs.columns) == list(range(0, 41, 2))


def test_the_summary_is_that_of_the_rows(study):
    rows, summary = study.rows, study.summary
    end = rows[(rows["step"] == 40) & (rows["network"] == WITH)]
    early = rows[(rows["step"] == 10) & (rows["network"] == WITH)]
    for kind, layers in (("without_skip", [1]), ("with_skip", [2, 3])):
        scales, before = (part[part["layer"].isin(layers)]["scale"].to_numpy() for part in (end, early))
        found = summary[f"scale_{kind}"]
        assert (found["grew"], found["grew_since"]) == ((scales > 1).sum(), (scales > before).sum())
        assert (found["of"], found["since"]) == (2 * len(layers), 10)
        assert (found["min"], found["50%"]) == pytest.approx((scales.min(), np.median(scales)))
    for network in (WITH, WITHOUT):
        norms, depths = [], []
        for seed in (3, 4):
            run = rows[(rows["step"] == 40) & (rows["network"] == network) & (rows["seed"] == seed)]
            norms.append(np.sqrt((run["norm"] ** 2).sum()))
            depths.append(sum(r / (1 + r) for r in run["energy_ratio"][1:]))
        assert summary[network]["norm"]["end"]["max"] == pytest.approx(max(norms))
        assert summary[network]["depth"]["end"]["min"] == pytest.approx(min(depths))
    assert rows[rows["network"] == WITHOUT]["scale"].isna().all()


def test_the_study_is_repeatable_saved_drawn_and_told(study, tmp_path):
    arguments = {"layers": 3, "width": 12, "dimension": 4, "classes": 5, "samples": 300, "steps": 40}
    again = kr.studies.littwin(**arguments, seeds=1, seed=4)
    assert again.rows.equals(study.rows[study.rows["seed"] == 4].reset_index(drop=True))
    study.save(tmp_path)
    loaded = kr.studies.Study.load(tmp_path)
    assert loaded.rows.equals(study.rows)
    assert loaded.summary == study.summary
    others = study.summary["scale_with_skip"]
    assert f"grew in {others['grew']} of 4" in kr.studies.describe(loaded)
    curves = study._drawing.curves(study)
    part = study.rows[(study.rows["network"] == WITH) & (study.rows["layer"] == 2) & (study.rows["step"] == 40)]
    assert curves["lambda of layer 2"].values.iloc[-1] == pytest.approx(part["scale"].mean())
    theta = study.figure().axes[1].lines[0]
    beta, r = theta.get_xdata()[-1], np.arange(1, 101)
    weights = np.array([math.comb(99, k) for k in range(100)], float) * beta ** (r - 1)
    squares = weights**2 / (weights**2).sum()
    first, second = squares @ r, squares @ (r * (r - 1))
    assert beta == pytest.approx(10)
    assert theta.get_ydata()[-1] == pytest.approx(np.log(second / first) / 2 - (second - first) / (second + first))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("layers", 1), ("classes", 1), ("steps", 0), ("seeds", 0), ("samples", 0), ("apart", 0), ("learning_rate", -1)],
)
def test_numbers_of_the_study(argument, value):
    with pytest.raises(ArgumentError, match=f"{argument} must be .*; got {value}"):
        kr.studies.littwin(**{argument: value})


def test_command_line(tmp_path, monkeypatch, capsys, study):
    asked = []

    def short(*, seeds=3, seed=0):
        asked.append((seeds, seed))
        return study

    monkeypatch.setattr(kr.studies, "littwin", short)
    assert cli.main(["study", "littwin", "--seeds", "2", "--seed", "3", "--out", str(tmp_path)]) == 0
    assert asked == [(2, 3)]
    assert kr.studies.Study.load(tmp_path).rows.equals(study.rows)
    assert "mean |lambda| starts at 1" in capsys.readouterr().out
