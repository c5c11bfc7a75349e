"""training_mixture: proportions and epochs that add up, or one line that says why they can't."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokens_data import SilentReporter, make_corpora, mix, pack, story, train, write_documents

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout
from pipelines.tokens import mixture
from pipelines.tokens.shares import Request, resolve

SIZES = {"a": 1000, "b": 500, "c": 100}


def shares(**requests: Request) -> dict[str, tuple[float, float]]:
    found = resolve(requests, SIZES, max_epochs=16)
    return {name: (round(s.proportion, 6), round(s.epochs, 6)) for name, s in found.items()}


def test_by_default_everything_is_read_once() -> None:
    assert shares(a=Request(), b=Request(), c=Request()) == {"a": (0.625, 1), "b": (0.3125, 1), "c": (0.0625, 1)}


def test_epochs_weigh() -> None:
    assert shares(a=Request(), b=Request(epochs=2)) == {"a": (0.5, 1), "b": (0.5, 2)}


def test_a_proportion_follows_from_what_has_none() -> None:
    assert shares(a=Request(), b=Request(proportion=0.5)) == {"a": (0.5, 1), "b": (0.5, 2)}


def test_where_all_have_a_proportion_the_pass_ends_with_the_first_that_is_read() -> None:
    assert shares(a=Request(0.5), b=Request(0.5)) == {"a": (0.5, 0.5), "b": (0.5, 1)}
    assert shares(a=Request(0.5, 1), b=Request(0.5)) == {"a": (0.5, 1), "b": (0.5, 2)}


@pytest.mark.parametrize(
    ("requests", "line"),
    [
        ({"a": Request(0.5), "b": Request(0.3)}, "add up to 0.8, not 1"),
        ({"a": Request(0.6), "b": Request(0.4), "c": Request()}, "leaves nothing for c"),
        ({"a": Request(), "c": Request(0.9)}, "c would be read 90 times .* can be 0.16 at most"),
        ({"a": Request(0.5, 1), "b": Request(0.5, 1)}, "not both"),
        ({"a": Request(epochs=20)}, "a would be read 20 times"),
    ],
)
def test_what_cant_be_met_is_refused(requests: dict[str, Request], line: str) -> None:
    with pytest.raises(SettingsError, match=line):
        resolve(requests, SIZES, max_epochs=16)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0.01, 1)), min_size=1, max_size=6), st.booleans())
def test_proportions_add_up_and_agree_with_epochs(corpora: list[tuple[int, float]], has_free: bool) -> None:
    total = sum(p for _, p in corpora) * (2 if has_free else 1)
    requests = {f"c{i}": Request(p / total) for i, (_, p) in enumerate(corpora)}
    sequences = {f"c{i}": n for i, (n, _) in enumerate(corpora)}
    if has_free:
        requests["free"], sequences["free"] = Request(), 1000
    found = resolve(requests, sequences, max_epochs=1e12)
    assert sum(s.proportion for s in found.values()) == pytest.approx(1)
    size = sum(s.epochs * sequences[n] for n, s in found.items())
    for name, share in found.items():
        assert share.proportion == pytest.approx(share.epochs * sequences[name] / size)
        if requests[name].proportion is not None:
            assert share.proportion == pytest.approx(requests[name].proportion)


def test_the_file_is_what_training_reads(layout: Layout) -> None:
    make_corpora(layout, {"a": 80, "b": 40})
    report = mix(layout)
    found = layout.read_json(layout.join("training_mixture", "mixture.json"))
    assert found is not None
    assert [c["corpus"] for c in found["corpora"]] == ["a", "b"]
    assert sum(c["proportion"] for c in found["corpora"]) == pytest.approx(1)
    assert {s["split"] for s in found["shards"]} == {"train", "heldout"}
    for corpus in found["corpora"]:
        shards = [s for s in found["shards"] if s["corpus"] == corpus["corpus"] and s["split"] == "train"]
        assert corpus["sequences"] == sum(s["sequences"] for s in shards)
        assert corpus["tokens"] == sum(s["tokens"] for s in shards)
        assert all(layout.fs.exists(layout.join(s["path"])) for s in shards)
    assert "| a | 66" in report["table"]
    assert report["fingerprint"] == found["fingerprint"]
    assert mix(layout)["is_reused"]
    assert "is_reused" not in mix(layout, seed=1)


def test_shards_that_do_not_go_together_are_refused(layout: Layout) -> None:
    make_corpora(layout, {"a": 60}, segments=1)
    other = write_documents(layout, "b", "00000", [[story(i) for i in range(60)]])
    pack(layout, other, sequence_length=64)
    with pytest.raises(SettingsError, match=r"sequence_length 64, those of .* 32"):
        mix(layout)
    pack(layout, other)
    mix(layout)
    train(layout, vocabulary_size=300)
    with pytest.raises(SettingsError, match="were made with tokenizer"):
        mix(layout)


def test_warnings(layout: Layout) -> None:
    make_corpora(layout, {"a": 60}, segments=1, heldout_fraction=0.0)
    write_documents(layout, "empty", "00000", [[]])
    pack(layout, write_documents(layout, "empty", "00000", [[]]))
    reporter = SilentReporter()
    mixture.run(layout, mixture.Settings(corpora={}, warn_epochs=0.5), reporter)
    assert [line.split()[0] for line in reporter.warnings] == ["empty", "a", "no"]
    with pytest.raises(SettingsError, match="empty has no token"):
        mix(layout, corpora={"empty": {}})


def test_errors_name_the_way_out(layout: Layout) -> None:
    with pytest.raises(MissingDataError, match="--through token_shards"):
        mix(layout)
    make_corpora(layout, {"a": 60}, segments=1)
    with pytest.raises(MissingDataError, match="no token_shards of books"):
        mix(layout, corpora={"books": {}})
    for wrong in ({"weight": 1.0}, {"epochs": 0.0}, {"proportion": 1.5}):
        with pytest.raises(ValueError, match=f"a has '?{next(iter(wrong))}"):
            mixture.Settings(corpora={"a": wrong})
