"""The text that a model saw in a row of its batch, decoded from the shard's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.core.errors import MissingDataError
from training.history import TracedSequence
from training.past_runs import TrainingRun
from training.sampling import load_tokenizer
from training.shard_rows import ShardRows, TokenArray
from training.shards import Shard
from training.spans import current_spans

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Piece:
    """Tokens of one document, or padding, that lie together in a row."""

    start: int
    length: int
    doc_id: str | None  # None: padding, or a row whose spans are gone
    text: str  # special tokens written out; what a cut through a character leaves is U+FFFD


class SeenTexts:
    """Reads the rows of a run's shards."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._manifests: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, TokenArray] = {}
        self._tokenizer: Tokenizer | None = None

    def pieces(self, sequence: TracedSequence) -> list[Piece] | str:
        """What a row says, document by document; or why nothing can be said: the shard or the tokenizer is gone."""
        try:
            tokens = self._tokens(sequence.shard)[sequence.ref.row]
            tokenizer = self._tokenizer or self._load_tokenizer()
        except MissingDataError as error:
            return str(error)
        cuts: list[tuple[int, int, str | None]] = []
        at = 0
        for span in sequence.spans or ():
            cuts += [(at, span.start, None)] if span.start > at else []
            cuts.append((span.start, span.start + span.length, span.doc_id))
            at = span.start + span.length
        cuts += [(at, len(tokens), None)] if at < len(tokens) else []
        return [Piece(a, b - a, doc_id, _decoded(tokenizer, tokens[a:b].tolist())) for a, b, doc_id in cuts]

    def _tokens(self, shard: Shard) -> TokenArray:
        if shard.path not in self._rows:
            if current_spans(self._run.layout, shard.path, shard.sha256, self._manifests) is None:
                raise MissingDataError(
                    f"the text is gone: {shard.path} was made again, or taken away, since {self._run.name} began"
                )
            self._rows[shard.path] = ShardRows(self._run.layout, self._run.mixture, [shard]).open(0)
        return self._rows[shard.path]

    def _load_tokenizer(self) -> "Tokenizer":
        version = self._run.mixture.tokenizer_version
        self._tokenizer = load_tokenizer(Path(self._run.layout.tokenizer_dir(version)))
        return self._tokenizer


def _decoded(tokenizer: "Tokenizer", ids: Sequence[int]) -> str:
    return tokenizer.decode(list(ids), skip_special_tokens=False)
