"""What to say where a package that a part of the tool needs is not there, or fails to load."""

from __future__ import annotations

from gte_surgery.errors import UnavailableError


def missing(error: ImportError, wanted: str) -> UnavailableError:
    """The refusal of what needs torch or transformers: which could not be imported, why, and how to get them."""
    name = (error.name or "torch").partition(".")[0]
    told = name if isinstance(error, ModuleNotFoundError) else f"{name}: {error}"
    return UnavailableError(f"{told}: cannot be imported, {wanted} needs it", "`pip install 'gte-surgery[smoke]'`")
