"""Checks through Dagster: which there are, what is recorded of them for which partition, and what accepting one leaves behind."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import pytest

from vector_assets.checks.catalog import CHECKS, checks_of
from vector_assets.defs.assets import ASSETS
from vector_assets.defs.build import build_defs
from vector_assets.defs.resources import Platform
from vector_assets.defs.run_tags import ACCEPT, REPLAY, REPLAY_JOB, parse_acceptance
from vector_assets.errors import ConfigurationError
from vector_assets.pipeline import STAGES
from vector_assets.quarantine import rejected_rows
from vector_assets.tables import Sources, TableRef
from vector_assets_tests.defs.conftest import Materialize, failure
from vector_assets_tests.scripted import REF, Lake

BAD = "far too long for its rule " * 9
OTHER = TableRef("lake", "s", "other")
WORD = "rejected_rows by ana@example.com: a test table"
BESIDE = {"freshness", "parity"}  # of a sensor and of a command
JUDGED = {stage: {check.name for check in checks_of(stage)} - BESIDE for stage in STAGES}


@pytest.fixture
def lake(lake: Lake) -> Lake:
    """Two tables of one collection, of which half may be rejected."""
    spec = lake.settings.tables.tables[0].model_dump(exclude_none=True)
    entries = [spec | {"table": f"lake.s.{ref.table}", "checks": {"rejected_rows": {"warn": 0.1, "block": 0.5}}} for ref in (REF, OTHER)]
    tables = Sources.model_validate({"catalogs": {"lake": {"engine": "duckdb", "path": "x"}}, "tables": entries})
    object.__setattr__(lake.settings, "tables", tables)
    lake.source.data = {ref: [{"id": n, "body": f"body {n}", "status": "open"} for n in range(40)] for ref in (REF, OTHER)}
    return lake


def spoil(lake: Lake, rows: int) -> None:
    for number in range(rows):
        lake.rows[number] = {**lake.rows[number], "body": BAD}


def evaluated(result: dg.ExecuteInProcessResult, stage: str) -> dict[str, dg.AssetCheckEvaluation]:
    return {one.check_name: one for one in result.get_asset_check_evaluations() if one.asset_key == dg.AssetKey(stage)}


# --- what there is -----------------------------------------------------------------------------------------------------------------------


def test_every_check_of_the_catalog_is_a_check_of_its_asset(lake: Lake) -> None:
    graph = build_defs(lake.settings).resolve_asset_graph()
    for stage in STAGES:
        assert {key.name for key in graph.get(dg.AssetKey(stage)).check_keys} == {check.name for check in checks_of(stage)}
    for key in graph.asset_check_keys:
        assert graph.get(key).partitions_def == dg.DynamicPartitionsDefinition(name="tables")
    assert {check.stage for check in CHECKS} <= {"every stage", *STAGES}


# --- what is recorded --------------------------------------------------------------------------------------------------------------------


def recorded(instance: dg.DagsterInstance, stage: str, check: str) -> list[tuple[str | None, str]]:
    key = dg.AssetCheckKey(dg.AssetKey(stage), check)
    return [
        (record.partition, record.status.value)
        for record in reversed(instance.event_log_storage.get_asset_check_execution_history(key, limit=20))
    ]


def test_every_check_is_recorded_for_its_partition(lake: Lake, instance: dg.DagsterInstance, materialize: Materialize) -> None:
    result = materialize()
    assert result.success
    for stage in STAGES:
        found = evaluated(result, stage)
        assert JUDGED[stage] <= set(found) <= JUDGED[stage] | BESIDE, stage
        assert {one.partition for one in found.values()} == {REF.key}
        for check in JUDGED[stage]:
            assert [partition for partition, _ in recorded(instance, stage, check)] == [REF.key]
    assert recorded(instance, "raw_tables", "row_count") == [(REF.key, "SUCCEEDED")]


def test_a_run_with_nothing_to_do_shows_the_last_results_again(lake: Lake, instance: dg.DagsterInstance, materialize: Materialize) -> None:
    spoil(lake, 12)
    first = materialize()
    again = materialize()
    assert again.success
    for stage in STAGES:
        shown = evaluated(again, stage)
        for name, before in evaluated(first, stage).items():
            assert (shown[name].passed, shown[name].description, shown[name].metadata) == (
                before.passed,
                before.description,
                before.metadata,
            )
            assert shown[name].partition == REF.key
            assert recorded(instance, stage, name)[-1] == (REF.key, "SUCCEEDED" if before.passed else "FAILED")
    assert not evaluated(again, "cleaned_frames")["rejected_rows"].passed


def test_a_result_that_kept_a_version_back_is_not_shown_for_the_one_before_it(lake: Lake, materialize: Materialize) -> None:
    materialize()
    good = list(lake.rows)
    spoil(lake, 30)
    blocked = materialize()
    assert not evaluated(blocked, "cleaned_frames")["rejected_rows"].passed
    lake.rows[:] = good
    materialize()
    assert evaluated(materialize(), "cleaned_frames")["rejected_rows"].passed


def test_a_warning_is_recorded_and_publishes(lake: Lake, materialize: Materialize) -> None:
    spoil(lake, 10)
    result = materialize()
    assert result.success
    warned = evaluated(result, "cleaned_frames")["rejected_rows"]
    assert (warned.passed, warned.severity, warned.partition) == (False, dg.AssetCheckSeverity.WARN, REF.key)
    assert "10 of 40 rows are rejected" in str(warned.description)
    assert warned.metadata["rejected"].value == 10


def test_a_blocked_check_is_recorded_and_nothing_is_materialized(
    lake: Lake, instance: dg.DagsterInstance, materialize: Materialize
) -> None:
    spoil(lake, 30)
    result = materialize()
    blocked = evaluated(result, "cleaned_frames")["rejected_rows"]
    assert (blocked.passed, blocked.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert recorded(instance, "cleaned_frames", "rejected_rows") == [(REF.key, "FAILED")]
    assert not result.asset_materializations_for_node("cleaned_frames")
    assert not result.asset_materializations_for_node("redacted_text")
    (event,) = result.get_step_failure_events()
    shown = event.step_failure_data.user_failure_data
    assert shown is not None
    assert shown.metadata["error"].value == "AuditError"
    assert ACCEPT in str(shown.metadata["to_accept"].value)
    assert "far too long" not in " ".join(map(str, instance.all_logs(result.run_id)))


def test_what_is_accepted_is_recorded_with_who_and_why(lake: Lake, materialize: Materialize) -> None:
    spoil(lake, 30)
    assert not materialize().success
    result = materialize(tags={ACCEPT: WORD})
    assert result.success
    accepted = evaluated(result, "cleaned_frames")["rejected_rows"]
    assert (accepted.passed, accepted.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert accepted.metadata["accepted"].value == "ana@example.com: a test table"
    view = lake.pipeline.published("cleaned_frames", REF)
    assert view is not None
    assert list(view.state.accepted) == ["rejected_rows by ana@example.com: a test table"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is not CHECK\[, CHECK…\] by WHO: WHY"),
        ("rejected_rows", r"is not CHECK\[, CHECK…\] by WHO: WHY"),
        ("rejected_rows by ana:", r"is not CHECK\[, CHECK…\] by WHO: WHY"),
        ("no_such_check by ana: why", "no such check"),
        ("row_states by ana: why", "cannot be accepted"),
        ("freshness by ana: why", "cannot be accepted"),
        ("parity by ana: why", "cannot be accepted"),
    ],
)
def test_a_word_that_cannot_be_read_fails_clearly(materialize: Materialize, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_acceptance(text)
    result = materialize("raw_tables", tags={ACCEPT: text})
    assert not result.success
    assert "to be one of" in failure(result) or "no such check" in failure(result) or "WHO: WHY" in failure(result)


def test_a_blocked_table_blocks_no_other(lake: Lake, instance: dg.DagsterInstance) -> None:
    """A backfill of several tables is a run for each (see test_servers.py for the daemon's)."""
    instance.add_dynamic_partitions("tables", [OTHER.key])
    spoil(lake, 30)
    resources = {"platform": Platform(lake.pipeline)}
    done = {
        ref: dg.materialize(ASSETS, instance=instance, partition_key=ref.key, resources=resources, raise_on_error=False).success
        for ref in (REF, OTHER)
    }
    assert done == {REF: False, OTHER: True}
    assert recorded(instance, "cleaned_frames", "rejected_rows") == [(REF.key, "FAILED"), (OTHER.key, "SUCCEEDED")]
    assert instance.get_materialized_partitions(dg.AssetKey("weaviate_collections")) == {OTHER.key}


@pytest.mark.parametrize("check", ["row_count", "freshness"])
def test_a_check_cannot_be_executed_on_its_own_and_says_so(lake: Lake, instance: dg.DagsterInstance, check: str) -> None:
    stage = next(known.stage for known in CHECKS if known.name == check)
    result = dg.materialize(  # Dagster takes no partition where no asset is selected
        ASSETS,
        instance=instance,
        tags={"dagster/partition": REF.key},
        selection=dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(stage), check)),
        resources={"platform": Platform(lake.pipeline)},
        raise_on_error=False,
    )
    assert failure(result).startswith("checks are made inside their stage")
    assert lake.pipeline.published("raw_tables", REF) is None


