"""Responses of layers against a forward pass in NumPy, and against models cut at the layer."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.board import check_curve
from helpers.foreign_models import residual_model
from helpers.numpy_layers import convolve
from scipy.stats import mannwhitneyu

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.data.moments import Moments

measuring = importlib.import_module("keras_resnets.studies.responses")


def forward(model, x):
    """What each convolution of the main path responds, by the papers' drawings and the weights' paths."""
    weights = {v.path: np.asarray(v, "float64") for v in model.weights}
    pre, found = model.spec.placement == "pre", []

    def norm(h, path):
        gamma, beta, mean, variance = (
            weights[f"{path}/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (h - mean) / np.sqrt(variance + model.spec.bn_epsilon) * gamma + beta

    def relu(h):
        return np.maximum(h, 0)

    h = convolve(x, weights["stem/body/conv/kernel"])
    found.append(h if pre else norm(h, "stem/body/bn"))
    h = h if pre else relu(found[-1])
    for s, stage in enumerate(model.spec.stages, 1):
        for b in range(1, stage.blocks + 1):
            block, stride = f"stage{s}_block{b}", stage.stride if b == 1 else 1
            shared = f"{block}/preactivation/bn1/gamma" in weights
            entry = relu(norm(h, f"{block}/{'preactivation' if shared else 'residual'}/bn1")) if pre else h
            skip, r, last = entry if shared else h, entry, len(stage.kernels)
            for i in range(1, last + 1):
                r = convolve(r, weights[f"{block}/residual/conv{i}/kernel"], stride if i == 1 else 1)
                if not pre:
                    r = norm(r, f"{block}/residual/bn{i}")
                elif i < last:
                    r = norm(r, f"{block}/residual/bn{i + 1}")
                found.append(r)
                r = r if i == last else relu(r)
            if f"{block}/shortcut/conv/kernel" in weights:
                skip = convolve(skip, weights[f"{block}/shortcut/conv/kernel"], stride)
                skip = skip if pre else norm(skip, f"{block}/shortcut/bn")
            elif model.spec.shortcut != "none":
                skip = skip[:, ::stride, ::stride]
                skip = np.pad(skip, [(0, 0)] * 3 + [(0, r.shape[-1] - skip.shape[-1])])
            h = r if model.spec.shortcut == "none" else r + skip
            h = h if pre else relu(h)
    return found


BASIC = (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2))
BOTTLENECK = (kr.Stage(2, (4, 4, 8), (1, 3, 1)), kr.Stage(1, (4, 4, 16), (1, 3, 1), stride=2))


NETWORKS = {
    "post-activation": kr.Spec("post", BASIC, (8, 8, 1), 5, stem_width=4),
    "pre-activation": kr.Spec("pre", BASIC, (8, 8, 1), 5, stem_width=4, placement="pre"),
    "plain": kr.Spec("plain", BASIC, (8, 8, 1), 5, stem_width=4, shortcut="none"),
    "bottleneck": kr.Spec("bottleneck", BOTTLENECK, (8, 8, 1), 5, stem_width=4, shortcut="B"),
    "pre-activation bottleneck": kr.Spec("pre3", BOTTLENECK, (8, 8, 1), 5, stem_width=4, shortcut="B", placement="pre"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_responses_equal_a_forward_pass_in_numpy(name, images, scramble, monkeypatch):
    model, (x, _) = scramble(kr.build(NETWORKS[name])), images
    monkeypatch.setattr(measuring, "BATCH", 5)  # 5, 5 and 2 examples
    rows = kr.studies.responses(model, (x, None)).rows
    expected = forward(model, x.astype("float64"))
    assert len(rows) == len(expected) == 1 + sum(len(s.kernels) * s.blocks for s in model.spec.stages)
    assert rows["name"][0] == "stem/conv"
    assert rows["name"][len(rows) - 1] == f"stage2_block1/conv{len(model.spec.stages[1].kernels)}"
    for row, value in zip(rows.itertuples(), expected, strict=True):
        assert row.std == pytest.approx(value.std(), rel=1e-5)
        assert row.mean == pytest.approx(value.mean(), rel=1e-4, abs=1e-6)
        quartiles = np.quantile(value.reshape(-1, value.shape[-1]).std(0), (0.25, 0.5, 0.75))
        assert (row.channel_lower_quartile, row.channel_median, row.channel_upper_quartile) == pytest.approx(
            tuple(quartiles), rel=1e-5
        )


def test_a_network_of_others_is_read_before_its_own_activations(scramble):
    """Convolutions with an activation, with a bias, with a projection beside them, and depthwise ones."""
    model = scramble(residual_model())
    network, x = kr.adopt(model), np.random.default_rng(0).normal(size=(6, 32, 32, 3)).astype("float32")
    rows = kr.studies.responses(model, (x, None)).rows
    assert list(rows["name"]) == ["stem/first", "one/one_1", "one/one_2", "two/two_1", "two/two_2"]
    assert list(rows["normalised"]) == [False, True, False, True, False]
    assert list(rows["stage"]) == ["stem", "30x30x4", "30x30x4", "30x30x6", "30x30x6"]

    def cut(name):
        return np.asarray(keras.Model(model.input, model.get_layer(name).output)(x), "float64")

    expected = {"stem/first": cut("first"), "one/one_1": cut("one_bn"), "two/two_1": cut("two_bn")}
    for name in ("one", "two"):
        kernel, bias = model.get_layer(f"{name}_2").get_weights()
        expected[f"{name}/{name}_2"] = convolve(cut(f"{name}_bn"), kernel) + bias
        # The oracle is no tautology: behind its ReLU the response is another.
        assert abs(cut(f"{name}_2").std() - expected[f"{name}/{name}_2"].std()) > 1e-3
    for row in rows.itertuples():
        assert row.std == pytest.approx(expected[row.name].std(), rel=1e-5)
    assert network.layers[2].residual.operations[2].activation is keras.activations.relu  # put back


def test_depthwise_convolutions_count_and_what_lies_between_blocks_is_read():
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=3)
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    study = kr.studies.responses(model, (x, None))
    convolutions = [layer for layer in model.layers if hasattr(layer, "kernel_size")]
    assert [name.split("/")[1] for name in study.rows["name"]] == [layer.name for layer in convolutions]
    assert study.summary["counted"] == sum(isinstance(c, keras.layers.DepthwiseConv2D) for c in convolutions) + 1
    rows = study.rows.set_index("name")
    for name, norm in (
        ("stem/block_1_depthwise", "block_1_depthwise_BN"),
        ("block_4_entry/block_3_project", "block_3_project_BN"),
        ("head/Conv_1", "Conv_1_bn"),
    ):
        value = np.asarray(keras.Model(model.input, model.get_layer(norm).output)(x), "float64")
        assert rows["std"][name] == pytest.approx(value.std(), rel=1e-5)
    assert rows["stage"]["block_4_entry/block_3_project"] == rows["stage"]["block_4/block_4_expand"]
    assert rows["stage"]["head/Conv_1"] == "head"


@pytest.mark.parametrize(("name", "layer"), [("stage1_block2/conv1", "bn1"), ("stage2_block1/conv2", "bn2")])
def test_gamma_scales_the_response(name, layer, tiny, images, scramble):
    model = scramble(kr.build(tiny))
    before = kr.studies.responses(model, images).rows
    block = next(block for block in model.blocks if block.name == name.split("/")[0])
    gamma = block.residual.get_layer(layer).gamma
    gamma.assign(3 * gamma)
    after = kr.studies.responses(model, images).rows
    at = list(before["name"]).index(name)
    # The mean moves with beta, the deviation of a channel only with gamma; so do the quartiles over channels.
    assert after["channel_median"][at] == pytest.approx(3 * before["channel_median"][at], rel=1e-5)
    beta = block.residual.get_layer(layer).beta
    beta.assign(3 * beta)
    tripled = kr.studies.responses(model, images).rows
    assert tripled["std"][at] == pytest.approx(3 * before["std"][at], rel=1e-5)
    assert tripled["mean"][at] == pytest.approx(3 * before["mean"][at], rel=1e-4)
    np.testing.assert_array_equal(tripled["std"][:at], before["std"][:at])


def test_moments_of_batches_are_those_of_all_far_from_zero():
    values = np.random.default_rng(0).normal([1e6, -3e6, 0], [1, 2, 0.5], (1000, 3))
    moments = Moments()
    for part in np.split(values, [1, 7, 400, 990]):
        moments.add(part)
    np.testing.assert_allclose(moments.mean, values.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(moments.deviations, values.std(0), rtol=1e-9)
    assert moments.deviation == pytest.approx(values.std(), rel=1e-12)


def test_comparisons_are_the_papers_claims_in_numbers(images, scramble):
    shallow, deep = kr.build("resnet8", (8, 8, 1), 5), scramble(kr.build("resnet14", (8, 8, 1), 5), 1)
    plain, lone = (scramble(kr.build(name, (8, 8, 1), 5), seed) for name, seed in (("plain14", 2), ("plain20", 3)))
    study = kr.studies.responses(shallow, images, beside=[plain, deep, lone])
    std = {name: rows["std"].to_numpy() for name, rows in study.rows.groupby("model")}
    expected = {name: rows["expected_std"].to_numpy() for name, rows in study.rows.groupby("model")}
    assert {name: len(values) for name, values in std.items()} == {
        "resnet8": 7,
        "plain14": 13,
        "resnet14": 13,
        "plain20": 19,
    }
    pairs = [(pair["claim"], pair["network"], pair["against"]) for pair in study.summary["comparisons"]]
    # resnet8 has no plain counterpart of as many layers, so both stand against it; resnet14 has.
    assert pairs == [
        ("residual against plain", "resnet8", "plain14"),
        ("residual against plain", "resnet8", "plain20"),
        ("residual against plain", "resnet14", "plain14"),
        ("deeper against shallower residual", "resnet14", "resnet8"),
    ]
    for pair in study.summary["comparisons"]:
        one, other = std[pair["network"]], std[pair["against"]]
        assert pair["ratio_of_medians"] == pytest.approx(np.median(one) / np.median(other))
        # U counts the pairs in which the first sample is the larger.
        assert pair["ratio_of_expected"] == pytest.approx(
            np.median(expected[pair["network"]]) / np.median(expected[pair["against"]])
        )
        pairs_below = mannwhitneyu(other, one).statistic / (len(one) * len(other))
        assert pair["smaller_in"] == pytest.approx(pairs_below)
    alone = kr.studies.responses(plain, images)
    assert alone.rows.equals(study.rows[study.rows["model"] == "plain14"].reset_index(drop=True))
    assert alone.summary["std"] == study.summary["beside"]["plain14"]["std"]
    assert alone.summary["comparisons"] == []


def test_ties_are_half_of_each(images):
    model = kr.build("resnet8", (8, 8, 1), 5)
    deeper = kr.build("resnet14", (8, 8, 1), 5)
    for network in (model, deeper):
        for variable in network.weights:
            if variable.path.endswith("gamma"):
                variable.assign(0 * variable)
    (pair,) = kr.studies.responses(model, images, beside=[deeper]).summary["comparisons"]
    assert pair["smaller_in"] == 0.5
    assert pair["ratio_of_medians"] is None


def test_with_statistics_of_the_data_gamma_and_beta_tell_the_response(tiny, scramble):
    """Moving statistics set to those of the data, layer by layer; then the expectation is what is measured."""
    model = scramble(kr.build(tiny))
    x = np.random.default_rng(0).normal(size=(20, 8, 8, 1)).astype("float32")
    before = kr.studies.responses(model, (x, None))
    ratios = before.rows["std"] / before.rows["expected_std"]
    assert before.summary["std_over_expected"] == pytest.approx(np.median(ratios))
    assert abs(ratios - 1).max() > 0.1
    norms = {"stem": model.chain[0].body.layers[1]} | {
        f"{block.name}/{name}": block.residual.get_layer(name) for block in model.blocks for name in ("bn1", "bn2")
    }
    for i, norm in enumerate(norms.values()):
        gamma, beta = np.asarray(norm.gamma), np.asarray(norm.beta)
        raw = (forward(model, x)[i] - beta) / gamma  # normalised with the old statistics
        old = np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
        norm.moving_mean.assign(np.asarray(norm.moving_mean) + old * raw.mean((0, 1, 2)))
        norm.moving_variance.assign(old**2 * raw.var((0, 1, 2)) - norm.epsilon)
    study = kr.studies.responses(model, (x, None))
    np.testing.assert_allclose(study.rows["std"], study.rows["expected_std"], rtol=1e-4)
    assert study.summary["std_over_expected"] == pytest.approx(1, rel=1e-4)
    told = kr.studies.describe(study)
    assert "1.00 times what its gamma and beta alone would give" in told


def test_bottlenecks_are_told_by_their_3x3_convolutions(images, scramble):
    model = scramble(kr.build(NETWORKS["bottleneck"]))
    study = kr.studies.responses(model, images)
    middle = study.rows[study.rows["name"].isin(["stem/conv"]) | study.rows["name"].str.endswith("conv2")]
    assert list(study.rows[study.rows["counted"]].index) == list(middle.index)
    assert study.summary["std"]["50%"] == np.median(middle["std"])
    assert study.summary["std"]["mean"] == pytest.approx(np.mean(middle["std"]))
    top, bottom = study.figure().axes
    np.testing.assert_array_equal(top.lines[0].get_ydata(), middle["std"])
    np.testing.assert_array_equal(bottom.lines[0].get_ydata(), sorted(middle["std"], reverse=True))


def test_without_any_3x3_convolution_all_count():
    inputs = keras.Input((6, 6, 4))
    y = keras.layers.Conv2D(4, 1)(keras.layers.Conv2D(4, 5, padding="same")(inputs))
    model = keras.Model(inputs, keras.layers.Add()([inputs, y]))
    study = kr.studies.responses(model, (np.ones((2, 6, 6, 4)), None))
    assert list(study.rows["kernel"]) == ["5x5", "1x1"]
    assert (study.summary["counted"], study.summary["kernel"]) == (2, "all")


def test_batched_data_and_arrays_give_the_same_study(tiny, images, scramble):
    model, (x, y) = scramble(kr.build(tiny)), images
    arrays = kr.studies.responses(model, images)
    streamed = kr.studies.responses(model, tf.data.Dataset.from_tensor_slices((x, y)).batch(5))
    assert streamed.rows.equals(arrays.rows)
    assert streamed.summary == arrays.summary
    assert arrays.summary["examples"] == 12
    assert arrays.summary["data_fingerprint"] == kr.studies.lesion(model, images).summary["data_fingerprint"]
    unlike = kr.studies.responses(model, (x[:7], y[:7]))
    assert unlike.summary["data_fingerprint"] != arrays.summary["data_fingerprint"]


def test_study_is_saved_drawn_and_told(tiny, images, scramble, tmp_path):
    model, plain = scramble(kr.build(tiny)), scramble(kr.build(tiny, shortcut="none", name="flat"), 1)
    study = kr.studies.responses(model, images, beside=[plain])
    study.save(tmp_path)
    loaded = kr.studies.Study.load(tmp_path)
    assert loaded.rows.equals(study.rows)
    assert loaded.summary == study.summary
    for name, prefix in (("tiny", ""), ("flat", "flat: ")):
        expected = dict(study.rows[study.rows["model"] == name].set_index("name")["std"])
        check_curve(tmp_path, study, f"{prefix}standard deviation of responses, by layer", expected)
    told, (pair,) = kr.studies.describe(loaded), study.summary["comparisons"]
    assert f"tiny against flat: {pair['ratio_of_medians']:.3g} times the median" in told
    assert f"flat: standard deviation of responses: median {study.summary['beside']['flat']['std']['50%']:.3g}" in told
    drawn = [text.get_text() for text in study.figure().findobj(lambda artist: hasattr(artist, "get_text"))]
    for name, facts in (("tiny", study.summary), ("flat", study.summary["beside"]["flat"])):
        assert f"{name}: median {facts['std']['50%']:.3g}" in drawn


def test_command_measures_runs_side_by_side(tmp_path, capsys):
    models = {name: kr.build(name, (8, 8, 1)) for name in ("preresnet8", "plain8")}
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    arguments = ["study", "responses", str(tmp_path / "preresnet8.keras"), "--beside", str(tmp_path / "plain8.keras")]
    assert cli.main([*arguments, "--data", "digits", "--examples", "20", "--out", str(tmp_path / "out")]) == 0
    assert "preresnet8 against plain8" in capsys.readouterr().out
    found = kr.studies.Study.load(tmp_path / "out")
    data = kr.data.load("digits").first(20)
    assert found.rows.equals(kr.studies.responses(models["preresnet8"], data, beside=[models["plain8"]]).rows)
    assert found.summary["examples"] == 20
    assert cli.main([*arguments, "--data", "digits", "--draws", "3", "--out", str(tmp_path / "out")]) == 2
    assert "--draws is not for the study 'responses'" in capsys.readouterr().err
