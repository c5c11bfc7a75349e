"""tokenizer: deterministic, versioned by content, total over Unicode, deaf to special tokens in page text."""

import json
import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokens_data import SilentReporter, story, train, write_documents

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout
from pipelines.tokens import tokenizer
from pipelines.tokens.pretokenization import LONGEST_RUN, PIECE_CHARACTERS, Pattern, short_runs, split_safely
from pipelines.tokens.vocabulary import SPECIAL_TOKENS, Encoder, new_tokenizer

# No vocabulary: only the way they split is used.
_UNTRAINED: dict[Pattern, Encoder] = {"cl100k": Encoder(new_tokenizer()), "o200k": Encoder(new_tokenizer("o200k"))}
PIECES = [
    "a",
    "B",
    "é",
    "e\u0301",
    "1",
    "22",
    "²",
    " ",
    "  ",
    "\n",
    "\r\n",
    "'s",
    "'",
    "!",
    "?(",
    "/",
    ".",
    "\u2028",
    "\x1c",
    "\t",
    "中",
    "。",
    "👩‍👧",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    from tokenizers import pre_tokenizers, trainers

    learner = new_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator([story(i) for i in range(200)], trainer)
    return Encoder(learner)


def decode(encoder: Encoder, ids: np.ndarray) -> str:
    return encoder._tokenizer.decode(ids.tolist(), skip_special_tokens=False)


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    encoder = _trained_once()
    (ids,) = encoder.encode([text])
    assert decode(encoder, ids) == text
    assert len(ids) <= len(text.encode())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*SPECIAL_TOKENS, "a", " ", "\n", "<|", "|>", "é", "end"]), max_size=12))
def test_special_tokens_in_page_text_stay_text(pieces: list[str]) -> None:
    encoder, text = _trained_once(), "".join(pieces)
    (ids,) = encoder.encode([text])
    assert not set(ids.tolist()) & set(range(len(SPECIAL_TOKENS)))
    assert decode(encoder, ids) == text


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.sampled_from(["cl100k", "o200k"]))
def test_pieces_have_the_tokens_of_the_whole(pieces: list[str], pattern: Pattern) -> None:
    splitter = _UNTRAINED[pattern]._tokenizer.pre_tokenizer
    text, size = "".join(pieces), 5
    cut = split_safely(text, size)
    assert "".join(cut) == text
    assume(not any(len(piece) == 2 * size for piece in cut[:-1]))  # no safe place: cut anyhow
    whole = [piece for piece, _ in splitter.pre_tokenize_str(text)]
    assert [piece for part in cut for piece, _ in splitter.pre_tokenize_str(part)] == whole


def test_a_run_without_any_end_is_cut_and_still_comes_back() -> None:
    text = "é" * 300_000
    assert all(len(piece) <= 2 * PIECE_CHARACTERS for piece in split_safely(text))
    assert decode(_trained_once(), _trained_once().encode([text])[0]) == text


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab \n=", max_size=600))
def test_short_runs_are_the_whole_text_and_no_run_is_long(text: str) -> None:
    pieces = list(short_runs(text))
    assert "".join(pieces) == text
    for piece in pieces:
        assert not re.search(rf"\S{{{LONGEST_RUN + 1}}}|\s{{{LONGEST_RUN + 1}}}", piece)


@pytest.mark.parametrize(
    ("digits", "expected"), [(3, ["123", "456", "7"]), (2, ["12", "34", "56", "7"]), (1, [*"1234567"])]
)
@pytest.mark.parametrize("pattern", ["cl100k", "o200k"])
def test_digits_share_a_token_only_in_groups(pattern: Pattern, digits: int, expected: list[str]) -> None:
    splitter: Any = new_tokenizer(pattern, digits).pre_tokenizer
    assert [piece for piece, _ in splitter.pre_tokenize_str("1234567 x")] == [*expected, "Ġx"]


def test_patterns_cut_words_as_the_vocabularies_they_are_named_after() -> None:
    text = "HelloWorld it's a\u0301b"
    pieces = {
        p: [piece for piece, _ in _UNTRAINED[p]._tokenizer.pre_tokenizer.pre_tokenize_str(text)] for p in _UNTRAINED
    }
    assert pieces["cl100k"] == ["HelloWorld", "Ġit", "'s", "Ġa", "Ìģb"]
    assert pieces["o200k"] == ["Hello", "World", "Ġit's", "ĠaÌģb"]
    with pytest.raises(ValueError, match="give 1 to 3"):
        new_tokenizer("cl100k", 4)


