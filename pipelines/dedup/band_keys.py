"""From signatures to the keys that documents meet under: one for the text's hash, one for each band.

Keys have eight bytes: among 10^10 of them about three pairs are equal by chance, less than MinHash itself errs by,
and what is called an exact duplicate is decided by the whole content hash later.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
# Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014: SplitMix64's increment and mixer.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True)
class Keys:
    """Entries of buckets, one column each, equally long."""

    key: Int64s
    node: Int64s
    text: Int64s  # says which texts are equal: the head of the content hash

    def __len__(self) -> int:
        return len(self.key)

    def take(self, where: Any) -> "Keys":
        """The entries at `where`, an index array, a mask or a slice."""
        return Keys(self.key[where], self.node[where], self.text[where])

    def without_texts(self) -> "Keys":
        """The same entries, their texts no longer told apart."""
        return Keys(self.key, self.node, np.zeros_like(self.text))

    def sorted(self) -> "Keys":
        """By key, then text, then node."""
        return self.take(np.lexsort((self.node, self.text, self.key)))


def nothing() -> Keys:
    """No entries."""
    return Keys(*(np.empty(0, np.int64) for _ in range(3)))


def concatenate(blocks: list[Keys]) -> Keys:
    """All entries of `blocks`, in order."""
    if not blocks:
        return nothing()
    return Keys(*(np.concatenate([getattr(block, name) for block in blocks]) for name in ("key", "node", "text")))


def document_keys(
    node: Int64s, content_hashes: Any, signatures: Any, bands: int, signature_bytes: int | None = None
) -> Keys:
    """The keys of documents, sorted; documents with equal text and signature are banded once, by the least of them.

    Args:
        node: of each document, ascending.
        content_hashes: binary array, 16 bytes each; null for a document without text.
        signatures: binary array, packed MinHash values; null for a document without shingles.
        bands: into how many runs of equal width each is cut.
        signature_bytes: how many of each signature are cut; None: all.
    """
    text = text_ids(node, content_hashes)
    has_hash = np.asarray(content_hashes.is_valid())
    exact = Keys(_exact_key(text), node, text).take(has_hash)
    rows = np.flatnonzero(np.asarray(signatures.is_valid()))
    if not len(rows):
        return exact.sorted()
    keys = band_keys(signatures, bands, signature_bytes)
    whole = _mix(text[rows].view(np.uint64))
    for band in range(bands):
        whole = _mix(whole ^ keys[:, band])
    _, first = np.unique(whole, return_index=True)
    leaders = rows[first]
    repeated = (np.repeat(column[leaders], bands) for column in (node, text))
    return concatenate([exact, Keys(keys[first].reshape(-1).view(np.int64), *repeated)]).sorted()


def is_exact(entries: Keys) -> npt.NDArray[np.bool_]:
    """Which entries are those of the texts themselves, not of a band."""
    return entries.key == _exact_key(entries.text)


def band_keys(signatures: Any, bands: int, signature_bytes: int | None = None) -> UInt64s:
    """The key of every band of every signature that is not null: shape (signatures, bands).

    Equal values in different bands have different keys.
    """
    packed = [signature[:signature_bytes] for signature in signatures.drop_null().to_pylist()]
    if not packed:
        return np.empty((0, bands), np.uint64)
    width = len(packed[0]) // bands
    word = "<u8" if width % 8 == 0 else "<u4"
    values = np.frombuffer(b"".join(packed), word).reshape(len(packed), bands, -1)
    numbers = np.arange(1, bands + 1, dtype=np.uint64)
    keys = np.broadcast_to(_mix(numbers * _GAMMA), values.shape[:2])
    for column in range(values.shape[2]):
        keys = _mix(keys ^ values[:, :, column].astype(np.uint64))
    return keys


def text_ids(node: Int64s, content_hashes: Any) -> Int64s:
    """The first eight bytes of each content hash; a document without one is like no other."""
    own = _mix(node.view(np.uint64) ^ _GAMMA)
    is_valid = np.asarray(content_hashes.is_valid())
    heads = b"".join(value[:8] for value in content_hashes.drop_null().to_pylist())
    own[is_valid] = np.frombuffer(heads, "<u8")
    return own.view(np.int64)


def _exact_key(text: Int64s) -> Int64s:
    return _mix(text.view(np.uint64) ^ _GAMMA).view(np.int64)


def _mix(values: UInt64s) -> UInt64s:
    mixed = values + _GAMMA
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[0]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[1]
    return mixed ^ (mixed >> np.uint64(31))
