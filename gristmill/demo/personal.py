"""Personal data with its truth: invented people from Faker, in the forms that the web writes them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import phonenumbers

EMAIL, PHONE, IP, CARD, IBAN = "EMAIL_ADDRESS", "PHONE_NUMBER", "IP_ADDRESS", "CREDIT_CARD", "IBAN_CODE"
ENTITIES = (EMAIL, PHONE, IP, CARD, IBAN)
_TEMPLATES = {
    EMAIL: (
        "Whoever knows more may write to {0}.",
        "Send an e-mail to {0} and ask for the old map.",
        "The author can be reached under {0} at any time.",
        "Letters for the editor go to {0}, please.",
    ),
    PHONE: (
        "Call {0} in the evening and let it ring.",
        "The phone number of the workshop is {0}.",
        "For a visit, telephone {0} one day before.",
        "If you find it, please phone {0}.",
    ),
    IP: (
        "This entry was written from the address {0}.",
        "The server at {0} still keeps the first version.",
        "A visitor with the IP address {0} left the note.",
    ),
    CARD: (
        "By mistake the bill showed the card number {0}.",
        "The inn had written down the credit card {0} in its guest book.",
        "Payment was made with card {0}, as the receipt says.",
    ),
    IBAN: (
        "Gifts for the new roof can be sent to the account {0}.",
        "The bank account of the society is IBAN {0}.",
        "Please transfer the fee to {0} before the feast.",
    ),
}
# Digits and dots that are nobody's: what a careless pattern would take for personal data.
_HARMLESS = (
    "The clock is listed as number 4417 in the catalogue of 1893.",
    "Version 2.4 of the building plan hangs in room 112.",
    "In 1874 the well was 38 feet deep, and in 1921 it was 45.",
    "The old road is 12.5 miles long and was opened on 3 May 1902.",
    "Of 1,250 coins only 360 were found again.",
    "The shelf mark is 17/203, and the box holds 64 letters.",
)
_REGIONS = ("US", "GB", "DE", "FR", "US")


@dataclass(frozen=True)
class PersonalData:
    """One instance: what it is, and exactly how the page writes it."""

    type: str
    value: str


def sentences(rng: random.Random) -> tuple[list[str], list[PersonalData]]:
    """One to four sentences that hold personal data, with the truth about them; sometimes a harmless one beside."""
    fake = _faker(rng)
    written: list[str] = []
    truth: list[PersonalData] = []
    for entity in rng.sample(ENTITIES, rng.choices((1, 2, 3, 4), (5, 4, 2, 1))[0]):
        value = _MAKERS[entity](rng, fake)
        written.append(rng.choice(_TEMPLATES[entity]).format(value))
        truth.append(PersonalData(entity, value))
    if rng.random() < 0.4:
        written.insert(rng.randint(0, len(written)), rng.choice(_HARMLESS))
    return written, truth


def harmless(rng: random.Random) -> str:
    """A sentence with figures in it that are no personal data."""
    return rng.choice(_HARMLESS)


_FAKERS: dict[str, Any] = {}


def _faker(rng: random.Random) -> Any:
    """A Faker whose next values follow from `rng` alone."""
    from faker import Faker

    locale = rng.choice(("en_US", "en_GB"))
    fake = _FAKERS.setdefault(locale, None) or _FAKERS.update({locale: Faker(locale)}) or _FAKERS[locale]
    fake.seed_instance(rng.getrandbits(32))
    return fake


def _email(rng: random.Random, fake: Any) -> str:
    # Faker's safe domains are example.org and the like; people have others, still none that exists.
    user = str(fake.user_name())
    names = ("post", "mail", "letters"), ("oldmill", "northpier", "fernhill"), ("org", "net", "com")
    return f"{user}@{'.'.join(rng.choice(bank) for bank in names)}"


def _phone(rng: random.Random, fake: Any) -> str:
    region = rng.choice(_REGIONS)
    example = phonenumbers.example_number(region)
    assert example is not None
    national = str(example.national_number)
    while True:  # the last digits are free in most plans: keep what the plan calls valid
        digits = national[:-4] + f"{rng.randint(0, 9999):04d}"
        number = phonenumbers.PhoneNumber(country_code=example.country_code, national_number=int(digits))
        if phonenumbers.is_valid_number(number):
            break
    is_domestic = region == "US" and rng.random() < 0.5
    form = phonenumbers.PhoneNumberFormat
    return phonenumbers.format_number(number, form.NATIONAL if is_domestic else form.INTERNATIONAL)


def _ip(rng: random.Random, fake: Any) -> str:
    return str(fake.ipv4_public())


def _card(rng: random.Random, fake: Any) -> str:
    digits = str(fake.credit_card_number(card_type=rng.choice(("visa16", "mastercard"))))
    joint = rng.choice((" ", "-", ""))
    return joint.join(digits[i : i + 4] for i in range(0, 16, 4))


def _iban(rng: random.Random, fake: Any) -> str:
    iban = str(fake.iban())
    return " ".join(iban[i : i + 4] for i in range(0, len(iban), 4)) if rng.random() < 0.5 else iban


_MAKERS: dict[str, Callable[[random.Random, Any], str]] = {
    EMAIL: _email,
    PHONE: _phone,
    IP: _ip,
    CARD: _card,
    IBAN: _iban,
}
