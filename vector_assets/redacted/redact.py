"""From columns to one text per row: the template applied, every value rendered the same way in any process. Pure; finds no personal data.

Values that fingerprint alike render alike (5 and 5.00, a timestamp in seconds and in microseconds): a column that is widened upstream
changes neither fingerprint nor text.
"""

from __future__ import annotations

import decimal
import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.errors import ConfigurationError

_TEXT = pa.large_string()  # a batch may hold more than 2 GiB of text


def compose(template: Sequence[tuple[str, str | None]], values: pa.StructArray) -> list[str]:
    """One text per row: literals and rendered columns in turn, NULL as nothing; what is only whitespace becomes "".

    Args:
        template: (literal, column) pairs; a column of None stands for nothing (see `tables.parse_template`).
        values: n rows.

    Raises:
        ConfigurationError: the template names a column that is not there.
    """
    columns = struct_columns(values)
    pieces: list[pa.Array | pa.Scalar] = [pa.array([""] * len(values), _TEXT)]
    for literal, name in template:
        pieces.append(pa.scalar(literal, _TEXT))
        if name is not None:
            pieces.append(render_column(column_named(columns, name, "text")))
    separator = pa.scalar("", _TEXT)
    texts = pc.binary_join_element_wise(*pieces, separator, null_handling="replace", null_replacement="")
    return [text if text and not text.isspace() else "" for text in texts.to_pylist()]


def struct_columns(values: pa.StructArray) -> dict[str, pa.Array]:
    """The columns of a struct by name; a NULL struct is a row of NULLs."""
    return dict(zip((field.name for field in values.type), values.flatten(), strict=True))


def column_named(columns: dict[str, pa.Array], name: str, setting: str) -> pa.Array:
    """A column; raises ConfigurationError, naming the setting that wants it, where there is none."""
    if name not in columns:
        raise ConfigurationError(f"{setting}: there is no column {name!r} (there are: {', '.join(columns)})")
    return columns[name]


def render_column(column: pa.Array) -> pa.Array:
    """Every value as text (large_string), NULL as NULL.

    Numbers in full and without trailing zeros after the point, floats as Python writes them (of a 32-bit float: its exact 64-bit value),
    `true` and `false`, dates and times in ISO 8601 (with a zone: as UTC, ending in Z), bytes as hex, lists and structs as JSON.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return render_column(column.cast(kind.value_type))
    if isinstance(column, pa.ExtensionArray):
        return _each(column)
    if pa.types.is_timestamp(kind):
        naive = column.cast(pa.timestamp(kind.unit)).cast(_TEXT)
        text = _without_zeros(pc.replace_substring(naive, pattern=" ", replacement="T"))
        return pc.binary_join_element_wise(text, pa.scalar("Z", _TEXT), pa.scalar("", _TEXT)) if kind.tz else text
    if pa.types.is_time(kind):
        return _without_zeros(column.cast(_TEXT))
    if pa.types.is_date(kind):
        return column.cast(pa.date32()).cast(_TEXT)
    plain = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if plain or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column.cast(_TEXT)
    return _each(column.cast(pa.float64()) if pa.types.is_floating(kind) else column)


def _without_zeros(times: pa.Array) -> pa.Array:
    """Fractions of a second without the zeros that only tell the column's unit."""
    return pc.replace_substring_regex(times, pattern=r"\.0*$|(\.\d*?)0+$", replacement=r"\1")


def _each(column: pa.Array) -> pa.Array:
    return pa.array([None if value is None else _rendered(value) for value in column.to_pylist()], _TEXT)


def _rendered(value: object) -> str:
    match value:
        case float():
            return repr(value + 0.0)  # -0.0 + 0.0 is 0.0
        case decimal.Decimal():
            digits = format(value, "f")
            return digits.rstrip("0").rstrip(".") if "." in digits else digits
        case bytes():
            return value.hex()
        case dict() | list() | tuple():
            return json.dumps(value, ensure_ascii=False, default=_rendered)
        case _:
            return str(value)
