"""What counts as the same text: the words that signatures and content hashes are made of.

Lower case, Unicode NFC, everything but letters, marks and digits turned into one space. Digits stay:
two price lists that differ only in their numbers are different documents. In scripts that write no
spaces (Chinese, Japanese kana, Thai, Lao, Khmer, Burmese) each character counts as a word, or a whole
clause would be one.
"""

import hashlib
import unicodedata

import regex

HASH_BYTES = 16
_NOT_WORD = regex.compile(r"[^\p{L}\p{M}\p{N}]+")
_UNSPACED = regex.compile(r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*)")
_ASCII_WORDS = {code: " " for code in range(128) if not chr(code).isalnum()}


def normalise(text: str) -> str:
    """The words of `text`, lower-case, joined by single spaces; empty where it has none."""
    lowered = text.lower()
    if lowered.isascii():
        return " ".join(lowered.translate(_ASCII_WORDS).split())
    spaced = _NOT_WORD.sub(" ", unicodedata.normalize("NFC", lowered))
    if _UNSPACED.search(spaced):
        spaced = _UNSPACED.sub(r" \1 ", spaced)
    return " ".join(spaced.split())


def content_hash(text: str, normalised: str) -> bytes:
    """BLAKE2b-128 of the normalised text; of the text itself, white space collapsed, where it has no words.

    Without the exception every page of nothing but symbols would be a copy of every other.
    """
    data = normalised or "\0" + " ".join(text.split())
    return hashlib.blake2b(data.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()
