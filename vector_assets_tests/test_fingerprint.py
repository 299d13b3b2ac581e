"""Identity and content: different values never meet, equal values of one family always do, and what is stored for ever is pinned."""

from __future__ import annotations

import datetime as dt
import math
import struct
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vector_assets.fingerprint import (
    HASH_TYPE,
    Hashes,
    column_fingerprints,
    data_version,
    encode_column,
    encode_value,
    fingerprint,
    from_arrow,
    from_bytes,
    input_fingerprints,
    row_ids,
    text_fingerprint,
    to_arrow,
    version_of,
)
from vector_assets.indexed.mapping import object_ids
from vector_assets.models.generation import generation
from vector_assets.tables import CollectionSpec
from vector_assets_tests.fakes import hashes

TABLE = ("lake", "support", "tickets")

# --- values ----------------------------------------------------------------------------------------------------------------------------

# Few characters, so that examples meet: the same digits as number, text, bytes and inside of lists.
TEXTS = st.text("ab1n\0\ud800", max_size=3)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, math.nan, -math.nan, math.inf]),
    st.floats(),
    TEXTS,
    st.sampled_from(["", "None", "null", "1", "True", "1.0"]),
    st.binary(max_size=2),
    st.dates(),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2), max_leaves=6)


def meaning(value: object) -> object:
    """What a value is, by family, so that `==` says what the encoding must say."""
    match value:
        case bool():
            return "boolean", value
        case int() | Decimal():
            return "number", Fraction(value)
        case float():
            return "float", "nan" if math.isnan(value) else struct.pack(">d", value + 0.0)
        case list():
            return "list", tuple(map(meaning, value))
        case dict():
            return "struct", tuple((key, meaning(item)) for key, item in value.items())
    return type(value).__name__, value


@given(VALUES, VALUES)
def test_values_are_told_apart_exactly_where_they_differ(one: object, other: object) -> None:
    assert (encode_value(one) == encode_value(other)) == (meaning(one) == meaning(other))


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
@example(["a", "bc"], ["ab", "c"])
@example(["a", ""], ["", "a"])
@example([None, ""], ["", None])
@example([["a"], "b"], [["a", "b"]])
def test_composite_keys_have_borders(one: list[object], other: list[object]) -> None:
    same = list(map(meaning, one)) == list(map(meaning, other))
    assert (b"".join(map(encode_value, one)) == b"".join(map(encode_value, other))) == same


def test_values_that_look_alike_are_different_rows() -> None:
    lookalikes = [None, "", "None", 1, "1", True, 1.0, b"1", [1], dt.date(1970, 1, 2), {"a": 1}, {"a": None, "b": 1}, {"a\0n\0\0\0\0b": 1}]
    assert len(set(map(encode_value, lookalikes))) == len(lookalikes)


def test_names_of_nested_fields_cannot_imitate_values() -> None:
    hostile = {"a\0n\0\0\0\0b": 1}  # what {"a": None, "b": 1} would be if names ended with a zero byte
    assert encode_value(hostile) != encode_value({"a": None, "b": 1})


def test_a_uuid_is_its_text() -> None:
    value = uuid.UUID(int=5)
    assert encode_value(value) == encode_value(str(value))
    assert encode_column(pa.array([value.bytes], pa.uuid())) == [encode_value(str(value))]


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(TypeError, match="complex"):
        encode_value(1j)


# --- columns ---------------------------------------------------------------------------------------------------------------------------

