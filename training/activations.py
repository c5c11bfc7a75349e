"""What a Llama-architecture decoder keeps between forward and backward pass, tensor by tensor.

`w` is 4 bytes in fp32 and 2 in 16 bits; H is the width, K that of all key-value heads together, F the feed-forward
block's, T the tokens of a row. Saved per token by one layer:

compiled by torch.compile, whose partitioner keeps what matrix products read again:
    layer input, first norm's output, query, attention output, its projection, second norm's output   6·w·H
    key, value                                                                                      2·w·K
    gate, up, their product                                                                         3·w·F
    log-sum-exp of attention and reciprocal norms, in fp32                                  4·heads + 8
eager:
    each norm: in fp32 input, normalised input, output, 3·4·H; in 16 bits an fp32 copy of the input besides a
    normalised one and the output, (4 + 2·2)·H
    query and attention output                                                                      2·w·H
    key, value                                                                                      2·w·K
    gate, its SiLU, up, their product                                                               4·w·F
    log-sum-exp and reciprocal norms                                                        4·heads + 8
with a mask in place of document boundaries (`sdpa`):
    a copy of the mask in the arithmetic's type, w·T; key and value repeated to all heads, 2·w·(H − K)

The attention matrix is never stored (Dao 2023, arXiv 2307.08691), and with recomputation only the layer's input is
(Chen et al. 2016, arXiv 1604.06174). A test counts all of it with torch's hooks on saved tensors.
"""

from training.memory import Precision
from training.sizes import ModelSizes

CHUNK_LOGITS = 1 << 28  # as in training/fused_loss.py, which imports torch; a test keeps them equal


def item_bytes(precision: Precision) -> int:
    """Bytes of one number in the arithmetic."""
    return 4 if precision == "fp32" else 2


def layer_bytes_per_token(
    sizes: ModelSizes, *, precision: Precision, sequence_length: int, is_compiled: bool, has_mask: bool
) -> float:
    """What one decoder layer saves for its backward pass, per token."""
    w, h, kv = item_bytes(precision), sizes.hidden, sizes.kv_width
    saved = 2 * w * kv + 4 * sizes.heads + 8
    if is_compiled:
        saved += 6 * w * h + 3 * w * sizes.ffn
    else:
        saved += 2 * norm_bytes_per_token(h, precision) + 2 * w * h + 4 * w * sizes.ffn
    if has_mask:
        saved += w * sequence_length + 2 * w * (h - kv)
    return saved


def norm_bytes_per_token(width: int, precision: Precision) -> float:
    """What an eager RMSNorm saves, per token; the last norm of a decoder is always eager."""
    return (12 if precision == "fp32" else 8) * width


def layer_backward_bytes_per_token(sizes: ModelSizes, precision: Precision) -> float:
    """Gradients that are alive at a time in a layer's backward pass: of its output, and three of the feed-forward."""
    return item_bytes(precision) * (sizes.hidden + 3 * sizes.ffn)


def loss_chunk_bytes(tokens: float, vocabulary: int, precision: Precision, *, is_on_gpu: bool) -> float:
    """Logits and their gradients that are alive at a time in the chunked loss (training/fused_loss.py).

    On a GPU a fused kernel makes a chunk's gradient from its logits, while the gradient of the chunk before is still
    held. On a CPU its steps run one by one: fp32 logits, exponentials, one-hot targets and gradient.
    """
    w = item_bytes(precision)
    chunk = min(tokens, max(CHUNK_LOGITS // vocabulary, 1))
    before = min(tokens - chunk, chunk)  # the second chunk: what is alive besides the first one's gradient
    at_work = 2 * w if is_on_gpu else (17 if precision == "fp32" else 19)
    return vocabulary * max(chunk * at_work, (chunk * w + before * at_work) if before else 0.0)
