"""A loss that is no number, or jumps: which documents were in the batch, and going back past them.

The batch that does it is more often a cause than the model: PaLM's spikes went away when some 200 to 500 batches
around them were skipped (Chowdhery et al. 2022, section 5.1). To rewind is to load the last checkpoint, and to
skip the batches since it and as many again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import distributed

from gristmill.core.errors import GristmillError, one_line
from training.history import documents_of
from training.loader import Batch
from training.model import labelled_tokens
from training.reading import Reading
from training.run_state import Progress, RunState
from training.shards import MIXTURE_NAME, read_mixture

SPIKE_WINDOW = 50  # steps whose mean loss a spike is measured against
SHOWN = 3  # sequences named, and documents of each
_SMALLEST_SCALE = 1.0  # an overflow at this fp16 loss scale is not the scale's doing


class TrainingDivergedError(GristmillError):
    """The loss is not finite, or jumped."""

    exit_code = 3


@dataclass(frozen=True)
class Divergence:
    """What was seen at a step, the same on every rank."""

    problem: str
    worst: tuple[tuple[int, float], ...] = ()  # place in the global batch, mean loss of that sequence alone


def divergent_loss(loss: float, recent: Sequence[float], spike_factor: float) -> str:
    """What is wrong with a step's loss; empty where nothing is.

    Args:
        loss: mean per token.
        recent: of the steps before, the last SPIKE_WINDOW of them at most.
        spike_factor: of the settings; 0: only a loss that is no number is wrong.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if spike_factor and len(recent) >= SPIKE_WINDOW and loss > spike_factor * (mean := sum(recent) / len(recent)):
        return (
            f"the loss is {loss:.3f}, more than {spike_factor:g} times the {mean:.3f} of the {len(recent)} steps before"
        )
    return ""


def divergent_gradient(norm: float, loss_scale: float | None, *, is_overflow: bool) -> str:
    """What is wrong with a step's gradient; empty where nothing is.

    With a loss scale an overflow is skipped and the scale halved, as long as there is something to halve.
    """
    if loss_scale is None and not math.isfinite(norm):
        return "the gradient is not finite"
    if loss_scale is not None and is_overflow and loss_scale <= _SMALLEST_SCALE:
        return f"the gradient overflows in fp16 even at a loss scale of {loss_scale:g}"
    return ""


def worst_sequences(s: RunState, batch: Batch) -> tuple[tuple[int, float], ...]:
    """Place and mean loss of the sequences of the global batch that stand out; every rank takes part.

    Those whose loss is no number; where there is none, those of the highest loss, SHOWN at most.
    Called before the weights move, so that each loss is what the step saw.
    """
    mine: list[tuple[int, float]] = []
    first = s.place.rank * len(batch)
    s.engine.eval()
    # Eagerly: one row is a shape that nothing was compiled for.
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        for row in range(len(batch)):
            alone = batch[row : row + 1]
            nats = float(s.engine(**alone.to_torch(s.place.device)))
            mine.append((first + row, nats / max(labelled_tokens(alone.labels), 1)))
    s.engine.train()
    gathered: list[list[tuple[int, float]]] = [[] for _ in range(s.place.world_size)]
    distributed.all_gather_object(gathered, mine)
    every = [found for part in gathered for found in part]
    broken = [found for found in every if not math.isfinite(found[1])]
    return tuple((broken or sorted(every, key=lambda found: -found[1]))[:SHOWN])


def describe(s: RunState, step: int, found: Divergence) -> tuple[str, tuple[str, ...]]:
    """One line on a divergence that names its documents, and their ids; the same on every rank."""
    said: list[tuple[str, tuple[str, ...]]] = [("", ())]
    if s.place.is_first:
        try:
            said = [_documents(s, step, found)]
        except GristmillError as error:  # spans that were damaged since: the loss is still the news
            said = [(f"its documents are not known ({one_line(error)})", ())]
    distributed.broadcast_object_list(said, src=0)
    line, documents = said[0]
    return f"at step {step:,} (batch {s.progress.cursor.batch_of(step):,}) {found.problem}; {line}", documents


def _documents(s: RunState, step: int, found: Divergence) -> tuple[str, tuple[str, ...]]:
    mixture = read_mixture(s.layout, str(s.folder / MIXTURE_NAME))
    refs = Reading(mixture, s.settings.seed, s.settings.global_batch_size).sequences(s.progress.cursor.batch_of(step))
    losses = dict(found.worst) or {ref.place: math.nan for ref in refs[:SHOWN]}
    chosen = [ref for place in losses for ref in refs if ref.place == place]
    parts: list[str] = []
    documents: list[str] = []
    for sequence in documents_of(s.layout, mixture, chosen):
        ids = list(dict.fromkeys(span.doc_id for span in sequence.spans or ()))
        documents += ids
        rest = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        alone = f" (loss {losses[sequence.ref.place]:.3f})" if found.worst else ""
        names = ", ".join(ids[:SHOWN]) or "unknown documents"
        parts.append(f"place {sequence.ref.place}{alone} of {sequence.ref.corpus}: {names}{rest}")
    which = "its worst sequences" if found.worst else "its first sequences"
    return f"{which}: {'; '.join(parts)}", tuple(dict.fromkeys(documents))


def stop_or_rewind(s: RunState, step: int, found: Divergence) -> None:
    """End the run, or take it back to its last checkpoint and past the batches since; every rank calls it.

    Raises:
        TrainingDivergedError: the settings say stop, or it was rewound as often as they allow.
    """
    settings, cursor = s.settings, s.progress.cursor
    line, documents = describe(s, step, found)
    if settings.on_divergence == "stop" or len(cursor.skips) >= settings.most_rewinds:
        rewinds = f" after {len(cursor.skips)} rewinds, as many as most_rewinds allows" if cursor.skips else ""
        raise TrainingDivergedError(f"{line}{rewinds}. {_way_out(s, step)}")
    loaded = s.checkpoints.load(s.engine)
    if loaded is None:
        raise TrainingDivergedError(f"{line}, and no checkpoint is whole enough to rewind to. {_way_out(s, step)}")
    s.progress = Progress(**loaded[1])
    moved = cursor.rewound(s.progress.step, step, found.problem, documents)
    s.progress.skips = [skip.to_plain() for skip in moved.skips]
    if s.telemetry is None:
        return
    for problem in s.checkpoints.problems:
        s.reporter.warning(problem)
    skip = moved.skips[-1]
    last = skip.first_batch + skip.batches - 1
    s.reporter.warning(
        f"{line}. Rewound to step {s.progress.step:,}; batches {skip.first_batch:,} to {last:,} are skipped. "
        f"See the batch with `gristmill trace {s.run_id} --batch {cursor.batch_of(step)} --text`"
    )
    s.telemetry.rewind(s.progress.step)
    # Lines of the step to come: where a kill undoes that step, the run comes here again and writes them again.
    for skip in moved.skips:
        if skip.after_step == s.progress.step:
            s.telemetry.write(s.progress.step + 1, skipped=skip.to_plain())


def _way_out(s: RunState, step: int) -> str:
    p = s.progress
    last = f" (last good step: {p.step}, loss {p.loss_last:.3f})" if p.loss_last else ""
    rewind = ", or set on_divergence to rewind" if s.settings.on_divergence == "stop" else ""
    return (
        f"See what it read with `gristmill trace {s.run_id} --step {step} --text`; lower learning_rate, lengthen "
        f"warmup_steps or lower gradient_clip{rewind}, and run again{last}"
    )
