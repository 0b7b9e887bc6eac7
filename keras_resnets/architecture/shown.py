"""What notebooks show of specs and of the plans made from them."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_resnets.architecture import counting
from keras_resnets.architecture.plan import Block, Plan, Pool
from keras_resnets.architecture.spec import Spec
from keras_resnets.showing import Description, Table, describes

# What the table of the stages and the first facts say.
_SAID = ("name", "stages", "input_shape", "classes")


@describes(Spec)
def _spec(spec: Spec) -> Description:
    facts: list[tuple[str, Any]] = [
        ("input", by_sides(spec.input_shape)),
        ("classes", spec.classes),
        ("depth", spec.depth),
        ("blocks", spec.blocks),
    ]
    if None not in spec.input_shape:
        counts = counting.count(spec)
        facts += [("parameters", counts.parameters), ("multiply-adds", counts.macs)]
    fields = [(f, getattr(spec, f.name)) for f in dataclasses.fields(spec) if f.name not in _SAID]
    facts += [(f.name, _text(value)) for f, value in fields if value != f.default]
    columns = ("blocks", "widths", "kernels", "stride", "pool", "dilation")
    rows = [[_text(getattr(stage, column)) for column in columns] for stage in spec.stages]
    numbered = [[number, *row] for number, row in enumerate(rows, 1)]
    return Description(spec.name, facts, tables=[Table(("stage", *columns), numbered)])


@describes(Plan)
def _plan(plan: Plan) -> Description:
    stem = "7x7 convolution of stride 2 and max-pool" if plan.deep else "3x3 convolution"
    facts = [("stem", ", ".join((stem, *plan.stem))), ("behind the last block", ", ".join(plan.end) or "nothing")]
    columns = ("link", "kind", "in", "out", "kernels", "stride", "dilation", "shortcut")
    return Description("Plan", facts, tables=[Table(columns, [_link(link) for link in plan.links])])


def _link(link: Pool | Block) -> list[Any]:
    if isinstance(link, Pool):
        return [link.name, "max-pool", None, None, link.window, link.stride, link.dilation, None]
    kernels = _text(tuple(convolution.kernel for convolution in link.convolutions))
    dilation = _text(tuple(convolution.dilation for convolution in link.convolutions))
    kind = "none" if link.shortcut is None else "projection" if link.shortcut.projects else "identity or padding"
    return [link.name, "block", link.channels, link.width, kernels, link.stride, dilation, kind]


def by_sides(shape: tuple[int | None, ...]) -> str:
    """Returns a shape in words, such as 32x32x3."""
    return "x".join("any" if side is None else str(side) for side in shape)


def _text(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
