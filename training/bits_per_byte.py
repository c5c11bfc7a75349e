"""Loss per byte of text rather than per token, by which models of different tokenizers compare.

bits per byte = nats / (ln 2 · bytes), over the tokens that the loss is summed over (Gao et al. 2020, The Pile,
section 3.1). An end of text costs nats and has no bytes, so it counts against the model, as it should.
"""

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from training.batch import IGNORED_LABEL

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BYTE_TOKEN_LENGTH = len("<0x0A>")  # SentencePiece's name of a byte that no piece has
LARGEST_EXPONENT = 700.0  # e to it is still a float


def bytes_of_tokens(tokenizer: "Tokenizer") -> npt.NDArray[np.int64]:
    """UTF-8 bytes that each token stands for, by its id; special tokens stand for none.

    In a byte-level vocabulary every character of a token is one byte; in one of SentencePiece's, `▁` is a space and
    `<0x0A>` a byte.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    counts = np.zeros(max(vocabulary.values(), default=-1) + 1, dtype=np.int64)
    is_byte_level = _is_byte_level(tokenizer)
    for token, number in vocabulary.items():
        counts[number] = len(token) if is_byte_level else _bytes_of_piece(token)
    for number, added in tokenizer.get_added_tokens_decoder().items():
        counts[number] = 0 if added.special else len(added.content.encode())
    return counts


def labelled_bytes(labels: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> int:
    """Bytes of the tokens that `training.model.loss_sum` adds up.

    Args:
        labels: (rows, length), IGNORED_LABEL where nothing is learnt; each row's first is foretold by nothing.
        counts: from `bytes_of_tokens`.
    """
    foretold = labels[:, 1:]
    return int(counts[foretold[foretold != IGNORED_LABEL]].sum())


def bits_per_byte(nats: float, bytes_: float) -> float | None:
    """None where there is no byte."""
    return nats / (math.log(2) * bytes_) if bytes_ else None


def perplexity(loss: float) -> float | None:
    """e to the mean loss per token; None beyond what a float holds."""
    return math.exp(loss) if loss < LARGEST_EXPONENT else None


def _is_byte_level(tokenizer: "Tokenizer") -> bool:
    found: dict[str, Any] = json.loads(tokenizer.to_str())
    parts = [found.get("pre_tokenizer") or {}, found.get("decoder") or {}]
    for part in list(parts):
        parts += [*part.get("pretokenizers", ()), *part.get("decoders", ())]
    return any(part.get("type") == "ByteLevel" for part in parts)


def _bytes_of_piece(piece: str) -> int:
    if len(piece) == _BYTE_TOKEN_LENGTH and piece.startswith("<0x") and piece.endswith(">"):
        return 1
    return len(piece.replace("▁", " ").encode())
