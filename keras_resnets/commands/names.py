"""What a shell completes: the names that arguments and options take. None of them needs Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem


def _variants() -> Iterable[str]:
    from keras_resnets.architecture import variants

    return variants.list_models()


def _recipes() -> Iterable[str]:
    from keras_resnets.training import recipes

    return recipes.RECIPES


def _weights() -> Iterable[str]:
    from keras_resnets.weights import public

    return (known.name for known in public.table())


def _variants_with_weights() -> Iterable[str]:
    from keras_resnets.weights import public

    return (known.variant for known in public.table() if known.variant)


def _data() -> Iterable[str]:
    return ("digits", "scenes")


Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completing(*lists: Callable[[], Iterable[str]], files: bool = True) -> Completion:
    """Returns what click asks for completions: the names of the lists that begin as the word does, and files."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        names = (name for names in lists for name in names() if name.startswith(begun))
        found = [CompletionItem(name) for name in sorted(set(names))]
        return [*found, CompletionItem(begun, type="file")] if files else found

    return complete


variant = _completing(_variants, files=False)
spec = _completing(_variants)
recipe = _completing(_recipes)
weights = _completing(_weights)
data = _completing(_data)
weighted = _completing(_variants_with_weights, files=False)
