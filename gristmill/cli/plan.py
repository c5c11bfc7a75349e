"""`gristmill plan`: what a training run would need, before anything is launched."""

from typing import Annotated, Any

import typer
from rich.console import Console

from gristmill.cli.output import HomeOption, JsonOption, console, plain, print_json, table
from gristmill.core.layout import Layout
from gristmill.core.settings import resolve

ASSET = "training_plan"


def plan(
    params: Annotated[
        float | None, typer.Option(metavar="N", help="Parameters, as 1.1e9; activations follow from --model's sizes.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Preset: tiny, small, tinyllama-1.1b, llama2-7b, ...")] = None,
    gpu: Annotated[str | None, typer.Option(help="h100, h200, a100-80gb, l40s, rtx4090, v100, ...")] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="How many.")] = None,
    tokens: Annotated[
        float | None, typer.Option(metavar="N", help="Tokens to train on. Default: 20 per parameter.")
    ] = None,
    seq: Annotated[int | None, typer.Option(min=1, help="Tokens per sequence.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Sequences per forward pass of one GPU.")] = None,
    global_batch: Annotated[int | None, typer.Option(min=1, help="Sequences per step over all GPUs.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")] = None,
    strategy: Annotated[str | None, typer.Option(help="single, ddp, zero1, zero2, zero3 or fsdp2.")] = None,
    offload: Annotated[
        bool | None, typer.Option("--offload/--no-offload", help="Optimizer states in host memory.")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw, adamw_8bit, paged_adamw or paged_adamw_8bit.")] = None,
    checkpointing: Annotated[
        bool | None, typer.Option("--checkpointing/--no-checkpointing", help="Recompute activations.")
    ] = None,
    compiled: Annotated[bool | None, typer.Option("--compile/--no-compile", help="torch.compile each layer.")] = None,
    vocabulary: Annotated[int | None, typer.Option(min=1, help="Tokens in the vocabulary.")] = None,
    mfu: Annotated[float | None, typer.Option(help="Share of the GPU's peak that training reaches.")] = None,
    price: Annotated[float | None, typer.Option(help="Price of one GPU for an hour.")] = None,
    tokens_rule: Annotated[
        str | None, typer.Option(help="twenty (per parameter) or approach1 (the paper's table).")
    ] = None,
    lora_rank: Annotated[int | None, typer.Option(min=1, help="Rank in the LoRA and QLoRA rows.")] = None,
    settings_file: Annotated[
        str | None, typer.Option(help="YAML with a section per asset. Default: settings.yaml under the root.")
    ] = None,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """Tokens, FLOPs, hours, cost and memory per GPU of a training run, before it is launched.

    What is not given is taken from training_plan in the settings file, vocabulary and sequence length from the mixture.
    """
    from training.arguments import PlanSettings
    from training.plan import as_plain, filled_in, make_plan
    from training.sizes import preset_near

    layout = Layout(home)
    given: dict[str, Any] = {
        "parameters": params,
        "model": model or (preset_near(params, vocabulary or 0) if params else None),
        "gpu": gpu,
        "gpus": gpus,
        "tokens": tokens,
        "sequence_length": seq,
        "micro_batch_size": batch,
        "global_batch_size": global_batch,
        "precision": precision,
        "strategy": strategy,
        "offload": offload,
        "optimizer": optimizer,
        "activation_checkpointing": checkpointing,
        "compile": compiled,
        "vocabulary": vocabulary,
        "mfu": mfu,
        "price_per_gpu_hour": price,
        "tokens_rule": tokens_rule,
        "lora_rank": lora_rank,
    }
    given = {name: value for name, value in given.items() if value is not None}
    settings = resolve(PlanSettings, ASSET, layout.root, settings_file, given)
    made = as_plain(make_plan(filled_in(layout, settings)[0]))
    if is_json:
        print_json(made)
    else:
        print_plan(console(), made)


def print_plan(out: Console, made: dict[str, Any]) -> None:
    """The plan as tables.

    Args:
        out: where to.
        made: plan.json.
    """
    out.print(
        f"{made['parameters']:,} parameters (sizes of {plain(made['model'])}), vocabulary {made['vocabulary']:,}\n"
        f"{made['tokens']:.4g} tokens, {made['tokens_per_parameter']:.3g} per parameter: {made['steps']:,} steps of "
        f"{made['tokens_per_step']:,}\n"
        f"compute-optimal (Hoffmann et al. 2022): {made['tokens_twenty']:.4g} by 20 per parameter, "
        f"{made['tokens_approach1']:.4g} along the table of Approach 1\n"
        f"{made['flops']:.4g} FLOPs: {made['hours']:,.4g} hours on {made['gpus']:,} x {made['gpu']} at "
        f"{made['mfu']:.0%} of the peak, {made['gpu_hours']:,.4g} GPU hours"
        + ("" if made["cost"] is None else f", cost {made['cost']:,.0f}")
        + "\n"
    )
    out.print(_memory(made["memory"], made["usable_gb"], "GB per GPU, each part at its highest", is_named=True))
    out.print()
    out.print(_memory(made["precisions"], made["usable_gb"], f"{made['method']} in other arithmetic", is_named=False))
    shown = table("#parameters", "#FLOPs", "#tokens", title="\nCompute-optimal training, Approach 1")
    for row in made["chinchilla_table"]:
        shown.add_row(f"{row['parameters']:.3g}", f"{row['flops']:.3g}", f"{row['tokens']:.4g}")
    out.print(shown)
    verdict = "[green]fits[/]" if made["is_fitting"] else "[red]does not fit[/]"
    change = "" if made["is_fitting"] else f"; smallest change: {plain(made['smallest_change'])}"
    out.print(f"\n{made['method']} in {made['precision']} {verdict} {made['usable_gb']:,.0f} GB per GPU{change}")
    for line in made["advice"]:
        out.print(f"  {plain(line)}")


def _memory(rows: list[dict[str, Any]], usable: float, title: str, *, is_named: bool) -> Any:
    from training.peak import PARTS

    columns = ["method" if is_named else "arithmetic", *(f"#{part.replace('_', ' ')}" for part in PARTS)]
    shown = table(*columns, "#peak", "#host", "#rule", f"fits {usable:,.0f}", title=title)
    for row in rows:
        name = row["method"] if is_named else row["precision"] + (", recomputed" if row["is_checkpointed"] else "")
        sizes = [f"{row['highest'][part]:,.2f}" for part in PARTS]
        sizes += [f"{row['peak_gb']:,.2f}", f"{row['host_gb']:,.1f}", f"{row['rule_gb']:,.2f}"]
        shown.add_row(name, *sizes, "yes" if row["is_fitting"] else "no")
    return shown
