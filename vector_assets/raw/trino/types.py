"""What becomes of Trino's types: the SQL that reads a column in a form that converts fast, and the SQL that renders it for a digest.

A rendering is unambiguous by construction. Every value ends itself (`12;`, `5:hello`), so that ('a', 'bc') and ('ab', 'c') differ; NULL
renders as the end alone (`;`, `:`), which no value does; and types come in through one signature per row, by family and not by SQL name:
an INTEGER that becomes a BIGINT or a DECIMAL keeps its digests, and so do char(n) and varchar(n) → varchar, real → double, and times
with more digits of the second. Maps are rendered by their sorted entries, since two that are equal may list them in any order. Changing
a rendering changes the digest of every row of every user: golden tests pin them. (`CAST(ROW … AS JSON)` would be shorter, and refuses
half of the types.)

`tpch.sf1.orders`, 1.5 M rows, 2 cores: the digest of all 9 columns takes Trino 1.8 s, where reading them takes 1.0 s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pyarrow as pa

from vector_assets.errors import SourceError
from vector_assets.raw.sql import quoted
from vector_assets.raw.trino.decode import MOST_DIGITS, Decoder, arrow_type, decoder
from vector_assets.raw.trino.keys import literals, renderings
from vector_assets.raw.trino.kinds import INTEGERS, INTERVALS, Kind, UnreadableTypeError, parse

__all__ = ["Column", "column", "digest_of", "literals", "renderings"]

_FAMILIES = {
    **dict.fromkeys([*INTEGERS, "decimal"], "d"),
    "real": "f",
    "double": "f",
    "boolean": "b",
    **dict.fromkeys(["varchar", "char", "json", "uuid", "ipaddress", "time with time zone", "unknown", *INTERVALS], "t"),
    "varbinary": "x",
    "date": "D",
    "time": "T",
    "timestamp": "S",
    "timestamp with time zone": "Z",
}
_PRINTED = {"uuid", "ipaddress", "time with time zone", "unknown", *INTERVALS}
"""No Arrow type of their own that the rest of the way can take: read as Trino prints them."""

_MOST_ARGUMENTS = 100
"""Of an array's constructor; Trino allows 254."""

_SHORT_CHARACTERS = 200_000
"""`concat` makes no text of more than 1 MiB, `array_join` any, for 7 to 20 % more of the digest's processor time."""


class Column(NamedTuple):
    """How one column is read.

    `arrow` is what it becomes; `value` the SQL of its value as exported, `decode` what makes an array of `arrow` from the JSON values that
    come (SourceError where one does not fit); `digest` the SQL of a varchar, never NULL, that renders it; `family` its part of the row's
    signature; `nested` whether it is an array, map or row.
    """

    name: str
    arrow: pa.DataType
    value: str
    digest: str
    family: str
    nested: bool
    decode: Decoder
    kind: Kind


def column(name: str, type_text: str, *, where: str) -> Column:
    """How to read the column `name` of a table; `type_text` as a statement's columns say it (see `kinds.py`).

    Raises SourceError, naming column and type, where it cannot be read.
    """
    try:
        kind = parse(type_text)
    except UnreadableTypeError as error:
        raise SourceError(
            f"column {name!r} of {where} has type {type_text[:80]}, and {error} cannot be read: "
            "leave the column out, or read the table through a view that casts it"
        ) from None
    expression = quoted(name)
    return Column(
        name,
        arrow_type(kind),
        _exported(expression, kind, 0),
        _rendered(expression, kind, 0),
        _family(kind),
        kind.nested,
        _checked(decoder(kind), f"column {name!r} of {where} has type {type_text[:80]}"),
        kind,
    )


def digest_of(columns: Sequence[Column]) -> str:
    """The SQL of a row's digest: varbinary of 16 bytes, md5 over the signature and each column's rendering."""
    signature = "".join(each.family for each in columns).replace("'", "''")
    row = _joined([f"'{signature}|'", *(each.digest for each in columns)])
    return f"md5(to_utf8({row}))"


