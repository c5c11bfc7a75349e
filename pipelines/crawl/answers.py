"""What an answer of a web server says: which version, which range, how long to wait, and what a refusal means."""

import datetime
import email.utils
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gristmill.core.errors import CorpusError

UNREACHABLE = ("connection refused", "the host's name can't be resolved")
NUMBER = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes\s+(?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)", re.IGNORECASE)


@dataclass
class Version:
    """What tells one version of a remote file from another."""

    etag: str | None = None
    modified: str | None = None
    total: int | None = None  # bytes of the whole file

    @property
    def validator(self) -> str | None:
        """For `If-Range`: a strong ETag or a date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def is_same(self, other: "Version") -> bool:
        """Say whether nothing speaks against `other` being the same version."""
        pairs = ((self.etag, other.etag), (self.modified, other.modified), (self.total, other.total))
        return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)


class ChangedError(Exception):
    """The file on the server is another than the one whose beginning is here."""


def bytes_to_skip(
    url: str, status: int, first: int | None, position: int, known: Version, found: Version, stop: int | None
) -> int:
    """How many bytes at the beginning of the answer are here already."""
    if status == 206:
        if position >= 0 and first is not None and first != position:
            raise CorpusError(f"{public_url(url)} answers with another range than asked for: use a mirror")
        return 0
    if position < 0 or (stop is not None and position > 0):
        raise CorpusError(
            f"{public_url(url)}: the server sends files whole only, and pages of it are wanted: use a mirror that "
            f"serves ranges, or register whole files"
        )
    # The server knows no ranges. Without a sign that the file is the same, its beginning can't be trusted.
    if position > 0 and (known.validator is None or known.validator != found.validator):
        raise ChangedError(f"{public_url(url)} is sent from its beginning, and may have changed")
    return position


def learn(known: Version, found: Version) -> None:
    """Add to `known` what an answer says of the same version."""
    known.etag, known.modified = known.etag or found.etag, known.modified or found.modified
    known.total = found.total if known.total is None else known.total


def range_of(answer: Any) -> tuple[int | None, int | None]:
    """First byte and whole length that `Content-Range` states."""
    match = _CONTENT_RANGE.fullmatch(str(answer.headers.get("Content-Range") or "").strip())
    if match is None:
        return None, None
    return int(match[1]) if match[1] else None, int(match[3]) if match[3] != "*" else None


def retry_after(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for, as a number or as a date."""
    if value is None:
        return None
    if NUMBER.fullmatch(value.strip()):
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
        when = when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
        return max(0.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def what_broke(error: BaseException) -> str:
    """A few words without an address, which may hold a password."""
    text = f"{type(error).__name__}: {error}"
    if "timed out" in text.lower():
        return "no bytes for too long"
    if "refused" in text:
        return UNREACHABLE[0]
    if "resolve" in text or "Name or service" in text:
        return UNREACHABLE[1]
    return f"the connection broke, {type(error).__name__}"


def refusal(url: str, status: int) -> str:
    """The line for an answer that no further attempt would change."""
    way_out = {
        401: "it needs a log-in: give the path through s3:// or another file system that has credentials",
        403: "access refused; Common Crawl refuses whoever asked too fast, for a day: wait, lower the setting "
        "downloads.connections, or use a mirror",
        404: "no such file: check the crawl id or the URL",
        410: "the file is gone: check the crawl id or the URL",
    }.get(status, "check the URL, or use a mirror")
    return f"{public_url(url)} answers {status}: {way_out}"


def public_url(url: str) -> str:
    """`url` as it may be shown: without a user, a password or the query that signs it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
