"""What personal data is looked for, and how sure a recognizer must be: the settings that the engine is built from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RecognizerSettings:
    """Which recognizers run, and which of their findings count."""

    # A YAML file of recognizers (docs/privacy.md); none: filters/recognizers.yaml, which says what runs.
    recognizers: str | None = None
    entities: tuple[str, ...] | None = None  # of those that the recognizers find; none: all of them
    # Whose national identifiers are looked for (Presidio's country codes, such as us); none: every country's. What
    # belongs to no country is looked for anyway.
    countries: tuple[str, ...] | None = None
    phone_regions: tuple[str, ...] = ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR")  # Presidio's default
    phone_leniency: int = 1  # 0 possible, 1 valid, 2 and 3 grouped as usual (phonenumbers.Leniency)
    # Presidio's German numbers may have 4 digits, which makes phone numbers of years ("in 1648") and of ranges;
    # on 1,954 pages all 75 findings of fewer than 7 digits were wrong. 1 finds what Presidio finds.
    min_phone_digits: int = 7
    # Phone numbers and cards that are decimals, dates, ISBNs, ranges, columns of a table, or bare digits without a word
    # such as "phone" near: of 2,035 phone numbers that Presidio finds on 10,390 real pages fewer than fifty are one.
    # False keeps what Presidio finds.
    drop_lookalikes: bool = True
    # A dotted quad whose numbers are all smaller counts sections or versions ("6.3.4.2"), as 3,970 of 7,123 on the same
    # pages do, unless a word such as "host" is near, or a port or a prefix length behind it. One in 4,096 random
    # addresses is so small, (32 / 256) ** 4, and so are 8.8.8.8 and 10.0.0.1; found by itself none says whose it is.
    # 0 takes every quad, as Presidio does.
    min_ip_number: int = 32
    # Presidio's scores: 1 checksum held, 0.6 IP and MAC addresses, 0.5 social security numbers with
    # separators, 0.4 phone numbers, 0.05 bare digits. Presidio's own default, 0, takes those too.
    score_threshold: float = 0.4

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(f"score_threshold is {self.score_threshold}; give a number from 0 to 1")
        if not 0 <= self.phone_leniency <= 3:
            raise ValueError(f"phone_leniency is {self.phone_leniency}; give 0, 1, 2 or 3")
        if not 0 <= self.min_ip_number <= 255:
            raise ValueError(f"min_ip_number is {self.min_ip_number}; give a number from 0 to 255")
        if self.entities is None or "PHONE_NUMBER" in self.entities:
            _check_regions(self.phone_regions)


def _check_regions(regions: tuple[str, ...]) -> None:
    from phonenumbers import SUPPORTED_REGIONS

    unknown = [region for region in regions if region not in SUPPORTED_REGIONS]
    if unknown or not regions:
        raise ValueError(f"phone_regions is {list(regions)}; give two-letter codes of countries, such as US")
