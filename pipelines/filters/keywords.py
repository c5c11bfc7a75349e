"""Keywords: words of explicit content, and phrases of notices and forms, by lists per language.

A page with any word of a list of obscene words is dropped by C4 (Raffel et al. 2020, arXiv:1910.10683, section 2.2).
A list is one regular expression, a tree by first letters, so that a text is read once whatever the length of the
list: 2,000 terms over 5 MB of text take 0.21 CPU-seconds (24 MB/s; the plain alternation of the same terms 15).
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.core.errors import SettingsError
from gristmill.core.settings import scoring
from pipelines.decisions import Rule, with_column
from pipelines.filters.half_configured import require

FAMILY = "keywords"

COLUMNS: dict[str, pa.DataType] = {
    "explicit_hits": pa.int32(),
    "explicit_share": pa.float32(),  # of the text's characters
    "boilerplate_hits": pa.int32(),
    "boilerplate_share": pa.float32(),
}

REASONS: dict[str, str] = {
    "keywords.explicit": "too many words of the list of explicit words",
    "keywords.boilerplate": "too much of the text is phrases of the list of boilerplate",
}

ANY_LANGUAGE = "*"
SHIPPED = "shipped"  # instead of a path: the list of boilerplate phrases that comes with this package, English only
LONGEST_TERM = 100  # characters; a regular expression nests as deep as its terms are long
_COMMENT = re.compile(r"(^|\s)#.*")  # "c#" is a term
_SHIPPED_PATH = Path(__file__).with_name("boilerplate_en.txt")
# ISO 639 codes of languages written without spaces: their terms are found inside a run of letters too.
UNSPACED = frozenset({"bo", "dz", "ja", "km", "lo", "my", "th", "wuu", "yue", "zh"})


@dataclass(frozen=True)
class KeywordSettings:
    """The lists, and how much of them a document may hold."""

    # Language (ISO 639, "*" for all others) to a file: a term per line, "#" begins a comment; none: not looked for.
    explicit_words: dict[str, str] = scoring({})
    # Likewise; instead of a path, "shipped" is a list of English phrases that comes with Gristmill.
    boilerplate_phrases: dict[str, str] = scoring({})
    # Explicit words that a document may hold; none in arXiv:1910.10683, section 2.2.
    max_explicit_hits: int = 0
    # Share of characters; in force where max_explicit_hits is raised. Our own, as is the next.
    max_explicit_share: float = 1.0
    max_boilerplate_share: float = 0.2


def files(settings: KeywordSettings) -> tuple[str, ...]:
    """The lists.

    Raises:
        SettingsError: there is a limit without a list.
    """
    require(settings, "explicit_words", "max_explicit_hits", "max_explicit_share")
    require(settings, "boilerplate_phrases", "max_boilerplate_share")
    named = (*settings.explicit_words.values(), *settings.boilerplate_phrases.values())
    return tuple(_resolved(path) for path in named)


def rules(settings: KeywordSettings) -> tuple[Rule, ...]:
    """The rules in the order they are asked."""
    s = settings
    return (
        Rule("keywords.explicit", "explicit_hits", ">", s.max_explicit_hits),
        Rule("keywords.explicit", "explicit_share", ">", s.max_explicit_share),
        Rule("keywords.boilerplate", "boilerplate_share", ">", s.max_boilerplate_share),
    )


def score(batch: pa.RecordBatch, settings: KeywordSettings) -> pa.RecordBatch:
    """Add COLUMNS; null where there is no list for a document's language.

    Raises:
        SettingsError: a list can't be read.
    """
    for prefix, setting in (("explicit", "explicit_words"), ("boilerplate", "boilerplate_phrases")):
        found = _count(batch, getattr(settings, setting), setting)
        batch = with_column(batch, f"{prefix}_hits", [hits for hits, _ in found], pa.int32())
        batch = with_column(batch, f"{prefix}_share", [share for _, share in found], pa.float32())
    return batch


def _count(batch: pa.RecordBatch, lists: Mapping[str, str], setting: str) -> list[tuple[int | None, float | None]]:
    nothing: list[tuple[int | None, float | None]] = [(None, None)] * batch.num_rows
    if not lists:
        return nothing
    patterns = {language: load_terms(path, language, setting) for language, path in lists.items()}
    has_language = "language" in batch.schema.names
    languages = batch.column("language").to_pylist() if has_language else [None] * batch.num_rows
    for row, (text, language) in enumerate(zip(batch.column("text").to_pylist(), languages, strict=True)):
        pattern = patterns.get(language or ANY_LANGUAGE, patterns.get(ANY_LANGUAGE))
        if pattern is not None:
            nothing[row] = count_terms(pattern, text or "")
    return nothing


def count_terms(pattern: "re.Pattern[str]", text: str) -> tuple[int, float]:
    """How many terms stand in `text`, and their share of its characters; what overlaps counts once."""
    folded = _folded(text)
    hits = pattern.findall(folded)
    return len(hits), sum(map(len, hits)) / max(len(folded), 1)


def load_terms(path: str, language: str, setting: str) -> "re.Pattern[str]":
    """The pattern of a list, made once per process and state of the file.

    Raises:
        SettingsError: it is missing, not UTF-8, has no term, or a term that is too long.
    """
    resolved = Path(_resolved(path))
    try:
        stat = resolved.stat()
        return _load(resolved, stat.st_size, stat.st_mtime_ns, language in UNSPACED)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
        raise SettingsError(
            f"{setting}: the list {path} for {language}: {reason}; give a UTF-8 file with a term per line"
        ) from None


def _resolved(path: str) -> str:
    return str(_SHIPPED_PATH) if path == SHIPPED else path


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


@lru_cache(maxsize=64)
def _load(path: Path, size: int, changed: int, is_unspaced: bool) -> "re.Pattern[str]":
    terms: set[str] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        term = " ".join(_folded(_COMMENT.sub("", line)).split())
        if len(term) > LONGEST_TERM:
            raise ValueError(f"line {number} has {len(term):,} characters, and a term may have {LONGEST_TERM}")
        if term:
            terms.add(term)
    if not terms:
        raise ValueError("it holds no term")
    return compile_terms(terms, is_unspaced=is_unspaced)


def compile_terms(terms: set[str], *, is_unspaced: bool = False) -> "re.Pattern[str]":
    """One regular expression for `terms` (case-folded): whole words, or any place where `is_unspaced`."""
    tree: dict[str, Any] = {}
    for term in terms:
        node = tree
        for character in term:
            node = node.setdefault(character, {})
        node[""] = {}
    body = _expression(tree)
    return re.compile(body if is_unspaced else rf"(?<!\w){body}(?!\w)")


def _expression(node: dict[str, Any]) -> str:
    """What matches the longest way down the tree from `node` to an end of a term."""
    prefix = ""
    while len(node) == 1 and "" not in node:  # no choice: no group
        character, node = next(iter(node.items()))
        prefix += _literal(character)
    branches = [_literal(c) + _expression(child) for c, child in sorted(node.items()) if c]
    if not branches:
        return prefix
    return f"{prefix}(?:{'|'.join(branches)}){'?' if '' in node else ''}"


def _literal(character: str) -> str:
    return r"\s+" if character == " " else re.escape(character)
