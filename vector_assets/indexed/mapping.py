"""From a row to an object, purely: names and types that Weaviate and Lance both accept, and ids that derive from our own.

Nothing here asks an index. A value that its property cannot hold exactly is a reason for that row, never a rounded value.
"""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.errors import ConfigurationError
from vector_assets.fingerprint import HASH_BYTES, Hashes, from_bytes, text_fingerprint
from vector_assets.indexed.index import OBJECT_COLUMNS, Property
from vector_assets.tables import PropertyType, encode_part

PREFIX = "source_"
LARGEST_INTEGER = 2**53
"""Beyond it Weaviate, which keeps integers as JSON numbers, would store a neighbour without a word (9007199254740993 as …992)."""

MAX_NAME = 200
NULL_PART = "~"
_PLAIN_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_HELPERS = ("auto_schema_guard", "off_index")  # of Weaviate collections: `weaviate/layout.py`
_RESERVED = {"id", "_id", "_additional", "additional", "vector", "vectors", *_HELPERS, *OBJECT_COLUMNS.names}

ARROW_TYPES: Mapping[PropertyType, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
}
"""What each property type is in Arrow, in `properties` and in a Lance collection."""

_FIRST_MICROSECOND = -62_135_596_800_000_000  # 0001-01-01, the first that Python and RFC 3339 can say
_LAST_MICROSECOND = 253_402_300_799_999_999  # the end of 9999-12-31


# --- ids -------------------------------------------------------------------------------------------------------------------------------


def object_ids(row_ids: Hashes, ordinals: npt.NDArray[np.integer]) -> Hashes:
    """Ids of objects, shape (n, 2): a hash of (row id, ordinal of the passage) with the version (8) and variant bits of RFC 9562 set, so
    that the 16 bytes are a valid UUID."""
    rows = np.ascontiguousarray(row_ids, dtype="<u8").tobytes()
    numbers = np.ascontiguousarray(ordinals, dtype="<i4").tobytes()
    digests = [
        hashlib.blake2b(rows[16 * i : 16 * i + 16] + numbers[4 * i : 4 * i + 4], digest_size=HASH_BYTES, person=b"object").digest()
        for i in range(len(ordinals))
    ]
    octets = from_bytes(digests).view(np.uint8).reshape(-1, HASH_BYTES).copy()
    octets[:, 6] = (octets[:, 6] & 0x0F) | 0x80
    octets[:, 8] = (octets[:, 8] & 0x3F) | 0x80
    return octets.view("<u8").reshape(-1, 2)


def source_keys(properties: pa.StructArray, key: Sequence[str]) -> pa.StringArray:
    """Key columns as one text that a person can type: parts percent-encoded, joined by `/`. A NULL is `~`, and so is a column that is not
    among the properties because its policy dropped it."""
    present = {field.name for field in properties.type}
    rows: list[list[str]] = [[] for _ in range(len(properties))]
    for name in key:
        texts = _texts(properties.field(name)) if name in present else [None] * len(properties)
        for row, text in zip(rows, texts, strict=True):
            row.append(NULL_PART if text is None else encode_part(text))
    return pa.array(map("/".join, rows), pa.string())


# --- names -----------------------------------------------------------------------------------------------------------------------------


def property_name(column: str) -> str:
    """The property that a source column becomes, whatever else its table has.

    A plain identifier keeps its name (its first letter in lower case, as Weaviate stores it). Reserved names get `source_` in front, and so
    do columns that already look like the result (`id` → `source_id`, `source_id` → `source_source_id`). Everything else becomes readable
    characters and six digits of a hash, so that `a-b` and `a.b` stay apart.
    """
    name = column
    if not _PLAIN_NAME.fullmatch(column) or len(column) > MAX_NAME:
        readable = re.sub(r"[^0-9A-Za-z]+", "_", column).strip("_")[: MAX_NAME - 10] or "column"
        name = f"{'_' * readable[0].isdigit()}{readable}_{text_fingerprint(column, 'property').hex()[:6]}"
    name = name[0].lower() + name[1:]
    return PREFIX + name if _is_reserved(name) else name


