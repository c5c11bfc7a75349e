"""The model in this process: documents stay apart, the loss counts what is labelled."""

import numpy as np
import pytest

from training.loader import Batch
from training.sizes import ModelSizes, parameter_count

pytestmark = pytest.mark.torch
SIZES = ModelSizes(layers=2, hidden=32, heads=2, kv_heads=1, ffn=64)
EOT = 0
PAD = 1


def _model(seed: int = 0):
    from training.model import llama_config, new_model

    return new_model(llama_config(SIZES, 50, 16, EOT, 1), seed)


def _logits(model, ids: np.ndarray):
    import torch

    batch = Batch(ids.astype(np.uint16), EOT, PAD).to_torch()
    with torch.no_grad():
        return model(input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits


def test_a_document_never_sees_the_one_before_it_in_its_row() -> None:
    import torch

    model = _model()
    row = np.array([[5, 6, 7, EOT, 8, 9, 10, 11], [20, 21, 22, 23, 24, 25, 26, 27]])
    other = row.copy()
    other[0, :3] = [30, 31, 32]
    one, two = _logits(model, row), _logits(model, other)
    assert torch.allclose(one[0, 4:], two[0, 4:], atol=1e-6)
    assert not torch.allclose(one[0, :4], two[0, :4], atol=1e-3)
    alone = _logits(model, row[:1, 4:])
    assert torch.allclose(one[0, 4:], alone[0], atol=1e-5)


def test_the_parameter_count_is_the_models() -> None:
    assert sum(p.numel() for p in _model().parameters()) == parameter_count(SIZES, 50)


def test_the_same_seed_gives_the_same_weights() -> None:
    import torch

    one, two, other = (_model(seed).get_input_embeddings().weight for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_padding_weighs_nothing() -> None:
    import torch

    from training.model import labelled_tokens, loss_sum

    model = _model()
    ids = np.array([[5, 6, 7, 8]])
    padded = np.array([[5, 6, 7, 8, 1, 1]])
    one, two = Batch(ids.astype(np.uint16), EOT, PAD), Batch(padded.astype(np.uint16), EOT, PAD)
    assert labelled_tokens(one.labels) == labelled_tokens(two.labels) == 3
    with torch.no_grad():
        found = [float(loss_sum(model, batch.to_torch())) for batch in (one, two)]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_norms_do_not_decay() -> None:
    from training.model import weight_decay_groups

    decayed, kept = weight_decay_groups(_model(), 0.1)
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0.0
    assert {p.ndim for p in kept["params"]} == {1}
