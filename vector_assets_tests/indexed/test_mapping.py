"""Names, types, values and ids: pure, and pinned where a change would re-identify users' objects."""

from __future__ import annotations

import datetime as dt
import decimal
import re
import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.errors import ConfigurationError
from vector_assets.fingerprint import from_bytes, to_arrow
from vector_assets.indexed.index import OBJECT_COLUMNS, Property
from vector_assets.indexed.mapping import (
    ARROW_TYPES,
    object_ids,
    property_name,
    property_names,
    property_type,
    source_keys,
    to_properties,
)

# --- ids -------------------------------------------------------------------------------------------------------------------------------


def uuids(rows: list[bytes], ordinals: list[int]) -> list[str]:
    return [str(uuid.UUID(bytes=value)) for value in to_arrow(object_ids(from_bytes(rows), np.array(ordinals, np.int32))).to_pylist()]


def test_object_ids_are_pinned() -> None:
    assert uuids([bytes(16), bytes(16), bytes(range(16))], [0, 1, 70_000]) == [
        "65922eae-a97a-8807-a4fb-43e012c5da68",
        "60ea5bef-14d9-899b-9a7a-7af6a3ac39a4",
        "97bd3916-17ec-8700-9093-9995eb3a4766",
    ]


@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 2**31 - 1)), unique=True, max_size=20))
def test_object_ids_are_distinct_uuids(objects: list[tuple[bytes, int]]) -> None:
    ids = uuids([row for row, _ in objects], [ordinal for _, ordinal in objects])
    assert len(set(ids)) == len(objects)
    assert all(uuid.UUID(value).version == 8 and uuid.UUID(value).variant == uuid.RFC_4122 for value in ids)


def test_object_ids_take_wider_ordinals() -> None:
    rows = from_bytes([bytes(16)] * 2)
    assert (object_ids(rows, np.array([0, 1], np.int64)) == object_ids(rows, np.array([0, 1], np.int32))).all()
    assert object_ids(rows[:0], np.array([], np.int64)).shape == (0, 2)


def test_source_keys_are_unambiguous() -> None:
    keys = pa.array([{"a": "x/y", "b": 1}, {"a": "x", "b": None}, {"a": "~", "b": 2}, {"a": "", "b": 3}])
    assert source_keys(keys, ["a", "b"]).to_pylist() == ["x%2Fy/1", "x/~", "%7E/2", "/3"]
    assert source_keys(keys, ["b", "dropped"]).to_pylist() == ["1/~", "~/~", "2/~", "3/~"]
    assert source_keys(keys, []).to_pylist() == [""] * 4
    assert source_keys(keys.slice(2, 1), ["a"]).to_pylist() == ["%7E"]


# --- names -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("status", "status"),
        ("Status", "status"),
        ("customerName2", "customerName2"),
        ("_x", "_x"),
        ("id", "source_id"),
        ("Id", "source_id"),
        ("_id", "source__id"),
        ("vector", "source_vector"),
        ("text", "source_text"),
        ("source_id", "source_source_id"),
        ("source_table", "source_source_table"),
        ("source_system", "source_system"),
        ("__typename", "source___typename"),
    ],
)
def test_plain_names(column: str, name: str) -> None:
    assert property_name(column) == name


@pytest.mark.parametrize("column", ["order-id", "a.b", "a b", 'a"b', 'x";--', "名前", "地名", "1st", "", "é", "n" * 300, "🙂" * 200])
def test_other_names_become_readable_and_distinct(column: str) -> None:
    assert re.fullmatch(r"[_a-z][_0-9A-Za-z]{0,230}", property_name(column))
    assert re.search(r"_[0-9a-f]{6}$", property_name(column))


def test_names_are_pinned() -> None:
    assert [property_name(column) for column in ("order-id", "order.id", "名前", "1st")] == [
        "order_id_dc8ec7",
        "order_id_7d32d1",
        "column_f5554d",
        "_1st_3f35ef",
    ]