def _is_reserved(name: str) -> bool:
    if name in _RESERVED or name.startswith("__"):  # GraphQL keeps `__…` for itself
        return True
    return name.startswith(PREFIX) and _is_reserved(name.removeprefix(PREFIX))


def property_names(columns: Iterable[str]) -> dict[str, str]:
    """Properties of a table's columns. Raises ConfigurationError where two columns would become one (`Status` and `status`)."""
    names: dict[str, str] = {}
    owners: dict[str, str] = {}
    for column in columns:
        name = names[column] = property_name(column)
        if owners.setdefault(name, column) != column:
            raise ConfigurationError(
                f"columns {owners[name]!r} and {column!r} would both be property {name!r}: drop one, or rename it in a view"
            )
    return names


def property_type(arrow_type: pa.DataType) -> PropertyType:
    """The type of a property made from a column of this type.

    Integers are `int` (values beyond 2⁵³ are refused row by row: declare `type: text` for snowflake ids), dates are timestamps at midnight
    UTC, zoneless timestamps are UTC. Decimals are text, and so is everything else.
    """
    kinds = pa.types
    if kinds.is_dictionary(arrow_type):
        return property_type(arrow_type.value_type)
    if kinds.is_boolean(arrow_type):
        return "boolean"
    if kinds.is_integer(arrow_type):
        return "int"
    if kinds.is_floating(arrow_type):
        return "number"
    if kinds.is_timestamp(arrow_type) or kinds.is_date(arrow_type):
        return "timestamp"
    return "text"


# --- values ----------------------------------------------------------------------------------------------------------------------------


class Converted(NamedTuple):
    """`properties`: a struct of the wanted properties in their order, typed by `ARROW_TYPES`; `reasons`: per row, why a value could not be
    represented (it is NULL then), or None."""

    properties: pa.StructArray
    reasons: list[str | None]


def to_properties(properties: pa.StructArray, wanted: Sequence[Property], names: Mapping[str, str]) -> Converted:
    """Values of source columns as a collection's properties. `names` maps source columns to property names; a wanted property that this
    table does not have is NULL.

    Raises ConfigurationError for a column whose property the collection does not have.
    """
    columns = {names[field.name]: properties.field(field.name) for field in properties.type}
    for name in columns.keys() - {prop.name for prop in wanted}:
        raise ConfigurationError(f"property {name!r} is not in the collection: make it with every table's properties first")
    reasons: list[str | None] = [None] * len(properties)
    arrays = []
    for prop in wanted:
        kind = ARROW_TYPES[prop.type]
        if prop.name not in columns:
            arrays.append(pa.nulls(len(properties), kind))
            continue
        array, refused = _convert(columns[prop.name], prop.type)
        arrays.append(array)
        for row, reason in refused.items():
            reasons[row] = reasons[row] or f"property {prop.name}: {reason}"
    fields = [pa.field(prop.name, ARROW_TYPES[prop.type]) for prop in wanted]
    return Converted(struct_of(arrays, fields, len(properties)), reasons)


def struct_of(arrays: Sequence[pa.Array], fields: Sequence[pa.Field], length: int) -> pa.StructArray:
    """Columns as one struct column."""
    if not fields:  # pyarrow cannot know the length of a struct without fields
        return pa.array([{}] * length, pa.struct([]))
    return pa.StructArray.from_arrays(arrays, fields=fields)


