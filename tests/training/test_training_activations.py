"""What a decoder layer saves for its backward pass, counted by torch's hooks, is what a plan says."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

from training.activations import layer_bytes_per_token
from training.sizes import ModelSizes

SIZES = ModelSizes(layers=1, hidden=256, heads=4, kv_heads=2, ffn=704)
ROWS, LENGTH = 2, 64


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.compile's own imports
@pytest.mark.parametrize("has_mask", [False, True], ids=["boundaries", "mask"])
@pytest.mark.parametrize("is_compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_saved_bytes_per_token(precision: str, is_compiled: bool, has_mask: bool) -> None:
    """The compiler's partitioner decides what is saved; it needs no C++ compiler for that."""
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    config = LlamaConfig(
        hidden_size=SIZES.hidden,
        intermediate_size=SIZES.ffn,
        num_attention_heads=SIZES.heads,
        num_key_value_heads=SIZES.kv_heads,
        num_hidden_layers=1,
        vocab_size=64,
    )
    config._attn_implementation = "sdpa"
    layer = LlamaDecoderLayer(config, 0).to(dtype)
    hidden = torch.randn(ROWS, LENGTH, SIZES.hidden, dtype=dtype, requires_grad=True)
    cosines = LlamaRotaryEmbedding(config)(hidden, torch.arange(LENGTH)[None].expand(ROWS, LENGTH))
    mask = torch.ones(ROWS, 1, LENGTH, LENGTH, dtype=torch.bool).tril() if has_mask else None
    if is_compiled:
        layer.compile(backend="aot_eager_decomp_partition")
    shared = [*layer.parameters(), *cosines, *([mask] if mask is not None else [])]  # not this layer's alone
    known = {tensor.untyped_storage().data_ptr() for tensor in shared}
    saved: dict[int, torch.Tensor] = {}  # by storage; holding them keeps addresses from being used again

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = layer(hidden, attention_mask=mask, position_embeddings=cosines)
    found = sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) / (ROWS * LENGTH)
    assert out is not None
    expected = layer_bytes_per_token(
        SIZES, precision=precision, sequence_length=LENGTH, is_compiled=is_compiled, has_mask=has_mask
    )
    assert found == pytest.approx(expected, rel=0.01)
