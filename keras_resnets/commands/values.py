"""Types of the values of options; what breaks their rule is told before Keras is imported, which takes seconds."""

from __future__ import annotations

import click

from keras_resnets.errors import whole_number


class Whole(click.ParamType):
    """A whole number.

    Args:
        least: the smallest that is allowed.
        most: the largest; None for no bound.
    """

    name = "integer"

    def __init__(self, least: int = 1, most: int | None = None):
        self.least, self.most = least, most

    def convert(self, value, param, ctx):
        number = click.INT(value, param, ctx)
        whole_number(param.opts[-1] if param else "the number", number, self.least, self.most)
        return number


class Listed(click.ParamType):
    """Values of one kind, joined by commas."""

    def __init__(self, kind: type):
        self.kind, self.name = click.types.convert_type(kind), "list"

    def convert(self, value, param, ctx):
        return value if isinstance(value, tuple) else tuple(self.kind(part, param, ctx) for part in value.split(","))


SEED = Whole(0, 2**31 - 1)
