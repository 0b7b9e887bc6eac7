"""What figures say, against the rows they are drawn from, and labels that lie on nothing."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import keras_resnets as kr
from keras_resnets.data.batches import name_of
from keras_resnets.errors import ArgumentError
from keras_resnets.reports import figures, labels
from keras_resnets.studies import Study

GOLDEN = Path(__file__).parent / "golden" / "studies"


def golden(name, **facts):
    study = Study.load(GOLDEN / name)
    study.summary |= facts
    return study


def lesions(name, errors, **facts):
    """A made-up study of a network whose blocks, if deleted, leave these errors."""
    stages = [f"stage{1 + 3 * i // len(errors)}" for i in range(len(errors))]
    columns = {"model": name, "block": [f"b{i}" for i in range(len(errors))], "stage": stages, "error": errors}
    rows = pd.DataFrame(columns).assign(error_low=lambda r: r["error"] * 0.9, error_high=lambda r: r["error"])
    whole = {"intact": {"error": 0.05}, "examples": 10_000, "classes": 10, "labels": "given", "model": name}
    return rows, whole | {"blocks": len(errors), "bridged_without_weights": [], "beside": {}} | facts


def words(figure):
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return [text.get_text() for text in found if text.get_text()]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def points(axes, marker):
    """The points of a marker in a panel."""
    found = [line.get_xydata() for line in axes.lines if line.get_marker() == marker]
    return np.concatenate(found)


def box_of(text):
    """The place of a text alone, without the line of an annotation, in pixels."""
    text.get_window_extent()  # brings an annotation to its point
    return Text.get_window_extent(text)


def assert_apart(figure, axes, texts):
    """None of the texts of a panel overlaps another or the panel's points, and none leaves the panel."""
    shown = [text for text in axes.texts if text.get_text() in texts]
    assert len(shown) == len(texts)
    boxes, panel = [box_of(text) for text in shown], axes.get_window_extent()
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i]), (shown[i], texts)
        assert box.x0 >= panel.x0 - 1
        assert box.x1 <= panel.x1 + 1
        assert box.y0 >= panel.y0 - 1
        assert box.y1 <= panel.y1 + 1
        for marker in "osD^":
            for line in axes.lines:
                if line.get_marker() == marker and len(line.get_xdata()):
                    assert not any(box.contains(*at) for at in axes.transData.transform(line.get_xydata()))


def test_the_title_names_network_data_and_number_of_examples():
    facts = {"model": "resnet20", "examples": 10_000, "data": "/somewhere/flowers"}
    assert figures.heading(facts, "delete") == "resnet20 on flowers, 10,000 examples: delete"
    assert figures.heading(facts | {"data": "given"}, "delete") == "resnet20 on the given data, 10,000 examples: delete"
    del facts["data"]  # of an early version
    assert figures.heading(facts, "delete") == "resnet20, 10,000 examples: delete"
    assert golden("lesion", data="digits").figure().get_suptitle().startswith("tiny on digits, 397 examples: ")


def test_the_name_of_data_of_any_kind():
    assert name_of(Path("a") / "b") == str(Path("a") / "b")
    assert name_of(kr.data.load("digits").first(8)) == "digits"
    arrays = np.zeros((40, 8, 8, 1)), np.arange(40) % 4
    assert name_of(arrays) == name_of(kr.data.load(arrays)) == name_of([arrays]) == "given"


def test_each_network_of_a_lesion_study_has_its_panel_and_its_error_once():
    ours, facts = lesions("deep", np.linspace(0.06, 0.5, 18))
    other, beside = lesions("short", np.full(6, 0.9), intact={"error": 0.07})
    study = Study("lesion", pd.concat([ours, other], ignore_index=True), facts | {"beside": {"short": beside}})
    figure = study.figure()
    left, right = figure.axes
    np.testing.assert_allclose(points(left, "o"), np.column_stack([np.arange(1, 19), ours["error"]]))
    np.testing.assert_allclose(points(right, "o"), np.column_stack([np.arange(1, 7), other["error"]]))
    assert right.get_xlim() == (0.5, 6.5), "its layers fill its panel"
    assert [axes.get_title("left") for axes in (left, right)] == ["deep, left whole: 5.0%", "short, left whole: 7.0%"]
    assert [text for text in legend_of(figure) if "left whole" in text] == ["left whole"]
    assert_apart(figure, left, ["b15", "b16", "b17"])
    assert_apart(figure, right, ["b0", "b1", "b2"])


