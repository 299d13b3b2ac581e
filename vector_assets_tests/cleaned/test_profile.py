"""Profiles: which bytes of which columns, what they tell, and what they cannot."""

from __future__ import annotations

import datetime as dt
import decimal
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.cleaned import profile
from vector_assets.cleaned.profile import BINS, HIDDEN, MIXED, SLOTS, Layout, Measured, Slot, bin_named
from vector_assets.cleaned.signals import Signals
from vector_assets.tables import TableSpec

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("body", pa.string()),
        ("title", pa.large_string()),
        ("status", pa.string()),
        ("notes", pa.string()),
        ("owner", pa.string()),
        ("salary", pa.int32()),
        ("price", pa.decimal128(12, 2)),
        ("rank", pa.int8()),
        ("vip", pa.bool_()),
        ("opened", pa.date32()),
        ("checked", pa.float64()),
    ]
)
ROW = {
    "id": 1,
    "body": "text",
    "title": "",
    "status": "open",
    "notes": "call back",
    "owner": "ana",
    "salary": 50_000,
    "price": decimal.Decimal("9.99"),
    "rank": 3,
    "vip": True,
    "opened": dt.date(2024, 1, 1),
    "checked": 1.5,
}


def spec(**settings: object) -> TableSpec:
    declared: dict[str, object] = {
        "table": "lake.s.t",
        "key": ["id"],
        "text": "{title}\n{body}",
        "collection": "Things",
        "properties": {
            "id": "keep",
            "title": "keep",
            "status": "keep",
            "notes": "redact",
            "owner": "hash",
            "salary": "hash",
            "price": "keep",
            "rank": "keep",
            "vip": "keep",
            "opened": "keep",
        },
        "quality": {"checked": {"min": 0}},
    }
    return TableSpec.model_validate(declared | settings)


def profiles(rows: list[dict[str, object]], layout: Layout, *, schema: pa.Schema = SCHEMA) -> pa.Array:
    table = pa.Table.from_pylist(rows, schema=schema)
    columns = {name: table.column(name).combine_chunks() for name in schema.names}
    nothing = np.zeros(len(rows), dtype=np.uint8)
    return layout.profiles(columns, Signals(nothing, nothing))


def measured(*parts: pa.Array, layout: Layout) -> Measured:
    return Measured.of(pa.chunked_array(parts, type=parts[0].type), layout)


def classes(column: str, statistic: str, values: list[object]) -> list[int]:
    layout = Layout(spec(), SCHEMA)
    at = SLOTS + layout.slots.index(Slot(column, statistic))  # type: ignore[arg-type]
    return [row[at] for row in profiles([{**ROW, column: value} for value in values], layout).to_pylist()]


def test_each_column_has_the_statistics_that_its_policy_allows() -> None:
    assert [slot.name for slot in Layout(spec(), SCHEMA).slots] == [
        "length.body",
        "null.checked",  # only a rule reads it, nobody publishes it
        "length.notes",
        "null.opened",
        "null.owner",  # hashed: no bucket of it
        "category.price",
        "magnitude.price",
        "category.rank",
        "magnitude.rank",
        "null.salary",  # hashed: half an octave would be too much
        "category.status",
        "length.title",
        "category.vip",
    ]


def test_values_that_are_not_published_leave_nothing_but_whether_and_how_long() -> None:
    layout = Layout(spec(), SCHEMA)
    other = {"id": 2, "owner": "bob", "salary": 1, "notes": "no answer", "body": "word", "opened": dt.date(1999, 1, 1), "checked": -7.0}
    assert len({*profiles([ROW, {**ROW, **other}], layout).to_pylist()}) == 1


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_lengths_are_told_apart_by_a_fifth(one: int, two: int) -> None:
    bins = [int(profile._lengths(pa.array(["x" * min(size, 3000)]))[0]) for size in (one, two)]
    short, long = sorted(min(size, 3000) for size in (one, two))
    assert (bins[0] == bins[1]) or short != long
    if short and long / short > 1.2:
        assert bins[0] != bins[1]


def test_lengths_and_their_words() -> None:
    found = classes("body", "length", [None, "", "x", "é👩", "x" * 200, "x" * 400])
    assert found[:3] == [0, 1, 2]
    assert found[5] - found[4] == 4  # quarter octaves
    assert [bin_named("length.body", at - 1) for at in found[1:]] == [
        "empty texts",
        "texts of 1 to 1 characters",
        "texts of 2 to 2 characters",
        "texts of 182 to 215 characters",
        "texts of 363 to 430 characters",
    ]


