"""What becomes of DuckDB's types: the SQL that reads a column as a type Arrow and Lance can hold, and the SQL that renders it for a digest.

A rendering is unambiguous by construction. Every value ends itself (`12;`, `5:hello`), so that ('a', 'bc') and ('ab', 'c') differ; NULL
renders as the end alone (`;`, `:`), which no value does; and types come in through one signature per row, by family and not by SQL name:
an INTEGER that becomes a BIGINT or a DECIMAL keeps its digests. Changing a rendering changes the digest of every row of every user:
golden tests pin them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vector_assets.errors import SourceError
from vector_assets.raw.sql import quoted

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType

_INTEGERS = {"tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint", "uhugeint"}
_WIDE_INTEGERS = {"hugeint", "uhugeint"}
"""Arrow has no 128-bit integers; more than 38 digits end a read with a SourceError."""

_AS_TEXT = {"uuid", "enum", "interval", "bit", "time with time zone", "bignum"}
"""No Arrow type of their own that the rest of the way can take: read as DuckDB prints them."""

_FAMILIES = {
    **dict.fromkeys(_INTEGERS, "d"),
    "decimal": "d",
    "float": "f",
    "double": "f",
    "boolean": "b",
    "varchar": "t",  # JSON is one, with its text kept as it was written
    **dict.fromkeys(_AS_TEXT, "t"),
    "blob": "x",
    "date": "D",
    "time": "T",
    "time_ns": "T",
    "timestamp": "S",
    "timestamp_s": "S",
    "timestamp_ms": "S",
    "timestamp_ns": "S",
    "timestamp with time zone": "Z",
    "timestamptz_ns": "Z",
}
_NESTED = {"list", "array", "struct", "map"}


class Column(NamedTuple):
    """How one column is read.

    `value` is the SQL of its value as exported, `digest` the SQL arguments of `concat` that render it, `family` its part of the row's
    signature, `nested` whether it is a list, struct or map.
    """

    name: str
    value: str
    digest: str
    family: str
    nested: bool

    @property
    def comparand(self) -> str:
        """The exported value for comparing with `=`; texts byte by byte, whatever collation the column has."""
        return f"({self.value} COLLATE C)" if self.family == "t" else self.value


def column(name: str, kind: DuckDBPyType, *, alias: str, where: str) -> Column:
    """How to read the column `name` of the relation `alias`. Raises SourceError, naming column and type, where it cannot be read."""
    try:
        expression = f"{alias}.{quoted(name)}"
        value = f"CAST({expression} AS {_exported(kind)})" if _needs_cast(kind) else expression
        return Column(name, value, _rendered(expression, kind, 0), _family(kind), kind.id in _NESTED)
    except _UnreadableTypeError as error:
        raise SourceError(
            f"column {name!r} of {where} has type {str(kind)[:80]}, and {error} cannot be read: "
            "leave the column out, or read the table through a view that casts it"
        ) from None


def digest_of(columns: list[Column]) -> str:
    """The SQL of a row's digest: 16 bytes, md5 over the signature and each column's rendering."""
    signature = "".join(column.family for column in columns).replace("'", "''")
    return f"unhex(md5(concat('{signature}|', {', '.join(column.digest for column in columns)})))"


class _UnreadableTypeError(Exception):
    """A type, by name, that has no rendering."""


def _children(kind: DuckDBPyType) -> list[tuple[str, DuckDBPyType]]:
    # Arrays list their size beside the child; a struct's fields may be called anything.
    children: list[tuple[str, DuckDBPyType]] = kind.children
    return children[:1] if kind.id == "array" else children


def _family(kind: DuckDBPyType) -> str:
    if kind.id in _NESTED:
        fields = [(name if kind.id == "struct" else "", _family(child)) for name, child in _children(kind)]
        letter = {"list": "l", "array": "l", "struct": "s", "map": "m"}[kind.id]
        return f"{letter}({''.join(f'{len(name)}:{name}{family}' for name, family in fields)})"
    if kind.id not in _FAMILIES:
        raise _UnreadableTypeError(str(kind.id).upper())
    return _FAMILIES[kind.id]


def _needs_cast(kind: DuckDBPyType) -> bool:
    # JSON is a varchar by id; a cast that changes nothing costs nothing, so nested types are always cast.
    return kind.id in _NESTED | _AS_TEXT | _WIDE_INTEGERS or (kind.id == "varchar" and str(kind) != "VARCHAR")


def _exported(kind: DuckDBPyType) -> str:
    """The SQL name of the type that `kind` is read as."""
    if kind.id in ("list", "array"):
        return f"{_exported(_children(kind)[0][1])}[]"
    if kind.id == "map":
        return f"MAP({', '.join(_exported(child) for _, child in kind.children)})"
    if kind.id == "struct":
        if not all(name for name, _ in kind.children):
            raise _UnreadableTypeError("a struct without field names")
        return f"STRUCT({', '.join(f'{quoted(name)} {_exported(child)}' for name, child in kind.children)})"
    if kind.id in _AS_TEXT:
        return "VARCHAR"
    if kind.id in _WIDE_INTEGERS:
        return "DECIMAL(38, 0)"
    if kind.id == "decimal":
        return "DECIMAL({}, {})".format(*(number for _, number in kind.children))
    if kind.id not in _FAMILIES:
        raise _UnreadableTypeError(str(kind.id).upper())
    return str(kind.id).upper()


def _rendered(value: str, kind: DuckDBPyType, depth: int) -> str:
    """Arguments of `concat` (which skips NULLs) that render a value; `depth` keeps the variables of nested lambdas apart."""
    match kind.id:
        case "list" | "array":
            return _rendered_each(value, _rendered(f"x{depth}", _children(kind)[0][1], depth + 1), depth)
        case "map":
            sides = [f"struct_extract_at(x{depth}, {i})" for i in (1, 2)]
            entry = [_rendered(side, child, depth + 1) for side, (_, child) in zip(sides, kind.children, strict=True)]
            return _rendered_each(f"map_entries({value})", ", ".join(entry), depth)
        case "struct":
            fields = [_rendered(f"struct_extract_at({value}, {i})", child, depth) for i, (_, child) in enumerate(kind.children, start=1)]
            return ", ".join([f"CASE WHEN {value} IS NULL THEN 'n' ELSE 's' END", *fields])
        case _:
            return _rendered_scalar(value, kind)


def _rendered_each(value: str, element: str, depth: int) -> str:
    return f"len({value}), '[', array_to_string(list_transform({value}, lambda x{depth}: concat({element})), '')"


def _rendered_scalar(value: str, kind: DuckDBPyType) -> str:
    match _family(kind):
        case "t":
            text = value if str(kind) == "VARCHAR" else f"CAST({value} AS VARCHAR)"
            return f"strlen({text}), ':', {text}"
        case "x":
            return f"md5({value}), ';'"
        case "f":  # one NaN, one zero
            return f"CASE WHEN isnan({value}) THEN 'nan' ELSE CAST(CAST({value} AS DOUBLE) + CAST(0 AS DOUBLE) AS VARCHAR) END, ';'"
        case "d" if kind.id == "decimal" and kind.children[1][1]:  # 5.00 is 5, as an integer column would have it
            return f"rtrim(rtrim(CAST({value} AS VARCHAR), '0'), '.'), ';'"
        case _:
            return f"CAST({value} AS VARCHAR), ';'"
