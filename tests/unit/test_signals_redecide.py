"""A decision made again from stored signals is the one that a full run makes, byte by byte."""

import gzip
import json
import types
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from signals_corpus import LANGUAGE, PARTITION, QUALITY, run_stage, sums, texts, write_extracted

from gristmill.core.errors import SettingsError
from gristmill.core.layout import Layout
from pipelines import parts, stages
from pipelines.decisions import verdicts, with_column
from pipelines.filters import c4, language, quality
from pipelines.filters.words import word_table
from pipelines.judging import Scorer
from pipelines.named_files import content_hashes
from pipelines.schema import DOCUMENT_SCHEMA
from pipelines.signals import Memory, source_hashes

LOOSER = {"min_words": 20, "max_bullet_lines": 1.0, "max_duplicate_lines": 0.6}


@pytest.fixture
def other(tmp_path: Path) -> Layout:
    """A second root, where everything is measured afresh."""
    return Layout(tmp_path / "other")


def forbid(monkeypatch: pytest.MonkeyPatch, module: Any) -> list[int]:
    """Rows that `score` is asked for from now on, batch by batch."""
    seen: list[int] = []
    real = module.score
    monkeypatch.setattr(module, "score", lambda batch, *a: (seen.append(batch.num_rows), real(batch, *a))[1])
    return seen


