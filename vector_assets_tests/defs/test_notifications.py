"""The sensor on real runs of a lake of stand-ins, in a real instance, posting to a receiver at a port of this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from vector_assets.defs import notifications
from vector_assets.defs.assets import ASSETS
from vector_assets.defs.build import build_defs
from vector_assets.defs.freshness import record
from vector_assets.defs.notifications import notifications_sensor
from vector_assets.defs.resources import Platform
from vector_assets.defs.run_tags import ACCEPT, APPROVE_DELETES
from vector_assets.errors import SourceError
from vector_assets.reconcile.lease import lease
from vector_assets.tables import Sources, TableRef
from vector_assets_tests.defs.conftest import Materialize, failure
from vector_assets_tests.notify.receiver import LocalReceiver
from vector_assets_tests.scripted import REF, Lake

BAD = "far too long for its rule " * 9
UI = "https://dagster.example"


class Watch:
    """The sensor, from tick to tick."""

    def __init__(self, lake: Lake, instance: dg.DagsterInstance, receiver: LocalReceiver) -> None:
        self.lake, self.instance, self.receiver = lake, instance, receiver
        self.cursor: str | None = None
        self.later = 0.0
        self.settings = lake.settings.model_copy(update={"webhook_url": SecretStr(receiver.url), "ui_url": UI})

    def tick(self, *, saved: bool = True, seconds: float = 30) -> str:
        """What the sensor says. `saved` False: Dagster dies before it saves the cursor."""
        self.later += seconds
        sensor = notifications_sensor(self.settings, now=lambda: time.time() + self.later)
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            answer = sensor(context)
        assert isinstance(answer, dg.SensorResult)
        assert not answer.run_requests
        if saved:
            self.cursor = answer.cursor
        return str(answer.skip_reason.skip_message) if answer.skip_reason else ""

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(body["cause"], body["status"]) for body in self.receiver.taken]

    def freshness(self, *, passed: bool, table: str = REF.key) -> None:
        """As a catalog's sensor evaluates it."""
        evaluation = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("weaviate_collections"),
            check_name="freshness",
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            description="a version that is not searched was first seen 25.0 h ago",
            partition=table,
        )
        record(self.instance, "the-last-run", evaluation)


@pytest.fixture
def receiver() -> Iterator[LocalReceiver]:
    with LocalReceiver().running() as running:
        yield running


@pytest.fixture
def watch(lake: Lake, instance: dg.DagsterInstance, receiver: LocalReceiver) -> Watch:
    return Watch(lake, instance, receiver)


def only(receiver: LocalReceiver) -> dict[str, Any]:
    (body,) = receiver.taken
    return dict(body)


def checked(lake: Lake) -> None:
    """From here on, rejected rows block."""
    spec = lake.settings.tables.tables[0].model_dump(exclude_none=True) | {"checks": {"rejected_rows": {"block": 0.5}}}
    tables = Sources.model_validate({"catalogs": {"lake": {"engine": "duckdb", "path": "x"}}, "tables": [spec]})
    object.__setattr__(lake.settings, "tables", tables)


def spoil(lake: Lake) -> None:
    lake.source.data[REF][:] = [{**row, "body": BAD} for row in lake.rows]


# --- causes ------------------------------------------------------------------------------------------------------------------------------


def test_a_blocked_check_is_told_once_with_reason_link_and_remedy_and_its_end(watch: Watch, lake: Lake, materialize: Materialize) -> None:
    checked(lake)
    materialize()
    assert "0 causes are open" in watch.tick()
    good = [dict(row) for row in lake.rows]
    spoil(lake)
    run = materialize()
    watch.tick()
    told = only(watch.receiver)
    assert (told["cause"], told["status"], told["table"], told["stage"]) == ("blocked_check", "begun", REF.key, "cleaned_frames")
    assert "rejected_rows" in told["reason"]
    assert ACCEPT in told["remedy"]
    assert (told["run_id"], told["url"]) == (run.run_id, f"{UI}/runs/{run.run_id}")
    assert "far too long" not in json.dumps(told)
    materialize()  # blocked again: told already
    watch.tick()
    assert len(watch.receiver.taken) == 1
    lake.source.data[REF][:] = good
    materialize()
    watch.tick()
    over = watch.receiver.taken[-1]
    assert (over["cause"], over["status"], over["incident"]) == ("blocked_check", "over", told["incident"])
    watch.tick()
    assert len(watch.receiver.taken) == 2


