"""A mixture as it is written by hand: what is understood, and one line for everything else."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import SettingsError
from gristmill.core.layout import Layout
from gristmill.core.settings import build, read_settings_file
from gristmill.core.strict_yaml import load_yaml
from pipelines.tokens import mixture
from pipelines.tokens.mixture_file import Wish, parse_corpora, read_mixture_file

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40)
)
EXAMPLES = sorted(Path(__file__).resolve().parents[2].glob("docs/mixtures/*.yaml"))


def of(text: str) -> mixture.Settings:
    loaded = load_yaml(text)
    assert isinstance(loaded, dict)
    return build(mixture.Settings, loaded, "mixture.yaml")


def test_what_a_person_writes() -> None:
    found = parse_corpora(
        of(
            """
            tokens: 2e9
            corpora:
              books:   {proportion: 0.2, max_epochs: 4}
              debdocs: {epochs: 2, buckets: {"seen 2-9 times": 3, "seen 10+ times": {epochs: 5, max_epochs: 6}}}
              wiki: 1e-1
              "*":
            """
        ).corpora
    )
    buckets = {"seen 2-9 times": Wish(epochs=3), "seen 10+ times": Wish(epochs=5, max_epochs=6)}
    assert found == {
        "books": Wish(proportion=0.2, max_epochs=4),
        "debdocs": Wish(epochs=2, buckets=buckets),
        "wiki": Wish(epochs=0.1),
        "*": Wish(),
    }


def test_the_examples_are_mixtures() -> None:
    assert EXAMPLES
    for path in EXAMPLES:
        loaded = load_yaml(path.read_text(encoding="utf-8"))
        assert isinstance(loaded, dict)
        build(mixture.Settings, loaded, str(path))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("corpora: {a: {weight: 1}}", "corpora: a has 'weight'; known are proportion, epochs, max_epochs, buckets"),
        ("corpora: {a: {epochs: .nan}}", "corpora: a: epochs is nan; give a finite number from 0 to"),
        ("corpora: {a: {epochs: 1e400}}", "corpora: a: epochs is '1e400'; give a finite number"),
        ("corpora: {a: {epochs: .inf}}", "epochs is inf"),
        ("corpora: {a: {epochs: -1}}", "epochs is -1"),
        ("corpora: {a: {epochs: true}}", "epochs is True"),
        ("corpora: {a: {epochs: often}}", "epochs is 'often'"),
        ("corpora: {a: {epochs: [1]}}", r"epochs is \[1\]"),
        ("corpora: {a: {epochs: 2026-01-01}}", "epochs is datetime.date"),
        ("corpora: {a: {epochs: 1" + "0" * 4000 + "}}", "epochs is 10+…; give"),
        ("corpora: {a: {proportion: 1.5}}", "proportion is 1.5; give a finite number from 0 to 1"),
        ("corpora: {a: {proportion: 0}}", "proportion is 0; .* or epochs: 0"),
        ("corpora: {a: {max_epochs: 0}}", "max_epochs is 0"),
        ("corpora: {a: 'x'}", "corpora: a is 'x'"),
        ("corpora: {a: [1, 2]}", r"corpora: a is \[1, 2\]"),
        ("corpora: {a: {buckets: 3}}", "buckets is 3; give a mapping"),
        ("corpora: {a: {buckets: {good: {buckets: {}}}}}", "buckets: good has 'buckets'"),
        ("corpora: {a: {proportion: 0.1, buckets: {good: {proportion: 0.1}}}}", "so has its bucket good"),
        ("corpora: {../../etc: {}}", r"'../../etc' can't name a corpus"),
        ("corpora: {books/good: 2}", "a bucket is given as corpus: {buckets:"),
        ("corpora: {'': 2}", "'' can't name a corpus"),
        ("corpora: {2024: 2}", "corpora is 2024; give text"),
        ("corpora: 7", "corpora is 7; give a mapping"),
        ("epochs_by_bucket: {good: {proportion: 0.5}}", "good has a proportion"),
        ("tokens: -1", "tokens is -1"),
        ("tokens: .inf", "tokens is inf; give a finite number"),
        ("max_epochs: 0", "max_epochs is 0"),
        ("max_mean_epochs: .nan", "max_mean_epochs is nan"),
        ("corpra: {}", "did you mean 'corpora'"),
    ],
)
def test_what_is_no_mixture_is_one_line(text: str, line: str) -> None:
    with pytest.raises(SettingsError, match=line) as problem:
        of(text)
    assert "\n" not in str(problem.value)
    assert len(str(problem.value)) < 300


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("corpora: {a: 1, a: 2}", "given twice"),
        (BOMB, "more than 100,000 values"),
        ("corpora: &a {b: *a}", "stands for itself"),
        ("[" * 3000, "nested too deeply"),
        ("tokens: 2026-02-31", "day is out of range"),
        ("tokens: " + "9" * 5000, "4300 digits"),
        ("tokens: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("- a\n- b\n", "must map settings"),
        ("1: 2\n", "must map settings"),
        ("file: other.yaml", "names another file"),
        ("{", "not valid YAML"),
    ],
    ids=[
        "key twice", "bomb", "itself", "deep", "date", "digits", "object", "list", "number as key", "file", "not yaml"
    ],
)  # fmt: skip
def test_a_file_that_is_no_mixture_is_one_line(layout: Layout, text: str, line: str) -> None:
    Path(layout.root).mkdir(parents=True, exist_ok=True)
    Path(layout.root, "m.yaml").write_text(text)
    with pytest.raises(SettingsError, match=line) as problem:
        read_mixture_file(layout, "m.yaml")
    assert "\n" not in str(problem.value)
    assert len(str(problem.value)) < 500


@pytest.mark.parametrize("name", ["absent.yaml", ".", "a\0b", "/", "nowhere://x/y.yaml"])
def test_a_file_that_cant_be_read_is_one_line(layout: Layout, name: str) -> None:
    Path(layout.root).mkdir(parents=True, exist_ok=True)
    with pytest.raises(SettingsError, match="settings of training_mixture: file is"):
        read_mixture_file(layout, name)
    Path(layout.root, "latin.yaml").write_bytes(b"a: \xe9\n")
    with pytest.raises(SettingsError, match=r"file is 'latin\.yaml'"):
        read_mixture_file(layout, "latin.yaml")


def test_an_empty_file_is_the_default_mixture(layout: Layout) -> None:
    Path(layout.root).mkdir(parents=True, exist_ok=True)
    for text in ("", "# nothing\n", "training_mixture:\n", "{}"):
        Path(layout.root, "m.yaml").write_text(text)
        assert read_mixture_file(layout, "m.yaml")[1] == {}


def test_a_bomb_in_a_settings_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(BOMB)
    with pytest.raises(SettingsError, match="more than 100,000 values"):
        read_settings_file(path)


def test_anchors_that_only_repeat_are_fine() -> None:
    found = of("corpora:\n  a: &same {epochs: 2}\n  b: *same\n  c: {<<: *same, max_epochs: 3}\n")
    assert parse_corpora(found.corpora)["c"] == Wish(epochs=2, max_epochs=3)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates() | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["proportion", "epochs", "max_epochs", "buckets", "a", "*"]) | st.integers(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "*", "../x"]), VALUES, max_size=3), VALUES)
def test_anything_is_settings_or_one_line(corpora: dict[str, Any], by_bucket: Any) -> None:
    try:
        found = build(mixture.Settings, {"corpora": corpora, "epochs_by_bucket": by_bucket}, "x")
    except SettingsError:
        return
    for wish in parse_corpora(found.corpora).values():
        for one in (wish, *wish.buckets.values()):
            assert one.proportion is None or 0 < one.proportion <= 1
            assert one.epochs is None or 0 <= one.epochs < float("inf")
    yaml.safe_dump(found.corpora)