def _checked(decode: Decoder, what: str) -> Decoder:
    def checked(values: Sequence[object] | pa.Array) -> pa.Array:
        try:
            return decode(values)
        except pa.ArrowException:  # which quotes the value
            raise SourceError(
                f"{what} and holds a value beyond what Arrow can (nanoseconds reach from the year 1678 to 2261): "
                "read the table through a view that casts it, to timestamp(6) or varchar"
            ) from None

    return checked


def _family(kind: Kind) -> str:
    if kind.nested:
        letter = {"array": "l", "map": "m", "row": "s"}[kind.name]
        named = [(field.name or "", _family(field.kind)) for field in kind.fields]
        return f"{letter}({''.join(f'{len(name)}:{name}{family}' for name, family in named)})"
    return _FAMILIES[kind.name]


# --- values ----------------------------------------------------------------------------------------------------------------------------


def _exported(value: str, kind: Kind, depth: int) -> str:
    """SQL of the form that `decode.py` takes; `value` itself where that is what Trino sends anyway. `depth` names lambda variables."""
    if not kind.nested:
        return _exported_scalar(value, kind)
    if kind.name == "array":
        return _exported_each(value, lambda item: _exported(item, kind.parts[0], depth + 1), depth)
    if kind.name == "map":  # a JSON object's keys would be texts, and Java's toString of a row
        return _exported_each(f"map_entries({value})", lambda entry: _exported_fields(entry, kind, depth + 1), depth)
    return _exported_fields(value, kind, depth)


def _exported_each(items: str, export: Callable[[str], str], depth: int) -> str:
    variable = f"x{depth}"
    exported = export(variable)
    return items if exported == variable else f"transform({items}, {variable} -> {exported})"


def _exported_fields(row: str, kind: Kind, depth: int) -> str:
    fields = [f"{row}[{i}]" for i in range(1, len(kind.parts) + 1)]
    exported = [_exported(field, part, depth) for field, part in zip(fields, kind.parts, strict=True)]
    return row if exported == fields else f"CASE WHEN {row} IS NOT NULL THEN ROW({', '.join(exported)}) END"


def _exported_scalar(value: str, kind: Kind) -> str:
    match kind.name:
        case "date":
            return _days(value)
        case "timestamp" if kind.sizes[0] <= 6:
            return _units(value, kind, "TIMESTAMP '1970-01-01 00:00:00'")
        case "timestamp with time zone" if kind.sizes[0] <= 6:
            return _units(value, kind, "TIMESTAMP '1970-01-01 00:00:00 UTC'")
        case "timestamp with time zone" if kind.sizes[0] <= MOST_DIGITS:
            return _in_utc(value, kind)
        case "timestamp with time zone":
            return f"CAST({value} AT TIME ZONE 'UTC' AS varchar)"
        case "timestamp" | "time" if kind.sizes[0] > MOST_DIGITS:
            return f"CAST({value} AS varchar)"
        case name if name in _PRINTED:
            return f"CAST({value} AS varchar)"
        case _:
            return value


def _days(value: str) -> str:
    return f"date_diff('day', DATE '1970-01-01', {value})"


def _units(value: str, kind: Kind, epoch: str) -> str:
    """Seconds, milli- or microseconds since 1970. Trino sends an integer 1.2 times as fast as the text, and Arrow takes it twice as fast;
    besides, years after 9999 and before 0 fit."""
    if kind.sizes[0] <= 3:
        return f"date_diff('{'millisecond' if kind.sizes[0] else 'second'}', {epoch}, {value})"
    # There is no date_diff in microseconds, but within hours of 1970 to_unixtime has them exactly. (date_add takes 32 bits: no seconds.)
    hours = f"date_diff('hour', {epoch}, {value})"
    near = f"date_add('hour', -{hours}, {value})"
    if kind.name == "timestamp":  # which to_unixtime takes to be in the session's zone
        near = f"with_timezone({near}, 'UTC')"
    return f"{hours} * 3600000000 + CAST(round(to_unixtime({near}) * 1e6) AS bigint)"


