"""What the shell offers after TAB beside commands, options and paths: releases, codes of rules, schemas."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def offering(words: Callable[[], Mapping[str, str]], or_file: bool = False) -> Completer:
    """Offers words, each with what it means; after a comma, one more of them; where none is begun, paths `or_file`."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, begun = incomplete.rpartition(",")
        found = [
            CompletionItem(f"{before}{comma}{word}", help=told)
            for word, told in words().items()
            if word.lower().startswith(begun.lower())
        ]
        return found or (files(ctx, param, incomplete) if or_file else [])

    return complete


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers paths, where a parameter is not a `click.Path` since a pattern will do as well."""
    return [CompletionItem(incomplete, type="file")]


def releases() -> Mapping[str, str]:
    """The names of the published releases."""
    from gte_surgery.gte import families

    return {name: f"{release.head.value} head, {release.dtype}" for name, (_, release) in families.releases().items()}


def rules() -> Mapping[str, str]:
    """The codes of the rules that `check` judges by, and their titles."""
    from gte_surgery.checks.registry import all_rules

    return {code: rule.title for code, rule in all_rules().items()}


def codes() -> Mapping[str, str]:
    """Every code that `explain` knows, and its title."""
    from gte_surgery.gate.codes import all_codes

    return {code: rule.title for code, rule in all_codes().items()}


def schemas() -> Mapping[str, str]:
    """The names of the JSON Schemas."""
    from gte_surgery.gte.schemas import names

    return dict.fromkeys(sorted(names()), "a JSON Schema")
