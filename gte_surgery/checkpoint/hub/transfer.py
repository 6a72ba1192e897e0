"""One hub, asked as huggingface_hub is configured, and ranges of its files as they arrive.

Every answer must be of the commit and the ETag that were listed. A connection that is cut, a server that is busy (429)
or failing (5xx) is asked again, from where it stopped, with growing waits; nothing waits for ever. A redirect to
another host is followed without the token.
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import Event, Thread
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import FetchError

ATTEMPTS = 6
"""So often is asked in a row without anything coming of it."""
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
_PROGRESS = 64 << 10
"""Bytes that count as something coming of it, and the fewest that must come in `_PERIOD` seconds."""
_PERIOD = 30.0
_LOOK = 0.5
"""Seconds between two looks whether it was given up, while the head of an answer is waited for."""
_MOST_TOLD = 1 << 24
"""Bytes of what a hub says of a model; of 10,000 files that is 3 MB."""
_MOST_REDIRECTS = 5
_SHOWN = 200
"""Characters of what a hub says that messages show."""
_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (408, 425, 429)
_RANGE = re.compile("bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


class Told(NamedTuple):
    """What a hub answers of a model: the status, the headers, and the JSON of what is no refusal."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of one commit: `etag` is the SHA-256 of one in LFS, otherwise what git calls its content."""

    repository: str
    commit: str
    name: str
    size: int
    etag: str

    def __str__(self) -> str:
        return f"hf://{self.repository}@{self.commit[:8]}/{shown(self.name)}"

    def digest(self) -> Any:
        """What is to be told the content, so that it names it as the ETag does."""
        return hashlib.sha256() if len(self.etag) == 64 else hashlib.sha1(b"blob %d\0" % self.size)

    def require(self, digest: Any) -> None:
        """Raises FetchError where the content is another one than was listed."""
        if digest.hexdigest() != self.etag:
            message = f"{self}: the content is not what its ETag says"
            raise FetchError(message, "nothing of it was used: repeat")