def test_the_delete_brake_is_told_and_an_approval_ends_it(watch: Watch, lake: Lake, materialize: Materialize) -> None:
    materialize()
    watch.tick()
    del lake.rows[1:]
    asked = failure(materialize()).rpartition("--approve-deletes ")[2]
    watch.tick()
    told = only(watch.receiver)
    assert (told["cause"], told["stage"]) == ("delete_brake", "raw_tables")
    assert APPROVE_DELETES in told["remedy"]
    assert asked in told["reason"]
    materialize(tags={APPROVE_DELETES: asked})
    watch.tick()
    assert watch.told == [("delete_brake", "begun"), ("delete_brake", "over")]


def fail_with(lake: Lake, error: Exception | None) -> None:
    def on_read(_kind: str, _number: int) -> None:
        if error is not None:
            raise error

    lake.source.on_read = on_read


def test_a_failed_run_is_over_when_its_stage_succeeds_and_not_before(watch: Watch, lake: Lake, materialize: Materialize) -> None:
    lake.engines.stub_encoder.dimension = 3  # no such vector fits: embeddings fails
    materialize()
    watch.tick()
    told = only(watch.receiver)
    assert (told["cause"], told["stage"]) == ("failed_run", "embeddings")
    materialize("raw_tables", "cleaned_frames")  # a run that does not cover it
    watch.tick()
    assert watch.told == [("failed_run", "begun")]
    lake.engines.stub_encoder.dimension = 8
    materialize("embeddings", "weaviate_collections")
    watch.tick()
    assert watch.told == [("failed_run", "begun"), ("failed_run", "over")]


def test_what_a_later_failure_got_past_is_over(watch: Watch, lake: Lake, materialize: Materialize) -> None:
    fail_with(lake, SourceError("no column 'x'"))
    materialize()
    watch.tick()
    fail_with(lake, None)
    checked(lake)
    spoil(lake)
    materialize()  # raw_tables is well again, and now a check blocks the next stage
    watch.tick()
    assert watch.told[0] == ("failed_run", "begun")
    assert sorted(watch.told[1:]) == [("blocked_check", "begun"), ("failed_run", "over")]


def test_a_bug_is_told_without_its_words(watch: Watch, lake: Lake, materialize: Materialize) -> None:
    fail_with(lake, ZeroDivisionError("while reading 'secret body 3'"))
    materialize()
    watch.tick()
    told = only(watch.receiver)
    assert told["cause"] == "failed_run"
    assert "ZeroDivisionError" in told["reason"]
    assert "secret body" not in json.dumps(told)


def test_a_process_that_died_is_told(watch: Watch, instance: dg.DagsterInstance, lake: Lake, materialize: Materialize) -> None:
    run = instance.create_run_for_job(
        build_defs(lake.settings, resources={"platform": Platform(lake.pipeline)}).resolve_job_def("sync_tables"),
        tags={"dagster/partition": REF.key},
    )
    instance.report_run_failed(run)
    watch.tick()
    assert "its process was killed" in only(watch.receiver)["reason"]
    materialize("cleaned_frames")  # fails, and says so; the other one is open still
    materialize()
    watch.tick()
    assert watch.told == [("failed_run", "begun"), ("failed_run", "over")]


def test_a_run_of_a_backfill_is_told_too(watch: Watch, instance: dg.DagsterInstance, lake: Lake) -> None:
    """Its partition is a range of one in its tags."""
    fail_with(lake, SourceError("no column 'x'"))
    tags = {f"dagster/asset_partition_range_{end}": REF.key for end in ("start", "end")}
    resources = {"platform": Platform(lake.pipeline)}
    assert not dg.materialize(ASSETS, instance=instance, tags=tags, resources=resources, raise_on_error=False).success
    watch.tick()
    assert (only(watch.receiver)["table"], only(watch.receiver)["stage"]) == (REF.key, "raw_tables")
    fail_with(lake, None)
    assert dg.materialize(ASSETS, instance=instance, tags=tags, resources=resources).success
    watch.tick()
    assert watch.told == [("failed_run", "begun"), ("failed_run", "over")]


def test_a_lease_that_another_run_holds_is_nobodys_fault(watch: Watch, lake: Lake, materialize: Materialize) -> None:
    with lease(lake.settings.storage, REF, "another-run"):
        assert not materialize("raw_tables", tags={"dagster/backfill": "b"}).success
    watch.tick()
    assert watch.receiver.taken == []


def test_a_stale_table_is_told_and_its_end(watch: Watch) -> None:
    watch.freshness(passed=True)
    watch.tick()
    watch.freshness(passed=False)
    watch.tick()
    told = only(watch.receiver)
    assert (told["cause"], told["table"], told["run_id"]) == ("stale_table", REF.key, "")
    assert told["url"] == f"{UI}/assets/weaviate_collections?partition={REF.key}"
    assert "25.0 h" in told["reason"]
    watch.freshness(passed=False)  # it is said again every hour
    watch.tick()
    watch.freshness(passed=True)
    watch.tick()
    assert watch.told == [("stale_table", "begun"), ("stale_table", "over")]


