"""Attention within documents: a row of packed documents is attended to as so many separate sequences.

transformers keeps packed documents apart by a mask made from position ids, and a masked product is the slow one.
Where a flash-attention kernel can run (CUDA, 16 bits), the boundaries go to it instead as `cu_seqlens`, and what
lies outside a document is never computed (Dao 2023, arXiv 2307.08691).
"""

from typing import Any

import torch
from torch import Tensor

NAME = "gristmill_varlen"
BOUNDARIES_STEP = 64  # cu_seqlens is padded to a multiple of this, so that few shapes reach the compiler


def register() -> None:
    """Make NAME a choice of transformers' attn_implementation."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, varlen_attention)
    AttentionMaskInterface.register(NAME, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def varlen_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Causal attention within the documents of a batch, as transformers calls it.

    Args:
        module: the attention layer.
        query: (rows, heads, length, width); key and value may have fewer heads.
        key: see query.
        value: see query.
        attention_mask: not used; the boundaries say it all.
        options: `scaling`, and `cu_seqlens` int32: where each document begins in the rows laid end to end, then the
            number of tokens, repeated as padding; `max_seqlen`: tokens of a row.

    Returns:
        (rows, length, heads, width), and no weights.
    """
    if "cu_seqlens" not in options:  # generation: one document without padding
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    rows, heads, length, width = query.shape
    flat = [t.transpose(1, 2).reshape(rows * length, t.shape[1], width) for t in (query, key, value)]
    boundaries, longest = options["cu_seqlens"], options["max_seqlen"]
    found = torch.ops.aten._flash_attention_forward(
        *flat, boundaries, boundaries, longest, longest, 0.0, True, False, scale=options.get("scaling")
    )
    return found[0].view(rows, length, heads, width), None


def boundaries(position_ids: Tensor) -> Tensor:
    """`cu_seqlens` of rows of packed documents, int32, padded to a multiple of BOUNDARIES_STEP.

    Args:
        position_ids: (rows, length), 0 where a document begins and at each row's start.
    """
    flat = position_ids.reshape(-1)
    starts = torch.nonzero(flat == 0).squeeze(-1).to(torch.int32)
    room = (len(starts) // BOUNDARIES_STEP + 1) * BOUNDARIES_STEP - len(starts)
    return torch.cat([starts, starts.new_full((room,), flat.numel())])
