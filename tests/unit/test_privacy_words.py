"""Numbers that a word beside them gives away: nothing in their form would."""

import pytest

from pipelines.privacy.recognizer_settings import RecognizerSettings
from pipelines.privacy.recognizers import engine


def found(text: str) -> list[tuple[str, str]]:
    (spans,) = engine(RecognizerSettings()).find([text])
    return [(span.entity, text[span.start : span.end]) for span in spans]


@pytest.mark.parametrize(
    ("entity", "text", "value"),
    [
        ("US_SSN", "Here's my SSN: 540160704", "540160704"),
        ("US_SSN", "His social security number is 129886193.", "129886193"),
        ("US_SSN", "The applicant (Jo, SSN 870 18 6193) called", "870 18 6193"),
        ("CREDIT_CARD", "My card 639032892189 is lost", "639032892189"),
        ("CREDIT_CARD", "cc: 213103883685955", "213103883685955"),
        ("CREDIT_CARD", "Please charge my credit card. Number is 4484646573766112328", "4484646573766112328"),
        ("US_DRIVER_LICENSE", "My driver's license number is 322302752", "322302752"),
        ("US_DRIVER_LICENSE", "DL# D61674676", "D61674676"),
        ("PHONE_NUMBER", "661 0565-Office, 052 988 99 51-Fax", "661 0565"),
        ("PHONE_NUMBER", "661 0565-Office,052 988 99 51-Fax", "052 988 99 51"),
        ("PHONE_NUMBER", "233.025.2288-Office", "233.025.2288"),
        ("PHONE_NUMBER", "Phone:\n739 582 784\n", "739 582 784"),
        ("PHONE_NUMBER", "please call me at 42-56-97-55", "42-56-97-55"),
        ("PHONE_NUMBER", "can you call 9572595300", "9572595300"),
        ("PHONE_NUMBER", "stop the messages to 07700338861", "07700338861"),
        ("PHONE_NUMBER", "Desk: 9761 1722", "9761 1722"),
        ("PHONE_NUMBER", "My cell is 0493 77 78 57", "0493 77 78 57"),
    ],
)
def test_a_word_speaks_for_a_number(entity: str, text: str, value: str) -> None:
    assert (entity, value) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "540160704",
        "Build 540160704 of the socialite",
        "SSN 900160704 and SSN 666160704 and SSN 540000704 are never assigned",
        "ssn.540160704.example",
        "My card 639032892188 fails Luhn's check",
        "Row 4484646573766112328 of the table",
        "Since 2019 a driver's license is needed, and 322302752 people have one",
        "ISBN 0-306-40615-2, call for papers",
        "office hours 10-12, 14-16",
        "The messages to 'encoding' require gettext 0.10.36 or later",
        "call 192.168.17.4",
    ],
)
def test_words_do_not_speak_for_other_numbers(text: str) -> None:
    assert [entity for entity, _ in found(text) if entity != "IP_ADDRESS"] == []
