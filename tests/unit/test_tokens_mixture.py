"""training_mixture over real shards: what is written, what is refused, and what a rerun leaves as it was."""

import posixpath
from pathlib import Path
from typing import Any

import pytest
from tokens_data import SilentReporter, doc_id, make_corpora, mix, pack, story, train, write_documents

from gristmill.core.errors import GristmillError, MissingDataError, SettingsError
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import resolve
from pipelines.tokens import mixture
from training.schedule import Schedule
from training.shards import read_mixture

RARE, OFTEN = "seen once", "seen 10+ times"


def written(layout: Layout) -> dict[str, Any]:
    found = layout.read_json(layout.join("training_mixture", "mixture.json"))
    assert found is not None
    return found


def by_source(layout: Layout) -> dict[str, dict[str, Any]]:
    return {row["source"]: row for row in written(layout)["corpora"]}


def manifest_path(layout: Layout, corpus: str, segment: str = "00000") -> str:
    return posixpath.join(layout.partition_dir("token_shards", Partition(corpus, segment)), "manifest.json")


def edit_manifest(layout: Layout, corpus: str, change: Any, segment: str = "00000") -> None:
    path = manifest_path(layout, corpus, segment)
    manifest = layout.read_json(path)
    assert manifest is not None
    change(manifest)
    layout.write_json(path, manifest)


def sort_into_buckets(layout: Layout, corpus: str, names: tuple[str, ...] = (RARE, OFTEN)) -> None:
    """Give the shards of a segment to buckets in turn, as a manifest says it."""

    def change(manifest: dict[str, Any]) -> None:
        shards = manifest["splits"]["train"]["shards"]
        assert len(shards) >= len(names)
        for number, shard in enumerate(shards):
            shard["bucket"] = names[number % len(names)]

    edit_manifest(layout, corpus, change)


@pytest.fixture
def bucketed(layout: Layout) -> Layout:
    make_corpora(layout, {"a": 80, "b": 80}, segments=1, shard_mb=0.001)
    sort_into_buckets(layout, "b")
    return layout


def test_the_file_is_what_training_reads(layout: Layout) -> None:
    make_corpora(layout, {"a": 80, "b": 40})
    report = mix(layout)
    found = written(layout)
    assert [c["corpus"] for c in found["corpora"]] == ["a", "b"]
    assert sum(c["proportion"] for c in found["corpora"]) == pytest.approx(1)
    assert {s["split"] for s in found["shards"]} == {"train", "heldout"}
    for corpus in found["corpora"]:
        shards = [s for s in found["shards"] if s["corpus"] == corpus["corpus"] and s["split"] == "train"]
        assert corpus["sequences"] == corpus["draws"] == sum(s["sequences"] for s in shards)
        assert corpus["tokens"] == corpus["tokens_read"] == sum(s["tokens"] for s in shards)
        sizes = [Path(layout.join(s["path"])).stat().st_size for s in shards]
        assert corpus["bytes"] == sum(sizes)
        assert all(Path(layout.join(s["spans"]["path"])).is_file() for s in shards)
    assert found["sequences_per_pass"] == sum(c["draws"] for c in found["corpora"]) == read_mixture(layout).sequences
    assert [row["corpus"] for row in found["heldout"]] == ["a", "b"]
    a = found["corpora"][0]
    assert f"| a | {a['token_proportion']:.2%} | 1.00 | {a['tokens']:,} | {a['tokens']:,} |" in report["table"]
    assert "| all | 100.00% | 1.00 |" in report["table"]
    assert report["one_pass"].startswith(f"One pass: {found['sequences_per_pass']:,} sequences of 32")
    assert report["fingerprint"] == found["fingerprint"]


