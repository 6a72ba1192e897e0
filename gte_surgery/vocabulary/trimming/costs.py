"""What texts cost in tokens by one tokenizer and by another, counted in children that have opened both."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from gte_surgery.vocabulary.rewriting.contents import Contents
from gte_surgery.vocabulary.trimming import child
from gte_surgery.vocabulary.trimming.child import Cost, summed
from gte_surgery.vocabulary.trimming.texts import Part
from gte_surgery.vocabulary.trimming.workers import Workers, started

ALL = 10_000
"""The share of texts that is looked at, in ten-thousandths."""


def cost_of(
    workers: Workers, corpus: Sequence[Part], held: int, folder: Path, old: Contents, new_ids: Mapping[int, int],
    unknown: tuple[int | None, int | None],
) -> Cost:  # fmt: skip
    """The cost of `held` ten-thousandths of a corpus, of workers that have opened "old" and "new"; `unknown` are the
    ids that stand for it in each.
    """
    to_new = written_map(folder, old, new_ids)
    return summed([found for _, found in workers.each(child.cost, ((part, held, to_new, unknown) for part in corpus))])


def cost_between(old: Contents, new: Contents, corpus: Sequence[Part], threads: int | None = None) -> Cost:
    """The cost of a whole corpus by two tokenizers, of which tokens of one text are the same token."""
    with TemporaryDirectory(prefix="gte-surgery-") as name, started(threads) as workers:
        folder = Path(name)
        for which, contents in (("old", old), ("new", new)):
            (folder / f"{which}.json").write_bytes(contents.raw)
        workers.open({which: folder / f"{which}.json" for which in ("old", "new")}, ())
        new_ids = {number: new.ids[text] for number, text in old.texts.items() if text in new.ids}
        return cost_of(workers, corpus, ALL, folder, old, new_ids, (old.unknown, new.unknown))


def written_map(folder: Path, old: Contents, new_ids: Mapping[int, int]) -> Path:
    """The file that holds the new id of each old one, −1 for none."""
    ids = array("q", (new_ids.get(number, -1) for number in range(max(old.texts, default=0) + 1)))
    (folder / "map").write_bytes(ids.tobytes())
    return folder / "map"
