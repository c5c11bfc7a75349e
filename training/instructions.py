"""instruction_dataset: `python -m training.instructions --root R`: chat examples in tokens, with their loss mask.

Sources are JSONL files, gzip or not, whose rows have one of these shapes:
    {"messages": [{"role", "content"}, …]}
    {"instruction", "input"?, "output"}                              Alpaca
    {"instruction", "instances": [{"input", "output"}, …]}           self-instruct seeds
    {"question", "answer"}                                           GSM8K
A row that is none of them, or that leaves nothing to learn, is counted under its reason; it stops nothing.
"""

import gzip
import hashlib
import json
import posixpath
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.errors import GristmillError, MissingDataError
from gristmill.core.layout import REPORT_NAME, Layout, storage_error
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from training.arguments import InstructionSettings
from training.chat import Chat, Message
from training.digests import file_sha256
from training.loader import IGNORED_LABEL
from training.runs import code_version, fingerprint, now
from training.shards import read_mixture
from training.worker import resolve_settings, run_worker, worker_parser

ASSET = "instruction_dataset"
CODE = ("arguments", "chat", "instructions")
FOLDER = "instructions"  # below the root: where sources lie when none are named
DEFAULT_LENGTH = 1_024  # tokens, where no mixture says how long the model's sequences are
MAXIMUM_LINE_BYTES = 16 << 20  # of a source row; longer ones are not instructions
ROLES = ("system", "user", "assistant")
REASONS = {
    "not_json": "the line is not a JSON object",
    "oversized": "the line is longer than 16 MiB",
    "unknown_shape": "the row has none of the known shapes",
    "empty_text": "an instruction or an answer is empty or not text",
    "bad_roles": "roles other than system, user and assistant, or no assistant turn",
    "nothing_learnt": "no assistant token is left after truncation",
    "repeated": "the same conversation was there before",
    "broken_file": "the rest of a file could not be read",
}
SCHEMA = pa.schema(
    [
        ("messages", pa.string()),
        ("input_ids", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.int32())),
        ("split", pa.string()),
    ]
)


class BadRowError(ValueError):
    """A row that can't become an example; its argument is one of REASONS."""


def conversations(row: Mapping[str, Any]) -> list[list[Message]]:
    """The conversations in one source row.

    Raises:
        BadRowError: the row has no known shape, or an empty text.
    """
    if "messages" in row:
        return [_messages(row["messages"])]
    if isinstance(row.get("instances"), list) and "instruction" in row:
        pairs = [i if isinstance(i, dict) else {} for i in cast(list[Any], row["instances"])]
        if not pairs:
            raise BadRowError("unknown_shape")
        return [_turn(row["instruction"], pair.get("input", ""), pair.get("output")) for pair in pairs]
    if "instruction" in row and "output" in row:
        return [_turn(row["instruction"], row.get("input") or "", row["output"])]
    if "question" in row and "answer" in row:
        return [_turn(row["question"], "", row["answer"])]
    raise BadRowError("unknown_shape")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadRowError("empty_text")
    return value.encode("utf-8", "replace").decode().strip()  # JSON may hold lone surrogates


def _turn(instruction: object, context: object, answer: object) -> list[Message]:
    question = _text(instruction)
    if isinstance(context, str) and context.strip():
        question = f"{question}\n\n{_text(context)}"
    return [{"role": "user", "content": question}, {"role": "assistant", "content": _text(answer)}]


def _messages(value: object) -> list[Message]:
    if not isinstance(value, list) or not all(isinstance(m, dict) for m in cast(list[object], value)):
        raise BadRowError("unknown_shape")
    messages = [{"role": str(m.get("role")), "content": _text(m.get("content"))} for m in cast(list[Any], value)]
    roles = [m["role"] for m in messages]
    if any(role not in ROLES for role in roles) or "assistant" not in roles:
        raise BadRowError("bad_roles")
    return messages


