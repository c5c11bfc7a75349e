"""What one rank of a run works with, and what a checkpoint keeps of its progress."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gristmill.core.layout import Layout
from gristmill.core.progress import Reporter
from training.arguments import PretrainSettings
from training.checkpoint import Checkpoints
from training.cursor import Cursor, Skip
from training.engagement import Engagement
from training.loader import Loader
from training.place import Place
from training.telemetry import Telemetry


@dataclass
class Progress:
    """What a checkpoint keeps of the loop."""

    step: int = 0  # optimizer steps made
    tokens: int = 0  # labelled tokens learnt from
    seconds: float = 0.0  # of training, over all resumptions; undone steps do not count
    waited: float = 0.0  # of those, for data
    loss_first: float | None = None
    loss_last: float | None = None
    heldout_first: dict[str, float] = field(default_factory=dict)  # names of metrics.jsonl, at the first evaluation
    heldout_last: dict[str, float] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    recent_losses: list[float] = field(default_factory=list)
    skips: list[dict[str, Any]] = field(default_factory=list)  # of `Skip.to_plain`

    @property
    def cursor(self) -> Cursor:
        """Which batch each step reads."""
        return Cursor(Skip.from_plain(skip) for skip in self.skips)

    def to_plain(self) -> dict[str, Any]:
        """For the checkpoint; `Progress(**values)` is the inverse."""
        return asdict(self)


@dataclass
class RunState:
    """Everything the loop works with."""

    layout: Layout
    folder: Path
    settings: PretrainSettings
    steps: int
    place: Place
    reporter: Reporter
    engine: Any
    engagement: Engagement
    loader: Loader
    tokenizer: Any
    token_bytes: Any  # from `bytes_of_tokens`
    checkpoints: Checkpoints
    telemetry: Telemetry | None  # rank 0 alone writes
    progress: Progress
    is_resumed: bool

    @property
    def run_id(self) -> str:
        """Name of the run's folder."""
        return self.folder.name

    def log(self, **values: Any) -> None:
        """One line of metrics.jsonl, at the step made last."""
        if self.telemetry is not None:
            self.telemetry.write(self.progress.step, **values)