def test_the_same_again_is_the_same_bytes(layout: Layout) -> None:
    make_corpora(layout, {"a": 60}, segments=1)
    mix(layout)
    path = Path(layout.join("training_mixture", "mixture.json"))
    before = path.read_bytes()
    assert mix(layout)["is_reused"]
    mixture.run(layout, mixture.Settings(), SilentReporter(), is_forced=True)
    assert path.read_bytes() == before
    for damage in (b"", b"{}", b"{"):  # a mixture that is not the one its report is of
        path.write_bytes(damage)
        assert "is_reused" not in mix(layout)
        assert path.read_bytes() == before
    assert "is_reused" not in mix(layout, seed=1)
    assert mix(layout, seed=1, corpora={})["is_reused"]
    mix(layout, corpora={"a": {"epochs": 2}})
    assert mix(layout, corpora={"a": {"epochs": 2.0, "max_epochs": None}})["is_reused"]
    assert mix(layout, corpora={"a": 2})["is_reused"]


def test_the_schedule_draws_each_source_as_often_as_it_says(bucketed: Layout) -> None:
    mix(bucketed, corpora={"a": {"epochs": 1.37}, "b": {"proportion": 0.3, "buckets": {OFTEN: 2.5}}})
    found = read_mixture(bucketed)
    draws, _ = Schedule(found.draws).draws(0, found.sequences)
    assert [int((draws == i).sum()) for i in range(3)] == [row["draws"] for row in written(bucketed)["corpora"]]


def test_a_bucket_is_a_source(bucketed: Layout) -> None:
    mix(bucketed, corpora={"*": {}, "b": {"epochs": 2, "buckets": {OFTEN: 5}}})
    found = by_source(bucketed)
    assert {name: row["epochs"] for name, row in found.items()} == {"a": 1, f"b/{OFTEN}": 5, f"b/{RARE}": 2}
    entries = [s for s in written(bucketed)["shards"] if s["corpus"] == "b" and s["split"] == "train"]
    assert {s["bucket"] for s in entries} == {RARE, OFTEN}
    assert {s["bucket"] for s in written(bucketed)["shards"] if s["split"] == "heldout"} == {""}


def test_buckets_as_they_are_packed(layout: Layout) -> None:
    make_corpora(layout, {"a": 60}, segments=1)
    partition = write_documents(layout, "b", "00000", [[story(i) for i in range(60)]])
    good = {"values": [doc_id("b00000", number) for number in range(20)]}
    pack(layout, partition, bucket_by="doc_id", buckets={"good": good}, packing="best_fit")
    mix(layout, corpora={"*": {}, "b": {"buckets": {"good": 3}}})
    found = by_source(layout)
    assert {name: row["epochs"] for name, row in found.items()} == {"a": 1, "b/good": 3, "b/other": 1}
    assert found["b/good"]["draws"] == 3 * found["b/good"]["sequences"]
    assert [share.name for share in read_mixture(layout).corpora] == list(found)


def test_a_budget_is_filled_by_buckets_of_which_nothing_is_asked(bucketed: Layout) -> None:
    mix(bucketed, corpora={"b": {"buckets": {OFTEN: 3}}}, tokens=30_000)
    found = by_source(bucketed)
    assert found[f"b/{OFTEN}"]["epochs"] == 3
    assert found[f"b/{RARE}"]["epochs"] > 1
    assert written(bucketed)["tokens_per_pass"] == pytest.approx(30_000, abs=64)
    with pytest.raises(SettingsError, match=f"leave nothing for b/{RARE}: the others take"):
        mix(bucketed, corpora={"b": {"buckets": {OFTEN: 3}}}, tokens=3000)
    with pytest.raises(SettingsError, match=r"the epochs of b make one pass .* long, the setting tokens 90,000"):
        mix(bucketed, corpora={"b": {"epochs": 1, "buckets": {OFTEN: 3}}}, tokens=90_000)


def test_epochs_by_bucket_hold_where_the_corpus_says_nothing(bucketed: Layout) -> None:
    mix(bucketed, epochs_by_bucket={OFTEN: 3})
    assert by_source(bucketed)[f"b/{OFTEN}"]["epochs"] == 3
    assert by_source(bucketed)["a"]["epochs"] == 1
    mix(bucketed, epochs_by_bucket={OFTEN: 3}, corpora={"b": {"buckets": {OFTEN: 2}}})
    assert by_source(bucketed)[f"b/{OFTEN}"]["epochs"] == 2


