"""Where one WARC or ARC record ends and the next begins, in a member or an uncompressed file, damage and all."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.crawl.stored import ABANDONED, PlainSource, Source, sources

MAX_HEADER_BYTES = 1 << 16  # of one record's own header; the longest in Common Crawl is about 2 kB
MIN_RECORD_BYTES = 31  # of `WARC/1.0`, `Content-Length: 0`, and their line ends
HEADER_PROBLEM = "broken_record_header"
_CHUNK = 1 << 15
_MAX_TAIL = 1 << 20  # garbage behind a damaged record; a longer one gets a row of its own
# A bomb: so many bytes that nobody wants, in so few stored ones (HTML is compressed to a fifth, deflate reaches 1032).
_BOMB_BYTES, _BOMB_RATIO = 256 << 20, 200
_OVERLAP = 1 << 12  # longer than what tells the beginning of a record


@dataclass
class Frame:
    """One record, or a stretch of bytes that is none."""

    offset: int  # in the file as stored, of the member that holds the record
    header: bytes  # the header block as far as it was read
    content: bytes  # of the record, cut after `limit` + 1 bytes
    length: int  # bytes of content that the header declares
    problem: str | None = None  # a `broken_*` reason
    detail: str | None = None
    number: int = 0  # among the records of its member


@dataclass(frozen=True)
class Framing:
    """What tells records of a format apart."""

    start: re.Pattern[bytes]  # matches at the first byte of a record
    next: re.Pattern[bytes]  # finds a record inside other bytes; group 1 begins where the record does
    end_of_header: re.Pattern[bytes]
    content_length: Callable[[bytes], int | None]


class Stream:
    """Buffered reading of one source, with a look ahead and a way back."""

    def __init__(self, source: Source) -> None:
        self._source, self._buffer, self.position = source, b"", 0
        self._plain = source if isinstance(source, PlainSource) else None

    @property
    def is_plain(self) -> bool:
        """Whether any position can be gone to."""
        return self._plain is not None

    @property
    def problem(self) -> str | None:
        """The damage met so far."""
        return self._source.problem

    def peek(self, size: int) -> bytes:
        """The next `size` bytes without passing them, fewer at the end."""
        while len(self._buffer) < size:
            data = self._source.read(_CHUNK)
            if not data:
                break
            self._buffer += data
        return self._buffer[:size]

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        parts, missing = [self._buffer[:size]], size - len(self._buffer)
        self._buffer = self._buffer[size:]
        while missing > 0:
            data = self._source.read(max(missing, _CHUNK))
            if not data:
                break
            parts.append(data[:missing])
            self._buffer = data[missing:]
            missing -= len(data)
        out = b"".join(parts)
        self.position += len(out)
        return out

    def unread(self, data: bytes) -> None:
        """Give back the last bytes read."""
        self._buffer = data + self._buffer
        self.position -= len(data)

    def seek(self, position: int) -> None:
        """Go to a position of a plain source."""
        assert self._plain is not None
        self._plain.raw.seek(position)
        self._buffer, self.position = b"", position

    def skip(self, size: int) -> None:
        """Pass over up to `size` bytes in bounded memory."""
        if self._plain is not None and size > len(self._buffer):
            self.seek(min(self.position + size, max(self._plain.size, self.position)))
            return
        begin, stored = self.position, self._source.consumed()
        while size > 0 and (data := self.read(min(size, 1 << 20))):
            size -= len(data)
            self.leave_bomb(begin, stored)

    def leave_bomb(self, begin: int, stored: int) -> None:
        """Give the source up where what was passed over since `begin` and `stored` is a bomb."""
        passed = self.position - begin
        if passed > _BOMB_BYTES and passed > _BOMB_RATIO * (self._source.consumed() - stored):
            self._source.abandon(ABANDONED)
            self._buffer = b""

    def consumed(self) -> int:
        """Bytes as stored that were read so far."""
        return self._source.consumed()

    def skip_blank(self) -> bytes:
        """Pass over line ends and return them."""
        blank = b""
        while head := self.peek(64):
            rest = head.lstrip(b"\r\n")
            blank += self.read(len(head) - len(rest))
            if rest:
                break
        return blank

    def find(self, pattern: re.Pattern[bytes]) -> bool:
        """Go to where group 1 of `pattern` next matches, in bounded memory; False and the end if nowhere."""
        begin, stored = self.position, self._source.consumed()
        while True:
            self.leave_bomb(begin, stored)
            window = self.peek(_CHUNK)
            match = pattern.search(window)
            if match:
                self.read(match.start(1))
                return True
            if len(window) < _CHUNK:
                self.read(len(window))
                return False
            self.read(len(window) - _OVERLAP)


def frames(source: Source, framing: Framing, limit: int) -> Iterator[Frame]:
    """The records of `source`, at most `limit` + 1 bytes of content held of each; never raises for bad data.

    The offset of a record is where its member begins, which is how archives address records; further records of the
    same member, which no stored offset addresses, are told apart by their number in it.

    Args:
        source: one member, or a whole uncompressed file.
        framing: of WARC or of ARC.
        limit: bytes of content.
    """
    stream = Stream(source)
    number = 0
    while True:
        stream.skip_blank()
        start = stream.position
        if not stream.peek(1):
            if number == 0 and source.problem is not None:
                yield Frame(source.offset, b"", b"", 0, source.problem, "nothing of the record can be read")
            return
        if _skip_stray(stream, framing):
            continue
        frame = _next_frame(stream, framing, limit)
        frame.offset, frame.number = (start, 0) if source.is_plain else (source.offset, number)
        number += 1
        yield frame


def _skip_stray(stream: Stream, framing: Framing) -> bool:
    """Pass over a few bytes between records, too few to have been a record."""
    window = stream.peek(_OVERLAP)
    if framing.start.match(window) or stream.problem is not None:
        return False
    match = framing.next.search(window)
    end = match.start(1) if match else len(window)
    if end >= MIN_RECORD_BYTES:
        return False
    stream.read(end)
    return True


def _next_frame(stream: Stream, framing: Framing, limit: int) -> Frame:
    start = stream.position
    window = stream.peek(_OVERLAP)
    if not framing.start.match(window):
        stream.read(1)  # whatever `next` says, there is progress
        stream.find(framing.next)
        skipped = stream.position - start
        return Frame(0, b"", b"", 0, stream.problem or HEADER_PROBLEM, f"{skipped} bytes that begin no record")
    end = framing.end_of_header.search(window)
    if end is None:
        window = stream.peek(MAX_HEADER_BYTES)
        end = framing.end_of_header.search(window)
    if end is None:
        is_cut = len(window) < MAX_HEADER_BYTES
        stream.read(1)
        stream.find(framing.next)
        problem = stream.problem or ("broken_truncated" if is_cut else HEADER_PROBLEM)
        return Frame(0, window, b"", 0, problem, "the record's header has no end")
    header = stream.read(end.end())
    length = framing.content_length(header)
    if length is None:
        stream.find(framing.next)
        return Frame(0, header, b"", 0, stream.problem or HEADER_PROBLEM, "no usable content length")
    return _with_content(stream, framing, header, length, limit)


def _with_content(stream: Stream, framing: Framing, header: bytes, length: int, limit: int) -> Frame:
    begin = stream.position
    frame = Frame(0, header, stream.read(min(length, limit + 1)), length)
    stream.skip(length - len(frame.content))
    found = stream.position - begin
    blank = stream.skip_blank() if found == length else b""  # a member's checksum is compared at its end
    ahead = stream.peek(_OVERLAP)
    if found == length and (framing.start.match(ahead) or (not ahead and stream.problem is None)):
        return frame
    # The content is short, or no record follows it: its length may lie, and it may have swallowed a neighbour.
    before = _go_back_to_swallowed(stream, framing, frame, begin, found, blank, ahead)
    if before is not None:
        frame.problem, frame.detail = "broken_truncated", f"{before} of {length} bytes are there"
    elif found < length:
        frame.problem, frame.detail = stream.problem or "broken_truncated", f"{found} of {length} bytes are there"
    elif not ahead or _is_damaged_tail(stream, framing):
        frame.problem, frame.detail = stream.problem, "the member that holds the record is damaged"
    return frame


def _is_damaged_tail(stream: Stream, framing: Framing) -> bool:
    """Pass over what is left of a damaged member that holds no further record; False, and stay, otherwise.

    A cut member inflates on into the bytes of the next one until a check fails: the record that began in it may
    seem complete, with garbage behind it, but the checksum says that what it holds is not what was stored.
    """
    rest = stream.peek(_MAX_TAIL)
    if stream.is_plain or stream.problem is None or len(rest) == _MAX_TAIL or framing.next.search(rest):
        return False
    stream.read(len(rest))
    return True


def _go_back_to_swallowed(
    stream: Stream, framing: Framing, frame: Frame, begin: int, found: int, blank: bytes, ahead: bytes
) -> int | None:
    """Go back to a record inside the content of `frame`; returns how many bytes precede it, None if there is none."""
    held = len(frame.content)
    # The swallowed record's header may begin in the content and end behind it.
    match = framing.next.search(frame.content + (blank + ahead if found == held else b""))
    if match is not None and match.start(1) < held:
        if stream.is_plain:
            stream.seek(begin + match.start(1))
        elif found == held:
            stream.unread(frame.content[match.start(1) :] + blank)
        else:
            return None  # what lies between is gone: a compressed member is read once
        return match.start(1)
    if match is None and stream.is_plain and found > held:
        here = stream.position
        stream.seek(begin + max(held - _OVERLAP, 0))
        if stream.find(framing.next) and stream.position < here:
            return stream.position - begin
        stream.seek(here)
    return None


def file_frames(file: Any, framing: Framing, limit: int) -> Iterator[Frame]:
    """The records of an open file, whatever its compression; see `frames`."""
    for source in sources(file, framing.start):
        yield from frames(source, framing, limit)
