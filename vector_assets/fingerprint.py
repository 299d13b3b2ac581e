"""Identity and content of rows, as 128-bit values: pure, typed, length-prefixed, pinned by golden tests.

`row_id` says which row it is; fingerprints say what it holds or was made from. Both travel through the package as `Hashes`: an array of
shape (n, 2), dtype uint64, little-endian lanes of the 16 bytes that Arrow and Lance store as `fixed_size_binary(16)`.

Changing anything here re-identifies or re-embeds every user's data: the golden tests fail first.
"""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import json
import struct
import uuid
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]
HASH_TYPE = pa.binary(16)
HASH_BYTES = 16

_EPOCH_DATE = dt.date(1970, 1, 1)
_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


# --- arrays of hashes ------------------------------------------------------------------------------------------------------------------


def empty_hashes() -> Hashes:
    """No hashes: shape (0, 2)."""
    return np.empty((0, 2), dtype=np.uint64)


def from_bytes(digests: Sequence[bytes]) -> Hashes:
    """Hashes of 16-byte strings, in their order."""
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2)


def from_arrow(column: pa.Array | pa.ChunkedArray) -> Hashes:
    """Hashes of a `fixed_size_binary(16)` column; a NULL becomes zero."""
    if isinstance(column, pa.ChunkedArray):
        parts = [from_arrow(chunk) for chunk in column.chunks if len(chunk)]
        return np.concatenate(parts) if parts else empty_hashes()
    if len(column) == 0:
        return empty_hashes()
    data = column.buffers()[1]
    lanes = np.frombuffer(data, dtype="<u8")[2 * column.offset : 2 * (column.offset + len(column))].reshape(-1, 2)
    if column.null_count:
        lanes = np.where(np.asarray(column.is_valid())[:, None], lanes, np.uint64(0))
    return lanes


def to_arrow(hashes: Hashes) -> pa.Array:
    """A `fixed_size_binary(16)` array of these hashes."""
    lanes = np.ascontiguousarray(hashes, dtype="<u8")
    return pa.Array.from_buffers(HASH_TYPE, len(lanes), [None, pa.py_buffer(lanes.tobytes())])


# --- fingerprints ----------------------------------------------------------------------------------------------------------------------


def fingerprint(kind: str, parts: Iterable[bytes]) -> bytes:
    """16 bytes over length-prefixed parts. `kind` (≤ 16 ASCII characters) keeps hashes of different things apart."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES, person=kind.encode())
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def text_fingerprint(text: str, kind: str = "text") -> bytes:
    """16 bytes of one text. Lone surrogates are kept apart, not merged."""
    return fingerprint(kind, (text.encode("utf-8", "surrogatepass"),))


def version_of(stage: str, **parts: object) -> str:
    """The stage version: 32 hex digits over everything named that can change a stage's output (JSON values, sorted by name)."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return fingerprint("version", (stage.encode(), canonical.encode())).hex()


def input_fingerprints(content: Hashes, version: str) -> Hashes:
    """What rows would be made from: their content fingerprints under a stage version.

    XOR of two 128-bit hashes of different kinds: as collision-resistant as their sum, and one vector operation for a whole table.
    """
    return content ^ from_bytes([bytes.fromhex(version)])


def data_version(ids: Hashes, content: Hashes) -> str:
    """32 hex digits of a set of (id, content fingerprint), whatever its order.

    Each pair is mixed (the 64-bit finalizer of SplitMix64, Steele et al. 2014, over all four lanes); the results are summed modulo 2^64,
    twice, with different salts.
    """
    lanes = []
    with np.errstate(over="ignore"):
        for salt in (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)):
            mixed = np.full(len(ids), salt, dtype=np.uint64)
            for lane in (ids[:, 0], ids[:, 1], content[:, 0], content[:, 1]):
                mixed = _splitmix(mixed ^ lane) + salt
            lanes.append(int(mixed.sum(dtype=np.uint64)))
    return f"{lanes[0]:016x}{lanes[1]:016x}"


def _splitmix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


# --- typed values ----------------------------------------------------------------------------------------------------------------------


def _exact_number(value: int | decimal.Decimal) -> bytes:
    # Integers and decimals are one family: 5, 5.0 and 5.00 are one value, so widening int → bigint → decimal changes no id.
    if isinstance(value, int):
        return b"%d" % value
    if not value.is_finite():
        return str(value).encode()
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).lstrip("0")
    stripped = text.rstrip("0")
    exponent += len(text) - len(stripped)
    if not stripped:
        return b"0"
    number = stripped + "0" * exponent if exponent >= 0 else _with_point(stripped, -exponent)
    return ("-" if sign else "").encode() + number.encode()


def _with_point(digits: str, places: int) -> str:
    padded = digits.rjust(places + 1, "0")
    return f"{padded[:-places]}.{padded[-places:]}"


