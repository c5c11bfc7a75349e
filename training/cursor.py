"""Which batch a step reads, in a run that has skipped some: the data cursor moves on, the steps count on.

Without skips, step s (1 is the first) reads the loader's batch s - 1. After each skip the steps read that many batches
further on. A batch that was skipped belongs to no step.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Skip:
    """A range of batches that a run passed over after it diverged."""

    after_step: int  # the checkpoint's step, which the run went back to
    first_batch: int  # 0 is the loader's first
    batches: int
    diverged_at: int  # the step that was undone last
    problem: str = ""  # what was seen there
    documents: tuple[str, ...] = ()  # of the worst sequences of its batch

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self) | {"documents": list(self.documents)}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Skip":
        """The inverse of `to_plain`.

        Raises:
            KeyError, TypeError, ValueError: it is no skip.
        """
        numbers = {name: int(values[name]) for name in ("after_step", "first_batch", "batches", "diverged_at")}
        return cls(**numbers, problem=str(values.get("problem", "")), documents=tuple(values.get("documents", ())))


class Cursor:
    """From steps to batches and back.

    Args:
        skips: of the run, in the order they were made, so by `after_step`.
    """

    def __init__(self, skips: Iterable[Skip] = ()) -> None:
        self.skips: Sequence[Skip] = tuple(skips)

    @property
    def skipped(self) -> int:
        """Batches passed over, all together."""
        return sum(skip.batches for skip in self.skips)

    def batch_of(self, step: int) -> int:
        """The loader's batch (0 is the first) that `step` (1 is the first) reads."""
        return step - 1 + sum(skip.batches for skip in self.skips if skip.after_step < step)

    def step_of(self, batch: int) -> int | None:
        """The step that reads a batch; None for one that was skipped."""
        passed = 0
        for skip in self.skips:
            if batch < skip.first_batch:
                break
            if batch < skip.first_batch + skip.batches:
                return None
            passed += skip.batches
        return batch - passed + 1

    def rewound(self, to_step: int, diverged_at: int, problem: str, documents: Sequence[str] = ()) -> "Cursor":
        """The cursor after going back: the batches since `to_step` are skipped, and as many again.

        Args:
            to_step: of the checkpoint gone back to.
            diverged_at: the step to be undone last.
            problem: what was seen there.
            documents: of the batch of that step.
        """
        kept = Cursor(skip for skip in self.skips if skip.after_step <= to_step)
        first = kept.batch_of(to_step + 1)
        count = 2 * (self.batch_of(diverged_at) + 1 - first)
        return Cursor([*kept.skips, Skip(to_step, first, count, diverged_at, problem, tuple(documents))])
