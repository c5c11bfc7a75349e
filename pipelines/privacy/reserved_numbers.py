"""Numbers and addresses that look real and are nobody's, and how to tell them.

Each comes from a range that its authority keeps for examples, tests or drama, or that is never assigned.
"""

import hashlib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from re import Pattern

# RFC 2606, section 3.
EXAMPLE_DOMAIN = "example.com"
# RFC 5737 and RFC 3849.
_TEST_NETS = ("192.0.2", "198.51.100", "203.0.113")
# North American Numbering Plan: 555-0100 to 555-0199 are for fiction in every area.
_NANP_AREAS = ("202", "212", "303", "312", "404", "415", "503", "512", "602", "617", "702", "713", "808", "907")
# Numbers for drama: Ofcom (London and mobile), Bundesnetzagentur (Berlin), Arcep (mobile).
_DRAMA = {
    "44": ("+44 20 7946 0{:03d}", "+44 7700 900{:03d}"),
    "49": ("+49 30 23125 {:03d}",),
    "33": ("+33 6 39 98 0{0[0]} {0[1]}{0[2]}",),
}
# Numbers that payment processors publish for tests; no bank issues them.
_TEST_CARDS = {
    13: ("4222222222222",),
    14: ("30569309025904", "38520000023237"),
    15: ("378282246310005", "371449635398431", "378734493671000"),
    16: (
        "4111111111111111",
        "4012888888881881",
        "5555555555554444",
        "5105105105105100",
        "6011111111111117",
        "6011000990139424",
        "3530111333300000",
        "3566002020360505",
    ),
}
_CARD_GROUPS = {15: (4, 6, 5), 14: (4, 6, 4)}
_BANK = "ZZZZ"  # no bank has this identifier (ISO 9362), and no British sort code is 00-00-00
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ZEROS = 12  # bytes of a 20-byte public key hash; nobody can hold a key to such an address

_NO_DIGIT_BEFORE, _NO_DIGIT_AFTER = r"(?<![0-9])", r"(?![0-9])"  # a fake may touch a letter, as the value did

RESERVED: Mapping[str, Pattern[str]] = {
    "EMAIL_ADDRESS": re.compile(r"(?<![\w.+-])[\w.+-]++@example\.(?:com|org|net)", re.IGNORECASE),
    "PHONE_NUMBER": re.compile(
        rf"(?:\+1 )?{_NO_DIGIT_BEFORE}[2-9]\d\d-555-01\d\d{_NO_DIGIT_AFTER}"
        rf"|\+(?:44 20 7946 0\d{{3}}|44 7700 900\d{{3}}|49 30 23125 \d{{3}}|33 6 39 98 0\d \d\d){_NO_DIGIT_AFTER}"
    ),
    "IP_ADDRESS": re.compile(
        rf"{_NO_DIGIT_BEFORE}(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d{{1,3}}{_NO_DIGIT_AFTER}|2001:db8:[0-9a-f:]+",
        re.IGNORECASE,
    ),
    "CREDIT_CARD": re.compile(
        _NO_DIGIT_BEFORE
        + "(?:"
        + "|".join("[ -]?".join(n) for numbers in _TEST_CARDS.values() for n in numbers)
        + f"){_NO_DIGIT_AFTER}"
    ),
    "IBAN_CODE": re.compile(rf"GB\d\d[ -]?{_BANK}[ -]?0000[ -]?00(?:[ -]?\d){{8}}{_NO_DIGIT_AFTER}"),
    "US_SSN": re.compile(rf"{_NO_DIGIT_BEFORE}9\d\d[- .]?[1-4]\d[- .]?\d{{4}}{_NO_DIGIT_AFTER}"),
    "CRYPTO": re.compile(rf"1{{{_ZEROS + 1}}}[{_BASE58}]{{10,20}}"),
    "MAC_ADDRESS": re.compile(r"00[:-]00[:-]5E[:-]00[:-]53[:-][0-9A-F]{2}", re.IGNORECASE),
}
"""Entity to what a stand-in of ours looks like, and what means nobody wherever it comes from."""


def phone_number(number: int, value: str) -> str:
    """A number for fiction: of Britain, Germany or France where `value` begins with their code, else of the NANP."""
    digits = value.removeprefix("00") if value.startswith("00") else value.lstrip("(+ ")
    is_international = value.lstrip("( [").startswith(("+", "00"))
    if is_international:
        for code, formats in _DRAMA.items():
            if digits.startswith(code):
                shape = formats[number % len(formats)]
                last = number // len(formats) % 1000
                return shape.format(f"{last:03d}" if "0[0]" in shape else last)
    national = f"{_pick(_NANP_AREAS, number)}-555-01{number // len(_NANP_AREAS) % 100:02d}"
    return f"+1 {national}" if is_international else national


def ip_address(number: int, value: str) -> str:
    """Of the networks for documentation, of the same version; a prefix length stays."""
    _, slash, prefix = value.partition("/")
    if ":" in value:
        address = ipaddress.IPv6Address((0x20010DB8 << 96) + number % (1 << 64))
        return f"{address.compressed}{slash}{prefix}"
    return f"{_pick(_TEST_NETS, number)}.{1 + number // len(_TEST_NETS) % 254}{slash}{prefix}"


def credit_card(number: int, value: str) -> str:
    """A test number of the same length where there is one, with the same separators; Luhn's check holds."""
    size = sum(map(str.isdigit, value))
    digits = _pick(_TEST_CARDS.get(size, _TEST_CARDS[16]), number)
    separator = next((c for c in value if c in " -"), "")
    return separator.join(_grouped(digits, _CARD_GROUPS.get(len(digits), (4, 4, 4, 4)))) if separator else digits


def iban_code(number: int, value: str) -> str:
    """A British account at a bank that does not exist; the check digits hold (ISO 13616)."""
    account = f"{_BANK}000000{number % 10**8:08d}"
    as_number = int("".join(str(int(c, 36)) for c in f"{account}GB00"))
    whole = f"GB{98 - as_number % 97:02d}{account}"
    separator = next((c for c in value if c in " -"), "")
    return separator.join(_grouped(whole, (4,) * 6)) if separator else whole


def us_ssn(number: int, value: str) -> str:
    """Area 900 to 999 is never assigned, and groups 10 to 49 of it are not taxpayers' numbers either."""
    separator = next((c for c in value if c in " -."), "")
    parts = (f"9{number % 100:02d}", f"{10 + number // 100 % 40:02d}", f"{1 + number // 4000 % 9999:04d}")
    return separator.join(parts)


def crypto(number: int, value: str) -> str:
    """A Bitcoin address whose checksum holds and whose key nobody has: most of its hash is zeros."""
    payload = b"\0" * (1 + _ZEROS) + (number % (1 << 64)).to_bytes(8, "big")
    payload += hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    rest, letters = int.from_bytes(payload, "big"), ""
    while rest:
        rest, digit = divmod(rest, 58)
        letters = _BASE58[digit] + letters
    return "1" * (len(payload) - len(payload.lstrip(b"\0"))) + letters


def mac_address(number: int, value: str) -> str:
    """Of the range for documentation (RFC 7042, section 2.1.1), with the same separator."""
    separator = "-" if "-" in value else ":"
    return separator.join(("00", "00", "5E", "00", "53", f"{number % 256:02X}"))


def _pick(choices: Sequence[str], number: int) -> str:
    return choices[number % len(choices)]


def _grouped(text: str, sizes: Sequence[int]) -> list[str]:
    groups: list[str] = []
    for size in sizes:
        groups.append(text[:size])
        text = text[size:]
    return [group for group in (*groups, text) if group]
