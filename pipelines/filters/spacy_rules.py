"""spaCy's rules of English tokenization: lists of patterns and special cases, read without starting spaCy.

`import spacy` takes most of a second, `spacy.blank` half of one: pipelines, models, configuration, a command line. The
rules are constants in five of its modules, which need nothing but each other, two symbols and one helper. Of the
releases this was checked with (tests compare every rule with spaCy's own), these modules are executed by themselves;
any other release is imported whole and asked.
"""

import importlib
import importlib.metadata
import importlib.util
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pipelines.filters.punctuation import TERMINAL
from pipelines.hidden_imports import DEEP_LEARNING, hidden

CHECKED = ("3.8.",)  # releases whose rules may be read by themselves
_ALONE = "_spacy_rules_alone"
_ORTH, _NORM = "ORTH", "NORM"
# Of punctuation.TERMINAL, what spaCy's sentencizer does not end a sentence at.
_NO_SENTENCE_ENDS = frozenset(
    "\u061d\u061e\u0837\u0839\u083d\u083e\u17d4\u17d5\u17d6\u17d9\u17da\u1b7d\u1b7e\u2e53\u2e54"
    "\U00010f55\U00010f56\U00010f57\U00010f58\U00010f59\U00010f86\U00010f87\U00010f88\U00010f89"
    "\U00011944\U00011946\U00011ef7\U00011ef8\U00011f43\U00011f44\U00016e98"
)


@dataclass(frozen=True)
class Rules:
    """What decides on the tokens of a chunk, and which tokens end a sentence."""

    prefixes: Sequence[str]  # patterns
    suffixes: Sequence[str]
    infixes: Sequence[str]
    is_url: Callable[[str], Any]  # a pattern's match
    specials: Mapping[str, tuple[str, ...]]  # chunk -> its tokens
    sentence_ends: frozenset[str]


def rules() -> Rules:
    """The rules of the installed spaCy."""
    return rules_alone() if importlib.metadata.version("spacy").startswith(CHECKED) else rules_of_spacy()


def rules_of_spacy() -> Rules:
    """The rules as spaCy's blank English pipeline and its sentencizer use them."""
    with hidden(*DEEP_LEARNING):  # importing spaCy imports every package that offers it a component
        import spacy
        from spacy.attrs import ORTH
        from spacy.pipeline.sentencizer import Sentencizer

        english: Any = spacy.blank("en")
    defaults = english.Defaults
    specials = {text: tuple(part[ORTH] for part in parts) for text, parts in english.tokenizer.rules.items()}
    ends: frozenset[str] = frozenset(Sentencizer.default_punct_chars)
    return Rules(defaults.prefixes, defaults.suffixes, defaults.infixes, english.tokenizer.url_match, specials, ends)


def rules_alone() -> Rules:
    """The same from the modules that define them, without spaCy around them."""
    spec = importlib.util.find_spec("spacy")  # finds the folder, runs nothing
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("spaCy is not installed: run `pip install spacy`", name="spacy")
    with _modules_alone(Path(spec.submodule_search_locations[0])) as module:
        affixes, infixes = module("lang.punctuation"), module("lang.en.punctuation")
        base, exceptions = module("lang.tokenizer_exceptions"), module("lang.en.tokenizer_exceptions")
    specials = {text: tuple(part[_ORTH] for part in parts) for text, parts in exceptions.TOKENIZER_EXCEPTIONS.items()}
    return Rules(
        affixes.TOKENIZER_PREFIXES,
        affixes.TOKENIZER_SUFFIXES,
        infixes.TOKENIZER_INFIXES,
        base.URL_MATCH,
        specials,
        TERMINAL - _NO_SENTENCE_ENDS,
    )


def is_punctuation(token: str) -> bool:
    """Whether every character is of one of Unicode's punctuation categories, as spaCy's `is_punct` has it."""
    return all(unicodedata.category(character)[0] == "P" for character in token)


@contextmanager
def _modules_alone(folder: Path) -> Iterator[Callable[[str], Any]]:
    """Within, the function given imports a module of the package in `folder`, without running the package itself."""
    packages = {_ALONE: folder, f"{_ALONE}.lang": folder / "lang", f"{_ALONE}.lang.en": folder / "lang" / "en"}
    for name, path in packages.items():
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    for name, content in {"symbols": {"ORTH": _ORTH, "NORM": _NORM}, "util": {"update_exc": _with_both}}.items():
        module = ModuleType(f"{_ALONE}.{name}")
        vars(module).update(content)
        sys.modules[module.__name__] = module
    try:
        yield lambda name: importlib.import_module(f"{_ALONE}.{name}")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == _ALONE]:
            del sys.modules[name]


_Cases = dict[str, list[dict[str, str]]]


def _with_both(base: _Cases, own: _Cases) -> _Cases:
    """Special cases of two lists, those with a straight apostrophe also with a curly one."""
    cases = base | own
    curly = {
        text.replace("'", "\u2019"): [part | {_ORTH: part[_ORTH].replace("'", "\u2019")} for part in parts]
        for text, parts in cases.items()
        if "'" in text
    }
    return cases | curly
