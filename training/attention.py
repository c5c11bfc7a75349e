"""Attention within documents: a row of packed documents is attended to as so many separate sequences.

transformers keeps packed documents apart by a mask made from position ids, and a masked product is the slow one.
Where a flash-attention kernel can run (CUDA, 16 bits), the boundaries go to it instead as `cu_seqlens`, and what
lies outside a document is never computed (Dao 2023, arXiv 2307.08691). The kernels are torch's own, or where it is
installed those of the package flash-attn-4 (training/flash4.py).
"""

from typing import Any

import torch
from torch import Tensor

from gristmill.core.errors import SettingsError
from training import flash4

# Names among transformers' attn_implementation; it looks for a package where a name has "flash" in it.
FLASH2, FLASH4 = "gristmill_varlen_2", "gristmill_varlen_4"
BOUNDARIES_STEP = 64  # cu_seqlens is padded to a multiple of this, so that few shapes reach the compiler


def kernel(asked: str, device: torch.device, precision: str) -> str | None:
    """The kernel that attends within documents by their boundaries, registered with transformers under this name.

    Args:
        asked: the setting `attention`.
        device: where the model is.
        precision: flash attention is for 16 bits.

    Returns:
        FLASH2 or FLASH4; None: attend by a mask, by transformers' own `sdpa`.

    Raises:
        SettingsError: what was asked for does not run here.
    """
    can_run = device.type == "cuda" and precision != "fp32"
    if asked == "sdpa" or (asked == "auto" and not can_run):
        return None
    if not can_run:
        raise SettingsError(f"attention {asked} needs a CUDA GPU and precision bf16 or fp16: choose auto")
    if asked == "flash4" and not flash4.is_available():
        raise SettingsError(
            "attention flash4 needs a Hopper or Blackwell GPU and the package flash-attn-4 "
            "(pip install 'gristmill[flash]'): choose varlen, which takes it where it runs"
        )
    name = FLASH4 if asked == "flash4" or (asked != "flash2" and flash4.is_available()) else FLASH2
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(name, attend_by_flash4 if name == FLASH4 else attend_by_flash2)
    AttentionMaskInterface.register(name, _no_mask)
    return name


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def attend_by_flash2(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Causal attention within the documents of a batch, as transformers calls it, by torch's kernel.

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
    if "cu_seqlens" not in options:
        return _attend_to_one_document(module, query, key, value, attention_mask, **options)
    boundaries, longest = options["cu_seqlens"], options["max_seqlen"]
    found = torch.ops.aten._flash_attention_forward(
        *_flat(query, key, value),
        boundaries,
        boundaries,
        longest,
        longest,
        0.0,
        True,
        False,
        scale=_scale(query, options),
    )
    return found[0].view(query.shape[0], query.shape[2], query.shape[1], -1), None


def attend_by_flash4(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """The same by flash-attn-4's kernels."""
    if "cu_seqlens" not in options:
        return _attend_to_one_document(module, query, key, value, attention_mask, **options)
    out, _ = flash4.flash4(
        *_flat(query, key, value), options["cu_seqlens"], options["max_seqlen"], _scale(query, options)
    )
    return out.view(query.shape[0], query.shape[2], query.shape[1], -1), None


def _attend_to_one_document(*tensors: Any, **options: Any) -> tuple[Tensor, None]:
    """Generation: one document without padding."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return sdpa_attention_forward(*tensors, **options)


def _flat(*tensors: Tensor) -> list[Tensor]:
    return [t.transpose(1, 2).reshape(t.shape[0] * t.shape[2], t.shape[1], t.shape[3]) for t in tensors]


def _scale(query: Tensor, options: dict[str, Any]) -> float:
    scaling = options.get("scaling")
    return float(query.shape[-1]) ** -0.5 if scaling is None else float(scaling)


def boundaries(position_ids: Tensor) -> Tensor:
    """`cu_seqlens` of rows of packed documents, int32, padded to a multiple of BOUNDARIES_STEP.

    Args:
        position_ids: (rows, length), 0 where a document begins and at each row's start.
    """
    flat = position_ids.reshape(-1)
    starts = torch.nonzero(flat == 0).squeeze(-1).to(torch.int32)
    room = (len(starts) // BOUNDARIES_STEP + 1) * BOUNDARIES_STEP - len(starts)
    return torch.cat([starts, starts.new_full((room,), flat.numel())])
