"""Asking a real Weaviate: the same answers as Lance's, where its indexes alone would give others."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vector_assets.errors import ConfigurationError
from vector_assets.indexed.index import Condition, Operator, Query, VectorIndex
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.indexed.weaviate.filters import EARLIEST, LATEST
from vector_assets.indexed.weaviate.index import WeaviateIndex
from vector_assets.indexed.weaviate.stored import _pages, _Span
from vector_assets.tables import CollectionSpec

EAST, NORTH = [1, 0, 0, 0], [0, 1, 0, 0]
OPERATORS: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=")
MICROSECOND = dt.timedelta(microseconds=1)
VALUES: dict[str, list[Any]] = {
    "status": [
        *("", " ", "open", " open", "open ", "\u00a0open", "\nopen", "open\u3000", "\x1fopen", "Open", "opener", "o", "nul\0", "nul"),
        *("é", "e\u0301", "☃", "\U0001f600", "\uffff", "x" * 70_000),
    ],
    "votes": [0, 1, -1, 2**53, 2**53 - 1, -(2**53), 1 - 2**53, 2**31, -(2**31)],
    "price": [0.0, 5e-324, -5e-324, 0.1, 0.1 + 0.2, 0.3, -1.5, 1e300, -1e300, 1.7976931348623157e308, 2.0**53, 16777217.0],
    "open": [True, False],
    "at": [
        dt.datetime(1, 1, 1, tzinfo=dt.UTC),
        dt.datetime(1500, 6, 1, 12, tzinfo=dt.UTC),
        EARLIEST - MICROSECOND,
        EARLIEST,
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
        dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
        dt.datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=dt.UTC),
        dt.datetime(2024, 2, 29, 12, 0, 0, 123457, tzinfo=dt.UTC),
        LATEST,
        LATEST + MICROSECOND,
        dt.datetime(2554, 7, 21, 23, 34, 33, 709551, tzinfo=dt.UTC) + MICROSECOND,  # 2^64 ns after 1970, which is its own index entry
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
    ],
}


@pytest.fixture
def index(weaviate_index: WeaviateIndex) -> VectorIndex:
    return weaviate_index


@pytest.fixture
def both(index: VectorIndex, tmp_path: Path) -> tuple[VectorIndex, VectorIndex]:
    """A Weaviate and a Lance index."""
    return index, LanceIndex(str(tmp_path / "lance"))


def asked(vector: Any, **more: Any) -> Query:
    return Query(np.asarray(vector, dtype=np.float32), **more)


def test_every_condition_finds_what_lance_finds(both: Any, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    count = max(map(len, VALUES.values())) + 1
    properties = {name: [values[i] if i < len(values) else None for i in range(count)] for name, values in VALUES.items()}
    objects = make_objects([f"n{i}" for i in range(count)], [EAST] * count, properties=properties)
    for index in both:
        index.ensure(schema)
        assert index.upsert(schema.name, objects) == {}
    for name, values in VALUES.items():
        for operator in OPERATORS[: 2 if name == "open" else 6]:
            for value in values:
                sent = value.isoformat() if isinstance(value, dt.datetime) else value
                where = (Condition(name, operator, sent),)
                found, expected = ([hit.key for hit in index.search(schema.name, asked(EAST, where=where, limit=50))] for index in both)
                assert found == expected, (name, operator, str(value)[:40])
    everything = {hit.key: hit.properties for hit in both[0].search(schema.name, asked(EAST, limit=50))}
    assert everything == {hit.key: hit.properties for hit in both[1].search(schema.name, asked(EAST, limit=50))}
    for value in (2**53 + 1, 2**63 - 1, -(2**63)):  # beyond what is stored, exactly
        hits = both[0].search(schema.name, asked(EAST, where=(Condition("votes", "<", value), Condition("votes", "!=", value)), limit=50))
        assert len(hits) == (len(VALUES["votes"]) if value > 0 else 0)


def test_negative_zero_is_zero(index: VectorIndex, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    index.ensure(schema)
    index.upsert(schema.name, make_objects(["minus", "plus", "less"], [EAST] * 3, properties={"price": [-0.0, 0.0, -1.0]}))

    def keys(operator: Operator, value: float) -> set[str]:
        return {hit.key for hit in index.search(schema.name, asked(EAST, where=(Condition("price", operator, value),)))}

    for zero in (0.0, -0.0, 0):
        assert keys("=", zero) == keys(">=", zero) == {"minus", "plus"}
        assert keys("!=", zero) == keys("<", zero) == {"less"}
    assert keys(">", -1) == {"minus", "plus"}
    assert keys("<", -1e300) == set()


@pytest.mark.parametrize("distance", ["cosine", "dot", "l2-squared"])
@pytest.mark.parametrize("quantization", ["none", "rq"])
def test_ranks_and_scores_are_those_of_lance(both: Any, make_schema: Any, make_objects: Any, distance: str, quantization: str) -> None:
    schema = make_schema(spec=CollectionSpec(distance=distance, quantization=quantization), dimension=16)
    random = np.random.default_rng(3)
    vectors = random.standard_normal((200, 16)).astype(np.float16)
    vectors[150:] = vectors[:50]  # ties
    objects = make_objects([f"n{i}" for i in range(200)], vectors, properties={"votes": list(range(200))})
    for index in both:
        index.ensure(schema)
        index.upsert(schema.name, objects)
    some = (Condition("votes", "<", 190),)  # under a filter Weaviate compares with all that pass (below 40,000 of them)
    for limit in (1, 5, 100):
        query = asked(random.standard_normal(16), where=some, limit=limit)
        found, expected = (index.search(schema.name, query) for index in both)
        assert [hit._replace(score=0) for hit in found] == [hit._replace(score=0) for hit in expected]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], rel=1e-9)


def test_fusion_sums_reciprocal_ranks(index: VectorIndex, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    index.ensure(schema)
    angles = np.linspace(1, 0, 20)  # by meaning the last is best
    vectors = np.stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles], axis=1)
    texts = ["needle " * (10 - i) + "hay " * i for i in range(10)] + ["hay"] * 10  # by words the first, and the last ten not at all
    index.upsert(schema.name, make_objects([f"n{i}" for i in range(20)], vectors, texts=texts))
    hits = index.search(schema.name, asked(EAST, text="NEEDLE", limit=20))
    expected = {f"n{i}": 1 / (60 + 20 - i) + (1 / (61 + i) if i < 10 else 0) for i in range(20)}
    assert {hit.key: hit.score for hit in hits} == pytest.approx(expected)
    assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.id))
    assert index.search(schema.name, asked(EAST, text="NEEDLE", limit=3)) == hits[:3]


def test_hits_that_the_index_mistakes_do_not_hide_others(index: VectorIndex, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    index.ensure(schema)
    near = make_objects([f"near{i}" for i in range(300)], [EAST] * 300, properties={"status": [" open"] * 300})
    index.upsert(schema.name, near)
    index.upsert(schema.name, make_objects(["far1", "far2"], [NORTH] * 2, properties={"status": ["open", "open"]}))
    hits = index.search(schema.name, asked(EAST, where=(Condition("status", "=", "open"),), limit=2))
    assert {hit.key for hit in hits} == {"far1", "far2"}


def test_a_tie_larger_than_a_page_is_cut_by_id(index: VectorIndex, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    index.ensure(schema)
    objects = make_objects([f"n{i}" for i in range(400)], [EAST] * 400)
    index.upsert(schema.name, objects)
    first = sorted(str(uuid.UUID(bytes=value)) for value in objects.column("id").to_pylist())[:3]
    hits = index.search(schema.name, asked(EAST, where=(Condition("source_table", "=", "c.s.t"),), limit=3))
    assert [hit.id for hit in hits] == first


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("uberfallige", "a"),
        ("ÜBERFÄLLIGE", "a"),
        ("the", "ab"),  # no word is too common
        ("αθηνα", "c"),
        ("strasse", "c"),
        ("日本語", "c"),
        ("\ud800 invoice", "a"),  # half a character, as a terminal may send it
        ("in", ""),
        ("\u3000 \0 ☃ …", ""),
    ],
)
def test_words_are_found_whatever_their_accents_and_case(
    index: VectorIndex, make_schema: Any, make_objects: Any, text: str, keys: str
) -> None:
    schema = make_schema()
    index.ensure(schema)
    texts = ["The Überfällige invoice", "and the", "Straße ΑΘΗΝΑ 日本語"]
    index.upsert(schema.name, make_objects(["a", "b", "c"], [EAST, NORTH, NORTH], texts=texts))
    hits = index.search(schema.name, asked([1, 1, 0, 0], text=text))
    assert {hit.key for hit in hits if hit.score > 1 / 60} == set(keys)  # meaning alone gives 1/61 at most


def test_limits(index: VectorIndex, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    index.ensure(schema)
    index.upsert(schema.name, make_objects(["a"], [EAST]))
    for limit in (1, 4_000, 10_000):
        assert len(index.search(schema.name, asked(EAST, limit=limit))) == 1
        assert len(index.search(schema.name, asked(EAST, text="text", limit=limit))) == 1
    with pytest.raises(ConfigurationError, match="10,000"):
        index.search(schema.name, asked(EAST, limit=10_001))


# --- every object ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def passages(make_objects: Any) -> Any:
    """Objects of one table: a row of 120 passages, one of 31, and 80 of one."""
    names = ["long"] * 120 + ["middle"] * 31 + [f"n{i}" for i in range(80)]
    ordinals = [*range(120), *range(31), *([0] * 80)]
    vectors = np.stack([np.ones(231), np.arange(231), np.zeros(231), np.zeros(231)], axis=1)
    return make_objects(names, vectors, ordinals=ordinals, table="c.s.passages")


@pytest.mark.parametrize("size", [2, 7, 100, 231, 1000])
def test_pages_hold_every_object_once(weaviate_index: WeaviateIndex, make_schema: Any, make_objects: Any, passages: Any, size: int) -> None:
    from weaviate.classes.query import Filter

    schema = make_schema()
    weaviate_index.ensure(schema)
    weaviate_index.upsert(schema.name, passages)
    weaviate_index.upsert(schema.name, make_objects(["other"], [EAST]))
    where = Filter.by_property("source_table").equal("c.s.passages")
    pages = list(_pages(weaviate_index._collection(schema.name), where, names=["row_id", "ordinal"], span=_Span(), size=size))
    assert all(0 < len(page) < size for page in pages)
    assert sorted(found.uuid.bytes for page in pages for found in page) == sorted(passages.column("id").to_pylist())


def test_vectors_of_a_row_of_more_passages_than_a_page(index: VectorIndex, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    index.ensure(schema)
    count = 1_500
    vectors = np.stack([np.ones(count), np.arange(count), np.zeros(count), np.zeros(count)], axis=1)
    shuffled = np.random.default_rng(0).permutation(count)
    index.upsert(schema.name, make_objects(["long"] * count, vectors[shuffled], ordinals=shuffled.tolist()))
    found = index.vectors_of(schema.name, None, "long")
    assert found is not None
    assert found[1].dtype == np.float32
    assert found[1].tolist() == vectors.tolist()


def test_a_key_that_a_whole_table_shares(index: VectorIndex, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    index.ensure(schema)
    for table, count in (("c.s.t", 1), ("c.s.u", 1_100)):
        names = [f"{table}{i}" for i in range(count)]
        objects = make_objects(names, np.random.default_rng(0).standard_normal((count, 4)), table=table)
        index.upsert(schema.name, objects.set_column(4, objects.schema.field(4), [["~"] * count]))
    with pytest.raises(ConfigurationError, match="several rows") as caught:
        index.vectors_of(schema.name, None, "~")
    assert "~" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="policies"):
        index.vectors_of(schema.name, "c.s.u", "~")
    for key in ("", " ~", "~ "):  # the index trims
        assert index.vectors_of(schema.name, None, key) is None
