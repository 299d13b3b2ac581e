"""The WHERE clause that finds rows by their keys: a list of constants while the keys are few, else a bitmap of key hashes.

Always one statement, since each scans the table anew where keys do not prune: 40,000 of the 1.5 M rows of `tpch.sf1.orders` in four lists
took 3.4 times as long as by the bitmap. A clause may let other rows through (it is for Trino to skip what it can); the reader drops them.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from vector_assets.fingerprint import encode_column
from vector_assets.raw.sql import quoted
from vector_assets.raw.trino.keys import literals, renderings
from vector_assets.raw.trino.types import Column

MOST_LISTED = 10_000
MOST_CHARACTERS = 700_000  # of a clause; Trino takes statements of 1,000,000

_BITS_PER_KEY = 16  # 1 of 16 other rows comes along
_FEWEST_BITS, _MOST_BITS = 1 << 12, 1 << 22  # the most are MOST_CHARACTERS
_WORTH_IT = 0.5  # share of other rows that come along; a full scan reads no literal of half a megabyte

EncodedKey = tuple[bytes, ...]


class Find(NamedTuple):
    """A clause (empty: a full scan) and the keys that it is for."""

    where: str
    wanted: frozenset[EncodedKey]


def encoded(keys: Sequence[pa.Array]) -> list[EncodedKey]:
    """Keys, by column, as they compare: by value within a family, whatever the type's width."""
    return list(zip(*map(encode_column, keys), strict=True))


def find(keys: Sequence[pa.Array], columns: Sequence[Column]) -> Find | None:
    """A clause that finds every row with one of these keys, given by column. None where no row can have one."""
    identities = encoded(keys)
    distinct = list({identity: i for i, identity in enumerate(identities)}.values())
    keys = [each.take(pa.array(distinct, pa.int64())) for each in keys]
    wanted = frozenset(identities)
    if len(distinct) > MOST_LISTED:
        return Find(_bitmap(keys, columns), wanted)
    written = [literals(each, column) for each, column in zip(keys, columns, strict=True)]
    rows = _possible(keys, [each for each in written if each is not None])
    if not rows or any(each is None for each in written):
        return None
    where = _listed(rows, columns)
    return Find(where if len(where) <= MOST_CHARACTERS else _bitmap(keys, columns), wanted)


_Row = tuple[str | None, ...]
"""A key as constants; None for NULL."""


def _possible(keys: Sequence[pa.Array], written: Sequence[list[str]]) -> list[_Row]:
    """Keys as constants, without those that hold a value which a column cannot: it was written as a NULL, and is none."""
    nulls = [each.is_null().to_pylist() for each in keys]
    rows: list[_Row] = []
    for constants, null in zip(zip(*written, strict=True), zip(*nulls, strict=True), strict=True):
        if all(is_null or not constant.startswith("CAST(NULL") for is_null, constant in zip(null, constants, strict=True)):
            rows.append(tuple(None if is_null else constant for is_null, constant in zip(null, constants, strict=True)))
    return rows


def _listed(rows: Sequence[_Row], columns: Sequence[Column]) -> str:
    """One list per column, which Trino prunes by; and for keys of several columns the lists of whole keys, by which of them are NULL."""
    pruning = [_one_of([row[i] for row in rows], column) for i, column in enumerate(columns)]
    if len(columns) == 1 or any(column.family == "f" for column in columns):  # NaN equals nothing
        return " AND ".join(pruning)
    patterns: dict[tuple[bool, ...], list[_Row]] = {}
    for row in rows:
        patterns.setdefault(tuple(constant is None for constant in row), []).append(row)
    whole = [_whole(pattern, same, columns) for pattern, same in patterns.items()]
    return f"{' AND '.join(pruning)} AND ({' OR '.join(whole)})"


def _one_of(constants: Sequence[str | None], column: Column) -> str:
    name = quoted(column.name)
    listed = list(dict.fromkeys(constant for constant in constants if constant is not None))
    either = [f"{name} IN ({', '.join(listed)})"] if listed else []
    if None in constants:
        either.append(f"{name} IS NULL")
    if any("nan()" in constant for constant in listed):
        either.append(f"is_nan({name})")
    return f"({' OR '.join(either)})"


def _whole(pattern: Sequence[bool], rows: Sequence[_Row], columns: Sequence[Column]) -> str:
    names = [quoted(column.name) for column in columns]
    terms = [f"{name} IS NULL" for name, null in zip(names, pattern, strict=True) if null]
    given = [name for name, null in zip(names, pattern, strict=True) if not null]
    tuples = dict.fromkeys(", ".join(constant for constant in row if constant is not None) for row in rows)
    if len(given) == 1:
        terms.append(f"{given[0]} IN ({', '.join(tuples)})")
    elif given:  # Trino 476 fails where a row that holds a NULL, and is equal but for it, hashes to the slot of one in the list
        holes = " OR ".join(f"{name} IS NULL" for name in given)
        terms.append(f"IF({holes}, false, ({', '.join(given)}) IN ({', '.join(f'({each})' for each in tuples)}))")
    return f"({' AND '.join(terms)})"


def _bitmap(keys: Sequence[pa.Array], columns: Sequence[Column]) -> str:
    """Rows whose rendered key hashes to a bit that some key has set; empty (a full scan) where it would let most rows through."""
    rendered = [renderings(each, column) for each, column in zip(keys, columns, strict=True)]
    texts = [each for each in rendered if each is not None]
    count = len(keys[0])
    bits = min(_MOST_BITS, max(_FEWEST_BITS, 1 << math.ceil(math.log2(_BITS_PER_KEY * count))))
    if len(texts) < len(columns) or 1 - math.exp(-count / bits) > _WORTH_IT:
        return ""
    hashes = np.fromiter((zlib.crc32("".join(each).encode("utf-8", "replace")) for each in zip(*texts, strict=True)), np.uint32, count)
    hashes &= np.uint32(bits - 1)
    words = np.zeros(bits // 32, np.uint32)
    np.bitwise_or.at(words, hashes >> np.uint32(5), np.uint32(1) << (hashes & np.uint32(31)))
    bitmap = base64.b64encode(words.astype(">u4").tobytes()).decode()
    key = ", ".join(column.digest for column in columns)
    bit = f"bitwise_and(crc32(to_utf8(array_join(ARRAY[{key}], ''))), {bits - 1})"
    word = f"from_big_endian_32(substr(from_base64('{bitmap}'), 4 * bitwise_right_shift({bit}, 5) + 1, 4))"
    return f"bitwise_and(bitwise_right_shift({word}, CAST(bitwise_and({bit}, 31) AS integer)), 1) = 1"