NAMES = st.text(min_size=0, max_size=60) | st.sampled_from(
    ["id", "source_id", "source_source_id", "_id", "source__id", *OBJECT_COLUMNS.names]
)


@given(st.lists(NAMES, unique_by=lambda name: name[:1].lower() + name[1:], max_size=12))
def test_every_name_is_accepted_everywhere_and_none_collide(columns: list[str]) -> None:
    names = property_names(columns)
    assert len(set(names.values())) == len(columns)
    for name in names.values():
        assert re.fullmatch(r"[_a-z][_0-9A-Za-z]{0,230}", name)
        assert not name.startswith("__")
        assert name not in {"id", "_id", "vector", "additional", "_additional", *OBJECT_COLUMNS.names}


def test_columns_that_differ_in_their_first_letter_only_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'Status' and 'status'"):
        property_names(["Status", "x", "status"])


# --- types and values ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrow", "kind"),
    [
        (pa.bool_(), "boolean"),
        (pa.int8(), "int"),
        (pa.uint64(), "int"),
        (pa.float16(), "number"),
        (pa.float64(), "number"),
        (pa.decimal128(10, 2), "text"),
        (pa.string(), "text"),
        (pa.large_string(), "text"),
        (pa.binary(), "text"),
        (pa.date32(), "timestamp"),
        (pa.timestamp("ns", "Europe/Paris"), "timestamp"),
        (pa.time64("us"), "text"),
        (pa.list_(pa.int32()), "text"),
        (pa.null(), "text"),
        (pa.dictionary(pa.int8(), pa.int64()), "int"),
    ],
)
def test_property_types(arrow: pa.DataType, kind: str) -> None:
    assert property_type(arrow) == kind


def converted(column: pa.Array, kind: str) -> tuple[list[object], list[str | None]]:
    struct = pa.StructArray.from_arrays([column], names=["c"])
    result = to_properties(struct, [Property("p", kind)], {"c": "p"})  # type: ignore[arg-type]
    assert result.properties.type == pa.struct([pa.field("p", ARROW_TYPES[kind])])  # type: ignore[index]
    return result.properties.field("p").to_pylist(), result.reasons


UTC = dt.UTC
BIG = 2**53 + 1


@pytest.mark.parametrize(
    ("column", "kind", "values"),
    [
        (pa.array([1, None, -(2**53)]), "int", [1, None, -(2**53)]),
        (pa.array([1.0, None]), "int", [1, None]),
        (pa.array([decimal.Decimal("12.00")]), "int", [12]),
        (pa.array([1, 2], pa.int8()), "number", [1.0, 2.0]),
        (pa.array([0.1, None]), "number", [0.1, None]),
        (pa.array([0.5], pa.float16()), "number", [0.5]),
        (pa.array([decimal.Decimal("0.10")]), "number", [0.1]),
        (pa.array([True, None]), "boolean", [True, None]),
        (pa.array([dt.date(2024, 2, 29)]), "timestamp", [dt.datetime(2024, 2, 29, tzinfo=UTC)]),
        (pa.array([3600], pa.timestamp("s")), "timestamp", [dt.datetime(1970, 1, 1, 1, tzinfo=UTC)]),
        (pa.array([1_000], pa.timestamp("ns")), "timestamp", [dt.datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]),
        (pa.array([-1], pa.timestamp("s", "Europe/Paris")), "timestamp", [dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)]),
        (pa.array(["2024-01-01T00:00:00+01:00", None]), "timestamp", [dt.datetime(2023, 12, 31, 23, tzinfo=UTC), None]),
        (pa.array([BIG]), "text", ["9007199254740993"]),
        (pa.array([decimal.Decimal("12.50"), decimal.Decimal("0.0000000001")]), "text", ["12.5000000000", "0.0000000001"]),
        (pa.array([True]), "text", ["true"]),
        (pa.array([b"\x00\xff"]), "text", ["00ff"]),
        (pa.array([dt.datetime(2024, 1, 1, tzinfo=UTC)]), "text", ["2024-01-01T00:00:00.000000Z"]),
        (pa.array([dt.date(2024, 1, 1)]), "text", ["2024-01-01"]),
        (pa.array([[1, None], None]), "text", ["[1, null]", None]),
        (pa.array([{"b": "ü", "a": 1}]), "text", ['{"a": 1, "b": "ü"}']),
        (pa.array(["x", None]).dictionary_encode(), "text", ["x", None]),
        (pa.nulls(2), "text", [None, None]),
        (pa.nulls(2), "timestamp", [None, None]),
        (pa.array([], pa.int64()), "int", []),
    ],
)
def test_values_that_fit(column: pa.Array, kind: str, values: list[object]) -> None:
    assert converted(column, kind) == (values, [None] * len(values))