def test_a_bucket_may_have_a_proportion_a_cap_or_be_left_out(bucketed: Layout) -> None:
    mix(bucketed, corpora={"a": {}, "b": {"buckets": {OFTEN: {"proportion": 0.5}}}})
    assert by_source(bucketed)[f"b/{OFTEN}"]["token_proportion"] == pytest.approx(0.5, abs=0.01)
    assert by_source(bucketed)[f"b/{RARE}"]["epochs"] == 1
    with pytest.raises(SettingsError, match=r"b/seen 10\+ times would be read .* more than its max_epochs 1"):
        mix(bucketed, corpora={"a": {}, "b": {"buckets": {OFTEN: {"proportion": 0.5, "max_epochs": 1}}}})
    report = mix(bucketed, corpora={"a": {}, "b": {"buckets": {OFTEN: 0}}})
    assert report["left_out"] == [f"b/{OFTEN}"]
    assert set(by_source(bucketed)) == {"a", f"b/{RARE}"}
    assert {s["bucket"] for s in written(bucketed)["shards"]} == {"", RARE}
    with pytest.raises(SettingsError, match="nothing is left to read"):
        mix(bucketed, corpora={"a": {"epochs": 0}})


def test_a_bucket_that_is_none_is_refused(bucketed: Layout) -> None:
    with pytest.raises(SettingsError, match=r"b has no bucket 'seen 10 times' \(did you mean 'seen 10\+ times'\?\)"):
        mix(bucketed, corpora={"b": {"buckets": {"seen 10 times": 2}}})
    with pytest.raises(SettingsError, match="no corpus of the mixture has a bucket 'good'"):
        mix(bucketed, epochs_by_bucket={"good": 2})
    with pytest.raises(SettingsError, match=r"a has no bucket 'good'; token_shards.buckets"):
        mix(bucketed, corpora={"a": {"buckets": {"good": 2}}})


def test_buckets_that_are_empty_are_no_mistake_and_others_are(layout: Layout) -> None:
    make_corpora(layout, {"b": 80}, shard_mb=0.001)
    sorting = {"bucket_by": "cluster_size", "buckets": {RARE: {"below": 2}, OFTEN: {"from": 10}}}
    edit_manifest(layout, "b", lambda m: m.update(settings=sorting))
    with pytest.raises(SettingsError, match=r"b\|00001 are sorted into buckets otherwise than those of b\|00000"):
        mix(layout)
    edit_manifest(layout, "b", lambda m: m.update(settings=sorting), segment="00001")
    for segment in ("00000", "00001"):
        edit_manifest(layout, "b", lambda m: [s.update(bucket=RARE) for s in m["splits"]["train"]["shards"]], segment)
    mix(layout, corpora={"b": {"buckets": {OFTEN: 3, "other": 2}}})
    assert set(by_source(layout)) == {f"b/{RARE}"}


