"""A batch: tokens as they lie in the shards, and what a model needs besides, made when and where it is asked for.

Two bytes a token are read, kept ahead and moved to a device; labels, positions and document boundaries follow from
them there.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

IGNORED_LABEL = -100  # what torch's cross-entropy and transformers leave out of the loss

TokenArray = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Batch:
    """Rows of a global batch."""

    tokens: TokenArray  # (rows, sequence length), uint16 or uint32
    eot_id: int  # ends each document
    pad_id: int  # fills the last row of a shard

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: slice) -> "Batch":
        """Some of the rows, without a copy."""
        return Batch(self.tokens[rows], self.eot_id, self.pad_id)

    @cached_property
    def input_ids(self) -> Int64s:
        """The tokens; (rows, sequence length), int64."""
        return self.tokens.astype(np.int64)

    @cached_property
    def labels(self) -> Int64s:
        """The tokens, padding as -100; (rows, sequence length), int64. The model shifts them by one."""
        found = self.tokens.astype(np.int64)
        np.putmask(found, self.tokens == self.pad_id, IGNORED_LABEL)
        return found

    @cached_property
    def position_ids(self) -> Int64s:
        """0 at each row's and each document's first token, so that attention never crosses documents; int64."""
        return position_ids(self.tokens, self.eot_id)

    def to_torch(self, device: "torch.device | str" = "cpu") -> "dict[str, torch.Tensor]":
        """`input_ids`, `labels` and `position_ids` as a transformers model takes them: int64, (rows, length).

        On another device than the CPU the narrow tokens are moved and the rest is made there. No attention mask on
        purpose: one of all ones would undo the isolation of packed documents.
        """
        import torch

        if torch.device(device).type == "cpu":
            names = ("input_ids", "labels", "position_ids")
            return {name: torch.from_numpy(getattr(self, name)) for name in names}
        moved = self.tensor().to(device, non_blocking=True)
        return tensors_on_device(moved, self.eot_id, self.pad_id)

    def tensor(self) -> "torch.Tensor":
        """The tokens as a tensor of the same memory: uint16 or uint32, (rows, sequence length)."""
        import torch

        return torch.from_numpy(self.tokens)

    def cu_seqlens(self) -> tuple[Int32s, int]:
        """Where each document of the flattened batch begins, and the length of the longest.

        Returns:
            cu_seqlens: int32, (documents + 1,), from 0 to rows x sequence length, as the variable-length functions of
                flash-attention take it; a row begins a document, and padding after the last one counts as one.
            max_seqlen: of the documents.
        """
        starts = _starts(self.tokens, self.eot_id)
        ends = np.append(starts, self.tokens.size)
        lengths = np.diff(ends)
        return ends[np.append(lengths > 0, True)].astype(np.int32), int(lengths.max(initial=0))

    def to_varlen(self, device: "torch.device | str" = "cpu") -> "dict[str, Any]":
        """The batch as one row without a break, for attention over variable lengths.

        `input_ids`, `labels`, `position_ids` of shape (1, rows x length), and the boundaries by the names that
        transformers' models hand to flash-attention. The first label of each row is -100: a row does not foretell
        the next one.
        """
        import torch

        found = self.to_torch(device)
        found["labels"] = found["labels"].clone()  # on the CPU it is the batch's own
        found["labels"][:, 0] = IGNORED_LABEL
        boundaries, longest = self.cu_seqlens()
        cumulated = torch.from_numpy(boundaries).to(device, non_blocking=True)
        return {name: tensor.reshape(1, -1) for name, tensor in found.items()} | {
            "cu_seq_lens_q": cumulated,
            "cu_seq_lens_k": cumulated,
            "max_length_q": longest,
            "max_length_k": longest,
        }


def tensors_on_device(tokens: "torch.Tensor", eot_id: int, pad_id: int) -> "dict[str, torch.Tensor]":
    """`input_ids`, `labels` and `position_ids` of tokens of shape (rows, length), made on their device; int64."""
    import torch

    ids = tokens.to(torch.int64)
    labels = ids.masked_fill(ids == pad_id, IGNORED_LABEL)
    place = torch.arange(ids.shape[1], device=ids.device)
    begins = torch.zeros_like(ids)
    begins[:, 1:] = place[1:] * (ids[:, :-1] == eot_id)
    return {"input_ids": ids, "labels": labels, "position_ids": place - begins.cummax(dim=1).values}


def position_ids(ids: TokenArray, eot_id: int) -> Int64s:
    """Positions that start again after each end-of-text token and at each row; shape of `ids`, int64."""
    starts = _starts(ids, eot_id)
    found = np.repeat(starts, np.diff(starts, append=ids.size))
    np.subtract(_ramp(ids.size), found, out=found)
    return found.reshape(ids.shape)


def _starts(ids: TokenArray, eot_id: int) -> Int64s:
    """First token of each document of the flattened rows, in order; one that ends with its row gives a start twice."""
    rows, length = ids.shape
    starts = np.flatnonzero(ids.reshape(-1) == eot_id) + 1
    starts = np.concatenate([starts, np.arange(0, rows * length, length)])
    starts.sort()
    return starts


@lru_cache(maxsize=4)
def _ramp(size: int) -> Int64s:
    ramp = np.arange(size, dtype=np.int64)
    ramp.flags.writeable = False  # shared between batches
    return ramp
