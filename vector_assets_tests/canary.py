"""Marked values, and everywhere that they might turn up: Dagster's records, files, stage tables.

A search that finds nothing needs a control that finds something; tests give both.

Metrics for Prometheus do not exist yet: what they print joins `recorded` then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import lance
import yaml
from lance.file import LanceFileReader
from pyarrow import parquet

from vector_assets.defs.notifications import notifications_sensor
from vector_assets.notify.board import Board
from vector_assets.notify.formats import FORMATS
from vector_assets.settings import Settings
from vector_assets_tests.notify.receiver import LocalReceiver

MARK = "qanary"
"""Part of every value that must stay behind; searches ignore case."""
KEPT = "krefold"
"""Part of values that a policy lets through: they must be found where rows are shown, and nowhere else. An index knows no other value that
it could quote."""
DIGITS = "90417755"
"""Begins numbers that must stay behind."""
NO_RUN = "no-run-yet"
"""What evaluations of a table that never ran are recorded under."""

_METADATA = """metadataEntries { label description ... on TextMetadataEntry { text } ... on JsonMetadataEntry { jsonString }
  ... on MarkdownMetadataEntry { mdStr } ... on PathMetadataEntry { path } ... on FloatMetadataEntry { floatValue } }"""
_ERROR = "error { message className stack causes { message stack } errorChain { error { message stack } } }"
_RUNS = f"""query {{ runsOrError {{ ... on Runs {{ results {{
  runId status runConfigYaml tags {{ key value }} assetMaterializations {{ partition description {_METADATA} }}
}} }} }} }}"""
_LOGS = f"""query ($run: ID!) {{ logsForRun(runId: $run) {{ ... on PythonError {{ message }} ... on EventConnection {{ events {{ __typename
  ... on MessageEvent {{ message level stepKey }}
  ... on ExecutionStepFailureEvent {{ {_ERROR} failureMetadata {{ description {_METADATA} }} }}
  ... on ExecutionStepUpForRetryEvent {{ {_ERROR} }}
  ... on AssetCheckEvaluationEvent {{ evaluation {{ checkName success description partition {_METADATA} }} }}
}} }} }} }}"""


def found(text: str, *marks: str) -> list[str]:
    """What stands around each mark in a text, for a message that says where to look."""
    lowered = text.lower()
    at = [lowered.find(mark) for mark in marks or (MARK, DIGITS)]
    return [text[max(0, place - 60) : place + 60] for place in at if place >= 0]


def recorded(instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    """(where, what) of all that a Dagster instance tells: events, run tags, ticks and GraphQL answers."""
    runs = instance.get_runs()
    for run in runs:
        yield f"run {run.run_id}", f"{run.tags} {run.run_config}"
    for run_id in [*(run.run_id for run in runs), NO_RUN]:
        for entry in instance.all_logs(run_id):
            yield f"event of run {run_id}", f"{entry.user_message} {entry!r} {entry.message}"
    for state in instance.all_instigator_state():
        yield f"sensor {state.instigator_name}", repr(state)
    yield from _answers(instance, [(_RUNS, {}), *((_LOGS, {"run": run.run_id}) for run in runs)])


def notified(instance: dg.DagsterInstance, settings: Settings) -> Iterator[tuple[str, str]]:
    """(where, what) of what the sensor `notifications` posts, in each format, and of its cursors: of everything that is wrong, and of each
    failed run alone, since a cause that is open is not told anew."""
    with ExitStack() as stack:
        receivers = {form: stack.enter_context(LocalReceiver().running()) for form in FORMATS}
        path = settings.sources.with_name("notifying.yaml")
        told = [{"name": form, "format": form, "url": each.url, "key": "k"} for form, each in receivers.items()]
        path.write_text(json.dumps(yaml.safe_load(settings.sources.read_text()) | {"notifications": told}))
        sensor = notifications_sensor(Settings(home=settings.home, sources=path))
        for what, cursor in [("all", None), *_one_by_one(instance)]:
            before = [len(each.taken) for each in receivers.values()]
            with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
                answer = sensor(context)
            assert isinstance(answer, dg.SensorResult)
            assert [len(each.taken) for each in receivers.values()] > before, f"nobody was told of {what}: {answer.skip_reason}"
            yield f"notifications' cursor and answer, {what}", f"{answer.cursor} {answer.skip_reason}"
        for form, each in receivers.items():
            yield from ((f"message as {form}", json.dumps(body, ensure_ascii=False)) for body in each.asked)
        path.unlink()


def _one_by_one(instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    """(what, cursor): each failed run, and a cursor that knows all the others. Nobody is told of runs that only compare."""
    records = instance.get_run_records()
    times = {record.dagster_run.run_id: record.update_timestamp.timestamp() for record in records}
    for run_id in (
        record.dagster_run.run_id for record in records if record.dagster_run.is_failure and "parity" not in record.dagster_run.job_name
    ):
        known = {other: at for other, at in times.items() if other != run_id}
        stored = {"runs": times[run_id], "done": known, "checks": 1 << 60, "board": Board().as_json()}
        yield f"run {run_id}", json.dumps(stored)


def _answers(instance: dg.DagsterInstance, queries: Sequence[tuple[str, Mapping[str, str]]]) -> Iterator[tuple[str, str]]:
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import EmptyWorkspaceTarget
    from dagster_graphql.cli import execute_query

    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace:
        for query, variables in queries:
            answer = execute_query(workspace, query, variables)
            assert "errors" not in answer, answer
            yield f"GraphQL {variables}", json.dumps(answer, ensure_ascii=False)


def files(root: Path, *, but: tuple[Path, ...] = ()) -> Iterator[tuple[str, str]]:
    """(path, content) of every file below a folder, SQLite's and logs too; data of Lance and Parquet as rows, since it is compressed."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and not any(each == path or each in path.parents for each in but):
            yield str(path.relative_to(root)), _content(path)


def stored(root: Path) -> dict[str, str]:
    """All that can still be read below a root, by dataset: rows of every version, deleted ones too, and of every file, whoever names it."""
    datasets = [path for path in root.rglob("*.lance") if (path / "_versions").is_dir()]
    return {str(path.relative_to(root)): "\n".join([*_versions(path), *(text for _, text in files(path))]) for path in datasets}


def _versions(path: Path) -> Iterator[str]:
    for version in lance.dataset(str(path)).versions():
        dataset = lance.dataset(str(path), version=version["version"])
        yield from map(str, dataset.scanner(with_row_id=True, include_deleted_rows=True).to_table().to_pylist())


def _content(path: Path) -> str:
    if path.suffix == ".lance" and "_indices" not in path.parts:
        return "\n".join(map(str, LanceFileReader(str(path)).read_all().to_table().to_pylist()))
    if path.suffix == ".parquet":
        return "\n".join(map(str, parquet.read_table(path).to_pylist()))
    return path.read_bytes().decode("latin-1")
