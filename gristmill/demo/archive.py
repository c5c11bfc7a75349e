"""WARC files in Common Crawl's style, byte-equal for an equal crawl, and the damage that real ones have.

One gzip member per record: warcinfo, then request, response and metadata of each page. Bodies are stored
decoded, with the wire's own headers kept under an `X-Crawl-` name, as Common Crawl does it.
"""

import base64
import datetime
import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from gristmill.demo.fetch import USER_AGENT, Answer
from gristmill.demo.plan import Page, gzip_bytes

FIRST_FETCH = datetime.datetime(2026, 4, 1, 6, 0, 0, tzinfo=datetime.UTC)
_REPLACED = (b"content-encoding", b"transfer-encoding", b"content-length")


@dataclass(frozen=True)
class Location:
    """Where a page's response lies."""

    warc_file: str
    warc_offset: int  # bytes from the start of the file, to the first byte of the record's gzip member


def stored_http(page: Page, answer: Answer) -> bytes:
    """The HTTP message as the archive holds it: decoded where that is possible and wanted."""
    if page.is_stored_raw or answer.body is None:
        return answer.head + answer.wire_body
    lines = answer.head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    is_decoded = any(line.lower().startswith((b"content-encoding:", b"transfer-encoding:")) for line in lines)
    kept = [b"X-Crawl-" + line if is_decoded and line.split(b":")[0].lower() in _REPLACED else line for line in lines]
    if is_decoded:
        kept.append(b"Content-Length: %d" % len(answer.body))
    return b"\r\n".join(kept) + b"\r\n\r\n" + answer.body


class Archive:
    """Writes one WARC file; ids and dates follow from the seed and the order of the pages."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path, self._seed = path, seed
        self._file = path.open("wb")
        self._write(
            self._header(
                "warcinfo",
                f"warcinfo/{path.name}",
                FIRST_FETCH,
                [("WARC-Filename", path.name), ("Content-Type", "application/warc-fields")],
            ),
            f"software: {USER_AGENT}\r\nformat: WARC File Format 1.0\r\nisPartOf: GRISTMILL-DEMO-{seed}\r\n"
            "description: a small web made by gristmill.demo\r\n".encode(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, page: Page, answer: Answer, number: int, *, is_last: bool = False) -> Location:
        """Write the records of `page`, fetched as number `number`; `is_last` lets the file end torn."""
        time = FIRST_FETCH + datetime.timedelta(milliseconds=400 * number)
        url = ("WARC-Target-URI", page.url)
        ip = ("WARC-IP-Address", "127.0.0.1")
        response_id = self._id(f"response/{page.url}")
        link = ("WARC-Concurrent-To", response_id)
        http = ("Content-Type", "application/http; msgtype=request")
        self._write(self._header("request", f"request/{page.url}", time, [http, ip, url, link]), answer.request)
        location = Location(self._path.name, self._file.tell())
        message = stored_http(page, answer)
        if page.kind.name == "broken_http":  # a server that speaks something else
            message = b"SSH-2.0-OpenSSH_9.6\r\n" + bytes(range(256))
        payload = message.partition(b"\r\n\r\n")[2]
        fields = [
            ("Content-Type", "application/http; msgtype=response"),
            ip,
            url,
            ("WARC-Payload-Digest", _digest(payload)),
            ("WARC-Block-Digest", _digest(message)),
        ]
        header = self._header("response", f"response/{page.url}", time, fields)
        if page.kind.name == "truncated":
            # The disk was full: the member stops in the middle. The next one starts as if nothing had happened.
            member = gzip_bytes(_record(header, message, len(message)))
            self._file.write(member[: len(member) * 2 // 3])
        elif page.kind.name == "broken_length":
            self._file.write(gzip_bytes(_record(header, message[: len(message) // 2], len(message))))
        else:
            self._write(header, message)
        if not (is_last and page.kind.name == "truncated"):
            facts = f"fetchTimeMs: {200 + number * 7919 % 900}\r\ncharset-declared: {page.site.declares}\r\n".encode()
            warc_fields = ("Content-Type", "application/warc-fields")
            self._write(self._header("metadata", f"metadata/{page.url}", time, [warc_fields, url, link]), facts)
        return location

    def _write(self, header: list[tuple[str, str]], block: bytes) -> None:
        self._file.write(gzip_bytes(_record(header, block, len(block))))

    def _header(
        self, type_: str, name: str, time: datetime.datetime, fields: list[tuple[str, str]]
    ) -> list[tuple[str, str]]:
        date = time.strftime("%Y-%m-%dT%H:%M:%SZ")
        return [("WARC-Type", type_), ("WARC-Date", date), ("WARC-Record-ID", self._id(name)), *fields]

    def _id(self, name: str) -> str:
        return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'gristmill-demo/{self._seed}/{name}')}>"


def _record(header: list[tuple[str, str]], block: bytes, length: int) -> bytes:
    lines = ["WARC/1.0", *(f"{n}: {v}" for n, v in header), f"Content-Length: {length}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def _digest(data: bytes) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()
