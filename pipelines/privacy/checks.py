"""Checksums that a finding of an own recognizer must pass."""

from collections.abc import Callable
from hashlib import sha256

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_CHECKSUM_BYTES = 4
_ADDRESS_BYTES = 25  # a version, the hash of a key and a checksum


def luhn(text: str) -> bool:
    """Payment cards (ISO/IEC 7812-1, annex B); what is no digit is left out."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0


def base58(text: str) -> bool:
    """Base58Check, as in addresses of Bitcoin and its kin: the last four bytes are those of a double SHA-256."""
    number = 0
    for character in text:
        number = number * 58 + _BASE58.index(character)
    try:
        raw = number.to_bytes(_ADDRESS_BYTES, "big")
    except OverflowError:
        return False
    return sha256(sha256(raw[:-_CHECKSUM_BYTES]).digest()).digest()[:_CHECKSUM_BYTES] == raw[-_CHECKSUM_BYTES:]


BY_NAME: dict[str, Callable[[str], bool]] = {"luhn": luhn, "base58": base58}
