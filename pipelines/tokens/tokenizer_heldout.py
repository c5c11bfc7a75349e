"""Documents that a tokenizer is measured on and never trained on."""

import heapq
from dataclasses import dataclass, field

from pipelines.tokens.document_hash import hash_fraction


@dataclass
class _Kept:
    """Documents of one language as a heap, the highest hash first: (-hash, doc_id, text, bytes)."""

    heap: list[tuple[float, str, str, int]] = field(default_factory=list[tuple[float, str, str, int]])
    bytes: int = 0


class HeldoutDocuments:
    """Keeps each language's documents with the lowest hashes, up to a number of bytes, in whatever order they come.

    The hash is the one by which token_shards holds documents out: with a fraction at least as large as there, the
    tokenizer has seen none of the text on which models are measured.

    Args:
        fraction: of the documents, kept out of training.
        language_bytes: of each language; the document that reaches it is the last.
    """

    def __init__(self, fraction: float, language_bytes: int) -> None:
        self._fraction, self._most = fraction, language_bytes
        self._languages: dict[str, _Kept] = {}

    def wants(self, doc_id: str) -> bool:
        """Whether the document is held out."""
        return hash_fraction("heldout", doc_id) < self._fraction

    def add(self, doc_id: str, language: str, text: str, size: int) -> None:
        """Keep a document, if there is room or its hash is low enough; `size` is its bytes."""
        if not size:
            return
        kept = self._languages.setdefault(language, _Kept())
        heapq.heappush(kept.heap, (-hash_fraction("heldout", doc_id), doc_id, text, size))
        kept.bytes += size
        while kept.bytes - kept.heap[0][3] >= self._most:
            kept.bytes -= heapq.heappop(kept.heap)[3]

    def texts(self) -> dict[str, list[str]]:
        """Language (empty where unknown) to its documents by rising hash."""
        return {
            language: [text for *_, text, _ in sorted(kept.heap, reverse=True)]
            for language, kept in sorted(self._languages.items())
        }
