"""Groups of commands, which name the nearest for one that there is not."""

from __future__ import annotations

import click

from keras_resnets.errors import nearest


class Group(click.Group):
    """A group of commands.

    Attributes:
        one: what messages call a command of it.
    """

    one = "command"

    def resolve_command(self, ctx: click.Context, args: list[str]):
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing and not args[0].startswith("-"):
            close = nearest(args[0], self.list_commands(ctx))
            raise click.UsageError(f"There is no {self.one} {args[0]!r}; the nearest are: {close}.", ctx)
        return super().resolve_command(ctx, args)
