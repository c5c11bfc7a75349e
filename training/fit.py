"""Whether a run fits the memory there is, and the smallest change after which it does."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gristmill.core.errors import GristmillError, MissingDataError
from gristmill.core.layout import Layout
from training.arguments import PretrainSettings
from training.machine import Machine, this_machine
from training.memory import GIGABYTE, Optimizer
from training.peak import Parts, Shape, Strategy, predict_peak
from training.sizes import ModelSizes

MEMORY_RESERVE = 0.05  # of a GPU, for CUDA's context (0.5 GB), NCCL and fragmentation; predictions are right to some %
PROCESS_BYTES = 0.9e9  # a rank on a CPU before it has a model: Python, torch, transformers, DeepSpeed
_SHARDED: tuple[Strategy, ...] = ("ddp", "zero1", "zero2", "zero3")

# What a change costs, in no unit: the cheapest set of changes that suffices is proposed. A smaller micro-batch is made
# up for by accumulation; more sharding is more communication; recomputing is a third more arithmetic; offloading waits
# for the host; another arithmetic is another run, and so, by a little, are moments in 8 bits.
_HALVING, _COMPILING, _RECOMPUTING, _MIXED_PRECISION, _QUANTISING, _OFFLOADING = 1.0, 1.5, 3.0, 5.0, 6.0, 8.0
_IN_8_BITS: dict[Optimizer, Optimizer] = {"adamw": "adamw_8bit", "paged_adamw": "paged_adamw_8bit"}
_STAGE_COST = {"single": 0.0, "ddp": 0.0, "zero1": 0.8, "zero2": 1.2, "zero3": 4.0, "fsdp2": 4.0}


class DoesNotFitError(GristmillError):
    """A run needs more memory than there is."""

    exit_code = 2


@dataclass(frozen=True)
class Fit:
    """What a run needs beside what there is, of the scarcer of GPU and host memory."""

    is_fitting: bool
    needed: float  # bytes
    usable: float
    where: str
    moment: str  # of a step, when it is highest
    parts: Parts  # of one rank, then
    changes: tuple[tuple[str, str, str], ...]  # setting, value now, value after which it fits; none where nothing helps

    @property
    def change(self) -> str:
        """The changes in words."""
        return described(self.changes)

    @property
    def line(self) -> str:
        """The verdict in one line."""
        numbers = f"{self.needed / GIGABYTE:,.1f} GB of the {self.usable / GIGABYTE:,.1f} usable of {self.where}"
        if self.is_fitting:
            return f"predicted peak {numbers}"
        largest = sorted(self.parts.gigabytes().items(), key=lambda item: -item[1])[:3]
        named = ", ".join(f"{name.replace('_', ' ')} {size:,.1f}" for name, size in largest)
        way = self.change or "no setting of ours helps: take a smaller model, shorter sequences or more memory"
        return f"it does not fit: predicted peak {numbers} ({named}); smallest change: {way}"


def described(changes: tuple[tuple[str, str, str], ...]) -> str:
    """`micro_batch_size 16 -> 8, strategy zero1 -> zero2`."""
    return ", ".join(f"{name} {before} -> {after}" for name, before, after in changes)


def smaller(shape: Shape, *, most_gpus: int | None = None) -> Iterator[tuple[float, Shape]]:
    """Every variant of `shape` that may take less memory, with its cost; unordered.

    Args:
        shape: the run as asked for.
        most_gpus: up to how many GPUs may be taken; None: those it has.
    """
    asked, is_gpu = shape.strategy, shape.is_on_gpu
    is_sharding = asked != "fsdp2"
    strategies = (
        (asked, *_SHARDED[_SHARDED.index("ddp" if asked == "single" else asked) + 1 :]) if is_sharding else (asked,)
    )
    for divisor, strategy, recomputes, compiles, precision, offloads, optimizer in itertools.product(
        [d for d in range(1, shape.micro_batch_size + 1) if shape.micro_batch_size % d == 0],
        strategies,
        {shape.is_checkpointed, True},
        {shape.is_compiled, True} if is_gpu else {shape.is_compiled},
        dict.fromkeys((shape.precision, "bf16")) if shape.precision == "fp32" else (shape.precision,),
        {shape.is_offloaded, True} if is_gpu and is_sharding else {shape.is_offloaded},
        dict.fromkeys((shape.optimizer, _IN_8_BITS.get(shape.optimizer, shape.optimizer))),
    ):
        if offloads and (strategy in ("single", "ddp") or optimizer != "adamw"):
            continue
        if shape.gpus == 1 and strategy != asked and not offloads:
            continue  # there is nothing to shard over
        tried = replace(
            shape,
            micro_batch_size=shape.micro_batch_size // divisor,
            accumulation=shape.accumulation * divisor,
            strategy=strategy,
            is_checkpointed=recomputes,
            is_compiled=compiles,
            precision=precision,
            has_mask=shape.has_mask and precision == shape.precision,
            is_offloaded=offloads,
            optimizer=optimizer,
        )
        cost = (divisor.bit_length() - 1 + (divisor & (divisor - 1) > 0)) * _HALVING
        cost += (
            _STAGE_COST[strategy] - _STAGE_COST[shape.strategy] + _RECOMPUTING * (recomputes != shape.is_checkpointed)
        )
        cost += _QUANTISING * (optimizer != shape.optimizer)
        cost += _COMPILING * (compiles != shape.is_compiled) + _MIXED_PRECISION * (precision != shape.precision)
        yield cost + _OFFLOADING * (offloads != shape.is_offloaded), tried
    if most_gpus is not None and is_sharding:
        strongest = replace(shape, micro_batch_size=1, strategy="zero3", is_checkpointed=True, precision="bf16")
        for doublings in range(1, 11):
            if shape.gpus << doublings <= most_gpus:
                yield 100.0 + doublings, replace(strongest, gpus=shape.gpus << doublings)


def smallest_change(shape: Shape, usable: float, *, most_gpus: int | None = None) -> tuple[tuple[str, str, str], ...]:
    """The cheapest set of changes after which one GPU's peak is at most `usable` bytes; none where there is none."""
    for _, tried in sorted(smaller(shape, most_gpus=most_gpus), key=lambda pair: pair[0]):
        if predict_peak(tried).total <= usable:
            return differences(shape, tried)
    return ()


