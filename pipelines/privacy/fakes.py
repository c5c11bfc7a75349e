"""Realistic stand-ins: what looks like the real thing, belongs to nobody, and is always the same for the same value.

A fake is chosen by the keyed hash of the value alone. There are fewer fakes than values (100 telephone numbers in an
area, 22 card numbers): different values may get the same one. What has no realistic fake here gets a pseudonym.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from pipelines.privacy import reserved_numbers
from pipelines.privacy.pseudonyms import Key

_SUFFIXES = 10_000  # numbers behind the names in e-mail addresses, so that few addresses share one


def fake(key: Key, entity: str, value: str) -> str:
    """What stands in for `value`."""
    number = int.from_bytes(key.digest(entity, value), "big")
    if entity in _NUMBERS:
        return _NUMBERS[entity](number, value)
    if entity in _NAMES:
        return _NAMES[entity](number)
    return key.pseudonym(entity, value)


def without_reserved(text: str) -> str:
    """`text` with a mark no recognizer reads for each number and address that is reserved for nobody."""
    for pattern in reserved_numbers.RESERVED.values():
        text = pattern.sub("<>", text)
    return text


@lru_cache(maxsize=1)
def _faker() -> Any:
    from faker import Faker

    return Faker("en_US")


def _seeded(number: int) -> Any:
    faker = _faker()
    faker.seed_instance(number)
    return faker


def _person(number: int) -> str:
    faker = _seeded(number)
    return f"{faker.first_name()} {faker.last_name()}"


def _email(number: int, value: str) -> str:
    name = "".join(c if c.isalnum() else "." if c == " " else "" for c in _person(number).lower())
    return f"{name}{number % _SUFFIXES}@{reserved_numbers.EXAMPLE_DOMAIN}"


_NUMBERS: Mapping[str, Callable[[int, str], str]] = {
    "EMAIL_ADDRESS": _email,
    "PHONE_NUMBER": reserved_numbers.phone_number,
    "IP_ADDRESS": reserved_numbers.ip_address,
    "CREDIT_CARD": reserved_numbers.credit_card,
    "IBAN_CODE": reserved_numbers.iban_code,
    "US_SSN": reserved_numbers.us_ssn,
    "CRYPTO": reserved_numbers.crypto,
    "MAC_ADDRESS": reserved_numbers.mac_address,
}
_NAMES: Mapping[str, Callable[[int], str]] = {
    "PERSON": _person,
    "LOCATION": lambda number: _seeded(number).city(),
    "ORGANIZATION": lambda number: _seeded(number).company(),
}
