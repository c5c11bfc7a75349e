"""No model may rest on what was taken down: a check of the mixture before training, and of every model after it."""

import posixpath

import dagster as dg

from assets.resources import Workers, newest
from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import Layout
from pipelines.takedowns import load
from pipelines.takedowns.committed import taken_down
from training.exposure import Exposure, exposures, held_in
from training.lineage import roots_of
from training.past_runs import training_runs
from training.shards import read_mixture

NAME = "no_taken_down_documents"
MODELS = ("pretrained_model", "lora_adapter", "qlora_adapter")
_WAY_OUT = "run `gristmill takedown apply`"


def mixture_is_free(layout: Layout) -> dg.AssetCheckResult:
    """No shard that the mixture names holds a document that is taken down."""
    documents = _documents(layout)
    if not documents:
        return _nothing(layout)
    held = held_in(layout, read_mixture(layout).shards, documents)
    description = f"none of {len(documents):,} documents that are taken down is in its shards"
    if held.unknown:
        description = f"the spans of {held.unknown[0]} are gone, so what it holds can't be told: {_WAY_OUT}"
    if held.documents:
        description = (
            f"{len(held.documents):,} documents that are taken down are in {len(held.shards):,} of its shards "
            f"({held.shards[0]}): {_WAY_OUT}"
        )
    return _result(not held.documents and not held.unknown, description, len(held.documents))


def model_is_free(layout: Layout, asset: str) -> dg.AssetCheckResult:
    """No shard that the model in force, or one that it was grown from, was given holds what is taken down."""
    documents = _documents(layout)
    if not documents:
        return _nothing(layout)
    roots = roots_of(layout, asset, posixpath.basename(newest(layout, asset)[0]))
    found = [e for e in exposures(layout, documents) if (e.run.asset, e.run.run_id) in roots]
    if not found:
        known = {(run.asset, run.run_id) for run in training_runs(layout)}
        if not known.intersection(roots):
            # A base from outside the root, or a run from before mixtures were kept: what it read is written nowhere.
            return _result(True, f"{asset} comes of no run that read shards of this root", 0)
        return _result(True, f"none of {len(documents):,} documents that are taken down is in its shards", 0)
    return _result(False, f"{_said(found[0])}; {_WAY_OUT}, then train again", found[0].documents)


def _said(exposure: Exposure) -> str:
    name, steps = exposure.run.name, exposure.steps
    if exposure.problem:
        return f"what {name} read can't be told: {exposure.problem}"
    if steps:
        return (
            f"{name} read {exposure.documents:,} documents that are taken down, in {len(steps):,} steps "
            f"({steps[0]:,} to {steps[-1]:,})"
        )
    if exposure.reads.trained or exposure.reads.held_out:
        return f"shards that {name} was given hold documents that are taken down, though no step has read them"
    return f"the spans of {exposure.reads.unknown[0]}, which {name} read, are gone, so what it read can't be told"


def _documents(layout: Layout) -> set[str]:
    return {doc_id for ids in taken_down(layout, load(layout)).values() for doc_id in ids}


def _nothing(layout: Layout) -> dg.AssetCheckResult:
    patterns = len(load(layout))
    return _result(True, f"{patterns:,} patterns mean no document" if patterns else "nothing is taken down", 0)


def _result(passed: bool, description: str, documents: int) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=passed, description=description, metadata={"documents": documents})


@dg.asset_check(
    asset="training_mixture",
    name=NAME,
    blocking=True,
    description="No shard of the mixture holds a document that is taken down.",
)
def mixture_check(workers: Workers) -> dg.AssetCheckResult:
    """Before anything is trained on it."""
    try:
        return mixture_is_free(workers.layout)
    except GristmillError as error:
        return dg.AssetCheckResult(passed=False, description=one_line(error))


def _model_check(asset: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name=NAME,
        blocking=True,
        description="No shard that the model was trained on, or its base, holds a document that is taken down.",
    )
    def check(workers: Workers) -> dg.AssetCheckResult:
        try:
            return model_is_free(workers.layout, asset)
        except GristmillError as error:
            return dg.AssetCheckResult(passed=False, description=one_line(error))

    return check


model_checks = [_model_check(asset) for asset in MODELS]
