"""What the tokenizer is made of: special tokens, pre-tokenization, chat template, and safe encoding.

Light to import: `tokenizers` is loaded where it is used.
"""

import posixpath
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"
EOT_ID, PAD_ID = 0, 1
SPECIAL_TOKENS = (END_OF_TEXT, PAD, "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")  # ids 0 to 5
BYTE_TOKENS = 256
SMALLEST_VOCABULARY = BYTE_TOKENS + len(SPECIAL_TOKENS)

# The cl100k split (GPT-4): contractions, words with at most one leading mark, numbers in groups of three
# digits, runs of marks with the line ends after them, line ends, other white space.
SPLIT_PATTERN = (
    r"(?i:'(?:s|t|re|ve|m|ll|d))"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)

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

# A line end followed by a visible character always ends a pre-token of SPLIT_PATTERN, so a text may be cut
# there and encoded in pieces with the same tokens.
_SAFE_CUT = re.compile(r"[\r\n](?=\S)")
PIECE_CHARACTERS = 1 << 18  # an Encoding takes some 100 bytes a token: this bounds it to tens of MB


def new_tokenizer() -> "Tokenizer":
    """A byte-level BPE tokenizer that has learned nothing yet."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE())
    made: Any = tokenizer
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    return tokenizer


def companions() -> dict[str, dict[str, Any]]:
    """The files beside tokenizer.json that transformers reads: name to content."""
    names = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "pad_token": PAD}
    others = [token for token in SPECIAL_TOKENS if token not in names.values()]
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

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.unsignedinteger[Any]]]:
        """Token ids of each text, without any special token."""
        pieces: list[str] = []
        counts: list[int] = []
        for text in texts:
            cut = split_safely(text)
            pieces += cut
            counts.append(len(cut))
        encodings = self._tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
        ids = [np.array(e.ids, dtype=self.dtype) for e in encodings]
        if len(ids) == len(counts):
            return ids
        found: list[npt.NDArray[np.unsignedinteger[Any]]] = []
        first = 0
        for count in counts:
            found.append(ids[first] if count == 1 else np.concatenate(ids[first : first + count]))
            first += count
        return found


def split_safely(text: str, size: int = PIECE_CHARACTERS) -> list[str]:
    """Cut a long text into pieces of about `size` characters whose tokens add up to those of the whole."""
    pieces: list[str] = []
    start = 0
    while len(text) - start > size:
        cut = _SAFE_CUT.search(text, start + size - 1)
        if cut is None:
            break
        pieces.append(text[start : cut.end()])
        start = cut.end()
    pieces.append(text[start:])
    return pieces
