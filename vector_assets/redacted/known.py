"""A row's own personal values: an e-mail address in one column says what must not be read in the text of the same row.

Which columns those are is declared (`TableSpec.personal`). A value is looked for where it can be told from other words:

- identifiers: e-mail addresses, and values that are mostly digits, six at least (telephone, account and card numbers);
- names: two words or more. One word could be any word. Of columns that are not personal as a whole (`redact`, `drop`) only two to four
  capitalised words: such a column may hold a sentence.

What is found is replaced by `<KNOWN_VALUE>`, whatever a detector thought of it. A text is searched as `folding.fold` sees it and without
accents. `IDENTIFIER` and `NAME` say of a finished text that something is still there, not what. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from vector_assets.fingerprint import Hashes, column_fingerprints
from vector_assets.redacted.folding import fold
from vector_assets.redacted.layout import IDENTIFIER, NAME
from vector_assets.redacted.redact import render_column, struct_columns
from vector_assets.tables import TableSpec

KNOWN_VALUE = "KNOWN_VALUE"
_SHORTEST_IDENTIFIER, _SHORTEST_NAME, _LONGEST = 6, 5, 64
_DIGITS = 6
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")
_PERSONS_NAME = re.compile(r"[^\W\d_][\w'’.-]*(?:\s+[^\W\d_][\w'’.-]*){1,3}")
_GAP = r"[\W_]{0,3}"
_SEPARATORS = re.compile(r"[\W_]+")


class _Column(NamedTuple):
    name: str
    whole: bool  # every value is personal; else it may be a sentence
    in_text: bool  # whether names of it count in the text


class Value(NamedTuple):
    """One known value of a row, ready to be looked for."""

    column: str
    identifier: bool
    in_text: bool
    needle: str  # letters and digits alone: a text whose letters and digits do not hold them does not hold the value
    pattern: str

    def __repr__(self) -> str:
        return f"Value({self.column})"  # never what it is


class Found(NamedTuple):
    """A known value at text[start:end]."""

    start: int
    end: int
    value: Value


class KnownValues:
    """Known values of the rows of one table."""

    def __init__(self, spec: TableSpec, values_type: pa.StructType) -> None:
        self._columns = [_column(spec, field.name) for field in values_type if field.name in spec.personal and _is_telling(field.type)]

    def fingerprints(self, values: pa.StructArray) -> Hashes:
        """What the redaction of rows depends on beside their text; zero for a table without such columns."""
        columns = struct_columns(values)
        named = [(column.name, columns[column.name]) for column in self._columns]
        return column_fingerprints("known", named) if named else np.zeros((len(values), 2), dtype=np.uint64)

    def rows(self, values: pa.StructArray) -> list[tuple[Value, ...]]:
        """Known values of each row."""
        columns = struct_columns(values)
        found: list[list[Value]] = [[] for _ in range(len(values))]
        for column in self._columns:
            for row, value in enumerate(render_column(columns[column.name]).to_pylist()):
                if value is not None and (known := _value(column, value)):
                    found[row].append(known)
        return [tuple(each) for each in found]


def find(text: str, known: Sequence[Value], *, place: str | None = None) -> list[Found]:
    """Known values in a text, in no particular order. `place`: the property that the text is; None: the row's text."""
    if not text or not known:
        return []
    folded = fold(text)
    plain = _bare(folded.text)
    squeezed = _squeezed(plain)
    candidates = (value for value in known if value.needle in squeezed and _counts(value, place))
    return [Found(*folded.span(*match.span()), value) for value in candidates for match in re.finditer(value.pattern, plain, re.IGNORECASE)]


def redacted(text: str, known: Sequence[Value], *, place: str | None = None) -> str:
    """The text with every known value replaced; those that overlap become one."""
    pieces, position, end = [], 0, -1
    for found in sorted(find(text, known, place=place), key=lambda each: each[:2]):
        if found.start >= end:
            pieces += [text[position : found.start], f"<{KNOWN_VALUE}>"]
        position = end = max(end, found.end)
    return "".join([*pieces, text[position:]])


def survivors(text: str, known: Sequence[Value], *, place: str | None = None) -> int:
    """`IDENTIFIER` and `NAME`, where the text still holds one."""
    bits = 0
    for found in find(text, known, place=place):
        bits |= IDENTIFIER if found.value.identifier else NAME
    return bits


def _column(spec: TableSpec, name: str) -> _Column:
    policy = spec.properties[name].policy if name in spec.properties else "drop"
    whole = policy == "hash" or name in spec.known
    return _Column(name, whole=whole, in_text=whole or name not in spec.text_columns)


def _is_telling(kind: pa.DataType) -> bool:
    """Types whose values are written in a text as they are in a column; a date or an amount is written in many ways."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind) or pa.types.is_dictionary(kind))


def _counts(value: Value, place: str | None) -> bool:
    """Whether a value found in a place is a value that got through: a name is the whole of its own column, redacted or not."""
    if value.identifier:
        return True
    return value.in_text if place is None else value.column != place


def _value(column: _Column, value: str) -> Value | None:
    value = " ".join(_bare(fold(value).text).split())
    if len(value) > _LONGEST:
        return None
    if len(value) >= _SHORTEST_IDENTIFIER and (_ADDRESS.fullmatch(value) or _is_number(value)):
        return Value(column.name, identifier=True, in_text=True, needle=_squeezed(value), pattern=_written(value))
    words = value.split()
    if len(words) < 2 or len(value) < _SHORTEST_NAME or not any(map(str.isalpha, value)):
        return None
    if column.whole or (_PERSONS_NAME.fullmatch(value) and all(word[0].isupper() for word in words)):
        joined = r"[\W_]{1,3}".join(map(re.escape, words))
        return Value(column.name, identifier=False, in_text=column.in_text, needle=_squeezed(value), pattern=_alone(joined))
    return None


def _is_number(value: str) -> bool:
    """Mostly digits, with one word at most ("ext.", "account")."""
    digits, words = sum(map(str.isdigit, value)), sum(1 for word in value.split() if word.strip("().,:;#").isalpha())
    return digits >= _DIGITS and 2 * digits >= sum(map(str.isalnum, value)) and words <= 1


def _written(value: str) -> str:
    """A pattern of an identifier: an address as it is, a number with any separators."""
    if "@" in value:
        return _alone(re.escape(value))
    return _alone(_GAP.join(re.escape(each) for each in value if each.isalnum()))


def _alone(pattern: str) -> str:
    return rf"(?<![^\W_]){pattern}(?![^\W_])"


def _squeezed(text: str) -> str:
    return _SEPARATORS.sub("", text.casefold())


def _bare(text: str) -> str:
    """Letters without their accents, one for one."""
    return text if text.isascii() else "".join(map(_base, text))


@lru_cache(maxsize=4096)
def _base(character: str) -> str:
    base = unicodedata.normalize("NFD", character)[0]
    return base if base.isascii() else character
