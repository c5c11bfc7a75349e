"""Files of recognizers: what they turn on and off, and what is wrong with them in one line."""

from pathlib import Path

import pytest

from gristmill.core.errors import SettingsError
from pipelines.privacy.checks import base58, luhn
from pipelines.privacy.lookalikes import is_lookalike_phone, is_section_number, speaks_of_addresses
from pipelines.privacy.recognizer_file import read_recognizers
from pipelines.privacy.recognizer_settings import RecognizerSettings
from pipelines.privacy.recognizers import Engine

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIGlRS0hT1ZBzJ9l\nAwEHoUQDQgAE\n-----END EC PRIVATE KEY-----"
EXAMPLES = {
    "API_KEY": [
        *("AKIAIOSFODNN7EXAMPLE", "ghp_0123456789abcdefghijABCDEFGHIJ012345", "AIza" + "Sy0aB-_" * 5),
        *("xoxb-123456789012-abcdefABCDEF", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "hf_" + "aB3" * 11 + "x"),
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    ],
    "PRIVATE_KEY": [KEY, KEY.rsplit("\n", 3)[0] + "\n" + "A" * 64 + "\n" + "B" * 64],
    "URL_CREDENTIALS": ["https://joe:hunter2@example.org", "postgres://app:s3cr%40t@db.example.org:5432"],
    "CRYPTO": [
        *("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
        *("0x52908400098527886E0F7030069857D2E4169EE7", "LM2WMpR1Rp6j3Sa59cMXMs1SPzj9eXpGc1"),
    ],
    "CREDIT_CARD": ["2223003122003222", "4111 1111 1111 1111"],
    "US_ITIN": ["912-70-1234"],
    "UK_NINO": ["AB 12 34 56 C"],
    "IN_PAN": ["ABCPE1234F"],
    "PHONE_NUMBER": [
        *("001-420-335-7509x38548", "(96) 627-277", "+1-944-435-4352x04732", "(212) 555-1234", "21 212 133 2727"),
        *("07700 900123", "6621234567", "986.291.2294x751"),
    ],
}


@pytest.fixture(scope="module")
def default() -> Engine:
    return Engine(RecognizerSettings())


@pytest.mark.parametrize("entity", EXAMPLES)
def test_what_the_default_file_finds(default: Engine, entity: str) -> None:
    for value in EXAMPLES[entity]:
        text = f"Please call me at {value}, if that is what it is."
        assert [(s.entity, text[s.start : s.end]) for s in default.find([text])[0]] == [(entity, value)]


@pytest.mark.parametrize(
    ("before", "number"),
    [
        *(("", "0.386478761838145"), ("", "2.147.483.648"), ("", "(192.168.122.0/24"), ("", "2026-116307")),
        *(("", "0  58772  3052"), ("", "11 - 2012-03-20"), ("", "0-521-54228-6"), ("ISBN ", "0-11-000322-5")),
        *(("", "60000-64999"), ("Boston, MA ", "02110-1301"), ("11:22:", "18 2007 -0500"), ("", "1642–1772")),
        *(("from 0 to ", "2147483647"), ("", "155151/17228"), ("", "192-168-0-131"), ("", "９８７６５４３２１０")),
    ],
)
def test_what_only_looks_like_a_phone_number(before: str, number: str) -> None:
    assert is_lookalike_phone(number, before, "")


@pytest.mark.parametrize(
    ("before", "number"),
    [
        *(("", "+44 20 7946 0958"), ("", "(888) 847-9869"), ("", "030/901820"), ("", "548.326.4584")),
        *(("", "041-412-293"), ("Tel. ", "2125551234"), ("", "03-584-7231"), ("", "98765 43210")),
    ],
)
def test_what_is_a_phone_number(before: str, number: str) -> None:
    assert not is_lookalike_phone(number, before, "")


def test_section_numbers() -> None:
    assert is_section_number("6.3.4.2", 32)
    assert not is_section_number("8.8.4.200", 32)
    assert not is_section_number("6.3.4.2", 0)
    assert not is_section_number("fe80::1", 32)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("the server at ", ".", True),
        ("ping ", "", True),
        ("http://", "/", True),
        ("from ", ":8080 on", True),
        ("route ", "/24 via", True),
        ("release ", ": 12", False),
        ("<IP_ADDRESS> and ", "", False),
        ("see section ", " The", False),
    ],
    ids=["word", "command", "scheme", "port", "prefix", "release", "placeholder", "section"],
)
def test_what_says_that_a_small_quad_is_an_address(before: str, after: str, expected: bool) -> None:
    assert speaks_of_addresses(before, after) is expected