@pytest.mark.parametrize("data", ["cifar10:3.0.2", "digits", None])
def test_the_papers_points_stand_beside_the_same_data_or_apart(data):
    rows, facts = lesions("deep", np.full(54, 0.06), **({"data": data} if data else {}))
    figure = Study("lesion", rows, facts).figure()
    same = data is not None and data.startswith("cifar10")
    assert len(figure.axes) == (1 if same else 2)
    assert set(points(figure.axes[-1], "D")[:, 0]) == {1, 11, 19, 37}
    if not same:
        assert not any(line.get_marker() == "D" for line in figure.axes[0].lines)
        assert "ResNet-110 on CIFAR-10" in figure.axes[1].get_title()
    assert len(Study("lesion", *lesions("less", np.full(27, 0.06))).figure().axes) == 1


def test_unskip_shows_each_block_either_way():
    study = golden("unskip")
    left, right = study.figure().axes
    rows = {kind: part["error"].to_numpy() for kind, part in study.rows.groupby("kind")}
    shown = {tuple(point) for point in points(right, "o").round(9)}
    assert shown == {tuple(point) for point in np.column_stack([rows["delete"], rows["unskip"]]).round(9)}
    s = study.summary
    above = f"equal; above it, {s['unskip_costs_more']} of {s['identity_skips']}, the skip costs more"
    assert above in legend_of(left.figure)
    assert (rows["unskip"] > rows["delete"]).sum() == s["unskip_costs_more"]


def test_a_spike_of_sampled_paths_is_marked_and_squashes_nothing():
    study = golden("paths")
    exact = study.rows["kind"] == "input"
    shares = np.zeros(exact.sum())
    shares[1] = 40.0  # far above what is exact
    study.rows.loc[exact, "sampled_share"] = shares
    figure = study.figure()
    axes = figure.axes[1]
    top = axes.get_ylim()[1]
    assert top == pytest.approx(1.3 * study.rows.loc[exact, ["norm_share", "share", "paths"]].max().max())
    np.testing.assert_allclose(points(axes, "^"), [[study.rows.loc[exact, "length"].iloc[1], top]])
    assert "4000%" in words(figure)
    s = study.summary["exact"]
    assert f"lengths {s['low']} to {s['high']}: {s['mass']:.0%} of the exact sums" in legend_of(figure)
    study.rows["sampled_share"] = study.rows["norm_share"]
    assert not any(line.get_marker() == "^" for line in study.figure().axes[1].lines)


def test_prune_draws_lines_only_along_an_order_and_labels_apart():
    study = golden("prune")
    counts = {"dropped": range(12)}
    rows = pd.DataFrame(counts).assign(state=lambda r: np.where(r["dropped"] == 0, "whole", "dropped"), error=0.015)
    rows = rows.assign(error_low=0.01, error_high=0.02, keras_latency=[4, 3.9, 3.95, 3, 3.9, 3.9, 3.9, 3, 3, 2, 3, 2])
    rows["keras_latency"] *= 1e-3
    study.rows = rows.assign(keras_latency_low=rows["keras_latency"], keras_latency_high=rows["keras_latency"])
    figure = study.figure()
    ordered, timed = figure.axes
    joined = [[line for line in axes.lines if line.get_linestyle() == "-"] for axes in (ordered, timed)]
    assert [len(lines) for lines in joined] == [2, 1], "left whole in both, the states on the left alone"
    assert_apart(figure, timed, ["11 dropped", "9", "7", "5", "3", "1"])


