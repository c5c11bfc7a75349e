"""Names of persons, places and organisations by spaCy's entity recognizer, as Presidio's SpacyRecognizer reads it.

The optional part of looking for personal data: it has no form to check, only a language model's opinion, for one
language, at a hundredth of the speed of the patterns (docs/privacy.md). Of the pipeline only the entity recognizer
runs; it has its own vectors in spaCy's small and medium models, which a test holds to the whole pipeline's findings.
"""

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal

from gristmill.core.errors import EnvironmentProblemError
from pipelines.hidden_imports import DEEP_LEARNING, hidden
from pipelines.privacy.spans import Span

NamedEntity = Literal["PERSON", "LOCATION", "ORGANIZATION"]
SCORE = 0.85  # Presidio's, of whatever the model finds: it gives no probability of its own
# presidio-analyzer 2.2, conf/default.yaml; dates and nationalities are left alone.
_ENTITY_OF_LABEL = {
    "PER": "PERSON",
    "PERSON": "PERSON",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "LOCATION",
    "LOCATION": "LOCATION",
    "ORG": "ORGANIZATION",
    "ORGANIZATION": "ORGANIZATION",
}
MAX_PIECE = 5_000  # code points given to the model at once, so that a long page needs no more memory than a short one
_BATCH_PIECES = 4
_BORDERS = ("\n\n", "\n", ". ", " ")  # where to cut a longer text, best first
_UNUSED = ("tagger", "parser", "attribute_ruler", "lemmatizer", "senter")


def find_names(texts: Sequence[str], entities: Sequence[str], pipeline: str) -> list[list[Span]]:
    """The named entities of the kinds `entities` in each text, by position.

    Raises:
        EnvironmentProblemError: spaCy's pipeline is not installed.
    """
    found: list[list[Span]] = [[] for _ in texts]
    pieces = ((text[first:last], (index, first)) for index, text in enumerate(texts) for first, last in cuts(text))
    model = _loaded(pipeline)
    with model.memory_zone():  # else spaCy keeps every word it ever saw
        for document, (index, first) in model.pipe(pieces, as_tuples=True, batch_size=_BATCH_PIECES):
            for named in document.ents:
                entity = _ENTITY_OF_LABEL.get(named.label_)
                if entity is not None and entity in entities:
                    found[index].append(Span(first + named.start_char, first + named.end_char, entity, SCORE))
    return found


def beside(names: Sequence[Span], patterns: Sequence[Span], text: str) -> list[Span]:
    """`patterns`, and what they leave of `names`, by position: a form that was checked says more than an opinion.

    A name that a pattern cuts into stays with its remaining pieces, where these hold a letter.
    """
    kept = list(patterns)
    for name in names:
        start = name.start
        for pattern in patterns:
            if pattern.end <= start or pattern.start >= name.end:
                continue
            kept += _trimmed(name, start, pattern.start, text)
            start = pattern.end
        kept += _trimmed(name, start, name.end, text)
    return sorted(kept)


def _trimmed(name: Span, start: int, end: int, text: str) -> list[Span]:
    """The piece from `start` to `end` without blanks and marks at its ends; none where it holds no letter."""
    if (start, end) == (name.start, name.end):
        return [name]
    letters = [at for at in range(start, end) if text[at].isalnum()]
    if not any(text[at].isalpha() for at in letters):
        return []
    return [name._replace(start=letters[0], end=letters[-1] + 1)]


def cuts(text: str) -> Iterator[tuple[int, int]]:
    """Where to cut `text`: pieces of at most MAX_PIECE code points, at the last border of the best kind in each."""
    start = 0
    while len(text) - start > MAX_PIECE:
        for border in _BORDERS:
            end = text.rfind(border, start + MAX_PIECE // 2, start + MAX_PIECE)
            if end >= 0:
                end += len(border)
                break
        else:
            end = start + MAX_PIECE
        yield start, end
        start = end
    if start < len(text):
        yield start, len(text)


def require_spacy() -> None:
    """Say so if spaCy, which is an extra, is not installed; without the second that its import takes.

    Raises:
        EnvironmentProblemError: it is not.
    """
    if importlib.util.find_spec("spacy") is None:
        raise EnvironmentProblemError(
            "named_entities of clean_documents needs spaCy, which is not installed: `pip install 'gristmill[names]'`, "
            "or leave named_entities empty"
        )


def version(pipeline: str) -> str:
    """The version of a spaCy pipeline that is installed as a package; "local" for a folder."""
    try:
        return importlib.metadata.version(pipeline)
    except importlib.metadata.PackageNotFoundError:
        return "local"


@lru_cache(maxsize=1)
def _loaded(pipeline: str) -> Any:
    require_spacy()
    with hidden(*DEEP_LEARNING):
        import spacy
    try:
        model = spacy.load(pipeline, exclude=_UNUSED)
    except OSError:
        raise EnvironmentProblemError(
            f"ner_pipeline of clean_documents is {pipeline}, which spaCy does not find: install it "
            "(`pip install 'gristmill[names]'` for the default one), or leave named_entities empty"
        ) from None
    if "ner" not in model.pipe_names:
        raise EnvironmentProblemError(
            f"ner_pipeline of clean_documents is {pipeline}, which has no entity recognizer (ner); name one that has"
        )
    vectors: Any = model.get_pipe("tok2vec") if "tok2vec" in model.pipe_names else None
    if vectors is not None and "ner" not in vectors.listening_components:
        model.disable_pipe("tok2vec")
    return model
