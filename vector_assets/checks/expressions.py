"""Cross-column rules as people write them: boolean expressions in DuckDB's dialect. What may stand in one, and which columns it names.

Read by DuckDB's own parser and never by a pattern. Refused, because a row must be judged by itself and always alike: subqueries, aggregates
(by DuckDB's binder, later), window functions, `*`, parameters, and functions that depend on the time or on chance. `x -> …` is refused
because it means two things (`lambda x: …` and `json_extract`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

TABLE = "_batch"
"""What the rows are called in SQL."""

_NO_PLACE = {"SUBQUERY": "a subquery", "WINDOW": "a window function", "STAR": "*", "PARAMETER": "a parameter"}
_MACROS_OF_TIME = {"ago"}  # macros have no stability in DuckDB's catalogue


def columns_of(expression: str) -> tuple[str, ...]:
    """Columns that an expression names, each once, as they are spelled there. Raises ValueError, in words without literals, where it is no
    expression of one row."""
    where = _parsed(expression)
    for node in _nodes(where):
        if (what := _refused(node)) is not None:
            raise ValueError(f"{what} has no place in a rule: it judges one row by itself, always alike")
        if node.get("syntax_type") == "SINGLE_ARROW":
            raise ValueError("-> can mean two things: write `lambda x: …`, json_extract or ->>")
    columns = tuple(dict.fromkeys(_columns(where, frozenset())))
    if not columns:
        raise ValueError("it names no column")
    return columns


@cache
def _parsed(expression: str) -> object:
    """The expression as DuckDB's parser sees it."""
    (pattern,), statements = _statements("true"), _statements(expression)
    where = statements[0].pop("where_clause", None) if len(statements) == 1 else None
    if where is None or statements[0] != {name: value for name, value in pattern.items() if name != "where_clause"}:
        raise ValueError("more than one expression")
    return where


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """One for the process, since making one takes 25 ms; it has nothing to read and nothing to write."""
    import duckdb

    return duckdb.connect(":memory:", config={"enable_external_access": "false", "threads": "1", "lock_configuration": "true"})


def _statements(expression: str) -> list[dict[str, object]]:
    query = f"SELECT 1 FROM {TABLE} WHERE (\n{expression}\n)"  # noqa: S608 - only parsed; the line break ends a comment
    with _parser().cursor() as cursor:
        answer = cursor.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    tree = json.loads(answer[0]) if answer else {}
    if tree.get("error", True):
        raise ValueError("not an expression in DuckDB's SQL: check brackets, quotes and operators")
    return [statement["node"] for statement in tree["statements"]]


def _refused(node: Mapping[str, object]) -> str | None:
    """What the node is, in words, where it has no place in a rule."""
    kind = str(node.get("class", ""))
    if kind in _NO_PLACE:
        return _NO_PLACE[kind]
    if kind != "FUNCTION":
        return None
    name, arguments = str(node["function_name"]).lower(), node.get("arguments")
    now = name == "age" and isinstance(arguments, list) and len(arguments) == 1
    return f"{name}()" if now or name in _inconstant() else None


@cache
def _inconstant() -> frozenset[str]:
    """Functions whose result depends on more than their arguments, by DuckDB's own word."""
    with _parser().cursor() as cursor:
        rows = cursor.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'").fetchall()
    return frozenset(str(name).lower() for (name,) in rows) | _MACROS_OF_TIME


def _nodes(tree: object) -> Iterator[Mapping[str, object]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _columns(tree: object, bound: frozenset[str]) -> Iterator[str]:
    """Column references, less parameters of the lambdas around them."""
    if isinstance(tree, list):
        for value in tree:
            yield from _columns(value, bound)
    elif isinstance(tree, dict):
        if tree.get("class") == "COLUMN_REF":
            first = tree["column_names"][0]  # what follows are fields of a struct
            if first not in bound:
                yield first
        elif tree.get("class") == "LAMBDA":
            yield from _columns(tree["expr"], bound | set(_columns(tree["lhs"], frozenset())))
        else:
            for value in tree.values():
                yield from _columns(value, bound)
