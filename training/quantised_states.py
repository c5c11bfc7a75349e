"""AdamW's moments as bitsandbytes holds them, read and written piece by piece in fp32.

A moment in 8 bits is a code per element and a scale per block of 256: value = map[code] * scale (Dettmers et al. 2022,
arXiv 2110.02861, section 2). Blocks are counted along the tensor that the optimizer moves, a ZeRO partition say, so a
parameter may begin and end in the middle of one. Tensors under 4,096 elements, and all of the 32-bit optimizers, are
held in fp32 under the same names: `state1` for the first moment, `state2` for the second.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from training.engagement import held_by_this_rank, innermost

BLOCK = 256  # elements under one scale, in every optimizer of bitsandbytes
_NUMBERS = {"exp_avg": 1, "exp_avg_sq": 2}  # torch's names for what bitsandbytes numbers
_ROWS_AT_ONCE = 1 << 14  # blocks; some 100 MB of scratch memory


@dataclass(frozen=True)
class Piece:
    """The part of one parameter whose moments this rank holds."""

    state: dict[str, Any]  # bitsandbytes' state of the tensor that it lies in
    start: int  # its first element there
    count: int


def is_of_bitsandbytes(optimizer: Any) -> bool:
    """Whether the optimizer beneath `optimizer` is one of bitsandbytes'."""
    return type(innermost(optimizer)).__module__.startswith("bitsandbytes.")


def make_state(optimizer: Any, tensor: Tensor) -> None:
    """Moments of zero for `tensor`, as the first step of bitsandbytes' `optimizer` would make them."""
    group = optimizer.param_groups[0]
    kept, group["params"] = group["params"], [tensor]  # ZeRO-3 empties the groups between steps
    optimizer.init_state(group, tensor, 0, 0)
    group["params"] = kept


def piece_of(optimizer: Any, parameter: Any) -> Piece | None:
    """Where this rank holds moments of `parameter`; None where it holds none of them."""
    states = innermost(optimizer).state
    if hasattr(parameter, "ds_tensor"):  # ZeRO-3
        group, start, count = optimizer.grad_position[optimizer.get_param_id(parameter)]
        return Piece(states[optimizer.fp32_partitioned_groups_flat[group]], start, count)
    if hasattr(parameter, "_hp_mapping"):  # ZeRO 1 and 2, and the bf16 optimizer without ZeRO
        mapping = parameter._hp_mapping
        if mapping is None:
            return None
        address = mapping.get_hp_fragment_address()
        return Piece(states[held_by_this_rank(optimizer)[mapping.param_group_index]], address.start, address.numel)
    if hasattr(optimizer, "fp32_groups"):  # fp16 without ZeRO
        pairs = zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True)
        parameter = next(m for hs, ms in pairs for h, m in zip(hs, ms, strict=True) if h is parameter)
    elif isinstance(parameter, DTensor):
        parameter = optimizer.shards.get(parameter)
    return None if parameter is None else Piece(states[parameter], 0, parameter.numel())


def read_moment(optimizer: Any, parameter: Any, key: str) -> Tensor:
    """A whole moment of `parameter`, fp32, of its shape; every rank must call it."""
    piece = piece_of(optimizer, parameter)
    mine = None if piece is None else read_piece(piece, key)
    if hasattr(parameter, "ds_tensor"):
        return cast(Tensor, optimizer._fp32_state_allgather(parameter, mine))
    if hasattr(parameter, "_hp_mapping"):
        if mine is not None:  # DeepSpeed's own accessor, over this one piece in fp32
            parameter._hp_mapping.optim_fragment = {key: mine}
        whole = parameter.get_full_hp_param(key)
        if mine is not None:
            parameter._hp_mapping.optim_fragment = {}
        return cast(Tensor, whole)
    if isinstance(parameter, DTensor):
        local = torch.zeros_like(parameter.to_local()) if mine is None else mine.view_as(parameter.to_local())
        mesh, placements = parameter.device_mesh, parameter.placements
        shape, stride = parameter.shape, parameter.stride()
        sharded = DTensor.from_local(local.to(parameter.device), mesh, placements, shape=shape, stride=stride)
        return sharded.full_tensor()
    return cast(Tensor, mine).view_as(parameter)


def read_piece(piece: Piece, key: str) -> Tensor:
    """One moment of a piece, fp32 of shape (count,)."""
    number = _NUMBERS[key]
    held = piece.state[f"state{number}"].view(-1)
    if held.dtype != torch.uint8:
        return held[piece.start : piece.start + piece.count]
    first, last = _blocks(piece)
    values = dequantise(
        held[first * BLOCK : last * BLOCK], piece.state[f"absmax{number}"][first:last], piece.state[f"qmap{number}"]
    )
    offset = piece.start - first * BLOCK
    return values[offset : offset + piece.count]


