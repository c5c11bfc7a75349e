"""Privacy: placeholders, pseudonyms and fakes: the same for the same value, inert, nobody's, and secret."""

import ipaddress
import logging
import random
import re
from dataclasses import replace as with_changes

import pyarrow as pa
import pytest
from hypothesis import example, given, settings, strategies

from gristmill.core.errors import SettingsError
from gristmill.core.settings import to_plain
from pipelines.privacy import redaction
from pipelines.privacy.anonymise import Mode, anonymised, operators, settled, stand_in, without_stand_ins
from pipelines.privacy.fakes import fake
from pipelines.privacy.names import beside, cuts
from pipelines.privacy.pseudonyms import Key, is_pseudonym, key_from_environment, normalised
from pipelines.privacy.recognizers import engine
from pipelines.privacy.redaction import Settings
from pipelines.privacy.spans import Span

SECRET = "3f9a0c5b7d1e8a2f4c6b9d0e7a1f5c8b"
VARIABLE = "GRISTMILL_PSEUDONYM_SECRET"
ENGINE = engine(redaction.recognizer_settings(Settings()))
VALUES = {
    "EMAIL_ADDRESS": ["jane.doe@corp.org", "bob@corp.org"],
    "PHONE_NUMBER": ["+44 20 8366 1177", "(212) 736-5000", "+49 30 901820", "+33 1 42 34 56 78", "+972 3-569-1234"],
    "IP_ADDRESS": ["10.1.2.3", "2a00:1450:4001:81b::200e", "10.0.0.0/8"],
    "CREDIT_CARD": ["4556 1568 2160 9393", "4716952653167634", "378734493671000"],
    "IBAN_CODE": ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000"],
    "US_SSN": ["219-09-9999", "531 21 7351"],
    "CRYPTO": ["1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"],
    "MAC_ADDRESS": ["00:1A:2B:3C:4D:5E", "00-1A-2B-3C-4D-5F"],
    "PERSON": ["Angela Merkel"],
    "US_PASSPORT": ["123456789"],
}
PAIRS = [(entity, value) for entity, values in VALUES.items() for value in values]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)


@pytest.fixture
def key() -> Key:
    return key_from_environment(VARIABLE)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "is not set"),
        ("tooshort", "shorter than 32 characters"),
        ("abababab" * 8, "fewer than 8 different characters"),
    ],
)
@pytest.mark.parametrize("mode", ["pseudonym", "fake"])
def test_a_weak_secret_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, mode: Mode, secret: str, said: str
) -> None:
    monkeypatch.setenv(VARIABLE, secret)
    for ask in (lambda: redaction.facts(Settings(mode=mode)), lambda: stand_in(mode, VARIABLE)):
        with pytest.raises(SettingsError, match=said) as caught:
            ask()
        assert "\n" not in str(caught.value)
        assert VARIABLE in str(caught.value)
        assert not secret or secret not in str(caught.value)
    assert redaction.facts(Settings()) == {}


def test_another_secret_makes_other_stand_ins_and_is_known_by_its_check_value(
    monkeypatch: pytest.MonkeyPatch, key: Key
) -> None:
    chosen = Settings(mode="pseudonym")
    before = redaction.facts(chosen)
    assert before == {"check value of the secret": key.check_value} == redaction.facts(chosen)
    monkeypatch.setenv(VARIABLE, SECRET[::-1])
    other = key_from_environment(VARIABLE)
    assert redaction.facts(chosen) != before
    assert other.pseudonym("US_SSN", "219-09-9999") != key.pseudonym("US_SSN", "219-09-9999")
    monkeypatch.setenv("ANOTHER", SECRET)
    assert redaction.facts(with_changes(chosen, secret_variable="ANOTHER")) == before


