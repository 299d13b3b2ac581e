"""What a materialization of each asset shows, and what a run's tags do."""

from __future__ import annotations

import re

import dagster as dg
import pyarrow as pa
import pytest

from vector_assets.defs import run_tags
from vector_assets.defs.assets import ASSETS
from vector_assets.defs.failures import STEP_RETRIES
from vector_assets.defs.metadata import column_schema
from vector_assets.defs.resources import Platform
from vector_assets.defs.steps import _ProgressLog
from vector_assets.errors import ModelError, SourceError, SourceUnavailable, StorageError
from vector_assets.models.registry import ModelVersion
from vector_assets.pipeline import STAGES, Pipeline, Run, StageName
from vector_assets.reconcile.lease import lease
from vector_assets.reconcile.run import Approval, Outcome, Progress
from vector_assets.tables import TableRef
from vector_assets_tests.defs.conftest import Materialize, failure
from vector_assets_tests.fakes import model_version
from vector_assets_tests.scripted import REF, Lake

EVERYWHERE = {
    *(f"rows_{what}" for what in ("planned", "added", "changed", "deleted", "unchanged", "rejected", "stale")),
    *("seconds", "source_version", "table_uri", "table_version"),
    *("dagster/row_count", "dagster/partition_row_count", "dagster/uri", "dagster/column_schema"),
}
OF_MODEL = {"model_version", "model_digest", "embedding_generation", "generation"}
EVER = {
    "raw_tables": EVERYWHERE,
    "cleaned_frames": EVERYWHERE,
    "redacted_text": EVERYWHERE | {"tokens_waiting", "texts_redacted"},
    "embeddings": EVERYWHERE | OF_MODEL | {"passages_encoded", "passages_reused", "tokens"},
    "weaviate_collections": EVERYWHERE | OF_MODEL | {"objects_sent", "collection", "alias"},
}


def shown(result: dg.ExecuteInProcessResult, stage: str) -> dict[str, object]:
    (event,) = result.asset_materializations_for_node(stage)
    return {label: value.value for label, value in event.metadata.items()}


def data_versions(result: dg.ExecuteInProcessResult) -> dict[str, str | None]:
    return {stage: result.asset_materializations_for_node(stage)[0].tags["dagster/data_version"] for stage in STAGES}


# --- metadata ----------------------------------------------------------------------------------------------------------------------------


def test_every_materialization_shows_what_was_done(lake: Lake, materialize: Materialize) -> None:
    result = materialize()
    assert result.success
    for stage in STAGES:
        metadata = shown(result, stage)
        assert metadata.keys() >= EVER[stage]
        assert (metadata["rows_added"], metadata["rows_planned"], metadata["dagster/row_count"]) == (6, 6, 6)
        assert metadata["source_version"] == lake.source.version(REF).token
    assert shown(result, "raw_tables")["rows_read"] == 12  # the digest scan, and the rows
    assert shown(result, "embeddings")["passages_encoded"] == 6
    assert shown(result, "redacted_text")["tokens_waiting"] > 0
    assert shown(result, "weaviate_collections")["objects_sent"] == 6


def test_a_second_run_shows_that_nothing_was_done(materialize: Materialize) -> None:
    first, second = materialize(), materialize()
    for stage in STAGES:
        metadata = shown(second, stage)
        assert metadata.keys() >= EVER[stage]
        assert (metadata["rows_planned"], metadata["rows_unchanged"]) == (0, 6)
    assert shown(second, "embeddings")["passages_encoded"] == 0
    assert shown(second, "redacted_text")["tokens_waiting"] == 0
    assert data_versions(first) == data_versions(second)


def test_data_versions_follow_the_content(lake: Lake, materialize: Materialize) -> None:
    first = data_versions(materialize())
    lake.rows[2] = {**lake.rows[2], "status": "closed"}
    second = data_versions(materialize())
    assert all(first[stage] != second[stage] for stage in STAGES)
    view = lake.pipeline.published("raw_tables", REF)
    assert view is not None
    assert second["raw_tables"] == view.state.data_version


def test_columns_are_shown_by_name_and_type(materialize: Materialize) -> None:
    columns = shown(materialize("raw_tables"), "raw_tables")["dagster/column_schema"]
    assert isinstance(columns, dg.TableSchema)
    assert {column.name: column.type for column in columns.columns}.items() >= {
        "row_id": "fixed_size_binary[16]",
        "values.id": "int64",
    }.items()


def test_columns_may_have_any_name() -> None:
    names = ['a"b', 'x";--', "ä" * 200, "a.b", "", "{body.__class__}"]
    schema = pa.schema([pa.field("properties", pa.struct([pa.field(name, pa.string(), nullable=False) for name in names]))])
    struct, *fields = column_schema(schema).columns
    assert [field.name for field in fields] == [f"properties.{name}" for name in names]
    assert len(struct.type) <= 201
    assert not fields[0].constraints.nullable