def test_magnitudes() -> None:
    values = [None, math.nan, 0.0, -0.0, 1.0, 1.41, 1.42, 2.0, -1.0, -2.0, 1e300, math.inf, -math.inf, 1e-300, 2.0**47, 1.7e12]
    found = profile._magnitudes(pa.array(values, pa.float64())).tolist()
    assert found[:4] == [0, 0, 1, 1]
    assert found[4] == found[5] == found[6] - 1 == found[7] - 2
    assert found[9] - found[8] == 2
    assert found[10] == found[11] == found[14]
    assert found[12] == BINS["magnitude"]
    assert found[13] == 2
    assert found[15] < found[14]
    assert classes("price", "magnitude", [None, decimal.Decimal("0.00"), decimal.Decimal("1.00")]) == [0, 1, found[4]]
    huge = profile._magnitudes(pa.array([2**53 + 1, 2**63, 2**64 - 1], pa.uint64()))  # no float is exactly the first or the last
    assert huge.tolist() == [found[14]] * 3
    assert bin_named("magnitude.price", 0) == "zeros"


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=20))
def test_magnitudes_rise_with_the_numbers(values: list[float]) -> None:
    positive = sorted(abs(value) for value in values)
    found = profile._magnitudes(pa.array(positive)).tolist()
    assert found == sorted(found)
    assert all(1 <= each <= BINS["magnitude"] for each in profile._magnitudes(pa.array(values)))


def test_categories_are_buckets() -> None:
    found = classes("status", "category", ["open", "open", None, "x" * 64, "x" * 65, "y" * 99, ""])
    assert found[0] == found[1]
    assert found[2] == 0
    assert found[4] == found[5] == BINS["category"]
    assert all(1 <= each < BINS["category"] for each in (found[0], found[3], found[6]))
    assert len({*classes("vip", "category", [True, False])}) == 2
    assert len({*classes("rank", "category", [*range(100)])}) > 20


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=9), st.integers(0, 6))
def test_a_wider_type_changes_no_class(values: list[int], scale: int) -> None:
    narrow, wide = pa.array(values, pa.int32()), pa.array(values, pa.int64()).cast(pa.decimal128(38, scale))
    for statistic in ("magnitude", "category"):
        assert (profile._CLASSES[statistic](narrow) == profile._CLASSES[statistic](wide)).all()
    layouts = [Layout(spec(), SCHEMA.set(SCHEMA.get_field_index("rank"), pa.field("rank", kind))) for kind in (narrow.type, wide.type)]
    assert layouts[0].tag == layouts[1].tag


def test_statistics_of_parts_are_statistics_of_the_whole() -> None:
    layout = Layout(spec(), SCHEMA)
    some = profiles([{**ROW, "body": "x" * at, "status": None if at % 4 else "open"} for at in range(100)], layout)
    whole = measured(some, layout=layout).statistics(layout)
    assert measured(some[:0], some[:31], some[31:], layout=layout).statistics(layout) == whole
    assert whole.numbers["null_share.status"] == 0.75
    assert sum(whole.histograms["length.body"]) == 100
    assert sum(whole.histograms["category.status"]) == 25
    assert {len(bins) for bins in whole.histograms.values()} == {98, 127, 33}


def test_no_rows_have_statistics_too() -> None:
    layout = Layout(spec(), SCHEMA)
    nothing = measured(pa.nulls(0, layout.type), layout=layout).statistics(layout)
    assert {*nothing.numbers.values()} == {0.0}
    assert not any(map(sum, nothing.histograms.values()))


@pytest.mark.parametrize("policy", ["hash", "drop"])
def test_rows_of_another_layout_do_not_count(policy: str) -> None:
    layout = Layout(spec(), SCHEMA)
    other = Layout(spec(properties={**dict.fromkeys(["id", "title"], "keep"), "status": policy}), SCHEMA)
    same_width = Layout(spec(text="{title}"), SCHEMA)
    assert same_width.type == layout.type
    assert layout.tag not in (other.tag, same_width.tag)
    assert len(measured(profiles([ROW], other), layout=layout).rows) == 0
    mixed = pa.chunked_array([profiles([ROW], same_width), profiles([ROW, ROW], layout), pa.nulls(2, layout.type)])
    assert Measured.of(mixed, layout).at.tolist() == [1, 2]


def test_signals_have_their_bytes() -> None:
    layout = Layout(spec(), SCHEMA)
    table = pa.Table.from_pylist([ROW] * 3, schema=SCHEMA)
    columns = {name: table.column(name).combine_chunks() for name in SCHEMA.names}
    signals = Signals(np.array([0, 8, 255], dtype=np.uint8), np.array([1, 0, 0], dtype=np.uint8))
    found = measured(layout.profiles(columns, signals), layout=layout)
    assert found.at_least(HIDDEN, 8).tolist() == [1, 2]
    assert found.at_least(MIXED, 1).tolist() == [0]


def test_profiles_are_pinned() -> None:
    # Other bytes for the same row need another PROFILE_VERSION: else a table would hold a mixture.
    assert profiles([ROW], Layout(spec(), SCHEMA)).to_pylist() == [bytes.fromhex("d28d00000a010e010110281c250105010e")]
