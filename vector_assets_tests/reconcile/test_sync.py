"""The loop: what it deletes and when it refuses to, what it publishes when something fails, and who may write."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from vector_assets.checks.judge import Bounds, Thresholds
from vector_assets.errors import (
    AuditError,
    DeleteBrakeError,
    InputPurgedError,
    LeaseHeldError,
    LeaseLostError,
    SourceError,
    SourceUnavailable,
)
from vector_assets.models.registry import ModelVersion
from vector_assets.pipeline import STAGES, Context, Pipeline, Run, StageName
from vector_assets.reconcile.audit import Audit, Candidate, audited
from vector_assets.reconcile.run import Approval, Brake, Limits, Outcome, Progress, look_at
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.view import State
from vector_assets.redacted.stage import RedactedStage
from vector_assets.redaction import RedactionPolicy
from vector_assets.tables import TableRef, TableSpec
from vector_assets_tests.fakes import MemoryRead, MemorySource, Row
from vector_assets_tests.scripted import REF, SCHEMA, Crash, Lake, crash_after, sources


def row(key: object, body: str = "text", status: str = "open") -> Row:
    return {"id": key, "body": body, "status": status}


def texts(lake: Lake) -> dict[object, object]:
    """Texts that a search can find, by the row's key."""
    name = lake.index.resolve("Things")
    objects = lake.index.made[name].objects.values() if name else []
    return {row["properties"]["source_id"]: row["text"] for row in objects}  # type: ignore[index, call-overload]


def from_scratch(lake: Lake, home: Path) -> dict[str, object]:
    fresh = Lake(home, list(lake.rows))
    object.__setattr__(fresh.settings, "tables", lake.settings.tables)
    fresh.source.schema = lake.source.schema
    fresh.engines.stub_redactor.version = lake.engines.stub_redactor.version
    fresh.engines.model = lake.engines.model
    fresh.sync()
    return fresh.snapshot()


# --- deletes ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deletes", "published", "stops"),
    [
        (0, 0, False),
        (0, 1, False),
        (1, 1, True),  # all of it, however small
        (99, 100, False),
        (100, 100, True),
        (30, 101, False),
        (31, 101, True),
        (300, 1000, False),
        (301, 1000, True),
    ],
)
def test_the_brake(deletes: int, published: int, stops: bool) -> None:
    brake = Brake()
    if stops:
        with pytest.raises(DeleteBrakeError, match=rf"delete {deletes:,} of {published:,}.*--approve-deletes v7:{deletes}$"):
            brake.check("raw_tables", "uri", "v7", deletes, published)
    else:
        brake.check("raw_tables", "uri", "v7", deletes, published)


@pytest.mark.parametrize(
    ("approval", "covers"),
    [(Approval("v7", 50), True), (Approval("v7", 51), True), (Approval("v7", 49), False), (Approval("v6", 50), False), (None, False)],
)
def test_an_approval_covers_one_version_and_one_count(approval: Approval | None, covers: bool) -> None:
    brake = Brake(approval=approval)
    if covers:
        brake.check("raw_tables", "uri", "v7", 50, 101)
    else:
        with pytest.raises(DeleteBrakeError):
            brake.check("raw_tables", "uri", "v7", 50, 101)


@pytest.mark.parametrize(("hours", "covers"), [(0, True), (23.9, True), (24.1, False), (-0.1, False)])
def test_an_approval_of_a_look_covers_the_looks_of_a_day(hours: float, covers: bool) -> None:
    """A table without versions is never seen at the one that was approved."""
    approval = Approval(look_at(1_800_000_000), 50)
    later = look_at(1_800_000_000 + 3600 * hours)
    assert approval.covers(later, 50) == covers
    assert not approval.covers(later, 51)
    assert not approval.covers("v7", 50)
    assert not Approval("v7", 50).covers(later, 50)


def braking(home: Path, count: int) -> Lake:
    rows = [row(key, f"text {key}") for key in range(count)]
    return Lake(home, rows, batch_rows=200, commit_rows=1000, delete_share=0.3, delete_rows=100)


def versions(lake: Lake) -> list[int]:
    views = [lake.pipeline.published(stage, REF) for stage in STAGES[:3]]
    return [view.version for view in views if view is not None]


