"""weaviate_collections: after every run, and whatever a crash left, the index holds exactly the objects of the published embeddings."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.errors import IndexUnavailable, PermanentError
from vector_assets.fingerprint import from_bytes, to_arrow
from vector_assets.indexed.index import Query, VectorIndex
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.indexed.mapping import object_ids
from vector_assets.indexed.stage import OBJECTS, _ordinals, _split, collection_properties
from vector_assets.pipeline import STAGES, Run
from vector_assets.tables import TableRef
from vector_assets_tests.fakes import MemoryIndex, Row
from vector_assets_tests.scripted import REF, SCHEMA, Crash, Lake, crash_after, sources

BEFORE = STAGES[:4]
LONG = " ".join(f"w{number}" for number in range(40))  # three passages


def row(key: object, body: str = "text", status: str = "open") -> Row:
    return {"id": key, "body": body, "status": status}


def lake_over(path: Path, index: str, rows: list[Row], **table: object) -> Lake:
    lake = Lake(path / "home", rows, table={"quality": {}, "passages": {"overlap_tokens": 0}, **table})
    lake.engines.memory_index = LanceIndex(str(path / "index")) if index == "lance" else MemoryIndex()
    return lake


def collection(lake: Lake) -> str:
    name = lake.index.resolve("Things")
    assert name is not None
    return name


def held(index: VectorIndex, name: str) -> dict[bytes, bytes]:
    """Fingerprints of the objects that an index holds, by id."""
    batches = [batch.to_pylist() for batch in index.stored(name, REF.key)]
    return {stored["id"]: stored["fingerprint"] for batch in batches for stored in batch}


def wanted(lake: Lake) -> set[bytes]:
    """Ids of the objects that published embeddings ask for."""
    names = lake.pipeline.generations(lake.settings.tables.spec_for(REF), lake.engines.model)
    view = lake.pipeline.published("embeddings", REF, names.embeddings)
    assert view is not None
    ids: set[bytes] = set()
    for made in view.take(np.arange(view.count()), ["row_id", "passages"]).to_pylist():
        count = len(made["passages"])
        ids |= set(to_arrow(object_ids(from_bytes([made["row_id"]] * count), np.arange(count))).to_pylist()) if count else set()
    return ids


def ledger(lake: Lake) -> list[dict[str, object]]:
    names = lake.pipeline.generations(lake.settings.tables.spec_for(REF), lake.engines.model)
    incarnation = lake.index.incarnation(collection(lake))
    view = lake.pipeline.published("weaviate_collections", REF, names.collection, str(incarnation))
    assert view is not None
    return view.take(np.arange(view.count())).to_pylist()  # type: ignore[no-any-return]


@pytest.fixture(params=["memory", "lance"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- in step ---------------------------------------------------------------------------------------------------------------------------


def test_the_index_follows_every_kind_of_change(tmp_path: Path, kind: str) -> None:
    lake = lake_over(tmp_path, kind, [row(1), row(2, LONG), row(3, "gone"), row(4, "")])
    first = lake.sync()["weaviate_collections"]
    assert (first.added, first.counts["objects"]) == (4, 5)
    name = collection(lake)
    before = held(lake.index, name)
    assert set(before) == wanted(lake)
    assert len(before) == 5
    lake.rows[:] = [row(1, status="closed"), row(2, LONG[: LONG.index("w16")].strip()), row(4, "not empty any more"), row(5, LONG)]
    lake.engines.stub_encoder.seen.clear()
    second = lake.sync()["weaviate_collections"]
    after = held(lake.index, name)
    assert set(after) == wanted(lake)
    assert len(after) == 1 + 1 + 1 + 3
    assert (second.added, second.changed, second.deleted) == (1, 3, 1)
    assert "text" not in lake.engines.stub_encoder.seen, "a changed property is an upsert with the stored vector"
    kept = set(before) & set(after)
    assert sum(before[key] == after[key] for key in kept) == 1, "the first passage of row 2 alone is as it was"
    assert sum(int(str(made[OBJECTS])) for made in ledger(lake)) == 6
    assert lake.sync()["weaviate_collections"].planned == 0


@pytest.mark.parametrize("writes", [1, 3, 5])
def test_a_crash_between_writes_leaves_nothing_behind(tmp_path: Path, kind: str, writes: int) -> None:
    lake = lake_over(tmp_path, kind, [row(1), row(2, LONG), row(3)])
    lake.sync()
    lake.rows[:] = [row(1, LONG), row(2, "short"), row(4, LONG), row(5)]
    lake.sync(None, *BEFORE)
    with suppress(Crash), crash_after(writes):
        lake.sync(None, "weaviate_collections")
    lake.rows[:] = [row(2, "shorter"), row(5), row(6)]  # rows that the dead run had sent are gone by now
    lake.sync()
    assert set(held(lake.index, collection(lake))) == wanted(lake)
    assert lake.sync()["weaviate_collections"].planned == 0


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize("error", [Crash, IndexUnavailable])
def test_an_index_that_goes_away_is_caught_up_with(tmp_path: Path, calls: int, error: type[BaseException]) -> None:
    lake = lake_over(tmp_path, "memory", [row(1), row(2, LONG), row(3)])
    lake.sync()
    lake.rows[:] = [row(1, LONG), row(2, "short"), row(4, LONG), row(5)]
    left = [calls]

    def away() -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise error

    lake.index.on_write = away
    with pytest.raises(error):
        lake.sync()
    lake.index.on_write = lambda: None
    lake.rows[:] = [row(2, "shorter"), row(5), row(6)]
    lake.sync()
    assert set(held(lake.index, collection(lake))) == wanted(lake)


def test_an_index_that_was_wiped_is_filled_from_stage_tables(tmp_path: Path, kind: str) -> None:
    lake = lake_over(tmp_path, kind, [row(1), row(2, LONG)])
    lake.sync()
    incarnation = lake.index.incarnation(collection(lake))
    if kind == "lance":
        lake.index.point("Elsewhere", collection(lake))
        (tmp_path / "index").rename(tmp_path / "old")
        lake.engines.memory_index = LanceIndex(str(tmp_path / "index"))
    else:
        lake.engines.memory_index.made.clear()  # type: ignore[attr-defined]
    lake.engines.stub_encoder.seen.clear()
    outcome = lake.sync()
    assert [made.planned for made in outcome.values()] == [0, 0, 0, 0, 2]
    assert lake.engines.stub_encoder.seen == []
    assert lake.index.incarnation(collection(lake)) != incarnation
    assert set(held(lake.index, collection(lake))) == wanted(lake)


def test_what_was_sent_is_found(tmp_path: Path) -> None:
    lake = lake_over(tmp_path, "lance", [row(1, "apples"), row(2, "pears", "closed")])
    lake.sync()
    hits = lake.index.search(collection(lake), Query(lake.engines.stub_encoder.encode_query("pears"), limit=1))
    assert [(hit.text, hit.key, hit.table) for hit in hits] == [("pears", "2", REF.key)]
    assert hits[0].properties == {"source_id": 2, "status": "closed"}
    assert uuid.UUID(hits[0].id).version == 8


# --- refused rows ----------------------------------------------------------------------------------------------------------------------


def found_texts(lake: Lake) -> set[str]:
    return {str(stored["text"]) for stored in lake.index.made[collection(lake)].objects.values()}


@pytest.mark.parametrize(("on_reject", "shown"), [("keep_last", {"good", "fine"}), ("drop", {"fine"})])
def test_a_refused_row_shows_its_last_good_objects_or_none(tmp_path: Path, on_reject: str, shown: set[str]) -> None:
    lake = lake_over(tmp_path, "memory", [row(1, "good"), row(2, "fine")], on_reject=on_reject)
    lake.sync()
    lake.index.refuse = "bad"
    lake.rows[0] = row(1, "bad")
    outcome = lake.sync()["weaviate_collections"]
    assert (outcome.rejected, outcome.state.stale) == (1, int(on_reject == "keep_last"))
    assert found_texts(lake) == shown
    assert [made["reason"] for made in ledger(lake) if made["reason"]] == ["the index refused it: refused"]
    sent = lake.index.upserts
    lake.rows[1] = row(2, "fine too")
    assert lake.sync()["weaviate_collections"].planned == 1, "a refused row is not sent again without cause"
    assert lake.index.upserts == sent + 1
    lake.rows[0] = row(1, f"better {LONG}")
    lake.sync()
    assert set(held(lake.index, collection(lake))) == wanted(lake)
    del lake.rows[0]
    lake.sync()
    assert found_texts(lake) == {"fine too"}


@pytest.mark.parametrize("on_reject", ["keep_last", "drop"])
def test_a_new_row_of_which_a_part_is_refused_shows_nothing(tmp_path: Path, on_reject: str) -> None:
    lake = lake_over(tmp_path, "memory", [row(1, f"{LONG} bad"), row(2)], on_reject=on_reject)
    lake.index.refuse = "bad"
    assert lake.sync()["weaviate_collections"].rejected == 1
    assert found_texts(lake) == {"text"}
    lake.rows[:] = [row(2)]
    lake.sync()
    assert found_texts(lake) == {"text"}


def test_a_value_that_the_index_would_round_is_refused_and_not_quoted(tmp_path: Path, kind: str) -> None:
    lake = lake_over(tmp_path, kind, [row(1), row(2**53 + 1, "large")])
    outcome = lake.sync()["weaviate_collections"]
    assert (outcome.rejected, outcome.counts["objects"]) == (1, 1)
    (reason,) = [str(made["reason"]) for made in ledger(lake) if made["reason"]]
    assert reason.startswith("property source_id: an integer beyond 2^53")
    assert str(2**53 + 1) not in reason
    assert len(held(lake.index, collection(lake))) == 1


@pytest.mark.parametrize("status", ["drop", "hash"])
def test_properties_that_the_stages_before_have_not_made_yet_are_waited_for(tmp_path: Path, status: str) -> None:
    lake = lake_over(tmp_path, "memory", [row(1)])
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret").write_text("a secret of some length")
    lake.sync()
    made = lake.index.collections()
    declared = sources(properties={"id": "keep", "status": status}, quality={}, passages={"overlap_tokens": 0})
    object.__setattr__(lake.settings, "tables", declared)
    with pytest.raises(PermanentError, match=r"other properties than sources\.yaml declares now: sync the table"):
        lake.sync(None, "weaviate_collections")
    assert lake.index.collections() == made
    lake.sync()
    assert all("open" not in str(made_of["properties"]) for made_of in lake.index.made[collection(lake)].objects.values())


# --- tables that share a collection ----------------------------------------------------------------------------------------------------


def test_the_alias_waits_for_every_table_of_its_collection(tmp_path: Path) -> None:
    refs = [TableRef("lake", "s", name) for name in ("a", "b")]
    lake = Lake(tmp_path, [])
    object.__setattr__(lake.settings, "tables", sources(table="lake.s.*"))
    lake.source.data = {ref: [row(1, f"of {ref.table}")] for ref in refs}
    run = Run("test")
    for ref, stages in [(refs[0], STAGES[:3]), (refs[1], STAGES[:3]), (refs[0], STAGES[3:])]:
        for stage in stages:
            lake.pipeline.sync(stage, ref, run)
    assert lake.index.resolve("Things") is None
    for stage in STAGES[3:]:
        lake.pipeline.sync(stage, refs[1], run)
    assert found_texts(lake) == {"of a", "of b"}
    lake.source.data[refs[0]] = [row(1, "changed")]
    for stage in STAGES:
        lake.pipeline.sync(stage, refs[0], run)
    assert found_texts(lake) == {"changed", "of b"}


# --- small parts -----------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), max_size=8))
def test_ordinals_and_parts(counts: list[int]) -> None:
    numbers = np.array(counts, dtype=np.int64)
    ordinals = _ordinals(numbers)
    assert ordinals.tolist() == [at for count in counts for at in range(count)]
    items = [bytes([at]) for at in range(sum(counts))]
    parts = _split(items, numbers)
    assert [len(part) for part in parts] == counts
    assert [item for part in parts for item in part] == items


def test_declared_types_come_before_those_of_columns() -> None:
    spec = sources(properties={"id": {"policy": "keep", "type": "text"}, "status": "keep"}).tables[0]
    kinds = pa.struct([SCHEMA.field("id"), SCHEMA.field("status")])
    assert [tuple(made) for made in collection_properties(spec, kinds)] == [("source_id", "text"), ("status", "text")]
