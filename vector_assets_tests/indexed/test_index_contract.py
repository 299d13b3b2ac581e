"""What every `VectorIndex` does. Runs against each one that the `index` fixture knows."""

from __future__ import annotations

import datetime as dt
import operator
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vector_assets.errors import ConfigurationError, IndexConflict
from vector_assets.fingerprint import empty_hashes, from_arrow
from vector_assets.indexed.index import CollectionSchema, Condition, Property, Query, VectorIndex
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.tables import CollectionSpec

EAST, NORTH, NORTHEAST, WEST = [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [-1, 0, 0, 0]


def asked(vector: list[float], **more: Any) -> Query:
    return Query(np.asarray(vector, dtype=np.float32), **more)


def stored_ids(index: VectorIndex, name: str, table: str = "c.s.t") -> set[bytes]:
    return {value for batch in index.stored(name, table) for value in batch.column("id").to_pylist()}


@pytest.fixture
def schema(index: VectorIndex, make_schema: Any) -> CollectionSchema:
    made: CollectionSchema = make_schema()
    index.ensure(made)
    return made


# --- collections -----------------------------------------------------------------------------------------------------------------------


def test_a_collection_is_made_once_and_describes_itself(index: VectorIndex, make_schema: Any) -> None:
    schema = make_schema()
    assert index.incarnation(schema.name) is None
    assert index.describe(schema.name) is None
    incarnation = index.ensure(schema)
    assert index.ensure(schema) == incarnation == index.incarnation(schema.name)
    assert index.describe(schema.name) == schema
    assert schema.name in index.collections()


def test_a_remade_collection_has_another_incarnation(index: VectorIndex, schema: CollectionSchema) -> None:
    first = index.incarnation(schema.name)
    index.drop(schema.name)
    assert index.incarnation(schema.name) is None
    assert schema.name not in index.collections()
    assert index.ensure(schema) != first


def test_properties_are_added_and_old_objects_lack_them(index: VectorIndex, make_schema: Any, make_objects: Any) -> None:
    few = make_schema(properties=(Property("status", "text"),))
    index.ensure(few)
    index.upsert(few.name, make_objects(["a"], [EAST], schema=few.properties, properties={"status": ["open"]}))
    more = replace(few, properties=(Property("votes", "int"),))
    index.ensure(more)
    described = index.describe(few.name)
    assert described is not None
    assert set(described.properties) == {Property("status", "text"), Property("votes", "int")}
    index.upsert(few.name, make_objects(["b"], [NORTH], schema=more.properties, properties={"votes": [3]}))
    found = {hit.key: hit.properties for hit in index.search(few.name, asked(EAST))}
    assert found == {"a": {"status": "open", "votes": None}, "b": {"status": None, "votes": 3}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dimension": 8}, ["dimension", "4", "8"]),
        ({"spec": CollectionSpec(distance="dot")}, ["distance", "cosine", "dot"]),
        ({"spec": CollectionSpec(quantization="sq")}, ["quantization", "none", "sq"]),
        ({"properties": (Property("votes", "number"),)}, ["votes", "int", "number"]),
        ({"stamp": {"generation": "g1", "model_digest": "other"}}, ["model_digest", "d1", "other"]),
    ],
)
def test_disagreement_names_both_sides(index: VectorIndex, schema: CollectionSchema, changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(IndexConflict) as caught:
        index.ensure(replace(schema, **changes))
    assert all(word in str(caught.value) for word in [schema.name, *words])


@pytest.mark.parametrize("name", ["", "../up", "a/b", "1st", "x" * 300, "a b", "Ü"])
def test_names_that_no_index_takes(index: VectorIndex, make_schema: Any, name: str) -> None:
    with pytest.raises(IndexConflict):
        index.ensure(make_schema(name=name))
    assert index.describe(name) is None


def test_a_missing_collection_is_a_conflict(index: VectorIndex, make_objects: Any, ids_of: Any) -> None:
    objects = make_objects(["a"], [EAST])
    for act in (
        lambda: index.upsert("Nowhere_1", objects),
        lambda: index.delete("Nowhere_1", ids_of(objects)),
        lambda: list(index.stored("Nowhere_1", "c.s.t")),
        lambda: index.search("Nowhere_1", asked(EAST)),
        lambda: index.vectors_of("Nowhere_1", None, "a"),
        lambda: index.point("Nowhere", "Nowhere_1"),
    ):
        with pytest.raises(IndexConflict, match="Nowhere_1"):
            act()
    index.drop("Nowhere_1")


# --- objects ---------------------------------------------------------------------------------------------------------------------------


def test_upsert_inserts_replaces_and_is_idempotent(index: VectorIndex, schema: CollectionSchema, make_objects: Any, ids_of: Any) -> None:
    first = make_objects(["a", "b"], [EAST, NORTH], texts=["old a", "old b"])
    assert index.upsert(schema.name, first) == {}
    second = make_objects(["b", "c"], [WEST, NORTH], texts=["new b", "new c"])
    assert index.upsert(schema.name, second) == {}
    assert index.upsert(schema.name, second) == {}
    assert {hit.key: hit.text for hit in index.search(schema.name, asked(EAST))} == {"a": "old a", "b": "new b", "c": "new c"}
    rows = pa.Table.from_batches(index.stored(schema.name, "c.s.t")).select(["id", "row_id", "fingerprint"])
    expected = pa.concat_tables([first.slice(0, 1), second]).select(["id", "row_id", "fingerprint"])
    assert {tuple(row.values()) for row in rows.to_pylist()} == {tuple(row.values()) for row in expected.to_pylist()}


def test_of_equal_ids_in_one_batch_the_last_counts(index: VectorIndex, schema: CollectionSchema, make_objects: Any) -> None:
    assert index.upsert(schema.name, make_objects(["a", "b", "a"], [EAST, NORTH, WEST], texts=["1", "2", "3"])) == {}
    assert {hit.key: hit.text for hit in index.search(schema.name, asked(EAST))} == {"a": "3", "b": "2"}


def test_nothing_to_write_is_no_work(index: VectorIndex, schema: CollectionSchema, make_objects: Any) -> None:
    assert index.upsert(schema.name, make_objects(["a"], [EAST]).slice(0, 0)) == {}
    index.delete(schema.name, empty_hashes())
    assert index.search(schema.name, asked(EAST)) == []
    assert stored_ids(index, schema.name) == set()


def test_delete_removes_just_those(index: VectorIndex, schema: CollectionSchema, make_objects: Any, ids_of: Any) -> None:
    objects = make_objects(["a", "b", "c"], [EAST, NORTH, WEST])
    index.upsert(schema.name, objects)
    gone = np.concatenate([ids_of(objects)[:1], ids_of(make_objects(["never there"], [EAST])), ids_of(objects)[:1]])
    index.delete(schema.name, gone)
    index.delete(schema.name, gone)
    assert {hit.key for hit in index.search(schema.name, asked(EAST))} == {"b", "c"}
    index.upsert(schema.name, objects.slice(0, 1))
    assert {hit.key for hit in index.search(schema.name, asked(EAST))} == {"a", "b", "c"}


def test_a_vector_that_cannot_be_stored_is_refused_alone(index: VectorIndex, schema: CollectionSchema, make_objects: Any) -> None:
    objects = make_objects(
        ["good", "nan", "infinite", "zero", "fine"], [EAST, [1, np.nan, 0, 0], [np.inf, 0, 0, 0], [0, 0, 0, 0], NORTH], dtype="float32"
    )
    refused = index.upsert(schema.name, objects)
    ids = objects.column("id").to_pylist()
    assert set(refused) == {ids[1], ids[2], ids[3]}
    assert not any("text of" in reason for reason in refused.values())
    assert stored_ids(index, schema.name) == {ids[0], ids[4]}


def test_a_vector_of_another_length_is_a_conflict(index: VectorIndex, schema: CollectionSchema, make_objects: Any) -> None:
    with pytest.raises(IndexConflict, match=r"4.*3"):
        index.upsert(schema.name, make_objects(["a"], [[1, 0, 0]]))
    with pytest.raises(IndexConflict, match="4"):
        index.search(schema.name, asked([1, 0, 0]))
    with pytest.raises(IndexConflict, match="finite"):
        index.search(schema.name, asked([1, 0, 0, float("nan")]))


def test_a_property_that_was_not_ensured_is_a_conflict(index: VectorIndex, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema(properties=(Property("status", "text"),))
    index.ensure(schema)
    with pytest.raises(IndexConflict, match="votes"):
        index.upsert(schema.name, make_objects(["a"], [EAST], schema=(Property("votes", "int"),)))
    with pytest.raises(IndexConflict, match="status"):
        index.upsert(schema.name, make_objects(["a"], [EAST], schema=(Property("status", "int"),)))


def test_stored_gives_back_what_was_sent(index: VectorIndex, schema: CollectionSchema, make_objects: Any, ids_of: Any) -> None:
    """Every column, exactly; what parity compares would differ for ever else."""
    at = dt.datetime(2024, 2, 29, 12, 30, 1, 250_001, tzinfo=dt.UTC)
    properties = {
        "status": ["open", "", None],
        "votes": [2**53, -1, None],
        "price": [0.1, -0.0, None],
        "open": [True, False, None],
        "at": [at, None, None],
    }
    texts = ["Größe 🐘\n\t'x'", "", "NUL \x00"]
    objects = make_objects(["a", "b", "c"], [EAST, NORTH, WEST], texts=texts, ordinals=[0, 3, 1], properties=properties)
    index.upsert(schema.name, objects)
    index.upsert(schema.name, make_objects(["other"], [EAST], table="c.s.t2"))
    columns = [name for name in objects.column_names if name != "source_table"]
    found = pa.Table.from_batches(index.stored(schema.name, "c.s.t", columns))
    assert found.column_names == columns
    sort = operator.itemgetter("id")
    assert sorted(found.to_pylist(), key=sort) == sorted(objects.select(columns).to_pylist(), key=sort)
    some = from_arrow(objects.column("row_id"))[:2]
    for rows, names in ((some, {"a", "b"}), (some[:0], set()), (ids_of(objects), set())):
        batches = list(index.stored(schema.name, "c.s.t", ("source_key",), rows=rows))
        assert {name for batch in batches for name in batch.column(0).to_pylist()} == names


def test_stored_keeps_tables_apart_and_is_bounded(index: VectorIndex, schema: CollectionSchema, make_objects: Any) -> None:
    # More than one batch of either. Weaviate takes 20,000 objects in 15 to 30 s, which says nothing more.
    names = [f"n{i}" for i in range(20_000 if isinstance(index, LanceIndex) else 6_000)]
    vectors = np.random.default_rng(0).standard_normal((len(names), 4))
    mine = make_objects(names, vectors, table="c.s.it's")
    index.upsert(schema.name, mine)
    index.upsert(schema.name, make_objects(["other"], [EAST], table="c.s.t2"))
    batches = list(index.stored(schema.name, "c.s.it's"))
    assert max(batch.num_rows for batch in batches) < len(names)
    assert {value for batch in batches for value in batch.column("id").to_pylist()} == set(mine.column("id").to_pylist())
    assert stored_ids(index, schema.name, "c.s.none") == set()


# --- search ----------------------------------------------------------------------------------------------------------------------------


def test_semantic_search_scores_by_cosine(index: VectorIndex, schema: CollectionSchema, make_objects: Any) -> None:
    properties = {
        "status": ["open", "closed", None],
        "votes": [1, 2**53, None],
        "price": [0.5, -1e300, None],
        "open": [True, False, None],
        "at": [dt.datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=dt.UTC)] * 2 + [None],
    }
    objects = make_objects(["e", "ne", "w"], [EAST, NORTHEAST, WEST], texts=["East ☃", "NE", "W"], properties=properties)
    index.upsert(schema.name, objects)
    hits = index.search(schema.name, asked([2, 0, 0, 0]))
    assert [hit.key for hit in hits] == ["e", "ne", "w"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.5**0.5, -1.0], abs=1e-3)
    assert hits[0].id == str(uuid.UUID(bytes=objects.column("id")[0].as_py()))
    assert (hits[0].table, hits[0].text) == ("c.s.t", "East ☃")
    for at, hit in enumerate(hits):
        assert hit.properties == {name: values[at] for name, values in properties.items()}


