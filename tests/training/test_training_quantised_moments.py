"""Moments in 8 bits: what is read in fp32 and written again is the same to the last bit, however it is cut."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.torch
BLOCK = 256


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _held(elements: int, seed: int, *, is_signed: bool, magnitude: float = 1.0) -> Any:
    """Codes, scales and map as bitsandbytes' own quantiser makes them of drawn values."""
    import torch
    from bitsandbytes.functional import create_dynamic_map

    torch.manual_seed(seed)
    values = torch.randn(elements) * torch.rand(elements) ** 4 * magnitude
    qmap = create_dynamic_map(signed=is_signed).to(_device())
    values = values.to(_device()) if is_signed else values.abs().to(_device())
    codes, scales = torch.ops.bitsandbytes.quantize_blockwise(values, qmap, BLOCK)
    return codes, scales, qmap


def _again(codes: Any, scales: Any, qmap: Any) -> Any:
    """Dequantised and quantised once more."""
    import torch

    from training.quantised_states import dequantise, quantise

    rows = torch.zeros(len(scales), BLOCK, device=qmap.device)
    rows.view(-1)[: len(codes)] = dequantise(codes, scales, qmap)
    found, found_scales = quantise(rows, qmap)
    return found.view(-1)[: len(codes)], found_scales


@given(elements=st.integers(1, 3000), seed=st.integers(0, 999), is_signed=st.booleans(), power=st.integers(-30, 3))
@settings(max_examples=60, deadline=None)
def test_quantising_what_was_dequantised_changes_nothing(elements: int, seed: int, is_signed: bool, power: int) -> None:
    import torch

    from training.quantised_states import dequantise

    codes, scales, qmap = _held(elements, seed, is_signed=is_signed, magnitude=10.0**power)
    values = dequantise(codes, scales, qmap)
    assert torch.equal(values, torch.ops.bitsandbytes.dequantize_blockwise(codes, scales, qmap, BLOCK, torch.float32))
    found, found_scales = _again(codes, scales, qmap)
    assert torch.equal(found, codes)
    assert torch.equal(dequantise(found, found_scales, qmap), values)


def test_a_block_whose_largest_is_negative_does_not_shrink() -> None:
    """bitsandbytes' quantiser makes it smaller each time: its map of signed values ends at -0.993."""
    import torch
    from bitsandbytes.functional import create_dynamic_map

    from training.quantised_states import dequantise

    qmap = create_dynamic_map(signed=True).to(_device())
    values = torch.linspace(-1, 0.5, BLOCK, device=_device())
    codes, scales = torch.ops.bitsandbytes.quantize_blockwise(values, qmap, BLOCK)
    first = dequantise(codes, scales, qmap)
    theirs = torch.ops.bitsandbytes.quantize_blockwise(first, qmap, BLOCK)
    assert float(theirs[1]) < 0.995 * float(scales)
    found, found_scales = _again(codes, scales, qmap)
    assert torch.equal(dequantise(found, found_scales, qmap), first)


@given(elements=st.integers(4096, 9000), pieces=st.integers(1, 40), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_pieces_of_any_size_in_any_order_make_the_same_tensor(elements: int, pieces: int, seed: int) -> None:
    import torch

    from training.quantised_states import MomentWriter, Piece, dequantise, read_piece

    draw = random.Random(seed)
    codes, scales, qmap = _held(elements, seed, is_signed=True)
    state = {"state1": codes, "absmax1": scales, "qmap1": qmap}
    cuts = sorted({0, elements, *(draw.randrange(elements) for _ in range(pieces))})
    places = list(itertools.pairwise(cuts))
    read = [(a, b - a, read_piece(Piece(state, a, b - a), "exp_avg").clone()) for a, b in places]
    draw.shuffle(read)
    fresh = {"state1": torch.zeros_like(codes), "absmax1": torch.zeros_like(scales), "qmap1": qmap}
    writer = MomentWriter()
    for start, count, values in read:
        writer.write(Piece(fresh, start, count), "exp_avg", values)
    assert torch.equal(fresh["state1"], codes)
    assert torch.equal(dequantise(fresh["state1"], fresh["absmax1"], qmap), dequantise(codes, scales, qmap))


@pytest.mark.parametrize("elements", [100, 5000], ids=["in fp32, as it is small", "in 8 bits"])
def test_bitsandbytes_goes_on_from_restored_moments_as_if_never_stopped(elements: int) -> None:
    """Steps of AdamW8bit itself, some before and some after its moments went through fp32."""
    import torch

    from training.arguments import PretrainSettings
    from training.optimizers import optimizer_over
    from training.quantised_states import MomentWriter, Piece, make_state, read_piece

    def start(weights: Any) -> Any:
        parameter = torch.nn.Parameter(weights.clone())
        made = optimizer_over([{"params": [parameter]}], PretrainSettings(optimizer="adamw_8bit"), is_fused=False)
        make_state(made, parameter)
        made.param_groups[0]["lr"] = 1e-2
        return parameter, made

    def step(parameter: Any, made: Any, number: int) -> None:
        torch.manual_seed(number)
        parameter.grad = torch.randn(elements).to(parameter.device) * 0.1
        made.step()

    one, first = start(torch.ones(elements, device=_device()))
    for number in range(5):
        step(one, first, number)
    two, second = start(one.detach())
    writer = MomentWriter()
    for key in ("exp_avg", "exp_avg_sq"):
        values = read_piece(Piece(first.state[one], 0, elements), key)
        writer.write(Piece(second.state[two], 0, elements), key, values)
    second.state[two]["step"] = first.state[one]["step"]
    assert str(second.state[two]["state1"].dtype) == ("torch.uint8" if elements > 4096 else "torch.float32")
    for number in range(5, 10):
        step(one, first, number)
        step(two, second, number)
    assert torch.equal(one, two)
