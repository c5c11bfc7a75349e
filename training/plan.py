"""training_plan: `python -m training.plan --root R`: tokens, FLOPs, hours, cost and memory before any launch.

Pure arithmetic: `make_plan` takes settings and returns the plan; `main` fills in what the root knows (vocabulary,
sequence length) and writes plan.json.
"""

import dataclasses
import posixpath
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gristmill.core.errors import GristmillError
from gristmill.core.layout import REPORT_NAME, Layout
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from training.arguments import PlanSettings
from training.chinchilla import TABLE, nearest_row, optimal_tokens, training_flops
from training.hardware import Gpu, gpu_named
from training.memory import (
    GIGABYTE,
    Precision,
    activation_bytes,
    fp32_rule_bytes,
    lora_bytes,
    lora_parameters,
    qlora_bytes,
    state_bytes,
)
from training.runs import code_version, fingerprint, now
from training.sizes import parameter_count
from training.worker import resolve_settings, run_worker, worker_parser

ASSET = "training_plan"
CODE = ("arguments", "chinchilla", "hardware", "memory", "plan", "sizes")
DEFAULT_VOCABULARY = 32_000
DEFAULT_SEQUENCE_LENGTH = 2_048


@dataclass(frozen=True)
class MemoryRow:
    """What one way of training takes on each GPU, in GB (1e9 bytes)."""

    method: str
    states_gb: float
    activations_gb: float
    total_gb: float
    is_fitting: bool


@dataclass(frozen=True)
class Plan:
    """The answer: will it fit, how long, at what cost."""

    model: str
    parameters: int
    vocabulary: int
    sequence_length: int
    tokens: float
    tokens_per_parameter: float
    chinchilla_tokens: float
    chinchilla_nearest: dict[str, float]
    flops: float
    gpu: str
    gpus: int
    mfu: float
    hours: float
    gpu_hours: float
    cost: float | None
    precision: str
    usable_gb: float
    method: str
    is_fitting: bool
    memory: tuple[MemoryRow, ...]
    fp32_rule_gb: float
    smallest_change: str
    advice: tuple[str, ...]


def make_plan(settings: PlanSettings) -> Plan:
    """Plan a run.

    Raises:
        SettingsError: the GPU or the model is not known.
    """
    sizes, gpu = settings.sizes, gpu_named(settings.gpu)
    vocabulary = settings.vocabulary or DEFAULT_VOCABULARY
    length = settings.sequence_length or DEFAULT_SEQUENCE_LENGTH
    parameters = round(settings.parameters) or parameter_count(sizes, vocabulary)
    tokens = settings.tokens or optimal_tokens(parameters)
    flops = training_flops(parameters, tokens)
    peak = settings.gpu_tflops or (gpu.bf16_tflops if settings.precision == "mixed" else gpu.fp32_tflops)
    hours = flops / (settings.gpus * peak * 1e12 * settings.mfu) / 3600
    usable = (settings.gpu_memory_gb or gpu.memory_gb) * (1 - settings.memory_reserve)
    resolved = replace(settings, vocabulary=vocabulary, sequence_length=length)
    rows = memory_rows(resolved, parameters, usable)
    chosen = rows[settings.zero_stage]
    row = nearest_row(parameters)
    return Plan(
        model=settings.model,
        parameters=parameters,
        vocabulary=vocabulary,
        sequence_length=length,
        tokens=tokens,
        tokens_per_parameter=tokens / parameters,
        chinchilla_tokens=optimal_tokens(parameters),
        chinchilla_nearest=dataclasses.asdict(row),
        flops=flops,
        gpu=gpu.name,
        gpus=settings.gpus,
        mfu=settings.mfu,
        hours=hours,
        gpu_hours=hours * settings.gpus,
        cost=hours * settings.gpus * settings.price_per_gpu_hour if settings.price_per_gpu_hour else None,
        precision=settings.precision,
        usable_gb=usable,
        method=chosen.method,
        is_fitting=chosen.is_fitting,
        memory=rows,
        fp32_rule_gb=fp32_rule_bytes(parameters) / GIGABYTE,
        smallest_change=smallest_change(resolved, parameters, usable),
        advice=advice(resolved, parameters, usable, gpu),
    )


