"""The tokenizer as transformers sees it, and batches as torch sees them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gristmill.core.layout import Layout
from pipelines.tokens.vocabulary import SPECIAL_TOKENS, companions, new_tokenizer
from training.loader import Batch

pytestmark = pytest.mark.torch
TEXT = "Naïve café: 12345 — 中文 👩‍👧 <|user|>\r\n\tend "


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tokenizers import pre_tokenizers, trainers
    from transformers import AutoTokenizer

    layout = Layout(tmp_path_factory.mktemp("tokenizer"))
    learner = new_tokenizer()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator(["the story of the stone and the storm"] * 9, trainer)
    layout.write_bytes(layout.join("tokenizer.json"), learner.to_str().encode())
    for name, content in companions().items():
        layout.write_json(layout.join(name), content)
    return AutoTokenizer.from_pretrained(Path(layout.root), local_files_only=True)


def test_special_tokens_keep_their_ids(loaded: Any) -> None:
    assert loaded.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(6))
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

    arrays = [np.arange(6).reshape(2, 3) + i for i in range(3)]
    tensors = Batch(*arrays).to_torch()
    assert list(tensors) == ["input_ids", "labels", "position_ids"]
    assert all(t.dtype == torch.int64 for t in tensors.values())
    arrays[0][0, 0] = 99
    assert tensors["input_ids"][0, 0] == 99
