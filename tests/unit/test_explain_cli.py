"""`gristmill explain` and `gristmill trace` on a small home: what is said, as text and as JSON."""

import datetime
import json
import posixpath
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from history_data import make_run
from tokens_data import SilentReporter, story

from gristmill.cli import main
from gristmill.cli.untrusted import escaped, escaped_line
from gristmill.core.layout import Layout, Partition
from pipelines.dedup.duplicate_files import REPRESENTATIVE_SCHEMA, duplicate_path, representative_path
from pipelines.parts import PartTask, PartWriter
from pipelines.report.captures import Pages
from pipelines.report.explanation import explain
from pipelines.schema import DOCUMENT_SCHEMA, DUPLICATE_SCHEMA, QUARANTINE_SCHEMA
from pipelines.tokens import mixture, shards, tokenizer

STAGES = (
    "extracted_documents",
    "language_filtered_documents",
    "quality_filtered_documents",
    "minhash_signatures",
    "deduplicated_documents",
    "clean_documents",
)
WHERE = Partition("toy", "00000")
ESCAPE = "\x1b[31mred\x1b]0;title\x07 \u202eturned"
TITLE = f"{ESCAPE} by jane.doe@example.org {'x' * 500}"
EMPTY, FRENCH, DULL, COPY, KEPT, PRIVATE = (f"{digit}" * 32 for digit in "abcde8")
FATES = {EMPTY: 0, FRENCH: 1, DULL: 2, COPY: 4, KEPT: None, PRIVATE: 5}  # the stage that rejects it
REASONS = ("empty", "language", "gopher_quality.few_words", "", "near_duplicate", "mostly_personal_data")
URLS = {doc_id: f"https://mill.example/{name}" for doc_id, name in zip(FATES, "abcdef", strict=True)}
FETCHED = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def row_of(doc_id: str, text: str, url: str) -> dict[str, Any]:
    place = {"warc_file": "toy.warc.gz", "warc_offset": 7, "warc_record": 0, "fetched_at": FETCHED}
    place |= {"title": TITLE}
    return {"doc_id": doc_id, "url": url, "corpus": "toy", "segment": "00000", "text": text, **place}


def commit(layout: Layout, stage: int, texts: dict[str, str], inputs: str) -> None:
    name = STAGES[stage]
    kept = [d for d, fate in FATES.items() if fate is None or fate > stage] + [d for d in texts if d not in FATES]
    rejected = [d for d, fate in FATES.items() if fate == stage]
    files: dict[str, Any] = {}
    for key, folder, schema, ids in (
        ("files", layout.partition_dir(name, WHERE), DOCUMENT_SCHEMA.append(pa.field("title", pa.string())), kept),
        ("quarantine_files", layout.quarantine_dir(name, WHERE), QUARANTINE_SCHEMA, rejected),
    ):
        layout.fs.makedirs(folder, exist_ok=True)
        writer = PartWriter(layout, posixpath.join(folder, "part-00000.parquet"))
        rows = [row_of(d, texts[d], URLS.get(d, f"https://mill.example/{d[:8]}")) for d in ids]
        for row in rows:
            row |= {"reason": REASONS[stage], "stage": name, "score": 0.25, "threshold": 0.5}
            row |= {"failed_rules": [REASONS[stage], "another_rule"], "detail": ESCAPE}
            row |= {"language": "en" if stage else None, "language_score": 0.75 if stage else None}
        writer.write(pa.RecordBatch.from_pylist(rows, schema=schema))
        files[key] = [writer.close()]
    source = {STAGES[stage - 1]: inputs} if stage else {}
    sizes = {"text_bytes_out": sum(len(texts[d]) for d in kept), "rows_kept": len(kept)}
    report = {"fingerprint": f"of {name}", "inputs": source, "created_at": "2026-01-03", **files, **sizes}
    layout.write_json(posixpath.join(layout.partition_dir(name, WHERE), "report.json"), report)


