"""FlashAttention-4's kernels as torch operators, which torch.compile leaves whole.

The package `flash-attn-4` (CuTe kernels for Hopper and Blackwell) is an extra: `pip install 'gristmill[flash]'`. Its
kernels are compiled for the device at their first call, some seconds each. torch's own flash attention, which is
used where it is missing, was written for the generation before (Dao 2023, arXiv 2307.08691; Shah et al. 2024,
arXiv 2407.08608, on what Hopper wants).
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

PACKAGE = "flash-attn-4"
_CAPABILITIES = (9, 10)  # compute capability, its major number: Hopper and the large Blackwells


@cache
def is_available() -> bool:
    """Whether the package is installed and this GPU is one it has kernels for."""
    if not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] not in _CAPABILITIES:
        return False
    try:
        version(PACKAGE)
    except PackageNotFoundError:
        return False
    return True


@torch.library.custom_op("gristmill::flash4", mutates_args=(), device_types="cuda")
def flash4(
    query: Tensor, key: Tensor, value: Tensor, boundaries: Tensor, longest: int, scale: float
) -> tuple[Tensor, Tensor]:
    """Causal attention within documents that lie end to end.

    Args:
        query: (tokens, heads, width) in 16 bits; key and value may have fewer heads.
        key: see query.
        value: see query.
        boundaries: int32, where each document begins, then the number of tokens, once or more.
        longest: no document has more tokens.
        scale: of the products before the softmax.

    Returns:
        (tokens, heads, width), and the logarithms of the softmax's sums, (heads, tokens) in fp32.
    """
    from flash_attn.cute.interface import _flash_attn_fwd  # pyright: ignore

    found: Any = _flash_attn_fwd(
        query,
        key,
        value,
        cu_seqlens_q=boundaries,
        cu_seqlens_k=boundaries,
        max_seqlen_q=longest,
        max_seqlen_k=longest,
        softmax_scale=scale,
        causal=True,
        return_lse=True,
    )
    return found[0], found[1]


@flash4.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, boundaries: Tensor, longest: int, scale: float
) -> tuple[Tensor, Tensor]:
    tokens, heads, _ = query.shape
    return query.new_empty(tokens, heads, value.shape[-1]), query.new_empty(heads, tokens, dtype=torch.float32)


@torch.library.custom_op("gristmill::flash4_backward", mutates_args=(), device_types="cuda")
def flash4_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    sums: Tensor,
    boundaries: Tensor,
    longest: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, key and value."""
    from flash_attn.cute.interface import _flash_attn_bwd  # pyright: ignore

    found: Any = _flash_attn_bwd(
        query,
        key,
        value,
        out,
        gradient,
        sums,
        scale,
        True,
        cu_seqlens_q=boundaries,
        cu_seqlens_k=boundaries,
        max_seqlen_q=longest,
        max_seqlen_k=longest,
    )
    return found[0], found[1], found[2]


@flash4_backward.register_fake
def _(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    sums: Tensor,
    boundaries: Tensor,
    longest: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, boundaries, ctx.longest, ctx.scale = inputs
    ctx.save_for_backward(query, key, value, *output, boundaries)
    ctx.mark_non_differentiable(output[1])


def _gradients(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    query, key, value, out, sums, boundaries = ctx.saved_tensors
    found = flash4_backward(gradient.contiguous(), query, key, value, out, sums, boundaries, ctx.longest, ctx.scale)
    return *found, None, None, None


flash4.register_autograd(_gradients, setup_context=_keep)
