"""Which documents are drawn, and which are held out: by a hash of their ids, so that no other document decides."""

import hashlib


def hash_fraction(purpose: str, doc_id: str) -> float:
    """A number in [0, 1) that depends on the document alone, and is independent between purposes."""
    digest = hashlib.blake2b(f"{purpose}:{doc_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)
