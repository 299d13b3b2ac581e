"""Runs in this process, recorded in the instance as any other: how `vector-assets sync` materializes a table. Many threads may do so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import dagster as dg

from vector_assets.checks.result import CheckResult
from vector_assets.defs.assets import ASSETS
from vector_assets.defs.failures import StageFailure
from vector_assets.defs.jobs import SYNC_TABLES
from vector_assets.defs.partitions import TABLES
from vector_assets.defs.resources import Platform
from vector_assets.defs.turn import DAGSTER
from vector_assets.errors import InputPurgedError, LeaseHeldError, LeaseLostError, TransientError, VectorAssetsError
from vector_assets.pipeline import STAGES, Pipeline, StageName
from vector_assets.reconcile.run import Outcome, Progress
from vector_assets.tables import TableRef

RETRY_WAITS_SECONDS = (5.0, 20.0)
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}  # whoever calls shows progress in its own way


def sync_table(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    ref: TableRef,
    *,
    tags: Mapping[str, str] | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    finished: Callable[[Outcome], None] = lambda _: None,
    checked: Callable[[StageName, Sequence[CheckResult]], None] = lambda _stage, _results: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Materialize the five assets of one table, in the caller's thread. `progress` and `finished` may raise to stop it.

    What may pass is tried again, twice, from the stage that it stopped. Raises the VectorAssetsError of the stage that failed
    (UnexpectedError for a bug) and interrupts that the callbacks raise; the run is recorded as failed then.
    """
    done: list[StageName] = []

    def note(outcome: Outcome) -> None:
        done.append(STAGES[len(done)])
        finished(outcome)

    for wait in (*RETRY_WAITS_SECONDS, None):
        error = _materialize(
            instance, Platform(pipeline, progress, note, step_retries=0, checked=checked), ref, STAGES[len(done) :], tags or {}
        )
        if error is None:
            break
        if wait is None or not isinstance(error, TransientError) or isinstance(error, LeaseHeldError | LeaseLostError):
            raise error
        if isinstance(error, InputPurgedError):
            done.clear()  # from raw_tables again, which fetches what is needed; that needs no waiting
        else:
            sleep(wait)


def _materialize(
    instance: dg.DagsterInstance, platform: Platform, ref: TableRef, stages: Sequence[StageName], tags: Mapping[str, str]
) -> VectorAssetsError | None:
    with DAGSTER.inside():
        if not instance.has_dynamic_partition(str(TABLES.name), ref.key):
            instance.add_dynamic_partitions(str(TABLES.name), [ref.key])
        defs = dg.Definitions(assets=ASSETS, jobs=[SYNC_TABLES], resources={"platform": platform})
        try:
            defs.resolve_job_def(SYNC_TABLES.name).execute_in_process(
                run_config=_QUIET,
                instance=instance,
                partition_key=ref.key,
                asset_selection=[dg.AssetKey(stage) for stage in stages],
                tags=dict(tags),
            )
        except StageFailure as failure:
            return failure.error
    return None
