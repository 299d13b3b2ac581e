"""What is kept of each row's values for statistics: a few coarse bytes that outlive purging and cannot be read back.

A profile is `2 + 2 + n` bytes (`fixed_size_binary`): a tag of the layout, the signals of the row (hidden characters, look-alike words;
`signals.py`) and one byte for each slot. A slot is one statistic of one column; 0 is NULL (and NaN), anything else a class from 1:

- *null*: 1.
- *length* of a string in characters: 1 empty, then quarter octaves (8, 9 are one class, 1,000 and 1,150 another), to 16 million.
- *magnitude* of a number: 1 zero, then sign and half octaves from 2^-16 to 2^47.
- *category* of a short string, an integer or decimal, or a boolean: 32 buckets of its hash, one more for strings of more than 64
  characters.

Magnitudes and categories are kept of properties with policy `keep` alone, whose values are published anyway: of a hashed salary half an
octave would be too much, and of a hashed boolean a bucket is its value. Of texts and redacted properties there is the length, of any other
column only whether it is NULL. Keys have no slot: they are never NULL, and their distribution is that of a counter.

Rows that keep their last good content under another layout keep its profile, too; the tag tells, and they are left out of the statistics.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.checks.statistics import Statistics
from vector_assets.cleaned.normalize import is_text
from vector_assets.cleaned.signals import Signals
from vector_assets.fingerprint import version_of
from vector_assets.tables import TableSpec

PROFILE_VERSION = 1  # bump when a value gets another class; and give its histogram another name, since old ones would be compared with it

Statistic = Literal["null", "length", "magnitude", "category"]
Bytes = npt.NDArray[np.uint8]

TAG, HIDDEN, MIXED, SLOTS = 0, 2, 3, 4  # where they begin
_PER_OCTAVE, _OCTAVES = 4, 24  # of lengths
_LOWEST, _HALF_OCTAVES = -16, 126  # of magnitudes; 2^47 is far above milliseconds since 1970
_BUCKETS, _SHORT = 32, 64
BINS: Mapping[Statistic, int] = {
    "null": 1,
    "length": 2 + _PER_OCTAVE * _OCTAVES,
    "magnitude": 1 + 2 * _HALF_OCTAVES,
    "category": _BUCKETS + 1,
}
"""Classes of a statistic, without NULL."""

_NULLS: tuple[Statistic, ...] = ("null",)


class Slot(NamedTuple):
    """One byte: a statistic of a column."""

    column: str
    statistic: Statistic

    @property
    def name(self) -> str:
        """Of its histogram."""
        return f"{self.statistic}.{self.column}"


class Layout:
    """Where what is in the profiles of one table. All that decides it is in the stage version, or in the digests of the source: the order
    of columns does not matter, nor does a wider type (`raw_tables` would see no change)."""

    def __init__(self, spec: TableSpec, schema: pa.Schema) -> None:
        self.slots = tuple(sorted(slot for field in schema for slot in _slots(spec, field)))
        self.type = pa.binary(SLOTS + len(self.slots))
        self.tag = bytes.fromhex(version_of("profile", code=PROFILE_VERSION, slots=[list(slot) for slot in self.slots]))[:HIDDEN]

    def profiles(self, columns: Mapping[str, pa.Array], signals: Signals) -> pa.Array:
        """Profiles of n rows, of `type`."""
        rows: Bytes = np.empty((len(signals.hidden), SLOTS + len(self.slots)), dtype=np.uint8)
        rows[:, TAG:HIDDEN] = np.frombuffer(self.tag, dtype=np.uint8)
        rows[:, HIDDEN], rows[:, MIXED] = signals
        for at, slot in enumerate(self.slots, SLOTS):
            rows[:, at] = _CLASSES[slot.statistic](columns[slot.column])
        return pa.Array.from_buffers(self.type, len(rows), [None, pa.py_buffer(rows.tobytes())])


class Measured(NamedTuple):
    """Profiles of rows of one layout: their bytes, shape (n, width), and which of the rows asked about they are."""

    rows: Bytes
    at: npt.NDArray[np.int64]

    @classmethod
    def of(cls, profiles: pa.ChunkedArray, layout: Layout) -> Measured:
        """Profiles of a column; rows of another layout, or without a profile, are left out."""
        width = SLOTS + len(layout.slots)
        if profiles.type != layout.type:
            return cls(np.empty((0, width), dtype=np.uint8), np.empty(0, dtype=np.int64))
        rows = np.concatenate([np.empty((0, width), dtype=np.uint8), *(_bytes(chunk, width) for chunk in profiles.chunks)])
        ours = (rows[:, TAG:HIDDEN] == np.frombuffer(layout.tag, dtype=np.uint8)).all(axis=1) & np.asarray(profiles.is_valid())
        return cls(rows if ours.all() else rows[ours], np.flatnonzero(ours))

    def at_least(self, byte: int, value: int) -> npt.NDArray[np.int64]:
        """Which of the rows asked about have so much in a byte, ascending."""
        return self.at[self.rows[:, byte] >= value]

    def statistics(self, layout: Layout) -> Statistics:
        """Null share of each column, and a histogram for each slot that tells more."""
        numbers: dict[str, float] = {}
        histograms: dict[str, list[int]] = {}
        for at, slot in enumerate(layout.slots, SLOTS):
            counts = np.bincount(self.rows[:, at], minlength=BINS[slot.statistic] + 1)
            numbers[f"null_share.{slot.column}"] = round(int(counts[0]) / len(self.rows), 6) if len(self.rows) else 0.0
            if slot.statistic != "null":
                histograms[slot.name] = (_whole_octaves(counts) if slot.statistic == "magnitude" else counts[1:]).tolist()
        return Statistics(numbers, histograms)


def _whole_octaves(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A histogram of magnitudes by octaves: zero, positive, negative. Half as many bins to carry tell as much of a shift."""
    return np.concatenate([counts[1:2], counts[2:].reshape(-1, 2).sum(axis=1)])


