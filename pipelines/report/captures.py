"""The captures that a URL or a doc_id names: each fetch of a page that a corpus holds, kept or rejected.

A document's way begins in the first stage, whose rows and rejects are every page there is; where that stage was never
made here (data put there by hand), in the first one that is there. See pipelines.report.page_index for the cost.
"""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.redacted_urls import redacted
from pipelines.report.keys import hashed, hosts_in, id_keys, id_range, spellings_as_one
from pipelines.report.page_index import PageIndex, page_index, rows_at
from pipelines.segments import live_segments
from pipelines.stages import STAGES

ID_LENGTH = 32  # hex digits of a doc_id
SHORTEST_PREFIX = 6  # least characters of a doc_id's beginning that is taken for one
NEAR_SHOWN = 5
_MOST = 1_000  # captures of one address, or documents of one beginning, that are told
_GROUPS_OF_HOST = 8  # row groups of a host in which addresses like an unknown one are looked for
_CANDIDATES = 200  # of a host's addresses, those with the longest common beginning and end
_ALIKE = 0.6  # difflib's ratio; its own default
COLUMNS = ("doc_id", "url", "warc_file", "warc_offset", "warc_record", "fetched_at", "reason")


@dataclass(frozen=True)
class Capture:
    """One fetch of a page, as the first stage has it."""

    doc_id: str
    corpus: str
    segment: str
    stage: str  # where its way begins: extracted_documents, if that is there
    url: str | None  # redacted
    warc_file: str | None
    warc_offset: int | None
    warc_record: int  # its number among the records that lie at this offset
    fetched_at: str | None  # ISO 8601, UTC; null for what was rejected there
    part: str  # name of the part file; map stages keep it

    @property
    def partition(self) -> Partition:
        """Where it lies."""
        return Partition(self.corpus, self.segment)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {name: value for name, value in asdict(self).items() if name not in ("part", "stage")}


@dataclass(frozen=True)
class Found:
    """What a question names."""

    captures: tuple[Capture, ...]  # by corpus, time of the fetch, segment and doc_id
    is_exact: bool = True  # False: the page's address is spelled otherwise
    near: tuple[str, ...] = ()  # addresses that may be meant, where nothing was found


