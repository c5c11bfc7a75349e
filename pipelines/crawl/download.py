"""Bytes from a web server: patient, polite, and never glued together from two versions of a file.

Every request asks for a range, so that the answer says how long the file is and a broken one can go on where
it ended. `If-Range` and the ETag (RFC 9110, 13.1.5 and 14) tell that the file is still the same.
"""

import contextlib
import importlib.metadata
import itertools
import random
import time
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from gristmill.core.errors import CorpusError
from gristmill.core.progress import Reporter
from pipelines.crawl.answers import (
    NUMBER,
    UNREACHABLE,
    ChangedError,
    Version,
    bytes_to_skip,
    learn,
    public_url,
    range_of,
    refusal,
    retry_after,
    what_broke,
)
from pipelines.crawl.politeness import HostGate, NoGate

SECTION = "downloads"
_CHUNK = 1 << 16
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_REDIRECTS = 5
_SHOWN_SECONDS = 1.0  # of a pause that is worth a line
_INTERACTIVE_ATTEMPTS = 3  # at a server that does not answer at all, while a person waits: the address may be wrong


@dataclass(frozen=True)
class DownloadSettings:
    """How web servers are treated; section `downloads` of the settings file."""

    connections: int = 2
    """To one host at once, over all processes that share the download folder."""
    delay_seconds: float = 0.2
    """Between the beginnings of two requests to one host: 5 a second at most."""
    attempts: int = 8
    """Failures in a row, with not a byte won between them, before a file is given up."""
    first_backoff_seconds: float = 1.0
    """Before the second attempt; doubled for each further one, with full jitter (Brooker 2015)."""
    max_backoff_seconds: float = 300.0
    """Common Crawl's rate limit lasts minutes."""
    max_retry_after_seconds: float = 3600.0
    """A server that asks for a longer pause is given up, and the message says how long it asked for."""
    stall_seconds: float = 60.0
    """Without a byte, or at less than `min_bytes_per_second`, before the connection is closed and resumed."""
    min_bytes_per_second: int = 1024
    """Slower is stalled."""
    gap_bytes: int = 64 << 10
    """Selected pages of one WARC file that lie at most this far apart come with one request."""
    keep: Literal["until_committed", "always"] = "until_committed"
    """How long a fetched file stays in the download folder: until its partition is committed, or for good."""
    max_folder_bytes: int = 100_000_000_000
    """Of the download folder; beyond it, files that were read to their end are removed first, oldest first."""
    folder: str = ""
    """The download folder; `<home>/downloads` by default, or the machine's temporary folder for a remote home."""

    def __post_init__(self) -> None:
        for name in ("connections", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        for name in ("delay_seconds", "first_backoff_seconds", "max_backoff_seconds", "gap_bytes", "max_folder_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give 0 or more")
        if self.stall_seconds <= 0:
            raise ValueError(f"stall_seconds is {self.stall_seconds}; give more than 0")


def user_agent() -> str:
    """How the software names itself to servers."""
    return f"gristmill/{importlib.metadata.version('gristmill')} (crawl curation; honours Retry-After)"


@dataclass
class _Trouble:
    """A failed attempt that may be repeated."""

    what: str
    wait_seconds: float | None = None  # as the server asked
    is_servers_wish: bool = False  # the whole host is to be left alone meanwhile
    is_unreachable: bool = False  # nobody answers at all


class Client:
    """Asks web servers for bytes, in the manner of `settings`; turns are kept in `folder`, if any. To be closed."""

    def __init__(self, settings: DownloadSettings, folder: Path | None, *, is_interactive: bool = False) -> None:
        import requests

        self.settings, self.folder, self._is_interactive = settings, folder, is_interactive
        self._gates: dict[str, HostGate] = {}
        self._session = requests.Session()
        self._session.max_redirects = _MAX_REDIRECTS
        self._session.headers.update({"User-Agent": user_agent(), "Accept-Encoding": "identity"})

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fetch(
        self, url: str, start: int = 0, stop: int | None = None, version: Version | None = None
    ) -> Generator[bytes, None, Version]:
        """The bytes of `url` from `start` to before `stop` (None: the end), each once, across every failure.

        Args:
            url: http or https.
            start: first byte.
            stop: one past the last byte.
            version: what is known of the file from earlier; filled in from the answers.

        Returns:
            The version that the bytes are of.

        Raises:
            ChangedError: the file is no longer the one that `version` describes.
            CorpusError: the server refuses, or fails for too long; names URL, status and a way out.
        """
        known = version or Version()
        position, failures = start, 0
        while stop is None or position < stop:
            before = position
            trouble: _Trouble | None = None
            with self._gate(url).connection():
                for got in self._attempt(url, position, stop, known):
                    if isinstance(got, _Trouble):
                        trouble = got
                        break
                    position += len(got)
                    yield got
            if trouble is None and stop is None and known.total is not None and position < known.total:
                trouble = _Trouble(f"the answer ended {known.total - position} bytes early")
            if trouble is None:
                return known
            failures = 0 if position > before else failures + 1
            self._wait(url, trouble, failures)
        return known

    def fetch_whole(self, url: str, limit: int) -> bytes:
        """A small file at once, up to `limit` bytes."""
        for _ in range(2):
            with contextlib.suppress(ChangedError):
                out = bytearray()
                for data in self.fetch(url):
                    out += data
                    if len(out) > limit:
                        raise CorpusError(f"{public_url(url)} is larger than {limit:,} bytes: it is no listing")
                return bytes(out)
        raise CorpusError(f"{public_url(url)} changes while it is fetched: try again later")

    def tail(self, url: str, size: int, version: Version) -> bytes:
        """The last `size` bytes, or the whole of a shorter file; `version.total` says afterwards how long it is."""
        for failures in itertools.count(1):
            out, trouble = bytearray(), None
            with self._gate(url).connection():
                for got in self._attempt(url, -size, None, version):
                    if isinstance(got, _Trouble):
                        trouble = got
                        break
                    out += got
            if out and trouble is not None and version.total is not None:  # the answer said how long the file is
                begin = max(0, version.total - size)
                return bytes(out) + b"".join(self.fetch(url, begin + len(out), version.total, version))
            if trouble is None:
                return bytes(out)
            self._wait(url, trouble, failures)
        raise AssertionError("the last wait raises")

    def _gate(self, url: str) -> HostGate | NoGate:
        if self.folder is None:
            return NoGate()
        host = urlsplit(url).netloc.rpartition("@")[2]
        if host not in self._gates:
            self._gates[host] = HostGate(self.folder, host, self.settings.connections, self.settings.delay_seconds)
        return self._gates[host]

    def _wait(self, url: str, trouble: _Trouble, failures: int) -> None:
        settings = self.settings
        asked = trouble.wait_seconds
        if asked is not None and asked > settings.max_retry_after_seconds:
            raise CorpusError(
                f"{public_url(url)}: {trouble.what}, and the server asks for {asked:,.0f} s of silence: run the same "
                f"command again after that (what was fetched is kept), or use a mirror"
            )
        attempts = settings.attempts
        if trouble.is_unreachable and self._is_interactive:
            attempts = min(attempts, _INTERACTIVE_ATTEMPTS)
        if failures >= attempts:
            raise CorpusError(
                f"gave up on {public_url(url)} after {failures} attempts without progress ({trouble.what}): run the "
                f"same command again later (what was fetched is kept), or use a mirror"
            )
        ceiling = min(settings.max_backoff_seconds, settings.first_backoff_seconds * 2.0 ** max(failures - 1, 0))
        pause = random.uniform(ceiling / 2, ceiling)  # noqa: S311 - jitter, no secret
        pause = max(pause, asked or 0.0)
        if pause >= _SHOWN_SECONDS:
            Reporter().info(f"{public_url(url)}: {trouble.what}; asking again in {pause:.0f} s")
        if trouble.is_servers_wish:
            self._gate(url).hold_off(pause)
        else:
            time.sleep(pause)

    def _attempt(self, url: str, position: int, stop: int | None, known: Version) -> Iterator[bytes | _Trouble]:
        """One request: bytes, and at the end nothing (all is there) or what went wrong."""
        import requests
        import urllib3

        self._gate(url).wait_for_turn()
        span = f"{position}" if position < 0 else f"{position}-{'' if stop is None else stop - 1}"
        headers = {"Range": f"bytes={span}"}
        if position > 0 and known.validator:
            headers["If-Range"] = known.validator
        timeout = self.settings.stall_seconds
        try:
            with self._session.get(url, headers=headers, timeout=(timeout, timeout), stream=True) as answer:
                yield from self._body(url, answer, position, stop, known)
        except requests.TooManyRedirects:
            raise CorpusError(f"{public_url(url)} redirects more than {_MAX_REDIRECTS} times: check the URL") from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            raise CorpusError(f"{public_url(url)} is no http or https URL: check it") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, zlib.error) as error:
            what = what_broke(error)
            yield _Trouble(what, is_unreachable=what in UNREACHABLE)

    def _body(
        self, url: str, answer: Any, position: int, stop: int | None, known: Version
    ) -> Iterator[bytes | _Trouble]:
        status = int(answer.status_code)
        if status in _RETRIED:
            yield _Trouble(f"status {status}", retry_after(answer.headers.get("Retry-After")), status in (429, 503))
            return
        found = Version(answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
        first, found.total = range_of(answer)
        if status == 416:
            if found.total is not None and found.total == position and known.is_same(found):
                learn(known, found)
                return  # nothing is missing
            if position > 0:
                raise ChangedError(f"{public_url(url)} is shorter than what was fetched of it")
            if found.total == 0:  # a range of an empty file can't be satisfied
                learn(known, found)
                return
        if status not in (200, 206):
            raise CorpusError(refusal(url, status))
        encoding = str(answer.headers.get("Content-Encoding") or "identity").lower()
        is_encoded = encoding != "identity" and not urlsplit(url).path.endswith((".gz", ".zst"))
        if is_encoded:
            found.total = None  # what the server counts is what it sends, not what the file holds
            if position != 0 or stop is not None:
                raise ChangedError(f"{public_url(url)} is compressed on its way, which can't go on where it broke")
        elif status == 200:
            length = str(answer.headers.get("Content-Length") or "")
            found.total = int(length) if NUMBER.fullmatch(length) else None
        if not known.is_same(found):
            raise ChangedError(f"{public_url(url)} has changed since its beginning was fetched")
        skipped = bytes_to_skip(url, status, first, position, known, found, stop)
        learn(known, found)
        wanted = None if stop is None else stop - max(position, 0)
        yield from self._stream(answer, skipped, wanted, encoding if is_encoded else "")

    def _stream(self, answer: Any, skipped: int, wanted: int | None, encoding: str) -> Iterator[bytes | _Trouble]:
        decoder = _decoder(encoding)
        won, window_begins, window_bytes = 0, time.monotonic(), 0
        while wanted is None or won < wanted:
            data: bytes = answer.raw.read1(_CHUNK, decode_content=False)
            if not data:
                break
            window_bytes += len(data)
            if decoder is not None:
                data = decoder.decompress(data)
            passed = min(skipped, len(data))
            skipped -= passed
            data = data[passed:] if wanted is None else data[passed : passed + wanted - won]
            won += len(data)
            if data:
                yield data
            elapsed = time.monotonic() - window_begins
            if elapsed >= self.settings.stall_seconds:
                if window_bytes < self.settings.min_bytes_per_second * elapsed:
                    yield _Trouble(f"only {window_bytes} bytes in {elapsed:.0f} s")
                    return
                window_begins, window_bytes = time.monotonic(), 0
        if wanted is not None and won < wanted:
            yield _Trouble(f"the answer ended {wanted - won} bytes early")


def _decoder(encoding: str) -> Any:
    if encoding in ("gzip", "x-gzip"):
        return zlib.decompressobj(wbits=31)
    return zlib.decompressobj() if encoding == "deflate" else None
