"""Key values as text: the SQL literals that find them, and what the renderings of `types.py` make of them.

The only place where a value becomes SQL. Every literal is a typed constant, so that Trino prunes by it, and is made of a value that was
checked to be one of its type, or is a text between quotes. A value that cannot be in such a column (an old key 5.5, for a column that
became an integer) is a typed NULL: it equals nothing, and does not fail the statement.
"""

from __future__ import annotations

import base64
import ipaddress
import math
import re
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa

from vector_assets.raw.trino.decode import MOST_DIGITS
from vector_assets.raw.trino.kinds import INTEGERS, Kind

if TYPE_CHECKING:
    from vector_assets.raw.trino.types import Column

_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_FRACTION = r"(?:\.\d{1,12})?"
_DAY = r"[+-]?(?:\d{4,5}|[12]\d{5})-\d\d-\d\d"
_TEXTS = {
    "uuid": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "time": re.compile(_CLOCK + _FRACTION),
    "timestamp": re.compile(f"({_DAY}) {_CLOCK}{_FRACTION}"),
    "time with time zone": re.compile(rf"{_CLOCK}{_FRACTION}[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00)"),
    "interval day to second": re.compile(rf"-?\d{{1,9}} {_CLOCK}\.\d{{3}}"),
    "interval year to month": re.compile(r"-?\d{1,8}-(?:\d|1[01])"),
}
_ARROW_FAMILIES: dict[str, Callable[[pa.DataType], bool]] = {
    "d": lambda kind: pa.types.is_integer(kind) or pa.types.is_decimal(kind),
    "f": pa.types.is_floating,
    "b": pa.types.is_boolean,
    "t": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    "x": lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind),
    "D": pa.types.is_date32,
    "T": pa.types.is_time,
    "S": lambda kind: pa.types.is_timestamp(kind) and kind.tz is None,
    "Z": lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,
}


def literals(keys: pa.Array, column: Column) -> list[str] | None:
    """Each key as an SQL constant for comparing with the column itself (`quoted(name) IN (…)`), in their order.

    NULL is a typed NULL; NaN is `nan()`, which only `IS NOT DISTINCT FROM` finds. None where keys of this Arrow type are not of the
    column's family, so that none of them can be in it.
    """
    values = _values(keys, column)
    if values is None:
        return None
    missing = f"CAST(NULL AS {column.kind.sql})"
    write = _WRITERS[column.family]
    return [missing if value is None else write(value, column.kind) or missing for value in values]


def renderings(keys: pa.Array, column: Column) -> list[str] | None:
    """What `column.digest` makes of each key, character by character. None where keys of this Arrow type are of another family."""
    values = _values(keys, column)
    if values is None:
        return None
    if column.family == "t":
        return [":" if value is None else f"{len(value)}:{value}" for value in values]  # type: ignore[arg-type]
    if column.family == "D":
        values = keys.cast(pa.int32()).to_pylist()
    return [";" if value is None else f"{_rendered(value)};" for value in values]