class Pages:
    """All pages under a root, or those of one corpus."""

    def __init__(
        self, layout: Layout, corpus: str | None = None, on_indexing: Callable[[], object] | None = None
    ) -> None:
        self.layout, self.corpus = layout, corpus
        self._on_indexing = on_indexing  # called before an index is made, which takes seconds a million pages
        self._stages: dict[Partition, str] = {}
        for stage in STAGES:
            if stage.kind == "map":
                for partition in live_segments(layout, stage.name):
                    if corpus in (None, partition.corpus):
                        self._stages.setdefault(partition, stage.name)
        self._indexes: dict[Partition, PageIndex] = {}

    @property
    def partitions(self) -> list[Partition]:
        """Segments that hold any page, sorted."""
        return sorted(self._stages)

    def find(self, asked: str) -> Found:
        """The captures of a URL, or of a doc_id or the beginning of one (six characters or more).

        A URL is compared as it is written; where no page has just that address, pages are found that differ from it
        in scheme, `www.`, user information, default port, fragment, case, or a slash or `index.html` at the end.

        Raises:
            MissingDataError: there are no documents at all under the root, or a part can't be read.
        """
        if not self._stages:
            where = f"of corpus {self.corpus} " if self.corpus else ""
            raise MissingDataError(
                f"no documents {where}under {self.layout.root}: "
                f"run `gristmill run {self.corpus or 'CORPUS'} --through extracted_documents` first"
            )
        if is_doc_id(asked):
            return Found(tuple(self._sorted(self._of_ids(asked))))
        exact, otherwise = self._of_url(asked)
        if exact or otherwise:
            return Found(tuple(self._sorted(exact or otherwise)), bool(exact))
        return Found((), near=tuple(self._near(asked)))

    def of_ids(self, partition: Partition, ids: Iterable[str]) -> dict[str, Capture]:
        """The captures of documents of one segment, by doc_id; those that it does not hold are left out."""
        if partition not in self._stages:
            return {}
        wanted = pa.array(sorted(set(ids)), pa.string())
        places = self._index(partition).places("ids", id_keys(wanted).tolist())
        return {c.doc_id: c for c in self._rows(partition, places, "doc_id", lambda column: pc.is_in(column, wanted))}

    def _of_ids(self, asked: str) -> list[Capture]:
        found: list[Capture] = []
        for partition in self.partitions:
            places = self._index(partition).places_between("ids", *id_range(asked))
            found += self._rows(partition, places, "doc_id", lambda column: pc.starts_with(column, asked))
            if len(found) > _MOST:
                raise MissingDataError(f"{asked!r} begins more than {_MOST:,} doc_ids: give more characters of one")
        return found

    def _of_url(self, asked: str) -> tuple[list[Capture], list[Capture]]:
        """Captures of just this address, and of other spellings of it."""
        spelled: Any = spellings_as_one(pa.array(sorted({asked, redacted(asked)}), pa.string()))
        wanted = pa.array(sorted(set(spelled.to_pylist())), pa.large_string())
        exact: list[Capture] = []
        otherwise: list[Capture] = []
        for partition in self.partitions:
            places = self._index(partition).places("urls", hashed(wanted).tolist())
            if not places:
                continue
            for is_same, capture in self._rows_with_url(
                partition, places, lambda column: pc.is_in(spellings_as_one(column), wanted), asked
            ):
                (exact if is_same else otherwise).append(capture)
            if len(exact) + len(otherwise) > _MOST:
                break
        return exact, otherwise

    def _near(self, asked: str) -> list[str]:
        """Addresses of the same host that are most like an unknown one."""
        spelled: Any = spellings_as_one(pa.array([asked], pa.string()))
        host: Any = hosts_in(spelled)
        known: dict[str, str] = {}
        left, own = _GROUPS_OF_HOST, host[0]
        for partition in self.partitions:
            places = self._index(partition).places("hosts", hashed(host).tolist())[:left]
            left -= len(places)
            for _, table in rows_at(self.layout, places, ["url"]):
                urls: Any = table.column("url").drop_null().combine_chunks()
                others: Any = spellings_as_one(urls)
                is_own: Any = pc.equal(hosts_in(others), own)
                for url, other in zip(urls.filter(is_own).to_pylist(), others.filter(is_own).to_pylist(), strict=True):
                    known.setdefault(other, redacted(url))
        wanted = spelled[0].as_py()
        likely = sorted(known, key=lambda other: (-_common(other, wanted), other))[:_CANDIDATES]
        return [known[other] for other in get_close_matches(wanted, likely, NEAR_SHOWN, _ALIKE)]

    def _index(self, partition: Partition) -> PageIndex:
        known = self._indexes.get(partition)
        if known is None:
            stage = self._stages[partition]
            report = self.layout.require_report(stage, partition)
            known = self._indexes[partition] = page_index(self.layout, stage, partition, report, self._on_indexing)
        return known

    def _rows(self, partition: Partition, places: Sequence[Any], column: str, match: Any) -> list[Capture]:
        return [capture for _, capture in self._matching(partition, places, column, match)]

    def _rows_with_url(
        self, partition: Partition, places: Sequence[Any], match: Any, asked: str
    ) -> Iterator[tuple[bool, Capture]]:
        same = {asked, redacted(asked)}
        for row, capture in self._matching(partition, places, "url", match):
            yield row["url"] in same, capture

    def _matching(
        self, partition: Partition, places: Sequence[Any], column: str, match: Any
    ) -> Iterator[tuple[dict[str, Any], Capture]]:
        stage = self._stages[partition]
        for place, table in rows_at(self.layout, places, COLUMNS):
            mask: Any = pc.fill_null(match(table.column(column)), False)
            for row in table.filter(mask).to_pylist():
                yield row, _capture(stage, partition, place.path, row)

    @staticmethod
    def _sorted(captures: Iterable[Capture]) -> list[Capture]:
        once = {(c.corpus, c.segment, c.doc_id): c for c in captures}.values()
        return sorted(once, key=lambda c: (c.corpus, c.fetched_at or "", c.segment, c.doc_id))


def is_doc_id(asked: str) -> bool:
    """Say whether a question is a doc_id or the beginning of one, and no address."""
    return SHORTEST_PREFIX <= len(asked) <= ID_LENGTH and not set(asked) - set("0123456789abcdef")


def _common(one: str, other: str) -> int:
    """Characters that two texts begin and end with in common: cheap, and a slip of the pen leaves both."""
    return _beginning(one, other) + _beginning(one[::-1], other[::-1])


def _beginning(one: str, other: str) -> int:
    length = min(len(one), len(other))
    return next((i for i in range(length) if one[i] != other[i]), length)


def _capture(stage: str, partition: Partition, path: str, row: dict[str, Any]) -> Capture:
    fetched, url = row.get("fetched_at"), row.get("url")
    return Capture(
        doc_id=str(row["doc_id"]),
        corpus=partition.corpus,
        segment=str(partition.segment),
        stage=stage,
        url=None if url is None else redacted(url),
        warc_file=row.get("warc_file"),
        warc_offset=row.get("warc_offset"),
        warc_record=int(row.get("warc_record") or 0),
        fetched_at=fetched.isoformat().replace("+00:00", "Z") if fetched else None,
        part=posixpath.basename(path),
    )
