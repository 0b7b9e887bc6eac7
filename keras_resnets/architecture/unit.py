"""`Placement` and `Skip`: the activations and the skip connection of a residual unit, as plain data.

He et al. 2016 vary them in their Tables 2 and 1. Standard library only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from keras_resnets.errors import ArgumentError, one_of


@dataclass(frozen=True)
class Placement:
    """The positions of batch-norm (`"bn"`) and ReLU (`"relu"`).

    Attributes:
        before: before each convolution of a residual branch.
        behind: after each convolution of a residual branch but the last.
        last: after the last one, before the addition.
        total: after the addition.
        stem: after a 3x3 stem. A 7x7 stem always has batch-norm and ReLU before its max-pool.
        end: after the last block, before the pooling.
        title: what the paper calls it; empty for one that it does not have.
    """

    before: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    total: tuple[str, ...] = ()
    stem: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    title: str = ""

    @property
    def projection(self) -> tuple[str, ...]:
        """The layers after a projection: batch-norm, if the residual branch also ends in one before the addition."""
        return ("bn",) if "bn" in self.last else ()


_BOTH = ("bn", "relu")

# He et al. 2016, Table 2. Layers before the convolutions are missing after the stem and occur once more at the end: the
# appendix says so of full pre-activation.
PLACEMENTS = {
    "post": Placement(behind=_BOTH, last=("bn",), total=("relu",), stem=_BOTH, title="original"),
    "bn_after": Placement(behind=_BOTH, total=_BOTH, stem=_BOTH, title="BN after addition"),
    "relu_before": Placement(behind=_BOTH, last=_BOTH, stem=_BOTH, title="ReLU before addition"),
    "relu_only": Placement(
        before=("relu",), behind=("bn",), last=("bn",), stem=("bn",), end=("relu",), title="ReLU-only pre-activation"
    ),
    "pre": Placement(before=_BOTH, end=_BOTH, title="full pre-activation"),
    # Not the paper's: kuangliu's pytorch-cifar leaves the end out (`models/preact_resnet.py`).
    "pre_open": Placement(before=_BOTH),
}


@dataclass(frozen=True)
class Skip:
    """The operation on a skip connection (He et al. 2016, section 3).

    Attributes:
        kind: `"identity"`, `"scale"`, `"gate"`, `"shortcut_gate"` or `"dropout"`.
        shortcut: for `"scale"`, the factor of the shortcut.
        residual: for `"scale"`, the factor of the residual branch.
        bias: for the gates, the initial bias of their convolution.
        rate: for `"dropout"`, the rate.
    """

    kind: str = "identity"
    shortcut: float = 1.0
    residual: float = 1.0
    bias: float = 0.0
    rate: float = 0.0


# For each kind, the names of the numbers after it, and an example of how it is written.
_FORMS = {
    "identity": ((), "identity"),
    "scale": (("shortcut", "residual"), "scale:0.5:1"),
    "gate": (("bias",), "gate:-6"),
    "shortcut_gate": (("bias",), "shortcut_gate:-6"),
    "dropout": (("rate",), "dropout:0.5"),
}


def skip(text: str) -> Skip:
    """Parses the field `skip` of a spec.

    Args:
        text: `"identity"`, `"scale:S:F"`, `"gate:B"`, `"shortcut_gate:B"` or `"dropout:R"`.

    Raises:
        ArgumentError: the text is none of these, or a number breaks its rule.

    Example:
        >>> from keras_resnets.architecture import unit
        >>> unit.skip("gate:-6").bias
        -6.0
    """
    forms = [form for _, form in _FORMS.values()]
    if not isinstance(text, str):
        raise ArgumentError(f"skip must be a text such as {', '.join(forms[:-1])} or {forms[-1]}; got {text!r}.")
    kind, *values = text.split(":")
    one_of("skip, before the first colon,", kind, _FORMS)
    names, form = _FORMS[kind]
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    if len(numbers) != len(names) or not all(map(math.isfinite, numbers)):
        raise ArgumentError(f"skip must be of the form {form!r}, with finite numbers; got {text!r}.")
    parsed = Skip(kind, **dict(zip(names, numbers, strict=True)))
    if parsed.shortcut == 0:
        raise ArgumentError(f"skip: a shortcut times 0 is a plain network; got {text!r}. Use shortcut='none'.")
    if parsed.shortcut < 0 or parsed.residual <= 0:
        raise ArgumentError(f"skip must scale by positive numbers; got {text!r}.")
    if kind == "dropout" and not 0 < parsed.rate < 1:
        raise ArgumentError(f"skip: the rate of dropout must be more than 0 and less than 1; got {text!r}.")
    return parsed