def test_other_distances_score_higher_for_nearer(index: VectorIndex, make_schema: Any, make_objects: Any) -> None:
    for distance, best in (("dot", "far"), ("l2-squared", "near")):
        schema = make_schema(spec=CollectionSpec(distance=distance))
        index.ensure(schema)
        index.upsert(schema.name, make_objects(["near", "far"], [EAST, [5, 0, 0, 0]]))
        hits = index.search(schema.name, asked(EAST))
        assert hits[0].key == best
        assert hits[0].score > hits[1].score


def test_limit_and_ties_are_deterministic(index: VectorIndex, schema: CollectionSchema, make_objects: Any) -> None:
    for start in range(0, 60, 20):  # equal vectors, in several writes
        index.upsert(schema.name, make_objects([f"n{i}" for i in range(start, start + 20)], [EAST] * 20))
    everything = [hit.id for hit in index.search(schema.name, asked(EAST, limit=100))]
    assert everything == sorted(everything)
    for limit in (1, 7, 59, 60, 61):
        assert [hit.id for hit in index.search(schema.name, asked(EAST, limit=limit))] == everything[:limit]


def test_exclude_row_leaves_out_all_its_passages(index: VectorIndex, schema: CollectionSchema, make_objects: Any) -> None:
    objects = make_objects(["a", "a", "b"], [EAST, NORTHEAST, WEST], ordinals=[0, 1, 0])
    index.upsert(schema.name, objects)
    assert [hit.key for hit in index.search(schema.name, asked(EAST))] == ["a", "a", "b"]
    row = objects.column("row_id")[0].as_py()
    assert [hit.key for hit in index.search(schema.name, asked(EAST, exclude_row=row))] == ["b"]