def test_a_table_that_shrinks_too_much_stops_until_it_is_approved(tmp_path: Path) -> None:
    lake, run = braking(tmp_path, 200), Run("test")
    lake.source.batch_rows = 200
    lake.sync(run)
    before, known = lake.snapshot(), versions(lake)
    del lake.rows[:61]
    lake.rows[0] = row(61, "changed with them")
    with pytest.raises(DeleteBrakeError, match="61 of 200") as caught:
        lake.sync(run)
    assert (lake.snapshot(), versions(lake)) == (before, known), "nothing was changed"
    token, _, count = str(caught.value).rsplit(" ", 1)[1].rpartition(":")
    with pytest.raises(DeleteBrakeError):
        lake.sync(Run("test", approval=Approval("another version", int(count))))
    lake.sync(Run("test", approval=Approval(token, int(count))))
    assert set(texts(lake)) == set(range(61, 200))
    del lake.rows[:50]
    with pytest.raises(DeleteBrakeError):
        lake.sync(Run("test", approval=Approval(token, 10**6)))  # an approval of another day


def test_an_emptied_table_stops(tmp_path: Path) -> None:
    lake = braking(tmp_path, 2)
    lake.sync(Run("test"))
    lake.rows.clear()
    with pytest.raises(DeleteBrakeError, match="2 of 2"):
        lake.sync(Run("test"))
    assert len(texts(lake)) == 2


class Audited(Pipeline):
    """A pipeline whose checks refuse the stages in `refused`, by a threshold that everything reaches."""

    refused: Sequence[str] = ()
    _refusing = False

    def sync(self, stage: StageName, ref: TableRef, run: Run, model: ModelVersion | None = None) -> Outcome:
        self._refusing = stage in self.refused
        return super().sync(stage, ref, run, model)

    @contextmanager
    def _context(self, ref: TableRef, spec: TableSpec, run: Run, *, computes: bool) -> Iterator[Context]:
        with super()._context(ref, spec, run, computes=computes) as context:
            refusal = Thresholds({"rejected_rows": Bounds(None, 0.0)})
            yield replace(context, limits=replace(context.limits, thresholds=refusal)) if self._refusing else context


@pytest.mark.parametrize("stage", STAGES)
def test_deletes_are_published_even_where_a_check_refuses_the_rest(tmp_path: Path, stage: StageName) -> None:
    lake = Lake(tmp_path / "a", [row(1), row(2), row(3, "secret before")])
    lake.pipeline = Audited(lake.settings, lake.engines)
    lake.sync()
    lake.rows[:] = [row(1), row(3, "secret after"), row(4, "secret new")]
    lake.pipeline.refused = [stage]
    with pytest.raises(AuditError):
        lake.sync()
    rows = lake.snapshot()[stage]
    assert len(rows) == 2, "row 2 is gone, row 4 has to wait"  # type: ignore[arg-type]
    for later in STAGES[STAGES.index(stage) :]:
        lake.pipeline.refused = [stage]
        with suppress(AuditError):
            lake.sync(None, later)
    assert texts(lake) == {1: "text", 3: "<1> after" if stage == "weaviate_collections" else "<1> before"} | (
        {4: "<1> new"} if stage == "weaviate_collections" else {}
    ), "what is sent to the index is seen at once; its checks repair"
    redacted = len(lake.engines.stub_redactor.seen)
    lake.pipeline.refused = []
    lake.sync()
    assert lake.snapshot() == from_scratch(lake, tmp_path / "b")
    if stage in ("redacted_text", "embeddings", "weaviate_collections"):
        assert len(lake.engines.stub_redactor.seen) == redacted, "what was refused is not computed again"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("writes", [2, 3])
def test_a_deleted_row_that_comes_back_is_not_forgotten(tmp_path: Path, stage: StageName, writes: int) -> None:
    """A version that deletes were published of does not stand for its input any more, not even when that input comes back."""
    lake = Lake(tmp_path, [row(1), row(2)])
    lake.sync()
    del lake.rows[0]
    lake.sync(None, *STAGES[: STAGES.index(stage)])
    with suppress(Crash), crash_after(writes):
        lake.sync(None, stage)
    lake.rows.append(row(1))
    lake.sync()
    assert set(texts(lake)) == {1, 2}