def test_degradation_has_a_panel_for_each_error_and_tells_a_cut():
    study = golden("degradation", data="digits")
    epochs = pd.concat(
        [study.tables["epochs"].assign(epoch=k, train_error=0.9 / k**2, test_error=0.3) for k in (1, 2, 3)]
    )
    study.tables["epochs"] = epochs
    figure = study.figure()
    assert figure.get_suptitle().startswith("digits, 397 examples: ")
    titles = [axes.get_title("left") for axes in figure.axes]
    cut = "\naxis cut at 32%: the first epochs reach 90%"  # 3 times the median of the last
    assert titles[:2] == [f"plain, training error{cut}", f"resnet, training error{cut}"]
    assert titles[3:5] == ["plain, test error", "resnet, test error"]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [0.9, 0.225, 0.1])
    np.testing.assert_allclose(figure.axes[3].lines[0].get_ydata(), [0.3, 0.3, 0.3])


def equal_networks(count):
    """A made-up comparison of networks that are all alike."""
    names = [f"net{i}" for i in range(count)]
    columns = {"network": names, "recipe": names, "accuracy": 0.9, "accuracy_low": 0.88, "accuracy_high": 0.92}
    rows = pd.DataFrame(columns).assign(examples=100, parameters=[270_000 + 1000 * i for i in range(count)], macs=4e7)
    pair = {"difference": 0.0, "low": -0.01, "high": 0.01, "p": 1.0, "p_holm": 1.0, "paired": True, "repeats": False}
    pairs = [{"first": a, "second": b, **pair} for i, a in enumerate(names) for b in names[i + 1 :]]
    facts = {"score": "accuracy", "data": dict.fromkeys(names, "digits"), "split": "test"}
    return Study("compare", rows, facts, tables={"pairs": pd.DataFrame(pairs)})


def test_labels_of_equal_networks_lie_apart():
    study = equal_networks(4)
    figure = study.figure()
    alike = "\n".join(f"net{i}: {270 + i} k parameters" for i in range(4))
    assert_apart(figure, figure.axes[3], [alike])
    # Nearly the same: a label each.
    study.rows["macs"] *= 1 + 1e-3 * np.arange(4)
    figure = study.figure()
    assert_apart(figure, figure.axes[3], alike.split("\n"))
    assert "-0.00" not in words(figure)


def test_labels_lie_apart_in_a_crowd():
    """Twenty points within a tenth of a panel."""
    figure, rng = Figure(figsize=(9, 4), layout="constrained"), np.random.default_rng(0)
    axes = figure.subplots()
    crowd = 0.5 + 0.1 * rng.random((20, 2))
    axes.plot(*crowd.T, "o")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    names = [f"stage{i}_block{i}" for i in range(20)]
    labels.place(figure, [(axes, x, y, name) for (x, y), name in zip(crowd, names, strict=True)])
    boxes = [box_of(text) for text in axes.texts]
    assert len(boxes) == 20
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])


def test_names_of_stages_are_shortened_where_they_do_not_fit():
    figure = Figure(figsize=(2.5, 3), layout="constrained")
    axes = figure.subplots()
    figures.stage_bands(axes, [f"stage{i}" for i in range(1, 9)])
    figures.finish(figure, "narrow")
    assert [text.get_text() for text in axes.texts if text.get_visible()] == list("12345678")


def test_a_figure_is_drawn_in_panels_of_the_callers_own():
    study = golden("unskip")
    figure, axes = plt.subplots(1, 2)
    assert study.figure(axes=axes) is figure
    assert [panel.get_xlabel() for panel in axes] == [panel.get_xlabel() for panel in study.figure().axes]
    assert len(points(axes[1], "o")) == study.summary["identity_skips"]
    assert axes[0].get_legend() is not None
    assert not figure.legends
    with pytest.raises(ArgumentError, match="2; got 1"):
        study.figure(axes=axes[0])
    assert study.figure() is not figure, "the panels are forgotten"
    one = plt.figure().subplots()
    assert golden("lesion").figure(axes=one) is one.figure
    assert one.get_title("left").startswith("tiny, 397 examples")
    plt.close("all")