def test_another_limit_is_decided_again_to_the_same_bytes(
    layout: Layout, other: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [texts(700), texts(90, seed=4), []]
    for root in (layout, other):
        write_extracted(root, made)
        run_stage(root, LANGUAGE)
    first = run_stage(layout, QUALITY)
    assert (first["is_redecided"], first["rows_scored"]) == (False, first["rows_in"])
    seen = forbid(monkeypatch, quality)
    again = run_stage(layout, QUALITY, LOOSER)
    assert (again["is_redecided"], again["rows_scored"], sum(seen)) == (True, 0, 0)
    full = run_stage(other, QUALITY, LOOSER)
    assert sums(again) == sums(full)
    assert again["rows_rejected"] == full["rows_rejected"] != first["rows_rejected"]
    assert sums(run_stage(layout, QUALITY)) == sums(first), "and back"


def test_row_groups_end_at_the_same_rows(layout: Layout, other: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP_BYTES", 40_000)
    for root in (layout, other):
        write_extracted(root, [texts(1500)])
        run_stage(root, LANGUAGE)
    run_stage(layout, QUALITY)
    again = run_stage(layout, QUALITY, LOOSER)
    assert sums(again) == sums(run_stage(other, QUALITY, LOOSER))
    path = layout.parts(layout.signals_dir(QUALITY, PARTITION))[0]
    assert pq.ParquetFile(path).num_row_groups > 1


def test_documents_that_come_in_are_measured_and_no_others(layout: Layout, other: Layout) -> None:
    wider = {"languages": ["en", "de"], "threshold": 0.3}
    for root in (layout, other):
        write_extracted(root, [texts(600)])
    run_stage(layout, LANGUAGE)
    first = run_stage(layout, QUALITY)
    language_again = run_stage(layout, LANGUAGE, wider)
    assert language_again["is_redecided"]
    again = run_stage(layout, QUALITY)
    assert again["rows_scored"] == again["rows_in"] - first["rows_in"] > 0
    assert not again["is_redecided"]
    run_stage(other, LANGUAGE, wider)
    assert sums(again) == sums(run_stage(other, QUALITY))
    run_stage(layout, LANGUAGE)
    back = run_stage(layout, QUALITY)
    assert (sums(back), back["rows_scored"]) == (sums(first), 0)


def test_what_extraction_wrote_again_is_measured_where_its_text_is_another(layout: Layout, other: Layout) -> None:
    made = texts(300)
    write_extracted(layout, [made])
    run_stage(layout, LANGUAGE)
    write_extracted(layout, [made], fingerprint="the crawl files were moved")
    moved = run_stage(layout, LANGUAGE)
    assert (moved["is_redecided"], "is_reused" in moved) == (True, False)
    made[7] += " One sentence more than there was."
    for root in (layout, other):
        write_extracted(root, [made], fingerprint="another extractor")
    changed = run_stage(layout, LANGUAGE)
    assert (changed["rows_scored"], changed["is_redecided"]) == (1, False)
    assert sums(changed) == sums(run_stage(other, LANGUAGE))


def test_only_what_quality_reads_makes_a_document_another() -> None:
    row = {"text": "One.", "language": "en", "url": "http://a.example/", "language_score": 0.9}
    others = [row, row | {"url": "http://b.example/", "language_score": 0.7}, row | {"text": "Two."}]
    batch = pa.RecordBatch.from_pylist([*others, row | {"language": "de"}])
    first, elsewhere, *changed = source_hashes(quality, batch).to_pylist()
    assert first == elsewhere
    assert len({first, *changed}) == 3


def test_recalled_signals_say_where_the_document_is_now() -> None:
    settings = quality.Settings()
    row: dict[str, Any] = dict.fromkeys(DOCUMENT_SCHEMA.names) | {"doc_id": "a", "text": "One.", "url": "http://old/"}
    then = pa.RecordBatch.from_pylist([row], schema=DOCUMENT_SCHEMA)
    now = with_column(then, "url", ["http://new/"], DOCUMENT_SCHEMA.field("url").type)
    (measured,) = Scorer(quality, settings, (), None).score(then)
    assert measured.signals is not None
    scorer = Scorer(quality, settings, (), Memory(pa.Table.from_batches([measured.signals])))
    (recalled,) = scorer.score(now)
    assert recalled.signals is not None and scorer.rows_scored == 0
    assert recalled.signals.column("url").to_pylist() == ["http://new/"]
    assert recalled.signals.schema == measured.signals.schema


def test_what_is_measured_otherwise_is_measured_again(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    write_extracted(layout, [texts(40)])
    run_stage(layout, LANGUAGE)
    shorter = run_stage(layout, LANGUAGE, {"prefix_characters": 50})
    assert (shorter["rows_scored"], shorter["is_redecided"]) == (40, False)
    forced = run_stage(layout, LANGUAGE, {"prefix_characters": 50}, is_forced=True)
    assert forced["rows_scored"] == 40
    assert run_stage(layout, LANGUAGE, {"prefix_characters": 50})["is_reused"]


@pytest.mark.parametrize("damage", ["removed", "other bytes"])
def test_signals_that_are_not_the_report_s_are_measured_again(layout: Layout, damage: str) -> None:
    write_extracted(layout, [texts(30), texts(20, seed=9)])
    first = run_stage(layout, LANGUAGE)
    path = Path(layout.parts(layout.signals_dir(LANGUAGE, PARTITION))[0])
    path.write_bytes(path.read_bytes()[:-1] + b"?") if damage == "other bytes" else path.unlink()
    again = run_stage(layout, LANGUAGE, {"threshold": 0.9})
    assert again["rows_scored"] == 30
    assert sums(run_stage(layout, LANGUAGE)) == sums(first)


def test_signals_hold_every_row_and_no_text(layout: Layout) -> None:
    write_extracted(layout, [texts(50)])
    report = run_stage(layout, LANGUAGE)
    table = pq.read_table(layout.parts(layout.signals_dir(LANGUAGE, PARTITION))[0])
    assert table.num_rows == 50 == report["signal_files"][0]["rows"] > report["rows_kept"]
    assert "text" not in table.column_names
    assert table.column_names[-2:] == ["language", "language_score"]
    assert table["language"].null_count == 0


def broken_stage(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A stage with signals that raises here and there; `limit` decides."""

    def raise_on(word: str, batch: pa.RecordBatch) -> None:
        if any(word in (text or "") for text in batch.column("text").to_pylist()):
            raise ValueError(word)

    def score(batch, settings):
        raise_on("poison", batch)
        lengths = [len(text) for text in batch.column("text").to_pylist()]
        return with_column(with_column(batch, "_scratch", lengths, pa.int64()), "length", lengths, pa.int64())

    def decide(batch, settings):
        lengths = batch.column("length").to_pylist()
        if 13 in lengths:
            raise KeyError
        verdict = verdicts(["short" if n < settings.prefix_characters else None for n in lengths], lengths)
        return with_column(verdict, "is_long", [n > 20 for n in lengths], pa.bool_())

    def edit(batch, settings):
        raise_on("uneditable", batch)
        return with_column(
            batch, "text", [text.upper() for text in batch.column("text").to_pylist()], pa.large_string()
        )

    class Settings(language.Settings):
        pass

    module = types.SimpleNamespace(Settings=Settings, score=score, decide=decide, edit=edit, REASONS={})
    monkeypatch.setattr(stages.Stage, "load", lambda _: module)
    monkeypatch.setattr("pipelines.plan.scoring_values", lambda _: {})
    return module


def test_rows_that_raise_stay_broken_when_they_are_decided_again(
    layout: Layout, other: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_stage(monkeypatch)
    made = ["some poison in it", "thirteen char", "no", "uneditable text", "a text that is long enough", "fine text"]
    for root in (layout, other):
        write_extracted(root, [made])
    first = run_stage(layout, LANGUAGE, {"prefix_characters": 3})
    assert (first["rows_kept"], first["rows_rejected"]) == (2, {"broken_row": 3, "short": 1})
    kept = pq.read_table(layout.parts(layout.partition_dir(LANGUAGE, PARTITION))[0])
    assert kept["text"].to_pylist() == ["A TEXT THAT IS LONG ENOUGH", "FINE TEXT"]
    assert kept["is_long"].to_pylist() == [True, False]
    assert "_scratch" not in kept.column_names
    quarantine = pq.read_table(layout.parts(layout.quarantine_dir(LANGUAGE, PARTITION))[0]).to_pylist()
    assert [row["detail"] for row in quarantine] == ["ValueError", "KeyError", None, "ValueError"]
    signals = pq.read_table(layout.parts(layout.signals_dir(LANGUAGE, PARTITION))[0])
    assert signals["broken_row"].to_pylist() == ["ValueError", None, None, None, None, None]
    assert "is_long" not in signals.column_names
    again = run_stage(layout, LANGUAGE, {"prefix_characters": 10})
    assert again["is_redecided"]
    assert again["rows_rejected"] == {"broken_row": 3, "short": 2}
    assert sums(again) == sums(run_stage(other, LANGUAGE, {"prefix_characters": 10}))


def named(paths: tuple[str, ...]) -> Any:
    return types.SimpleNamespace(files=lambda _: paths)


def test_a_file_that_settings_name_counts_by_its_content(layout: Layout, tmp_path: Path) -> None:
    file, folder = tmp_path / "model.bin", tmp_path / "sets"
    file.write_text("one")
    folder.mkdir()
    (folder / "a.jsonl").write_text("a")
    module = named((str(file), str(folder)))
    first = content_hashes(layout, module, LANGUAGE, language.Settings())
    assert content_hashes(layout, module, LANGUAGE, language.Settings()) == first
    (folder / "b.jsonl").write_text("b")
    file.write_text("another")
    second = content_hashes(layout, module, LANGUAGE, language.Settings())
    assert set(first) == set(second)
    assert all(first[path] != second[path] for path in first)
    Path(layout.cache_path("file-hashes.json")).write_text("{")
    assert content_hashes(layout, module, LANGUAGE, language.Settings()) == second


def test_a_file_that_is_not_there_is_one_line_that_names_the_setting(layout: Layout) -> None:
    write_extracted(layout, [texts(3)])
    with pytest.raises(SettingsError, match=r"model_path of language_filtered_documents is /nowhere: No such file"):
        run_stage(layout, LANGUAGE, {"model_path": "/nowhere"})


@pytest.mark.shared
@pytest.mark.parametrize("is_strict", [False, True], ids=["as FineWeb", "terminal punctuation"])
def test_lines_are_edited_alike_without_a_tokenizer(shared_data: Path, is_strict: bool) -> None:
    settings = quality.Settings(is_requiring_terminal_punctuation=is_strict)
    with gzip.open(shared_data / "golden" / "datatrove-0.10.1.jsonl.gz", "rt") as file:
        golden = [json.loads(line)["text"] for line in file]
    odd = [
        "a b c\x0bd e f g\x1ch i j k\u2028l m n\x85o p\u3000q r s\u200bt u v w\x1fx y z aa",
        "",
        " ",
        "\n\n",
        "a[1] b c\n[2]",
    ]
    table = word_table(settings.stop_words)
    texts = golden + odd
    words = [words for group in table.analyse(pa.array(texts, pa.large_string())) for words in group.documents]
    for text, own in zip(texts, words, strict=True):
        lines = [line.strip() for line in text.splitlines()]
        assert c4.edited_text(text, settings) == c4.edit_lines(text, lines, own, table, settings).text
