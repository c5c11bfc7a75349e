"""What a run reads at each step, and at which steps it read a sequence: numbers alone, no shard file is opened.

Draw number d of the run belongs to a source by the schedule of the mixture; the source's i-th draw is position
i mod n of epoch i div n, and each epoch has its own shuffle over all n sequences of the source. A step is a
range of draws. Both ways are computed: nothing is stored, and nothing is searched.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gristmill.core.errors import MissingDataError, SettingsError
from training.permutation import Permutation
from training.schedule import Schedule
from training.shards import CorpusShare, Mixture, Shard

# Shuffled positions computed at a time. The last few numbers walk into the range over many passes of numpy calls, which
# cost the same whatever their count: of 5 million numbers, one costs 0.5 µs in blocks of 2^12 and 0.13 in these.
_SHUFFLE_BLOCK = 1 << 15
_KNOWN_PERMUTATIONS = 256

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SequenceRef:
    """Where a sequence lies; with the shard's spans, the way back to its documents."""

    path: str  # of the shard, below the root
    row: int
    corpus: str
    epoch: int  # how many times the source had been read through before
    source: str  # `corpus` or `corpus/bucket`
    place: int  # in the global batch, in the order of the ranks


class Order:
    """The order of the sequences of a mixture under a seed: draw number ↔ sequence, whatever the batches.

    Args:
        mixture: from `read_mixture`.
        seed: of the shuffle.

    Raises:
        MissingDataError: the mixture has nothing to train on, or its counts contradict each other.
    """

    def __init__(self, mixture: Mixture, seed: int) -> None:
        self.mixture, self.seed = mixture, seed
        chosen = [i for i, c in enumerate(mixture.corpora) if c.sequences > 0 and mixture.draws[i] > 0]
        if not chosen:
            raise MissingDataError("the mixture has no sequence to train on: add documents, then make it again")
        self.sources: tuple[CorpusShare, ...] = tuple(mixture.corpora[i] for i in chosen)
        shards: dict[str, list[Shard]] = {c.name: [] for c in self.sources}
        for shard in mixture.shards:
            if shard.split == "train" and shard.source in shards:
                shards[shard.source].append(shard)
        self.shards: tuple[tuple[Shard, ...], ...] = tuple(tuple(shards[c.name]) for c in self.sources)
        for share, its in zip(self.sources, self.shards, strict=True):
            if (held := sum(s.sequences for s in its)) != share.sequences:
                raise MissingDataError(
                    f"mixture.json counts {share.sequences} sequences of {share.name} but its shards hold {held}: "
                    f"run `gristmill run {share.corpus} --through training_mixture` again"
                )
        self._draws = tuple(mixture.draws[i] for i in chosen)
        self._schedule = Schedule(self._draws)
        self._permutations: dict[tuple[int, int], Permutation] = {}
        self._blocks: dict[int, tuple[tuple[int, int], Int64s]] = {}

    @cached_property
    def fingerprint(self) -> str:
        """Of all that decides which tokens come in which order; 32 hex digits.

        The seed, the sources with their draws, the content of their shards. Not where the shards lie.
        """
        facts = {
            "seed": self.seed,
            "tokens": [self.mixture.tokenizer_version, self.mixture.sequence_length],
            "sources": [[c.name, d] for c, d in zip(self.sources, self._draws, strict=True)],
            "shards": [[[s.sequences, s.sha256] for s in shards] for shards in self.shards],
        }
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def sequences(self, start: int, stop: int) -> tuple[Int64s, Int64s, Int64s]:
        """Source number, sequence number in the source, and epoch of draws start…stop-1; each int64."""
        source, ordinal = self._schedule.draws(start, stop)
        index, epoch = np.empty_like(ordinal), np.empty_like(ordinal)
        for number, share in enumerate(self.sources):
            where = np.flatnonzero(source == number) if len(self.sources) > 1 else slice(None)
            epoch[where], position = np.divmod(ordinal[where], share.sequences)
            index[where] = self._shuffled(number, epoch[where], position)
        return source, index, epoch

    def draws_of(self, source: int, sequences: Int64s, stop: int) -> list[tuple[int, int, int]]:
        """Every draw below `stop` of `sequences` (numbers in source number `source`): (sequence, draw, epoch)."""
        found: list[tuple[int, int, int]] = []
        size, epoch = self.sources[source].sequences, 0
        while len(sequences) and self._schedule.draw_number(source, epoch * size) < stop:
            positions = self._permutation(source, epoch).positions(sequences).tolist()
            for sequence, position in zip(sequences.tolist(), positions, strict=True):
                draw = self._schedule.draw_number(source, epoch * size + position)
                if draw < stop:
                    found.append((sequence, draw, epoch))
            epoch += 1
        return found

    def _shuffled(self, source: int, epochs: Int64s, positions: Int64s) -> Int64s:
        """Sequence numbers at `positions` of the shuffles of `epochs`; consecutive calls share a block."""
        found = np.empty_like(positions)
        done = 0
        while done < len(positions):  # positions count up within an epoch, so that those of a block stand together
            epoch, block = int(epochs[done]), int(positions[done]) // _SHUFFLE_BLOCK
            numbers = self._block(source, epoch, block)
            offset = int(positions[done]) - block * _SHUFFLE_BLOCK
            taken = min(len(positions) - done, len(numbers) - offset)
            found[done : done + taken] = numbers[offset : offset + taken]
            done += taken
        return found

    def _block(self, source: int, epoch: int, block: int) -> Int64s:
        cached = self._blocks.get(source)
        if cached is not None and cached[0] == (epoch, block):
            return cached[1]
        first, size = block * _SHUFFLE_BLOCK, self.sources[source].sequences
        positions = np.arange(first, min(first + _SHUFFLE_BLOCK, size), dtype=np.int64)
        numbers = self._permutation(source, epoch)(positions)
        self._blocks[source] = ((epoch, block), numbers)
        return numbers

    def _permutation(self, source: int, epoch: int) -> Permutation:
        known = self._permutations.get((source, epoch))
        if known is None:
            share = self.sources[source]
            known = Permutation(share.sequences, f"{self.seed}/{share.name}/{epoch}")
            if len(self._permutations) >= _KNOWN_PERMUTATIONS:
                self._permutations.clear()
            self._permutations[source, epoch] = known
        return known


