"""What the pages of `--html` have in common: one self-contained file each, light or dark, with figures and no script.

Values reach a page through autoescaping and `printable` only. Jinja2 is imported when called; the templates lie beside
this module, the plots from `plots`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gte_surgery import __version__
from gte_surgery.render.ink import printable, size

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot of the page, the sentence below it, and its numbers as a table for those who would not see it."""

    id: str
    title: str
    svg: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def filled(template: str, **values: object) -> str:
    """The page that a template makes of values; one that it names and does not get is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"printable": printable, "bytes": size}
    return environment.get_template(template).render(values, version=__version__)
