"""The child process that the tokenizers package runs in, with limits on memory and time; the parent tells its death.

Started by `workers`. It reads one request a line from a socket and answers each with one line, both JSON: "fork" into
another one, which has a socket of its own and shares the memory of what is open, "wait" until that one ends, "end" all
of them; "open" a tokenizer, "count" the words of a part of a corpus, "encode" words, "compare" two tokenizers on them,
"frame" texts as a model takes them, tell how far a tokenizer's ids "reach", "make" one of older files.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import signal
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import send_fds, socket, socketpair
from threading import Thread
from typing import Any

from gte_surgery.errors import GteSurgeryError
from gte_surgery.vocabulary.token_map import token_map
from gte_surgery.vocabulary.trimming.counting import merged
from gte_surgery.vocabulary.trimming.texts import Part, texts_of
from gte_surgery.vocabulary.trimming.words import Beside, Words, make, reach

MEMORY = 2 << 30
"""Bytes of address space beside a hundred times the size of the tokenizer."""
SECONDS = 600
"""A request that takes longer ends the process."""
MOST_WORDS = 100_000
"""So many distinct words are held before they are written down."""
MOST_RUNS = 64
"""So many files of words are written before they are merged into one."""
_U32 = array("I").itemsize
_WORD, _TEXT = "W", "T"
"""How the lines of a file of words begin: a word as the model gets it, or a whole text that holds an added token."""


def main(descriptor: int) -> None:
    """Answers requests until nobody is there to ask."""
    _serve(Worker(), socket(fileno=descriptor))


def _serve(worker: Worker, channel: socket) -> None:
    lines = channel.makefile("rb")
    while line := lines.readline():
        request = json.loads(line)
        if request["do"] == "fork":
            if (own := worker.fork(channel)) is not None:
                lines.close()
                thread = Thread(target=_serve, args=(worker, own))  # which allocates apart from what the others share
                thread.start()
                thread.join()
                return
            continue
        signal.alarm(SECONDS)
        place = f"{request['part']['path']}: " if "part" in request else ""
        try:
            answer = worker.answer(request)
        except MemoryError:
            answer = {
                "error": f"{place}a text is too long: {MEMORY >> 30} GiB do not hold what it is cut into",
                "hint": "",
            }
        except GteSurgeryError as error:
            answer = {"error": error.message, "hint": error.hint}
        except Exception as error:  # noqa: BLE001 - whatever the package raises is an answer
            answer = {"error": f"{place}{type(error).__name__}: {error}", "hint": ""}
        signal.alarm(0)
        channel.sendall(json.dumps(answer).encode() + b"\n")
    worker.answer({"do": "end"})


class Worker:
    """What answers requests, one after the other."""

    def __init__(self) -> None:
        self._opened: dict[str, Words] = {}
        self._words: Counter[str] = Counter()
        self._texts: Counter[str] = Counter()
        self._runs: list[Path] = []
        self._ids_seen = array("q")
        self._children: list[int] = []

    def fork(self, channel: socket) -> socket | None:
        """In a new child its end of a socket; here None, and the other end has been sent, with its process id."""
        here, there = socketpair()
        gc.freeze()  # collecting would write into each object, and the memory of all be shared no more
        with there:
            if (pid := os.fork()) == 0:
                self._children.clear()
                channel.close()
                return here
            here.close()
            self._children.append(pid)
            send_fds(channel, [b"\0"], [there.fileno()])
            channel.sendall(json.dumps({"pid": pid}).encode() + b"\n")
        return None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request; its "do" names what is wanted."""
        verbs: dict[str, Callable[..., dict[str, Any]]] = {
            "wait": self._wait, "end": self._end, "open": self._open, "count": self._count, "flush": self._flush,
            "encode": self._encode, "seen": self._seen, "compare": self._compare, "held": self._held,
            "between": self._between, "frame": self._frame, "reach": self._reach, "make": self._make,
        }  # fmt: skip
        return verbs[request.pop("do")](**request)

    def _wait(self, pid: int) -> dict[str, Any]:
        self._children.remove(pid)
        return {"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}

    def _end(self) -> dict[str, Any]:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._children.clear()
        return {}

    def _open(self, beside: Beside, **paths: str) -> dict[str, Any]:
        """Opens tokenizers, by name: "old", "new"; `beside` are tokens to be added to each."""
        _limit(sum(Path(path).stat().st_size for path in paths.values()))
        self._opened |= {name: Words(Path(path), beside) for name, path in paths.items()}
        return {}

    def _count(self, part: dict[str, Any], folder: str, held: int) -> dict[str, Any]:
        """Counts the words of the texts that are not held out, `held` ten-thousandths."""
        texts, old, weight = 0, self._opened["old"], part["weight"]
        for text in texts_of(Part(**part)):
            if is_held(text, held):
                continue
            texts += 1
            words = old.words(text)
            if words is None:
                self._texts[text] += weight
            elif weight == 1:
                self._words.update(words)
            else:
                self._words.update({word: weight * times for word, times in Counter(words).items()})
            if len(self._words) + len(self._texts) > MOST_WORDS:
                self._write_down(folder)
        return {"texts": texts}

    def _flush(self, folder: str) -> dict[str, Any]:
        """Writes all words that were counted into one file, sorted, and forgets them."""
        self._write_down(folder)
        merged(self._runs, Path(folder) / f"{os.getpid()}.words")
        self._runs.clear()
        return {}

    def _write_down(self, folder: str) -> None:
        counted = ((kind, words.items()) for kind, words in ((_WORD, self._words), (_TEXT, self._texts)))
        lines = (f"{kind}{escaped(word)}\t{times}\n" for kind, items in counted for word, times in items)
        at = Path(folder) / f"{os.getpid()}-{len(self._runs)}"
        with at.open("wb") as file:
            file.writelines(sorted(line.encode("utf-8", "surrogatepass") for line in lines))
        self._runs.append(at)
        self._words.clear()
        self._texts.clear()
        if len(self._runs) == MOST_RUNS:
            merged(self._runs, whole := at.with_suffix(".merged"))
            self._runs = [whole.rename(self._runs[0])]

    def _encode(self, words: str, begin: int, end: int, ids: int, cut: str) -> dict[str, Any]:
        """Adds up how often each of so many ids is in words; `cut` gets the ids of each word, how many they are before
        them.
        """
        counts = self._ids_seen = self._ids_seen or array("q", bytes(8 * ids))
        tokens = 0
        with Path(cut).open("wb") as written:
            for kind, word, times in _range(words, begin, end):
                found = self._ids("old", kind, word)
                written.write(array("I", (len(found), *found)))
                tokens += times * len(found)
                for number in found:
                    counts[number] += times
        return {"tokens": tokens}

    def _seen(self, folder: str) -> dict[str, Any]:
        """Writes down how often each id was in the words that were encoded: an array of 64-bit numbers."""
        (Path(folder) / f"{os.getpid()}.ids").write_bytes(self._ids_seen.tobytes())
        return {}

    def _compare(self, words: str, begin: int, end: int, map: str, cut: str) -> dict[str, Any]:
        """Encodes words with the new tokenizer: those of which all tokens are kept must give what corresponds to the
        old ones, which are in `cut`.
        """
        new_ids = array("q", Path(map).read_bytes())
        same = changed = changed_times = 0
        differing: list[str] = []
        with Path(cut).open("rb") as file:
            for kind, word, times in _range(words, begin, end):
                (count,) = array("I", file.read(_U32))
                moved = [new_ids[number] for number in array("I", file.read(_U32 * count))]
                if -1 in moved:
                    changed, changed_times = changed + 1, changed_times + times
                elif moved == self._ids("new", kind, word):
                    same += 1
                elif len(differing) < 100_000:
                    differing.append(word)
        return {"same": same, "changed": changed, "changed_times": changed_times, "differing": differing}

    def _frame(self, which: str, texts: list[str], longest: int) -> dict[str, Any]:
        """The ids of texts as a model takes them, by one of the tokenizers."""
        return {"ids": self._opened[which].framed(texts, longest)}

    def _reach(self, path: str, beside: Beside) -> dict[str, Any]:
        """The greatest id that comes out of a tokenizer."""
        _limit(Path(path).stat().st_size)
        return reach(Path(path), beside)

    def _make(self, folder: str) -> dict[str, Any]:
        """Writes the tokenizer.json that transformers makes of the older files in a folder."""
        _limit(sum(file.stat().st_size for file in Path(folder).iterdir()))
        make(Path(folder))
        return {}

    def _between(self, old: str, new: str) -> dict[str, Any]:
        """The map from the rows of one tokenizer to those of another, as `token_map` makes it."""
        size = sum(Path(path).stat().st_size for path in (old, new))
        _limit(size)
        found = token_map(Path(old), Path(new))
        ids = {"new": list(found.new), "old": list(found.old), "offsets": list(found.offsets)}
        return {"rows": found.rows, "record": dict(found.record), "coverage": list(found.coverage), **ids}

    def _held(self, part: dict[str, Any], held: int, map: str, unknown: list[int | None]) -> dict[str, Any]:
        """Compares both tokenizers on the held-out texts of a part."""
        new_ids = array("q", Path(map).read_bytes())
        totals = Counter[str]()
        batch: list[str] = []
        for text in (text for text in texts_of(Part(**part)) if is_held(text, held)):
            batch.append(text)
            if len(batch) == 1000:
                totals.update(self._held_batch(batch, new_ids, unknown))
                batch = []
        totals.update(self._held_batch(batch, new_ids, unknown))
        return dict(totals)

    def _held_batch(self, texts: list[str], new_ids: array[int], unknown: list[int | None]) -> Counter[str]:
        totals = Counter[str]()
        pairs = zip(
            self._opened["old"].unknown_characters(texts, unknown[0]),
            self._opened["new"].unknown_characters(texts, unknown[1]),
            strict=True,
        )
        for (old, before), (new, after) in pairs:
            totals["texts"] += 1
            totals["same"] += [new_ids[number] for number in old] == new
            totals["before"] += len(old)
            totals["after"] += len(new)
            totals["unknown"] += max(0, after - before)
        return totals

    def _ids(self, which: str, kind: str, word: str) -> list[int]:
        tokenizer = self._opened[which]
        return tokenizer.ids_of_text(word) if kind == _TEXT else tokenizer.ids_of_word(word)


def _limit(size: int) -> None:
    """Bounds the memory of this process for tokenizers of so many bytes; it leaves no core behind."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + 200 * size, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def is_held(text: str, share: int) -> bool:
    """Whether a text is held out, of `share` ten-thousandths: the same text always is, or never."""
    return bool(share) and zlib.crc32(text.encode("utf-8", "surrogatepass")) % 10_000 < share


def escaped(word: str) -> str:
    """A word as one line of a file, without tabs."""
    return word.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


_MARKS = {r"\\": "\\", r"\n": "\n", r"\t": "\t", r"\r": "\r"}


def unescaped(line: str) -> str:
    """The word that `escaped` wrote."""
    if "\\" not in line:
        return line
    return re.sub(r"\\[\\ntr]", lambda found: _MARKS[found[0]], line)


def _range(path: str, begin: int, end: int) -> Iterator[tuple[str, str, int]]:
    """(kind, word, times) of the lines that begin in bytes [begin, end) of a file of words."""
    with Path(path).open("rb") as file:
        if begin:
            file.seek(begin - 1)
            file.readline()
        at = file.tell()
        while at < end and (line := file.readline()):
            word, _, times = line.decode("utf-8", "surrogatepass").rstrip("\n").partition("\t")
            yield word[:1], unescaped(word[1:]), int(times)
            at += len(line)