def read_rows(path: Path, bad: Counter[str]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file; what is none is counted in `bad`."""
    opener = cast(Any, gzip.open if path.suffix == ".gz" else open)
    try:
        with opener(path, "rb") as file:
            while line := file.readline(MAXIMUM_LINE_BYTES):
                if len(line) == MAXIMUM_LINE_BYTES and not line.endswith(b"\n"):
                    while (rest := file.readline(MAXIMUM_LINE_BYTES)) and not rest.endswith(b"\n"):
                        pass
                    bad["oversized"] += 1
                elif line.strip():
                    row = _parse(line)
                    if row is None:
                        bad["not_json"] += 1
                    else:
                        yield row
    except (OSError, EOFError, zlib.error):
        bad["broken_file"] += 1


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast(dict[str, Any], row) if isinstance(row, dict) else None


def source_files(layout: Layout, settings: InstructionSettings) -> list[Path]:
    """The files to read, sorted.

    Raises:
        MissingDataError: a named file is not there, or none was named and the folder holds none.
    """
    if settings.paths:
        named = [Path(layout.join(path)) if layout.is_local else Path(path) for path in settings.paths]
        for path in named:
            if not path.is_file():
                raise MissingDataError(f"settings of {ASSET}: paths: {path} is not a file")
        return sorted(set(named))
    folder = Path(layout.join(FOLDER))
    found = sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")])
    if not found:
        raise MissingDataError(
            f"no instructions: put *.jsonl files into {folder}, or name files in settings, section {ASSET}: paths"
        )
    return found


def make_dataset(
    files: Sequence[Path], chat: Chat, settings: InstructionSettings, length: int, reporter: Reporter
) -> tuple[pa.Table, dict[str, Any]]:
    """Read, render, mask, cut and order.

    Returns:
        The examples in the order of their content's hash (the same whatever the order of files and rows), and
        the numbers for the report; rows_in + extra conversations of a row = examples + every bad reason.
    """
    bad: Counter[str] = Counter()
    examples: dict[str, list[Message]] = {}
    counts: Counter[str] = Counter()
    for number, path in enumerate(files):
        reporter.progress("instructions: reading", number, len(files), "files", path.name)
        for row in read_rows(path, bad):
            counts["rows"] += 1
            try:
                found = conversations(row)
            except BadRowError as reason:
                bad[str(reason)] += 1
                continue
            counts["conversations"] += len(found)
            for messages in found:
                if settings.system_prompt and messages[0]["role"] != "system":
                    messages.insert(0, {"role": "system", "content": settings.system_prompt})
                counts["special_tokens_removed"] += sum(chat.clean(m["content"])[1] for m in messages)
                key = hashlib.sha256(json.dumps(messages, ensure_ascii=False).encode()).hexdigest()
                bad["repeated"] += key in examples
                examples[key] = messages
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for key in sorted(examples):
        tokens = chat.encode(examples[key])
        counts["truncated"] += len(tokens.input_ids) > length
        labels = tokens.labels[:length]
        if all(label == IGNORED_LABEL for label in labels):
            bad["nothing_learnt"] += 1
            continue
        columns["messages"].append(json.dumps(examples[key], ensure_ascii=False))
        columns["input_ids"].append(tokens.input_ids[:length])
        columns["labels"].append(labels)
        columns["split"].append("heldout" if int(key[:8], 16) / 2**32 < settings.heldout_fraction else "train")
        if settings.maximum_examples and len(columns["split"]) == settings.maximum_examples:
            break
    if "heldout" not in columns["split"] and len(columns["split"]) > 1:
        columns["split"][0] = "heldout"  # few examples: one is kept out all the same
    splits = Counter(columns["split"])
    numbers = {
        "rows_in": counts["rows"] + bad["not_json"] + bad["oversized"],
        "conversations": counts["conversations"],
        "examples": len(columns["split"]),
        "train": splits["train"],
        "heldout": splits["heldout"],
        "truncated": counts["truncated"],
        "special_tokens_removed": counts["special_tokens_removed"],
        "bad_rows": {reason: count for reason, count in sorted(bad.items()) if count},
        "tokens": sum(map(len, columns["input_ids"])),
        "tokens_learnt": sum(label != IGNORED_LABEL for labels in columns["labels"] for label in labels),
        "maximum_length": length,
    }
    return pa.table(columns, schema=SCHEMA), numbers


def build_dataset(layout: Layout, settings: InstructionSettings, reporter: Reporter, *, is_forced: bool) -> None:
    """Make the dataset and commit it, or leave what is there for the same files, settings and tokenizer.

    Raises:
        MissingDataError: no tokenizer, no source, or nothing usable in the sources.
    """
    version, length = _tokenizer_and_length(layout)
    files = source_files(layout, settings)
    inputs = {"tokenizer": version} | {f"{n} {p.name}": file_sha256(p) for n, p in enumerate(files)}
    mark = fingerprint(ASSET, to_plain(settings) | {"length": length}, inputs, code_version(CODE))
    folder = layout.singleton_dir(ASSET)
    report_path = posixpath.join(folder, REPORT_NAME)
    known = layout.read_json(report_path)
    if known is not None and known.get("fingerprint") == mark and not is_forced:
        reporter.info(f"{ASSET}: already made from the same files, settings and tokenizer")
        reporter.result({"asset": ASSET, "folder": folder, "examples": known["examples"]})
        return
    chat = Chat(Path(layout.tokenizer_dir(version)))
    table, numbers = make_dataset(files, chat, settings, settings.maximum_length or length, reporter)
    if not numbers["train"]:
        raise MissingDataError(
            f"{', '.join(p.name for p in files)}: {numbers['rows_in']} rows, none usable for training "
            f"({numbers['bad_rows'] or 'the files are empty'}): give rows of a shape known to training/instructions.py"
        )
    try:
        if known is not None:
            layout.fs.rm(report_path)  # from here until the end, not there for any reader
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        layout.write_bytes(posixpath.join(folder, "part-00000.parquet"), sink.getvalue().to_pybytes())
    except OSError as error:
        raise storage_error(error, folder) from error
    report = {"asset": ASSET, "created_at": now(), "fingerprint": mark, "settings": to_plain(settings)}
    report |= {"inputs": inputs, "reasons": REASONS, "tokenizer_version": version} | numbers
    layout.write_json(report_path, report)
    bad = sum(numbers["bad_rows"].values())
    reporter.info(
        f"{ASSET}: {numbers['examples']:,} examples ({numbers['heldout']:,} held out), {numbers['truncated']:,} cut at "
        f"{numbers['maximum_length']} tokens, {bad:,} rows left out {numbers['bad_rows'] or ''}"
    )
    reporter.result({"asset": ASSET, "folder": folder, "examples": numbers["examples"]})


def _tokenizer_and_length(layout: Layout) -> tuple[str, int]:
    """The tokenizer of the model that will be tuned, and its sequence length."""
    try:
        mixture = read_mixture(layout)
    except GristmillError:  # a base model from elsewhere needs no mixture
        latest = layout.latest(layout.join("tokenizer"))
        if latest is None:
            raise MissingDataError(
                f"no tokenizer under {layout.root}: run `gristmill run CORPUS --through tokenizer` first"
            ) from None
        return latest[0], DEFAULT_LENGTH
    return mixture.tokenizer_version, mixture.sequence_length


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    given = worker_parser("training.instructions", __doc__).parse_args(arguments)

    def work(reporter: Reporter) -> None:
        layout = Layout(given.root)
        settings = resolve_settings(InstructionSettings, ASSET, layout, given.settings_file, given.settings)
        build_dataset(layout, settings, reporter, is_forced=given.force)

    return run_worker(work)


if __name__ == "__main__":
    sys.exit(main())
