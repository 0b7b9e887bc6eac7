"""A residual unit as plain data, beside its convolutions: where its activations stand, and what its skip does.

The two are what He et al. 2016 vary in their Tables 2 and 1. Standard library only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from keras_resnets.errors import ArgumentError, one_of


@dataclass(frozen=True)
class Placement:
    """Where batch-norm (`"bn"`) and ReLU (`"relu"`) stand.

    Attributes:
        before: in front of each convolution of a residual branch.
        behind: behind each convolution of a residual branch but the last.
        last: behind the last one, in front of the addition.
        total: behind the addition.
        stem: behind a 3x3 stem. A 7x7 stem has batch-norm and ReLU in front of its max-pool in any case.
        end: behind the last block, in front of the pooling.
    """

    before: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    total: tuple[str, ...] = ()
    stem: tuple[str, ...] = ()
    end: tuple[str, ...] = ()

    @property
    def projection(self) -> tuple[str, ...]:
        """Behind the convolution of a shortcut: batch-norm where the residual branch, too, is normalised when added."""
        return ("bn",) if "bn" in self.last else ()


_BOTH = ("bn", "relu")

# He et al. 2016, Table 2. What a row has in front of its convolutions, it lacks behind the stem and has once more at
# the end: the appendix says so of full pre-activation.
PLACEMENTS = {
    "post": Placement(behind=_BOTH, last=("bn",), total=("relu",), stem=_BOTH),
    "bn_after": Placement(behind=_BOTH, total=_BOTH, stem=_BOTH),
    "relu_before": Placement(behind=_BOTH, last=_BOTH, stem=_BOTH),
    "relu_only": Placement(before=("relu",), behind=("bn",), last=("bn",), stem=("bn",), end=("relu",)),
    "pre": Placement(before=_BOTH, end=_BOTH),
}


@dataclass(frozen=True)
class Skip:
    """What a skip connection does to what it carries (He et al. 2016, section 3).

    Attributes:
        kind: `"identity"`, `"scale"`, `"gate"`, `"shortcut_gate"` or `"dropout"`.
        shortcut: of `"scale"`, what the shortcut is multiplied with.
        residual: of `"scale"`, what the residual branch is multiplied with.
        bias: of the gates, the bias of their convolution at the start.
        rate: of `"dropout"`, the rate.
    """

    kind: str = "identity"
    shortcut: float = 1.0
    residual: float = 1.0
    bias: float = 0.0
    rate: float = 0.0


# The names of the numbers behind each kind, and how it is written.
_FORMS = {
    "identity": ((), "identity"),
    "scale": (("shortcut", "residual"), "scale:0.5:1"),
    "gate": (("bias",), "gate:-6"),
    "shortcut_gate": (("bias",), "shortcut_gate:-6"),
    "dropout": (("rate",), "dropout:0.5"),
}


def skip(text: str) -> Skip:
    """Reads the field `skip` of a spec.

    Args:
        text: `"identity"`, `"scale:S:F"`, `"gate:B"`, `"shortcut_gate:B"` or `"dropout:R"`.

    Raises:
        ArgumentError: it is none of these, or a number breaks its rule.

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
    found = Skip(kind, **dict(zip(names, numbers, strict=True)))
    if found.shortcut == 0:
        raise ArgumentError(f"skip: a shortcut times 0 is a plain network; got {text!r}. Use shortcut='none'.")
    if found.shortcut < 0 or found.residual <= 0:
        raise ArgumentError(f"skip must scale by positive numbers; got {text!r}.")
    if kind == "dropout" and not 0 < found.rate < 1:
        raise ArgumentError(f"skip: the rate of dropout must be more than 0 and less than 1; got {text!r}.")
    return found