def test_nothing_that_is_recorded_holds_a_value(lake: Lake, instance: dg.DagsterInstance, materialize: Materialize) -> None:
    lake.engines.stub_redactor.failing = "body 3"  # its exception quotes the text
    lake.rows[4] = {**lake.rows[4], "body": "far too long for its rule " * 9}
    result = materialize()
    assert shown(result, "weaviate_collections")["rows_added"] == 4
    events = " ".join(str(record) for record in instance.all_logs(result.run_id))
    assert "body 3" not in events
    assert "far too long" not in events


# --- failures ----------------------------------------------------------------------------------------------------------------------------


def test_what_may_pass_is_retried(lake: Lake, materialize: Materialize) -> None:
    left = [2]

    def fail_twice(_kind: str, _number: int) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise SourceUnavailable("the source went away")

    lake.source.on_read = fail_twice
    result = materialize("raw_tables")
    assert result.success
    retries = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
    assert len(retries) == 2
    assert "the source went away" in str(retries[0].step_retry_data.error)


def test_retries_end(lake: Lake, materialize: Materialize) -> None:
    tries: list[int] = []

    def fail(_kind: str, number: int) -> None:
        tries.append(number)
        raise SourceUnavailable("the source went away") from ValueError("with the words of row 7")

    lake.source.on_read = fail
    result = materialize("raw_tables")
    assert failure(result) == "the source went away"
    assert len(tries) == 1 + STEP_RETRIES
    assert "row 7" not in " ".join(map(str, result.all_events))