class TransientError(Exception):
    """An answer that may be better the next time; `wait` seconds were asked for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Patience:
    """How often, and after what waits, the same is asked again; a set `stop` ends all waiting."""

    def __init__(self, what: str, stop: Event) -> None:
        self._what, self._stop = what, stop
        self._attempts, self._moved = 0, 0

    def moved(self, count: int) -> None:
        """So many bytes came."""
        self._moved += count
        if self._moved >= _PROGRESS:
            self._attempts, self._moved = 0, 0

    def wait(self, failure: TransientError) -> None:
        """Waits until it is time to ask again. Raises FetchError when it has been asked often enough."""
        self._attempts += 1
        if self._attempts >= ATTEMPTS:
            hint = "try again later; what is on this disk is as it was"
            raise FetchError(f"{self._what}: {failure}, {self._attempts} times in a row", hint)
        wait = FIRST_WAIT * 2 ** (self._attempts - 1) * random.uniform(0.75, 1.25)
        if self._stop.wait(min(max(wait, failure.wait), LONGEST_WAIT)):
            raise FetchError(f"{self._what}: given up")


class Hub:
    """The hub that huggingface_hub is configured for: HF_ENDPOINT, HF_TOKEN, proxies, its one HTTP client."""

    def __init__(self) -> None:
        from huggingface_hub import constants, get_session
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        from gte_surgery import __version__

        self.endpoint = str(constants.ENDPOINT)
        self.stop = Event()
        self._timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
        self._client: Any = get_session()
        named = build_hf_headers(library_name="gte-surgery", library_version=__version__)
        self._headers = {**named, "accept-encoding": "identity"}
        # huggingface_hub below 2 brings httpx, from 2 on httpx2
        library: Any = sys.modules[type(self._client).__module__.partition(".")[0]]
        self._failures: type[Exception] = library.HTTPError
        self._no_url: type[Exception] = library.InvalidURL
        self._places: dict[str, str] = {}
        self._marks: dict[str, str] = {}

    def model(self, repository: str, revision: str) -> Told:
        """What the hub says of a model and its files. Raises FetchError, TransientError for what may pass.

        As huggingface_hub's `HfApi.model_info`, the import of which takes as long as a whole check, and which reads
        without a bound.
        """
        what = f"hf://{repository}"
        at = f"/revision/{quote(revision, safe='')}" if revision else ""
        home = f"{self.endpoint}/api/models/{repository}{at}?blobs=true"
        with self.transient(), self._followed(what, home, {}) as (_, response):
            status, content = response.status_code, bytearray()
            _require_patience(response)
            if status < 400:
                _require_plain(what, response)
                for chunk in self._steady(what, response):
                    content += chunk
                    if len(content) > _MOST_TOLD:
                        raise FetchError(f"{what}: the hub's answer has no end, at most {_MOST_TOLD} bytes are read")
            return Told(status, response.headers, bytes(content))

    def chunks(self, remote: Remote, begin: int, end: int) -> Iterator[bytes]:
        """The bytes [begin, end) of a file, as they arrive. Raises FetchError."""
        patience = Patience(str(remote), self.stop)
        while begin < end:
            try:
                for chunk in self._arriving(remote, begin, end):
                    begin += len(chunk)
                    patience.moved(len(chunk))
                    yield chunk
                if begin < end:
                    raise TransientError("the connection was cut")
            except TransientError as failure:
                patience.wait(failure)

    def _arriving(self, remote: Remote, begin: int, end: int) -> Iterator[bytes]:
        with self.transient(), self._answer(remote, begin, end) as response:
            for chunk in self._steady(str(remote), response):
                yield chunk[: end - begin]
                begin += len(chunk)
                if begin >= end:
                    return

    def _steady(self, what: str, response: Any) -> Iterator[bytes]:
        """The bytes of an answer as they arrive; raises TransientError once they only drip."""
        since, came = time.monotonic(), 0
        for chunk in response.iter_raw():
            if self.stop.is_set():
                raise FetchError(f"{what}: given up")
            came += len(chunk)
            yield chunk
            if (now := time.monotonic()) - since > _PERIOD:
                if came < _PROGRESS:
                    raise TransientError(f"only {came} bytes came in {_PERIOD:.0f} seconds")
                since, came = now, 0

    @contextmanager
    def transient(self) -> Iterator[None]:
        """What goes wrong on the way may go well the next time."""
        try:
            yield
        except self._failures as error:
            raise TransientError(str(error) or type(error).__name__) from None

    @contextmanager
    def _answer(self, remote: Remote, begin: int, end: int) -> Iterator[Any]:
        """The answer that holds the range, wherever the hub sends us for it."""
        from huggingface_hub import hf_hub_url

        home = hf_hub_url(remote.repository, remote.name, revision=remote.commit, endpoint=self.endpoint)
        first = self._places.get(remote.name, home)
        asked = {"range": f"bytes={begin}-{end - 1}"}
        on_the_way = partial(self._require_listed, remote)
        with self._followed(str(remote), first, asked, on_the_way) as (url, response):
            if response.status_code >= 400 and url != home and self._places.pop(remote.name, None):
                raise TransientError(f"answered {response.status_code}")  # a signature that has run out
            _require_good(remote, response)
            self._require_same(remote, response.headers, url)
            _require_range(remote, response, begin, end)
            if url != home:
                self._places[remote.name] = url
            yield response

    @contextmanager
    def _followed(
        self,
        what: str,
        url: str,
        asked: Mapping[str, str],
        look: Callable[[Mapping[str, str]], object] = lambda _: None,
    ) -> Iterator[tuple[str, Any]]:
        """The answer that is no redirect, and where it came from; `look` judges the headers of those on the way."""
        for _ in range(_MOST_REDIRECTS):
            with self._begun(url, {**self._headers_for(url), **asked}) as response:
                if response.status_code not in _REDIRECTS:
                    yield url, response
                    return
                look(response.headers)
                url = self._redirected(what, url, response.headers.get("location", ""))
        raise FetchError(f"{what}: redirected more than {_MOST_REDIRECTS} times")

    @contextmanager
    def _begun(self, url: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """An answer whose head is there."""
        try:
            answer = self._client.stream("GET", url, headers=headers, timeout=self._timeout, follow_redirects=False)
            response = _entered(answer, self._timeout + _PERIOD, self.stop)
        except (self._no_url, ValueError) as error:
            raise FetchError(f"{shown(url[:_SHOWN])}: {shown(str(error)[:_SHOWN])}") from None
        try:
            yield response
        finally:
            answer.__exit__(None, None, None)

    def _headers_for(self, url: str) -> Mapping[str, str]:
        """The token is for the endpoint alone."""
        if _origin(url) == _origin(self.endpoint):
            return self._headers
        return {name: value for name, value in self._headers.items() if name.lower() not in ("authorization", "cookie")}

    def _redirected(self, what: str, url: str, location: str) -> str:
        allowed = ("https",) if urlsplit(self.endpoint).scheme == "https" else ("http", "https")
        with suppress(ValueError):
            target = urljoin(url, location)
            if location and urlsplit(target).scheme in allowed:
                return target
        raise FetchError(f"{what}: redirected to {shown(location[:_SHOWN]) or 'nowhere'}, which is not followed")

    def _require_same(self, remote: Remote, headers: Mapping[str, str], url: str) -> None:
        """What comes from the endpoint names commit and ETag; from elsewhere, the same ETag each time."""
        if _origin(url) == _origin(self.endpoint):
            self._require_listed(remote, headers)
        elif (mark := headers.get("etag", "")) != self._marks.setdefault(remote.name, mark):
            raise _moved(remote, f"ETag {shown(mark[:_SHOWN])}", shown(self._marks[remote.name][:_SHOWN]))

    def _require_listed(self, remote: Remote, headers: Mapping[str, str]) -> None:
        commit = headers.get("x-repo-commit", remote.commit)
        if commit != remote.commit:
            raise _moved(remote, f"commit {shown(commit[:_SHOWN])}", remote.commit)
        etag = (headers.get("x-linked-etag") or headers.get("etag") or "").removeprefix("W/").strip('"')
        if etag != remote.etag:
            raise _moved(remote, f"ETag {shown(etag[:_SHOWN]) or 'none'}", shown(remote.etag[:_SHOWN]))


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _moved(remote: Remote, found: str, wanted: str) -> FetchError:
    return FetchError(
        f"{remote}: the answer has {found}, {wanted} was listed",
        "the repository changed underneath, or what stands before it is wrong; nothing of two states is mixed: repeat",
    )


def _entered(answer: AbstractContextManager[Any], seconds: float, stop: Event) -> Any:
    """What the context yields. Raises TransientError where that takes longer: each read has a limit of its own, but a
    head that drips has no end. The thread that reads it is left to itself.
    """
    found: list[Any] = []
    failed: list[BaseException] = []
    done = Event()

    def enter() -> None:
        try:
            found.append(answer.__enter__())
        except BaseException as error:  # noqa: BLE001 - it is raised to who waits
            failed.append(error)
        done.set()

    Thread(target=enter, name="gte-surgery head", daemon=True).start()
    until = time.monotonic() + seconds
    while not done.wait(_LOOK):
        if stop.is_set() or time.monotonic() > until:
            raise TransientError(f"no answer began in {seconds:.0f} seconds")
    if failed:
        raise failed[0]
    return found[0]


def _require_patience(response: Any) -> None:
    """Raises TransientError where a hub is busy or failing."""
    status = response.status_code
    if status in _BUSY or status >= 500:
        asked = response.headers.get("retry-after", "")
        raise TransientError(f"answered {status}", float(asked) if asked.isascii() and asked.isdigit() else 0.0)


def _require_plain(what: str, response: Any) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchError(f"{what}: the answer is compressed, which was not asked for")


def _require_good(remote: Remote, response: Any) -> None:
    """Raises TransientError for what may pass, FetchError for any other refusal."""
    _require_patience(response)
    status = response.status_code
    if status >= 400:
        hint = "log in with `hf auth login`, or set HF_TOKEN" if status in (401, 403) else ""
        raise FetchError(f"{remote}: answered {status}", hint)


def _require_range(remote: Remote, response: Any, begin: int, end: int) -> None:
    """The bytes that were asked for, as they are: 206 with just that range, or 200 for what starts at the beginning."""
    _require_plain(str(remote), response)
    if response.status_code == 200 and begin == 0:
        length = response.headers.get("content-length")
        found = (0, end, int(length) if length is not None and length.isascii() and length.isdigit() else remote.size)
    else:
        matched = _RANGE.fullmatch(response.headers.get("content-range", ""))
        found = (int(matched[1]), int(matched[2]) + 1, int(matched[3])) if matched else (-1, -1, -1)
        found = found if response.status_code == 206 else (-1, -1, -1)
    if found != (begin, end, remote.size):
        asked = f"bytes {begin} to {end - 1} of {remote.size} were asked for"
        told = shown(response.headers.get("content-range", "")[:_SHOWN]) or "no range"
        raise FetchError(f"{remote}: answered {response.status_code} with {told}, {asked}")
