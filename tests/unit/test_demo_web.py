import hashlib
import io
import json
import zlib
from pathlib import Path

import phonenumbers
import pytest

from gristmill.core.errors import SettingsError
from gristmill.demo import web
from gristmill.demo.archive import stored_http
from gristmill.demo.fetch import Fetcher
from gristmill.demo.kinds import KINDS, allot
from gristmill.demo.nuisances import MIN_NEAR_JACCARD, jaccard
from gristmill.demo.plan import clusters, plan_pages
from gristmill.demo.server import serve


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return web.make_demo(tmp_path_factory.mktemp("demo") / "web", seed=3, pages=60)


def rows(demo):
    return [json.loads(line) for line in demo.manifest.read_text(encoding="utf-8").splitlines()]


def digests(folder: Path):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_even_a_small_web_holds_every_kind(demo):
    found = {row["kind"] for row in rows(demo)}
    assert found == {kind.name for kind in KINDS} | {"story"}
    assert len({row["language"] for row in rows(demo)}) >= 9
    assert sum(demo.counts.values()) == demo.pages == 60


def test_too_small_a_web_is_refused_in_one_line():
    with pytest.raises(SettingsError, match="60 or more"):
        allot(59)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(demo, tmp_path):
    again = web.make_demo(tmp_path / "again", seed=3, pages=60)
    assert digests(again.folder) == digests(demo.folder)
    other = web.make_demo(tmp_path / "other", seed=4, pages=60)
    assert digests(other.folder) != digests(demo.folder)


def test_a_finished_web_is_reused_and_a_damaged_one_made_again(demo, tmp_path, monkeypatch):
    calls = []
    make = web._make
    monkeypatch.setattr(web, "_make", lambda *a: calls.append(1) or make(*a))
    made = web.make_demo(tmp_path / "web", seed=3, pages=60)
    assert web.make_demo(tmp_path / "web", seed=3, pages=60) == made
    assert len(calls) == 1
    made.manifest.unlink()
    web.make_demo(tmp_path / "web", seed=3, pages=60)
    assert len(calls) == 2
    assert digests(tmp_path / "web") == digests(demo.folder)


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "_commit", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        web.make_demo(tmp_path / "web", seed=3, pages=60)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match="no demo web"):
        web.make_demo(tmp_path, seed=3, pages=60)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_every_row_points_at_its_record(demo):
    for row in rows(demo):
        data = (demo.folder / "warc" / row["warc_file"]).read_bytes()[row["warc_offset"] :]
        head = zlib.decompressobj(31).decompress(data, 600)
        assert head.startswith(b"WARC/1.0\r\nWARC-Type: response\r\n")
        assert f"WARC-Target-URI: {row['url']}\r\n".encode() in head


def test_a_strict_reader_reads_all_members_but_the_torn_ones(demo):
    from fastwarc.warc import ArchiveIterator

    whole = [row for row in rows(demo) if row["kind"] not in ("truncated", "broken_length")]
    for row in whole[:20]:
        data = (demo.folder / "warc" / row["warc_file"]).read_bytes()[row["warc_offset"] :]
        unpacker = zlib.decompressobj(31)
        member = unpacker.decompress(data)
        assert unpacker.eof
        record = next(iter(ArchiveIterator(io.BytesIO(member), parse_http=False)))
        assert record.verify_block_digest()


def test_pages_come_over_the_wire_as_planned():
    planned = plan_pages(5, 60)
    with serve(planned) as port:
        answers = list(Fetcher(port).fetch_all([page.url for page in planned]))
    for page, answer in zip(planned, answers, strict=True):
        assert answer.head.startswith(f"HTTP/1.1 {page.status[0]} ".encode())
        assert b"Host: " + page.site.host.encode() in answer.request
        if page.kind.name in ("broken_chunking", "broken_gzip"):
            assert answer.body is None
            assert stored_http(page, answer).endswith(answer.wire_body)
        else:
            assert answer.body == page.body
    assert {page.framing for page in planned} >= {"length", "chunked", "close"}


def test_an_unknown_address_is_not_found():
    with serve(plan_pages(5, 60)[:1]) as port:
        (answer,) = Fetcher(port).fetch_all(["http://nobody.example/"])
    assert answer.head.startswith(b"HTTP/1.1 404 ")


def test_clusters_are_alike_and_others_are_not(demo):
    by_cluster = {}
    for row in rows(demo):
        if row["cluster"] is not None:
            by_cluster.setdefault(row["cluster"], []).append(row)
    assert by_cluster
    for members in by_cluster.values():
        assert len(members) > 1
        assert all(row["fate"] == "one of cluster" for row in members)
        original = next(row for row in members if row["kind"] == "story")
        for row in members:
            assert jaccard(original["main_text"], row["main_text"]) >= MIN_NEAR_JACCARD - 0.03  # curly or straight
    assert sum(1 for _ in clusters(plan_pages(3, 60))) == len(by_cluster)


def test_the_personal_data_is_valid_and_on_its_page(demo):
    instances = [(row, instance) for row in rows(demo) for instance in row["pii"]]
    assert instances
    for row, instance in instances:
        assert instance["value"] in row["main_text"]
        if instance["type"] == "PHONE_NUMBER":
            assert phonenumbers.is_valid_number(phonenumbers.parse(instance["value"], "US"))
        if instance["type"] == "CREDIT_CARD":
            digits = [int(d) for d in instance["value"] if d.isdigit()]
            doubled = [d if i % 2 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)]
            assert len(digits) == 16 and sum(doubled) % 10 == 0


def test_the_module_runs_alone(tmp_path, capsys):
    assert web.main([str(tmp_path / "web"), "--pages", "60", "--seed", "2"]) == 0
    assert "60 pages" in capsys.readouterr().out
    assert web.main([str(tmp_path / "web2"), "--pages", "10"]) == 2
    assert "60 or more" in capsys.readouterr().err
