"""The tokenizer as transformers sees it, and batches as torch sees them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.shard_files import make_root
from gristmill.core.layout import Layout
from pipelines.tokens.vocabulary import SPECIAL_TOKENS, Encoder, companions, new_tokenizer, special_tokens
from training.batch import Batch, tensors_on_device
from training.loader import Loader

pytestmark = pytest.mark.torch
RESERVED = 4
SPECIAL = special_tokens(RESERVED)
ADVERSARIAL = [
    "",
    " ",
    "a\r\nb\rc\n\n d\t\te ",
    "\0\x01\x1c\x85\u2028\ufeff\ufffe\u200b",
    "e\u0301\u0301\u0301 \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "it's It'S ' s 1234567 3.14 १२३ ²³",
    "do n't . , ! ? 's 're",  # what clean_up_tokenization_spaces would join
    "<|endoftext|><|user|>\n<|reserved_0|><|end|>",
    "<|endof" + "text|>",
    "x" * 5000 + "=" * 3000 + " " * 3000 + "中" * 3000,
]
TEXT = "Naïve café: 12345 — 中文 👩‍👧 <|user|>\r\n\tend "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import pre_tokenizers, trainers

    layout = Layout(tmp_path_factory.mktemp("tokenizer"))
    learner = new_tokenizer()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator(["the story of the stone and the storm"] * 9, trainer)
    layout.write_bytes(layout.join("tokenizer.json"), learner.to_str().encode())
    for name, content in companions(SPECIAL).items():
        layout.write_json(layout.join(name), content)
    return Path(layout.root)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def test_its_ids_are_those_of_the_shards(loaded: Any, folder: Path) -> None:
    from tokenizers import Tokenizer

    encoder = Encoder(Tokenizer.from_file(str(folder / "tokenizer.json")))
    for text, ids in zip(ADVERSARIAL, encoder.encode(ADVERSARIAL), strict=True):
        assert loaded(text, split_special_tokens=True)["input_ids"] == ids.tolist()
        assert loaded.decode(ids.tolist()) == encoder.decode(ids) == text
        assert loaded.decode(ids.tolist(), skip_special_tokens=True) == text


def test_special_tokens_survive_being_saved_again(loaded: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    loaded.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert set(SPECIAL) == set(loaded.all_special_tokens) == set(again.all_special_tokens)
    assert again.chat_template == loaded.chat_template
    for text in ADVERSARIAL:
        assert again(text)["input_ids"] == loaded(text)["input_ids"]


def test_special_tokens_keep_their_ids(loaded: Any) -> None:
    assert loaded.convert_tokens_to_ids(list(SPECIAL)) == list(range(6 + RESERVED))
    assert SPECIAL[:6] == SPECIAL_TOKENS
    assert (loaded.eos_token_id, loaded.bos_token_id, loaded.pad_token_id) == (0, 0, 1)
    assert len(loaded) == loaded.backend_tokenizer.get_vocab_size()


def test_text_comes_back_and_nothing_is_added(loaded: Any) -> None:
    ids = loaded(TEXT, split_special_tokens=True)["input_ids"]
    assert loaded.decode(ids) == TEXT
    assert not set(ids) & set(range(6))
    assert loaded("the")["input_ids"] == loaded.backend_tokenizer.encode("the").ids


def test_the_chat_template_marks_what_the_model_says(loaded: Any) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "The miller."},
    ]
    text = loaded.apply_chat_template(chat, tokenize=False)
    assert text == ("<|system|>\nBe brief.<|end|>\n<|user|>\nWho?<|end|>\n<|assistant|>\nThe miller.<|end|>\n")
    assert loaded.apply_chat_template(chat[:2], tokenize=False, add_generation_prompt=True).endswith("<|assistant|>\n")
    encoded = loaded.apply_chat_template(chat, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    said = [i for i, m in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if m]
    assert loaded.decode(said) == "The miller.<|end|>"


def test_a_batch_becomes_tensors_of_the_same_memory() -> None:
    import torch

    batch = Batch(np.array([[7, 0, 8], [9, 1, 1]], np.uint16), eot_id=0, pad_id=1)
    tensors = batch.to_torch()
    assert list(tensors) == ["input_ids", "labels", "position_ids"]
    assert all(t.dtype == torch.int64 for t in tensors.values())
    batch.input_ids[0, 0] = 99
    assert tensors["input_ids"][0, 0] == 99
    assert batch.tensor().dtype == torch.uint16
    batch.tokens[0, 0] = 5
    assert batch.tensor()[0, 0] == 5


def test_a_batch_is_the_same_made_on_a_device() -> None:
    """The way over another device than the CPU, on the only other one that every machine has: `meta` has no values."""
    import torch

    batch = Batch(np.array([[7, 0, 8], [9, 1, 1]], np.uint16), eot_id=0, pad_id=1)
    there = batch.to_torch("meta")
    assert {n: (t.shape, t.dtype, t.device.type) for n, t in there.items()} == {
        n: (t.shape, torch.int64, "meta") for n, t in batch.to_torch().items()
    }
    here = tensors_on_device(batch.tensor(), batch.eot_id, batch.pad_id)
    assert all(torch.equal(here[name], tensor) for name, tensor in batch.to_torch().items())


def test_a_batch_without_breaks_is_what_flash_attention_takes() -> None:
    import torch

    batch = Batch(np.array([[7, 0, 8], [9, 1, 1]], np.uint16), eot_id=0, pad_id=1)
    found = batch.to_varlen()
    assert found["input_ids"].tolist() == [[7, 0, 8, 9, 1, 1]]
    assert found["labels"].tolist() == [[-100, 0, 8, -100, -100, -100]]
    assert found["position_ids"].tolist() == [[0, 1, 0, 0, 1, 2]]
    assert found["cu_seq_lens_q"].dtype == torch.int32
    assert found["cu_seq_lens_q"].tolist() == [0, 2, 3, 6]
    assert (found["max_length_q"], found["max_length_k"]) == (3, 3)
    assert batch.labels[0, 0] == 7


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_dataset_gives_the_same_batches_from_any_number_of_workers(tmp_path: Path, workers: int) -> None:
    import torch
    from torch.utils.data import DataLoader

    from training.torch_dataset import BatchDataset

    loader = Loader(make_root(tmp_path, {"a": [40, 9], "b": [30]}, length=16))
    dataset = BatchDataset(loader, 8, first_step=3, stop_step=20)
    batches = list(DataLoader(dataset, batch_size=None, num_workers=workers))
    assert len(batches) == 17
    for step, batch in enumerate(batches, start=3):
        expected = loader.batch(step, 8).to_torch()
        assert all(torch.equal(batch[name], tensor) for name, tensor in expected.items())