def _bytes(profiles: pa.Array, width: int) -> Bytes:
    data = profiles.buffers()[1] if len(profiles) else None
    if data is None:
        return np.zeros((len(profiles), width), dtype=np.uint8)
    return np.frombuffer(data, dtype=np.uint8)[width * profiles.offset : width * (profiles.offset + len(profiles))].reshape(-1, width)


def _slots(spec: TableSpec, field: pa.Field) -> Iterable[Slot]:
    name, kind = field.name, field.type
    if name in spec.key:
        return
    policy = spec.properties[name].policy if name in spec.shown else None
    text, exact = is_text(kind), pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    found: list[Statistic] = []
    if text and (name in spec.text_columns or policy == "redact"):
        found.append("length")
    if policy == "keep" and (exact or pa.types.is_floating(kind)):
        found.append("magnitude")
    if policy == "keep" and (exact or pa.types.is_boolean(kind) or (text and not found)):
        found.append("category")
    yield from (Slot(name, statistic) for statistic in found or _NULLS)


# --- classes ----------------------------------------------------------------------------------------------------------------------------


def _nulls(column: pa.Array) -> Bytes:
    return np.asarray(column.is_valid()).astype(np.uint8)


def _lengths(column: pa.Array) -> Bytes:
    characters = np.asarray(pc.fill_null(pc.utf8_length(column), -1), dtype=np.int64)
    octaves = np.floor(_PER_OCTAVE * np.log2(np.maximum(characters, 1))).astype(np.int64)
    classes = 2 + np.minimum(octaves, _PER_OCTAVE * _OCTAVES - 1)
    return np.where(characters < 0, 0, np.where(characters == 0, 1, classes)).astype(np.uint8)


def _magnitudes(column: pa.Array) -> Bytes:
    numbers = column.cast(pa.float64(), safe=False)  # integers above 2^53 may be off by one: that is no other octave
    values = np.asarray(pc.fill_null(numbers, float("nan")), dtype=np.float64)
    absent, zero = np.isnan(values), values == 0
    sizes = np.log2(np.where(absent | zero, 1.0, np.abs(values)))
    halves = np.clip(np.floor(2 * np.minimum(sizes, 1e3)) - 2 * _LOWEST, 0, _HALF_OCTAVES - 1).astype(np.int64)
    classes = 2 + halves + np.where(values < 0, _HALF_OCTAVES, 0)
    return np.where(absent, 0, np.where(zero, 1, classes)).astype(np.uint8)


def _categories(column: pa.Array) -> Bytes:
    if pa.types.is_decimal(column.type):  # 5.00 is 5: a wider type changes no bucket
        column = pc.replace_substring_regex(column.cast(pa.string()), r"\.0+$|(\.\d*[1-9])0+$", r"\1")
    elif not is_text(column.type):
        column = column.cast(pa.string())
    coded = column.dictionary_encode()
    words = [_bucket(word) for word in coded.dictionary.to_pylist()]
    codes = np.asarray(pc.fill_null(coded.indices, len(words)), dtype=np.int64)
    return np.array([*words, 0], dtype=np.uint8)[codes]


def _bucket(word: str) -> int:
    return 1 + (zlib.crc32(word.encode("utf-8", "surrogatepass")) % _BUCKETS if len(word) <= _SHORT else _BUCKETS)


_CLASSES = {"null": _nulls, "length": _lengths, "magnitude": _magnitudes, "category": _categories}


# --- words ------------------------------------------------------------------------------------------------------------------------------


def bin_named(name: str, at: int) -> str:
    """What a bin of a slot's histogram is."""
    statistic = name.partition(".")[0]
    if statistic == "length":
        return _length_named(at)
    if statistic == "magnitude":
        return _magnitude_named(at)
    return f"{'values' if at < _BUCKETS else 'long values'} in bucket {at + 1} of {BINS['category']}"


def _length_named(at: int) -> str:
    if at == 0:
        return "empty texts"
    low, high = (2 ** ((at + more - 1) / _PER_OCTAVE) for more in (0, 1))
    first, last = int(np.ceil(low)), int(np.ceil(high)) - 1
    return f"texts of {first:,} to {max(first, last):,} characters"


def _magnitude_named(at: int) -> str:
    if at == 0:
        return "zeros"
    sign, octave = divmod(at - 1, _HALF_OCTAVES // 2)
    low, high = (2.0 ** (octave + more + _LOWEST) for more in (0, 1))
    return f"numbers of {'-' if sign else ''}{low:.3g} to {'-' if sign else ''}{high:.3g}"