def test_shards_that_do_not_go_together_are_refused(layout: Layout) -> None:
    make_corpora(layout, {"a": 60}, segments=1)
    other = write_documents(layout, "b", "00000", [[story(i) for i in range(60)]])
    pack(layout, other, sequence_length=64)
    with pytest.raises(SettingsError, match=r"sequence_length 64, those of .* 32"):
        mix(layout)
    pack(layout, other)
    mix(layout)
    edit_manifest(layout, "b", lambda m: m.update(dtype="uint32"))
    with pytest.raises(SettingsError, match=r"dtype uint32, those of .* uint16"):
        mix(layout)
    train(layout, vocabulary_size=300)
    with pytest.raises(SettingsError, match="were made with tokenizer"):
        mix(layout)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda m: m["splits"]["train"]["shards"][0].update(bytes=7), "bytes, of which manifest.json says otherwise"),
        (lambda m: m["splits"]["train"]["shards"][0].update(name="../x.arrow"), "x.arrow, not there"),
        (lambda m: m["splits"]["train"].update(tokens=1), "tokens of split train that are not the sum"),
        (lambda m: m["splits"]["train"]["shards"][0].update(tokens=10**9), "1000000000 tokens in"),
        (lambda m: m["splits"]["train"]["shards"][0].pop("spans"), "KeyError"),
        (lambda m: m.update(splits=[]), "TypeError"),
        (lambda m: m["splits"]["heldout"].update(shards=7), "TypeError"),
    ],
)
def test_a_manifest_that_does_not_match_its_files_is_refused(layout: Layout, change: Any, line: str) -> None:
    make_corpora(layout, {"a": 60}, segments=1)
    edit_manifest(layout, "a", change)
    with pytest.raises(MissingDataError, match=r"token_shards a\|00000 has .*--through token_shards") as problem:
        mix(layout)
    assert line in str(problem.value)
    assert "\n" not in str(problem.value)
    assert not layout.fs.exists(layout.join("training_mixture", "report.json"))


def test_a_shard_that_was_removed_is_missed(layout: Layout) -> None:
    make_corpora(layout, {"a": 60}, segments=1)
    Path(posixpath.dirname(manifest_path(layout, "a")), "shard-train-00000.arrow").unlink()
    with pytest.raises(MissingDataError, match="not there"):
        mix(layout)
    Path(manifest_path(layout, "a")).unlink()
    with pytest.raises(MissingDataError, match=r"no manifest\.json"):
        mix(layout)


def test_warnings(layout: Layout) -> None:
    make_corpora(layout, {"a": 60}, segments=1, heldout_fraction=0.0)
    pack(layout, write_documents(layout, "empty", "00000", [[]]))
    reporter = SilentReporter()
    mixture.run(layout, mixture.Settings(corpora={}, warn_epochs=0.5), reporter)
    assert [line.split()[0] for line in reporter.warnings] == ["empty", "a", "no"]
    with pytest.raises(SettingsError, match="empty has no token"):
        mix(layout, corpora={"empty": {}})
    report = mix(layout, corpora={"a": {"proportion": 0.995}})
    assert report["warnings"][0] == "the proportions add up to 0.995 and were divided by it"
    report = mix(layout, corpora={"a": 6})
    assert "a is read 6 times" in report["warnings"][0]
    assert "about 5.27 times here" in report["warnings"][0]
    with pytest.raises(SettingsError, match="max_epochs 16"):
        mix(layout, corpora={"a": 17})
    assert mix(layout, corpora={"a": {"epochs": 17, "max_epochs": 20}}, max_mean_epochs=20)


def test_a_proportion_that_whole_sequences_move_is_said(layout: Layout) -> None:
    make_corpora(layout, {"a": 3, "b": 40}, segments=1, heldout_fraction=0.0)
    report = mix(layout, corpora={"a": {"proportion": 0.5}, "b": {"proportion": 0.5}}, tokens=3 * 32)
    assert "b was asked to be 50.00% of the tokens and is" in "".join(report["warnings"])


def test_one_sequence_and_tiny_wishes(layout: Layout) -> None:
    make_corpora(layout, {"a": 60}, segments=1, heldout_fraction=0.0)
    pack(layout, write_documents(layout, "one", "00000", [["short"]]), heldout_fraction=0.0)
    mix(layout)
    assert by_source(layout)["one"]["draws"] == 1
    with pytest.raises(SettingsError, match=r"one are 0\.001 of its 1 sequences .* none would be read"):
        mix(layout, corpora={"a": {}, "one": {"epochs": 0.001}})
    with pytest.raises(SettingsError, match=r"one would be read .* lower the proportion of one"):
        mix(layout, corpora={"a": {}, "one": {"proportion": 0.9}})


