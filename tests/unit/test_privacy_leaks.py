"""Privacy: personal data planted wherever a page can hold it reaches no quarantine, no preview and no report."""

import gzip
import json
import posixpath
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies

from assets.metadata import partition_metadata
from gristmill.core.errors import EnvironmentProblemError
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import build, to_plain
from pipelines.crawl.corpora import add_corpus
from pipelines.parts import PartTask, run_part
from pipelines.privacy import redaction
from pipelines.privacy.residue import rescan
from pipelines.redacted_urls import redacted
from pipelines.stages import stage

CHAIN = ("extracted_documents", "language_filtered_documents", "quality_filtered_documents", "clean_documents")
MARK = "leak"  # in every planted value, and in nothing else
PHONE = "212-736-5000"
PROSE = (
    "The ferry to the island leaves the harbour every morning at the same time, and the people who live there take it "
    "to the market on the other side of the bay. They have done so for as long as anybody can remember.\n"
)


def mail(place: str) -> str:
    """An address that says where it was planted."""
    return f"{MARK}.{place}@corp-{MARK}.org"


def page(place: str, paragraphs: int = 30, head: str = "", body: str = "") -> bytes:
    text = "".join(
        f"<p>{PROSE} Number {i} of the notes was written by {mail(place)}, who answers {PHONE} on day {i}.</p>"
        for i in range(paragraphs)
    )
    title = f"<title>Write to {mail(place)} or {PHONE}</title>"
    return f"<html><head>{title}{head}</head><body>{text}{body}</body></html>".encode()


def record(
    body: bytes, url: str, *, status: str = "200 OK", kind: str = "response", header: str = "", extra: str = ""
) -> bytes:
    fields = header or "Content-Type: text/html"
    block = f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n".encode() + body
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2020-01-01T00:00:00Z\r\n{extra}"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(block) + block + b"\r\n\r\n"


def records() -> list[bytes]:
    """Pages that each stage keeps or rejects, with an address in every place that a crawl can put one."""
    at = f"{MARK}%40corp-{MARK}.org"
    canonical = f'<link rel="canonical" href="https://x.org/{at}?mail={mail("canonical")}">'
    german = f"<p>Schreiben Sie uns bitte an {mail('german')}, wir freuen uns auf Ihre Nachricht und antworten.</p>"
    return [
        record(page("kept"), f"https://{MARK}:{MARK}@x.org/{at}?to={mail('query')}&token={MARK}", extra=""),
        record(page("canonical", head=canonical), f"https://x.org/a?user={MARK}#{mail('fragment')}"),
        record(page("status"), f"https://x.org/{mail('status')}", status="404 Not Found"),
        record(page("type"), f"https://x.org/{at}", header=f"Content-Type: text/{mail('type')}"),
        record(page("bare"), mail("bare")),
        record(page("scheme"), f"mailto:{mail('scheme')}"),
        record(b"", f"https://x.org/{at}", kind="revisit", extra=f"WARC-Refers-To-Target-URI: http://x.org/{at}\r\n"),
        record(page("robots"), "https://x.org/r", header=f"Content-Type: text/html\r\nX-Robots-Tag: noai, {mail('r')}"),
        record(page("meta", head=f'<meta name="robots" content="noai, {mail("meta")}">'), f"https://x.org/?m={at}"),
        record(page("policy"), "https://x.org/p", header=f"Content-Type: text/html\r\nTDM-Reservation: 1\r\n"
               f"TDM-Policy: https://x.org/{at}"),
        record(f"<html><body>{german * 20}</body></html>".encode(), f"https://x.org/de?email={at}"),
        record(page("short", paragraphs=1), f"https://x.org/short/{mail('short')}/"),
        record(b"<html><body>" + b"".join(
            b"<p>Please write to %d.leak-of-the-people-who-live-on-the-island@corp-leak.org on every day.</p>" % i
            for i in range(120)) + b"</body></html>", f"https://x.org/{at}/list"),
        record(page("charset"), "https://x.org/c", header=f"Content-Type: text/html; charset={mail('charset')}"),
    ]  # fmt: skip


def run(layout: Layout, source: Path) -> dict[str, dict[str, Any]]:
    """The map stages one after another; returns a report each, as a run commits it."""
    add_corpus(layout, "c", [str(source)])
    path, reports = str(source), dict[str, dict[str, Any]]()
    for name in CHAIN:
        module = stage(name).load()
        lenient = {"quality_filtered_documents": {"families": []}} if hasattr(module, "FAMILIES") else {}
        plain = to_plain(build(module.Settings, lenient.get(name, {}), "test"))
        partition = Partition("c", "00000")
        folder = str(layout.new_temporary_dir(name, partition))
        for inner in ("output", "quarantine", "signals"):
            Path(folder, inner).mkdir(parents=True)
        task = PartTask(name, layout.root, "c", "00000", path, "part-00000.parquet", folder, plain)
        result = run_part(task)
        path = layout.partition_dir(name, partition)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, "output").rename(path)
        quarantine = Path(layout.quarantine_dir(name, partition))
        quarantine.parent.mkdir(parents=True, exist_ok=True)
        Path(folder, "quarantine").rename(quarantine)
        report = {
            "asset": name, "fingerprint": "f", "settings": plain, "rows_in": result.rows_in,
            "rows_kept": result.rows_kept, "rows_rejected": dict(result.rejected), "tally": dict(result.tally),
            "files": result.files,
        }  # fmt: skip
        layout.write_json(posixpath.join(path, "report.json"), report)
        reports[name] = report
        path = posixpath.join(path, "part-00000.parquet")
    return reports


