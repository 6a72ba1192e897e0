"""What the passes over the weights, each on threads of its own, have read together, and the end of them all."""

from __future__ import annotations

from threading import Lock

from gte_surgery.checkpoint.files import Progress


class Passes:
    """Tells one `progress` of several passes, one call at a time: what they read is added up."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._lock = Lock()
        self._read: list[tuple[int, int]] = []
        self._is_stopped = False

    def begin(self) -> Progress:
        """The progress of one more pass. It raises InterruptedError once the passes are stopped."""
        with self._lock:
            place = len(self._read)
            self._read.append((0, 0))

        def tell(done: int, total: int) -> None:
            with self._lock:
                if self._is_stopped:
                    raise InterruptedError
                self._read[place] = (done, total)
                if self._progress is not None:
                    all_done, all_total = map(sum, zip(*self._read, strict=True))
                    self._progress(all_done, all_total)

        return tell

    def stop(self) -> None:
        """Let no pass go on for long: nobody wants its result."""
        self._is_stopped = True
