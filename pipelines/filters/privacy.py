"""clean_documents: personal data with a recognizable form replaced by placeholders, counted per type.

E-mail addresses, phone numbers, IP and MAC addresses, payment cards, bank accounts, US social security
numbers and Bitcoin addresses, by the pattern recognizers of Presidio (checksums and formats where there are
any). Names and postal addresses have no such form and are not looked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from pipelines.decisions import Rule, first_failure, with_column
from pipelines.filters.personal_data import find, replace
from pipelines.filters.recognizers import ENTITIES, Recognizer, recognizers

LIBRARIES = ("presidio-analyzer", "phonenumbers", "tldextract", "regex")
Entity = Literal[
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "IP_ADDRESS",
    "CREDIT_CARD",
    "IBAN_CODE",
    "US_SSN",
    "CRYPTO",
    "MAC_ADDRESS",
]

REASONS: dict[str, str] = {
    "mostly_personal_data": "personal data takes up so much of the text that nothing to learn from is left",
}


@dataclass(frozen=True)
class Settings:
    """What is looked for, and how sure a recognizer must be."""

    entities: tuple[Entity, ...] = (
        "EMAIL_ADDRESS",
        "PHONE_NUMBER",
        "IP_ADDRESS",
        "CREDIT_CARD",
        "IBAN_CODE",
        "US_SSN",
        "CRYPTO",
        "MAC_ADDRESS",
    )
    phone_regions: tuple[str, ...] = ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR")  # Presidio's default
    phone_leniency: int = 1  # 0 possible, 1 valid, 2 and 3 grouped as usual (phonenumbers.Leniency)
    # Presidio's German numbers may have 4 digits, which makes phone numbers of years ("in 1648") and of ranges;
    # on 1,954 pages all 75 findings of fewer than 7 digits were wrong. 1 finds what Presidio finds.
    min_phone_digits: int = 7
    # Presidio's scores: 1 checksum held, 0.6 IP and MAC addresses, 0.5 social security numbers with
    # separators, 0.4 phone numbers, 0.05 bare digits. Presidio's own default, 0, takes those too.
    score_threshold: float = 0.4
    max_personal_share: float = 0.5  # of the text's code points; a phone list is no prose

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(f"score_threshold is {self.score_threshold}; give a number from 0 to 1")
        if not 0 <= self.phone_leniency <= 3:
            raise ValueError(f"phone_leniency is {self.phone_leniency}; give 0, 1, 2 or 3")
        if "PHONE_NUMBER" in self.entities:
            _check_regions(self.phone_regions)


def active_recognizers(settings: Settings) -> tuple[Recognizer, ...]:
    """The recognizers that `settings` ask for, loaded once per process."""
    return recognizers(
        settings.entities, settings.phone_regions, settings.phone_leniency, max(settings.min_phone_digits, 1)
    )


def count_column(entity: str) -> str:
    """The column that counts the placeholders of `entity` in a document."""
    return f"pii_{entity.lower()}"


def score(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Replace what is found in `text`; add a count per entity, `pii_total` and `pii_share`.

    A count is int32, of placeholders put in; 0 for an entity that is not looked for. `pii_share` is the
    share of the original text's code points that were replaced.
    """
    # An empty batch only asks for the schema.
    active = active_recognizers(settings) if batch.num_rows else ()
    counts: dict[str, list[int]] = {entity: [] for entity in ENTITIES}
    texts: list[str | None] = []
    shares: list[float] = []
    for text in batch.column("text").to_pylist():
        spans = find(text or "", active, settings.score_threshold)
        texts.append(replace(text, spans) if text is not None else None)
        shares.append(sum(span.end - span.start for span in spans) / max(len(text or ""), 1))
        found = [span.entity for span in spans]
        for entity, column in counts.items():
            column.append(found.count(entity))
    batch = with_column(batch, "text", texts, batch.schema.field("text").type)
    for entity, column in counts.items():
        batch = with_column(batch, count_column(entity), column, pa.int32())
    totals = [sum(row) for row in zip(*counts.values(), strict=True)]
    batch = with_column(batch, "pii_total", totals, pa.int32())
    return with_column(batch, "pii_share", shares, pa.float32())


def decide(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Reject only what consists of personal data for the most part."""
    return first_failure(batch, [Rule("mostly_personal_data", "pii_share", ">", settings.max_personal_share)])


def tally(batch: pa.RecordBatch) -> Mapping[str, int]:
    """Placeholders per entity, and documents that have any."""
    columns = {name: batch.column(name).to_pylist() for name in (*map(count_column, ENTITIES), "pii_total")}
    documents = sum(total > 0 for total in columns["pii_total"])
    return {name: sum(values) for name, values in columns.items()} | {"documents_with_pii": documents}


def _check_regions(regions: tuple[str, ...]) -> None:
    from phonenumbers import SUPPORTED_REGIONS

    unknown = [region for region in regions if region not in SUPPORTED_REGIONS]
    if unknown or not regions:
        raise ValueError(f"phone_regions is {list(regions)}; give two-letter codes of countries, such as US")
