"""The families that there are, and which one a config.json is of: decided here, once."""

from __future__ import annotations

from gte_surgery.errors import UsageError
from gte_surgery.gte.bert import BERT
from gte_surgery.gte.family import Family, Release
from gte_surgery.gte.fields import Values
from gte_surgery.gte.modernbert import MODERNBERT
from gte_surgery.gte.new_impl.family import NEW_IMPL

FAMILIES: tuple[Family, ...] = (NEW_IMPL, BERT, MODERNBERT)
"""The first stands in where a config is absent or tells nothing."""


def family_of(values: Values) -> Family:
    """The family of a config.json's members, by `model_type`; the first one where no family knows it."""
    return next((family for family in FAMILIES if family.dialect_of(values) is not None), FAMILIES[0])


def model_types() -> tuple[str, ...]:
    """Every `model_type` that some family has: ("new", "gte", …)."""
    return tuple(name for family in FAMILIES for name in family.model_types)


def releases() -> dict[str, tuple[Family, Release]]:
    """Every published release by name, with its family."""
    return {release.name: (family, release) for family in FAMILIES for release in family.releases}


def find_release(name: str) -> tuple[Family, Release]:
    """The release of that name and its family; raises UsageError listing the names."""
    known = releases()
    if name not in known:
        from difflib import get_close_matches

        bare = name.rpartition("/")[2].lower()
        close = [each for each in known if each.startswith(bare)] or get_close_matches(bare, known)
        meant = close[0] if bare and close else ""
        raise UsageError(f"release: {name!r}, is not known", f"known: {', '.join(known)}", name, meant)
    return known[name]
