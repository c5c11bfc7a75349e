"""Which documents a list of patterns means; the cost of a document does not grow with the number of patterns."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.crawl.hostkeys import host_key
from pipelines.crawl.urls import host_of
from pipelines.takedowns.patterns import Pattern, host_in, normal_url, place_of

REASON = "takedown"
COLUMNS = ("doc_id", "url", "host")  # that are looked at
_FORM = "1"  # of what matching means: another one when a pattern comes to mean other documents
_NONE = -1


class Takedowns:
    """The patterns in force. Where several mean a document, the first in the file is the one that is named."""

    def __init__(self, patterns: Iterable[Pattern] = ()) -> None:
        self.patterns: tuple[Pattern, ...] = tuple(patterns)
        self._ids: dict[str, int] = {}
        self._hosts: dict[str, int] = {}
        self._urls: dict[str, int] = {}
        self._beginnings: dict[str, dict[str, int]] = {}  # by what is before the first slash
        for number, pattern in enumerate(self.patterns):
            if pattern.kind == "doc_id":
                self._ids.setdefault(pattern.pattern, number)
            elif pattern.kind == "host":
                self._hosts.setdefault(pattern.pattern, number)
            elif pattern.is_prefix:
                beginning = pattern.pattern[:-1]
                self._beginnings.setdefault(place_of(beginning), {}).setdefault(beginning, number)
            else:
                self._urls.setdefault(pattern.pattern, number)
        self._lengths = {place: sorted({len(b) for b in found}) for place, found in self._beginnings.items()}
        self._url_hosts = {host_in(place_of(key)) for key in (*self._urls, *self._beginnings)}

    def __len__(self) -> int:
        return len(self.patterns)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    @cached_property
    def version(self) -> str:
        """Hash of what is taken down; notes and times don't count."""
        digest = hashlib.sha256(_FORM.encode())
        for pattern in self.patterns:
            digest.update(f"\0{pattern.key}".encode())
        return digest.hexdigest()[:32]

    @cached_property
    def by_key(self) -> dict[str, Pattern]:
        """The patterns by what stands for them in reports; the first where one is given twice."""
        return {pattern.key: pattern for pattern in reversed(self.patterns)}

    def matching(self, doc_id: str | None, url: str | None, host: str | None = None) -> Pattern | None:
        """The first pattern that means a document, None where none does.

        Args:
            doc_id: of the document.
            url: its address as crawled.
            host: as `pipelines.crawl.urls.host_of` has it; None: that of `url`.
        """
        name = host if host is not None or url is None else host_of(url)
        number = _least(
            self._ids.get(doc_id) if doc_id is not None else None,
            self._of_host(name) if name else None,
            self._of_url(url) if url else None,
        )
        return None if number is None else self.patterns[number]

    def matches(self, rows: "pa.RecordBatch | pa.Table") -> npt.NDArray[np.int64]:
        """Per row of `rows`, which has COLUMNS, the number in `patterns` of the first that means it; -1: none."""
        found: npt.NDArray[np.int64] = np.full(rows.num_rows, _NONE, np.int64)
        if not self.patterns or not rows.num_rows:
            return found
        columns = {name: _whole(rows, name) for name in COLUMNS}
        if self._ids:
            known = pc.is_in(columns["doc_id"], pa.array(list(self._ids), pa.string()))
            for row in _true(known):
                _lower(found, row, self._ids[columns["doc_id"][row].as_py()])
        hosts = columns["host"].dictionary_encode()
        names: list[str | None] = hosts.dictionary.to_pylist()
        codes = cast(Any, pc).fill_null(hosts.indices, _NONE).to_numpy(zero_copy_only=False)
        if self._hosts:
            by_code = np.array([*(_or_none(self._of_host(name) if name else None) for name in names), _NONE], np.int64)
            found = _least_of(found, by_code[codes])
        if self._url_hosts:
            is_looked_at = np.array([*(bool(n) and host_key(n or "") in self._url_hosts for n in names), False])
            # A document without a host may still have an address that is written in another way.
            has_url = columns["url"].is_valid().to_numpy(zero_copy_only=False)
            for row in np.flatnonzero((is_looked_at[codes] | (codes == _NONE)) & has_url).tolist():
                url = columns["url"][row].as_py()
                if url and (number := self._of_url(url)) is not None:
                    _lower(found, row, number)
        return found

    def _of_host(self, host: str) -> int | None:
        key = host_key(host)
        labels = key.split(".")
        if ":" in key or labels[-1].isdigit():  # an IP address has no subdomains
            return self._hosts.get(key)
        return _least(*(self._hosts.get(".".join(labels[n:])) for n in range(len(labels))))

    def _of_url(self, url: str) -> int | None:
        if not self._url_hosts or (normal := normal_url(url)) is None:
            return None
        place = place_of(normal)
        beginnings = self._beginnings.get(place)
        number = self._urls.get(normal)
        if beginnings is None:
            return number
        lengths = (length for length in self._lengths[place] if length <= len(normal))
        return _least(number, *(beginnings.get(normal[:length]) for length in lengths))


def _least(*numbers: int | None) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


def _or_none(number: int | None) -> int:
    return _NONE if number is None else number


def _least_of(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.where(a == _NONE, b, np.where(b == _NONE, a, np.minimum(a, b)))


def _lower(found: npt.NDArray[np.int64], row: int, number: int) -> None:
    if found[row] == _NONE or number < found[row]:
        found[row] = number


def _whole(rows: "pa.RecordBatch | pa.Table", name: str) -> Any:
    """A column in one piece; hosts are told from addresses where documents come without."""
    if name not in rows.schema.names:
        if name != "host" or "url" not in rows.schema.names:
            return pa.nulls(rows.num_rows, pa.string())
        urls = rows.column("url").to_pylist()
        return pa.array([host_of(url) if url else None for url in urls], pa.string())
    column: Any = rows.column(name)
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.cast(pa.string())


def _true(mask: Any) -> Sequence[int]:
    return np.flatnonzero(cast(Any, pc).fill_null(mask, False).to_numpy(zero_copy_only=False)).tolist()
