"""The running sums of one portion of one file, which become a `Summary` when the portion is done."""

from __future__ import annotations

import numpy as np

from gte_surgery.contract.scan.faults import Fault
from gte_surgery.contract.scan.judging.blocks import Array, Block
from gte_surgery.contract.scan.summary import ADDED, LARGEST, OFFENDERS, FileFault, Offender, Summary, Sums, joined
from gte_surgery.contract.terms import Terms


class Tally:
    """Counts what is seen in one file, which is the `order`-th of the scan; with `has_counts` each id's uses."""

    def __init__(self, contract: Terms, file: str, order: int, has_counts: bool) -> None:
        self.rows = self.sequences = self.tokens = self.real_tokens = self.unmasked = self.longest = 0
        self.max_id = -1
        self._file = file
        self._order = order
        self._lengths = np.zeros(contract.max_length + 2, np.int64)
        self._uses = np.zeros(contract.vocab_size, np.int64 if has_counts else bool)
        self._uncounted: list[Array] = []
        self._faults: tuple[FileFault, ...] = ()

    def summary(self) -> Summary:
        """All that was counted so far."""
        self._count_ids()
        return Summary(
            **{name: getattr(self, name) for name in (*ADDED, *LARGEST)},
            lengths=self._lengths,
            uses=self._uses,
            faults=self._faults,
            sums={each.fault: each.sums for each in self._faults},
        )

    def use(self, ids: Array) -> None:
        """Note ids of the vocabulary that occur; counting them waits until there are more than ids to be counted."""
        if self._uses.dtype == bool:
            self._uses[ids.astype(np.intp, copy=False)] = True
            return
        self._uncounted.append(ids)
        if sum(map(len, self._uncounted)) > 8 * self._uses.size:
            self._count_ids()

    def _count_ids(self) -> None:
        if self._uncounted:
            ids = np.concatenate(self._uncounted).astype(np.intp, copy=False)
            self._uses += np.bincount(ids, minlength=self._uses.size)
            self._uncounted.clear()

    def add_lengths(self, lengths: Array) -> None:
        """Note how many real tokens sequences have."""
        if lengths.size:
            self.real_tokens += int(lengths.sum())
            self.longest = max(self.longest, int(lengths.max()))
            top = self._lengths.size - 1
            self._lengths += np.bincount(np.minimum(lengths, top), minlength=top + 1)

    def report(self, fault: Fault, block: Block, is_faulty: Array, values: Array | None = None) -> None:
        """Tell of faulty positions (as bools, one for each value of the block), and what stands there."""
        places = np.flatnonzero(is_faulty)
        if not places.size:
            return
        index, columns = block.where(places)
        found = [
            Offender(int(block.rows[index[n]]), int(columns[n]), _shown(values, places[n]))
            for n in range(min(OFFENDERS, places.size))
        ]
        self._add(fault, Sums(places.size, len(np.unique(index))), found)

    def report_sequences(self, fault: Fault, block: Block, is_faulty: Array, values: Array | None = None) -> None:
        """Tell of sequences (as bools) that are at fault as a whole, and a number for each that says why."""
        index = np.flatnonzero(is_faulty)
        if not index.size:
            return
        found = [Offender(int(block.rows[n]), int(block.begins[n]), _shown(values, n)) for n in index[:OFFENDERS]]
        self._add(fault, Sums(index.size, index.size), found)

    def report_rows(self, fault: Fault, rows: Array, value: str) -> None:
        """Tell of rows that are not judged, by their numbers."""
        found = [Offender(int(row), value=value) for row in rows[:OFFENDERS]]
        self._add(fault, Sums(len(rows), len(rows)), found)

    def report_file(self, fault: Fault, value: str) -> None:
        """Tell that something is so of the file."""
        self._add(fault, Sums(1, 0), [Offender(-1, value=value)])

    def _add(self, fault: Fault, sums: Sums, found: list[Offender]) -> None:
        new = FileFault(self._order, self._file, fault, sums, tuple(found))
        self._faults = joined((*self._faults, new), len(Fault))


def _shown(values: Array | None, place: int) -> str:
    return "" if values is None else str(values[place])