class Reading:
    """What a run reads at which step.

    Args:
        mixture: as the run saw it (`read_mixture(layout, path)`).
        seed: of the run.
        global_batch_size: sequences in each step, all ranks together.

    Raises:
        MissingDataError: the mixture has nothing to train on, or its counts contradict each other.
        SettingsError: the batch size is below 1.
    """

    def __init__(self, mixture: Mixture, seed: int, global_batch_size: int) -> None:
        if global_batch_size < 1:
            raise SettingsError(f"global_batch_size is {global_batch_size}: give 1 or more")
        self.mixture, self.global_batch_size = mixture, global_batch_size
        self._order = Order(mixture, seed)
        self._ends = [np.cumsum([s.sequences for s in shards], dtype=np.int64) for shards in self._order.shards]
        self._places = {s.path: (i, j) for i, shards in enumerate(self._order.shards) for j, s in enumerate(shards)}

    def sequences(self, step: int) -> list[SequenceRef]:
        """The global batch of `step` (0 is the first), in the order of the ranks.

        Raises:
            SettingsError: the step is negative.
        """
        if step < 0:
            raise SettingsError(f"step {step} does not exist: steps are counted from 0")
        start = step * self.global_batch_size
        found: list[SequenceRef] = []
        drawn = zip(*(a.tolist() for a in self._order.sequences(start, start + self.global_batch_size)), strict=True)
        for place, (source, sequence, epoch) in enumerate(drawn):
            ends = self._ends[source]
            number = int(np.searchsorted(ends, sequence, side="right"))
            shard, share = self._order.shards[source][number], self._order.sources[source]
            row = sequence - int(ends[number]) + shard.sequences
            found.append(SequenceRef(shard.path, row, share.corpus, epoch, share.name, place))
        return found

    def steps_of(self, path: str, rows: Iterable[int], stop_step: int) -> list[tuple[int, int, int, int]]:
        """When rows of a shard were read: (row, step, place in the global batch, epoch), by step and place.

        Args:
            path: of the shard, below the root, as in the mixture.
            rows: of the shard; one that it does not have was never read.
            stop_step: only steps below it are told.

        Each epoch costs the same, however large the shards are. A shard that no step reads (held out, or of
        another mixture) gives an empty list.
        """
        if path not in self._places:
            return []
        source, number = self._places[path]
        shard = self._order.shards[source][number]
        first = int(self._ends[source][number]) - shard.sequences
        wanted = np.array(sorted({first + int(row) for row in rows if 0 <= row < shard.sequences}), dtype=np.int64)
        size = self.global_batch_size
        drawn = self._order.draws_of(source, wanted, stop_step * size)
        return sorted(
            ((sequence - first, draw // size, draw % size, epoch) for sequence, draw, epoch in drawn),
            key=lambda read: read[1:],
        )