# --- replay ------------------------------------------------------------------------------------------------------------------------------


def planned(result: dg.ExecuteInProcessResult) -> list[object]:
    return [result.asset_materializations_for_node(stage)[0].metadata["rows_planned"].value for stage in STAGES]


def refused(lake: Lake, materialize: Materialize) -> list[str]:
    """Two rows that redaction refused and would take by now."""
    for number in (2, 4):
        lake.rows[number] = {**lake.rows[number], "body": f"broken {number}"}
    lake.engines.stub_redactor.failing = "broken"
    assert materialize().success
    lake.engines.stub_redactor.failing = None
    assert planned(materialize()) == [0] * 5
    return [row.row_id for row in rejected_rows(lake.pipeline, REF, lake.engines.model)]


def test_a_run_tag_tries_rejected_rows_again(lake: Lake, materialize: Materialize) -> None:
    first, second = refused(lake, materialize)
    assert planned(materialize(tags={REPLAY: first})) == [1] * 5
    assert [row.row_id for row in rejected_rows(lake.pipeline, REF, lake.engines.model)] == [second]
    assert planned(materialize(tags={REPLAY: "all"})) == [1] * 5
    assert planned(materialize(tags={REPLAY: "all"})) == [0] * 5


@pytest.mark.parametrize("tags", [{}, {REPLAY: "all"}])
def test_the_job_does_so_with_and_without_its_tags(
    lake: Lake, instance: dg.DagsterInstance, materialize: Materialize, tags: Mapping[str, str]
) -> None:
    """A backfill of a job leaves the job's tags out."""
    refused(lake, materialize)
    job = build_defs(lake.settings, resources={"platform": Platform(lake.pipeline)}).resolve_job_def(REPLAY_JOB)
    assert job.tags[REPLAY] == "all"
    assert planned(job.execute_in_process(instance=instance, partition_key=REF.key, tags=dict(tags))) == [2] * 5


def test_a_replay_that_cannot_be_read_says_so(lake: Lake, materialize: Materialize) -> None:
    assert "32 hex digits" in failure(materialize("raw_tables", tags={REPLAY: "some"}))
