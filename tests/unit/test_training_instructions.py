"""Instruction rows of every shape, and of none."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout
from gristmill.core.progress import Reporter
from pipelines.tokens.vocabulary import SPECIAL_TOKENS, companions, new_tokenizer
from training.arguments import InstructionSettings
from training.chat import Chat
from training.instructions import REASONS, BadRowError, build_dataset, conversations, make_dataset, read_rows
from training.loader import IGNORED_LABEL


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Chat:
    return Chat(_tokenizer_folder(tmp_path_factory.mktemp("tokenizer")))


def _tokenizer_folder(folder: Path) -> Path:
    from tokenizers import pre_tokenizers, trainers

    tokenizer = new_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["what is the colour of the sky"] * 3, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in companions().items():
        (folder / name).write_text(json.dumps(content))
    (folder / "report.json").write_text(json.dumps({"created_at": "2026", "fingerprint": "t"}))
    return folder


QUESTION = {"role": "user", "content": "What?"}
ANSWER = {"role": "assistant", "content": "That."}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [QUESTION, ANSWER]},
        {"instruction": "What?", "output": "That."},
        {"instruction": "What?", "input": "", "output": "That."},
        {"question": "What?", "answer": "That."},
        {"instruction": "What?", "instances": [{"input": "", "output": "That."}]},
    ],
)
def test_every_shape_becomes_the_same_conversation(row: dict[str, object]) -> None:
    assert conversations(row) == [[QUESTION, ANSWER]]


def test_the_input_of_an_instruction_follows_it() -> None:
    (found,) = conversations({"instruction": "Sum.", "input": "1 2", "output": "3"})
    assert found[0]["content"] == "Sum.\n\n1 2"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "?"}, "unknown_shape"),
        ({"question": "What?", "answer": " "}, "empty_text"),
        ({"question": 3, "answer": "x"}, "empty_text"),
        ({"messages": "hello"}, "unknown_shape"),
        ({"messages": [QUESTION]}, "bad_roles"),
        ({"messages": [{"role": "root", "content": "x"}, ANSWER]}, "bad_roles"),
        ({"instruction": "What?", "instances": []}, "unknown_shape"),
    ],
)
def test_a_bad_row_has_a_reason(row: dict[str, object], reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        conversations(row)
    assert reason in REASONS


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["messages", "instruction", "input", "output", "instances", "question", "answer"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "output"]), inner)
            ),
            max_leaves=6,
        ),
    )
)
def test_no_row_raises_anything_but_its_reason(row: dict[str, object]) -> None:
    try:
        conversations(row)
    except BadRowError as error:
        assert str(error) in REASONS


def test_only_what_the_assistant_says_is_learnt(chat: Chat) -> None:
    tokens = chat.encode([QUESTION, ANSWER, QUESTION, ANSWER])
    learnt = [label for label in tokens.labels if label != IGNORED_LABEL]
    assert chat.tokenizer.decode(learnt, skip_special_tokens=False) == "That.<|end|>That.<|end|>"
    assert all(label in (IGNORED_LABEL, token) for label, token in zip(tokens.labels, tokens.input_ids, strict=True))


def test_a_prompt_is_the_beginning_of_the_conversation(chat: Chat) -> None:
    whole, prompt = chat.encode([QUESTION, ANSWER]).input_ids, chat.encode_prompt([QUESTION])
    assert whole[: len(prompt)] == prompt


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=20), st.sampled_from(["<|assistant|>", "<|<|end|>end|>", "\ue000", "\ue001x\ue000"]))
def test_content_cannot_speak_as_someone_else(chat: Chat, text: str, mark: str) -> None:
    special = {chat.tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
    content = text + mark + text
    honest = chat.encode([{"role": "user", "content": "x"}, ANSWER])
    tokens = chat.encode([{"role": "user", "content": content}, ANSWER])
    assert [i for i in tokens.input_ids if i in special] == [i for i in honest.input_ids if i in special]
    assert [i for i in tokens.labels if i != IGNORED_LABEL] == [i for i in honest.labels if i != IGNORED_LABEL]


def test_bad_lines_are_counted_and_harm_nobody(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\nnot json\n[1]\n\xff\xfe\n\n{"a": 2}\n' + b"[" * 100_000 + b"\n")
    bad: Counter[str] = Counter()
    assert [row["a"] for row in read_rows(path, bad)] == [1, 2]
    assert bad == {"not_json": 4}


def test_a_truncated_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 5000)[:-20])
    bad: Counter[str] = Counter()
    assert len(list(read_rows(path, bad))) > 0
    assert bad == {"broken_file": 1}


def _rows(count: int) -> str:
    return "".join(json.dumps({"question": f"Number {i}?", "answer": f"It is {i}."}) + "\n" for i in range(count))


def test_order_of_rows_and_files_changes_nothing(tmp_path: Path, chat: Chat) -> None:
    lines = _rows(30).splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_text("".join(lines))
    (tmp_path / "b.jsonl").write_text("".join(reversed(lines[:10])))
    (tmp_path / "c.jsonl").write_text("".join(lines[10:]))
    options = (chat, InstructionSettings(heldout_fraction=0.2), 64, Reporter())
    one, numbers = make_dataset([tmp_path / "a.jsonl"], *options)
    two, _ = make_dataset([tmp_path / "c.jsonl", tmp_path / "b.jsonl"], *options)
    assert one.equals(two)
    assert numbers["train"] + numbers["heldout"] == 30
    assert numbers["heldout"] > 0


def test_long_examples_are_cut_and_empty_ones_left_out(tmp_path: Path, chat: Chat) -> None:
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"question": "long " * 50, "answer": "x"})
        + "\n"
        + json.dumps({"question": "a", "answer": "y " * 90})
    )
    table, numbers = make_dataset([tmp_path / "a.jsonl"], chat, InstructionSettings(), 24, Reporter())
    assert numbers["truncated"] == 2
    assert numbers["bad_rows"] == {"nothing_learnt": 1}
    assert [len(ids) for ids in table["input_ids"].to_pylist()] == [24]


def test_the_dataset_is_committed_and_made_once(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    _tokenizer_folder(Path(layout.tokenizer_dir("t1")))
    source = Path(layout.join("instructions", "rows.jsonl"))
    source.parent.mkdir(parents=True)
    source.write_text(_rows(20))
    build_dataset(layout, InstructionSettings(), Reporter(), is_forced=False)
    report = layout.read_json(layout.join("instruction_dataset", "report.json"))
    assert report is not None
    table = pq.read_table(layout.join("instruction_dataset", "part-00000.parquet"))
    assert table.num_rows == report["examples"] == 20
    build_dataset(layout, InstructionSettings(), Reporter(), is_forced=False)
    assert "already made" in capsys.readouterr().err


def test_no_source_says_where_to_put_one(layout: Layout) -> None:
    _tokenizer_folder(Path(layout.tokenizer_dir("t1")))
    with pytest.raises(MissingDataError, match=r"put \*\.jsonl files into"):
        build_dataset(layout, InstructionSettings(), Reporter(), is_forced=False)