def memory_rows(settings: PlanSettings, parameters: int, usable_gb: float) -> tuple[MemoryRow, ...]:
    """Memory per GPU for DDP, ZeRO-1, 2, 3, LoRA and QLoRA, in that order."""
    precision: Precision = settings.precision
    activations = _activations(settings)
    adapter = lora_parameters(settings.sizes, settings.lora_rank)
    states = {
        name: state_bytes(parameters, gpus=settings.gpus, zero_stage=stage, precision=precision)
        for stage, name in enumerate(("DDP", "ZeRO-1", "ZeRO-2", "ZeRO-3 / FSDP"))
    }
    states["LoRA"] = lora_bytes(parameters, adapter, precision)
    states["QLoRA"] = qlora_bytes(parameters, adapter, precision)
    rows: list[MemoryRow] = []
    for name, size in states.items():
        total = (size + activations) / GIGABYTE
        rows.append(MemoryRow(name, size / GIGABYTE, activations / GIGABYTE, total, total <= usable_gb))
    return tuple(rows)


def _activations(settings: PlanSettings) -> float:
    return activation_bytes(
        settings.sizes,
        vocabulary=settings.vocabulary,
        sequence_length=settings.sequence_length,
        micro_batch=settings.micro_batch_size,
        precision=settings.precision,
        is_checkpointed=settings.activation_checkpointing,
    )


def _fits(settings: PlanSettings, parameters: int, usable_gb: float) -> bool:
    return memory_rows(settings, parameters, usable_gb)[settings.zero_stage].is_fitting


def smallest_change(settings: PlanSettings, parameters: int, usable_gb: float) -> str:
    """The mildest single step, or mildest row of steps, after which the run fits; empty where it fits as it is.

    From free to costly: a smaller micro-batch with accumulation, a higher ZeRO stage, recomputed activations,
    both, all of these, mixed precision, more GPUs; at last adapters instead of full training.
    """
    if _fits(settings, parameters, usable_gb):
        return ""
    one = replace(settings, micro_batch_size=1)
    for candidate in (settings, one) if settings.micro_batch_size > 1 else (settings,):
        for precision in dict.fromkeys((settings.precision, "mixed")):
            for recompute in dict.fromkeys((settings.activation_checkpointing, True)):
                for stage in range(settings.zero_stage, 4):
                    tried = replace(
                        candidate, precision=precision, activation_checkpointing=recompute, zero_stage=stage
                    )
                    if _fits(tried, parameters, usable_gb):
                        return _difference(settings, tried)
        if candidate is settings and _fits(one, parameters, usable_gb):
            return _difference(settings, one)
    strongest = replace(one, precision="mixed", activation_checkpointing=True, zero_stage=3)
    for factor in (2, 4, 8, 16, 32, 64):
        tried = replace(strongest, gpus=settings.gpus * factor)
        if _fits(tried, parameters, usable_gb):
            return _difference(settings, tried)
    for row in memory_rows(strongest, parameters, usable_gb)[4:]:
        if row.is_fitting:
            return f"{row.method} instead of full training"
    return "none of ours: take a smaller model, shorter sequences or a larger GPU"


def _difference(before: PlanSettings, after: PlanSettings) -> str:
    names = ("micro_batch_size", "zero_stage", "activation_checkpointing", "precision", "gpus")
    changed = [n for n in names if getattr(before, n) != getattr(after, n)]
    return ", ".join(f"{n} {getattr(before, n)} -> {str(getattr(after, n)).lower()}" for n in changed)