def test_how_a_table_stands_is_what_counts(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "_EVALUATIONS", 2)
    for passed in (False, True, False, True):
        watch.freshness(passed=passed)
    watch.tick()
    assert watch.told == []
    for number in range(5):
        watch.freshness(passed=False, table=f"lake.s.t{number}")
    watch.freshness(passed=False)
    watch.tick()
    watch.tick()
    assert watch.told == [("stale_table", "begun")]
    assert "25.0 h" in only(watch.receiver)["reason"]


def test_other_peoples_runs_are_none_of_ours(watch: Watch, instance: dg.DagsterInstance) -> None:
    @dg.op
    def fails() -> None:
        raise ValueError

    @dg.job(partitions_def=dg.StaticPartitionsDefinition([REF.key]))
    def theirs() -> None:
        fails()

    theirs.execute_in_process(instance=instance, partition_key=REF.key, raise_on_error=False)
    watch.tick()
    assert watch.receiver.taken == []


def test_a_table_that_nobody_syncs_any_more_is_over(watch: Watch) -> None:
    gone = TableRef("lake", "s", "gone")
    watch.freshness(passed=False, table=gone.key)
    assert "0 causes are open" in watch.tick()
    assert watch.receiver.taken == []


# --- receivers that are away, and restarts -----------------------------------------------------------------------------------------------


def test_a_receiver_that_was_away_is_told_what_still_matters(
    watch: Watch, lake: Lake, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.tick()
    watch.receiver.mood = 503
    fail_with(lake, SourceError("no column 'x'"))
    materialize()
    assert "webhook: it answered 503; 1 messages wait" in watch.tick()
    fail_with(lake, None)
    materialize()  # begun and over meanwhile
    watch.freshness(passed=False)
    watch.receiver.mood = "well"
    watch.tick(seconds=60)
    assert watch.told == [("stale_table", "begun")]


def test_a_crash_before_the_cursor_is_saved_repeats_and_loses_nothing(watch: Watch, lake: Lake, materialize: Materialize) -> None:
    watch.tick()
    fail_with(lake, SourceError("no column 'x'"))
    materialize()
    watch.tick(saved=False)
    watch.tick()
    watch.tick()
    first, second = watch.receiver.taken
    assert first["id"] == second["id"]


def test_neither_cursor_nor_log_nor_answer_holds_the_address(
    watch: Watch, lake: Lake, materialize: Materialize, capfd: pytest.CaptureFixture[str]
) -> None:
    fail_with(lake, SourceError("no column 'x'"))
    materialize()
    said = []
    for mood in (503, "resets", 404, "well"):
        watch.receiver.mood = mood  # type: ignore[assignment]
        said.append(watch.tick(seconds=1_000))
    assert watch.told == [("failed_run", "begun")]
    for text in (*said, watch.cursor, repr(watch.settings), *capfd.readouterr()):
        assert "T0K3N" not in str(text)


@pytest.mark.parametrize("cursor", ["{", "[]", '{"runs": 1}', '{"runs": 1, "done": {}, "checks": 0, "board": {}}'])
def test_a_cursor_that_is_none_of_ours_is_begun_anew(watch: Watch, lake: Lake, materialize: Materialize, cursor: str) -> None:
    fail_with(lake, SourceError("no column 'x'"))
    materialize()
    watch.cursor = cursor
    watch.tick()
    assert watch.told == [("failed_run", "begun")]


def test_tags_put_on_a_run_long_after_it_ended_are_no_news(
    watch: Watch, lake: Lake, instance: dg.DagsterInstance, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(lake, SourceError("no column 'x'"))
    failed = materialize()
    fail_with(lake, None)
    materialize()
    watch.tick()
    monkeypatch.setattr(notifications, "_OVERLAP_SECONDS", 0.0)
    instance.add_run_tags(failed.run_id, {"who": "me"})
    watch.tick()
    assert watch.receiver.taken == []


def test_a_broken_sources_file_keeps_nobody_from_being_told(watch: Watch, lake: Lake, materialize: Materialize) -> None:
    fail_with(lake, SourceError("no column 'x'"))
    materialize()
    path = lake.settings.home / "sources.yaml"
    path.write_text("catalogs: [")
    watch.settings = watch.settings.model_copy(update={"sources": path})
    watch.settings.__dict__.pop("tables")
    assert "cannot be read as YAML" in watch.tick()
    assert watch.told == [("failed_run", "begun")]


def test_nobody_to_tell_is_said(lake: Lake, instance: dg.DagsterInstance) -> None:
    sensor = notifications_sensor(lake.settings)
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    with dg.build_sensor_context(instance=instance) as context:
        answer = sensor(context)
    assert "VECTOR_ASSETS_WEBHOOK_URL" in str(answer)