def test_a_row_that_comes_back_while_another_model_serves_is_in_both(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [row(1), row(2)])
    lake.sync()
    lake.model("d2")
    lake.sync()
    del lake.rows[0]
    lake.sync()
    assert all(len(collection.objects) == 1 for collection in lake.index.made.values()), "deletes reach every generation"
    lake.rows.append(row(1))
    lake.sync()
    lake.model("d1")
    lake.sync()
    assert set(texts(lake)) == {1, 2}


# --- sources that are not to be trusted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "number"), [("digests", 0), ("digests", 1), ("fetch", 0), ("fetch", 1)])
def test_a_source_that_dies_half_way_loses_nothing(tmp_path: Path, kind: str, number: int) -> None:
    lake = Lake(tmp_path / "a", [row(key) for key in range(8)])
    lake.sync()
    before = lake.snapshot()
    lake.rows[:] = [row(key, "changed") for key in range(2, 10)]

    def die(what: str, batch: int) -> None:
        if (what, batch) == (kind, number):
            raise SourceUnavailable("the source went away")

    lake.source.on_read = die
    with pytest.raises(SourceUnavailable):
        lake.sync()
    kept = {row["row_id"]: row for row in lake.snapshot()["raw_tables"]}  # type: ignore[attr-defined]
    if kind == "digests":
        assert lake.snapshot() == before
    else:  # the scan was whole: confirmed deletes are published, nothing else
        published = {row["row_id"]: row for row in before["raw_tables"]}  # type: ignore[attr-defined]
        assert len(kept) == 6
        assert all(published[key] == value for key, value in kept.items())
    lake.source.on_read = lambda *_: None
    lake.sync()
    assert lake.snapshot() == from_scratch(lake, tmp_path / "b")


class Forgetful(MemorySource):
    """Its scans miss a row now and then, though they end cleanly."""

    missed: object = None

    @contextmanager
    def open(self, table: TableRef, columns: Sequence[str], key: Sequence[str]) -> Iterator[MemoryRead]:
        with super().open(table, columns, key) as read:
            scanned = replace(read, content=[row for row in read.content if row["id"] != self.missed])
            read.digests = scanned.digests  # type: ignore[method-assign]
            yield read


def test_a_row_that_a_scan_missed_is_not_deleted(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    source = Forgetful(SCHEMA, {REF: [row(key) for key in range(5)]})
    lake.source = lake.engines.memory = source
    lake.sync()
    source.missed = 3
    lake.rows[0] = row(0, "changed")
    lake.rows.pop()
    outcome = lake.sync()
    assert outcome["raw_tables"].deleted == 1
    assert set(texts(lake)) == {0, 1, 2, 3}
    source.missed = None
    lake.rows[1] = row(1, "changed")
    assert lake.sync()["raw_tables"].planned == 1
    assert set(texts(lake)) == {0, 1, 2, 3}


def test_a_dropped_column_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "a", [row(1), row(2)])
    lake.sync()
    before = lake.snapshot()
    lake.source.schema = pa.schema([field for field in SCHEMA if field.name != "status"])
    lake.rows[:] = [{key: value for key, value in row.items() if key != "status"} for row in lake.rows]
    with pytest.raises(SourceError, match="no column 'status'"):
        lake.sync()
    assert lake.snapshot() == before
    object.__setattr__(lake.settings, "tables", sources(properties={"id": "keep"}))
    lake.sync()
    assert lake.snapshot() == from_scratch(lake, tmp_path / "b")


def test_a_widened_column_is_nothing_to_do_behind_the_first_stage(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [row(1), row(2, "other")])
    lake.source.schema = SCHEMA.set(0, pa.field("id", pa.int16()))
    lake.sync()
    lake.source.schema = SCHEMA
    lake.rows.append(row(3, "third"))
    outcome = lake.sync()
    assert [made.planned for made in outcome.values()] == [1] * 5
    assert lake.engines.stub_redactor.seen == lake.engines.stub_encoder.seen == ["text", "other", "third"]
    assert set(texts(lake)) == {1, 2, 3}