def test_the_secret_is_in_nothing_that_is_written_or_shown(key: Key, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    chosen = Settings(mode="pseudonym")
    batch = pa.record_batch({"text": pa.array(["Ask bob@corp.org"], pa.large_string())})
    scored = redaction.score(batch, chosen)
    shown = f"{key!r}{chosen!r}{to_plain(chosen)}{redaction.facts(chosen)}{scored.to_pylist()}{caplog.text}"
    assert SECRET not in shown
    assert "bob@corp.org" not in shown


@pytest.mark.parametrize(("entity", "value"), PAIRS)
def test_a_pseudonym_is_inert_and_keeps_to_its_value(key: Key, entity: str, value: str) -> None:
    pseudonym = key.pseudonym(entity, value)
    assert re.fullmatch(rf"<{entity}_[a-z]{{16}}>", pseudonym)
    assert is_pseudonym(pseudonym)
    assert ENGINE.find([f"It is {pseudonym}, he says {pseudonym}{pseudonym}."]) == [[]]
    others = {key.pseudonym(other, text) for other, text in PAIRS if (other, text) != (entity, value)}
    assert pseudonym not in others


@pytest.mark.parametrize(
    ("entity", "one", "other"),
    [
        ("EMAIL_ADDRESS", "Jane.Doe@Corp.org", "jane.doe@corp.org"),
        ("PHONE_NUMBER", "+44 20 7946 0958", "0044 (20) 7946-0958"),
        ("PHONE_NUMBER", "+1 212-736-5000 ext. 12", "(212) 736 5000"),
        ("PHONE_NUMBER", "\N{FULLWIDTH PLUS SIGN}４４２０７９４６０９５８", "+442079460958"),
        ("IP_ADDRESS", "2001:DB8:0:0::1", "2001:db8::1"),
        ("CREDIT_CARD", "4111 1111-1111 1111", "4111111111111111"),
        ("IBAN_CODE", "gb82 west 1234 5698 7654 32", "GB82WEST12345698765432"),
        ("US_SSN", "219-09-9999", "219 09 9999"),
        ("MAC_ADDRESS", "00:1a:2b:3c:4d:5e", "00-1A-2B-3C-4D-5E"),
        ("DE_TAX_ID", "86 095 742 719", "86095742719"),
        ("API_KEY", "two  words", "two words"),
        ("PERSON", "ANGELA  Merkel", "Angela\nMerkel"),
    ],
)
def test_one_value_however_it_is_written(key: Key, entity: str, one: str, other: str) -> None:
    assert normalised(entity, one) == normalised(entity, other)
    assert key.pseudonym(entity, one) == key.pseudonym(entity, other)


def test_case_matters_where_it_says_something() -> None:
    assert normalised("CRYPTO", "1BvB") != normalised("CRYPTO", "1bvb")
    assert normalised("PHONE_NUMBER", "020 7946 0958") != normalised("PHONE_NUMBER", "+44 20 7946 0958")


@pytest.mark.parametrize(("entity", "value"), PAIRS)
def test_a_fake_is_nobodys_and_no_leftover(key: Key, entity: str, value: str) -> None:
    made = fake(key, entity, value)
    assert made == fake(key, entity, value)
    assert made != value
    assert ENGINE.find([without_stand_ins(f"It is {made}, not 7 {made} 8.", "fake")]) == [[]]


def test_fakes_are_of_the_ranges_that_are_kept_for_them(key: Key) -> None:
    assert fake(key, "EMAIL_ADDRESS", "a@b.org").endswith("@example.com")
    assert ipaddress.ip_address(fake(key, "IP_ADDRESS", "::1")) in ipaddress.ip_network("2001:db8::/32")
    assert fake(key, "IP_ADDRESS", "10.0.0.0/8").endswith("/8")
    assert re.fullmatch(r"\d{3}-555-01\d\d", fake(key, "PHONE_NUMBER", "(212) 736-5000"))
    assert re.fullmatch(r"\+1 \d{3}-555-01\d\d", fake(key, "PHONE_NUMBER", "+972 3-569-1234"))
    assert re.fullmatch(r"\+44 (20 7946 0|7700 900)\d{3}", fake(key, "PHONE_NUMBER", "+44 20 8366 1177"))
    assert re.fullmatch(r"\+33 6 39 98 0\d \d\d", fake(key, "PHONE_NUMBER", "0033 1 42 34 56 78"))
    assert re.fullmatch(r"9\d\d 1\d|9\d\d [1-4]\d \d{4}", fake(key, "US_SSN", "531 21 7351"))
    assert is_pseudonym(fake(key, "US_PASSPORT", "123456789"))


@pytest.mark.parametrize("value", ["4556 1568 2160 9393", "378282246310006", "30569309025900"])
def test_a_fake_card_has_the_length_and_luhns_check(key: Key, value: str) -> None:
    made = fake(key, "CREDIT_CARD", value)
    digits = [int(c) for c in made if c.isdigit()]
    assert len(digits) == sum(map(str.isdigit, value))
    assert sum(sum(divmod(d * 2, 10)) if i % 2 else d for i, d in enumerate(reversed(digits))) % 10 == 0
    assert (" " in made) == (" " in value)


def test_a_fake_account_and_wallet_have_valid_checks(key: Key) -> None:
    iban = fake(key, "IBAN_CODE", "DE89370400440532013000")
    assert int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1
    for number in range(20):
        text = f"Pay {fake(key, 'CRYPTO', str(number))} or {fake(key, 'IBAN_CODE', str(number))}."
        assert [span.entity for span in ENGINE.find([text])[0]] == ["CRYPTO", "IBAN_CODE"]


@pytest.mark.parametrize("mode", ["placeholder", "pseudonym", "fake"])
def test_the_order_of_documents_does_not_matter(mode: Mode) -> None:
    texts = [f"Number {i}: {value} and {VALUES['EMAIL_ADDRESS'][i % 2]}." for i, (_, value) in enumerate(PAIRS)]

    def redacted(order: list[str]) -> dict[str, str]:
        batch = pa.record_batch({"text": pa.array(order, pa.large_string())})
        return dict(zip(order, redaction.score(batch, Settings(mode=mode)).column("text").to_pylist(), strict=True))

    expected = redacted(texts)
    shuffled = random.Random(3).sample(texts, len(texts))
    assert redacted(shuffled) == expected == {text: redacted([text])[text] for text in texts}


@pytest.mark.parametrize("mode", ["placeholder", "pseudonym", "fake"])
def test_as_presidios_anonymizer(mode: Mode) -> None:
    from presidio_analyzer import RecognizerResult
    from presidio_anonymizer import AnonymizerEngine

    text = "\n".join(f"{entity}, that is {value}; see?" for entity, value in PAIRS)
    spans = ENGINE.find([text])[0]
    assert len({span.entity for span in spans}) >= 8
    put_in = stand_in(mode, VARIABLE)
    results = [RecognizerResult(s.entity, s.start, s.end, s.score) for s in spans]
    theirs = AnonymizerEngine().anonymize(text, results, operators(put_in, ENGINE.entities))  # pyright: ignore
    assert anonymised(text, spans, put_in) == theirs.text


def test_what_a_finding_hid_is_found_in_the_second_round() -> None:
    def find(texts: "list[str] | tuple[str, ...]") -> list[list[Span]]:
        """Only the first run of As of each text."""
        return [[Span(*m.span(), "RUN", 1.0)] if (m := re.search("A+", text)) else [] for text in texts]

    text = "x AA y AAA\nA A A A A A A A\nz"
    assert [(s.start, s.end) for s in settled([text], find)[0]] == [(2, 4), (7, 10)]  # pyright: ignore
    assert settled(["", "b"], find) == [[], []]  # pyright: ignore


PIECES = strategies.sampled_from(
    (
        *("jane@corp.org", "@", ".", "-", " ", "\n", "212-736-5000", "+44 20 8366 1177", "10.1.2.3", "::1", "x", "é"),
        *("4556156821609393", "GB82 WEST 1234 5698 7654 32", "00:1A:2B:3C:4D:5E", "219-09-9999", "9", "/"),
        *("<", "ext. 5"),
    )
)


@example(["jane@corp.org", "GB82 WEST 1234 5698 7654 32"], "fake")
@settings(max_examples=60, deadline=None)
@given(strategies.lists(PIECES, max_size=12), strategies.sampled_from(["placeholder", "pseudonym", "fake"]))
def test_nothing_is_found_in_what_was_cleaned(pieces: list[str], mode: Mode) -> None:
    batch = pa.record_batch({"text": pa.array(["".join(pieces)], pa.large_string())})
    chosen = Settings(mode=mode, secret_variable="HYPOTHESIS")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPOTHESIS", SECRET)
        cleaned = redaction.score(batch, chosen).column("text").to_pylist()[0]
    assert ENGINE.find([without_stand_ins(cleaned, mode)]) == [[]]


def test_a_pattern_wins_over_a_name_and_leaves_its_rest() -> None:
    text = "John Smith john@corp.org, 12 Rue Paris"
    email, phone = Span(11, 24, "EMAIL_ADDRESS", 1.0), Span(26, 28, "PHONE_NUMBER", 0.4)
    names = [Span(0, 24, "PERSON", 0.85), Span(26, 38, "LOCATION", 0.85), Span(12, 14, "PERSON", 0.85)]
    assert beside(names, [email, phone], text) == [
        Span(0, 10, "PERSON", 0.85),
        email,
        phone,
        Span(29, 38, "LOCATION", 0.85),
    ]
    assert beside([Span(24, 29, "PERSON", 0.85)], [email, phone], text) == [email, phone]


@given(strategies.text("ab. \n", max_size=100), strategies.integers(0, 4), strategies.integers(0, 12_000))
@settings(max_examples=40, deadline=None)
def test_cuts_cover_the_text(text: str, times: int, tail: int) -> None:
    whole = text * times * 40 + "x" * tail
    pieces = [whole[first:last] for first, last in cuts(whole)]
    assert "".join(pieces) == whole
    assert all(0 < len(piece) <= 5_000 for piece in pieces)
