"""`get`: parses the short form of policies, as on the command line."""

from __future__ import annotations

from keras_resnets.errors import ArgumentError, nearest
from keras_resnets.explaining import explained
from keras_resnets.paths.kinds import Bernoulli, DropPath, FixedSize, StochasticDepth
from keras_resnets.paths.policy import Policy

_NAMES: dict[str, tuple[type[Policy], tuple[type, ...]]] = {
    "fixed": (FixedSize, (int,)),
    "stochastic": (StochasticDepth, (float, str)),
    "bernoulli": (Bernoulli, (float,)),
    "drop": (DropPath, (float,)),
}


@explained
def get(policy: str | Policy | None) -> Policy | None:
    """Returns a policy, parsed from the short form of the command line if necessary.

    Args:
        policy: `"fixed:23"`, `"stochastic:0.5"`, `"stochastic:0.5:uniform"`, `"bernoulli:0.8"` or `"drop:0.1"`; a
            policy, or None, is returned unchanged.

    Raises:
        ArgumentError: `policy` is not one of these.

    Example:
        >>> import keras_resnets as kr
        >>> kr.paths.get("fixed:23").blocks
        23
    """
    if policy is None or isinstance(policy, Policy):
        return policy
    forms = "fixed:23, stochastic:0.5, stochastic:0.5:uniform, bernoulli:0.8 or drop:0.1"
    if not isinstance(policy, str):
        raise ArgumentError(
            f"paths must be a policy of keras_resnets.paths, or a text such as {forms}; got {policy!r}."
        )
    name, *values = policy.split(":")
    if name not in _NAMES:
        raise ArgumentError(f"paths: there is no policy {name!r}; the nearest are: {nearest(name, _NAMES)}.")
    kind, types = _NAMES[name]
    try:
        arguments = [convert(value) for convert, value in zip(types, values, strict=False)]
        if not values or len(values) > len(types):
            raise ValueError
    except ValueError:
        raise ArgumentError(f"paths must be of a form such as {forms}; got {policy!r}.") from None
    return kind(*arguments)
