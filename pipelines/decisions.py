"""Score first, decide later: rules over signal columns, first failure wins.

A stage computes its signals once and stores them; the decision is a comparison of columns with
thresholds, so that a threshold can change without computing anything again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.schema import VERDICT_SCHEMA

Comparison = Literal["<", "<=", ">", ">=", "=="]
_COMPARE: Mapping[str, Any] = {
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
    "==": pc.equal,
}


@dataclass(frozen=True)
class Rule:
    """Reject a document as `reason` when `column` `fails_if` `threshold`; a null signal never fails."""

    reason: str
    column: str
    fails_if: Comparison
    threshold: float


def first_failure(batch: pa.RecordBatch, rules: Sequence[Rule]) -> pa.RecordBatch:
    """Verdicts by the first rule, in the order given, that each row fails (VERDICT_SCHEMA)."""
    rows = batch.num_rows
    undecided: Any = pa.array([True] * rows, pa.bool_())
    reason: Any = pa.nulls(rows, pa.string())
    score: Any = pa.nulls(rows, pa.float64())
    threshold: Any = pa.nulls(rows, pa.float64())
    for rule in rules:
        signal = cast(Any, batch.column(rule.column)).cast(pa.float64())
        fails = pc.and_(undecided, _fails(batch, rule))
        reason = pc.if_else(fails, rule.reason, reason)
        score = pc.if_else(fails, signal, score)
        threshold = pc.if_else(fails, rule.threshold, threshold)
        undecided = pc.and_not(undecided, fails)
    return pa.record_batch([reason, score, threshold, pa.nulls(rows, pa.string())], schema=VERDICT_SCHEMA)


def all_failures(batch: pa.RecordBatch, rules: Sequence[Rule]) -> pa.Array:
    """The reasons of every rule, in the order given, that each row fails: a list of text per row."""
    failed = [(rule.reason, _fails(batch, rule).to_pylist()) for rule in rules]
    rows = [[reason for reason, fails in failed if fails[row]] for row in range(batch.num_rows)]
    return pa.array(rows, pa.list_(pa.string()))


def _fails(batch: pa.RecordBatch, rule: Rule) -> Any:
    """Which rows fail `rule`, compared in the column's own precision.

    A share of exactly 0.3 that was stored as float32 is not above a threshold of 0.3.
    """
    signal: Any = batch.column(rule.column)
    type_ = signal.type if pa.types.is_floating(signal.type) else pa.float64()
    return pc.fill_null(_COMPARE[rule.fails_if](signal.cast(type_), pa.scalar(rule.threshold, type_)), False)


def verdicts(
    reasons: Sequence[str | None],
    scores: Sequence[float | None] | None = None,
    thresholds: Sequence[float | None] | None = None,
    details: Sequence[str | None] | None = None,
) -> pa.RecordBatch:
    """Verdicts from Python lists, for stages that decide by something other than a comparison."""
    nothing: list[None] = [None] * len(reasons)
    columns = [reasons, scores or nothing, thresholds or nothing, details or nothing]
    return pa.record_batch(
        [pa.array(values, field.type) for values, field in zip(columns, VERDICT_SCHEMA, strict=True)],
        schema=VERDICT_SCHEMA,
    )


def with_column(batch: pa.RecordBatch, name: str, values: Any, type_: pa.DataType | None = None) -> pa.RecordBatch:
    """`batch` with column `name` set: replaced in place where it exists, appended where not."""
    array = values if isinstance(values, pa.Array) else pa.array(values, type_)
    position = batch.schema.get_field_index(name)
    if position < 0:
        return batch.append_column(name, array)
    return batch.set_column(position, name, array)
