"""The width that meets a budget, against the built network."""

import dataclasses
import random

import pytest

import keras_resnets as kr
from keras_resnets.architecture import budget, counting, variants
from keras_resnets.errors import ArgumentError
from keras_resnets.network.cost import leaves


def activations(model):
    """Elements of the outputs of all convolutions for one example, from the built layers."""
    total = 0
    for layer, _, shape in leaves(model, (1, *model.input_shape[1:])):
        if type(layer).__name__ == "Conv2D":
            total += shape[1] * shape[2] * shape[3]
    return total


MEASURED = {"parameters": kr.parameters, "macs": kr.macs, "activations": activations}


@pytest.mark.parametrize("measure", budget.MEASURES)
@pytest.mark.parametrize("name", ["preresnet20", "resnet20", "wrn_16_4", "plain20"])
def test_the_built_network_meets_the_budget(name, measure):
    rng = random.Random(f"{name} {measure}")
    spec = variants.spec(name).replace(input_shape=(16, 16, 3))
    least = {"parameters": 20_000, "macs": 2_000_000, "activations": 30_000}[measure]
    for _ in range(4):
        amount = round(least * 10 ** rng.uniform(0, 1.5))
        template = budget.with_blocks(spec, rng.choice([1, 2, 3]))
        if name != "plain20":
            template = budget.with_unit(template, rng.choice(["basic", "bottleneck", "B(3,1,3)"]))
        solved = budget.solve(template, measure, amount)
        assert abs(MEASURED[measure](kr.build(solved)) - amount) <= 0.02 * amount
        assert [s.blocks for s in solved.stages] == [s.blocks for s in template.stages]
        assert [s.kernels for s in solved.stages] == [s.kernels for s in template.stages]


def test_its_own_cost_gives_a_network_back():
    for name in ("resnet20", "preresnet56", "wrn_28_2", "resnet18", "preresnet164"):
        spec = variants.spec(name)
        for measure in budget.MEASURES:
            solved = budget.solve(spec, measure, getattr(counting.count(spec), measure), tolerance=1e-9)
            assert solved == spec, (name, measure)


def test_of_what_meets_the_budget_the_closest_in_proportion_is_taken():
    spec = variants.spec("preresnet20")
    solved = budget.solve(spec, "parameters", 100_000)
    factor = solved.stages[2].widths[0] / 64

    def distortion(widths):
        return max(abs(w / (b * factor) - 1) for w, b in zip(widths, (16, 32, 64), strict=True))

    found = [stage.widths[0] for stage in solved.stages]
    for a in range(7, 13):
        for b in range(14, 26):
            widths = (a, b, found[2])
            stages = tuple(dataclasses.replace(s, widths=(w, w)) for s, w in zip(spec.stages, widths, strict=True))
            cost = counting.count(spec.replace(stages=stages, stem_width=min(solved.stem_width, a))).parameters
            if abs(cost - 100_000) <= 2_000:
                assert distortion(widths) >= distortion(found) - 0.03


def test_a_wider_network_keeps_its_stem_and_a_narrower_one_narrows_it():
    spec = variants.spec("wrn_16_4")
    assert budget.solve(spec, "parameters", 10_000_000).stem_width == 16
    narrow = budget.solve(spec, "parameters", 30_000)
    assert narrow.stem_width < 16
    assert narrow.stem_width == pytest.approx(16 * narrow.stages[2].widths[0] / 256, abs=1)


def test_units_have_the_layers_they_say():
    base = variants.spec("wrn_40_2")
    # Zagoruyko & Komodakis 2016, Table 2: millions of parameters at k = 2. Its parameter counts are those of 6, 4 and 3
    # blocks a stage where it says 40, 28 and 22, also for units of three layers.
    table = {"B(1,3,1)": (6, 1.4), "B(3,1)": (6, 1.2), "B(1,3)": (6, 1.3), "B(3,1,1)": (6, 1.3), "B(3,3)": (4, 1.5)}
    for unit, (blocks, millions) in {**table, "B(3,1,3)": (3, 1.1)}.items():
        spec = budget.with_unit(budget.with_blocks(base, blocks), unit)
        assert spec.depth == 2 + 3 * blocks * (unit.count(",") + 1)
        assert counting.count(spec).parameters / 1e6 == pytest.approx(millions, abs=0.1), unit
    assert (
        counting.count(
            budget.with_unit(budget.with_blocks(variants.spec("preresnet110"), 18), "bottleneck").replace(shortcut="B")
        ).parameters
        == 1_703_258
    )  # He et al. 2016: preresnet164


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: budget.solve(s, "weights", 1000), "measure must be"),
        (lambda s: budget.solve(s, "parameters", 0), "budget of parameters"),
        (lambda s: budget.solve(s, "parameters", 1000, 0), "tolerance must be"),
        (lambda s: budget.solve(s, "parameters", 150), "No width"),
        (lambda s: budget.with_blocks(s, (1, 2)), "3 stages"),
        (lambda s: budget.with_blocks(s, 0), "blocks"),
        (lambda s: budget.with_unit(s, "B(2,2)"), "odd"),
        (lambda s: budget.with_unit(s, "wide"), "unit must be"),
    ],
)
def test_wrong_arguments_are_told(call, said):
    with pytest.raises(ArgumentError, match=said):
        call(variants.spec("preresnet20"))