@pytest.mark.parametrize(
    ("column", "kind", "reason"),
    [
        (pa.array([BIG]), "int", "2^53"),
        (pa.array([2**64 - 1], pa.uint64()), "int", "2^53"),
        (pa.array([BIG]), "number", "2^53"),
        (pa.array([1.5]), "int", "not an integer"),
        (pa.array([float("nan")]), "int", "not an integer"),
        (pa.array(["7"]), "int", "not an integer"),
        (pa.array([True]), "int", "not an integer"),
        (pa.array([float("inf")]), "number", "not a finite number"),
        (pa.array([float("nan")]), "number", "not a finite number"),
        (pa.array(["secret"]), "number", "not a finite number"),
        (pa.array([1]), "boolean", "not true or false"),
        (pa.array([1], pa.timestamp("ns")), "timestamp", "microsecond"),
        (pa.array([2**62], pa.timestamp("us")), "timestamp", "9999"),
        (pa.array([2**50], pa.timestamp("s")), "timestamp", "9999"),
        (pa.array(["secret"]), "timestamp", "ISO 8601"),
        (pa.array([5]), "timestamp", "point in time"),
    ],
)
def test_values_that_do_not_fit_are_reasons_of_their_rows(column: pa.Array, kind: str, reason: str) -> None:
    values, reasons = converted(pa.concat_arrays([column, pa.nulls(1, column.type)]), kind)
    assert values == [None, None]
    assert reasons[0] is not None
    assert reasons[0].startswith("property p: ")
    assert reason in reasons[0]
    assert "secret" not in reasons[0]
    assert reasons[1] is None


def test_properties_take_the_order_and_types_of_the_collection() -> None:
    struct = pa.array([{"Status": "open", "id": 7}, {"Status": None, "id": BIG}])
    wanted = [Property("source_id", "int"), Property("other", "timestamp"), Property("status", "text")]
    result = to_properties(struct, wanted, property_names(["Status", "id"]))
    assert result.properties.to_pylist() == [
        {"source_id": 7, "other": None, "status": "open"},
        {"source_id": None, "other": None, "status": None},
    ]
    assert result.reasons[0] is None
    assert result.reasons[1] is not None
    assert to_properties(struct.slice(1, 1), wanted, property_names(["Status", "id"])).reasons == [result.reasons[1]]
    with pytest.raises(ConfigurationError, match="status"):
        to_properties(struct, wanted[:2], property_names(["Status", "id"]))


def test_no_properties_at_all() -> None:
    result = to_properties(pa.array([{}, {}], pa.struct([])), [], {})
    assert len(result.properties) == 2
    assert result.reasons == [None, None]


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_integers_are_exact_or_refused(values: list[int | None]) -> None:
    kept, reasons = converted(pa.array(values, pa.int64()), "int")
    for value, now, reason in zip(values, kept, reasons, strict=True):
        assert (now == value) != (reason is not None)
        assert (reason is None) == (value is None or abs(value) <= 2**53)
