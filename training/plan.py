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
from typing import Any

from gristmill.core.errors import GristmillError, SettingsError
from gristmill.core.layout import REPORT_NAME, Layout
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from training.arguments import PlanSettings
from training.chinchilla import TABLE, approach1_tokens, nearest_row, optimal_tokens, training_flops
from training.fit import described, smallest_change, vocabulary_size
from training.hardware import Gpu, gpu_named
from training.memory import GIGABYTE, Optimizer, adapter_bytes, fp32_rule_bytes, lora_parameters, state_bytes
from training.peak import PARTS, Peak, Shape, Strategy, predict_peak
from training.plan_table import plan_table
from training.runs import code_version, fingerprint, now
from training.sizes import parameter_count
from training.worker import resolve_settings, run_worker, worker_parser

ASSET = "training_plan"
CODE = ("activations", "arguments", "chinchilla", "fit", "hardware", "memory", "peak", "plan", "plan_table", "sizes")
DEFAULT_VOCABULARY = 32_000
DEFAULT_SEQUENCE_LENGTH = 2_048
MOST_GPUS = 1 << 14  # a change to more than that is no advice
WHOLE_LOGITS_BYTES = 14  # per token and entry in fine-tuning: 16-bit logits; in fp32 they, log-probabilities, gradient

# Rows of the memory table: name, strategy, offload. The row of the settings is one of them, or comes first.
METHODS: tuple[tuple[str, Strategy, bool], ...] = (
    ("DDP", "ddp", False),
    ("ZeRO-1", "zero1", False),
    ("ZeRO-1 offload", "zero1", True),
    ("ZeRO-2", "zero2", False),
    ("ZeRO-2 offload", "zero2", True),
    ("ZeRO-3", "zero3", False),
    ("ZeRO-3 offload", "zero3", True),
    ("FSDP2", "fsdp2", False),
)


@dataclass(frozen=True)
class MemoryRow:
    """What one way of training takes on each GPU, in GB (1e9 bytes)."""

    method: str
    precision: str
    is_checkpointed: bool
    highest: dict[str, float]  # each part at its own highest moment
    at_peak: dict[str, float]  # each part at the moment when the sum is highest
    moment: str
    peak_gb: float
    host_gb: float  # of host memory per GPU, where states are offloaded
    rule_gb: float  # model states by the ZeRO paper's rule
    is_fitting: bool


@dataclass(frozen=True)
class Plan:
    """The answer: will it fit, how long, at what cost."""

    model: str
    parameters: int
    vocabulary: int
    sequence_length: int
    micro_batch_size: int
    accumulation: int
    tokens_per_step: int
    steps: int
    tokens: float
    tokens_per_parameter: float
    tokens_twenty: float  # compute-optimal, by 20 tokens a parameter
    tokens_approach1: float  # compute-optimal, along the paper's table
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
    precisions: tuple[MemoryRow, ...]  # the chosen strategy in fp32, bf16, fp16, with and without recomputation
    fp32_rule_gb: float
    smallest_change: str
    advice: tuple[str, ...]


