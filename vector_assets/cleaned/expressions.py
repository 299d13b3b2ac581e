"""Cross-column rules at work: every expression of a table over a batch of rows, by an embedded DuckDB that can reach nothing else.

It has no files, no network, no extensions and a locked configuration; rows come in as Arrow. NULL passes, as in SQL's CHECK. A row on which
an expression fails (a division by zero, a cast) is that row's problem alone: `TRY` makes NULL of it, and `CASE` inside never is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from vector_assets.checks.expressions import TABLE, columns_of
from vector_assets.errors import ConfigurationError

if TYPE_CHECKING:
    import duckdb

_ALONE = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "threads": "1",
    "lock_configuration": "true",
}


class RowExpressions:
    """The cross-column rules of one table. Threads may share it."""

    def __init__(self, rules: Mapping[str, str], schema: pa.Schema) -> None:
        """Raises ConfigurationError for an expression that does not fit the columns, or is not of type boolean, naming the rule."""
        self.names = tuple(rules)
        self._columns = _columns(rules, schema)
        if rules:
            self._connection = _connect()
            nulls = pa.table({name: pa.nulls(1, schema.field(name).type) for name in self._columns})
            for name, expression in rules.items():
                self._fits(name, expression, nulls)
        cases = (f"TRY(CASE WHEN coalesce((\n{expression}\n), true) THEN 1 ELSE 0 END)::BIGINT" for expression in rules.values())
        self._query = f"SELECT {', '.join(cases)} FROM {TABLE}"  # noqa: S608 - one parsed expression each, which its owner wrote

    def outcomes(self, columns: Mapping[str, pa.Array]) -> list[pa.Array]:
        """For each rule 1 where it holds for a row, 0 where it does not, NULL where it cannot be evaluated (int64, one per row)."""
        if not self.names:
            return []
        with self._connection.cursor() as cursor:
            cursor.register(TABLE, pa.table({name: columns[name] for name in self._columns}))
            found = cursor.sql(self._query).to_arrow_table()
        return [column.combine_chunks() for column in found.columns]

    def _fits(self, name: str, expression: str, nulls: pa.Table) -> None:
        """Tried on a row of NULLs, so that a literal that cannot be converted is found here, and not on every row."""
        import duckdb

        with self._connection.cursor() as cursor:
            try:
                cursor.register(TABLE, nulls)
                with suppress(duckdb.InvalidInputException, duckdb.OutOfRangeException):  # of this row: 1 // coalesce(a, 0)
                    cursor.execute(f"SELECT 1 FROM {TABLE} WHERE (\n{expression}\n)")  # noqa: S608 - no aggregates in WHERE
                row = cursor.execute(f"DESCRIBE SELECT (\n{expression}\n) FROM {TABLE}").fetchone()  # noqa: S608
            except duckdb.Error as error:
                raise ConfigurationError(f"rules: {name}: {_said(error)}") from None
        kind = row[1] if row else "nothing"
        if kind != "BOOLEAN":
            raise ConfigurationError(f"rules: {name} is of type {kind}: write a condition, such as a comparison")


def _columns(rules: Mapping[str, str], schema: pa.Schema) -> list[str]:
    found: dict[str, str] = {}
    for rule, expression in rules.items():
        for name in columns_of(expression):
            if schema.get_field_index(name) < 0:
                raise ConfigurationError(
                    f"rules: {rule}: there is no column {name!r}, or two of them (there are: {', '.join(schema.names)})"
                )
            if found.setdefault(name.lower(), name) != name:
                raise ConfigurationError(f"rules: columns {found[name.lower()]!r} and {name!r} are one to DuckDB: leave one of them out")
    return list(found.values())


def _connect() -> duckdb.DuckDBPyConnection:
    import duckdb

    return duckdb.connect(":memory:", config=_ALONE)


def _said(error: Exception) -> str:
    """The first line of what DuckDB says, without literals; further lines quote the expression."""
    return re.sub(r"'[^']*'?", "'…'", str(error).partition("\n")[0])
