"""Trains a KenLM model on text that is prepared exactly as the scoring prepares it.

    python -m pipelines.filters.perplexity_training FILE... --to en.arpa [--order 5]

FILE is text, JSON lines or Parquet with a field `text` (the parts of any document asset). The trainer is a program of
others: KenLM's lmplz (modified Kneser-Ney) or Debian's irstlm; docs/language-models.md says how to get one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gristmill.core.errors import EnvironmentProblemError, GristmillError, SettingsError
from pipelines.filters.evaluation_sets import read_items
from pipelines.filters.language_models import load_pieces, sentences

TRAINER_VARIABLE = "GRISTMILL_LM_TRAINER"  # a folder with lmplz, or with irstlm as its Debian package lays it out
TRAINER_FOLDER = Path("build/lm-trainer")  # where `make lm-trainer` puts it
_LONGEST_ORDER = 6  # that the binding is compiled for
_TEXT_FIELD = ("text",)
_IRSTLM_BIN, _IRSTLM_LIBRARIES = "usr/lib/irstlm", ("usr/lib/*/libirstlm.so.1", "usr/lib/libirstlm.so.1")


@dataclass(frozen=True)
class Trainer:
    """A program that makes an ARPA file from lines of tokens."""

    name: str  # lmplz or irstlm
    path: Path  # the program, or the folder that holds irstlm's bin
    libraries: Path | None = None

    def train(self, prepared: Path, target: Path, order: int) -> None:
        """Write the model of `prepared` (a sentence per line) to `target`.

        Raises:
            EnvironmentProblemError: the trainer failed; the line has what it said last.
        """
        with tempfile.TemporaryDirectory(prefix="gristmill-lm-") as folder:
            raw = Path(folder) / "model.arpa"
            if self.name == "lmplz":
                smoothing = "--discount_fallback"  # for small texts, whose counts allow no estimate
                with prepared.open("rb") as source, raw.open("wb") as sink:
                    command = [str(self.path), "-o", str(order), smoothing, "-T", folder, "-S", "1G"]
                    _run(command, {}, folder, source, sink)
            else:
                self._irstlm(prepared, raw, order, Path(folder))
            _copy_arpa(raw, target)

    def _irstlm(self, prepared: Path, raw: Path, order: int, folder: Path) -> None:
        marked, packed = folder / "marked.txt", folder / "model.gz"
        with prepared.open(encoding="utf-8") as source, marked.open("w", encoding="utf-8") as sink:
            sink.writelines(f"<s> {line.rstrip()} </s>\n" for line in source)
        environment = {"IRSTLM": str(self.path), "PATH": f"{self.path / 'bin'}:{os.environ.get('PATH', '')}"}
        if self.libraries is not None:
            environment["LD_LIBRARY_PATH"] = str(self.libraries)
        build = [str(self.path / "bin" / "build-lm.sh"), "-i", str(marked), "-o", str(packed), "-n", str(order)]
        _run([*build, "-k", "1", "-s", "witten-bell", "-t", str(folder / "parts")], environment, folder)
        _run([str(self.path / "bin" / "compile-lm"), str(packed), "--text=yes", str(raw)], environment, folder)


def _run(
    command: list[str],
    environment: dict[str, str],
    folder: str | Path,
    source: IO[bytes] | int = subprocess.DEVNULL,
    sink: IO[bytes] | int = subprocess.PIPE,
) -> None:
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command, stdin=source, stdout=sink, stderr=subprocess.PIPE, env=os.environ | environment, cwd=folder,
            check=False,
        )  # fmt: skip
    except OSError as error:
        raise EnvironmentProblemError(
            f"{command[0]} can't be started: {error.strerror}; run `make lm-trainer`"
        ) from None
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise EnvironmentProblemError(f"{name} ended with {done.returncode}: {last[0].strip()}; give more text?")


def _copy_arpa(raw: Path, target: Path) -> None:
    """Copy an ARPA file whole or not at all; irstlm's rounding errors (log10 probabilities above 0) become 0.

    KenLM refuses a model that has one.
    """
    if not raw.is_file() or raw.stat().st_size == 0:
        raise EnvironmentProblemError("the trainer wrote no model: give more text")
    unfinished = target.with_name(f"{target.name}.unfinished")
    target.parent.mkdir(parents=True, exist_ok=True)
    with raw.open("rb") as source, unfinished.open("wb") as sink:
        for line in source:
            value, tab, rest = line.partition(b"\t")
            is_above = bool(tab) and not value.startswith(b"-") and value.strip() not in {b"", b"0"}
            sink.write(b"0\t" + rest if is_above else line)
    unfinished.replace(target)


def find_trainer() -> Trainer:
    """The trainer that TRAINER_VARIABLE, the project's folder or PATH offers, in this order.

    Raises:
        EnvironmentProblemError: there is none.
    """
    named = os.environ.get(TRAINER_VARIABLE)
    for folder in (Path(named) if named else None, TRAINER_FOLDER):
        if folder is None:
            continue
        lmplz = next((p for p in (folder / "lmplz", folder / "bin" / "lmplz") if os.access(p, os.X_OK)), None)
        if lmplz is not None:
            return Trainer("lmplz", lmplz.absolute())
        if (folder / _IRSTLM_BIN / "bin" / "build-lm.sh").is_file():
            library = next((p for pattern in _IRSTLM_LIBRARIES for p in folder.glob(pattern)), None)
            return Trainer("irstlm", (folder / _IRSTLM_BIN).absolute(), library and library.parent.absolute())
    found = shutil.which("lmplz")
    if found:
        return Trainer("lmplz", Path(found))
    if Path("/", _IRSTLM_BIN, "bin", "build-lm.sh").is_file():
        return Trainer("irstlm", Path("/", _IRSTLM_BIN))
    raise EnvironmentProblemError(
        f"no trainer of language models found: run `make lm-trainer`, or set {TRAINER_VARIABLE} to the folder of one"
    )


def prepare(texts: Iterable[str], target: Path, pieces: Any = None) -> int:
    """Write the sentences of `texts` to `target`, one a line; returns how many."""
    count = 0
    with target.open("w", encoding="utf-8") as file:
        for text in texts:
            for sentence in sentences(text, pieces):
                file.write(f"{sentence}\n")
                count += 1
    return count


def train(texts: Iterable[str], target: Path, order: int = 5, pieces: Any = None) -> Trainer:
    """Train a model of `order` words (5 in arXiv:1911.00359) on `texts` and write it to `target`, an ARPA file.

    Returns:
        The trainer that made it.

    Raises:
        EnvironmentProblemError: there is no trainer, or it failed.
        SettingsError: there is nothing to learn from.
    """
    trainer = find_trainer()
    with tempfile.TemporaryDirectory(prefix="gristmill-lm-") as folder:
        prepared = Path(folder) / "sentences.txt"
        if prepare(texts, prepared, pieces) == 0:
            raise SettingsError("there is no text to train a language model on: give files that hold some")
        trainer.train(prepared, target, order)
    return trainer


def read_texts(paths: Iterable[str]) -> Iterator[str]:
    """The texts of text files (by line), JSON lines and Parquet files (field `text`)."""
    for path in paths:
        yield from read_items("text to train on", path, _TEXT_FIELD)


def main(arguments: list[str] | None = None) -> int:
    """Train a KenLM model for the setting perplexity_models."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.filters.perplexity_training", description=main.__doc__)
    parser.add_argument("files", nargs="+", help="text, JSON lines or Parquet; of the latter two the field `text`")
    parser.add_argument("--to", required=True, type=Path, help="the ARPA file to write")
    parser.add_argument("--order", type=int, default=5, help="words of the longest n-gram; KenLM reads up to 6")
    parser.add_argument("--pieces", default="", help="a SentencePiece model, for pieces instead of words")
    options = parser.parse_args(arguments)
    try:
        if not 2 <= options.order <= _LONGEST_ORDER:
            raise SettingsError(f"--order is {options.order}; give 2 to {_LONGEST_ORDER}")
        pieces = load_pieces(options.pieces, "training") if options.pieces else None
        trainer = train(read_texts(options.files), options.to, options.order, pieces)
    except GristmillError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{options.to}: a model of order {options.order}, trained by {trainer.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
