"""Rows of JSON, parsed some at a time, so that their values are still in the processor's cache when they become Arrow.

`tpch.sf1.orders`, 1.5 M rows of nine columns and a digest, from bytes to Arrow: 5 s of CPU by lists of a whole page, 2 s by CSV in pieces.

JSON says nowhere how long a row is. What looks like the end of one may be inside a text or a nested array; but what is cut off there is no
whole JSON then, since a text or an array stays open. So a piece that parses ends with a row.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import orjson
import pyarrow as pa
from pyarrow import csv

Block = list[list[object]]
"""Some rows, each a list of JSON values."""

PIECE_BYTES = 512 << 10
_FEW_BYTES = 64 << 10  # of a page that is as soon parsed whole

_DATA, _BEHIND = b'"data":[[', b']],"stats":'
_ENDS = (b'=="],[', b"],[")
"""Of a row before another one: with a digest (16 bytes in base64), as in all large answers, and any other."""


def apart(page: bytes) -> tuple[bytes, bytes]:
    """A page without its rows, and its rows; they stay where they are where there are few. No text can look like the ends that are looked
    for: quotes inside texts are escaped."""
    start, end = page.find(_DATA), page.rfind(_BEHIND)
    if len(page) < _FEW_BYTES or not 0 <= start < end:
        return page, b"[]"
    rows = slice(start + len(_DATA) - 2, end + 2)
    return page[: rows.start] + b"null" + page[rows.stop :], page[rows]


def blocks(rows: bytes, wire: Sequence[pa.DataType] | None = None) -> Iterator[Block | pa.Table]:
    """The rows of a JSON array of arrays. Raises orjson.JSONDecodeError, maybe after some.

    With `wire`, Arrow types of its columns as they are written, blocks are tables of these types where that is faster.
    """
    start = 0  # the bracket or comma before the next row
    while len(rows) - start > 2 * PIECE_BYTES:
        for end in _ends(rows, start):
            try:
                block = _block(rows[:1] + rows[start + 1 : end] + b"]", wire)
            except orjson.JSONDecodeError:
                continue
            yield block
            start = end
            break
        else:
            break
    block = _block(rows[:1] + rows[start + 1 :], wire)
    if len(block):
        yield block


def _block(rows: bytes, wire: Sequence[pa.DataType] | None) -> Block | pa.Table:
    table = _table(rows, wire) if wire else None
    return parsed(rows) if table is None else table


def _table(rows: bytes, wire: Sequence[pa.DataType]) -> pa.Table | None:
    """Rows of scalars, read as CSV: 0.5 µs for a row of orders, where lists, and arrays of them, take 1.7. None where that may not be.

    Without a backslash nothing is escaped, so that JSON differs from CSV only in what stands between rows. A text may hold just that: then
    there are fewer rows than lines, or, where it was cut there, a quote is open.
    """
    if b"\\" in rows or not (rows.startswith(b"[[") and rows.endswith(b"]]")) or rows.count(b'"') % 2:
        return None
    lines = rows[2:-2].replace(b"],[", b"\n")
    names = [str(number) for number in range(len(wire))]
    with suppress(pa.ArrowInvalid):  # which quotes values; parsed as JSON they raise what they have to
        table = csv.read_csv(
            pa.py_buffer(lines),
            # In one block, as blocks are cut without a look at quotes.
            read_options=csv.ReadOptions(use_threads=False, block_size=len(lines) + 1, column_names=names),
            parse_options=csv.ParseOptions(double_quote=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=dict(zip(names, wire, strict=True)),
                null_values=["null"],
                true_values=["true"],
                false_values=["false"],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        if len(table) == lines.count(b"\n") + 1:
            return table
    return None


def _ends(rows: bytes, start: int) -> Iterator[int]:
    """Positions of commas that may stand between two rows, the likeliest first."""
    for end in _ENDS:
        found = rows.find(end, start + PIECE_BYTES, start + 2 * PIECE_BYTES)
        if found >= 0:
            yield found + len(end) - 2


def parsed(body: bytes) -> Block:
    """JSON, parsed without the garbage collector, which would look at every list again and again meanwhile: 0.75 M rows/s with it, 2.1 M
    without. Raises orjson.JSONDecodeError."""
    with _no_collections():
        block: Block = orjson.loads(body)
    return block


@contextmanager
def _no_collections() -> Iterator[None]:
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
