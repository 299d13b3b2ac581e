"""Runs in this process, as the command line makes them: recorded, quiet, several at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest

from vector_assets.defs.instance import open_instance
from vector_assets.defs.run import RETRY_WAITS_SECONDS, sync_table
from vector_assets.errors import InputPurgedError, LeaseHeldError, SourceError, SourceUnavailable, UnexpectedError
from vector_assets.pipeline import STAGES
from vector_assets.reconcile.lease import lease
from vector_assets.reconcile.run import Outcome, Progress
from vector_assets.tables import Sources, TableRef
from vector_assets_tests.scripted import REF, Lake


@pytest.fixture
def recorded(lake: Lake) -> Iterator[dg.DagsterInstance]:
    with open_instance(lake.settings) as instance:
        yield instance


def runs(instance: dg.DagsterInstance) -> list[tuple[str, str | None]]:
    """(status, table) of recorded runs, oldest first."""
    return [(run.status.value, run.tags.get("dagster/partition")) for run in reversed(instance.get_runs())]


def unreachable(times: int) -> object:
    left = [times]

    def on_read(_kind: str, _number: int) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise SourceUnavailable("the source went away")

    return on_read


def test_a_table_is_synced_and_recorded(lake: Lake, recorded: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]) -> None:
    outcomes: list[Outcome] = []
    seen: list[Progress] = []
    sync_table(recorded, lake.pipeline, REF, tags={"who": "me"}, progress=seen.append, finished=outcomes.append)
    assert [outcome.stage for outcome in outcomes] == list(STAGES)
    assert {progress.stage for progress in seen} == set(STAGES)
    assert runs(recorded) == [("SUCCESS", REF.key)]
    assert recorded.get_runs()[0].tags["who"] == "me"
    assert recorded.get_dynamic_partitions("tables") == [REF.key]
    for outcome in outcomes:
        (record,) = recorded.fetch_materializations(dg.AssetKey(outcome.stage), limit=10).records
        assert record.partition_key == REF.key
        assert record.asset_materialization is not None
        assert record.asset_materialization.metadata["rows_added"].value == 6
    assert capfd.readouterr() == ("", "")


def test_the_next_process_sees_it(lake: Lake, recorded: dg.DagsterInstance) -> None:
    sync_table(recorded, lake.pipeline, REF)
    with open_instance(lake.settings) as another:
        assert runs(another) == [("SUCCESS", REF.key)]


def test_tables_may_be_synced_in_threads(lake: Lake, recorded: dg.DagsterInstance) -> None:
    """Four at once, twice: Dagster alone stands still here (see defs/turn.py)."""
    refs = [TableRef("lake", "s", f"t{number}") for number in range(4)]
    tables = Sources.model_validate({"catalogs": {"lake": {"engine": "duckdb", "path": "x"}}, "tables": [_entry("lake.s.*")]})
    object.__setattr__(lake.settings, "tables", tables)
    lake.source.data = {ref: list(lake.rows) for ref in refs}
    for _ in range(2):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda ref: sync_table(recorded, lake.pipeline, ref), refs))
    assert sorted(runs(recorded)) == sorted(("SUCCESS", ref.key) for ref in refs * 2)


def _entry(table: str) -> dict[str, object]:
    return {"table": table, "key": ["id"], "text": "{body}", "properties": {"id": "keep", "status": "keep"}, "collection": "Things"}


def test_what_may_pass_is_tried_again_from_where_it_stopped(lake: Lake, recorded: dg.DagsterInstance) -> None:
    outcomes: list[Outcome] = []
    waits: list[float] = []
    left = [1]

    def write() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise SourceUnavailable("the index went away")

    lake.index.on_write = write
    sync_table(recorded, lake.pipeline, REF, finished=outcomes.append, sleep=waits.append)
    assert [outcome.stage for outcome in outcomes] == list(STAGES)
    assert all(outcome.added == 6 for outcome in outcomes)
    assert waits == [RETRY_WAITS_SECONDS[0]]
    assert [status for status, _ in runs(recorded)] == ["FAILURE", "SUCCESS"]


def test_trying_again_ends(lake: Lake, recorded: dg.DagsterInstance) -> None:
    waits: list[float] = []
    lake.source.on_read = unreachable(99)
    with pytest.raises(SourceUnavailable, match="the source went away"):
        sync_table(recorded, lake.pipeline, REF, sleep=waits.append)
    assert waits == list(RETRY_WAITS_SECONDS)
    assert [status for status, _ in runs(recorded)] == ["FAILURE"] * 3


def test_values_that_were_purged_are_fetched_again(lake: Lake, recorded: dg.DagsterInstance) -> None:
    left = [1]

    class Purged(type(lake.pipeline)):
        def sync(self, stage, *arguments):
            if stage == "redacted_text":
                left[0] -= 1
                if left[0] >= 0:
                    raise InputPurgedError("sync it once more")
            return super().sync(stage, *arguments)

    outcomes: list[Outcome] = []
    sync_table(recorded, Purged(lake.settings, lake.engines), REF, finished=outcomes.append, sleep=pytest.fail)
    assert [outcome.stage for outcome in outcomes] == [*STAGES[:2], *STAGES]


def test_what_needs_a_person_is_raised_at_once(lake: Lake, recorded: dg.DagsterInstance) -> None:
    def fail(_kind: str, _number: int) -> None:
        raise SourceError("no column 'x'")

    lake.source.on_read = fail
    with pytest.raises(SourceError, match="no column 'x'"):
        sync_table(recorded, lake.pipeline, REF, sleep=pytest.fail)
    assert runs(recorded) == [("FAILURE", REF.key)]


def test_a_held_lease_is_raised_after_the_wait(lake: Lake, recorded: dg.DagsterInstance) -> None:
    object.__setattr__(lake.settings, "lease_wait_seconds", 0)
    with lease(lake.settings.storage, REF, "another-run"), pytest.raises(LeaseHeldError, match="another-run"):
        sync_table(recorded, lake.pipeline, REF, sleep=pytest.fail)


def test_bugs_are_told_as_such_and_recorded(lake: Lake, recorded: dg.DagsterInstance) -> None:
    def fail(_kind: str, _number: int) -> None:
        raise ZeroDivisionError

    lake.source.on_read = fail
    with pytest.raises(UnexpectedError, match="ZeroDivisionError at vector_assets/"):
        sync_table(recorded, lake.pipeline, REF)
    assert runs(recorded) == [("FAILURE", REF.key)]


def test_whoever_watches_may_stop_it(lake: Lake, recorded: dg.DagsterInstance) -> None:
    def stop(_progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sync_table(recorded, lake.pipeline, REF, progress=stop)
    assert [status for status, _ in runs(recorded)] != ["STARTED"]
    sync_table(recorded, lake.pipeline, REF)
    assert runs(recorded)[-1] == ("SUCCESS", REF.key)
