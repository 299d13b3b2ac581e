"""How far searches lag behind the sources: versions are looked at, some in every tick of a catalog's sensor. Nothing is launched here.

What counts as published is the ledger behind the collection that the alias resolves to. What a tick remembers is in the sensor's cursor,
about 20 bytes for a table that is fresh; it is saved after what it speaks of, so a tick that fails loses time and nothing else. A table is
evaluated anew where the outcome changes, where a run has ended since, and once an hour while it lags.

An evaluation is recorded under the last run of the table: that run planned the check, as every run of an asset plans all of the asset's
checks, and would stand as one that skipped it. Through `SensorResult(asset_events=…)` it could not be: Dagster 1.13 stores one evaluation
without a run per check and partition, and fails the tick on the second (UNIQUE constraint of asset_check_executions).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import dagster as dg

from vector_assets.checks.judge import Judge
from vector_assets.defs.asset_checks import as_evaluation
from vector_assets.defs.partitions import TABLES
from vector_assets.errors import SourceUnavailable, UnexpectedError, VectorAssetsError
from vector_assets.freshness import CHECK, Looked, Memory, judged, news, outcome, seen_now
from vector_assets.pipeline import Pipeline, StageName
from vector_assets.raw.source import SourceVersion
from vector_assets.reconcile.view import State
from vector_assets.tables import TableRef

BUDGET_SECONDS = 20.0  # of the 60 that Dagster gives a tick
TABLES_AT_ONCE = 20  # as many as Trino is asked for in one statement
MOST_EVENTS = 200  # of one tick
_STAGE: StageName = "weaviate_collections"
_NO_RUN = "no-run-yet"  # what evaluations of a table that never ran are recorded under
_PATIENCE_SECONDS = 15.0  # for one answer of a source

T = TypeVar("T")

SOURCE_TABLES = dg.AssetSpec(
    "source_tables",
    partitions_def=TABLES,
    group_name="sources",
    kinds={"trino", "duckdb"},
    description="""Tables of the sources, as they are.

