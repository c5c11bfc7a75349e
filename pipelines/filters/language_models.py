"""KenLM models: the text as CCNet gives it to them, and how surprised they are by it.

Wenzek et al. 2020, arXiv:1911.00359, section 3.4, and its published code: text is lower-cased, accents and control
characters go, every digit is 0, Unicode punctuation becomes ASCII; then it is cut into SentencePiece pieces, where a
SentencePiece model is given, else into words and single punctuation marks (our own, for models trained without
pieces). The perplexity is 10 ** (-log10 probability / length), each line with its end counted as a token.

Two things differ from the published code on purpose: blank lines are left out, and a document is scored line by
line, where that code's removal of control characters glues its lines together.
"""

import math
import os
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from gristmill.core.errors import EnvironmentProblemError, SettingsError

_DIGIT = re.compile(r"\d")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_LARGEST = 3.0e38  # of a float32 column; a model may call a word impossible
_ASCII_FORMS = {
    '"': "„”“«»「」《》『』",
    "'": "´’‘",
    ",": "，、",
    ".": "。．",
    ":": "∶：",
    "?": "？",
    "!": "！",
    "(": "（",
    ")": "）",
    ";": "；",
    "-": "–━►",
    " - ": "—",
    "~": "～",
    "...": "…",
    "<": "〈",
    ">": "〉",
    "[": "【",
    "]": "】",
    "%": "％",
}
_FORMS: dict[str, str] = {character: form for form, group in _ASCII_FORMS.items() for character in group}
_SPECIAL = re.compile(f"[{''.join(_FORMS)}]")
_BLANK = re.compile(r"[\t\x0b\x0c\r\x85]")  # control characters that part words
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]+")


def normalised(text: str) -> str:
    """`text` as CCNet's models know it; line breaks stay."""
    text = text.lower()
    if not text.isascii():
        import regex

        text = regex.sub(r"\p{Mn}+", "", unicodedata.normalize("NFD", text))
        text = _SPECIAL.sub(lambda found: _FORMS[found[0]], text)
    return _DIGIT.sub("0", _CONTROL.sub("", _BLANK.sub(" ", text)))


def sentences(text: str, pieces: Any = None) -> Iterator[str]:
    """The lines of `text` as tokens with a space between, ready for a model: for training and for scoring.

    Args:
        text: as extracted.
        pieces: a SentencePiece model from `load_pieces`; None: words and punctuation marks.
    """
    for line in normalised(text).split("\n"):
        tokens = _TOKEN.findall(line) if pieces is None else pieces.encode(line.strip(), out_type=str)
        if tokens:
            yield " ".join(tokens)


def perplexity(model: Any, text: str, pieces: Any = None) -> float | None:
    """The perplexity per token of `text`; None where it has no token."""
    score, length = 0.0, 0
    for sentence in sentences(text, pieces):
        score += model.score(sentence)
        length += sentence.count(" ") + 2  # its tokens, and its end
    if not length:
        return None
    exponent = -score / length
    return min(10.0**exponent, _LARGEST) if exponent < math.log10(_LARGEST) else _LARGEST


def load_model(path: str, language: str) -> Any:
    """A KenLM model, ARPA or binary, once per process and state of the file.

    Raises:
        SettingsError: no such file, or no model in it.
        EnvironmentProblemError: the binding is not installed.
    """
    stat = _stat(path, "perplexity_models", language)
    return _load_model(path, language, stat.st_size, stat.st_mtime_ns)


def load_pieces(path: str, language: str) -> Any:
    """A SentencePiece model, likewise."""
    stat = _stat(path, "perplexity_pieces", language)
    return _load_pieces(path, language, stat.st_size, stat.st_mtime_ns)


def _stat(path: str, setting: str, language: str) -> os.stat_result:
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise SettingsError(f"{setting}: {path} for {language}: {error.strerror}; give the path of a model") from None
    if not Path(path).is_file():
        raise SettingsError(f"{setting}: {path} for {language} is not a file; give the path of a model")
    return stat


@lru_cache(maxsize=32)
def _load_model(path: str, language: str, size: int, changed: int) -> Any:
    try:
        import kenlm
    except ImportError:
        raise EnvironmentProblemError(
            "perplexity_models is set, but the binding of KenLM is not installed: "
            "run `pip install 'gristmill[perplexity]'` (it needs a C++ compiler), or leave the setting out"
        ) from None
    config: Any = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(path, config)
    except (OSError, RuntimeError, ValueError, MemoryError) as error:  # a garbled message is a UnicodeDecodeError
        reason = "no ARPA file and no KenLM binary" if isinstance(error, ValueError) else _short(error)
        raise SettingsError(
            f"perplexity_models: {path} for {language} is not a KenLM model ({reason}); "
            "train one as docs/language-models.md says, or leave it out"
        ) from None


@lru_cache(maxsize=32)
def _load_pieces(path: str, language: str, size: int, changed: int) -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise EnvironmentProblemError(
            "perplexity_pieces is set, but SentencePiece is not installed: "
            "run `pip install 'gristmill[perplexity]'`, or leave the setting out"
        ) from None
    try:
        return sentencepiece.SentencePieceProcessor(model_file=path)
    except (OSError, RuntimeError, ValueError) as error:
        raise SettingsError(
            f"perplexity_pieces: {path} for {language} is not a SentencePiece model ({_short(error)}); "
            "give the one that the KenLM model was trained with"
        ) from None


def _short(error: BaseException) -> str:
    """The part of KenLM's message that a person can use, without its C++ signatures."""
    text = " ".join(str(error).split())
    text = text.rpartition(" threw ")[2] or text
    return text if len(text) <= 160 else f"{text[:159]}…"
