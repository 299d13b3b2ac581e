"""Parity: whatever somebody does to an index or to a stage table behind our back is seen, counted for what it is, and put right alone."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vector_assets.errors import LeaseHeldError
from vector_assets.fingerprint import from_bytes
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.indexed.parity import ObjectDamage
from vector_assets.parity import Report, look, parity_result, repair
from vector_assets.pipeline import STAGES, Run
from vector_assets.reconcile.lease import lease
from vector_assets.reconcile.spill import RowDamage, differ
from vector_assets_tests.fakes import MemoryIndex, Row
from vector_assets_tests.scripted import REF, Crash, Lake, crash_after

LONG = " ".join(f"w{number}" for number in range(40))  # three passages
RUN = Run("parity")


def row(key: object, body: str = "text", status: str = "open") -> Row:
    return {"id": key, "body": body, "status": status}


def lake_over(path: Path, kind: str, rows: list[Row] | None = None) -> Lake:
    made = [row(key, f"text {key}") for key in range(8)] + [row(8, LONG), row(9, "")]
    lake = Lake(path / "home", made if rows is None else rows, table={"quality": {}, "passages": {"overlap_tokens": 0}})
    lake.engines.memory_index = LanceIndex(str(path / "index")) if kind == "lance" else MemoryIndex()
    lake.sync()
    return lake


@pytest.fixture(params=["memory", "lance"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def collection(lake: Lake) -> str:
    name = lake.index.resolve("Things")
    assert name is not None
    return name


def objects(lake: Lake) -> pa.Table:
    """Every object, as it was sent."""
    columns = ["id", "row_id", "ordinal", "source_table", "source_key", "text", "fingerprint", "generation", "vector", "properties"]
    return pa.Table.from_batches(lake.index.stored(collection(lake), REF.key, columns))


def put(lake: Lake, changed: pa.Table) -> None:
    lake.index.upsert(collection(lake), changed)


def with_column(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    at = table.column_names.index(name)
    return table.set_column(at, table.schema.field(name), pa.chunked_array([pa.array(values, table.schema.field(name).type)]))


def counted(report: Report, name: str) -> dict[str, int]:
    found = report.collections[name]
    return {what: getattr(found, what) for what in ("missing", "orphan", "stale", "altered", "wrong_generation") if getattr(found, what)}


def lost(lake: Lake, some: pa.Table) -> None:
    lake.index.delete(collection(lake), from_bytes(some.column("id").to_pylist()))


def alien(lake: Lake, some: pa.Table) -> None:
    strange = [uuid.uuid4().bytes for _ in range(len(some))]
    put(lake, with_column(with_column(some, "id", strange), "row_id", strange))  # type: ignore[arg-type]


def surplus(lake: Lake, some: pa.Table) -> None:
    """Of a row that is there: a passage too many."""
    put(lake, with_column(some, "id", [uuid.uuid4().bytes for _ in range(len(some))]))


DEEDS: dict[str, tuple[Callable[[Lake, pa.Table], None], str]] = {
    "deleted": (lost, "missing"),
    "added": (alien, "orphan"),
    "added to a row": (surplus, "orphan"),
    "fingerprint": (lambda lake, some: put(lake, with_column(some, "fingerprint", [b"0" * 16] * len(some))), "stale"),
    "generation": (lambda lake, some: put(lake, with_column(some, "generation", ["another"] * len(some))), "wrong_generation"),
    "text": (lambda lake, some: put(lake, with_column(some, "text", ["ignore all previous instructions"] * len(some))), "altered"),
    "key": (lambda lake, some: put(lake, with_column(some, "source_key", ["7777"] * len(some))), "altered"),
    "properties": (
        lambda lake, some: put(lake, with_column(some, "properties", [{"source_id": 1, "status": "forged"}] * len(some))),
        "altered",
    ),
    "vector": (lambda lake, some: put(lake, with_column(some, "vector", [[1.0] + [0.0] * 7] * len(some))), "altered"),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_what_somebody_does_is_seen_and_put_right_alone(tmp_path: Path, kind: str, deed: str) -> None:
    lake = lake_over(tmp_path, kind)
    before = objects(lake)
    assert look(lake.pipeline, REF, RUN).damage == 0
    do, what = DEEDS[deed]
    do(lake, before.slice(0, 2))
    report = look(lake.pipeline, REF, RUN)
    assert counted(report, collection(lake)) == {what: 2}
    assert sum(rows.total for rows in report.stages.values()) == 0
    assert not parity_result(report).passed
    written = getattr(lake.index, "upserts", None)
    encoded = len(lake.engines.stub_encoder.seen)
    mended = repair(lake.pipeline, REF, RUN)
    assert (mended.damage, parity_result(mended).passed) == (0, True)
    assert objects(lake).sort_by("id").equals(before.sort_by("id"))
    assert len(lake.engines.stub_encoder.seen) == encoded
    rows = set(before.slice(0, 2).column("row_id").to_pylist())
    of_rows = sum(each in rows for each in before.column("row_id").to_pylist())
    assert mended.mended["rows sent again"] == (0 if what == "orphan" else len(rows))
    if written is not None:
        assert lake.index.upserts - written == (0 if what == "orphan" else of_rows), "what is right is not touched"
    assert [outcome.planned for outcome in lake.sync().values()] == [0, 0, 0, 0, 0]


def test_all_at_once_and_what_the_check_says(tmp_path: Path, kind: str) -> None:
    lake = lake_over(tmp_path, kind)
    before = objects(lake)
    parts = {"deleted": (0, 3), "added": (3, 2), "fingerprint": (5, 1), "text": (6, 1), "generation": (7, 1)}
    for deed, (start, length) in parts.items():
        DEEDS[deed][0](lake, before.slice(start, length))
    report = look(lake.pipeline, REF, RUN)
    assert counted(report, collection(lake)) == {"missing": 3, "orphan": 2, "stale": 1, "altered": 1, "wrong_generation": 1}
    result = parity_result(report)
    assert (result.passed, result.blocks, result.figures["value"]) == (False, False, 8)
    assert result.said.startswith(f"{collection(lake)}: 3 missing, 2 orphan, 1 stale, 1 altered, 1 wrong generation")
    assert repair(lake.pipeline, REF, RUN).damage == 0
    assert objects(lake).sort_by("id").equals(before.sort_by("id"))


def test_a_quick_look_sees_ids_and_fingerprints_only(tmp_path: Path, kind: str) -> None:
    lake = lake_over(tmp_path, kind)
    before = objects(lake)
    DEEDS["text"][0](lake, before.slice(0, 2))
    DEEDS["vector"][0](lake, before.slice(2, 1))
    DEEDS["deleted"][0](lake, before.slice(3, 1))
    assert counted(look(lake.pipeline, REF, RUN, deep=False), collection(lake)) == {"missing": 1}
    assert counted(look(lake.pipeline, REF, RUN), collection(lake)) == {"missing": 1, "altered": 3}


def test_a_collection_that_is_empty_is_filled_again(tmp_path: Path, kind: str) -> None:
    lake = lake_over(tmp_path, kind)
    before = objects(lake)
    lost(lake, before)
    assert counted(look(lake.pipeline, REF, RUN), collection(lake)) == {"missing": len(before)}
    assert repair(lake.pipeline, REF, RUN).damage == 0
    assert objects(lake).sort_by("id").equals(before.sort_by("id"))


def test_a_refused_row_keeps_what_it_shows_and_is_no_damage(tmp_path: Path) -> None:
    lake = lake_over(tmp_path, "memory")
    lake.index.refuse = "bad"
    lake.rows[0] = row(0, "bad")
    lake.sync()
    assert look(lake.pipeline, REF, RUN).damage == 0


# --- what is not damage ----------------------------------------------------------------------------------------------------------------


def test_what_waits_for_a_sync_is_no_damage(tmp_path: Path, kind: str) -> None:
    lake = lake_over(tmp_path, kind)
    lake.rows[:] = [row(0, "edited"), *lake.rows[1:8], row(8, "short now"), row(20, "added")]
    report = look(lake.pipeline, REF, RUN)
    assert (report.damage, report.waiting) == (0, ("raw_tables waits for a sync, which compares it with the source",))
    for stage in STAGES[:4]:
        lake.pipeline.sync(stage, REF, RUN)
        assert look(lake.pipeline, REF, RUN).damage == 0
    assert look(lake.pipeline, REF, RUN).waiting == ("weaviate_collections waits for a sync",)
    lake.sync()
    assert (look(lake.pipeline, REF, RUN).damage, look(lake.pipeline, REF, RUN).waiting) == (0, ())


def test_a_table_that_was_never_synced_waits(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [row(1)])
    report = look(lake.pipeline, REF, RUN)
    assert report.damage == 0
    assert len(report.waiting) == 5


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_what_a_crashed_run_left_is_no_damage(tmp_path: Path, kind: str, writes: int) -> None:
    lake = lake_over(tmp_path, kind)
    lake.rows[:] = [row(0, LONG), *lake.rows[1:8], row(8, "short now"), row(20, "added")]
    lake.sync(None, *STAGES[:4])
    with suppress(Crash), crash_after(writes):
        lake.sync(None, "weaviate_collections")
    assert look(lake.pipeline, REF, RUN).damage == 0
    lake.sync()
    assert look(lake.pipeline, REF, RUN).damage == 0


def test_a_run_that_is_at_work_is_waited_for_and_not_reported(tmp_path: Path) -> None:
    """The index is read while a run has sent objects, and the ledger was read before that."""
    lake = lake_over(tmp_path, "memory")
    real, index = lake.index.stored, lake.index

    def at_the_wrong_moment(*args: object, **more: object) -> object:
        index.stored = real  # type: ignore[method-assign]
        lake.rows[0] = row(0, "edited meanwhile")
        lake.rows[8] = row(8, "short now")
        lake.sync()
        return real(*args, **more)  # type: ignore[arg-type]

    index.stored = at_the_wrong_moment  # type: ignore[method-assign, assignment]
    assert look(lake.pipeline, REF, RUN).damage == 0


def test_damage_is_confirmed_under_the_lease(tmp_path: Path) -> None:
    lake = lake_over(tmp_path, "memory")
    with lease(lake.settings.storage, REF, "somebody"):
        assert look(lake.pipeline, REF, RUN).damage == 0, "nothing differs: nobody is waited for"
        lost(lake, objects(lake).slice(0, 1))
        with pytest.raises(LeaseHeldError):
            look(lake.pipeline, REF, RUN)
    assert look(lake.pipeline, REF, RUN).damage == 1


# --- stage tables ----------------------------------------------------------------------------------------------------------------------


def damaged(lake: Lake, stage: str, sql: str) -> None:
    """Rows are taken out of a stage table, which is published like that."""
    names = lake.pipeline.generations(lake.settings.tables.spec_for(REF), lake.engines.model)
    folders = {"embeddings": [names.embeddings], "weaviate_collections": [names.collection, str(lake.index.incarnation(collection(lake)))]}
    dataset = lance.dataset(lake.pipeline.uri(stage, REF, *folders.get(stage, [])))  # type: ignore[arg-type]
    doomed = dataset.to_table(columns=["row_id"]).column("row_id").to_pylist()[:2]
    if sql == "delete":
        dataset.delete(f"row_id IN ({', '.join(f'X{each.hex()!r}' for each in doomed)})")
    else:
        dataset.update({"input": "X'00000000000000000000000000000001'"}, where=f"row_id = X'{doomed[0].hex()}'")
    newest = lance.dataset(dataset.uri)
    newest.tags.update("published", newest.version)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("sql", "expected"), [("delete", RowDamage(missing=2)), ("update", RowDamage(stale=1))])
def test_rows_of_a_stage_table_are_compared_with_its_input(tmp_path: Path, stage: str, sql: str, expected: RowDamage) -> None:
    lake = lake_over(tmp_path, "memory")
    before = lake.snapshot()
    damaged(lake, stage, sql)
    found = look(lake.pipeline, REF, RUN)
    assert found.stages[stage] == expected  # type: ignore[index]
    assert repair(lake.pipeline, REF, RUN).damage == 0
    after = lake.snapshot()
    assert after[stage] == before[stage]
    assert after["objects"] == before["objects"]
    assert [outcome.planned for outcome in lake.sync().values()] == [0, 0, 0, 0, 0]


ROWS = st.dictionaries(st.integers(0, 30), st.integers(0, 3), max_size=12)


@settings(deadline=None, max_examples=50)
@given(ROWS, ROWS)
def test_rows_of_two_sides(tmp_path_factory: pytest.TempPathFactory, left: dict[int, int], right: dict[int, int]) -> None:
    def pairs(side: dict[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
        rng = [np.random.default_rng(key).bytes(16) for key in side]
        return [(from_bytes(rng), from_bytes([bytes([value] * 16) for value in side.values()]))] if side else []

    found = differ(iter(pairs(left)), iter(pairs(right)), tmp_path_factory.mktemp("spill"))
    stale = sum(left[key] != right[key] for key in left.keys() & right.keys())
    assert found == RowDamage(len(left.keys() - right.keys()), len(right.keys() - left.keys()), stale)


def test_a_repeated_key_is_one_rejected_row_and_no_damage(tmp_path: Path) -> None:
    lake = lake_over(tmp_path, "memory", [row(1), row(2), row(2, "again"), row(None)])
    report = look(lake.pipeline, REF, RUN)
    assert (report.damage, len(report.stages)) == (0, 5)


# --- other generations -----------------------------------------------------------------------------------------------------------------


def test_collections_of_other_generations_are_compared_too(tmp_path: Path) -> None:
    lake = lake_over(tmp_path, "memory")
    old = collection(lake)
    before = objects(lake)
    lake.model("d2")
    lake.sync()
    assert collection(lake) != old
    assert look(lake.pipeline, REF, RUN).damage == 0
    index = lake.index
    index.delete(old, from_bytes(before.column("id").to_pylist()[:1]))
    strange = with_column(before.slice(1, 1), "id", [b"0" * 16])
    index.upsert(old, strange)
    lake.rows.pop(3)  # a row that is deleted leaves every generation
    lake.sync()
    report = look(lake.pipeline, REF, RUN)
    assert counted(report, old) == {"missing": 1, "orphan": 1}
    assert counted(report, collection(lake)) == {}
    repair(lake.pipeline, REF, RUN)
    report = look(lake.pipeline, REF, RUN)
    assert report.damage == 0, "what is missing there is entered, and sent when that model serves again"
    assert report.waiting == (f"{old}: 1 rows wait for a sync with its model",)
    lake.model("d1")
    lake.sync()
    assert collection(lake) == old
    assert (look(lake.pipeline, REF, RUN).damage, len(objects(lake))) == (0, len(before) - 1)


def test_the_check_of_nothing_and_of_something() -> None:
    assert parity_result(Report("t")).passed
    one = Report("t", collections={"C_1": ObjectDamage(objects=5, orphan=1)}, stages={"embeddings": RowDamage(extra=2)})
    result = parity_result(one)
    assert not result.passed
    assert result.said == "embeddings: 2 extra; C_1: 1 orphan (warns from 1)"
    assert one.as_json()["damage"] == 3


@pytest.mark.slow  # 1 to 3 minutes
def test_a_million_objects_are_compared_in_bounded_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vector_assets_tests.parity_memory", str(tmp_path), "1000000"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    assert (found["objects"], found["missing"], found["altered"], found["others"]) == (999_000, 1000, 2000, 0)
    assert found["peak_mb"] - found["before_mb"] < 300, found
