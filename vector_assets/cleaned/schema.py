"""Row-local quality rules of one table, on pandera: one reason per row that breaks a rule. Reasons hold rules and limits, never values.

What fits which column: `min`, `max` numbers; `min_length`, `max_length` (characters) and `regex` strings; `isin` numbers, strings and
booleans; `nullable` and `unique` everything. `type` is of the column: one of another family is refused. A regex must match the whole
value, in Python's dialect. NULL is the business of `nullable` alone: other rules let it pass. NaN counts as NULL. Decimals are compared
as 64-bit floats, since limits are floats. Cross-column rules are expressions (expressions.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.cleaned.expressions import RowExpressions
from vector_assets.errors import ConfigurationError
from vector_assets.tables import ColumnRules, ColumnType

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pandera

_Kind = Literal["integer", "number", "string", "boolean", "other"]
_NULL = "is NULL"
_BROKEN, _FAILED = "does not hold", "cannot be evaluated on this row"
_FRAME, _COLUMN = "DataFrameSchema", "Column"  # pandera's words for where a check belongs
_FAMILIES: dict[ColumnType, Callable[[pa.DataType], bool]] = {
    "integer": pa.types.is_integer,
    "number": lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind),
    "string": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind),
    "boolean": pa.types.is_boolean,
    "date": pa.types.is_date,
    "timestamp": pa.types.is_timestamp,
    "time": pa.types.is_time,
    "binary": lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind),
    "list": lambda kind: pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind),
    "struct": pa.types.is_struct,
}


class _Rule(NamedTuple):
    """`holds` maps a series of values without NULLs to booleans; it must not raise: pandera would report that as a failed row."""

    reason: str
    holds: Callable[[pd.Series[Any]], object]


class RowRules:
    """The rules of one table, ready to check any number of batches of its rows."""

    def __init__(self, rules: Mapping[str, ColumnRules], schema: pa.Schema, expressions: Mapping[str, str] | None = None) -> None:
        """Raises ConfigurationError for a column that is not there, or a rule that does not fit its type, naming both."""
        self._expressions = RowExpressions(expressions or {}, schema)
        self._columns = tuple(rules)
        self._rules: dict[str, tuple[bool, tuple[_Rule, ...]]] = {}
        self._kinds: dict[str, _Kind] = {}
        for name, column_rules in rules.items():
            if schema.get_field_index(name) < 0:
                raise ConfigurationError(f"quality: there is no column {name!r}, or two of them (there are: {', '.join(schema.names)})")
            _is_of(name, schema.field(name).type, column_rules.type)
            kind = _kind(schema.field(name).type)
            self._kinds[name] = kind
            self._rules[name] = (column_rules.nullable, tuple(_fitting(name, schema.field(name).type, kind, column_rules)))

    def check(self, values: pa.StructArray) -> pa.StringArray:
        """One reason per row, NULL where every rule holds; several are joined by "; " in the order of the rules."""
        if not (self._columns or self._expressions.names) or len(values) == 0:
            return pa.nulls(len(values), pa.string())
        reasons: dict[int, str] = {}
        for row, reason in self._failures(values):
            reasons[row] = f"{reasons[row]}; {reason}" if row in reasons else reason
        return pa.array([reasons.get(row) for row in range(len(values))] if reasons else [None] * len(values), pa.string())

    def _failures(self, values: pa.StructArray) -> Iterator[tuple[int, str]]:
        """(row, reason) of every broken rule, rule by rule."""
        import pandera.errors
        from pandera.config import ValidationDepth, config_context

        # PANDERA_* variables must not switch quality off.
        with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            try:
                self._schema.validate(self._frame(values), lazy=True)
            except pandera.errors.SchemaErrors as error:
                cases = error.failure_cases  # its column `failure_case` holds raw values: only index, column and check leave this function
            else:
                return
        # A rule of the whole row has a case for each column of the frame.
        cases.loc[cases["schema_context"] == _FRAME, "column"] = None
        grouped = cases.groupby(["schema_context", "column", "check"], dropna=False)
        broken = {_key(*key): rows["index"].astype(int).unique().tolist() for key, rows in grouped}
        for place, name in enumerate(self._columns):
            for check, reason in (("not_nullable", _NULL), *((rule.reason, rule.reason) for rule in self._rules[name][1])):
                yield from ((row, f"{name}: {reason}") for row in broken.pop((_COLUMN, _alias(place), check), ()))
        for name in self._expressions.names:
            for reason in (f"{name}: {_BROKEN}", f"{name}: {_FAILED}"):
                yield from ((row, reason) for row in broken.pop((_FRAME, None, reason), ()))
        if broken:
            raise AssertionError(f"pandera failed checks that were not asked for: {sorted(broken)}")

    @cached_property
    def _schema(self) -> pandera.DataFrameSchema:
        import pandera.pandas as pandera

        return pandera.DataFrameSchema(
            {
                _alias(place): pandera.Column(
                    nullable=nullable, checks=[pandera.Check(rule.holds, error=rule.reason, ignore_na=True) for rule in rules]
                )
                for place, (nullable, rules) in enumerate(self._rules.values())
            },
            checks=[check for place, name in enumerate(self._expressions.names) for check in _row_checks(_outcome(place), name)],
        )

    def _frame(self, values: pa.StructArray) -> pd.DataFrame:
        """The ruled columns, by position and not by name (a source may name a column anything), in types whose NULL is not NaN."""
        import pandas as pd

        columns = dict(zip((field.name for field in values.type), values.flatten(), strict=True))
        frame = {_alias(place): _comparable(columns[name], self._kinds[name]) for place, name in enumerate(self._columns)}
        frame |= {_outcome(place): outcome for place, outcome in enumerate(self._expressions.outcomes(columns))}
        mapper = {
            pa.float64(): pd.Float64Dtype(),
            pa.bool_(): pd.BooleanDtype(),
            pa.int64(): pd.Int64Dtype(),
            pa.uint64(): pd.UInt64Dtype(),
            pa.large_string(): pd.StringDtype("pyarrow"),
        }
        frame_: pd.DataFrame = pa.table(frame).to_pandas(types_mapper=mapper.get)
        return frame_


def _alias(place: int) -> str:
    return f"c{place}"


def _outcome(place: int) -> str:
    return f"r{place}"


def _key(context: str, column: str | float | None, check: str) -> tuple[str, str | None, str]:
    return context, column if isinstance(column, str) else None, check  # what has no column has NaN


def _row_checks(outcome: str, name: str) -> tuple[pandera.Check, pandera.Check]:
    """Cross-column rules as pandera knows them: checks of the frame. Their outcomes stand in a column of it (RowExpressions.outcomes)."""
    import pandera.pandas as pandera

    return (
        pandera.Check(lambda frame: frame[outcome].fillna(1) == 1, error=f"{name}: {_BROKEN}", ignore_na=False),
        pandera.Check(lambda frame: frame[outcome].notna(), error=f"{name}: {_FAILED}", ignore_na=False),
    )


def _is_of(name: str, kind: pa.DataType, wanted: ColumnType | None) -> None:
    if wanted is not None and not _FAMILIES[wanted](kind):
        raise ConfigurationError(f"quality: column {name!r} should be of type {wanted}, and the source has {kind}")


def _kind(kind: pa.DataType) -> _Kind:
    kinds: tuple[Literal["integer", "number", "string", "boolean"], ...] = ("integer", "number", "string", "boolean")
    return next((each for each in kinds if _FAMILIES[each](kind)), "other")


def _comparable(column: pa.Array, kind: _Kind) -> pa.Array:
    if kind == "integer":
        return column.cast(pa.uint64() if pa.types.is_unsigned_integer(column.type) else pa.int64())
    if kind == "number":
        numbers = column.cast(pa.float64())
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    if kind == "string":
        return column.cast(pa.large_string())
    return column if kind == "boolean" else pc.if_else(column.is_null(), pa.scalar(None, pa.bool_()), True)


# --- rules -----------------------------------------------------------------------------------------------------------------------------


def _fitting(name: str, kind: pa.DataType, family: _Kind, rules: ColumnRules) -> Iterator[_Rule]:
    """The rules of one column, in a fixed order. Raises ConfigurationError for one that does not fit the type."""

    def require(rule: str, *families: _Kind) -> None:
        if family not in families:
            raise ConfigurationError(
                f"quality: {rule} does not fit column {name!r} of type {kind}: it is for {' and '.join(families)} columns"
            )

    if rules.min is not None or rules.max is not None:
        require("min/max", "integer", "number")
        yield from _bounds(family, rules)
    if rules.isin is not None:
        require("isin", "integer", "number", "string", "boolean")
        yield _membership(name, kind, family, rules.isin)
    if rules.regex is not None:
        require("regex", "string")
        yield _match(rules.regex)
    if rules.min_length is not None or rules.max_length is not None:
        require("min_length/max_length", "string")
        yield from _lengths(rules.min_length, rules.max_length)


def _bounds(family: _Kind, rules: ColumnRules) -> Iterator[_Rule]:
    if rules.min is not None:
        # Integers are compared with integers: as floats, 2^53 and 2^53 + 1 would be one.
        low = math.ceil(rules.min) if family == "integer" else rules.min
        yield _Rule(f"below the minimum of {_plain(rules.min)}", lambda values: values >= low)
    if rules.max is not None:
        high = math.floor(rules.max) if family == "integer" else rules.max
        yield _Rule(f"above the maximum of {_plain(rules.max)}", lambda values: values <= high)


def _membership(name: str, kind: pa.DataType, family: _Kind, allowed: tuple[str | int | float | bool, ...]) -> _Rule:
    fits = {"string": str, "boolean": bool, "integer": int | float, "number": int | float}[family]
    if any(not isinstance(value, fits) or (isinstance(value, bool) and family != "boolean") for value in allowed):
        raise ConfigurationError(
            f"quality: isin of column {name!r} lists values that are not of its type ({kind}): a quoted value is a string"
        )
    members = frozenset(allowed)
    return _Rule("not one of the allowed values", _each(lambda value: value in members))


def _match(regex: str) -> _Rule:
    compiled = re.compile(regex)
    return _Rule(f"does not match {regex}", _each(lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None))


def _lengths(low: int | None, high: int | None) -> Iterator[_Rule]:
    if low is not None:
        yield _Rule(f"shorter than {low} characters", lambda values: values.str.len() >= low)
    if high is not None:
        yield _Rule(f"longer than {high} characters", lambda values: values.str.len() <= high)


def _each(test: Callable[[object], bool]) -> Callable[[pd.Series[Any]], object]:
    def holds(values: pd.Series[Any]) -> object:
        import pandas as pd

        return pd.Series([test(value) for value in values], index=values.index, dtype=bool)

    return holds


def _plain(limit: float) -> str:
    return str(int(limit)) if limit.is_integer() else str(limit)