def test_the_same_text_is_the_same_version_whatever_threads_and_order(tmp_path: Path) -> None:
    texts = [story(i) for i in range(300)]
    layouts = [Layout(tmp_path / name) for name in ("one", "two")]
    # The same documents under the same ids, but the segments' names, and with them their order, exchanged.
    for layout, first, second in ((layouts[0], "00000", "00001"), (layouts[1], "00001", "00000")):
        write_documents(layout, "c", first, [texts[:100], texts[100:200]], ids="one")
        write_documents(layout, "c", second, [texts[200:]], ids="two")
    program = (
        "import sys; from gristmill.core.layout import Layout; from gristmill.core.progress import Reporter\n"
        "from pipelines.tokens import tokenizer as t\n"
        "settings = t.Settings(vocabulary_size=500, sample_mb=0.06, compare_with=())\n"
        "print(t.run(Layout(sys.argv[1]), settings, Reporter())['version'])"
    )
    versions = {
        subprocess.run(
            [sys.executable, "-c", program, layout.root],
            env=os.environ | {"RAYON_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for layout, threads in zip(layouts, ("1", "2"), strict=True)
    }
    assert len(versions) == 1


def test_what_is_there_for_the_same_inputs_is_chosen_again(layout: Layout) -> None:
    write_documents(layout, "c", "00000", [[story(i) for i in range(100)]])
    first = train(layout)
    other = train(layout, vocabulary_size=300)
    assert layout.latest(layout.join("tokenizer"))[0] == other["version"] != first["version"]
    again = train(layout)
    assert again["is_reused"]
    assert layout.latest(layout.join("tokenizer"))[0] == first["version"]
    assert train(layout, version=other["version"])["version"] == other["version"]
    assert layout.latest(layout.join("tokenizer"))[0] == other["version"]
    folder = layout.tokenizer_dir(first["version"])
    assert json.loads(Path(folder, "tokenizer_config.json").read_text())["pad_token"] == "<|pad|>"
    ids = Encoder.load(layout, first["version"])._tokenizer.token_to_id
    assert [ids(token) for token in SPECIAL_TOKENS] == list(range(6))


def test_new_documents_are_another_fingerprint(layout: Layout) -> None:
    write_documents(layout, "c", "00000", [[story(i) for i in range(100)]])
    first = train(layout)
    write_documents(layout, "d", "00000", [[story(i) for i in range(50)]])
    assert train(layout)["fingerprint"] != first["fingerprint"]
    assert train(layout, corpora=("c",))["version"] == first["version"]


def test_a_sample_is_a_share_of_the_documents(layout: Layout) -> None:
    write_documents(layout, "c", "00000", [[story(i) for i in range(400)]])
    sample = train(layout, sample_mb=0.05)["sample"]
    assert 0.5 * 50_000 < sample["bytes"] < 1.5 * 50_000 < sample["bytes_available"]


def test_too_little_text_gives_a_smaller_vocabulary_and_a_warning(layout: Layout) -> None:
    write_documents(layout, "c", "00000", [["abc abc"]])
    reporter = SilentReporter()
    report = tokenizer.run(layout, tokenizer.Settings(compare_with=()), reporter)
    assert report["vocabulary_size"] < 300
    assert "not 32,000" in reporter.warnings[0]


def test_errors_name_the_way_out(layout: Layout) -> None:
    with pytest.raises(MissingDataError, match="--through clean_documents"):
        train(layout)
    write_documents(layout, "c", "00000", [[]])
    with pytest.raises(MissingDataError, match="no text"):
        train(layout)
    with pytest.raises(MissingDataError, match="no clean_documents of books"):
        train(layout, corpora=("books",))
    with pytest.raises(SettingsError, match="version nothing is not under"):
        train(layout, version="nothing")
    with pytest.raises(ValueError, match="at least 278"):
        tokenizer.Settings(vocabulary_size=100)
    assert not layout.fs.exists(posixpath.join(layout.root, "tokenizer"))


_TRAINED: list[Encoder] = []


def _trained_once() -> Encoder:
    return _TRAINED[0]


@pytest.fixture(autouse=True, scope="module")
def _train_once(encoder: Encoder) -> None:
    _TRAINED.append(encoder)
