"""Specs with another depth, unit or width, and the width that meets a budget. Keras is not imported."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator, Sequence

from keras_resnets.architecture.counting import count
from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError, number, one_of, whole_number
from keras_resnets.explaining import explained

# The costs that a budget can limit: fields of `Counts`.
MEASURES = ("parameters", "macs", "activations")
# Where a common factor misses the budget, the width of each stage is varied by up to so many channels.
_REACH = 2


@explained
def costs(spec: Spec) -> dict[str, int]:
    """Returns the cost of a network by each of `MEASURES`.

    Args:
        spec: the spec of the network.

    Returns:
        `parameters`, `macs` (multiply-adds of an example) and `activations` (elements of convolutions' outputs).
    """
    counts = count(spec)
    return {measure: getattr(counts, measure) for measure in MEASURES}


@explained
def with_blocks(spec: Spec, blocks: int | Sequence[int]) -> Spec:
    """Returns the spec with another number of blocks.

    Args:
        spec: the spec.
        blocks: number of blocks of each stage; one number for all stages, or one for each.

    Raises:
        ArgumentError: the numbers are not one for each stage, or not positive whole numbers.

    Example:
        >>> from keras_resnets.architecture import budget, variants
        >>> budget.with_blocks(variants.spec("resnet20"), 9).depth
        56
    """
    numbers = [blocks] * len(spec.stages) if isinstance(blocks, int) else list(blocks)
    if len(numbers) != len(spec.stages):
        raise ArgumentError(
            f"blocks must be one number, or one for each of the {len(spec.stages)} stages of {spec.name!r}; "
            f"got {blocks!r}."
        )
    for stage_blocks in numbers:
        whole_number("blocks", stage_blocks, 1)
    stages = (dataclasses.replace(s, blocks=n) for s, n in zip(spec.stages, numbers, strict=True))
    return spec.replace(stages=tuple(stages))


@explained
def with_unit(spec: Spec, unit: str) -> Spec:
    """Returns the spec with other residual units, as wide as the first convolutions of its own.

    Args:
        spec: the spec.
        unit: `"basic"`, two 3x3 convolutions; `"bottleneck"`, 1x1, 3x3, and a 1x1 that is four times as
            wide (He et al. 2015, Table 1); or such as `"B(3,1,3)"`, convolutions of these kernels, all
            of one width (Zagoruyko & Komodakis 2016, section 3).

    Raises:
        ArgumentError: the unit is not one of these.

    Example:
        >>> from keras_resnets.architecture import budget, variants
        >>> budget.with_unit(variants.spec("wrn_40_2"), "B(3,1)").stages[0].kernels
        (3, 1)
    """
    shapes = {"basic": ((3, 3), (1, 1)), "bottleneck": ((1, 3, 1), (1, 1, 4))}
    if match := re.fullmatch(r"B\((\d(?:,\d)*)\)", unit if isinstance(unit, str) else ""):
        kernels = tuple(int(kernel) for kernel in match[1].split(","))
        shapes[unit] = (kernels, (1,) * len(kernels))
    if unit not in shapes:
        raise ArgumentError(f"unit must be 'basic', 'bottleneck' or such as 'B(3,1,3)'; got {unit!r}.")
    kernels, ratios = shapes[unit]
    stages = (
        dataclasses.replace(stage, kernels=kernels, widths=tuple(stage.widths[0] * ratio for ratio in ratios))
        for stage in spec.stages
    )
    return spec.replace(stages=tuple(stages))


@explained
@functools.lru_cache(maxsize=4096)
def solve(spec: Spec, measure: str, amount: int, tolerance: float = 0.02) -> Spec:
    """Returns the spec with the width at which the network has a given cost.

    One factor scales all stages, so their proportions are those of `spec` up to rounding. Where whole channels are too
    coarse for that, as in a narrow network, single stages change by a channel or two; of the widths that meet the
    budget, the closest in proportion are taken. The stem keeps its width in a wider network (Zagoruyko & Komodakis
    2016, Table 1) and narrows with a narrower one. A head for segmentation scales with the stages.

    Args:
        spec: the network, its number of blocks, and the proportions of its widths.
        measure: the cost: `"parameters"` (trainable), `"macs"` (multiply-adds for one example)
            or `"activations"` (elements of all convolutions' outputs for one example, Wu et al.
            2016's memory), counted for the spec's own input and classes.
        amount: the budget.
        tolerance: the largest difference between cost and budget, as a share of the budget.

    Returns:
        A spec whose stages have the new widths, and whose `width` is 1.

    Raises:
        ArgumentError: no width meets the budget, or an argument breaks its rule.

    Example:
        >>> from keras_resnets.architecture import budget, counting, variants
        >>> shallow = budget.with_blocks(variants.spec("preresnet56"), 1)
        >>> wider = budget.solve(shallow, "parameters", 853_018)
        >>> wider.stages[0].widths, counting.count(wider).parameters
        ((55, 55), 851154)
    """
    one_of("measure", measure, MEASURES)
    whole_number(f"the budget of {measure}", amount, 1)
    number("tolerance", tolerance, above=0, below=1)
    stages = tuple(dataclasses.replace(stage, widths=spec.widths(stage)) for stage in spec.stages)
    spec = spec.replace(stages=stages, head_width=spec.scaled(spec.head_width), width=1.0)
    bases = tuple(stage.widths[0] for stage in spec.stages)

    # Bisect for the smallest factor that reaches the budget, until rounding to whole channels hides the difference.
    low, high = 0.0, 1.0
    while _cost(spec, _scaled(bases, high), high, measure) < amount:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        too_small = _cost(spec, _scaled(bases, middle), middle, measure) < amount
        low, high = (middle, high) if too_small else (low, middle)

    # Rounding may miss the budget, so try widths near that factor, the best proportions first.
    closest: tuple[float, int] = (float("inf"), 0)
    for widths in _near(bases, high, spec.shortcut == "A"):
        cost = _cost(spec, widths, high, measure)
        if abs(cost - amount) <= tolerance * amount:
            return _widened(spec, widths, high)
        closest = min(closest, (abs(cost - amount), cost))
    raise ArgumentError(
        f"No width brings {spec.name!r} with {[stage.blocks for stage in spec.stages]} blocks to within "
        f"{tolerance:.1%} of {amount:,} {measure}; the closest costs {closest[1]:,}. "
        f"Give another budget, fewer blocks, or a larger tolerance."
    )


def _cost(spec: Spec, widths: Sequence[int], factor: float, measure: str) -> int:
    return getattr(count(_widened(spec, widths, factor)), measure)


def _scaled(bases: Sequence[int], factor: float) -> tuple[int, ...]:
    return tuple(max(1, round(base * factor)) for base in bases)


def _near(bases: Sequence[int], factor: float, rising: bool) -> Iterator[tuple[int, ...]]:
    """Yields widths close to `factor` times `bases`, the closest in proportion first."""
    steps = range(-_REACH, _REACH + 1)
    around = ([w + step for step in steps if w + step >= 1] for w in _scaled(bases, factor))
    candidates = [w for w in itertools.product(*around) if not rising or list(w) == sorted(w)]
    yield from sorted(candidates, key=lambda widths: (_distortion(widths, bases, factor), widths))


def _distortion(widths: Sequence[int], bases: Sequence[int], factor: float) -> float:
    """Returns the largest relative difference between `widths` and `factor` times `bases`."""
    return max(abs(width / (base * factor) - 1) for width, base in zip(widths, bases, strict=True))


def _widened(spec: Spec, widths: Sequence[int], factor: float) -> Spec:
    """Returns the spec with these widths of each stage's first convolutions, and the other widths in proportion."""
    stages = tuple(
        dataclasses.replace(stage, widths=tuple(max(1, round(w / stage.widths[0] * width)) for w in stage.widths))
        for stage, width in zip(spec.stages, widths, strict=True)
    )
    stem = spec.stem_width
    if factor < 1:
        stem = max(1, min(round(stem * factor), stages[0].widths[-1]))
    elif spec.shortcut == "A":
        stem = min(stem, stages[0].widths[-1])
    head = max(1, round(spec.head_width * factor)) if spec.is_dense else spec.head_width
    return spec.replace(stages=stages, stem_width=stem, head_width=head)
