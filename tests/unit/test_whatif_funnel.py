"""What `funnel --set` answers is what a run with that setting makes."""

import gzip
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from signals_corpus import LANGUAGE, PARTITION, QUALITY, register, run_stage, texts, write_extracted
from typer.testing import CliRunner

from gristmill.cli.main import app
from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout
from pipelines.crawl.corpora import add_corpus, load_corpus
from pipelines.filters import quality
from pipelines.report.changes import parse_change, setting_of_reason
from pipelines.report.funnel import compute_funnel
from pipelines.report.whatif import WhatIf, what_if


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of two stages materialized over made-up texts."""
    folder = tmp_path_factory.mktemp("made")
    layout = Layout(str(folder / "home"))
    register(layout, folder / "crawl")
    write_extracted(layout, [texts(500), texts(60, seed=8), []])
    for name in (LANGUAGE, QUALITY):
        run_stage(layout, name)
    return folder / "home"


@pytest.fixture
def corpus(made: Path, layout: Layout) -> Layout:
    """A copy of it, to be changed."""
    shutil.copytree(made, layout.root, dirs_exist_ok=True)
    return layout


def stage_of(answer: WhatIf, name: str) -> Any:
    return next(stage for stage in answer.stages if stage.stage == name)


def assert_equal(answer: WhatIf, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    stage = stage_of(answer, name)
    for count, report in ((stage.before, before), (stage.after, after)):
        assert (count.documents_in, count.documents_kept) == (report["rows_in"], report["rows_kept"])
        assert {reason: n for reason, n in count.reasons.items() if n} == report["rows_rejected"]


@pytest.mark.parametrize(
    ("given", "setting", "value"),
    [
        ("quality.gopher_quality.too_few_words=20", "min_words", 20),
        ("quality_filtered_documents.max_bullet_lines=1.0", "max_bullet_lines", 1.0),
        ("quality.families=[gopher_repetition]", "families", ["gopher_repetition"]),
        ("quality.min_words=120", "min_words", 120),
    ],
    ids=["reason", "full name", "list", "stricter"],
)
def test_it_equals_a_run_with_that_setting(corpus: Layout, given: str, setting: str, value: Any) -> None:
    before = run_stage(corpus, QUALITY)
    answer = what_if(corpus, "toy", [given])
    after = run_stage(corpus, QUALITY, {setting: value})
    assert before["rows_rejected"] != after["rows_rejected"]
    assert_equal(answer, QUALITY, before, after)
    assert [change["setting"] for change in answer.changes] == [setting]
    stage = stage_of(answer, QUALITY)
    assert stage.come_in - stage.drop_out == after["rows_kept"] - before["rows_kept"]


@pytest.mark.shared
def test_it_equals_a_run_on_real_texts(layout: Layout, tmp_path: Path, shared_data: Path) -> None:
    with gzip.open(shared_data / "golden" / "datatrove-0.10.1.jsonl.gz", "rt") as file:
        golden = [json.loads(line)["text"] for line in file]
    register(layout, tmp_path / "crawl")
    write_extracted(layout, [golden])
    run_stage(layout, LANGUAGE)
    before = run_stage(layout, QUALITY)
    changed = {"min_alphabetic_words": 0.7, "max_fineweb_duplicate_line_characters": 0.1, "min_words": 80}
    answer = what_if(layout, "toy", [f"quality.{name}={value}" for name, value in changed.items()])
    after = run_stage(layout, QUALITY, changed)
    assert after["is_redecided"]
    assert_equal(answer, QUALITY, before, after)
    assert stage_of(answer, QUALITY).come_in > 0 < stage_of(answer, QUALITY).drop_out
    assert len(answer.documents) == 10
    assert {document.is_kept_before for document in answer.documents} == {True, False}


def test_documents_that_drop_out_are_followed(corpus: Layout) -> None:
    before = {name: run_stage(corpus, name) for name in (LANGUAGE, QUALITY)}
    answer = what_if(corpus, "toy", ["language.threshold=0.995"])
    after = {name: run_stage(corpus, name, {"threshold": 0.995} if name == LANGUAGE else {}) for name in before}
    assert stage_of(answer, LANGUAGE).drop_out > 0
    for name, report in before.items():
        assert_equal(answer, name, report, after[name])
    assert stage_of(answer, QUALITY).not_seen == 0


def test_two_stages_changed_at_once(corpus: Layout) -> None:
    before = {name: run_stage(corpus, name) for name in (LANGUAGE, QUALITY)}
    answer = what_if(corpus, "toy", ["language.thresholds.en=0.995", "quality.min_words=30"])
    settings = {LANGUAGE: {"thresholds": {"en": 0.995}}, QUALITY: {"min_words": 30}}
    for name, report in before.items():
        assert_equal(answer, name, report, run_stage(corpus, name, settings[name]))


def test_documents_that_come_in_are_counted_and_not_guessed(corpus: Layout) -> None:
    before = run_stage(corpus, QUALITY)
    answer = what_if(corpus, "toy", ["language.languages=[en, de]"])
    came = stage_of(answer, LANGUAGE).come_in
    assert came > 0
    assert_equal(answer, QUALITY, before, before)
    assert stage_of(answer, QUALITY).not_seen == came
    document = answer.documents[0]
    assert (document.rule, document.value, document.old_threshold, document.new_threshold) == (
        "language",
        "de",
        "en",
        "en, de",
    )
    assert not document.is_kept_before
    assert document.is_kept_after


def test_the_same_question_has_the_same_answer(corpus: Layout) -> None:
    answers = [what_if(corpus, "toy", ["quality.min_words=120"]).to_plain() for _ in range(2)]
    for answer in answers:
        del answer["seconds"]
    assert answers[0] == answers[1]
    shown = answers[0]["documents"]
    assert len(shown) == 10
    assert all(document["rule"] == "gopher_quality.too_few_words" for document in shown)
    assert all(50 <= document["value"] < 120 for document in shown)
    assert [d["doc_id"] for d in shown] == sorted(d["doc_id"] for d in shown)


def test_every_limit_has_its_setting() -> None:
    settings = quality.Settings()
    for rule in quality.rules(settings, tuple(quality.FAMILIES)):
        setting = setting_of_reason(quality, settings, rule.reason)
        assert setting is None or hasattr(settings, setting)
        if setting is None:
            assert rule.threshold in (0, 1), f"{rule.reason} has a limit that no setting moves"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("quality.min_words", "give STAGE.SETTING=VALUE"),
        ("min_words=3", "give STAGE.SETTING=VALUE"),
        ("extracted_documents.min_characters=3", "'extracted_documents' stores no signals"),
        ("quality.stop_words=[a]", "stop_words changes what is measured"),
        ("language.model_path=x", "model_path changes what is measured"),
        ("quality.min_wrods=3", "'min_wrods' of quality_filtered_documents is unknown; near it are min_words"),
        ("language.threshold=", "there is no value behind the '='"),
        ("quality.min_words=null", "there is no value behind the '='"),
        ("quality.min_words=[", "is no value in YAML"),
        ("quality.gopher_repetition.empty=3", "follows from no single setting"),
        ("quality.perplexity.tail=3", "give the setting: perplexity_cutoffs, worst_perplexity_bucket"),
        ("language.thresholds.=0.3", "'' can't be a name in thresholds"),
        ("language.thresholds.de.x=0.3", "'de.x' can't be a name in thresholds"),
        ("language.thresholds={en: 0.3, en: 0.4}", "'en' is given twice"),
    ],
)
def test_a_wrong_change_is_one_line(given: str, line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_change(given)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("min_words=many", "min_words is 'many'"),
        ("min_words=1.5", "give a whole number"),
        ("max_bullet_lines=.nan", "give a finite number"),
        ("max_bullet_lines=-.inf", "give a finite number"),
    ],
)
def test_a_wrong_value_is_one_line(corpus: Layout, given: str, line: str) -> None:
    with pytest.raises(SettingsError, match=line):
        what_if(corpus, "toy", [f"quality.{given}"])


def test_a_value_that_holds_already_is_said_to(corpus: Layout) -> None:
    printed = CliRunner().invoke(app, ["funnel", "toy", "--set", "quality.min_words=50", "--home", corpus.root])
    assert printed.exit_code == 0, printed.output
    assert "min_words of quality_filtered_documents is 50 already" in " ".join(printed.output.split())


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("classifier_threshold=0.5", "classifier_threshold decides on classifier_score, which no document has: set "),
        ("min_contaminated_ngrams=3", "set evaluation_sets in the settings file and run quality_filtered_documents"),
        (
            "max_explicit_hits=3",
            "decides on explicit_hits, which no document has: set explicit_words",
        ),
        ("max_boilerplate_share=0.5", "set boilerplate_phrases in"),
        ("perplexity_cutoffs.en=[1, 2]", "set perplexity_models in"),
    ],
)
def test_a_limit_on_what_was_never_measured_says_so(corpus: Layout, given: str, line: str) -> None:
    answer = what_if(corpus, "toy", [f"quality.{given}", "quality.min_words=120", "language.threshold=0.5"])
    (said,) = stage_of(answer, QUALITY).unmeasured
    assert line in said
    assert stage_of(answer, LANGUAGE).unmeasured == ()
    printed = CliRunner().invoke(app, ["funnel", "toy", "--set", f"quality.{given}", "--home", corpus.root])
    assert printed.exit_code == 0, printed.output
    assert " ".join(said.split()) in " ".join(printed.output.split())


def test_the_help_shows_the_list_of_its_example() -> None:
    printed = CliRunner().invoke(app, ["funnel", "--help"])
    assert "language.languages='[en, de]'" in " ".join(printed.output.replace("│", " ").split())


def test_what_is_not_there_says_what_to_run(layout: Layout, tmp_path: Path) -> None:
    register(layout, tmp_path / "crawl")
    with pytest.raises(MissingDataError, match="run `gristmill run toy --through quality_filtered_documents` first"):
        what_if(layout, "toy", ["quality.min_words=3"])
    write_extracted(layout, [texts(20)])
    for name in (LANGUAGE, QUALITY):
        run_stage(layout, name)
    run_stage(layout, LANGUAGE, {"threshold": 0.2})
    with pytest.raises(MissingDataError, match="is out of date"):
        what_if(layout, "toy", ["quality.min_words=3"])
    path = f"{layout.partition_dir(LANGUAGE, PARTITION)}/report.json"
    report = json.loads(Path(path).read_text())
    del report["signal_files"]
    layout.write_json(path, report)
    with pytest.raises(MissingDataError, match="has no stored signals, as it was made by an older version"):
        what_if(layout, "toy", ["language.threshold=0.5"])


@pytest.mark.parametrize("harm", ["changed", "cut", "empty", "foreign", "gone", "folder"])
def test_signals_that_are_not_those_of_the_report_are_not_answered_from(corpus: Layout, harm: str) -> None:
    path = Path(corpus.parts(corpus.signals_dir(QUALITY, PARTITION))[0])
    data = path.read_bytes()
    if harm == "changed":
        pq.write_table(pq.read_table(path).slice(1), path)
    elif harm in ("gone", "folder"):
        path.unlink()
    else:
        path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "foreign": b"{}"}[harm])
    if harm == "folder":
        path.mkdir()
    with pytest.raises(MissingDataError) as caught:
        what_if(corpus, "toy", ["quality.min_words=3"])
    again = "run `gristmill run toy --through quality_filtered_documents --force` to measure again"
    assert str(caught.value) == f"{path} is missing or damaged: {again}"


@pytest.mark.parametrize("content", [b"[]", b"{}", b"", b"\xff\xfe", b'{"rows_in": 3}'], ids=repr)
def test_a_damaged_report_is_one_line(corpus: Layout, content: bytes) -> None:
    path = Path(corpus.partition_dir(QUALITY, PARTITION), "report.json")
    path.write_bytes(content)
    for change in ("quality.min_words=3", "language.threshold=0.9"):
        with pytest.raises(MissingDataError, match=r"report\.json"):
            what_if(corpus, "toy", [change])


def test_a_quarantine_that_can_not_be_read_is_one_line(corpus: Layout) -> None:
    path = Path(corpus.parts(corpus.quarantine_dir(QUALITY, PARTITION))[0])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MissingDataError, match=f"{path.name} can't be read .* --through {QUALITY} --force"):
        what_if(corpus, "toy", ["language.threshold=0.995"])


def test_another_recipe_shows_in_the_funnel(corpus: Layout, tmp_path: Path) -> None:
    assert not any(row.settings_changed for row in compute_funnel(corpus, "toy").stages)
    (tmp_path / "mine.yaml").write_text(f"{QUALITY}: {{min_words: 20}}\n")
    (folder,) = {str(Path(file.path).parent) for file in load_corpus(corpus, "toy").files}
    add_corpus(corpus, "toy", [folder], recipe=str(tmp_path / "mine.yaml"))
    row = compute_funnel(corpus, "toy").stage(QUALITY)
    assert (row.settings_changed, row.segments_other_settings) == (("min_words",), ("00000",))
    printed = CliRunner().invoke(app, ["funnel", "toy", "--home", corpus.root])
    assert "1 segment made with other settings than the recipe and settings file give today: min_words" in " ".join(
        printed.output.split()
    )
    Path(corpus.root, "settings.yaml").write_text("nonsense: {}\n")
    funnel = compute_funnel(corpus, "toy")
    assert "unknown section 'nonsense'" in funnel.settings_problem
    assert funnel.stage(QUALITY).documents_in == row.documents_in


def test_the_command_prints_tables_or_json(corpus: Layout) -> None:
    command = ["funnel", "toy", "--set", "quality.min_words=120", "--home", corpus.root]
    printed = CliRunner().invoke(app, command)
    assert printed.exit_code == 0, printed.output
    for words in (
        "what if min_words of",
        "were 120 instead of 50",
        "would drop out",
        "too_few_words",
        "unedited text",
        "nswered in",
    ):
        assert words in printed.output
    value = json.loads(CliRunner().invoke(app, [*command, "--json"]).output)
    assert {"corpus", "changes", "stages", "documents", "seconds"} == set(value)
    after = next(stage["after"] for stage in value["stages"] if stage["stage"] == QUALITY)
    assert after["documents_in"] == after["documents_kept"] + sum(after["reasons"].values())
