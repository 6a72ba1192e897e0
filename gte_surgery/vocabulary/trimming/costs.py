"""What texts cost in tokens by one tokenizer and by another, counted in children that have opened both."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from gte_surgery.vocabulary.rewriting.contents import Contents
from gte_surgery.vocabulary.trimming.texts import Part
from gte_surgery.vocabulary.trimming.workers import Workers, started

ALL = 10_000
"""The share of texts that is looked at, in ten-thousandths."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of so many `texts`, those cut into the `same` tokens, the tokens of all `before` and `after`, and the characters
    that became `unknown`.
    """

    texts: int = 0
    same: int = 0
    before: int = 0
    after: int = 0
    unknown: int = 0

    @property
    def more(self) -> float:
        """How many tokens more they take, as a share."""
        return (self.after - self.before) / max(1, self.before)


def cost_of(
    workers: Workers, corpus: Sequence[Part], held: int, folder: Path, old: Contents, new_ids: Mapping[int, int],
    unknown: tuple[int | None, int | None],
) -> Cost:  # fmt: skip
    """The cost of `held` ten-thousandths of a corpus, of workers that have opened "old" and "new"; `unknown` are the
    ids that stand for it in each.
    """
    places = {"map": str(written_map(folder, old, new_ids)), "unknown": list(unknown)}
    answers = list(workers.spread({"do": "held", "part": asdict(part), "held": held, **places} for part in corpus))
    return Cost(**{each.name: sum(answer.get(each.name, 0) for answer in answers) for each in fields(Cost)})


def cost_between(old: Contents, new: Contents, corpus: Sequence[Part], threads: int | None = None) -> Cost:
    """The cost of a whole corpus by two tokenizers, of which tokens of one text are the same token."""
    with TemporaryDirectory(prefix="gte-surgery-") as name, started(threads) as workers:
        folder = Path(name)
        for which, contents in (("old", old), ("new", new)):
            (folder / f"{which}.json").write_bytes(contents.raw)
        workers.open(old=folder / "old.json", new=folder / "new.json")
        new_ids = {number: new.ids[text] for number, text in old.texts.items() if text in new.ids}
        return cost_of(workers, corpus, ALL, folder, old, new_ids, (old.unknown, new.unknown))


def written_map(folder: Path, old: Contents, new_ids: Mapping[int, int]) -> Path:
    """The file that holds the new id of each old one, −1 for none."""
    ids = array("q", (new_ids.get(number, -1) for number in range(max(old.texts, default=0) + 1)))
    (folder / "map").write_bytes(ids.tobytes())
    return folder / "map"
