"""Rows as CSV and as JSON must be the same rows, whatever is in their texts; and every scalar type must come out alike."""

from __future__ import annotations

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.raw.trino import rows as cutting
from vector_assets.raw.trino.decode import decoder, wire_types
from vector_assets.raw.trino.kinds import parse
from vector_assets.raw.trino.rows import blocks

WIRE = [pa.int64(), pa.string(), pa.float64(), pa.bool_(), pa.string()]
TRAPS = ["],[", "null", '"', "a,b", "\\", "\n", '],["', "", " x ", "true", "NaN", "]]", "[[", "\ufeff"]
TEXTS = st.none() | st.sampled_from(TRAPS) | st.text(max_size=12)
ROWS = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    TEXTS,
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.booleans(),
    TEXTS,
)


def told(body: bytes, wire: list[pa.DataType] | None) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for block in blocks(body, wire):
        found += [tuple(row.values()) for row in block.to_pylist()] if isinstance(block, pa.Table) else map(tuple, block)
    return found


@given(st.lists(ROWS, max_size=60), st.integers(8, 200))
def test_rows_come_out_as_they_went_in(rows: list[tuple[object, ...]], piece: int) -> None:
    before, cutting.PIECE_BYTES = cutting.PIECE_BYTES, piece
    try:
        body = orjson.dumps(rows)
        assert told(body, WIRE) == told(body, None) == rows
    finally:
        cutting.PIECE_BYTES = before


@pytest.mark.parametrize("body", [b"[[1],[2]", b"[[1],[2", b"[[1],[", b"[[1],[2]]]", b"[[1],x]"])
def test_what_is_no_whole_json_is_refused(body: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        told(body, [pa.int64()])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("tinyint", [-128, 127, None]),
        ("integer", [-(2**31), 2**31 - 1, None]),
        ("bigint", [-(2**63), 2**63 - 1, None]),
        ("boolean", [True, False, None]),
        ("real", [1.5, -0.0, 3.4028235e38, 1.0e-45, 0.1, "NaN", "Infinity", "-Infinity", None]),
        ("double", [0.1, -0.0, 1.7976931348623157e308, 5e-324, 1.0e23, "NaN", "Infinity", "-Infinity", None]),
        ("decimal(38,2)", ["-999999999999999999999999999999999999.99", "0.00", None]),
        ("varchar", ["", "null", "a,b", " ä ", None]),
        ("char(3)", ["a  ", "   ", None]),
        ("varbinary", ["", "AA==", "AAE=", "AAEC", None]),
        ("date", [-719162, 0, 2932896, None]),
        ("time(6)", ["23:59:59.999999", "00:00:00.000000", None]),
        ("time(9)", ["23:59:59.999999999", None]),
        ("time(12)", ["23:59:59.999999999999", None]),
        ("timestamp(3)", [-1, 0, 253402300799999, None]),
        ("timestamp(6) with time zone", [-1, 253402300799999999, None]),
        ("timestamp(9)", ["2024-02-29 23:59:59.999999999", None]),
        ("timestamp(12)", ["2024-02-29 23:59:59.999999999999", None]),
        ("uuid", ["12151fd2-7586-11e9-8f9e-2a86e4085a59", None]),
        ("json", ["[1]", "null", None]),
    ],
)
def test_every_scalar_type_comes_out_alike(kind: str, values: list[object]) -> None:
    parsed = parse(kind)
    wire = wire_types([parsed], digest=False)
    (table,) = blocks(orjson.dumps([[value] for value in values]), wire)
    assert isinstance(table, pa.Table)
    found, expected = decoder(parsed)(table.column(0).chunk(0)), decoder(parsed)(values)
    assert found.type == expected.type
    assert repr(found.to_pylist()) == repr(expected.to_pylist())  # NaN equals NaN so, and -0.0 not 0.0
    found.validate(full=True)


def test_nested_columns_are_not_read_as_csv() -> None:
    assert wire_types([parse("bigint"), parse("array(bigint)")], digest=True) is None