def test_hybrid_search_finds_words_that_vectors_miss(index: VectorIndex, schema: CollectionSchema, make_objects: Any) -> None:
    names = [f"n{i}" for i in range(300)]
    vectors = np.tile(EAST, (300, 1))
    vectors[7] = WEST  # the last by meaning, the only one by word
    texts = ["a common text"] * 300
    texts[7] = "Invoice XK-4711 überfällig"
    index.upsert(schema.name, make_objects(names, vectors, texts=texts))
    assert "n7" in [hit.key for hit in index.search(schema.name, asked(EAST, limit=2, text="xk-4711"))]
    assert "n7" in [hit.key for hit in index.search(schema.name, asked(EAST, limit=5, text="uberfallig"))]
    assert all(hit.key != "n7" for hit in index.search(schema.name, asked(EAST, limit=5)))
    both = index.search(schema.name, asked(WEST, limit=1, text="XK"))[0]
    assert (both.key, both.score) == ("n7", pytest.approx(2 / 61))  # first in both lists


@pytest.mark.parametrize("text", ["", "!!!", 'a"b (c) AND -x:y*', "NOT", "\\", "☃", "common " * 500])
def test_hybrid_takes_any_text(index: VectorIndex, schema: CollectionSchema, make_objects: Any, text: str) -> None:
    index.upsert(schema.name, make_objects(["a"], [EAST]))
    assert [hit.key for hit in index.search(schema.name, asked(EAST, text=text))] == ["a"]


