"""What the step of an asset does: sync one stage of one table, and tell Dagster what came of it. What a stage does is in pipeline.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import dagster as dg

from vector_assets.checks.result import CheckResult
from vector_assets.defs.asset_checks import as_dagster, standing
from vector_assets.defs.failures import as_verdicts
from vector_assets.defs.metadata import outcome_metadata, summary
from vector_assets.defs.pin import pinned_model
from vector_assets.defs.resources import Platform
from vector_assets.defs.run_tags import acceptance, approval, is_attended, replay
from vector_assets.defs.turn import DAGSTER
from vector_assets.pipeline import Run, StageName
from vector_assets.quarantine import requeue
from vector_assets.reconcile.run import Progress
from vector_assets.tables import TableRef

LOG_SECONDS = 10.0
_CHECKS_ALONE = (
    "checks are made inside their stage, of a version that is about to be published, and cannot be executed on their own: "
    "materialize this asset for the table instead; where nothing changed, it shows its last results again"
)
_NEEDS_MODEL: tuple[StageName, ...] = ("embeddings", "weaviate_collections")


def sync_stage(
    context: dg.AssetExecutionContext, platform: Platform, stage: StageName
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Sync a stage of the run's table: its checks, then its materialization, which is left out where a check blocks. Raises StageFailure,
    RetryRequested."""
    if not context.selected_asset_keys:
        raise dg.Failure(_CHECKS_ALONE, allow_retries=False)
    results: list[CheckResult] = []
    try:
        materialized = _sync(context, platform, stage, results)
    except dg.Failure:
        yield from (as_dagster(stage, result) for result in results)
        raise
    if results:
        yield from (as_dagster(stage, result) for result in results)
    else:
        yield from standing(context.instance, stage, context.partition_key)
    yield materialized


def _sync(
    context: dg.AssetExecutionContext, platform: Platform, stage: StageName, results: list[CheckResult]
) -> dg.MaterializeResult[None]:
    with as_verdicts(context, retries=platform.step_retries):
        ref = TableRef.parse(context.partition_key)
        tags, log = context.run.tags, _ProgressLog(context.log.info)

        def checked(_: str, found: Sequence[CheckResult]) -> None:
            results[:] = found
            platform.checked(stage, found)

        def progress(done: Progress) -> None:
            log.at(done)
            platform.progress(done)

        run = Run(
            context.run.run_id,
            wait_seconds=platform.pipeline.settings.lease_wait_seconds if is_attended(tags) else 0,
            approval=approval(tags),
            acceptance=acceptance(tags),
            progress=progress,
            checked=checked,
        )
        again = replay(tags, context.run.job_name)
        model = pinned_model(context, platform.pipeline, ref, required=stage in _NEEDS_MODEL)
        with DAGSTER.outside():
            if again is not None:
                requeue(platform.pipeline, stage, ref, run, model=model, rows=again.rows)
            outcome = platform.pipeline.sync(stage, ref, run, model)
            metadata = outcome_metadata(outcome)
            platform.finished(outcome)
    context.log.info(summary(outcome))
    return dg.MaterializeResult(asset_key=stage, metadata=metadata, data_version=dg.DataVersion(outcome.state.data_version))


class _ProgressLog:
    """Says now and then how far a stage is, how fast, and how long it will take."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._started = self._said = clock()

    def at(self, progress: Progress) -> None:
        now = self._clock()
        if now - self._said < LOG_SECONDS:
            return
        self._said = now
        rate = progress.done / (now - self._started)
        left = f"{(progress.total - progress.done) / rate:.0f} s left" if rate else "no row done yet"
        with DAGSTER.inside():
            self._say(f"{progress.stage}: {progress.done:,} of {progress.total:,} rows, {rate:,.0f} rows/s, {left}")
