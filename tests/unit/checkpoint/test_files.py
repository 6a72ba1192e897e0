"""What is told of the reading of files."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from gte_surgery.checkpoint.files import adding_up


class SlowlyAdded(int):
    """A number at whose adding another thread gets its turn."""

    def __radd__(self, other: int) -> int:
        time.sleep(0.001)
        return int(other) + int(self)


def test_what_several_threads_have_read_is_added_up_and_told_in_order() -> None:
    told: list[tuple[int, int]] = []
    advance = adding_up(lambda done, total: told.append((done, total)), 160)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(advance, [SlowlyAdded(1)] * 160))
    assert told == [(done, 160) for done in range(1, 161)]
