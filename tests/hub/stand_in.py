"""A hub on loopback, as much of one as huggingface_hub needs: model info, tree, and resolve with HEAD and Range.

It counts what it is asked and what it sends, may redirect weights to a second host as the real one does, and does on
demand what goes wrong out there: cuts, delays, lies about ETag, commit or length, 429, 500 and 403, branches that move.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGE = 10_000_000
"""Files from this size on are stored with Git LFS."""


@dataclass(frozen=True)
class Blob:
    """One file of a commit: its content lies at `path`."""

    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def is_large(self) -> bool:
        return self.size >= LARGE or self.path.suffix == ".safetensors"

    @cached_property
    def oid(self) -> str:
        """What git calls the content."""
        return self._hash("sha1", b"blob %d\0" % self.size)

    @cached_property
    def etag(self) -> str:
        """As the hub has it: the SHA-256 of what is in LFS, the git oid of what is not."""
        return self._hash("sha256", b"") if self.is_large else self.oid

    def _hash(self, algorithm: str, head: bytes) -> str:
        digest = hashlib.new(algorithm, head)
        with self.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with one answer; `cut` is after how many bytes of the body the connection is lost."""

    status: int = 0
    cut: int | None = None
    delay: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    ignores_range: bool = False
    flips: bool = False
    drips: bool = False
    drips_head: bool = False


@dataclass
class Asked:
    """One request, and how many bytes of body were sent for it."""

    number: int
    method: str
    path: str
    range: str
    has_token: bool
    host: str
    sent: int = 0
    status: int = 0


@dataclass
class StandIn:
    """The repositories: id → commit → name → file; and branches: id → name → commit."""

    commits: dict[str, dict[str, dict[str, Blob]]] = field(default_factory=dict)
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    trouble: Callable[[Asked], Trouble | None] = lambda asked: None
    redirects: bool = False
    extra_names: list[str] = field(default_factory=list)
    says: Callable[[], Iterator[bytes]] | None = None
    """In place of what there is to say of a model, piece by piece for as long as it is listened to."""
    url: str = ""
    rate: float = 0.0
    """Bytes a second over all connections, as a network has them; 0 for as many as loopback gives."""
    busy_until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def publish(self, repository: str, folder: Path, branch: str = "main") -> str:
        """Make the files of a folder the newest commit of a branch; the commit."""
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        blobs = {name: Blob(folder / name) for name in names}
        told = "".join(f"{name} {blob.etag}\n" for name, blob in blobs.items())
        commit = hashlib.sha1(told.encode()).hexdigest()
        self.commits.setdefault(repository, {})[commit] = blobs
        self.branches.setdefault(repository, {})[branch] = commit
        return commit

    @property
    def sent(self) -> int:
        """Bytes of all bodies so far."""
        return sum(asked.sent for asked in self.asked)

    def pace(self, count: int) -> None:
        """Wait until so many bytes have gone over the network that all connections share."""
        if not self.rate:
            return
        with self.lock:
            self.busy_until = max(self.busy_until, time.monotonic()) + count / self.rate
            wait = self.busy_until - time.monotonic()
        time.sleep(max(0.0, wait))

    def forget(self) -> None:
        """Start counting anew."""
        with self.lock:
            self.asked.clear()