@pytest.mark.parametrize("private", ["purge", "keep"])
@pytest.mark.parametrize(
    ("column", "kind", "values"),
    [("status", pa.int32(), [7, 8]), ("id", pa.string(), ["1", "2"]), ("body", pa.list_(pa.string()), [["a"], ["b"]])],
)
def test_a_retyped_column_converges(tmp_path: Path, column: str, kind: pa.DataType, values: list[object], private: str) -> None:
    lake = Lake(tmp_path / "a", [row(1), row(2)], table={"private": private, "quality": {}})
    lake.sync()
    lake.source.schema = SCHEMA.set(SCHEMA.get_field_index(column), pa.field(column, kind))
    lake.rows[:] = [{**old, column: value} for old, value in zip(lake.rows, values, strict=True)]
    lake.sync()
    assert lake.snapshot() == from_scratch(lake, tmp_path / "b")


def test_a_narrowed_column_keeps_values_of_rows_that_did_not_change(tmp_path: Path) -> None:
    table = {"private": "keep", "properties": {"id": "keep", "n": "keep"}}
    lake = Lake(tmp_path / "a", [{**row(1), "n": 5}, {**row(2), "n": 2**40}], table=table, batch_rows=100)
    lake.source.schema = SCHEMA.append(pa.field("n", pa.int64()))
    lake.sync()
    lake.source.schema = SCHEMA.append(pa.field("n", pa.int32()))
    lake.rows[1] = {**row(2), "n": 7}
    lake.sync()
    assert lake.snapshot()["raw_tables"] == from_scratch(lake, tmp_path / "b")["raw_tables"]


def test_other_key_columns_are_other_rows(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "a", [row(1), row(2)])
    lake.sync()
    object.__setattr__(lake.settings, "tables", sources(key=["id", "status"]))
    lake.sync()
    assert lake.snapshot() == from_scratch(lake, tmp_path / "b")
    assert len(texts(lake)) == 2


# --- going on ----------------------------------------------------------------------------------------------------------------------------


def test_an_edit_stops_where_it_makes_no_difference(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [row(1, "a  text"), row(2)])
    lake.sync()
    lake.rows[0] = row(1, "a text  ")
    outcome = lake.sync()
    assert [made.planned for made in outcome.values()] == [1, 1, 0, 0, 0]
    assert (outcome["cleaned_frames"].changed, outcome["cleaned_frames"].unchanged) == (0, 2)


def test_counts_are_those_that_the_next_stage_sees(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [row(1), row(2), row(3), row(None)], table={"on_reject": "keep_last"})
    seen: list[Progress] = []
    first = lake.sync(Run("test", progress=seen.append))["raw_tables"]
    assert (first.planned, first.added, first.rejected) == (4, 3, 1)
    assert (seen[0].stage, seen[0].total) == ("raw_tables", 4)
    assert [step.done for step in seen if step.stage == "raw_tables"][-1] == 4
    lake.rows[:] = [row(1), row(2, "changed"), row(4)]
    second = lake.sync()
    for stage in STAGES:
        counts = second[stage]
        assert (counts.added, counts.changed, counts.deleted - (stage == "raw_tables"), counts.unchanged) == (1, 1, 1, 1), stage
        assert counts.state.data_version
    third = lake.sync()
    assert [(made.planned, made.unchanged, made.rejected) for made in third.values()] == [(0, 3, 0)] * 5


def test_an_update_of_a_row_that_dead_work_had_made_is_not_lost(tmp_path: Path) -> None:
    """Going back to the published version needs rows that the newest one has, whose keys the scan did not keep."""
    lake = Lake(tmp_path, [row(1), row(2), row(3)])
    lake.sync()
    lake.rows[:] = [row(key, "new") for key in (1, 2, 3)]
    with suppress(Crash), crash_after(2):
        lake.sync(None, "raw_tables")
    lake.rows[:2] = [row(1), row(2)]
    lake.sync()
    assert texts(lake) == {1: "text", 2: "text", 3: "new"}


def test_storage_wiped_below_private_tables_is_filled_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "a", [])
    for key in range(3):  # epochs of leases, which are wiped too, have grown
        lake.rows.append(row(key))
        lake.sync()
    shutil.rmtree(lake.settings.storage)
    lake.rows.append(row(99))
    with pytest.raises(InputPurgedError, match="sync it once more"):
        lake.sync()
    lake.sync()
    assert set(texts(lake)) == {0, 1, 2, 99}


