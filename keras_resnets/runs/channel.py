"""`Channel`: what the processes of a run tell the one that waits for them."""

from __future__ import annotations


class Channel:
    """What the processes of a run tell the one that waits for them: an actor of Ray, which outlives them."""

    def __init__(self) -> None:
        self._told: list[tuple[str, str]] = []
        self._failure: tuple[str, str] | None = None

    def tell(self, kind: str, text: str) -> None:
        """Takes a line of one of the kinds `"line"`, `"output"` and `"notice"`."""
        self._told.append((kind, text))

    def told(self) -> list[tuple[str, str]]:
        """Returns what was told since the last call."""
        told, self._told = self._told, []
        return told

    def fail(self, kind: str, sentence: str) -> None:
        """Takes the error that ends the training; the first counts."""
        self._failure = self._failure or (kind, sentence)

    def failure(self) -> tuple[str, str] | None:
        """Returns the kind of the error that ended the training, and its sentence."""
        return self._failure
