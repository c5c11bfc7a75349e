"""Perplexity: normalisation as CCNet's, buckets and rules, a model trained by a real trainer, bad models."""

import math
import random
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import EnvironmentProblemError, SettingsError
from gristmill.core.layout import Layout, Partition
from pipelines.decisions import first_failure
from pipelines.filters import perplexity as family
from pipelines.filters import perplexity_training, quality
from pipelines.filters.language_models import normalised, perplexity, sentences
from pipelines.filters.perplexity import COLUMNS, STAGE, PerplexitySettings, cutoffs, derived, main, rules, score

# A model of two words by hand (ARPA, log10 probabilities): what the numbers below follow from.
ARPA = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-99\t<s>\t0
-0.5\t</s>
-2.0\t<unk>
-0.5\tthe\t0
-1.0\tcanal\t0

\\2-grams:
-0.3\tcanal canal

\\end\\
"""


def batch(*rows: tuple[str | None, str | None]) -> pa.RecordBatch:
    texts, languages = zip(*rows, strict=True) if rows else ((), ())
    return pa.record_batch([pa.array(texts, pa.string()), pa.array(languages, pa.string())], names=["text", "language"])


@pytest.fixture
def model(tmp_path: Path) -> str:
    pytest.importorskip("kenlm", reason="the binding of KenLM is not installed (extra `perplexity`)")
    path = tmp_path / "en.arpa"
    path.write_text(ARPA)
    return str(path)


def test_text_is_normalised_as_the_models_know_it() -> None:
    assert normalised("Ça coûte 42 € «net»…\x07\tOK") == 'ca coute 00 € "net"... ok'
    assert list(sentences("Hello, World!\n\n \nIt\u2019s 1999.")) == ["hello , world !", "it ' s 0000 ."]


def test_pieces_take_the_place_of_words() -> None:
    pieces = SimpleNamespace(encode=lambda line, out_type: [f"▁{word}" for word in line.split()])
    assert list(sentences("Hello, World!\n\n", pieces)) == ["▁hello, ▁world!"]


def test_perplexity_counts_the_end_of_each_line(model: str) -> None:
    scored = score(
        batch(("The canal\n\nthe", "en"), ("lock", "en"), ("", "en"), ("the", "de"), (None, "en")),
        PerplexitySettings(perplexity_models={"en": model}),
    )
    found = scored.column("perplexity").to_pylist()
    assert found[0] == pytest.approx(10 ** ((0.5 + 1.0 + 0.5 + 0.5 + 0.5) / 5))
    assert found[1] == pytest.approx(10 ** ((2.0 + 0.5) / 2), rel=1e-5)
    assert found[2:] == [None, None, None]
    assert scored.column("perplexity_language").to_pylist() == ["en", "en", "en", None, "en"]


def judged(worst: str, **values: float) -> list[str | None]:
    chosen = PerplexitySettings(perplexity_cutoffs={"en": (100.0, 200.0)}, worst_perplexity_bucket=worst)  # type: ignore[arg-type]
    signals = pa.record_batch(
        [pa.array(list(values.values()), pa.float32()), pa.array(["en"] * len(values))], names=list(COLUMNS)
    )
    columns = derived(signals, chosen)
    assert columns["perplexity_bucket"].to_pylist() == list(values)
    for name, column in columns.items():
        signals = signals.append_column(name, column)
    return first_failure(signals, rules(chosen)).column("reason").to_pylist()


def test_the_tail_is_rejected_and_the_middle_where_only_the_head_is_wanted() -> None:
    values = {"head": 99.9, "middle": 100.0, "tail": 200.0}
    assert judged("middle", **values) == [None, None, "perplexity.tail"]
    assert judged("head", **values) == [None, "perplexity.middle", "perplexity.tail"]
    assert judged("tail", **values) == [None, None, None]


def test_the_quality_stage_decides_by_it_and_writes_the_bucket_down(model: str) -> None:
    chosen = quality.Settings(
        families=(), is_editing_lines=False, perplexity_models={"en": model}, perplexity_cutoffs={"en": (5.0, 10.0)}
    )
    scored = quality.score(batch(("the the the", "en"), ("lock keeper", "en"), ("lock", "fr")), chosen)
    verdict = quality.decide(scored, chosen)
    assert verdict.column("reason").to_pylist() == [None, "perplexity.tail", None]
    assert verdict.column("perplexity_bucket").to_pylist() == ["head", "tail", None]
    assert verdict.column("score").to_pylist()[1] == pytest.approx(10 ** (4.5 / 3), rel=1e-5)
    assert verdict.column("threshold").to_pylist()[1] == 10.0
    assert not any(name.startswith("_") for name in verdict.schema.names)


def test_nothing_configured_is_null_and_no_rows_have_the_columns(model: str) -> None:
    assert score(batch(("the", "en")), PerplexitySettings()).column("perplexity").to_pylist() == [None]
    empty = score(batch(), PerplexitySettings(perplexity_models={"en": model}))
    assert [empty.schema.field(name).type for name in COLUMNS] == list(COLUMNS.values())


@pytest.mark.parametrize("limits", [(2.0, 1.0), (1.0,), (0.0, 1.0)], ids=["falling", "one", "zero"])
def test_cutoffs_are_two_rising_numbers(limits: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="two rising numbers"):
        PerplexitySettings(perplexity_cutoffs={"en": limits})


@pytest.mark.parametrize(
    "content", [None, b"", b"nonsense\n", bytes(range(256)) * 20, ARPA.encode()[:-40], b"mmap lm http://kheafield.com/code"],
    ids=["missing", "empty", "text", "bytes", "cut", "cut-binary"],
)  # fmt: skip
def test_a_bad_model_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    path = tmp_path / "bad.arpa"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="perplexity_models") as error:
        score(batch(("the", "en")), PerplexitySettings(perplexity_models={"en": str(path)}))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_without_the_binding_the_way_out_is_said(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kenlm", None)
    with pytest.raises(EnvironmentProblemError, match="binding of KenLM is not installed"):
        score(batch(("the", "en")), PerplexitySettings(perplexity_models={"en": model}))


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_becomes_tokens_that_say_how_long_they_are(text: str) -> None:
    for sentence in sentences(text):
        assert len(sentence.encode("utf-8", "ignore").split()) == sentence.count(" ") + 1


def test_an_impossible_word_stays_a_number() -> None:
    model = SimpleNamespace(score=lambda sentence: -1000.0 * len(sentence.split()))
    value = perplexity(model, "never seen")
    assert value is not None
    assert math.isfinite(value)


def test_terciles_come_from_the_stored_signals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = Layout(tmp_path)
    assert main(["--root", str(tmp_path)]) == 2
    assert "no perplexities are stored" in capsys.readouterr().err
    for segment, values in (("00000", [1.0, 2.0]), ("00001", [3.0, 4.0, None])):
        partition = Partition("books", segment)
        folder = layout.signals_dir(STAGE, partition)
        layout.fs.makedirs(folder)
        table = pa.table({"perplexity": pa.array(values, pa.float32()), "perplexity_language": ["en"] * len(values)})
        pq.write_table(table, f"{folder}/part-00000.parquet")
        layout.write_json(f"{layout.partition_dir(STAGE, partition)}/report.json", {})
    assert main(["--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "    en: [2.0, 3.0]  # 4 documents"
    assert cutoffs({"en": [1.0, 2.0, 3.0]}, 0.5, 0.5) == {"en": [2.0, 2.0]}
    assert family.stored_perplexities(layout, ("other",)) == {}


SUBJECTS = ("the lock keeper", "a narrow boat", "the old engineer", "every toll clerk")
VERBS = ("opened", "repaired", "passed", "remembered")
OBJECTS = ("the upper gate", "a broken paddle", "the stone bridge", "the long tunnel")
WHEN = ("before the rain came", "in the spring of 1802", "while the water rose", "and went home")


def prose(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choice(bank) for bank in (SUBJECTS, VERBS, OBJECTS, WHEN)) + "." for _ in range(count)]


def test_a_model_trained_here_prefers_prose_to_shuffled_words(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    try:
        perplexity_training.find_trainer()
    except EnvironmentProblemError as error:
        pytest.skip(str(error))
    source = tmp_path / "reference.txt"
    source.write_text("\n".join(prose(1, 400)))
    target = tmp_path / "en.arpa"
    assert perplexity_training.main([str(source), "--to", str(target), "--order", "3"]) == 0
    held_out = prose(2, 20)
    draw = random.Random(3)
    shuffled = [" ".join(draw.sample(text.split(), len(text.split()))) for text in held_out]
    rows = batch(*((text, "en") for text in held_out + shuffled))
    values = score(rows, PerplexitySettings(perplexity_models={"en": str(target)})).column("perplexity").to_pylist()
    assert all(a < b for a, b in zip(values[:20], values[20:], strict=True))


def test_no_trainer_and_no_text_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "empty.jsonl"
    source.write_text('{"text": " "}\n')
    program = tmp_path / "bin" / "lmplz"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho all is lost >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv(perplexity_training.TRAINER_VARIABLE, str(tmp_path))
    assert perplexity_training.main([str(source), "--to", str(tmp_path / "m.arpa")]) == 2
    assert "no text to train" in capsys.readouterr().err
    for content, says in ((None, "can't be read"), ('{"text": ', "line 1 is not JSON")):
        bad = tmp_path / "bad.jsonl"
        if content:
            bad.write_text(content)
        assert perplexity_training.main([str(bad), "--to", str(tmp_path / "m.arpa")]) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"error: text to train on: {bad}")
        assert says in line
    source.write_text('{"text": "some words"}\n')
    assert perplexity_training.main([str(source), "--to", str(tmp_path / "m.arpa")]) == 2
    assert "lmplz ended with 3: all is lost" in capsys.readouterr().err
    assert not (tmp_path / "m.arpa").exists()


def test_irstlm_rounding_above_zero_is_mended(tmp_path: Path) -> None:
    raw, target = tmp_path / "raw", tmp_path / "model.arpa"
    raw.write_bytes(ARPA.replace("-0.5\tthe", "2.4e-07\tthe").encode())
    perplexity_training._copy_arpa(raw, target)
    assert "\n0\tthe\t0\n" in target.read_text()
    assert "-99\t<s>" in target.read_text()