def test_checksums() -> None:
    assert luhn("2223 0031 2200 3222")
    assert not luhn("2223 0031 2200 3223")
    assert base58("LM2WMpR1Rp6j3Sa59cMXMs1SPzj9eXpGc1")
    assert not base58("LM2WMpR1Rp6j3Sa59cMXMs1SPzj9eXpGc2")
    assert not base58("z" * 40)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: default\ndisable: [IpRecognizer]\nenable: [NhsRecognizer]\nallow: [help@example.org]\n"
        "presidio:\n  - recognizer: UkPostcodeRecognizer\n    arguments:\n"
        "      patterns: [{name: strong, regex: '[A-Z]{2}[0-9] [0-9][A-Z]{2}', score: 0.5}]\n"
        "own:\n  - name: Staff\n    entity: STAFF\n    deny: [ST-1]\n"
        "    patterns: [{name: p, regex: 'ST-[0-9]{4}', score: 0.9}]\n"
    )
    engine = Engine(RecognizerSettings(str(path)))
    text = "help@example.org and joe@example.org at 10.1.2.99, EC1 2AB? SW1 2AB, ST-1234, ST-1, 943 476 5919"
    found = {(s.entity, text[s.start : s.end]) for s in engine.find([text])[0]}
    assert found == {
        *(("EMAIL_ADDRESS", "joe@example.org"), ("STAFF", "ST-1234"), ("STAFF", "ST-1")),
        *(("UK_NHS", "943 476 5919"), ("UK_POSTCODE", "EC1 2AB"), ("UK_POSTCODE", "SW1 2AB")),
    }
    assert "IP_ADDRESS" not in engine.entities
    path.write_text("presidio: [{recognizer: EmailRecognizer}]\n")
    assert Engine(RecognizerSettings(str(path))).entities == ("EMAIL_ADDRESS",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("own: [", "is not valid YAML"),
        ("- a", "give a mapping of extends"),
        ("onw: []", "unknown key 'onw'; known are extends"),
        ("extends: mine", "it may only say default"),
        ("disable: [Nothing]", "disable names 'Nothing'"),
        ("extends: default\nenable: [Nothing]", "enable names 'Nothing'"),
        ("extends: default\npresidio: [{recognizer: IpRecognizer}]", "'IpRecognizer' is there twice"),
        ("presidio: [{name: a}]", "presidio, entry 1: unknown key 'name'"),
        ("presidio: [{arguments: {}}]", "recognizer is missing"),
        ("presidio: [{recognizer: SpacyRecognizer}]", "no recognizer 'SpacyRecognizer' that works by patterns"),
        ("presidio: [{recognizer: IpRecognizer, arguments: {context: [a]}}]", "IpRecognizer takes no 'context'"),
        ("own: [{name: a, entity: lower}]", "entity is 'lower'"),
        ("own: [{name: a, entity: A}]", "neither patterns nor deny"),
        ("own: [{name: a, entity: A, check: crc, deny: [x]}]", "check is 'crc'"),
        ("own: [{name: a, entity: A, deny: [1]}]", "deny has 1; give texts"),
        ("own: [{name: a, entity: A, patterns: [{name: b, regex: '(', score: 1}]}]", "is no regular expression"),
        ("own: [{name: a, entity: A, patterns: [{name: b, regex: 'x*', score: 1}]}]", "matches the empty text"),
        ("own: [{name: a, entity: A, patterns: [{name: b, regex: x, score: 2}]}]", "score is 2"),
        ("own: [{name: a, entity: A, patterns: [{name: b, regex: x, score: true}]}]", "score is True; give a number"),
        ("own: [{name: a, entity: A, ignore_case: 1, deny: [x]}]", "ignore_case is 1; give true or false"),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError) as raised:
        Engine(RecognizerSettings(str(path)))
    assert message in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_the_settings_name_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="entities has 'SHOE_SIZE', which no recognizer is for; known are API_KEY"):
        Engine(RecognizerSettings(entities=("SHOE_SIZE",)))
    with pytest.raises(SettingsError, match="countries has 'xx'"):
        Engine(RecognizerSettings(countries=("xx",)))
    with pytest.raises(SettingsError, match="give a readable YAML file"):
        read_recognizers(tmp_path / "none.yaml")
    assert Engine(RecognizerSettings(entities=("US_SSN", "IP_ADDRESS"))).entities == ("IP_ADDRESS", "US_SSN")
    assert "UK_NINO" not in Engine(RecognizerSettings(countries=("us",))).entities
    for wrong in (
        {"phone_regions": ("Germany",)},
        {"score_threshold": 4.0},
        {"min_ip_number": 300},
        {"phone_leniency": 7},
    ):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))} is "):
            RecognizerSettings(**wrong)  # pyright: ignore[reportArgumentType]