@pytest.mark.parametrize("spoil", ["the text", "the key"])
def test_a_row_that_is_good_again_is_found_again(tmp_path: Path, spoil: str) -> None:
    """Its last good values were purged, and the policy changed meanwhile: the same text as before must be redacted anew."""
    lake = Lake(tmp_path, [row(1, "a secret"), row(2)], table={"on_reject": "keep_last"})
    lake.sync()
    bad = [row(1, "x" * 50), row(2)] if spoil == "the text" else [row(1, "a secret"), row(1, "other"), row(2)]
    lake.rows[:] = bad
    outcome = lake.sync()
    assert texts(lake) == {1: "a <1>", 2: "text"}
    assert outcome["cleaned_frames" if spoil == "the text" else "raw_tables"].state.stale == 1
    lake.engines.stub_redactor.version = "2"
    assert lake.sync()["redacted_text"].rejected == 1
    assert texts(lake) == {2: "text"}, "nothing is shown that today's policy never saw"
    assert [made.planned for made in lake.sync().values()] == [0] * 5
    lake.rows[:] = [row(1, "a secret"), row(2)]
    lake.sync()
    assert texts(lake) == {1: "a <2>", 2: "text"}


def test_a_table_without_properties(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "a", [row(1, "one"), row(2, "x" * 50), row(3, "three")], table={"properties": {"id": "drop"}})
    lake.sync()
    lake.rows[0] = row(1, "other")
    lake.sync()
    name = lake.index.resolve("Things")
    assert name is not None
    assert {made["text"] for made in lake.index.made[name].objects.values()} == {"other", "three"}
    assert lake.snapshot() == from_scratch(lake, tmp_path / "b")


def test_properties_that_are_declared_while_a_table_is_empty(tmp_path: Path) -> None:
    """No row says that the schema is another one; the stages behind have to see it nevertheless."""
    lake = Lake(tmp_path / "a", [row(1)])
    lake.sync()
    lake.rows.clear()
    lake.sync()
    for properties in ({"id": "drop"}, {"id": "keep", "status": "redact"}):
        object.__setattr__(lake.settings, "tables", sources(properties=properties))
        lake.sync()
        assert [made.planned for made in lake.sync().values()] == [0] * 5
    lake.rows.append(row(1, status="a secret"))
    lake.sync()
    assert lake.snapshot() == from_scratch(lake, tmp_path / "b")


@pytest.mark.parametrize("stage", STAGES)
def test_deletes_reach_the_index_though_no_run_comes_further_than_the_block(tmp_path: Path, stage: StageName) -> None:
    lake = Lake(tmp_path, [row(1), row(2), row(3)])
    lake.pipeline = Audited(lake.settings, lake.engines)
    lake.sync()
    lake.model("d2")
    lake.sync()
    lake.rows[:] = [row(1), row(3, "changed")]
    lake.pipeline.refused = [stage]
    with pytest.raises(AuditError):
        lake.sync()  # ends with the stage that is refused, as a run of Dagster does
    for collection in lake.index.made.values():
        assert {each["properties"]["source_id"] for each in collection.objects.values()} == {1, 3}  # type: ignore[index, call-overload]
    for made in ("redacted_text", "embeddings"):
        for path in (tmp_path / "stages" / made).rglob("t.lance"):
            assert StageTable(str(path), pa.schema([])).published().count() == 2  # type: ignore[union-attr]
    lake.pipeline.refused = []
    lake.sync()
    assert texts(lake) == {1: "text", 3: "changed"}


def test_where_the_brake_stops_later_stages_deletes_wait_for_a_run_that_comes_there(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [row(n) for n in range(10)], delete_share=0.3, delete_rows=5)
    lake.pipeline = Audited(lake.settings, lake.engines)
    lake.sync()
    lake.rows[:] = lake.rows[:2]
    lake.pipeline.refused = ["raw_tables"]
    with pytest.raises(AuditError):
        lake.sync()  # approved, so they go
    assert len(texts(lake)) == 2
    lake.rows[:] = lake.rows[:0]
    with pytest.raises(DeleteBrakeError):
        lake.sync(Run("test"))
    assert len(texts(lake)) == 2