def _convert(column: pa.Array, kind: PropertyType) -> tuple[pa.Array, dict[int, str]]:
    """A column as a property type, and the rows that it cannot hold. Columns that fit whole are cast whole; others go value by value."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if kind == "text":
        return pa.array(_texts(column), pa.string()), {}
    if _fits(column, kind):
        return column.cast(ARROW_TYPES[kind]), {}
    converted: list[object] = []
    refused: dict[int, str] = {}
    for row, value in enumerate(_python_values(column)):
        try:
            converted.append(None if value is None else _CONVERTERS[kind](value))
        except ValueError as error:  # raised below, with reasons of our own
            refused[row] = str(error)
            converted.append(None)
    return pa.array(converted, ARROW_TYPES[kind]), refused


def _fits(column: pa.Array, kind: PropertyType) -> bool:
    types = pa.types
    if kind == "boolean":
        return bool(types.is_boolean(column.type))
    if kind in ("int", "number") and types.is_integer(column.type):
        return column.type.bit_width <= 32 or _within(column, -LARGEST_INTEGER, LARGEST_INTEGER)
    if kind == "number" and types.is_floating(column.type):
        return bool(pc.all(pc.is_finite(column), min_count=0).as_py())
    if kind == "timestamp" and types.is_timestamp(column.type) and column.type.unit == "us":
        return _within(column.cast(pa.int64()), _FIRST_MICROSECOND, _LAST_MICROSECOND)
    return False


def _within(column: pa.Array, low: int, high: int) -> bool:
    bounds = pc.min_max(column).as_py()
    return bounds["min"] is None or (bounds["min"] >= low and bounds["max"] <= high)


def _python_values(column: pa.Array) -> list[object]:
    if not pa.types.is_timestamp(column.type):
        values: list[object] = column.to_pylist()
        return values
    # Python's datetime cannot say year 12000 or a nanosecond: such values become a `_Moment`, which its converter refuses.
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[column.type.unit]
    return [None if value is None else _Moment(value, per_second) for value in column.cast(pa.int64()).to_pylist()]


class _Moment(NamedTuple):
    ticks: int
    per_second: int


def _to_int(value: object) -> int:
    match value:
        case bool():
            pass
        case int() | float() | decimal.Decimal() if math.isfinite(value) and value == int(value):
            if not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
                raise ValueError("an integer beyond 2^53; declare `type: text` for it in sources.yaml")
            return int(value)
    raise ValueError("not an integer")


def _to_number(value: object) -> float:
    match value:
        case bool():
            pass
        case int():
            return float(_to_int(value))
        case float() | decimal.Decimal() if math.isfinite(value):
            return float(value)  # a decimal declared as `number` becomes its nearest float: that is what the declaration says
    raise ValueError("not a finite number")


def _to_boolean(value: object) -> bool:
    match value:
        case bool():
            return value
    raise ValueError("not true or false")


def _to_timestamp(value: object) -> dt.datetime:
    match value:
        case _Moment(ticks, per_second):
            microseconds, rest = divmod(ticks * 1_000_000, per_second)
            if rest:
                raise ValueError("finer than a microsecond")
            try:
                return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=microseconds)
            except OverflowError:
                raise ValueError("outside the years 1 to 9999") from None
        case dt.date():
            return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
        case str():
            return parse_timestamp(value)
    raise ValueError("not a point in time")


def parse_timestamp(text: str) -> dt.datetime:
    """An ISO 8601 text in UTC; without a zone it is UTC already. Raises ValueError, without the text."""
    try:
        moment = dt.datetime.fromisoformat(text)
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ValueError("not an ISO 8601 timestamp") from None


_CONVERTERS: Mapping[PropertyType, Callable[[object], object]] = {
    "int": _to_int,
    "number": _to_number,
    "boolean": _to_boolean,
    "timestamp": _to_timestamp,
}


def _texts(column: pa.Array) -> list[str | None]:
    """Values as text, exactly: decimals with their scale, timestamps as RFC 3339 in UTC, bytes in hex, nested values as JSON."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _texts(column.dictionary_decode())
    if pa.types.is_timestamp(kind):
        zoned = column.cast(pa.timestamp(kind.unit, "UTC"))
        return [None if text is None else text.replace(" ", "T") for text in zoned.cast(pa.string()).to_pylist()]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [None if value is None else value.hex() for value in column.to_pylist()]
    if pa.types.is_decimal(kind):  # Arrow would write 1E-10
        return [None if value is None else f"{value:f}" for value in column.to_pylist()]
    if pa.types.is_nested(kind):
        return [None if value is None else _json(value) for value in column.to_pylist()]
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    return texts


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