def _rendered(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return "7FF8000000000000" if math.isnan(value) else struct.pack(">d", value + 0.0).hex().upper()
        case bytes():
            return f"={base64.b64encode(value).decode()}"
        case _:
            return str(value)


# --- values ----------------------------------------------------------------------------------------------------------------------------


def _values(keys: pa.Array, column: Column) -> Sequence[object] | None:
    """Bools, floats, texts and bytes as they are; numbers, dates, times and timestamps as texts, without zeros at the end of a fraction."""
    if pa.types.is_null(keys.type):
        return [None] * len(keys)
    as_text = pa.types.is_string(column.arrow)
    if not _ARROW_FAMILIES["t" if as_text else column.family](keys.type):
        return None
    if as_text and column.family != "t":  # more digits than Arrow has
        return [None if value is None else _fine_moment(value, column.kind) for value in keys.to_pylist()]
    if column.family == "d":
        return [None if value is None else _number(value) for value in keys.to_pylist()]
    return _moments(keys) if column.family in "DTSZ" else keys.to_pylist()


def _number(value: int | Decimal) -> str:
    return str(value) if isinstance(value, int) else _without_zeros(format(value, "f"))


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _fine_moment(text: str, kind: Kind) -> str:
    zoned = kind.name == "timestamp with time zone"
    return _without_zeros(text.removesuffix(" UTC")) if zoned == text.endswith(" UTC") else "another type's"


def _moments(keys: pa.Array) -> list[str | None]:
    """Through numpy, which has years that Python has not."""
    date = pa.types.is_date(keys.type)
    integers = keys.cast(pa.int32() if keys.type.bit_width == 32 else pa.int64()).cast(pa.int64())
    unit = "D" if date else keys.type.unit
    texts = np.datetime_as_string(integers.fill_null(0).to_numpy().astype(f"datetime64[{unit}]")).tolist()
    if pa.types.is_time(keys.type):
        texts = [text.partition("T")[2] for text in texts]
    else:
        texts = [_with_iso_year(text.replace("T", " ")) for text in texts]
    return [_without_zeros(text) if valid else None for text, valid in zip(texts, keys.is_valid().to_pylist(), strict=True)]


def _with_iso_year(text: str) -> str:
    # numpy: -5 and 12345 where ISO 8601 has -0005 and +12345.
    if text[4] == "-" and text[0] != "-":
        return text
    sign, year, rest = re.match(r"(-?)(\d+)(.*)", text).groups()  # type: ignore[union-attr]
    return f"{sign or '+'}{year:0>4}{rest}"


# --- literals --------------------------------------------------------------------------------------------------------------------------


def _number_literal(text: str, kind: Kind) -> str | None:
    whole, _, fraction = text.lstrip("-").partition(".")
    if kind.name == "decimal":
        digits, scale = kind.sizes
        return f"DECIMAL '{text}'" if len(whole.lstrip("0")) <= digits - scale and len(fraction) <= scale else None
    bound = 1 << (INTEGERS[kind.name] - 1)
    return f"{kind.name.upper()} '{text}'" if not fraction and -bound <= int(text) < bound else None


def _float_literal(value: float, kind: Kind) -> str | None:
    if math.isnan(value):
        return f"CAST(nan() AS {kind.name})"
    if math.isinf(value):
        return f"CAST({'-' if value < 0 else ''}infinity() AS {kind.name})"
    if kind.name == "real":
        with np.errstate(over="ignore"):
            if float(np.float32(value)) != value:
                return None
    return f"{kind.name.upper()} '{value!r}'"


def _text_literal(text: str, kind: Kind) -> str | None:
    match kind.name:
        case "varchar":
            return string(text)
        case "char":
            return f"CAST({string(text)} AS {kind.sql})" if len(text) <= kind.sizes[0] and not text.endswith(" ") else None
        case "json":
            return f"JSON {string(text)}" if _is_json(text) else None
        case "ipaddress":
            return f"IPADDRESS '{text}'" if _is_address(text) else None
        case "unknown":
            return None
    if not _TEXTS[kind.name].fullmatch(text):
        return None
    match kind.name:
        case "uuid":
            return f"UUID '{text}'"
        case "time with time zone":
            return f"TIME '{text}'"
        case name:
            return f"INTERVAL '{text}' {name.partition(' ')[2].upper()}"


def _moment_literal(text: str, kind: Kind) -> str | None:
    word, _, zone = kind.name.partition(" ")
    if kind.sizes and kind.sizes[0] > MOST_DIGITS and not _is_moment(text, kind):
        return None
    return f"{word.upper()} '{text}{' UTC' if zone else ''}'"


def _is_moment(text: str, kind: Kind) -> bool:
    found = _TEXTS[kind.name.partition(" ")[0]].fullmatch(text)
    if not found or len(text.partition(".")[2]) > kind.sizes[0]:
        return False
    try:
        return kind.name == "time" or not np.isnat(np.datetime64(found[1].removeprefix("+")))
    except ValueError:
        return False


def string(text: str) -> str:
    """A varchar constant."""
    return "'" + text.replace("'", "''") + "'"


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _is_address(text: str) -> bool:
    # As Trino prints it: 1.2.3.4 is one address with ::ffff:1.2.3.4.
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return str(address) == text and "%" not in text and not (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped)


_WRITERS: dict[str, Callable[..., str | None]] = {
    "d": _number_literal,
    "f": _float_literal,
    "b": lambda value, _: "true" if value else "false",
    "t": _text_literal,
    "x": lambda value, _: f"X'{value.hex()}'",
    **dict.fromkeys("DTSZ", _moment_literal),
}