class MomentWriter:
    """Writes pieces one after another; all pieces of a tensor must come, in any order.

    Blocks in which one piece ends and another begins are quantised from fp32 again with each, so that none is rounded
    by a scale that is not yet final.
    """

    def __init__(self) -> None:
        self._edges: dict[tuple[int, int], Tensor] = {}  # by address of the codes, and block: 256 elements in fp32

    def write(self, piece: Piece, key: str, values: Tensor) -> None:
        """Set one moment of a piece.

        Args:
            piece: from `piece_of`.
            key: exp_avg or exp_avg_sq.
            values: fp32, as many as the piece has, of any shape.
        """
        number = _NUMBERS[key]
        held = piece.state[f"state{number}"].view(-1)
        if held.dtype != torch.uint8:
            held[piece.start : piece.start + piece.count].copy_(values.flatten())
            return
        first, last = _blocks(piece)
        if first == last:
            return
        qmap = piece.state[f"qmap{number}"]
        rows = torch.zeros(last - first, BLOCK, dtype=torch.float32, device=qmap.device)
        edges = {block: (held.data_ptr(), block) for block in (first, last - 1)}
        for block, place in edges.items():
            if place in self._edges:
                rows[block - first] = self._edges[place]
        offset = piece.start - first * BLOCK
        rows.view(-1)[offset : offset + piece.count] = values.flatten().to(qmap.device)
        for block, place in edges.items():
            self._edges[place] = rows[block - first].clone()
        codes, scales = quantise(rows, qmap)
        target = held[first * BLOCK : last * BLOCK]
        target.copy_(codes.view(-1)[: target.numel()])
        piece.state[f"absmax{number}"][first:last] = scales


def _blocks(piece: Piece) -> tuple[int, int]:
    """The first block that a piece lies in, and the one after its last."""
    return piece.start // BLOCK, -(-(piece.start + piece.count) // BLOCK)


def dequantise(codes: Tensor, scales: Tensor, qmap: Tensor) -> Tensor:
    """Values in fp32.

    Args:
        codes: uint8 of shape (n,), beginning with a block.
        scales: fp32, one per block of 256.
        qmap: fp32 of shape (256,), ascending: the value of each code at scale 1.
    """
    return qmap[codes.to(qmap.device).int()] * scales.repeat_interleave(BLOCK)[: codes.numel()]


def quantise(rows: Tensor, qmap: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and scales of blocks; what `dequantise` made comes back as it was, to the last bit.

    bitsandbytes' own quantiser takes the largest magnitude as the scale. Its map of signed values ends at -0.993 and 1,
    so a block whose largest is negative would shrink by 0.7 % each time it is dequantised and quantised. Here the scale
    is the one at which the block's extreme is a value of the map. Dividing by it may be an ulp or two off: of the
    neighbours, the one that gives every value back is taken.

    Args:
        rows: fp32 of shape (blocks, 256).
        qmap: as in `dequantise`.

    Returns:
        uint8 of shape (blocks, 256), and fp32 of shape (blocks,).
    """
    parts = [_quantised(part, qmap) for part in rows.split(_ROWS_AT_ONCE)]
    return torch.cat([codes for codes, _ in parts]), torch.cat([scales for _, scales in parts])


def _quantised(rows: Tensor, qmap: Tensor) -> tuple[Tensor, Tensor]:
    scales = rows.amax(1).clamp(min=0)
    if qmap[0] < 0:
        scales = torch.maximum(scales, rows.amin(1) / qmap[0])
    codes, is_exact = _coded(rows, scales, qmap)
    for ulps in (1, -1, 2, -2):
        if bool(is_exact.all()):
            break
        tried = scales
        for _ in range(abs(ulps)):
            tried = torch.nextafter(tried, torch.full_like(tried, float("inf") if ulps > 0 else 0.0))
        others, is_other_exact = _coded(rows, tried, qmap)
        is_better = is_other_exact & ~is_exact
        codes = torch.where(is_better[:, None], others, codes)
        scales = torch.where(is_better, tried, scales)  # those that are not exact yet stay, to be tried from again
        is_exact = is_exact | is_better
    return codes, scales


def _coded(rows: Tensor, scales: Tensor, qmap: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest codes of each block at its scale, and whether they give all of it back."""
    bounds = (qmap[1:] + qmap[:-1]) / 2
    divisors = torch.where(scales > 0, scales, 1.0)[:, None]
    codes = torch.bucketize(rows / divisors, bounds, out_int32=True)
    is_exact = ((qmap[codes] * scales[:, None]) == rows).all(1)
    return codes.to(torch.uint8), is_exact
