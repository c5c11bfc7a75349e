"""Score first, decide later: rules over signal columns, first failure wins.

A stage computes its signals once and stores them; the decision is a comparison of columns with
thresholds, so that a threshold can change without computing anything again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
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
    failing = _failing(batch, rules)
    is_rejected: npt.NDArray[np.bool_] = np.any(failing, axis=0, keepdims=True)[0]
    first = np.where(is_rejected, failing.argmax(axis=0) if rules else 0, -1)
    score = np.zeros(batch.num_rows)
    for index in np.unique(first[is_rejected]):
        chosen = first == index
        signal: Any = cast(Any, batch.column(rules[index].column)).cast(pa.float64())
        score[chosen] = signal.to_numpy(zero_copy_only=False)[chosen]
    thresholds = np.array([*(rule.threshold for rule in rules), 0.0], np.float64)[first]
    columns = [
        _taken([rule.reason for rule in rules], first, ~is_rejected),
        pa.array(score, pa.float64(), mask=~is_rejected),
        pa.array(thresholds, pa.float64(), mask=~is_rejected),
        pa.nulls(batch.num_rows, pa.string()),
    ]
    return pa.record_batch(columns, schema=VERDICT_SCHEMA)


def all_failures(batch: pa.RecordBatch, rules: Sequence[Rule]) -> pa.Array:
    """The reasons of every rule, in the order given, that each row fails: a list of text per row."""
    failing = _failing(batch, rules)
    which = np.nonzero(failing.T)[1]
    offsets = np.concatenate(([0], np.cumsum(failing.sum(axis=0)))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), _taken([rule.reason for rule in rules], which))


def _failing(batch: pa.RecordBatch, rules: Sequence[Rule]) -> npt.NDArray[np.bool_]:
    """Rules × rows: which row fails which rule."""
    found = np.zeros((len(rules), batch.num_rows), np.bool_)
    for index, rule in enumerate(rules):
        found[index] = _fails(batch, rule).to_numpy(zero_copy_only=False)
    return found


def _taken(values: Sequence[str], indexes: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_] | None = None) -> Any:
    return cast(Any, pa.array(values, pa.string())).take(pa.array(indexes, pa.int64(), mask=mask))


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
