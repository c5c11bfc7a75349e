"""A web server on 127.0.0.1 that serves a folder as Common Crawl does, misbehaves by plan, and counts every byte."""

import dataclasses
import hashlib
import http.server
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@dataclasses.dataclass
class Fault:
    """What happens to one request."""

    status: int = 0  # answer this and nothing else
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    cut_after: int | None = None  # bytes of the body, then the connection is closed
    stall_after: int | None = None  # bytes of the body, then silence
    stall_seconds: float = 2.0
    is_ignoring_range: bool = False
    has_no_length: bool = False  # neither Content-Length nor Content-Range: the end of the connection ends the body
    declared_length: int | None = None  # in place of the true one
    encoding: str = ""  # Content-Encoding over the body as it is
    body: bytes | None = None  # in place of the file
    redirect: str = ""
    hook: object = None  # called before the answer


class CrawlServer:
    """Serves `root`; `faults[path]` is the plan for the next requests of a path, `faults["*"]` for all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.served: Counter[str] = Counter()  # bytes of bodies that were sent, by path
        self.requests: list[tuple[str, str | None, int]] = []  # path, Range, status
        self.times: list[float] = []
        self.agents: set[str] = set()
        self.open_now = self.most_open = 0
        self.has_etags = True
        self.lock = threading.Lock()
        self.base = ""

    def fault(self, path: str) -> Fault | None:
        with self.lock:
            for plan in (self.faults.get(path), self.faults.get("*")):
                if plan:
                    return plan.pop(0)
        return None

    def count(self, path: str) -> int:
        return sum(1 for asked, _, _ in self.requests if asked == path)


class _QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what the tests are about."""


def _handler(server: CrawlServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with server.lock:
                server.open_now += 1
                server.most_open = max(server.most_open, server.open_now)
                server.times.append(time.monotonic())
                server.agents.add(self.headers.get("User-Agent", ""))
            try:
                self._answer()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with server.lock:
                    server.open_now -= 1

        def do_HEAD(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = self.path.partition("?")[0].lstrip("/")
            fault = server.fault(path) or Fault()
            if callable(fault.hook):
                fault.hook()
            if fault.status or fault.redirect:
                self._short(path, fault.status or 302, fault.headers, fault.redirect)
                return
            file = server.root / path
            if fault.body is None and not file.is_file():
                self._short(path, 404, {})
                return
            content = fault.body if fault.body is not None else file.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            start, stop, status = self._range(content, etag, fault)
            if status == 416:
                self._short(path, 416, {"Content-Range": f"bytes */{len(content)}"})
                return
            self._note(path, status)
            self.send_response(status)
            if server.has_etags:
                self.send_header("ETag", etag)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
            if fault.encoding:
                self.send_header("Content-Encoding", fault.encoding)
            if fault.has_no_length:
                self.send_header("Connection", "close")
            else:
                length = fault.declared_length if fault.declared_length is not None else stop - start
                self.send_header("Content-Length", str(length))
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self._body(path, content[start:stop], fault)

        def _range(self, content: bytes, etag: str, fault: Fault) -> tuple[int, int, int]:
            asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
            is_other = self.headers.get("If-Range") not in (None, etag)
            if asked is None or fault.is_ignoring_range or is_other:
                return 0, len(content), 200
            if not asked[1]:
                return max(0, len(content) - int(asked[2])), len(content), 206
            start = int(asked[1])
            stop = min(int(asked[2]) + 1, len(content)) if asked[2] else len(content)
            return (start, stop, 206) if start < len(content) else (0, 0, 416)

        def _body(self, path: str, data: bytes, fault: Fault) -> None:
            end = min(x for x in (fault.cut_after, fault.stall_after, len(data)) if x is not None)
            for position in range(0, end, 1 << 14):
                block = data[position : min(position + (1 << 14), end)]
                with server.lock:  # before it is sent: who has it may look at the sum at once
                    server.served[path] += len(block)
                self.wfile.write(block)
            self.wfile.flush()
            if fault.stall_after is not None:
                time.sleep(fault.stall_seconds)
            if end < len(data) or fault.has_no_length or fault.declared_length is not None:
                self.close_connection = True

        def _short(self, path: str, status: int, headers: dict[str, str], location: str = "") -> None:
            self._note(path, status)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _note(self, path: str, status: int) -> None:
            with server.lock:
                server.requests.append((path, self.headers.get("Range"), status))

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextmanager
def serving(root: Path) -> Iterator[CrawlServer]:
    """A running server over `root`; `server.base` is its URL."""
    server = CrawlServer(root)
    httpd = _QuietServer(("127.0.0.1", 0), _handler(server))
    server.base = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
