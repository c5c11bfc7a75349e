"""MinHash schemes by name: how long shingles are, how many values a signature has and how they are cut into bands.

Two documents of Jaccard similarity s have a band in common with probability 1 - (1 - s^rows)^bands (Broder 1997; LSH
after Indyk and Motwani 1998); half of the pairs are found at about (1 / bands)^(1 / rows). How the texts are
normalised and hashed is each scheme's own: `pipelines.dedup.shingles`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

SchemeName = Literal["gristmill", "datatrove", "fineweb", "datasketch", "datasketch_legacy", "refinedweb", "slimpajama"]
DEFAULT: SchemeName = "gristmill"
OVERRIDES = ("shingle_words", "bands", "rows", "seed")  # settings that replace a scheme's own value


@dataclass(frozen=True)
class Parameters:
    """What signatures were made with: equal parameters, and only these, make them comparable."""

    scheme: SchemeName
    shingle_words: int  # units of a shingle: words, or what else the scheme cuts texts into
    bands: int
    rows: int  # values in a band
    seed: int  # of the permutations
    value_bytes: int  # bytes of a MinHash value

    @property
    def permutations(self) -> int:
        """Values in a signature."""
        return self.bands * self.rows

    @property
    def signature_bytes(self) -> int:
        """Bytes of a packed signature."""
        return self.permutations * self.value_bytes

    @property
    def threshold(self) -> float:
        """The similarity at which about half of all pairs share a band."""
        return (1 / self.bands) ** (1 / self.rows)

    def probability(self, similarity: float) -> float:
        """The chance that two documents of this Jaccard similarity share a band."""
        return 1 - (1 - similarity**self.rows) ** self.bands


SCHEMES: Mapping[SchemeName, Parameters] = {
    # FineWeb's shingles and bands (Penedo et al. 2024, arXiv:2406.17557, 3.4), 32-bit values.
    "gristmill": Parameters("gristmill", 5, 14, 8, 1, 4),
    # MinhashConfig's defaults of datatrove 0.10.1: 5 words, 14 buckets of 8, 64-bit xxHash.
    "datatrove": Parameters("datatrove", 5, 14, 8, 1, 8),
    # The same with SHA-1, as in datatrove's examples/fineweb.py, which made the published data set.
    "fineweb": Parameters("fineweb", 5, 14, 8, 1, 8),
    # datasketch 2.x, scheme "affine32" (its default); shingles and bands as `gristmill`, which are the caller's there.
    "datasketch": Parameters("datasketch", 5, 14, 8, 1, 4),
    # datasketch 1.x, which 2.x calls scheme "legacy".
    "datasketch_legacy": Parameters("datasketch_legacy", 5, 14, 8, 1, 4),
    # 9,000 hashes of 5-grams in 450 buckets of 20 (Penedo et al. 2023, arXiv:2306.01116, G.3.1).
    "refinedweb": Parameters("refinedweb", 5, 450, 20, 1, 4),
    # 13-grams of characters, 128 permutations of datasketch 1.x, 9 bands of 13 of them: what its MinHashLSH takes for
    # a threshold of 0.8 (Soboleva et al. 2023, and the code released with it: Cerebras modelzoo, slimpajama/dedup).
    "slimpajama": Parameters("slimpajama", 13, 9, 13, 1, 4),
}


def parameters(settings: Any) -> Parameters:
    """The values that hold for `settings` of `minhash_signatures`: its own, where None the scheme's.

    Args:
        settings: `pipelines.dedup.signatures.Settings`, or a mapping of its fields, such as a report's `settings`.
            A report from before there were schemes has none; its values are all there.
    """
    given = cast(Mapping[str, Any], settings if isinstance(settings, Mapping) else vars(settings))
    own = SCHEMES[given.get("scheme") or DEFAULT]
    values = {name: getattr(own, name) if given.get(name) is None else int(given[name]) for name in OVERRIDES}
    return Parameters(scheme=own.scheme, value_bytes=own.value_bytes, **values)