MOMENT = dt.datetime.fromisoformat("2024-02-29T12:30:15")
FAMILIES: dict[str, Sequence[pa.Array]] = {
    "integers and decimals": [
        *(pa.array([5, None, 0], kind) for kind in (pa.int8(), pa.uint16(), pa.int32(), pa.int64())),
        *(pa.array([Decimal(5), None, Decimal(0)], kind) for kind in (pa.decimal128(3, 0), pa.decimal128(38, 10), pa.decimal256(50, 2))),
    ],
    "negative decimals": [pa.array([Decimal("-1.50")], kind) for kind in (pa.decimal128(3, 2), pa.decimal128(9, 4))],
    "floats": [
        pa.array([0.5, None, -0.0], pa.float32()),
        pa.array([0.5, None, 0.0], pa.float64()),
        pa.array(np.array([0.5]), pa.float16()),
    ],
    "texts": [
        *(pa.array(["ü", None], kind) for kind in (pa.string(), pa.large_string(), pa.string_view())),
        pa.array(["ü", None]).dictionary_encode(),
    ],
    "bytes": [pa.array([b"ab"], kind) for kind in (pa.binary(), pa.large_binary(), pa.binary(2), pa.binary_view())],
    "dates": [pa.array([dt.date(2024, 2, 29), dt.date(1, 1, 1)], kind) for kind in (pa.date32(), pa.date64())],
    "timestamps": [pa.array([MOMENT, None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")],
    "instants": [
        *(pa.array([MOMENT.replace(tzinfo=dt.UTC)], pa.timestamp(unit, "UTC")) for unit in ("s", "ns")),
        pa.array([MOMENT.replace(tzinfo=dt.UTC)], pa.timestamp("us", "Asia/Kathmandu")),
    ],
    "times": [pa.array([dt.time(1, 2, 3)], kind) for kind in (pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"))],
    "durations": [pa.array([dt.timedelta(seconds=90)], pa.duration(unit)) for unit in ("s", "ns")],
    "lists": [pa.array([[1, None]], pa.list_(pa.int8())), pa.array([[1, None]], pa.large_list(pa.int64()))],
    "nested instants": [
        pa.array([[MOMENT.replace(tzinfo=dt.UTC)]], pa.list_(pa.timestamp("s", "UTC"))),
        pa.array([[MOMENT.replace(tzinfo=dt.UTC)]], pa.list_(pa.timestamp("us", "Asia/Kathmandu"))),
    ],
}


@pytest.mark.parametrize("columns", FAMILIES.values(), ids=FAMILIES.keys())
def test_widening_a_column_changes_nothing(columns: Sequence[pa.Array]) -> None:
    longest = max(map(encode_column, columns), key=len)
    for column in columns:
        assert encode_column(column) == longest[: len(column)], column.type


def test_families_are_kept_apart() -> None:
    """The same 0 of every family, NULL among them."""
    kinds = [
        pa.int64(),
        pa.float64(),
        pa.bool_(),
        pa.date32(),
        pa.timestamp("s"),
        pa.timestamp("s", "UTC"),
        pa.time32("s"),
        pa.duration("s"),
    ]
    zeros = [pa.array([0]).cast(pa.int32() if kind in (pa.date32(), pa.time32("s")) else pa.int64()).cast(kind) for kind in kinds]
    encodings = {encode_column(column)[0] for column in zeros}
    assert len(encodings) == len(kinds)
    assert {encode_column(pa.nulls(1, kind))[0] for kind in kinds} == {encode_value(None)}


@pytest.mark.parametrize("days", [-4_371_222, 2_932_897, 10_957])
def test_dates_that_python_cannot_say(days: int) -> None:
    column = pa.array([days], pa.int32()).cast(pa.date32())
    assert encode_column(column) == [b"D" + len(str(days)).to_bytes(4, "little") + str(days).encode()]


def test_moments_that_python_cannot_say() -> None:
    assert len(set(encode_column(pa.array([2**62, -(2**62)]).cast(pa.timestamp("s"))))) == 2


@given(st.lists(st.integers(-(2**40), 2**40) | st.none(), max_size=20), st.integers(0, 5), st.integers(1, 4))
def test_a_column_may_come_in_pieces(values: list[int | None], skip: int, size: int) -> None:
    whole = pa.array(values, pa.int64())
    part = whole[skip:]
    chunks = [part[start : start + size] for start in range(0, len(part), size)]
    assert encode_column(pa.chunked_array(chunks, pa.int64())) == encode_column(part) == encode_column(whole)[skip:]


# --- rows ------------------------------------------------------------------------------------------------------------------------------


def test_ids_depend_on_every_part_of_the_name_and_on_the_secret() -> None:
    key = [pa.array(["x"])]
    names = [TABLE, ("lak", "esupport", "tickets"), ("lake", "support", "ticket"), ("a", "b", "c")]
    ids = {row_ids(name, key, secret).tobytes() for name in names for secret in (None, b"k" * 16, b"l" * 16)}
    assert len(ids) == 12


def test_a_secret_may_be_of_any_length() -> None:
    ids = {row_ids(TABLE, [pa.array([1])], b"s" * length).tobytes() for length in (16, 63, 64, 65, 4096)}
    assert len(ids) == 5


def test_column_order_counts_for_ids_and_not_for_content() -> None:
    a, b = pa.array(["1", "2"]), pa.array(["2", "1"])
    assert (row_ids(TABLE, [a, b]) == row_ids(TABLE, [b, a])[::-1]).all()
    assert (row_ids(TABLE, [a, b]) != row_ids(TABLE, [b, a])).any()
    assert (column_fingerprints("text", [("a", a), ("b", b)]) == column_fingerprints("text", [("b", b), ("a", a)])).all()
    assert (column_fingerprints("text", [("a", a), ("b", b)]) != column_fingerprints("text", [("a", b), ("b", a)])).any()
    assert (column_fingerprints("text", [("a", a)]) != column_fingerprints("other", [("a", a)])).any()


@given(st.lists(st.binary(max_size=3), max_size=3), st.lists(st.binary(max_size=3), max_size=3))
def test_parts_of_a_fingerprint_have_borders(one: list[bytes], other: list[bytes]) -> None:
    assert (fingerprint("text", one) == fingerprint("text", other)) == (one == other)


def test_lone_surrogates_are_kept_apart() -> None:
    texts = ["\ud800", "\udfff", "\ufffd", "?", ""]
    assert len(set(map(text_fingerprint, texts))) == len(texts)


def test_versions_depend_on_values_and_not_on_their_order() -> None:
    assert version_of("s", a=1, b={"x": 1, "y": 2}) == version_of("s", b={"y": 2, "x": 1}, a=1)
    versions = [version_of("s", a=1), version_of("s", a="1"), version_of("s", a=None), version_of("s"), version_of("t", a=1)]
    assert len(set(versions)) == len(versions)
    with pytest.raises(ValueError, match="JSON"):
        version_of("s", a=math.nan)


def test_input_fingerprints_undo_themselves() -> None:
    content, version = hashes(1, 2, 3), version_of("s", code=1)
    made = input_fingerprints(content, version)
    assert (made != content).all()
    assert (input_fingerprints(made, version) == content).all()


# --- arrays of hashes ------------------------------------------------------------------------------------------------------------------

DIGESTS = st.lists(st.binary(min_size=16, max_size=16) | st.none(), max_size=12)


@given(DIGESTS, st.integers(0, 4), st.integers(0, 4), st.integers(1, 5))
def test_arrow_and_back(digests: list[bytes | None], skip: int, drop: int, size: int) -> None:
    column = pa.array(digests, HASH_TYPE)[skip : max(len(digests) - drop, 0)]
    expected = [value or bytes(16) for value in column.to_pylist()]
    chunked = pa.chunked_array([column[start : start + size] for start in range(0, len(column), size)], HASH_TYPE)
    for form in (column, chunked):
        lanes = from_arrow(form)
        assert lanes.shape == (len(column), 2)
        assert to_arrow(lanes).to_pylist() == expected
    assert (from_bytes(expected) == from_arrow(column)).all()


def test_a_view_of_some_lanes_is_stored_as_such() -> None:
    lanes = hashes(*range(10))
    assert to_arrow(lanes[::3]).to_pylist() == [value.to_bytes(16, "big") for value in (0, 3, 6, 9)]
    assert to_arrow(lanes[::-1])[0].as_py() == (9).to_bytes(16, "big")


SETS = st.dictionaries(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1), min_size=1, max_size=8)


def _version(rows: dict[int, int]) -> str:
    return data_version(hashes(*rows), hashes(*rows.values()))


@given(SETS, st.randoms(use_true_random=False))
def test_a_data_version_is_of_a_set(rows: dict[int, int], random: object) -> None:
    shuffled = list(rows.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _version(dict(shuffled)) == _version(rows)


@given(SETS, st.data())
@example({0: 0}, None)
def test_a_data_version_sees_every_difference(rows: dict[int, int], data: st.DataObject | None) -> None:
    row = data.draw(st.sampled_from(sorted(rows))) if data else 0
    less = {key: value for key, value in rows.items() if key != row}
    others: list[dict[int, int]] = [less, {**rows, row: rows[row] ^ 1}, {**less, row ^ 1: rows[row]}, {**less, rows[row]: row}]
    for other in others:
        assert (_version(other) == _version(rows)) == (other == rows)


def test_contents_that_trade_places_are_another_version() -> None:
    assert _version({1: 10, 2: 20}) != _version({1: 20, 2: 10})
    assert _version({1: 2}) != _version({2: 1})
    assert data_version(hashes(), hashes()) == "0" * 32


# --- what is stored for ever -----------------------------------------------------------------------------------------------------------


def _hex(lanes: Hashes) -> list[str]:
    return [value.hex() for value in to_arrow(lanes).to_pylist()]


ROW_IDS: dict[str, tuple[pa.Array, list[str]]] = {
    "number": (
        pa.array([Decimal("-12.50"), Decimal(0), Decimal(10**20), None]),
        [
            "c264f2306127c8b15a9ad6c89439f21b",
            "e071ce834f680c122f7ba9ff93a16494",
            "cbe88490dc05c287012a7aac2e7aa78c",
            "dd8d098ad7b52b4fe5a209825392fc25",
        ],
    ),
    "float": (
        pa.array([0.5, -0.0, math.nan, math.inf]),
        [
            "39715e35203b7b7a4f0e1c4b0683395a",
            "f5b54881daf34f2298b9327f0bfab390",
            "b44b27b1beb0102ce5b4d3ef3cf692ba",
            "3afb6f01fe62bfae3ef7c050088afb98",
        ],
    ),
    "boolean": (pa.array([True, False]), ["6e432a9641b56353e5dd84cfbb76adb5", "f03de3a2a16c7a7e5e81556474217dec"]),
    "text": (
        pa.array(["a", "", "ü", "😀"]),
        [
            "9efe1a8e028713caf8fe895f081cccf9",
            "9569b6f9907a48d3526de0a014e4b06a",
            "ebd356ba353f9b812f33031916dddcc9",
            "ffe315ffeb9b9254b971d34abc88eff5",
        ],
    ),
    "bytes": (pa.array([b"a", b""]), ["ba755a54311b273f83bd6912677c17cc", "ad150ef87d4cff7ab0572834d1536622"]),
    "date": (pa.array([dt.date(2024, 2, 29)]), ["ce834b6ec5f9fbfe157a888c96fbcc1e"]),
    "timestamp": (pa.array([MOMENT], pa.timestamp("us")), ["3587622f00a39113b67fec3f1f65b020"]),
    "instant": (pa.array([MOMENT], pa.timestamp("us", "UTC")), ["6a5d02c3849a5b88753be9386be4c70a"]),
    "time": (pa.array([dt.time(1, 2, 3)]), ["4b15467b32326a1fb8aad8d9011772a8"]),
    "duration": (pa.array([dt.timedelta(seconds=90)]), ["8ee2cafba5bacafaef319d5edc92f94e"]),
    "uuid": (pa.array([bytes(range(16))], pa.uuid()), ["fc22f6a27b89ff345900edbf2dcd2c68"]),
    "list": (pa.array([[1, None], []]), ["3725bf5d7d3f429100d18e16e78d5ee3", "2d2885a49696fb62c716645746ccb255"]),
    "struct": (pa.array([{"a": 1, "b": "x"}]), ["70175a1a6d5a1fe15b390d47bd939086"]),
}
COLUMNS = [("body", pa.array(["text", "", None])), ("votes", pa.array([1, None, 3]))]
OTHERS: dict[str, tuple[Callable[[], object], object]] = {
    "composite": (
        lambda: _hex(row_ids(TABLE, [pa.array([1, 1]), pa.array(["a", None])])),
        ["e4fec60fcb730dd7d4497448397da642", "46a8b4fdc528717035b585df9d127dc1"],
    ),
    "keyed": (lambda: _hex(row_ids(TABLE, [pa.array([1])], b"a secret of at least 16")), ["9c70d7fcc06c2ad4c5d345b73ed7e17a"]),
    "keyed, long": (lambda: _hex(row_ids(TABLE, [pa.array([1])], b"s" * 65)), ["245ba01781d8ca8daddc7e41c350b65c"]),
    "columns": (
        lambda: _hex(column_fingerprints("text", COLUMNS)),
        ["d83aae7ba2597554cf10ebf165ce70a3", "d8d2ff530bd1d430ea95ac0ac09d17f4", "f3cc549baad23a89595bac0f0fea83f3"],
    ),
    "fingerprint": (lambda: fingerprint("embedded", (b"a", b"")).hex(), "f3b93c59fd2f320aaecf1f13f3e0e22b"),
    "text fingerprint": (lambda: text_fingerprint("a text").hex(), "20860ca3405af399c84957fce9b3b417"),
    "version": (
        lambda: version_of("raw_tables", code=1, key=["id"], nested={"b": None, "a": [True, 0.5, "ü"]}),
        "6383caa79f921042049d4390f383f890",
    ),
    "input": (
        lambda: _hex(input_fingerprints(hashes(1, 2), "0123456789abcdef" * 2)),
        ["0123456789abcdef0123456789abcdee", "0123456789abcdef0123456789abcded"],
    ),
    "data version": (lambda: data_version(hashes(1, 2, 2**127), hashes(3, 4, 5)), "0b8b7b9327382893765b35f8ab46de27"),
    "generation": (lambda: generation("0123456789ab", CollectionSpec(), properties={}), "307ee055fffd"),
    "object ids": (
        lambda: _hex(object_ids(hashes(1, 1), np.array([0, 1]))),
        ["b3d0eef5c14c8674877d564b2981ad73", "e3f370e3251985ffaee326f58ea2f7ff"],
    ),
}
_WARNING = "what is stored for ever has changed: every user's data would be indexed or embedded again. Undo that; do not pin this instead"


@pytest.mark.parametrize("family", ROW_IDS)
def test_row_ids_are_pinned(family: str) -> None:
    column, pinned = ROW_IDS[family]
    assert _hex(row_ids(TABLE, [column])) == pinned, _WARNING


@pytest.mark.parametrize("what", OTHERS)
def test_the_rest_is_pinned(what: str) -> None:
    make, pinned = OTHERS[what]
    assert make() == pinned, _WARNING
