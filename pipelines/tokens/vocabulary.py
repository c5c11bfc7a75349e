"""What the tokenizer is made of: special tokens, pre-tokenization, chat template, and safe encoding.

Light to import: `tokenizers` is loaded where it is used.
"""

import posixpath
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout
from pipelines.tokens.pretokenization import MOST_DIGITS, Pattern, split_pattern, split_safely

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"
EOT_ID, PAD_ID = 0, 1
SPECIAL_TOKENS = (END_OF_TEXT, PAD, "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")  # ids 0 to 5
BYTE_TOKENS = 256
_GROUP_CHARACTERS = 1 << 19  # encoded at a time: an Encoding takes some 200 bytes a token


def special_tokens(reserved: int = 0) -> tuple[str, ...]:
    """The special tokens in the order of their ids, `reserved` nameless ones for later uses behind the known ones."""
    return (*SPECIAL_TOKENS, *(f"<|reserved_{number}|>" for number in range(reserved)))


# `generation` marks what the model says, so that transformers can return the mask of its tokens.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|' + message['role'] + '|>\\n' }}"
    "{%- if message['role'] == 'assistant' -%}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{%- else -%}{{ message['content'] + '<|end|>' }}{%- endif -%}"
    "{{ '\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}"
)


def new_tokenizer(pattern: Pattern = "cl100k", digits: int = MOST_DIGITS) -> "Tokenizer":
    """A byte-level BPE tokenizer that has learned nothing yet; see `split_pattern` for the arguments."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE())
    made: Any = tokenizer
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split_pattern(pattern, digits)), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    return tokenizer


def companions(special: Sequence[str] = SPECIAL_TOKENS) -> dict[str, dict[str, Any]]:
    """The files beside tokenizer.json that transformers reads: name to content."""
    names = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "pad_token": PAD}
    others = [token for token in special if token not in names.values()]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": int(1e30),  # the model's length counts, not the tokenizer's
        "clean_up_tokenization_spaces": False,  # decoding must give back the very text
        "chat_template": CHAT_TEMPLATE,
        "additional_special_tokens": others,
    }
    return {
        "tokenizer_config.json": config | names,
        "special_tokens_map.json": {**names, "additional_special_tokens": others},
    }


class Encoder:
    """Encodes page text: whatever a page says, none of it becomes a special token."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer
        tokenizer.encode_special_tokens = True  # treat them as ordinary text
        self.vocabulary_size = tokenizer.get_vocab_size()

    @classmethod
    def load(cls, layout: Layout, version: str) -> "Encoder":
        """The committed tokenizer `version`."""
        from tokenizers import Tokenizer

        path = posixpath.join(layout.tokenizer_dir(version), "tokenizer.json")
        try:
            return cls(Tokenizer.from_buffer(cast(bytes, layout.fs.cat_file(path))))
        except (FileNotFoundError, ValueError) as error:
            raise MissingDataError(
                f"{path} can't be read ({' '.join(str(error).split())[:100]}): "
                "run `gristmill run CORPUS --through tokenizer` again"
            ) from None

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest of uint16 and uint32 that holds every id."""
        return np.dtype(np.uint16 if self.vocabulary_size <= 1 << 16 else np.uint32)

    def decode(self, ids: npt.NDArray[np.integer[Any]]) -> str:
        """The text of token ids, special tokens by their names; half a character becomes U+FFFD."""
        return self._tokenizer.decode(cast(list[int], ids.tolist()), skip_special_tokens=False)

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.unsignedinteger[Any]]]:
        """Token ids of each text, without any special token."""
        pieces: list[str] = []
        counts: list[int] = []
        for text in texts:
            cut = split_safely(text)
            pieces += cut
            counts.append(len(cut))
        ids: list[npt.NDArray[np.unsignedinteger[Any]]] = []
        for group in _groups(pieces):  # without offsets, which nobody needs; on as many threads as RAYON_NUM_THREADS
            encodings = self._tokenizer.encode_batch_fast(group, add_special_tokens=False)
            ids += [np.array(e.ids, dtype=self.dtype) for e in encodings]
        if len(ids) == len(counts):
            return ids
        found: list[npt.NDArray[np.unsignedinteger[Any]]] = []
        first = 0
        for count in counts:
            found.append(ids[first] if count == 1 else np.concatenate(ids[first : first + count]))
            first += count
        return found


def _groups(pieces: list[str]) -> Iterator[list[str]]:
    """The pieces in lists of about _GROUP_CHARACTERS."""
    first = size = 0
    for last, piece in enumerate(pieces, start=1):
        size += len(piece)
        if size >= _GROUP_CHARACTERS or last == len(pieces):
            yield pieces[first:last]
            first, size = last, 0
