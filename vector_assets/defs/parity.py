"""Jobs that compare a table's source, stage tables and objects, and put right what differs; each leaves the check `parity`. What they do is
in `vector_assets.parity`."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
from collections.abc import Callable

import dagster as dg

from vector_assets.defs.asset_checks import as_evaluation
from vector_assets.defs.failures import as_verdicts
from vector_assets.defs.partitions import TABLES
from vector_assets.defs.resources import Platform
from vector_assets.defs.run_tags import is_attended
from vector_assets.defs.turn import DAGSTER
from vector_assets.parity import Report, look, parity_result, repair
from vector_assets.pipeline import Pipeline, Run
from vector_assets.tables import TableRef

_STAGE = "weaviate_collections"


def _job(name: str, does: Callable[[Pipeline, TableRef, Run], Report], description: str) -> dg.JobDefinition:
    @dg.op(name=f"{name}_of_table", required_resource_keys={"platform"}, out=dg.Out(dg.Nothing))
    def compare(context: dg.OpExecutionContext) -> None:
        platform: Platform = context.resources.platform
        pipeline, ref = platform.pipeline, TableRef.parse(context.partition_key)
        with as_verdicts(context, retries=platform.step_retries):
            wait = pipeline.settings.lease_wait_seconds if is_attended(context.run.tags) else 0
            thresholds = pipeline.settings.tables.spec_for(ref).thresholds
            with DAGSTER.outside():
                report = does(pipeline, ref, Run(context.run.run_id, wait_seconds=wait, progress=platform.progress))
            result = parity_result(report, thresholds)
        context.log_event(as_evaluation(_STAGE, result, ref.key))  # type: ignore[arg-type]  # its annotation forgets what it takes
        context.log.info("%s: %s", ref.key, "; ".join([result.said, *report.waiting]))

    @dg.job(name=name, description=description, partitions_def=TABLES)
    def comparing() -> None:
        compare()

    return comparing


CHECK_PARITY = _job(
    "check_parity",
    look,
    "Compares a table's source, stage tables and objects in the index, of every generation, as the check `parity`; changes nothing.",
)
REPAIR_PARITY = _job(
    "repair_parity",
    repair,
    "Compares, deletes objects that belong to no row, and sends again those that are missing, stale or altered; nothing else is touched.",
)
