"""64-bit keys of URLs and document ids, whole columns at a time, for looking pages up in an index.

A key only says where to look: what is found there is compared as text. The key of a URL is that of all its spellings:
scheme, `www.`, user information, default port, fragment, a slash or `index.html` at the end, and case make no
difference to it. The key of a doc_id is its first eight characters, so that the beginning of one is a range of keys.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dedup.xxh64 import xxh64

Keys = npt.NDArray[np.uint64]
PREFIX_BYTES = 8
# RE2, which takes time linear in the text whatever a page calls itself.
_SPELLING = (
    (r"^[a-z][a-z0-9+.-]*://", ""),
    (r"^[^/?#@]*@", ""),
    (r"^www\.", ""),
    (r"#.*$", ""),
    (r"^([^/?]*):(?:80|443)(/|\?|$)", r"\1\2"),
    (r"/(?:index|default)\.(?:html?|php|aspx?)$", ""),
    (r"/+$", ""),
    (r"/\?", "?"),
)


def spellings_as_one(urls: Any) -> Any:
    """A string array of URLs, each without what two addresses of one page may differ in."""
    found: Any = pc.utf8_lower(pc.utf8_trim_whitespace(urls.cast(pa.large_string())))
    for pattern, replacement in _SPELLING:
        found = pc.replace_substring_regex(found, pattern, replacement)
    return found


def hosts_in(spelled: Any) -> Any:
    """The host, with its port, of each text from `spellings_as_one`; the empty text where there is none."""
    return pc.replace_substring_regex(spelled, r"[/?].*$", "")


def hashed(texts: Any) -> Keys:
    """XXH64 of each text of a string array without nulls."""
    data, offsets = _buffers(texts)
    return xxh64(data, offsets[:-1], offsets[1:])


def id_keys(ids: Any) -> Keys:
    """The first eight bytes of each doc_id as one big-endian number, zeros where it is shorter."""
    data, offsets = _buffers(ids)
    octets = np.frombuffer(data + bytes(PREFIX_BYTES), np.uint8)
    at = offsets[:-1, None] + np.arange(PREFIX_BYTES)
    taken = np.where(at < offsets[1:, None], octets[np.minimum(at, len(octets) - 1)], 0).astype(np.uint8)
    return np.ascontiguousarray(taken).view(">u8").reshape(-1).astype(np.uint64)


def id_range(prefix: str) -> tuple[int, int]:
    """The least and the greatest key that a doc_id beginning with `prefix` can have."""
    head = prefix.encode()[:PREFIX_BYTES]
    return (
        int.from_bytes(head.ljust(PREFIX_BYTES, b"\0"), "big"),
        int.from_bytes(head.ljust(PREFIX_BYTES, b"\xff"), "big"),
    )


def _buffers(texts: Any) -> tuple[bytes, npt.NDArray[np.int64]]:
    """The bytes of a string array, and where each text begins and the last one ends in them."""
    values: list[bytes] = texts.cast(pa.large_binary()).to_pylist()
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    return b"".join(values), np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