def test_no_planted_address_leaves_the_documents(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home")
    source = tmp_path / "x.warc.gz"
    source.write_bytes(b"".join(gzip.compress(record) for record in records()))
    reports = run(layout, source)
    assert reports["extracted_documents"]["rows_in"] == len(records())
    rejecting = {name for name, report in reports.items() if report["rows_rejected"]}
    assert rejecting >= {"extracted_documents", "language_filtered_documents", "clean_documents"}, reports
    assert reports["clean_documents"]["rows_rejected"] == {"mostly_personal_data": 1}
    assert reports["clean_documents"]["rows_kept"] >= 2

    def leaking(path: Path) -> list[str]:
        table = pq.read_table(path)
        columns = {name: json.dumps(table.column(name).to_pylist(), default=str) for name in table.schema.names}
        return [f"{path}: {name}" for name, text in columns.items() if MARK in text or PHONE in text]

    home = Path(layout.root)
    assert [line for path in home.glob("quarantine/**/*.parquet") for line in leaking(path)] == []
    assert [line for path in home.glob("clean_documents/**/*.parquet") for line in leaking(path)] == []
    for name, report in reports.items():
        assert MARK not in json.dumps(report)
        shown = partition_metadata(layout, stage(name), Partition("c", "00000"), report)
        assert "preview" in shown
        assert MARK not in repr({key: value for key, value in shown.items() if key not in ("folder", "quarantine")})
        assert PHONE not in repr(shown)
    # The documents before hold it: they are what is cleaned.
    assert leaking(home / "quality_filtered_documents/corpus=c/segment=00000/part-00000.parquet")


def test_the_second_look(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home")
    source = tmp_path / "x.warc.gz"
    source.write_bytes(b"".join(gzip.compress(record) for record in records()))
    partition = Partition("c", "00000")
    kept = run(layout, source)["clean_documents"]["rows_kept"]
    clean = rescan(layout, [partition])
    assert (clean.documents, clean.found, clean.doc_ids, clean.is_clean) == (kept, {}, (), True)
    assert rescan(layout, [partition], documents=1).documents == 1

    path = layout.partition_dir("clean_documents", partition) + "/part-00000.parquet"
    table = pq.read_table(path)
    texts = [f"Ask {mail('left')} or 98.85.59.159", *table.column("text").to_pylist()[1:]]
    urls = [f"https://x.org/{mail('url')}", *table.column("url").to_pylist()[1:]]
    for name, values in (("text", texts), ("url", urls)):
        index = table.schema.get_field_index(name)
        field = table.schema.field(index)
        table = table.set_column(index, field, pa.array(values, field.type))
    pq.write_table(table, path)
    dirty = rescan(layout, [partition])
    assert dirty.found == {"EMAIL_ADDRESS": 1, "IP_ADDRESS": 1, "URL": 1}
    assert dirty.doc_ids == (table.column("doc_id")[0].as_py(),)
    assert MARK not in repr(dirty)


def test_a_machine_with_another_secret_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_PSEUDONYM_SECRET", "3f9a0c5b7d1e8a2f4c6b9d0e7a1f5c8b")
    settings = redaction.Settings(mode="pseudonym")
    planned = redaction.facts(settings)
    monkeypatch.setenv("GRISTMILL_PSEUDONYM_SECRET", "another: 3f9a0c5b7d1e8a2f4c6b9d0e7a1f5c8b")
    source = tmp_path / "part-00000.parquet"
    pq.write_table(pa.table({"text": ["x"]}), source)
    task = PartTask(
        "clean_documents", str(tmp_path), "c", "00000", str(source), source.name, str(tmp_path), to_plain(settings),
        facts=planned,
    )  # fmt: skip
    with pytest.raises(EnvironmentProblemError, match=r"check value of the secret on .* is not that"):
        run_part(PartTask.from_json(task.to_json()))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://x.org/a?id=7&page=2", "https://x.org/a?id=7&page=2"),
        ("https://bob:pw@x.org/", "https://x.org/"),
        ("https://bob@corp.org:pw@x.org/", "https://x.org/"),
        ("https://x.org/u/bob%40corp.org/", "https://x.org/u/<EMAIL_ADDRESS>/"),
        ("https://x.org/u/b%2Bnews@corp.org?x", "https://x.org/u/<EMAIL_ADDRESS>?x"),
        ("https://x.org/?X-Amz-Signature=ab&y=1", "https://x.org/?X-Amz-Signature=<REDACTED>&y=1"),
        ("https://x.org/a;jsessionid=1F?b=2", "https://x.org/a;jsessionid=<REDACTED>?b=2"),
        ("https://x.org/?next=%2F%3Ftoken%3Dabc", "https://x.org/?next=%2F%3Ftoken%3D<REDACTED>"),
        ("mailto:bob@corp.org", "mailto:<EMAIL_ADDRESS>"),
        ("tel:+1-212-736-5000", "tel:<REDACTED>"),
        ("https://medium.com/@user/post", "https://medium.com/@user/post"),
        ("", ""),
    ],
)
def test_what_is_left_of_an_address(url: str, shown: str) -> None:
    assert redacted(url) == shown


@given(strategies.text("ab@.%40:/?=&;#\u00e9 <", max_size=60), strategies.booleans())
@settings(max_examples=200, deadline=None)
def test_addresses_are_redacted_once_and_for_all(text: str, has_scheme: bool) -> None:
    once = redacted(f"https://{text}" if has_scheme else text)
    assert redacted(once) == once


@pytest.mark.parametrize("run_of", ["a", "a.", "%41", "@", "a@", "?a", "?a=", "://"])
def test_a_long_address_takes_no_longer_than_it_is_long(run_of: str) -> None:
    assert redacted(run_of * 50_000) is not None
