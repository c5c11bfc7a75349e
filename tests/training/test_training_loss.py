"""The loss: chunk by chunk as whole, and documents of a row apart."""

import pytest
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from gristmill.core.errors import SettingsError
from training import flash4
from training.arguments import PretrainSettings
from training.attention import BOUNDARIES_STEP, FLASH2, boundaries, kernel
from training.fused_loss import IGNORED_LABEL, cross_entropy_sum
from training.model import llama_config, loss_sum, new_model
from training.objective import make_objective
from training.sizes import ModelSizes

pytestmark = pytest.mark.torch
SIZES = ModelSizes(layers=2, hidden=32, heads=4, kv_heads=2, ffn=64)


@pytest.mark.parametrize("chunk_logits", [1, 700, 1 << 28])
def test_chunks_give_the_loss_and_the_gradients_of_the_whole(chunk_logits: int) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(50, 16, requires_grad=True), torch.randn(100, 16, requires_grad=True)
    labels = torch.randint(0, 100, (50,))
    labels[::7] = IGNORED_LABEL
    whole = functional.cross_entropy(hidden @ weight.T, labels, ignore_index=IGNORED_LABEL, reduction="sum")
    expected = torch.autograd.grad(whole * 0.3, (hidden, weight))
    chunked = cross_entropy_sum(hidden, weight, labels, chunk_logits)
    found = torch.autograd.grad(chunked * 0.3, (hidden, weight))
    torch.testing.assert_close(chunked, whole, rtol=1e-6, atol=1e-4)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_a_loss_without_gradients_makes_none() -> None:
    hidden, weight = torch.randn(4, 8), torch.randn(10, 8)
    assert not cross_entropy_sum(hidden, weight, torch.tensor([1, 2, IGNORED_LABEL, 3])).requires_grad


def test_the_objective_is_the_loss_of_the_model() -> None:
    model = new_model(llama_config(SIZES, 100, 16, 0, 1), seed=0)
    batch = {
        "input_ids": torch.randint(2, 100, (3, 16)),
        "labels": torch.randint(2, 100, (3, 16)),
        "position_ids": torch.arange(16).expand(3, 16),
    }
    expected = loss_sum(model, batch)
    objective = make_objective(model, PretrainSettings(), torch.device("cpu"))
    assert objective.loss_kernel == "chunked"
    torch.testing.assert_close(objective(**batch), expected, rtol=1e-6, atol=1e-5)


def test_packed_documents_have_the_loss_they_have_apart() -> None:
    objective = make_objective(
        new_model(llama_config(SIZES, 100, 16, 0, 1), seed=0), PretrainSettings(), torch.device("cpu")
    )
    first, second = torch.randint(2, 100, (1, 10)), torch.randint(2, 100, (1, 6))
    packed = {
        "input_ids": torch.cat([first, second], dim=1),
        "labels": torch.cat([first, torch.full((1, 1), IGNORED_LABEL), second[:, 1:]], dim=1),
        "position_ids": torch.cat([torch.arange(10), torch.arange(6)])[None],
    }
    apart = sum(
        objective(input_ids=ids, labels=ids, position_ids=torch.arange(ids.shape[1])[None]) for ids in (first, second)
    )
    torch.testing.assert_close(objective(**packed), apart, rtol=1e-6, atol=1e-5)


def test_boundaries_are_where_positions_start_again() -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1], [0, 0, 1, 2, 3]])
    found = boundaries(positions)
    assert found.dtype == torch.int32
    assert found[:4].tolist() == [0, 3, 5, 6]
    assert set(found[4:].tolist()) == {10}  # padding: documents of no token
    assert len(found) == BOUNDARIES_STEP


def test_kernels_of_ours_are_choices_of_transformers() -> None:
    name = kernel("flash2", torch.device("cuda"), "bf16")
    assert name == FLASH2
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation(name)
    assert model.config._attn_implementation == name


def test_a_kernel_that_cannot_run_is_refused() -> None:
    assert kernel("auto", torch.device("cpu"), "bf16") is None
    assert kernel("auto", torch.device("cuda"), "fp32") is None
    with pytest.raises(SettingsError, match="needs a CUDA GPU"):
        kernel("varlen", torch.device("cpu"), "bf16")
    if not flash4.is_available():
        with pytest.raises(SettingsError, match="flash-attn-4"):
            kernel("flash4", torch.device("cuda"), "bf16")