def _in_utc(value: str, kind: Kind) -> str:
    return f"CAST({value} AT TIME ZONE 'UTC' AS timestamp({kind.sizes[0]}))"


# --- renderings ------------------------------------------------------------------------------------------------------------------------


def _joined(parts: Sequence[str]) -> str:
    """SQL of texts one after the other; those that are NULL are left out."""
    if len(parts) <= _MOST_ARGUMENTS:
        return f"array_join(ARRAY[{', '.join(parts)}], '')" if len(parts) > 1 else parts[0]
    return _joined([_joined(parts[at : at + _MOST_ARGUMENTS]) for at in range(0, len(parts), _MOST_ARGUMENTS)])


def _rendered(value: str, kind: Kind, depth: int) -> str:
    """SQL of a varchar, never NULL, that renders a value; `depth` names lambda variables."""
    variable = f"x{depth}"
    match kind.name:
        case "array":
            return _rendered_each(value, f"transform({value}, {variable} -> {_rendered(variable, kind.parts[0], depth + 1)})")
        case "map":
            entry = _joined([_rendered(f"{variable}[{i}]", part, depth + 1) for i, part in enumerate(kind.parts, start=1)])
            return _rendered_each(value, f"array_sort(transform(map_entries({value}), {variable} -> {entry}))")
        case "row":
            fields = [_rendered(f"{value}[{i}]", part, depth) for i, part in enumerate(kind.parts, start=1)]
            fields.insert(0, "'s'")
            return f"CASE WHEN {value} IS NULL THEN 'n' ELSE {_joined(fields)} END"
        case _:
            return _rendered_scalar(value, kind)


def _rendered_each(value: str, items: str) -> str:
    return _joined([f"CAST(cardinality({value}) AS varchar)", "'['", f"array_join({items}, '')"])


def _rendered_scalar(value: str, kind: Kind) -> str:
    if _family(kind) == "t":
        text = _text(value, kind)
        parts = [f"CAST(length({text}) AS varchar)", "':'", text]
        return f"IF(length({text}) < {_SHORT_CHARACTERS}, concat({', '.join(parts)}), {_joined(parts)})"
    if _family(kind) == "x":  # no bytes are not NULL
        parts = ["'='", f"to_base64({value})", "';'"]
        return f"CASE WHEN {value} IS NULL THEN ';' ELSE {_joined(parts)} END"
    return f"coalesce(concat({_digits(value, kind)}, ';'), ';')"


def _text(value: str, kind: Kind) -> str:
    match kind.name:
        case "varchar":
            return value
        case "char":  # its spaces at the end are padding
            return f"trim(TRAILING ' ' FROM CAST({value} AS varchar))"
        case "json":
            return f"json_format({value})"
        case _:
            return f"CAST({value} AS varchar)"


def _digits(value: str, kind: Kind) -> str:
    """Arguments of `concat` that make a text, not empty and without `;`, the same for equal values of the family."""
    match _family(kind):
        case "f":  # one NaN, one zero; bits, since how Java prints a number has changed before
            return f"to_hex(to_ieee754_64({f'CAST({value} AS double)' if kind.name == 'real' else value} + 0e0))"
        case "D":
            return f"CAST({_days(value)} AS varchar)"
        case "d" if kind.name == "decimal" and kind.sizes[1]:  # 5.00 is 5, as an integer column would have it
            return _without_zeros(value)
        case "T" | "S" | "Z":
            local = _in_utc(value, kind) if kind.name == "timestamp with time zone" else value
            return _without_zeros(local) if kind.sizes[0] else f"CAST({local} AS varchar)"
        case _:
            return f"CAST({value} AS varchar)"


def _without_zeros(value: str) -> str:
    return f"trim(TRAILING '.' FROM trim(TRAILING '0' FROM CAST({value} AS varchar)))"