def commit_clusters(layout: Layout) -> None:
    folder = layout.partition_dir("duplicate_clusters", Partition("toy"))
    layout.fs.makedirs(posixpath.dirname(representative_path(folder, 0)), exist_ok=True)
    duplicate = {"doc_id": COPY, "segment": "00000", "representative_id": KEPT, "representative_corpus": "toy"}
    duplicate |= {"representative_segment": "00000", "kind": "near", "similarity": 0.875, "cluster_size": 2}
    for path, row, schema in (
        (duplicate_path(folder, 0), duplicate, DUPLICATE_SCHEMA),
        (representative_path(folder, 0), {"doc_id": KEPT, "cluster_size": 2}, REPRESENTATIVE_SCHEMA),
    ):
        writer = PartWriter(layout, path)
        writer.write(pa.RecordBatch.from_pylist([row], schema=schema))
        writer.close()
    layout.write_json(posixpath.join(folder, "report.json"), {"segments": ["00000"]})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout = Layout(tmp_path_factory.mktemp("explain") / "home")
    texts = {doc_id: f"{story(number, 300)} {ESCAPE}" for number, doc_id in enumerate(FATES)}
    texts |= {f"{n:032x}": story(n) for n in range(0xF00000, 0xF00020)}
    for stage in range(len(STAGES)):
        commit(layout, stage, texts, f"of {STAGES[stage - 1]}")
    commit_clusters(layout)
    tokenizer.run(layout, tokenizer.Settings(vocabulary_size=320), SilentReporter())
    attempt = Path(layout.new_temporary_dir("token_shards", WHERE))
    task = PartTask(
        stage="token_shards",
        root=layout.root,
        corpus="toy",
        segment="00000",
        source=layout.partition_dir("clean_documents", WHERE),
        part="segment",
        folder=str(attempt),
        settings={"sequence_length": 64, "heldout_fraction": 0.1},
    )
    shards.pack_segment(task)
    final = Path(layout.partition_dir("token_shards", WHERE))
    final.parent.mkdir(parents=True)
    (attempt / "output").rename(final)
    layout.write_json(str(final / "report.json"), {"fingerprint": "of the shards", "inputs": {}})
    mixture.run(layout, mixture.Settings(), SilentReporter())
    return Path(layout.base)


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "home")
    make_run(Layout(tmp_path / "home"), "aaaa1111", steps=500)
    return tmp_path / "home"


def run(home: Path, *arguments: str) -> int:
    return main._exit_code([*arguments, "--home", str(home)])  # pyright: ignore[reportPrivateUsage]


