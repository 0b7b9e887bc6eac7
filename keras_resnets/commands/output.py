"""What a command prints: words for people, its result alone (`--quiet`), or JSON for programs (`--json`)."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from keras_resnets.reports.study import Study


class Output:
    """What the body of a command prints by; `printing` makes one.

    Args:
        stream: where the result goes: standard output. What is printed otherwise is no result: with `--json` it goes to
            standard error, with `--quiet` nowhere.
        as_json: whether the result is printed as JSON.
        quiet: whether nothing but the result is printed.
    """

    def __init__(self, stream: TextIO, as_json: bool, quiet: bool):
        self._stream, self.as_json, self.quiet = stream, as_json, quiet
        self._written: list[str] = []

    @property
    def verbose(self) -> bool:
        """Whether to draw progress bars: on a terminal, unless it is to be quiet."""
        return not self.quiet and sys.stderr.isatty()

    def note(self, text: str) -> None:
        """Prints what a user may want to know on the way to the result."""
        if not self.quiet:
            click.echo(text)
            sys.stdout.flush()

    def written(self, paths: Iterable[os.PathLike | str]) -> None:
        """Says which files were written; the document has their list, `written`."""
        for path in map(str, paths):
            self._written.append(path)
            self.note(f"wrote {path}")

    def result(self, document: Any, *words: Any) -> None:
        """Prints the result, once.

        Args:
            document: it as plain data; a dictionary is given the key `written`, where files were.
            *words: the same for people: texts, and tables of rich.
        """
        from keras_resnets.runs import to_json

        if self.as_json:
            files = {"written": self._written} if self._written and isinstance(document, dict) else {}
            click.echo(to_json(document | files if files else document), self._stream, nl=False)
        for word in () if self.as_json else words:
            if isinstance(word, str):
                click.echo(word, self._stream)
            else:
                _draw(word, self._stream)
        self._stream.flush()


def _draw(table: Any, stream: TextIO) -> None:
    """Prints a table of rich. Its names are to be copied, so no line is cut where the output is no terminal."""
    from rich.console import Console

    console = Console(file=stream)
    Console(file=stream, width=None if console.is_terminal else max(console.width, 120)).print(table)


def of_study(study: Study) -> dict[str, Any]:
    """Returns a study as plain data: `study`, `summary`, `rows`, each further table by its name, and `environment`."""
    tables = {name: table.to_dict("records") for name, table in {"rows": study.rows, **study.tables}.items()}
    return {"study": study.name, "summary": study.summary, **tables, "environment": study.environment}


def printing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--json` and `--quiet` to a command, whose function gets an `Output` as the argument `say`."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else.")
    @click.option("-q", "--quiet", is_flag=True, help="Print the result and warnings, and nothing else.")
    @functools.wraps(command)
    def run(*arguments: Any, as_json: bool, quiet: bool, **options: Any) -> Any:
        with contextlib.ExitStack() as stack:
            stream: TextIO = sys.stdout
            if quiet:
                aside = stack.enter_context(open(os.devnull, "w"))
                stream = stack.enter_context(_diverted(aside))
            elif as_json:
                stream = stack.enter_context(_diverted(sys.stderr))
            return command(*arguments, say=Output(stream, as_json, quiet), **options)

    return run


@contextlib.contextmanager
def _diverted(aside: TextIO) -> Iterator[TextIO]:
    """Has all that is written to standard output go elsewhere, also by native code; yields standard output itself."""
    stream = sys.stdout
    stream.flush()
    try:
        is_own = stream.fileno() == 1
        target = aside.fileno()
    except (OSError, ValueError, io.UnsupportedOperation, AttributeError):  # it is captured
        is_own = False
    with contextlib.redirect_stdout(aside):
        if not is_own:
            yield stream
            return
        kept = os.dup(1)
        os.dup2(target, 1)
        try:
            with os.fdopen(os.dup(kept), "w", encoding=stream.encoding, errors=stream.errors) as own:
                yield own
        finally:
            os.dup2(kept, 1)
            os.close(kept)
