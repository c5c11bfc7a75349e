"""A small crawler: real requests over HTTP, with every byte of the answer as it came over the wire."""

import contextlib
import http.client
import socket
import threading
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from gristmill.core.errors import EnvironmentProblemError

USER_AGENT = "gristmill-demo/1.0 (+http://crawler.example/)"
_WORKERS = 2
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """What came back for one request."""

    request: bytes  # request line and headers as sent
    head: bytes  # status line and headers as received, with the empty line
    wire_body: bytes  # the body as received, chunks and coding included
    body: bytes | None  # decoded; None where it can't be


class _Tee:
    """A file that remembers what was read from it."""

    def __init__(self, file: Any) -> None:
        self._file, self.seen = file, bytearray()

    def read(self, size: int = -1) -> bytes:
        return self._keep(self._file.read(size))

    def readline(self, limit: int = -1) -> bytes:
        return self._keep(self._file.readline(limit))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _keep(self, data: bytes) -> bytes:
        self.seen += data
        return data


class _Response(http.client.HTTPResponse):
    """A response that keeps its bytes; `readinto` is not used by a plain `read`."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.tee = _Tee(self.fp)
        self.fp = cast(Any, self.tee)


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class Fetcher:
    """Fetches pages of virtual hosts from one port of the loopback, a connection per thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._local = threading.local()
        self._open: list[_Connection] = []

    def fetch_all(self, urls: Sequence[str]) -> Iterator[Answer]:
        """The answers in the order of `urls`, whatever the threads do.

        Raises:
            EnvironmentProblemError: the loopback can't be reached.
        """
        try:
            with ThreadPoolExecutor(_WORKERS) as pool:
                yield from pool.map(self._fetch, urls)
        finally:
            while self._open:
                self._open.pop().close()

    def _fetch(self, url: str) -> Answer:
        host, _, path = url.removeprefix("http://").partition("/")
        headers = {
            "Host": host,
            "User-Agent": USER_AGENT,
            "Accept": "text/html,*/*;q=0.5",
            "Accept-Encoding": "gzip",
        }
        try:
            return self._exchange(f"/{path}", headers)
        except OSError as error:
            raise EnvironmentProblemError(
                f"the demo web on 127.0.0.1:{self._port} does not answer ({error}): allow connections on the loopback"
            ) from error

    def _exchange(self, path: str, headers: dict[str, str]) -> Answer:
        connection = self._connection()
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = cast(_Response, connection.getresponse())
        head = bytes(response.tee.seen)
        try:
            payload: bytes | None = response.read()
        except http.client.IncompleteRead as error:  # a lying length is common and harmless; torn chunks are not
            payload = error.partial if response.headers.get("Content-Length") else None
            with contextlib.suppress(ValueError):  # the rest of what the server sent, unless it is all read
                response.tee.read()
        wire = bytes(response.tee.seen[len(head) :])
        if response.headers.get("Connection", "").lower() == "close":
            connection.close()  # it opens again by itself for the next request
        response.close()
        request = "".join([f"GET {path} HTTP/1.1\r\n", *(f"{n}: {v}\r\n" for n, v in headers.items()), "\r\n"])
        coding = response.headers.get("Content-Encoding", "")
        return Answer(request.encode("latin-1"), head, wire, _decode(payload, coding))

    def _connection(self) -> _Connection:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _Connection("127.0.0.1", self._port, timeout=_TIMEOUT_SECONDS)
            self._open.append(connection)
        return connection


def _decode(payload: bytes | None, coding: str) -> bytes | None:
    if payload is None or coding != "gzip":
        return payload
    try:
        return zlib.decompress(payload, 31)
    except zlib.error:
        return None
