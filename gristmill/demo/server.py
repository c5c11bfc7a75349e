"""The demo web on the loopback: one threaded server, many hosts told apart by the Host header."""

import contextlib
import socketserver
from collections.abc import Iterable, Iterator
from threading import Thread

from gristmill.demo.plan import Page, gzip_bytes

DATE = "Wed, 01 Apr 2026 06:00:00 GMT"  # fixed: the crawl must be the same on every day it is made
_CHUNK_BYTES = 1500
_TORN_CHUNK_BYTES = 600
_MAX_REQUEST_BYTES = 16_384


def head_of(page: Page, payload: bytes) -> bytes:
    """Status line and headers of the answer that carries `payload`, already coded."""
    content_type = page.content_type
    if content_type == "text/html" and page.site.declares in ("header", "both"):
        content_type = f"text/html; charset={page.site.charset}"
    lines = [f"HTTP/1.1 {page.status[0]} {page.status[1]}", f"Date: {DATE}", f"Server: {page.site.server}"]
    lines += [f"Content-Type: {content_type}", *(f"{name}: {value}" for name, value in page.headers)]
    if page.is_gzipped:
        lines.append("Content-Encoding: gzip")
    if page.framing in ("chunked", "torn"):
        lines.append("Transfer-Encoding: chunked")
    elif page.framing in ("length", "long"):
        lines.append(f"Content-Length: {len(payload) + (997 if page.framing == 'long' else 0)}")
    lines.append(f"Connection: {'keep-alive' if _keeps_alive(page) else 'close'}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def answer(page: Page) -> bytes:
    """The bytes that go over the wire for `page`."""
    payload = gzip_bytes(page.body) if page.is_gzipped else page.body
    head = head_of(page, payload)
    if page.framing == "chunked":
        return head + _chunks(payload) + b"0\r\n\r\n"
    if page.framing == "torn":  # a proxy that lost some bytes after the first chunk
        return head + _chunks(payload[:_TORN_CHUNK_BYTES]) + b"z!\r\n" + payload[_TORN_CHUNK_BYTES:]
    return head + payload


def _keeps_alive(page: Page) -> bool:
    return page.framing in ("length", "chunked")


def _chunks(payload: bytes) -> bytes:
    pieces = (payload[i : i + _CHUNK_BYTES] for i in range(0, len(payload), _CHUNK_BYTES))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64
    pages: dict[str, Page]


class _Handler(socketserver.StreamRequestHandler):
    timeout = 30
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer requests until the client goes or an answer ends the connection."""
        server = self.server
        assert isinstance(server, _Server)
        with contextlib.suppress(ConnectionError, TimeoutError):  # a client that left needs no answer
            while (request := self._request()) is not None:
                page = server.pages.get(request)
                if page is None:
                    self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    return
                self.wfile.write(answer(page))
                if not _keeps_alive(page):
                    return

    def _request(self) -> str | None:
        """The address asked for, host and path; None at the end of the connection or for no HTTP."""
        words = self.rfile.readline(_MAX_REQUEST_BYTES).decode("latin-1").split()
        host = ""
        while (line := self.rfile.readline(_MAX_REQUEST_BYTES).strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            if name.lower() == "host":
                host = value.strip()
        return f"http://{host}{words[1]}" if len(words) == 3 and words[0] == "GET" else None


@contextlib.contextmanager
def serve(pages: Iterable[Page]) -> Iterator[int]:
    """Serve `pages` on 127.0.0.1 while the context lasts; yields the port, which the system picks."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.pages = {page.url: page for page in pages}
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