The catalogs' sensors observe a table's version whenever it changes, where the source has exact ones (Iceberg, Delta Lake).
Nothing is launched by that.""",
)


class Standing(NamedTuple):
    """How the check of a table stands in Dagster: the run that it is recorded under, and whether that one left it open."""

    run_id: str
    is_open: bool


# --- a tick ------------------------------------------------------------------------------------------------------------------------------


@dataclass
class Tick:
    """What a tick found: observations, evaluations with the run to record them under, how many tables it looked at, and why some could not
    be looked at."""

    observations: list[dg.AssetObservation] = field(default_factory=list)
    evaluations: list[tuple[str, dg.AssetCheckEvaluation]] = field(default_factory=list)
    looked: int = 0
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """In a sentence."""
        failed = "; ".join(f"{where}: {problem}" for where, problem in list(self.problems.items())[:3])
        more = f" and {len(self.problems) - 3} more" if len(self.problems) > 3 else ""
        return f"{self.looked} looked at" + (f"; not {failed}{more}" if failed else "")


def look(
    pipeline: Pipeline,
    refs: Sequence[TableRef],
    memory: Memory,
    *,
    deadline: float,
    standings: Callable[[Sequence[str]], Mapping[str, Standing]],
    now: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
) -> Tick:
    """Look at tables of one catalog, from where `memory` stopped until the deadline (of `clock`). What fails is passed over and said."""
    tick, serving = Tick(), _Serving(pipeline)
    memory.keep(refs)
    turn = memory.turn(refs)
    for start in range(0, len(turn), TABLES_AT_ONCE):
        if clock() >= deadline or len(tick.observations) + len(tick.evaluations) >= MOST_EVENTS:
            break
        chunk = turn[start : start + TABLES_AT_ONCE]
        patience = min(_PATIENCE_SECONDS, deadline - clock())
        versions = _versions(pipeline, chunk, tick, patience=patience)
        standing = standings([ref.key for ref in versions])
        for ref, version in versions.items():
            try:
                looked = Looked(version, serving.state(ref))
            except Exception as error:  # noqa: BLE001  # whatever one table has, the others are looked at
                tick.problems[ref.key] = _said(error)
                continue
            judge = Judge(pipeline.settings.tables.spec_for(ref).thresholds)
            _evaluate(ref, looked, tick, memory=memory, judge=judge, standing=standing.get(ref.key), now=int(now()))
            tick.looked += 1
        memory.after = chunk[-1].key
    return tick


def _versions(pipeline: Pipeline, refs: Sequence[TableRef], tick: Tick, *, patience: float) -> Mapping[TableRef, SourceVersion]:
    """Versions of some tables. Where one of them makes the question fail, the others are asked for without it, while patience lasts."""
    deadline = time.monotonic() + patience
    found: dict[TableRef, SourceVersion] = {}
    waiting = [list(refs)]
    while waiting:
        part = waiting.pop()
        left = deadline - time.monotonic()
        try:
            source = pipeline.engines.source(part[0].catalog)
            found.update(_within(left, lambda source=source, part=part: source.versions(part)))  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001  # whatever one table has, the others are looked at
            if len(part) > 1 and left > 0:
                waiting += [part[len(part) // 2 :], part[: len(part) // 2]]
            else:
                tick.problems[part[0].key if len(part) == 1 else f"{len(part)} tables"] = _said(error)
    return found


def _said(error: Exception) -> str:
    return str(error if isinstance(error, VectorAssetsError) else UnexpectedError(error))


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """An answer, for which nobody waits longer than this: a tick that Dagster ends saves nothing and would ask the same again."""
    if seconds <= 0:
        raise SourceUnavailable("no time was left to ask")
    answers: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # noqa: BLE001  # raised again below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="source-versions")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise SourceUnavailable(f"the source did not tell versions within {seconds:.0f} s")
    return answers[0]


class _Serving:
    """What searches see, asked for once per collection and tick."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._folders: dict[str, tuple[str, str] | None] = {}
        self._failed: dict[str, VectorAssetsError] = {}

    def state(self, ref: TableRef) -> State | None:
        """Of the ledger behind the alias; None where nothing of the table can be searched. Raises what the index and the storage raise."""
        collection = self._pipeline.settings.tables.spec_for(ref).collection
        if collection in self._failed:
            raise self._failed[collection]
        if collection not in self._folders:
            try:
                self._folders[collection] = self._pipeline.serving(collection)
            except VectorAssetsError as error:
                self._failed[collection] = error
                raise
        folders = self._folders[collection]
        view = self._pipeline.published(_STAGE, ref, *folders) if folders is not None else None
        return view.state if view is not None else None


def _evaluate(ref: TableRef, looked: Looked, tick: Tick, *, memory: Memory, judge: Judge, standing: Standing | None, now: int) -> None:
    before = memory.of(ref)
    seen = seen_now(before, looked, now)
    result = judged(judge, seen, looked, now)
    word = outcome(seen, result)
    speaks = news(before, word, now) or standing is None or standing.is_open
    if not memory.note(ref, seen._replace(outcome=word, said=now) if speaks else seen):
        return
    if looked.version.exact and (before is None or before.version != seen.version):
        tick.observations.append(_observation(ref, looked.version))
    if speaks:
        tick.evaluations.append((standing.run_id if standing is not None else _NO_RUN, as_evaluation(_STAGE, result, ref.key)))


def _observation(ref: TableRef, version: SourceVersion) -> dg.AssetObservation:
    return dg.AssetObservation(
        SOURCE_TABLES.key, partition=ref.key, metadata={"version": version.token}, tags={"dagster/data_version": version.token}
    )


# --- in Dagster --------------------------------------------------------------------------------------------------------------------------

KEY = dg.AssetCheckKey(dg.AssetKey(_STAGE), CHECK)


def standings(instance: dg.DagsterInstance, tables: Sequence[str]) -> dict[str, Standing]:
    """How the check stands for some partition keys; those that no run planned it for are left out. One query."""
    found = instance.event_log_storage.get_asset_check_partition_info([KEY], partition_keys=list(tables))
    return {
        info.partition_key: Standing(info.latest_planned_run_id or _NO_RUN, info.latest_execution_status.value == "PLANNED")
        for info in found
        if info.partition_key is not None
    }


def record(instance: dg.DagsterInstance, run_id: str, evaluation: dg.AssetCheckEvaluation) -> None:
    """Record an evaluation under a run; it replaces the one that stands there."""
    event = dg.DagsterEvent(event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value, job_name="", event_specific_data=evaluation)
    instance.report_dagster_event(event, run_id=run_id)