@contextmanager
def serving(stand_in: StandIn | None = None) -> Iterator[StandIn]:
    """A stand-in hub that answers on a free port of loopback until the block ends."""
    hub = stand_in or StandIn()
    server = _Server(("127.0.0.1", 0), _Answer)
    server.hub = hub
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    hub: StandIn

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of ours."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: pytest shows what is printed."""

    def do_HEAD(self) -> None:
        self._answer(has_body=False)

    def do_GET(self) -> None:
        self._answer(has_body=True)

    def _answer(self, has_body: bool) -> None:
        hub = self.server.hub
        with hub.lock:
            asked = Asked(
                len(hub.asked), self.command, self.path, self.headers.get("Range", ""),
                "authorization" in self.headers, self.headers.get("Host", ""),
            )  # fmt: skip
            hub.asked.append(asked)
        trouble = hub.trouble(asked) or Trouble()
        time.sleep(trouble.delay)
        if trouble.status:
            self._send(asked, trouble.status, {"Retry-After": "0", **trouble.headers}, b"no")
            return
        if trouble.drips_head:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while True:
                self.wfile.write(b"x")
                time.sleep(0.05)
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._model_info(asked, trouble, found[1], found[2] or "main")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?(.*)", path):
            self._tree(asked, found[1], found[2])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(asked, trouble, found[1], found[2], found[3], has_body)
        elif found := re.fullmatch(r"/stored/([^/]+/[^/]+)/([0-9a-f]+)/(.+)", path):
            blob = hub.commits[found[1]][found[2]][found[3]]
            self._blob(asked, trouble, blob, {"ETag": f'"{blob.etag}"'}, has_body)
        else:
            self._send(asked, 404, {}, b"")

    def _commit(self, repository: str, revision: str) -> str | None:
        hub = self.server.hub
        commit = hub.branches.get(repository, {}).get(revision, revision)
        return commit if commit in hub.commits.get(repository, {}) else None

    def _model_info(self, asked: Asked, trouble: Trouble, repository: str, revision: str) -> None:
        hub = self.server.hub
        if hub.says is not None:
            self._say(asked, trouble, hub.says())
            return
        commit = self._commit(repository, revision)
        if commit is None:
            code = "RepoNotFound" if repository not in hub.commits else "RevisionNotFound"
            self._send(asked, 404, {"X-Error-Code": code}, b"{}")
            return
        siblings = [_sibling(name, blob) for name, blob in hub.commits[repository][commit].items()]
        siblings += [{"rfilename": name, "size": 1, "blobId": "0" * 40} for name in hub.extra_names]
        told = {"_id": "0", "id": repository, "modelId": repository, "sha": commit, "private": False, "tags": [],
                "downloads": 0, "likes": 0, "siblings": siblings}  # fmt: skip
        self._send(asked, 200, {"Content-Type": "application/json"}, json.dumps(told).encode(), trouble)

    def _say(self, asked: Asked, trouble: Trouble, pieces: Iterator[bytes]) -> None:
        self.send_response(200)
        for name, value in {"Transfer-Encoding": "chunked", **trouble.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            asked.sent += len(piece)
        self.wfile.write(b"0\r\n\r\n")

    def _tree(self, asked: Asked, repository: str, revision: str) -> None:
        blobs = self.server.hub.commits[repository][self._commit(repository, revision) or ""]
        told = []
        for name, blob in blobs.items():
            lfs = {"lfs": {"oid": blob.etag, "size": blob.size, "pointerSize": 134}} if blob.is_large else {}
            told.append({"type": "file", "path": name, "size": blob.size, "oid": blob.oid, **lfs})
        self._send(asked, 200, {"Content-Type": "application/json"}, json.dumps(told).encode())

    def _resolve(
        self, asked: Asked, trouble: Trouble, repository: str, revision: str, name: str, has_body: bool
    ) -> None:
        hub = self.server.hub
        commit = self._commit(repository, revision)
        blob = hub.commits.get(repository, {}).get(commit or "", {}).get(name)
        if commit is None or blob is None:
            self._send(asked, 404, {"X-Error-Code": "EntryNotFound"}, b"")
            return
        headers = {"ETag": f'"{blob.etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if blob.is_large:
            headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(blob.size)}
        if blob.is_large and hub.redirects:
            elsewhere = hub.url.replace("127.0.0.1", "localhost")
            self._send(
                asked,
                302,
                {**headers, "Location": f"{elsewhere}/stored/{repository}/{commit}/{name}", **trouble.headers},
                b"",
            )
            return
        self._blob(asked, trouble, blob, headers, has_body)

    def _blob(self, asked: Asked, trouble: Trouble, blob: Blob, headers: Mapping[str, str], has_body: bool) -> None:
        begin, end, status = 0, blob.size, 200
        if (found := re.fullmatch(r"bytes=(\d+)-(\d*)", asked.range)) and not trouble.ignores_range:
            begin, end, status = int(found[1]), min(blob.size, int(found[2] or blob.size - 1) + 1), 206
            headers = {**headers, "Content-Range": f"bytes {begin}-{end - 1}/{blob.size}"}
        asked.status = status
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(end - begin), **trouble.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if has_body:
            self._body(asked, trouble, blob, begin, end)

    def _body(self, asked: Asked, trouble: Trouble, blob: Blob, begin: int, end: int) -> None:
        self.wfile.flush()
        stop = end if trouble.cut is None else min(end, begin + trouble.cut)
        with blob.path.open("rb") as file:
            while begin < stop:
                count = min(stop - begin, 1 << 18 if self.server.hub.rate else 1 << 20)
                self.server.hub.pace(count)
                if trouble.flips or trouble.drips:
                    block = os.pread(file.fileno(), 1 if trouble.drips else count, begin)
                    self.connection.sendall(bytes(byte ^ 1 for byte in block) if trouble.flips else block)
                    done = len(block)
                    time.sleep(0.05 if trouble.drips else 0)
                else:
                    done = os.sendfile(self.connection.fileno(), file.fileno(), begin, count)
                begin += done
                asked.sent += done
        if stop < end:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send(
        self, asked: Asked, status: int, headers: Mapping[str, str], body: bytes, trouble: Trouble | None = None
    ) -> None:
        asked.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = trouble.cut if trouble is not None else None
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
            asked.sent += len(body if cut is None else body[:cut])
        if cut is not None and cut < len(body):
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


def _sibling(name: str, blob: Blob) -> dict[str, object]:
    told: dict[str, object] = {"rfilename": name, "size": blob.size, "blobId": blob.oid}
    if blob.is_large:
        told["lfs"] = {"sha256": blob.etag, "size": blob.size, "pointerSize": 134}
    return told