def test_a_state_that_contradicts_itself_is_not_published(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [row(1)])
    lake.sync()
    table = StageTable(lake.pipeline.uri("redacted_text", REF), pa.schema([]))
    table.now()._dataset.update({"state": "'rejected'"})
    stage = RedactedStage(
        REF,
        sources().tables[0],
        pa.struct(SCHEMA),
        redactor=lake.engines.stub_redactor,
        policy=RedactionPolicy(),
        secret=bytes,
        recall=lambda _: Audit(),
    )
    with pytest.raises(AuditError, match="1 rows whose state contradicts"):
        audited(stage, Candidate(table.now(), None), State(), Limits())


# --- who may write ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def at_work(lake: Lake) -> Iterator[threading.Event]:
    """Another run in the middle of raw_tables, until the event is set; its error, if it had one, is raised at the end."""
    inside, go_on = threading.Event(), threading.Event()

    def stop(kind: str, number: int) -> None:
        inside.set()
        assert go_on.wait(60)

    lake.source.on_read = stop
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lake.sync, Run("first", wait_seconds=60))
        assert inside.wait(60)
        try:
            yield go_on
        finally:
            go_on.set()
            first.result(120)


def test_a_second_sync_says_who_is_at_work(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [row(1), row(2)])
    with at_work(lake), pytest.raises(LeaseHeldError, match=r"lake\.s\.t is being written by run first"):
        lake.sync(Run("second"))
    assert set(texts(lake)) == {1, 2}


def test_a_second_sync_may_wait(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "a", [row(1), row(2)])
    lake.sync()
    lake.rows[:] = [row(1, "changed"), row(3)]
    with at_work(lake) as go_on:
        lake.rows[:] = [row(1, "changed again"), row(4)]
        threading.Timer(0.2, go_on.set).start()
        lake.sync(Run("second", wait_seconds=60))  # takes turns with the first one, stage by stage
    lake.sync()
    assert lake.snapshot() == from_scratch(lake, tmp_path / "b")


class Overtaken(Pipeline):
    """A pipeline that is told so many times that it may write, and then that it has lost."""

    left = 10**9

    @contextmanager
    def _context(self, ref: TableRef, spec: object, run: Run, *, computes: bool) -> Iterator[Context]:
        def ensure() -> None:
            self.left -= 1
            if self.left <= 0:
                raise LeaseLostError("another run took over")

        with super()._context(ref, spec, run, computes=computes) as context:  # type: ignore[arg-type]
            yield replace(context, limits=replace(context.limits, ensure=ensure))


@pytest.mark.parametrize("calls", [1, 2, 4])
def test_who_loses_the_lease_publishes_no_upserts(tmp_path: Path, calls: int) -> None:
    lake = Lake(tmp_path / "a", [row(1), row(2), row(3), row(4)])
    lake.sync()
    lake.rows[:] = [row(key, "changed") for key in (2, 3, 4, 5)]
    before = lake.snapshot()
    mine, lake.pipeline = lake.pipeline, Overtaken(lake.settings, lake.engines)
    lake.pipeline.left = calls
    with pytest.raises(LeaseLostError):
        lake.sync(None, "raw_tables")
    lake.pipeline = mine
    old = {made["row_id"]: made for made in before["raw_tables"]}  # type: ignore[attr-defined]
    assert all(old[made["row_id"]] == made for made in lake.snapshot()["raw_tables"])  # type: ignore[attr-defined]
    lake.sync()
    assert lake.snapshot() == from_scratch(lake, tmp_path / "b")


def test_a_run_that_was_taken_for_dead_does_not_publish_over_its_successor(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "a", [row(1), row(2), row(3)])
    lake.sync()
    lake.rows[0] = row(1, "first")
    other = Pipeline(lake.settings, lake.engines)

    def take_over(kind: str, number: int) -> None:
        lake.source.on_read = lambda *_: None
        folder = Path(lake.settings.storage, "leases", REF.path)
        path = max(path for path in folder.glob("*.json") if path.stem.isdigit())
        path.write_text(json.dumps(json.loads(path.read_text()) | {"heartbeat": time.time() - 100}))
        lake.rows[0] = row(1, "second")
        other.sync("raw_tables", REF, Run("second"))

    lake.source.on_read = take_over
    with pytest.raises(LeaseLostError, match="a later run has published already"):
        lake.sync(Run("first"))
    view = lake.pipeline.published("raw_tables", REF)
    assert view is not None
    assert view.state.source_version == lake.source.version(REF).token
    lake.sync()
    assert lake.snapshot() == from_scratch(lake, tmp_path / "b")