def answer(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> dict[str, Any]:
    assert run(home, *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def outcomes(document: dict[str, Any]) -> list[str]:
    return [stage["outcome"] for stage in document["stages"]]


@pytest.mark.parametrize("doc_id", FATES)
def test_every_stage_says_what_it_did(home: Path, capsys: pytest.CaptureFixture[str], doc_id: str) -> None:
    (found,) = answer(capsys, home, "explain", URLS[doc_id])["documents"]
    fate = FATES[doc_id]
    expected = ["kept"] * 7
    if fate is not None:
        expected = ["kept"] * fate + ["rejected"] + ["not reached"] * (6 - fate)
        decision = found["stages"][fate]
        assert decision["reason"] == REASONS[fate]
        assert (decision["score"], decision["threshold"]) == (0.25, 0.5)
        assert decision["failed_rules"] == [REASONS[fate], "another_rule"]
    assert outcomes(found) == expected
    assert found["document"]["warc_offset"] == 7
    assert found["split"] == (None if fate is not None else found["split"])
    assert (found["cluster"] is not None) == (doc_id in (COPY, KEPT))
    assert (found["representative"] is not None) == (doc_id == COPY)


def test_what_a_stage_adds_is_told_once(home: Path) -> None:
    layout = Layout(home)
    (capture,) = Pages(layout).find(KEPT).captures
    decisions = {decision.stage: decision for decision in explain(layout, capture).decisions}
    shown = decisions["extracted_documents"].signals
    assert {n: v for n, v in shown.items() if n != "title"} == {"language": None, "language_score": None}
    assert decisions["language_filtered_documents"].signals == {"language": "en", "language_score": 0.75}
    assert decisions["quality_filtered_documents"].signals == {}


def test_steps_are_those_that_trace_shows(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = answer(capsys, home, "explain", KEPT)["documents"]
    (model,) = found["models"]
    assert found["split"] == "train"
    assert model["steps_read"]
    for read in model["reads"][:5]:
        assert read["loader_step"] == read["step"] - 1
        step = answer(capsys, home, "trace", "aaaa", "--step", str(read["step"]), "--text")
        sequence = step["sequences"][read["place"]]
        assert (sequence["shard"], sequence["row"]) == (read["shard"], read["sequence"])
        (span,) = [s for s in sequence["spans"] if s["doc_id"] == KEPT and s["start"] == read["start"]]
        assert (span["url"], span["warc_file"], span["warc_offset"]) == (URLS[KEPT], "toy.warc.gz", 7)
        assert step["is_made"]


def test_text_reaches_no_terminal_as_it_is(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "explain", DULL) == 0
    said = capsys.readouterr().out
    (found,) = answer(capsys, home, "explain", KEPT)["documents"]
    for step in found["models"][0]["steps_read"][:9]:
        assert run(home, "trace", "latest", "--step", str(step), "--text") == 0
        said += capsys.readouterr().out
    assert "\\x1b[31mred" in said
    assert "\\u202eturned" in said
    assert not set(said) & {"\x1b", "\x07", "\u202e"}


def test_a_duplicate_goes_on_with_its_representative(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "explain", URLS[COPY]) == 0
    said = capsys.readouterr().out
    assert f"repeats {KEPT}" in said
    assert "Its representative, which is in the shards" in said
    assert "in the shards of no training run" in said


def test_an_address_spelled_otherwise_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "explain", "http://www.mill.example/e/#top") == 0
    assert "no page has just that address" in capsys.readouterr().out
    assert not answer(capsys, home, "explain", "mill.example/e")["is_exact"]


def test_what_is_unknown_is_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "explain", "https://mill.example/ee") == 2
    assert "did you mean https://mill.example/e" in capsys.readouterr().err
    assert run(home, "explain", "f" * 32) == 2
    assert "kept or rejected" in capsys.readouterr().err
    assert run(home, "explain", KEPT, "--corpus", "other") == 2
    assert "no documents of corpus other" in capsys.readouterr().err
    assert run(home, "explain", KEPT, "--raw") == 2
    assert "corpus toy is not registered" in capsys.readouterr().err
    for step in ("0", "501"):
        assert run(home, "trace", "latest", "--step", step) == 2
        assert "has steps 1 to 500" in capsys.readouterr().err
    assert run(home, "trace", "latest", "--step", "1", "--place", "4") == 2
    assert "has places 0 to 3" in capsys.readouterr().err


def test_a_document_that_only_models_remember(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in STAGES:
        shutil.rmtree(home / stage)
    commit(Layout(home), 0, dict.fromkeys(FATES, "") | {"9" * 32: ""}, "")
    lost = f"{0xF00005:032x}"
    (found,) = answer(capsys, home, "explain", lost)["documents"]
    assert found["stages"] == []
    assert found["models"]
    assert run(home, "explain", lost) == 0
    assert "is in no corpus any more" in capsys.readouterr().out


def test_a_title_says_nothing_of_a_person_and_does_not_fill_the_screen(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = answer(capsys, home, "explain", KEPT)["documents"]
    assert found["stages"][0]["signals"]["title"] == TITLE.replace("jane.doe@example.org", "<EMAIL_ADDRESS>")
    assert run(home, "explain", KEPT) == 0
    shown = capsys.readouterr().out
    assert "title \\x1b[31mred" in shown
    assert "jane.doe" not in shown
    assert "x" * 100 not in shown


def test_errors_turn_no_text_around(capsys: pytest.CaptureFixture[str]) -> None:
    main._say("did you mean https://mill.example/\u202e\x1b[2J?", 2)  # pyright: ignore[reportPrivateUsage]
    assert capsys.readouterr().err == "error: did you mean https://mill.example/\\u202e\\x1b[2J?\n"


def test_a_stage_made_from_other_inputs_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(Layout(home), 2, {**dict.fromkeys(FATES, "x"), "9" * 32: "x"}, "of something older")
    assert run(home, "explain", KEPT) == 0
    assert capsys.readouterr().out.count("made from other inputs") == 1


def test_a_damaged_run_hides_no_other(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(Layout(home), "bbbb2222")
    (folder / "mixture.json").write_text("{}")
    (found,) = answer(capsys, home, "explain", KEPT)["documents"]
    assert [bool(model["problem"]) for model in found["models"]] == [False, True]


@pytest.mark.parametrize("text", ["{}", '{"splits": [1]}', '{"splits": {"train": {"shards": [{"name": "x"}]}}}'])
def test_a_manifest_that_is_none_is_one_line(home: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    layout = Layout(home)
    (Path(layout.partition_dir("token_shards", WHERE)) / "manifest.json").write_text(text)
    assert run(home, "explain", KEPT) == 2
    line = capsys.readouterr().err.splitlines()[-1]  # after the news of an index that is made
    assert "manifest.json is not a manifest of shards: run `gristmill run toy --through token_shards --force`" in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2J\x07\r\x00", "\\x1b[2J\\x07\\r\\x00"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("caf\u00e9\u00a0\u3042", "caf\u00e9\u00a0\u3042"),
        ("\x9b31m", "\\x9b31m"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert "\n" not in escaped_line(text)