def make_plan(settings: PlanSettings) -> Plan:
    """Plan a run.

    Raises:
        SettingsError: the GPU or the model is not known, or the GPU has no bf16.
    """
    gpu = gpu_named(settings.gpu)
    if settings.precision == "bf16" and not gpu.has_bf16:
        raise SettingsError(f"{gpu.name} has no bf16: set precision to fp16 or fp32")
    settings = replace(
        settings,
        vocabulary=settings.vocabulary or DEFAULT_VOCABULARY,
        sequence_length=settings.sequence_length or DEFAULT_SEQUENCE_LENGTH,
    )
    shape = plan_shape(settings)
    parameters = shape.parameter_count
    by_rule = {"twenty": optimal_tokens(parameters), "approach1": approach1_tokens(parameters)}
    tokens = settings.tokens or by_rule[settings.tokens_rule]
    flops = training_flops(parameters, tokens)
    peak = settings.gpu_tflops or (gpu.fp32_tflops if settings.precision == "fp32" else gpu.bf16_tflops)
    hours = flops / (settings.gpus * peak * 1e12 * settings.mfu) / 3600
    usable = (settings.gpu_memory_gb or gpu.memory_gb) * (1 - settings.memory_reserve)
    per_step = shape.tokens * shape.accumulation * settings.gpus
    chosen = memory_row(_method_name(settings.strategy, settings.offload, settings.optimizer), shape, usable)
    return Plan(
        model=settings.model,
        parameters=parameters,
        vocabulary=settings.vocabulary,
        sequence_length=settings.sequence_length,
        micro_batch_size=settings.micro_batch_size,
        accumulation=shape.accumulation,
        tokens_per_step=per_step,
        steps=max(1, -(-int(tokens) // per_step)),
        tokens=tokens,
        tokens_per_parameter=tokens / parameters,
        tokens_twenty=by_rule["twenty"],
        tokens_approach1=by_rule["approach1"],
        chinchilla_nearest=dataclasses.asdict(nearest_row(parameters)),
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
        memory=memory_rows(settings, usable),
        precisions=precision_rows(settings, gpu, usable),
        fp32_rule_gb=fp32_rule_bytes(parameters) / GIGABYTE,
        smallest_change="" if chosen.is_fitting else change_for(settings, usable),
        advice=advice(settings, usable, gpu),
    )


def plan_shape(settings: PlanSettings) -> Shape:
    """The planned run, as far as memory is concerned; vocabulary and sequence length are given by now."""
    return Shape(
        sizes=settings.sizes,
        vocabulary=settings.vocabulary,
        sequence_length=settings.sequence_length,
        micro_batch_size=settings.micro_batch_size,
        accumulation=settings.accumulation,
        precision=settings.precision,
        strategy=settings.strategy,
        optimizer=settings.optimizer,
        gpus=settings.gpus,
        is_offloaded=settings.offload,
        is_checkpointed=settings.activation_checkpointing,
        is_compiled=settings.compile,
        has_mask=settings.precision == "fp32",  # the kernel that needs none has no fp32
        parameters=round(settings.parameters) or parameter_count(settings.sizes, settings.vocabulary),
    )


def _method_name(strategy: Strategy, is_offloaded: bool, optimizer: Optimizer) -> str:
    names = {(strategy, is_offloaded): name for name, strategy, is_offloaded in METHODS}
    return names.get((strategy, is_offloaded), "single") + ("" if optimizer == "adamw" else f" {optimizer}")


def memory_row(method: str, shape: Shape, usable_gb: float) -> MemoryRow:
    """The predicted memory of one way of training."""
    peak = predict_peak(shape)
    stage = {"zero1": 1, "zero2": 2, "zero3": 3, "fsdp2": 3}.get(shape.strategy, 0)
    rule = state_bytes(
        shape.parameter_count, gpus=shape.gpus, zero_stage=stage, precision=shape.precision, optimizer=shape.optimizer
    )
    return _row(method, shape, peak, rule.total, usable_gb)


def _row(method: str, shape: Shape, peak: Peak, rule: float, usable_gb: float) -> MemoryRow:
    total = peak.total / GIGABYTE
    return MemoryRow(
        method=method,
        precision=shape.precision,
        is_checkpointed=shape.is_checkpointed,
        highest=peak.highest.gigabytes(),
        at_peak=peak.parts.gigabytes(),
        moment=peak.moment,
        peak_gb=total,
        host_gb=peak.host_bytes / GIGABYTE,
        rule_gb=rule / GIGABYTE,
        is_fitting=total <= usable_gb,
    )


def memory_rows(settings: PlanSettings, usable_gb: float) -> tuple[MemoryRow, ...]:
    """Memory per GPU of METHODS, then of LoRA and QLoRA; vocabulary and sequence length are given by now."""
    shape = plan_shape(settings)
    rows: list[MemoryRow] = []
    for _, strategy, is_offloaded in METHODS:  # what is offloaded is torch's AdamW
        optimizer: Optimizer = "adamw" if is_offloaded else shape.optimizer
        method = replace(shape, strategy=strategy, is_offloaded=is_offloaded, optimizer=optimizer)
        rows.append(memory_row(_method_name(strategy, is_offloaded, optimizer), method, usable_gb))
    if settings.strategy == "single":
        rows[0] = replace(rows[0], method=_method_name("single", False, shape.optimizer))
    return (*rows, *(adapter_row(settings, is_4bit, usable_gb) for is_4bit in (False, True)))


def adapter_row(settings: PlanSettings, is_4bit: bool, usable_gb: float) -> MemoryRow:
    """LoRA or QLoRA of this model on one GPU: eager layers, whole logits (training/model.py, loss_sum)."""
    shape = replace(
        plan_shape(settings), is_compiled=False, gpus=1, strategy="single", is_offloaded=False, optimizer="adamw"
    )
    adapter = lora_parameters(settings.sizes, settings.lora_rank)
    states = adapter_bytes(shape.parameter_count, adapter, shape.precision, is_4bit=is_4bit)
    moment = predict_peak(replace(shape, accumulation=1)).moments["loss"]
    parts = replace(
        moment,
        weights=states.weights,
        gradients=states.gradients,
        master_weights=0.0,
        optimizer=states.optimizer,
        logits=float(WHOLE_LOGITS_BYTES) * shape.tokens * shape.vocabulary,
    )
    name = "QLoRA" if is_4bit else "LoRA"
    return _row(name, shape, Peak({"loss": parts}, 0.0), states.total, usable_gb)


def precision_rows(settings: PlanSettings, gpu: Gpu, usable_gb: float) -> tuple[MemoryRow, ...]:
    """The chosen strategy in every arithmetic that it and the GPU have, without and with recomputed activations."""
    rows: list[MemoryRow] = []
    name = _method_name(settings.strategy, settings.offload, settings.optimizer)
    for precision in ("fp32", "bf16", "fp16"):
        if (precision == "bf16" and not gpu.has_bf16) or (precision == "fp16" and settings.strategy == "fsdp2"):
            continue
        for recomputes in (False, True):
            tried = replace(settings, precision=precision, activation_checkpointing=recomputes)
            rows.append(memory_row(name, plan_shape(tried), usable_gb))
    return tuple(rows)


def change_for(settings: PlanSettings, usable_gb: float) -> str:
    """The cheapest set of changes after which the run fits, more GPUs and at last adapters among them."""
    if changes := smallest_change(plan_shape(settings), usable_gb * GIGABYTE, most_gpus=MOST_GPUS):
        return described(changes)
    strongest = replace(settings, micro_batch_size=1, global_batch_size=0, activation_checkpointing=True)
    for is_4bit in (False, True):
        row = adapter_row(strongest, is_4bit, usable_gb)
        if row.is_fitting:
            return f"{row.method} instead of full training"
    return "none of ours: take a smaller model, shorter sequences or a larger GPU"


def advice(settings: PlanSettings, usable_gb: float, gpu: Gpu) -> tuple[str, ...]:
    """What to do first: the usual order of decisions, ending at the first that suffices."""
    lines = [
        "use bf16: it needs no loss scaling" if gpu.has_bf16 else f"{gpu.name} has no bf16: use fp16 with loss scaling"
    ]
    shape = replace(
        plan_shape(settings),
        micro_batch_size=1,
        accumulation=1,
        precision="bf16" if gpu.has_bf16 else "fp16",
        has_mask=False,
        is_offloaded=False,
        is_checkpointed=False,
    )
    ladder: tuple[tuple[str, Strategy, bool], ...] = (
        ("micro_batch_size 1 with DDP fits: raise the micro-batch until memory is full", "ddp", False),
        ("take ZeRO-1: it costs no more communication than DDP", "zero1", False),
        ("take ZeRO-2, gradient accumulation and activation checkpointing", "zero2", True),
        ("take ZeRO-3 or FSDP2, and activation checkpointing", "zero3", True),
    )
    for line, strategy, recomputes in ladder:
        if memory_row("", replace(shape, strategy=strategy, is_checkpointed=recomputes), usable_gb).is_fitting:
            return (*lines, line)
    single = replace(settings, micro_batch_size=1, global_batch_size=0, activation_checkpointing=True)
    for is_4bit in (False, True):
        row = adapter_row(single, is_4bit, usable_gb)
        if row.is_fitting:
            return (*lines, f"full training does not fit; for fine-tuning take {row.method}")
    return (*lines, "nothing fits on this GPU: take more or larger GPUs, or a smaller model")


def describe(plan: Plan) -> list[str]:
    """The plan in a few lines for a log."""
    cost = "" if plan.cost is None else f", cost {plan.cost:,.0f}"
    verdict = "fits" if plan.is_fitting else f"does not fit; change: {plan.smallest_change}"
    rows = ", ".join(f"{r.method} {r.peak_gb:,.2f}" for r in plan.memory)
    return [
        f"{plan.parameters:,} parameters x {plan.tokens:.3g} tokens = {plan.flops:.3g} FLOPs",
        f"{plan.hours:,.3g} hours on {plan.gpus} x {plan.gpu} at {plan.mfu:.0%} of the peak{cost}",
        f"GB per GPU: {rows}; usable {plan.usable_gb:.0f}: {plan.method} {verdict}",
    ]


def as_plain(plan: Plan) -> dict[str, Any]:
    """The plan for JSON, with the paper's table."""
    return {**dataclasses.asdict(plan), "chinchilla_table": [dataclasses.asdict(row) for row in TABLE], "parts": PARTS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    given = worker_parser("training.plan", __doc__).parse_args(arguments)

    def work(reporter: Reporter) -> None:
        layout = Layout(given.root)
        settings = resolve_settings(PlanSettings, ASSET, layout, given.settings_file, given.settings)
        settings, inputs = filled_in(layout, settings)
        made = make_plan(settings)
        for line in describe(made):
            reporter.info(line)
        plan = as_plain(made)
        folder = layout.singleton_dir(ASSET)
        layout.write_json(posixpath.join(folder, "plan.json"), plan)
        report = {
            "asset": ASSET,
            "created_at": now(),
            "fingerprint": fingerprint(ASSET, to_plain(settings), inputs, code_version(CODE)),
            "settings": to_plain(settings),
            "inputs": inputs,
            "plan": plan,
            "table": plan_table(made),
        }
        layout.write_json(posixpath.join(folder, REPORT_NAME), report)
        reporter.result({"asset": ASSET, "folder": folder})

    return run_worker(work)


def filled_in(layout: Layout, settings: PlanSettings) -> tuple[PlanSettings, dict[str, str]]:
    """The settings with vocabulary and sequence length of the mixture, where it is there and they are not given."""
    from training.shards import read_mixture

    try:
        mixture = read_mixture(layout)
        vocabulary = vocabulary_size(Path(layout.tokenizer_dir(mixture.tokenizer_version)))
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