HOSTILE = ["it's", 'q"q', "back\\slash", "\\'", "'; drop --", "new\nline", "nul\0", "`b`", "%_", "", "é☃", "e\u0301"]


@pytest.mark.parametrize("value", HOSTILE)
def test_text_conditions_compare_exactly(index: VectorIndex, schema: CollectionSchema, make_objects: Any, value: str) -> None:
    names = [f"n{i}" for i in range(len(HOSTILE))]
    index.upsert(schema.name, make_objects(names, [EAST] * len(names), properties={"status": HOSTILE}))
    hits = index.search(schema.name, asked(EAST, limit=50, where=(Condition("status", "=", value),)))
    assert [hit.properties["status"] for hit in hits] == [value]
    others = index.search(schema.name, asked(EAST, limit=50, where=(Condition("status", "!=", value),)))
    assert len(others) == len(HOSTILE) - 1


MOMENT = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("conditions", "keys"),
    [
        ([("votes", "=", 2)], "b"),
        ([("votes", "!=", 2)], "acn"),  # an object without a value is not 2
        ([("votes", "<", 2)], "a"),
        ([("votes", ">=", 2)], "bc"),
        ([("votes", "=", -(2**63))], ""),
        ([("price", "<=", 0.2)], "ab"),
        ([("price", "=", 1e-05)], "a"),
        ([("price", ">", 1)], ""),
        ([("price", "<", 1)], "abc"),
        ([("open", "=", True)], "a"),
        ([("open", "!=", True)], "bcn"),
        ([("at", ">", "2024-01-01T01:00:00+01:00")], "bc"),
        ([("at", "<=", "2024-01-01T00:00:00.000001")], "ab"),
        ([("status", ">", "m")], "a"),
        ([("status", "=", "open"), ("votes", "<", 2)], "a"),
        ([("status", "=", "open"), ("votes", ">", 2)], ""),
        ([("source_table", "=", "c.s.t")], "abcn"),
        ([("source_table", "=", "c.s.u")], ""),
    ],
)
@pytest.mark.parametrize("text", [None, "text"])
def test_conditions(index: VectorIndex, schema: CollectionSchema, make_objects: Any, conditions: Any, keys: str, text: str | None) -> None:
    properties = {
        "status": ["open", "closed", "closed", None],
        "votes": [1, 2, 3, None],
        "price": [1e-05, 0.2, 0.3, None],
        "open": [True, False, False, None],
        "at": [MOMENT, MOMENT + dt.timedelta(microseconds=1), MOMENT + dt.timedelta(days=1), None],
    }
    index.upsert(schema.name, make_objects(list("abcn"), [EAST] * 4, properties=properties))
    where = tuple(Condition(*condition) for condition in conditions)
    assert {hit.key for hit in index.search(schema.name, asked(EAST, where=where, text=text))} == set(keys)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Condition("votes", "=", "2"), ["votes", "int"]),
        (Condition("votes", "=", 1.5), ["votes", "int"]),
        (Condition("votes", "=", True), ["votes", "int"]),
        (Condition("votes", "=", 2**63), ["votes", "int"]),
        (Condition("status", "=", 1), ["status", "text"]),
        (Condition("price", "=", "x"), ["price", "number"]),
        (Condition("price", "=", float("nan")), ["price", "number"]),
        (Condition("open", "=", 1), ["open", "boolean"]),
        (Condition("open", "<", True), ["open", "boolean"]),
        (Condition("at", "=", "yesterday"), ["at", "timestamp"]),
        (Condition("nothing", "=", 1), ["nothing", "status"]),
        (Condition("text", "=", "x"), ["text"]),
        (Condition("p_status", "=", "x"), ["p_status"]),
    ],
)
def test_conditions_that_do_not_fit(index: VectorIndex, schema: CollectionSchema, condition: Condition, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        index.search(schema.name, asked(EAST, where=(condition,)))
    assert all(word in str(caught.value) for word in words)


def test_vectors_of_a_row(index: VectorIndex, schema: CollectionSchema, make_objects: Any) -> None:
    objects = make_objects(["it's", "it's", "b"], [NORTH, EAST, WEST], ordinals=[1, 0, 0])
    index.upsert(schema.name, objects)
    found = index.vectors_of(schema.name, "c.s.t", "it's")
    assert found is not None
    assert found[0] == objects.column("row_id")[0].as_py()
    assert found[1].dtype == np.float32
    assert found[1].tolist() == [EAST, NORTH]
    assert index.vectors_of(schema.name, None, "b") is not None
    assert index.vectors_of(schema.name, None, "none") is None
    assert index.vectors_of(schema.name, "c.s.u", "b") is None


# --- aliases ---------------------------------------------------------------------------------------------------------------------------


def test_an_alias_moves(index: VectorIndex, make_schema: Any) -> None:
    first, second = make_schema(), make_schema()
    index.ensure(first)
    index.ensure(second)
    alias = f"Alias{uuid.uuid4().hex[:12]}"
    assert index.resolve(alias) is None
    index.point(alias, first.name)
    index.point(alias, first.name)
    assert index.resolve(alias) == first.name
    index.point(alias, second.name)
    assert index.resolve(alias) == second.name
    with pytest.raises(IndexConflict, match=alias):
        index.drop(second.name)
    assert index.resolve(alias) == second.name
    index.drop(first.name)
    assert first.name not in index.collections()


def test_an_alias_is_never_named_like_a_collection(index: VectorIndex, schema: CollectionSchema, make_schema: Any) -> None:
    with pytest.raises(IndexConflict, match=schema.name):
        index.point(schema.name, schema.name)
    alias = f"Alias{uuid.uuid4().hex[:12]}"
    index.point(alias, schema.name)
    with pytest.raises(IndexConflict, match=alias):
        index.ensure(make_schema(name=alias))
    with pytest.raises(IndexConflict):
        index.point("../x", schema.name)
    assert index.resolve("../x") is None