def differences(before: Shape, after: Shape) -> tuple[tuple[str, str, str], ...]:
    """What has to be set otherwise, by the settings' names; accumulation follows from the micro-batch."""
    names = {
        "micro_batch_size": "micro_batch_size",
        "strategy": "strategy",
        "is_compiled": "compile",
        "is_checkpointed": "activation_checkpointing",
        "precision": "precision",
        "optimizer": "optimizer",
        "is_offloaded": "offload",
        "gpus": "gpus",
    }
    pairs = [(name, str(getattr(before, f)), str(getattr(after, f))) for f, name in names.items()]
    return tuple((name, a.lower(), b.lower()) for name, a, b in pairs if a != b)


def sizes_in_use(settings: PretrainSettings) -> tuple[ModelSizes, int]:
    """Sizes, and vocabulary where the model brings its own (0: the tokenizer's): those of base_model, where it is one.

    Sizes that base_model's config.json does not tell are the settings'.
    """
    if not settings.base_model:
        return settings.sizes, 0
    try:
        config: dict[str, Any] = json.loads((Path(settings.base_model) / "config.json").read_text(encoding="utf-8"))
        heads = int(config["num_attention_heads"])
        sizes = ModelSizes(
            layers=int(config["num_hidden_layers"]),
            hidden=int(config["hidden_size"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            ffn=int(config["intermediate_size"]),
            is_tied=bool(config.get("tie_word_embeddings", True)),
        )
        return sizes, int(config["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return settings.sizes, 0  # the ranks read it, and say what is wrong with it


def shape_of(settings: PretrainSettings, vocabulary: int, sequence_length: int, *, is_on_gpu: bool) -> Shape:
    """A pretraining run, as far as memory is concerned."""
    sizes, own = sizes_in_use(settings)
    is_varlen = settings.attention not in ("auto", "sdpa") or (
        settings.attention == "auto" and settings.precision != "fp32"
    )
    return Shape(
        sizes=sizes,
        vocabulary=own or vocabulary,
        sequence_length=sequence_length,
        micro_batch_size=settings.micro_batch,
        accumulation=settings.accumulation,
        precision=settings.precision,
        strategy=settings.strategy,
        optimizer=settings.optimizer,
        gpus=settings.ranks,
        is_offloaded=settings.offload and is_on_gpu,
        is_checkpointed=settings.activation_checkpointing,
        is_compiled=settings.compile,
        has_mask=not (is_varlen and is_on_gpu),
        is_on_gpu=is_on_gpu,
    )


def judge(settings: PretrainSettings, vocabulary: int, sequence_length: int, machine: Machine) -> Fit:
    """Compare a run with a machine: one rank a GPU, or all ranks in the host's memory where there is no GPU."""
    is_on_gpu = bool(machine.gpu_bytes)
    shape = shape_of(settings, vocabulary, sequence_length, is_on_gpu=is_on_gpu)
    ranks = settings.ranks // settings.nodes
    if not is_on_gpu:
        return _judged(shape, machine.host_bytes, "this machine's memory", ranks)
    smallest = min(machine.gpu_bytes[:ranks])
    fit = _judged(shape, smallest * (1 - MEMORY_RESERVE), f"{machine.gpu} ({smallest / GIGABYTE:,.0f} GB)", 1)
    host = ranks * (predict_peak(shape).host_bytes + PROCESS_BYTES)
    if fit.is_fitting and host > machine.host_bytes:
        who = "offload puts the optimizer" if settings.offload else "pages of the optimizer go"
        where = f"this machine's memory, where {who}"
        return replace(fit, is_fitting=False, needed=host, usable=float(machine.host_bytes), where=where)
    return fit


def _judged(shape: Shape, usable: float, where: str, ranks: int) -> Fit:
    """`ranks` is how many share the memory; on a CPU each is a process besides."""
    peak, beside = predict_peak(shape), 0.0 if shape.is_on_gpu else PROCESS_BYTES
    needed = ranks * (peak.total + beside)
    is_fitting = needed <= usable
    changes = () if is_fitting else smallest_change(shape, usable / ranks - beside)
    return Fit(is_fitting, needed, float(usable), where, peak.moment, peak.parts, changes)


def fit_here(layout: Layout, settings: PretrainSettings, machine: Machine | None = None) -> Fit | None:
    """Judge a run on this machine, with the mixture's sequence length and tokenizer; None where it runs on others.

    Raises:
        MissingDataError: there is no mixture or no tokenizer.
    """
    from training.shards import read_mixture

    machine = machine or this_machine()
    if settings.hostfile and not machine.gpu_bytes:
        return None  # which host has how many ranks and what memory is not known here
    mixture = read_mixture(layout)
    vocabulary = vocabulary_size(Path(layout.tokenizer_dir(mixture.tokenizer_version)))
    return judge(settings, vocabulary, mixture.sequence_length, machine)


def vocabulary_size(folder: Path) -> int:
    """Tokens of the tokenizer in `folder`; without training/sampling.py, which leads to torch.

    Raises:
        MissingDataError: it is not there, or can't be read.
    """
    from tokenizers import Tokenizer

    try:
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        return int(Tokenizer.from_str(text).get_vocab_size())
    except Exception as error:  # tokenizers raises plain Exception
        raise MissingDataError(f"{folder / 'tokenizer.json'} can't be read: {' '.join(str(error).split())}") from None


def require_fit(layout: Layout, settings: PretrainSettings, machine: Machine | None = None) -> str:
    """A warning, empty where there is none, about a run that does not fit, by the setting memory_check.

    Raises:
        DoesNotFitError: it does not fit, and memory_check is refuse.
    """
    fit = None if settings.memory_check == "off" else fit_here(layout, settings, machine)
    if fit is None or fit.is_fitting:
        return ""
    if settings.memory_check == "refuse":
        raise DoesNotFitError(f"{fit.line} (memory_check: warn lets it run all the same)")
    return fit.line
