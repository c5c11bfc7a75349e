"""Real archives, many of them malformed on purpose: all of a file is accounted for."""

from collections import Counter
from pathlib import Path

import pytest

from gristmill.core.layout import Layout
from pipelines.crawl.corpora import CrawlFile, add_corpus
from pipelines.crawl.records import read_records

pytestmark = pytest.mark.shared
LIMIT = 8 << 20


def read_all(file: CrawlFile) -> tuple[list[dict[str, object]], Counter[str]]:
    tally: Counter[str] = Counter()
    names = ["doc_id", "url", "warc_offset", "_broken", "_is_revisit"]
    return [r for b in read_records("c", file, LIMIT, tally) for r in b.select(names).to_pylist()], tally


def test_every_odd_file_is_read_and_its_records_counted(layout: Layout, shared_data: Path) -> None:
    corpus = add_corpus(layout, "odd", [str(shared_data / "crawls" / "odd")])
    total, broken = 0, Counter[str]()
    for file in corpus.files:
        rows, tally = read_all(file)
        assert len({r["doc_id"] for r in rows}) == len(rows), file.name
        total += len(rows)
        broken.update(str(r["_broken"]) for r in rows if r["_broken"])
        _compare_with_warcio(file, tally)
    assert total == 865
    assert broken == Counter(broken_truncated=4, broken_http_status=1, broken_content_encoding=1)


def _compare_with_warcio(file: CrawlFile, tally: Counter[str]) -> None:
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    theirs: Counter[str] = Counter()
    try:
        with Path(file.path).open("rb") as stream:
            for record in ArchiveIterator(stream):
                theirs[str(record.rec_type)] += 1
                record.content_stream().read()
    except ArchiveLoadFailed:
        return  # warcio gives this file up
    ours = tally["record_response"] + tally["record_response_without_http"]
    assert ours == theirs["response"], file.name
    for kind in ("revisit", "request", "metadata", "resource", "conversion"):
        assert tally[f"record_{kind}"] == theirs[kind], file.name


def test_offsets_of_a_real_file_lead_back(layout: Layout, shared_data: Path, tmp_path: Path) -> None:
    file = add_corpus(layout, "realweb", [str(shared_data / "crawls" / "realweb")]).files[0]
    rows, _ = read_all(file)
    assert len(rows) == 207
    data = Path(file.path).read_bytes()
    for row in rows[::40]:
        offset = row["warc_offset"]
        assert isinstance(offset, int)
        tail = tmp_path / "tail.warc.gz"
        tail.write_bytes(data[offset : offset + 400_000])
        again = read_all(CrawlFile("tail", str(tail), "00000", 0, "warc", ""))[0][0]
        assert again["url"] == row["url"]
