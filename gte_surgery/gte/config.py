"""Any GTE's config.json in one form, whatever its family and dialect.

It refuses only what no model could be built from; whether the values are wise, and whether a flag is a real boolean, is
for `gte_surgery.checks`.
"""

from __future__ import annotations

from gte_surgery.errors import CheckpointError
from gte_surgery.gte.families import family_of, unknown_config
from gte_surgery.gte.fields import GteConfig, Values
from gte_surgery.gte.kinds import Dialect

__all__ = ["Dialect", "GteConfig", "detect_dialect", "family_of", "read_config"]


def detect_dialect(config: Values) -> Dialect | None:
    """The dialect of a parsed config.json, or None when it is not a GTE config at all."""
    return family_of(config).dialect_of(config)


def read_config(config: Values) -> GteConfig:
    """The effective config; raises CheckpointError naming the key whose value no model could be built from.

    Flags count as Python counts them: the string "false" is on, as it would be for the loader.
    """
    if detect_dialect(config) is None:
        found, hint = unknown_config(config)
        raise CheckpointError(f"model_type: {found}", hint)
    return family_of(config).read_config(config)
