"""Keyed stand-ins for personal data: the same value gets the same one in every document, run and corpus.

A stand-in is a hash of the value under a secret (keyed BLAKE2b, RFC 7693), never of its place, so that the order of
documents cannot matter. Without the secret nobody can try out which value a stand-in hides: that needs a key that
can't be guessed, which is why short secrets are refused and the key is derived by scrypt (RFC 7914).
"""

import hashlib
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from gristmill.core.errors import SettingsError

MIN_SECRET_LENGTH = 32  # characters: 128 bits where they are hexadecimal digits
MIN_SECRET_VARIETY = 8  # different characters; 32 random hexadecimal digits have fewer once in 28 million
PSEUDONYM_LETTERS = 16  # 64 bits: two of a million different values collide once in 37 million corpora
_LETTERS = "bcdfghjklmnpqrst"  # 16, no vowels: no digits for a recognizer of numbers to find, no words
_TO_LETTERS = str.maketrans("0123456789abcdef", _LETTERS)
_PSEUDONYM = re.compile(rf"<[A-Z][A-Z0-9_]*_[{_LETTERS}]{{{PSEUDONYM_LETTERS}}}>")
# scrypt's cost: 32 MiB and about 0.1 s, once per process; to each guess of a secret the same.
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 1 << 26}
_SALT = b"gristmill: stand-ins for personal data, 1"
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_OF_A_COUNTRY = re.compile(r"[A-Z]{2}_")
_NANP_DIGITS = 10  # of a number of the United States or Canada without its 1
_EXTENSION = re.compile(r"(?:\s*[,;]?\s*(?:e?xt\.?|x|#|;ext=)\s*\d+)$", re.IGNORECASE)


@dataclass(frozen=True)
class Key:
    """What stand-ins are made with; it is never shown."""

    _secret: bytes = field(repr=False)
    check_value: str  # tells two secrets apart and says no more of either; goes into fingerprints

    def digest(self, entity: str, value: str) -> bytes:
        """16 bytes that stand for `value`, however it is written."""
        message = f"{entity}\0{normalised(entity, value)}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(message, digest_size=16, key=self._secret).digest()

    def pseudonym(self, entity: str, value: str) -> str:
        """Such as `<EMAIL_ADDRESS_kqbtrmhgcdplnsfj>`."""
        return f"<{entity}_{self.digest(entity, value).hex()[:PSEUDONYM_LETTERS].translate(_TO_LETTERS)}>"


def key_from_environment(variable: str) -> Key:
    """The key made of the secret in the environment variable of that name.

    Raises:
        SettingsError: it is not set, or too short or too uniform to keep anything secret. It is never quoted.
    """
    secret = os.environ.get(variable, "")
    if not secret:
        problem = "is not set"
    elif len(secret) < MIN_SECRET_LENGTH:
        problem = f"is shorter than {MIN_SECRET_LENGTH} characters"
    elif len(set(secret)) < MIN_SECRET_VARIETY:
        problem = f"has fewer than {MIN_SECRET_VARIETY} different characters"
    else:
        return _derived(secret)
    raise SettingsError(
        f"environment variable {variable}, the secret that clean_documents makes its stand-ins with, {problem}: "
        "set it to a random text such as `openssl rand -hex 32` prints, and keep it, or set mode to placeholder"
    )


@lru_cache(maxsize=2)
def _derived(secret: str) -> Key:
    derived = hashlib.scrypt(secret.encode("utf-8", "surrogateescape"), salt=_SALT, dklen=40, **_SCRYPT)
    return Key(derived[:32], derived[32:].hex())


def is_pseudonym(text: str) -> bool:
    """Whether the whole of `text` is a pseudonym."""
    return _PSEUDONYM.fullmatch(text) is not None


def without_pseudonyms(text: str) -> str:
    """`text` with a blank for each pseudonym."""
    return _PSEUDONYM.sub(" ", text)


def normalised(entity: str, value: str) -> str:
    """`value` without what one person writes so and another otherwise: separators, and case where it says nothing.

    So the numbers of a country's authorities, which Presidio names by its code (`DE_TAX_ID`). What has no rule keeps
    everything but the amount of white space: a key or a wallet's address heeds case.
    """
    default = _alphanumeric if _OF_A_COUNTRY.match(entity) else _single_spaced
    return _NORMALISERS.get(entity, default)(value)


def _single_spaced(value: str) -> str:
    return " ".join(value.split())


def _folded(value: str) -> str:
    return " ".join(value.split()).casefold()


def _alphanumeric(value: str) -> str:
    return _NOT_ALPHANUMERIC.sub("", value).upper()


def digits_of(value: str) -> str:
    """The decimal digits of `value`, of any script, as 0 to 9."""
    return "".join(str(int(c)) for c in value if c.isdecimal())


def _phone(value: str) -> str:
    """The digits, behind a plus where the number is international; extensions and the NANP's leading 1 go.

    A national number is not turned into an international one: which country it belongs to is a guess.
    """
    number = _EXTENSION.sub("", value)
    digits = digits_of(number)
    is_international = number.lstrip("( [").startswith(("+", "\N{FULLWIDTH PLUS SIGN}"))
    if digits.startswith("00") and not is_international:
        is_international, digits = True, digits[2:]
    if digits.startswith("1") and len(digits) == _NANP_DIGITS + 1:
        return digits[1:]
    return f"+{digits}" if is_international else digits


def _ip_address(value: str) -> str:
    address, slash, prefix = value.strip("[]").partition("/")
    try:
        return f"{ipaddress.ip_address(address).compressed}{slash}{prefix}"
    except ValueError:
        return value.casefold()


_NORMALISERS: Mapping[str, Callable[[str], str]] = {
    "EMAIL_ADDRESS": _folded,
    "PHONE_NUMBER": _phone,
    "IP_ADDRESS": _ip_address,
    "CREDIT_CARD": digits_of,
    "IBAN_CODE": _alphanumeric,
    "US_SSN": digits_of,
    "MAC_ADDRESS": _alphanumeric,
    "PERSON": _folded,
    "LOCATION": _folded,
    "ORGANIZATION": _folded,
}