def test_errors_name_the_way_out(layout: Layout) -> None:
    with pytest.raises(MissingDataError, match="--through token_shards"):
        mix(layout)
    make_corpora(layout, {"books": 60}, segments=1)
    with pytest.raises(MissingDataError, match=r"no token_shards of boks, .* \(did you mean 'books'\?\)"):
        mix(layout, corpora={"boks": {}})


def test_a_mixture_in_a_file_of_its_own(layout: Layout, tmp_path: Path) -> None:
    make_corpora(layout, {"a": 60, "b": 60}, segments=1)
    (tmp_path / "conf" / "mixtures").mkdir(parents=True)
    settings_file = tmp_path / "conf" / "settings.yaml"
    settings_file.write_text("training_mixture: {file: mixtures/base.yaml, seed: 3}\n")
    base = tmp_path / "conf" / "mixtures" / "base.yaml"

    def given() -> mixture.Settings:
        return resolve(mixture.Settings, "training_mixture", layout.root, str(settings_file), {})

    def run() -> dict[str, Any]:
        return mixture.run(layout, given(), SilentReporter())

    with pytest.raises(SettingsError, match=r"file is 'mixtures/base.yaml': .*No such file"):
        run()
    base.write_text("# twice b\ncorpora: {a: , b: {epochs: 2}}\n")
    report = run()
    assert by_source(layout)["b"]["epochs"] == 2
    assert written(layout)["seed"] == 3
    assert report["settings"]["file"] == str(base)
    # Its content counts, not its place, and not its comments; below the root it is found as well.
    base.write_text("training_mixture:\n  corpora: {a: {}, b: 2.0}\n")
    assert run()["is_reused"]
    target = Path(layout.root) / "mixtures" / "base.yaml"
    target.parent.mkdir()
    base.rename(target)
    assert run()["is_reused"]
    target.write_text("corpora: {a: {}, b: {epochs: 3}}\n")
    assert "is_reused" not in run()
    target.write_text("seed: 4\n")
    with pytest.raises(SettingsError, match="seed is given here and in the mixture file"):
        run()


@pytest.mark.parametrize("corpora", [{"a": {}}, {"a": {"epochs": 0.5}}, {"a": {"proportion": 1}}], ids=str)
def test_one_corpus(layout: Layout, corpora: dict[str, Any]) -> None:
    make_corpora(layout, {"a": 30}, segments=1)
    mix(layout, corpora=corpora)
    assert by_source(layout)["a"]["proportion"] == 1


def test_a_name_is_no_markup(bucketed: Layout) -> None:
    sort_into_buckets(bucketed, "b", ("|![x](http://x)<b>", OFTEN))
    table = mix(bucketed)["table"]
    assert r"b/\|\!\[x\](http://x)\<b\>" in table
    assert all(line.replace("\\|", "").count("|") == 8 for line in table.splitlines())


def test_nothing_is_written_where_it_fails(layout: Layout) -> None:
    make_corpora(layout, {"a": 30}, segments=1)
    with pytest.raises(GristmillError):
        mix(layout, corpora={"a": {"proportion": 0.5}})
    assert not layout.fs.exists(layout.join("training_mixture"))


def test_a_kill_leaves_no_mixture_or_a_whole_one(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    make_corpora(layout, {"a": 30, "b": 30}, segments=1)
    mix(layout)
    write = Layout.write_json
    for die_at in ("mixture.json", "report.json"):

        def killed(self: Layout, path: str, value: object, die_at: str = die_at) -> None:
            if path.endswith(die_at):
                raise KeyboardInterrupt
            write(self, path, value)

        with monkeypatch.context() as patched:
            patched.setattr(Layout, "write_json", killed)
            with pytest.raises(KeyboardInterrupt):
                mix(layout, corpora={"a": 2})
        with pytest.raises(MissingDataError, match="is not materialized"):
            read_mixture(layout)
        mix(layout, corpora={"a": 2})
        assert by_source(layout)["a"]["epochs"] == 2
        mix(layout)
