"""Cross-entropy straight from hidden states: the logits of a large vocabulary never exist whole.

At 32,000 tokens the fp32 logits of 16 sequences of 2,048 take 4 GB and their gradient as much again. Here they
are made for a chunk of tokens at a time, and since the gradient of a sum of losses is known as soon as a chunk's
logits are, the forward pass leaves the gradients of hidden states and weights behind: three products a chunk,
none of them made twice (as Liger Kernel does; Hsu et al. 2024, arXiv 2410.10989).
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

CHUNK_LOGITS = 1 << 28  # elements of a chunk's logits: 0.5 GB in 16 bits, enough for products at full speed
IGNORED_LABEL = -100


def loss_and_gradient(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Summed loss in nats, and its gradient by the logits.

    Args:
        logits: (tokens, vocabulary).
        labels: (tokens,), IGNORED_LABEL where nothing is learnt.

    Returns:
        A scalar in fp32; the gradient in the dtype of the logits.
    """
    exact = logits.float()
    is_learnt = labels != IGNORED_LABEL
    target = torch.where(is_learnt, labels, 0)
    log_sum = torch.logsumexp(exact, dim=-1, keepdim=True)
    loss = torch.where(is_learnt, log_sum.squeeze(-1) - exact.gather(-1, target[:, None]).squeeze(-1), 0.0).sum()
    ids = torch.arange(logits.shape[-1], device=logits.device)
    gradient = torch.exp(exact - log_sum) - (ids == target[:, None]).to(exact.dtype)
    return loss, (gradient * is_learnt[:, None]).to(logits.dtype)


_compiled: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {}


def _loss_and_gradient(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if not logits.is_cuda:  # eager on a CPU: compiling would need a C++ compiler
        return loss_and_gradient(logits, labels)
    if "cuda" not in _compiled:
        _compiled["cuda"] = cast(Any, torch.compile(loss_and_gradient, dynamic=True))
    return _compiled["cuda"](logits, labels)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, chunk: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        is_learning = any(ctx.needs_input_grad[:2])
        hidden_gradient = torch.empty_like(hidden) if is_learning else None
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            logits = hidden[part] @ weight.T
            chunk_loss, gradient = _loss_and_gradient(logits, labels[part])
            del logits
            loss += chunk_loss
            if hidden_gradient is not None:
                torch.mm(gradient, weight, out=hidden_gradient[part])
            if weight_gradient is not None:
                _add_product(weight_gradient, gradient.T, hidden[part])
        ctx.save_for_backward(hidden_gradient, None if weight_gradient is None else weight_gradient.to(weight.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        hidden, weight = ctx.saved_tensors
        return (
            None if hidden is None else hidden * scale.to(hidden.dtype),
            None if weight is None else weight * scale.to(weight.dtype),
            None,
            None,
        )


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to `total`, which is fp32 so that a sum over chunks loses nothing."""
    if left.is_cuda and left.dtype != torch.float32:
        total += torch.mm(left, right, out_dtype=torch.float32)
    elif left.dtype == torch.float32:
        total.addmm_(left, right)
    else:
        total += left.float() @ right.float()


def cross_entropy_sum(hidden: Tensor, weight: Tensor, labels: Tensor, chunk_logits: int = CHUNK_LOGITS) -> Tensor:
    """Summed cross-entropy in nats of the output layer `weight` over `hidden`.

    Args:
        hidden: (tokens, width), the decoder's last hidden states.
        weight: (vocabulary, width).
        labels: (tokens,), the token that follows each; IGNORED_LABEL where nothing is learnt.
        chunk_logits: logits that exist at a time, at most.

    Returns:
        A scalar in fp32, differentiable by `hidden` and `weight`.
    """
    chunk = max(chunk_logits // weight.shape[0], 1)
    return cast(Tensor, cast(Any, _ChunkedCrossEntropy).apply(hidden, weight, labels, chunk))


class LossHead(nn.Linear):
    """An output layer that, given labels, returns the summed loss in place of the logits."""

    def forward(self, hidden: Tensor, labels: Tensor | None = None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Logits of shape (..., vocabulary); the summed loss where `labels`, shape (...), are given."""
        if labels is None:
            return super().forward(hidden)
        return cross_entropy_sum(hidden.reshape(-1, hidden.shape[-1]), self.weight, labels.reshape(-1))
