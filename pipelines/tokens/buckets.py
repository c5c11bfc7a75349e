"""Which bucket a document belongs to: by the value of one column, so that a mixture can read some more often.

For "more of what is good" the column is a signal of quality or `perplexity_bucket`, for "more of what was there
often" it is `cluster_size`, the number of documents that a representative stands for.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import pyarrow as pa

from gristmill.core.errors import SettingsError
from gristmill.core.layout import is_safe_name

OTHER = "other"  # the bucket of documents that no other takes, and of those without a value
_KNOWN = ("values", "from", "below")


class Buckets:
    """The buckets that the settings of token_shards describe.

    Args:
        column: of clean_documents.
        described: name to {values: [...]} or {from: number, below: number}; of the latter one may be missing.

    Raises:
        ValueError: a name or a description is wrong, or two buckets take the same value.
    """

    def __init__(self, column: str, described: Mapping[str, Mapping[str, Any]]) -> None:
        self.column = column
        self._of_value: dict[Any, str] = {}
        self._ranges: list[tuple[float, float, str]] = []
        if bool(column) != bool(described):
            raise ValueError("buckets and bucket_by go together: the one names a column, the other what to make of it")
        for name, facts in described.items():
            self._add(name, facts)
        self._ranges.sort()
        for (_, end, one), (start, _, other) in zip(self._ranges, self._ranges[1:], strict=False):
            if start < end:
                raise ValueError(
                    f"buckets: {one} and {other} both take {start:g}; let one end below where another begins"
                )
        self.names: tuple[str, ...] = (*described, OTHER) if described else ("",)

    def _add(self, name: str, facts: Mapping[str, Any]) -> None:
        if not is_safe_name(name) or name == OTHER:
            raise ValueError(
                f"buckets: {name!r} can't name a bucket: use letters, digits, '.', '_' and '-', and not {OTHER!r}, "
                "which is for documents that no bucket takes"
            )
        unknown = sorted(set(facts) - set(_KNOWN))
        if unknown or not facts or ("values" in facts and len(facts) > 1):
            raise ValueError(f"buckets: {name} is {dict(facts)!r}; give it values: [...], or from: and below: a number")
        if "values" in facts:
            values = facts["values"]
            if not isinstance(values, list | tuple) or not values:
                raise ValueError(f"buckets: values of {name} are {values!r}; give a list of the column's values")
            for value in cast(list[object], values):
                if not isinstance(value, str | int | float):
                    raise ValueError(f"buckets: {value!r} of {name} is no text, number, true or false")  # noqa: TRY004
                if value in self._of_value:
                    raise ValueError(f"buckets: {self._of_value[value]} and {name} both take {value!r}")
                self._of_value[value] = name
            return
        start, end = facts.get("from", -math.inf), facts.get("below", math.inf)
        for key, edge in (("from", start), ("below", end)):
            if not isinstance(edge, int | float) or isinstance(edge, bool) or math.isnan(edge):
                raise ValueError(f"buckets: {key} of {name} is {edge!r}; give a number")
        if start >= end:
            raise ValueError(f"buckets: {name} is from {start:g} and below {end:g}, which no value is")
        self._ranges.append((float(start), float(end), name))

    def check(self, schema: pa.Schema, where: str) -> None:
        """Make sure that documents of `schema` can be sorted.

        Raises:
            SettingsError: the column is missing, or of a type that the buckets can't be told by.
        """
        if not self.column:
            return
        if self.column not in schema.names:
            raise SettingsError(
                f"settings of token_shards: bucket_by is {self.column!r}, which {where} does not have: name one of its "
                "columns, or turn on the filter that measures it"
            )
        kind = schema.field(self.column).type
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if not (is_number or is_text or pa.types.is_boolean(kind)) or (self._ranges and not is_number):
            raise SettingsError(
                f"settings of token_shards: bucket_by is {self.column!r}, which is {kind} in {where}: "
                f"{'from and below need numbers' if self._ranges else 'name a column of text, numbers or booleans'}"
            )
        strange = next((v for v in self._of_value if isinstance(v, str) != is_text), None)
        if strange is not None:
            raise SettingsError(
                f"settings of token_shards: buckets: {self.column!r} is {kind} in {where} and never {strange!r}"
            )

    def of(self, value: object) -> str:
        """The bucket of a document with this value in the column; "" where there are no buckets."""
        if not self.column:
            return ""
        if value in self._of_value:
            return self._of_value[value]
        if isinstance(value, int | float):
            for start, end, name in self._ranges:
                if start <= value < end:
                    return name
        return OTHER