def _float(value: float) -> bytes:
    if value != value:  # every NaN is one value
        return b"nan"
    return struct.pack(">d", value + 0.0)  # -0.0 + 0.0 is 0.0


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def encode_value(value: object) -> bytes:
    """One Python value as tag, length and bytes; equal values of one family encode alike, different values never do.

    Accepts None, bool, int, Decimal, float, str, bytes, date, UUID, and lists and dicts of those (a dict's order is its struct's order).
    Times and timestamps come in through `encode_column`, as integers of nanoseconds.
    """
    tag, body = _tagged(value)
    return tag + len(body).to_bytes(4, "little") + body


def _tagged(value: object) -> tuple[bytes, bytes]:  # noqa: C901 - one branch per family; bool before int, since it is one
    match value:
        case None:
            return b"n", b""
        case bool():
            return b"b", b"1" if value else b"0"
        case int() | decimal.Decimal():
            return b"d", _exact_number(value)
        case float():
            return b"f", _float(value)
        case str():
            return b"t", _text(value)
        case bytes():
            return b"x", value
        case uuid.UUID():
            return b"t", str(value).encode()
        case dt.date():
            return b"D", b"%d" % (value - _EPOCH_DATE).days
        case dict():
            return b"s", b"".join(encode_value(str(k)) + encode_value(v) for k, v in value.items())
        case list() | tuple():
            return b"l", b"".join(map(encode_value, value))
        case _:
            raise TypeError(f"no encoding for a {type(value).__name__}")


def encode_column(column: pa.Array | pa.ChunkedArray) -> list[bytes]:
    """Every value of a column by `encode_value`; times and timestamps as nanoseconds, zoned timestamps as UTC."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _encode_integers(column, b"Z" if kind.tz else b"S", _NANOSECONDS[kind.unit])
    if pa.types.is_time(kind):
        return _encode_integers(column, b"T", _NANOSECONDS[kind.unit])
    if pa.types.is_duration(kind):
        return _encode_integers(column, b"P", _NANOSECONDS[kind.unit])
    if pa.types.is_date32(kind):  # as integers: a source may hold dates that Python cannot
        return _encode_integers(column, b"D", 1)
    if pa.types.is_nested(kind):
        return [encode_value(_plain(value)) for value in column.to_pylist()]
    return [encode_value(value) for value in column.to_pylist()]


def _plain(value: object) -> object:
    # Inside nested values a timestamp is rare enough for text: ISO 8601, UTC where it has a zone.
    if isinstance(value, dt.datetime):
        return (value.astimezone(dt.UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, dt.time | dt.timedelta):
        return str(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _encode_integers(column: pa.Array, tag: bytes, factor: int) -> list[bytes]:
    integers = column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64()).to_pylist()
    bodies = [None if value is None else b"%d" % (value * factor) for value in integers]
    return [encode_value(None) if body is None else tag + len(body).to_bytes(4, "little") + body for body in bodies]


# --- rows ------------------------------------------------------------------------------------------------------------------------------


def row_ids(table: tuple[str, str, str], key: Sequence[pa.Array | pa.ChunkedArray], secret: bytes | None = None) -> Hashes:
    """Ids of rows: shape (n, 2). `table` is (catalog, schema, table); `key` holds one column per key column; `secret` makes ids of
    personal keys unguessable (fixed for the life of the data)."""
    prefix = hashlib.blake2b(digest_size=HASH_BYTES, person=b"row_id", key=_short(secret or b""))
    for name in table:
        prefix.update(encode_value(name))
    return _hash_rows(prefix, key)


def _short(secret: bytes) -> bytes:
    # BLAKE2b takes keys of at most 64 bytes; longer ones are hashed first, as in HMAC.
    return secret if len(secret) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.blake2b(secret).digest()


def column_fingerprints(kind: str, columns: Sequence[tuple[str, pa.Array | pa.ChunkedArray]]) -> Hashes:
    """Content fingerprints of rows over named columns: shape (n, 2). The order of the columns does not matter, their names do."""
    prefix = hashlib.blake2b(digest_size=HASH_BYTES, person=kind.encode())
    ordered = sorted(columns, key=lambda pair: pair[0])
    for name, _ in ordered:
        prefix.update(encode_value(name))
    return _hash_rows(prefix, [column for _, column in ordered])


def _hash_rows(prefix: hashlib.blake2b, columns: Sequence[pa.Array | pa.ChunkedArray]) -> Hashes:
    digests = []
    copy: Callable[[], hashlib.blake2b] = prefix.copy
    for values in zip(*map(encode_column, columns), strict=True):
        digest = copy()
        digest.update(b"".join(values))
        digests.append(digest.digest())
    return from_bytes(digests)