def advice(settings: PlanSettings, parameters: int, usable_gb: float, gpu: Gpu) -> tuple[str, ...]:
    """What to do first: the usual order of decisions, ending at the first that suffices."""
    lines = [
        "use bf16: it needs no loss scaling" if gpu.has_bf16 else f"{gpu.name} has no bf16: use fp16 with loss scaling"
    ]
    ladder = (
        ("micro_batch_size 1 with DDP fits: raise the micro-batch until memory is full", {"zero_stage": 0}),
        (
            "take ZeRO-2, gradient accumulation and activation checkpointing",
            {"zero_stage": 2, "activation_checkpointing": True},
        ),
        ("take ZeRO-3 / FSDP", {"zero_stage": 3, "activation_checkpointing": True}),
    )
    single = replace(settings, micro_batch_size=1, precision="mixed")
    for line, change in ladder:
        if _fits(replace(single, **change), parameters, usable_gb):
            return (*lines, line)
    rows = memory_rows(replace(single, activation_checkpointing=True), parameters, usable_gb)
    for row in rows[4:]:
        if row.is_fitting:
            return (*lines, f"full training does not fit; for fine-tuning take {row.method}")
    return (*lines, "nothing fits on this GPU: take more or larger GPUs, or a smaller model")


def describe(plan: Plan) -> list[str]:
    """The plan in a few lines for a log."""
    cost = "" if plan.cost is None else f", cost {plan.cost:,.0f}"
    verdict = "fits" if plan.is_fitting else f"does not fit; change: {plan.smallest_change}"
    rows = ", ".join(f"{r.method} {r.total_gb:,.2f}" for r in plan.memory)
    return [
        f"{plan.parameters:,} parameters x {plan.tokens:.3g} tokens = {plan.flops:.3g} FLOPs",
        f"{plan.hours:,.3g} hours on {plan.gpus} x {plan.gpu} at {plan.mfu:.0%} of the peak{cost}",
        f"GB per GPU: {rows}; usable {plan.usable_gb:.0f}: {plan.method} {verdict}",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    given = worker_parser("training.plan", __doc__).parse_args(arguments)

    def work(reporter: Reporter) -> None:
        layout = Layout(given.root)
        settings = resolve_settings(PlanSettings, ASSET, layout, given.settings_file, given.settings)
        settings, inputs = _filled_in(layout, settings)
        plan = dataclasses.asdict(make_plan(settings))
        for line in describe(make_plan(settings)):
            reporter.info(line)
        plan["chinchilla_table"] = [dataclasses.asdict(row) for row in TABLE]
        folder = layout.singleton_dir(ASSET)
        layout.write_json(posixpath.join(folder, "plan.json"), plan)
        report = {
            "asset": ASSET,
            "created_at": now(),
            "fingerprint": fingerprint(ASSET, to_plain(settings), inputs, code_version(CODE)),
            "settings": to_plain(settings),
            "inputs": inputs,
            "plan": plan,
        }
        layout.write_json(posixpath.join(folder, REPORT_NAME), report)
        reporter.result({"asset": ASSET, "folder": folder})

    return run_worker(work)


def _filled_in(layout: Layout, settings: PlanSettings) -> tuple[PlanSettings, dict[str, str]]:
    """The settings with vocabulary and sequence length of the mixture, where it is there and they are not given."""
    from training.sampling import load_tokenizer
    from training.shards import read_mixture

    try:
        mixture = read_mixture(layout)
        vocabulary = load_tokenizer(Path(layout.tokenizer_dir(mixture.tokenizer_version))).get_vocab_size()
    except GristmillError:
        return settings, {}  # a plan may be made before there is any data
    filled = replace(
        settings,
        vocabulary=settings.vocabulary or vocabulary,
        sequence_length=settings.sequence_length or mixture.sequence_length,
    )
    return filled, {"training_mixture": mixture.fingerprint}


if __name__ == "__main__":
    sys.exit(main())