def test_what_needs_a_person_is_not_retried(lake: Lake, materialize: Materialize) -> None:
    def fail(_kind: str, _number: int) -> None:
        raise SourceError("no column 'x'; there are: id, body") from ValueError("with the words of row 7")

    lake.source.on_read = fail
    result = materialize()
    assert failure(result) == "no column 'x'; there are: id, body"
    assert "row 7" not in " ".join(map(str, result.all_events))
    assert not [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
    assert not result.asset_materializations_for_node("cleaned_frames")


def test_a_bug_is_shown_as_one(lake: Lake, materialize: Materialize) -> None:
    def fail(_kind: str, _number: int) -> None:
        raise ZeroDivisionError

    lake.source.on_read = fail
    assert "ZeroDivisionError" in failure(materialize("raw_tables"))


def test_a_stage_without_the_one_before_says_so(materialize: Materialize) -> None:
    assert failure(materialize("embeddings")) == f"redacted_text of {REF.key} is not published yet: materialize it first"


def test_a_key_that_is_no_table_says_so(lake: Lake, instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tables", ["tickets"])
    result = dg.materialize(
        ASSETS, instance=instance, partition_key="tickets", resources={"platform": Platform(lake.pipeline)}, raise_on_error=False
    )
    assert "write catalog.schema.table" in failure(result)


# --- the lease ---------------------------------------------------------------------------------------------------------------------------


class _NotedRuns(Pipeline):
    """Notes whom it works for."""

    def __init__(self, lake: Lake) -> None:
        super().__init__(lake.settings, lake.engines)
        self.runs: list[Run] = []

    def sync(self, stage: StageName, ref: TableRef, run: Run, model: ModelVersion | None = None) -> Outcome:
        self.runs.append(run)
        return super().sync(stage, ref, run, model)


@pytest.mark.parametrize(
    ("tags", "waits"),
    [
        ({}, True),
        ({"dagster/partition_set": "x"}, True),
        ({"dagster/backfill": "b"}, False),
        ({"dagster/sensor_name": "catalog_lake"}, False),
        ({"dagster/schedule_name": "nightly"}, False),
    ],
)
def test_a_person_waits_for_the_lease_and_a_sensor_does_not(
    lake: Lake, materialize: Materialize, tags: dict[str, str], *, waits: bool
) -> None:
    pipeline = _NotedRuns(lake)
    result = materialize("raw_tables", tags=tags, platform=Platform(pipeline))
    assert [(run.id, run.wait_seconds) for run in pipeline.runs] == [(result.run_id, lake.settings.lease_wait_seconds if waits else 0)]


def test_a_held_lease_names_its_holder_and_is_not_retried(lake: Lake, materialize: Materialize) -> None:
    pipeline = _NotedRuns(lake)
    with lease(lake.settings.storage, REF, "another-run"):
        result = materialize("raw_tables", tags={"dagster/backfill": "b"}, platform=Platform(pipeline))
    assert "is being written by run another-run" in failure(result)
    assert len(pipeline.runs) == 1


# --- approval ----------------------------------------------------------------------------------------------------------------------------


def test_the_tag_that_the_brake_asks_for_lets_the_deletes_through(lake: Lake, materialize: Materialize) -> None:
    materialize()
    del lake.rows[1:]
    stopped = materialize()
    (event,) = stopped.get_step_failure_events()
    assert run_tags.APPROVE_DELETES in event.step_failure_data.user_failure_data.metadata["to_approve"].value
    asked = re.search(r"--approve-deletes (\S+)", failure(stopped))
    assert asked is not None
    allowed = materialize(tags={run_tags.APPROVE_DELETES: asked.group(1)})
    assert shown(allowed, "weaviate_collections")["rows_deleted"] == 5


@pytest.mark.parametrize("text", ["", "5", "v:", ":5", "v:-5", "v:five", "v:²"])
def test_an_approval_that_cannot_be_read_says_so(materialize: Materialize, text: str) -> None:
    assert "SOURCE_VERSION:COUNT" in failure(materialize("raw_tables", tags={run_tags.APPROVE_DELETES: text}))


def test_an_approval_may_be_of_a_version_with_colons() -> None:
    assert run_tags.parse_approval(" 2026:07:1:12\n") == Approval("2026:07:1", 12)


# --- the model ---------------------------------------------------------------------------------------------------------------------------


class _Versions:
    """A registry of these versions."""

    def __init__(self, *versions: ModelVersion) -> None:
        self._versions = list(versions)

    def versions(self) -> list[ModelVersion]:
        return self._versions


def test_a_promotion_during_a_run_is_for_the_next_one(
    lake: Lake, instance: dg.DagsterInstance, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = model_version("d1"), model_version("d2")
    monkeypatch.setattr(lake.engines, "registry", lambda: _Versions(before, after))

    def promote(outcome: Outcome) -> None:
        if outcome.stage == "redacted_text":
            lake.engines.model = after

    first = materialize(platform=Platform(lake.pipeline, finished=promote))
    assert {shown(first, stage)["model_digest"] for stage in STAGES[3:]} == {"d1"}
    run = instance.get_run_by_id(first.run_id)
    assert run is not None
    assert (run.tags[run_tags.MODEL_VERSION], run.tags[run_tags.MODEL_DIGEST]) == ("1", "d1")
    assert run.tags[run_tags.GENERATION] == shown(first, "embeddings")["generation"]
    assert {shown(materialize(), stage)["model_digest"] for stage in STAGES[3:]} == {"d2"}


def test_a_run_whose_model_has_gone_says_so(lake: Lake, materialize: Materialize, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake.engines, "registry", lambda: _Versions(model_version("d2")))

    def replace_model(outcome: Outcome) -> None:
        lake.engines.model = model_version("d2")

    result = materialize(platform=Platform(lake.pipeline, finished=replace_model))
    assert failure(result).startswith("this run began with version 1 of the model")


@pytest.mark.parametrize(("resumed", "digest"), [("true", "d1"), ("false", "d2")])
def test_going_on_from_a_failure_keeps_the_model_and_starting_again_does_not(
    lake: Lake, materialize: Materialize, monkeypatch: pytest.MonkeyPatch, resumed: str, digest: str
) -> None:
    materialize()
    monkeypatch.setattr(lake.engines, "registry", lambda: _Versions(model_version("d1"), model_version("d2")))
    lake.model("d2")
    copied = {run_tags.MODEL_VERSION: "1", run_tags.MODEL_DIGEST: "d1", run_tags.PINNED_BY: "the-run-before", run_tags.RESUMED: resumed}
    assert shown(materialize("embeddings", tags=copied), "embeddings")["model_digest"] == digest


def test_only_embeddings_and_what_follows_need_a_champion(lake: Lake, materialize: Materialize, monkeypatch: pytest.MonkeyPatch) -> None:
    def champion() -> ModelVersion:
        raise ModelError("no champion: promote one")

    monkeypatch.setattr(lake.engines, "champion", champion)
    assert materialize(*STAGES[:3]).success
    assert failure(materialize()) == "no champion: promote one"


def test_raw_tables_does_without_the_registry(lake: Lake, materialize: Materialize, monkeypatch: pytest.MonkeyPatch) -> None:
    def champion() -> ModelVersion:
        raise StorageError("the model registry does not answer")

    monkeypatch.setattr(lake.engines, "champion", champion)
    assert materialize("raw_tables").success


# --- progress ----------------------------------------------------------------------------------------------------------------------------


def test_long_steps_say_how_far_they_are() -> None:
    said: list[str] = []
    times = iter([0.0, 4.0, 12.0, 13.0, 25.0])
    log = _ProgressLog(said.append, lambda: next(times))
    for done in (1_000, 3_000, 3_100, 5_000):
        log.at(Progress("embeddings", done, 6_000))
    assert said == [
        "embeddings: 3,000 of 6,000 rows, 250 rows/s, 12 s left",
        "embeddings: 5,000 of 6,000 rows, 200 rows/s, 5 s left",
    ]


def test_a_step_says_what_it_did_and_tells_who_watches(lake: Lake, instance: dg.DagsterInstance, materialize: Materialize) -> None:
    seen: list[Progress] = []
    result = materialize("raw_tables", platform=Platform(lake.pipeline, progress=seen.append))
    assert seen[-1] == Progress("raw_tables", 6, 6)
    assert any(record.user_message.startswith("raw_tables: 6 added in ") for record in instance.all_logs(result.run_id))
