"""Which models read what is taken down, and when the blocking checks let one pass."""

from pathlib import Path

import pytest
from history_data import make_run
from tokens_data import doc_id, make_corpora, mix, pack, story, write_documents

from assets.takedown_checks import mixture_is_free, model_is_free
from gristmill.cli.takedown_shown import commands_for
from gristmill.core.layout import Layout, Partition
from pipelines.takedowns import file, load, parse
from pipelines.takedowns.committed import taken_down
from training.exposure import exposures, in_force
from training.lineage import grown_from, roots_of
from training.past_runs import training_runs


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    make_corpora(layout, {"books": 40, "news": 40}, segments=1, heldout_fraction=0.05)
    mix(layout)
    return layout


def trained_documents(layout: Layout) -> list[str]:
    """Documents of books, those that the run reads first in front."""
    first: dict[str, int] = {}
    for document in (doc_id("books00000", number) for number in range(40)):
        first[document] = next((e.steps[0] for e in exposures(layout, {document}) if e.steps), 10**9)
    return sorted(first, key=lambda document: first[document])


def test_steps_are_those_of_the_run_and_adapters_follow_their_base(layout: Layout) -> None:
    make_run(layout, "one", steps=12, made=5)
    adapter = Path(layout.model_dir("lora_adapter", "ada"))
    base = layout.model_dir("pretrained_model", "one") + "/final"
    layout.write_json(str(adapter / "config.json"), {"base": base})
    first = trained_documents(layout)[0]
    [exposure] = exposures(layout, {first})
    [run] = training_runs(layout)
    expected = {
        step + 1
        for step in range(5)
        for ref in run.reading.sequences(step)
        for read in exposure.reads.reads
        if (ref.path, ref.row) == (read.shard, read.span.sequence) and read.step == step + 1
    }
    assert exposure.steps == sorted(expected) != []
    assert exposure.documents == 1
    assert max(exposure.steps) <= 5, "what it has not read yet is not told"
    assert exposure.descendants == (("lora_adapter", "ada"),)
    assert grown_from(layout) == {("pretrained_model", "one"): [("lora_adapter", "ada")]}
    assert roots_of(layout, "lora_adapter", "ada") == [("lora_adapter", "ada"), ("pretrained_model", "one")]
    assert exposures(layout, {"f" * 32}) == []


def test_the_checks_fail_from_the_pattern_to_the_next_training(layout: Layout) -> None:
    make_run(layout, "one", steps=12)
    base = layout.model_dir("pretrained_model", "one") + "/final"
    adapter = layout.model_dir("lora_adapter", "ada")
    layout.write_json(f"{adapter}/config.json", {"base": base})
    layout.write_json(f"{adapter}/report.json", {"base_model": base, "created_at": "2026"})
    assert mixture_is_free(layout).passed
    assert model_is_free(layout, "pretrained_model").passed
    number = next(n for n in range(40) if doc_id("books00000", n) == trained_documents(layout)[0])
    file.add(layout, parse(doc_id("books00000", number)))
    assert taken_down(layout, load(layout)) == {Partition("books", "00000"): {doc_id("books00000", number)}}
    for result in (
        mixture_is_free(layout),
        model_is_free(layout, "pretrained_model"),
        model_is_free(layout, "lora_adapter"),
    ):
        assert not result.passed
        assert "takedown apply" in str(result.description)
    assert "read 1 documents" in str(model_is_free(layout, "lora_adapter").description)
    # What the rebuild leaves: the document is gone from its partition, and the shards are those of the rest. Its
    # quarantine row keeps it taken down.
    texts = [story(n) for n in range(40) if n != number]
    pack(layout, write_documents(layout, "books", "00000", [texts], ids="other"), heldout_fraction=0.05)
    mix(layout)
    known = {doc_id("books00000", number)}
    assert in_force(layout, exposures(layout, known)) == ["lora_adapter", "pretrained_model"]
    assert exposures(layout, known) != [], "the spans of the old shards are kept with the run"
    make_run(layout, "two", steps=12)
    assert [e.run.run_id for e in exposures(layout, known)] == ["one"]


def test_a_run_whose_spans_are_gone_can_not_be_cleared(layout: Layout) -> None:
    make_run(layout, "old", is_old=True)
    write_documents(layout, "books", "00000", [[story(7)]])
    pack(layout, Partition("books", "00000"))
    file.add(layout, parse(doc_id("news00000", 3)))
    assert exposures(layout, {doc_id("news00000", 3)})[0].reads.unknown
    assert not model_is_free(layout, "pretrained_model").passed


def test_a_run_whose_mixture_is_damaged_hides_nothing_of_the_plan(layout: Layout) -> None:
    folder = make_run(layout, "one", steps=12)
    layout.write_json(str(folder / "report.json"), {"run_id": "one", "created_at": "2026-01-02", "inputs": {}})
    (folder / "mixture.json").write_text("{}")
    [exposure] = exposures(layout, {doc_id("books00000", 0)})
    assert "is not a mixture" in exposure.problem
    assert commands_for(layout, None, [exposure]) == ["gristmill run books --through pretrained_model"]
