"""Deletes of one table beyond the stage that sees them: into later stages while a check blocks one, and into embeddings and collections of
other generations. `Pipeline` asks; it owns the tables and the lease.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from vector_assets import values
from vector_assets.errors import AuditError, DeleteBrakeError, VectorAssetsError
from vector_assets.fingerprint import Hashes, empty_hashes
from vector_assets.indexed.stage import IndexedStage
from vector_assets.models.generation import collection_name
from vector_assets.reconcile.plan import RowSet, plan
from vector_assets.reconcile.stage import Deleting
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.store import children, open_store
from vector_assets.reconcile.sync import ROWS_ALONE, delete_absent

if TYPE_CHECKING:
    from vector_assets.pipeline import Context, Pipeline, StageName

_PREPARED: tuple[StageName, ...] = (*values.PRIVATE, "redacted_text")
"""Stages with one table per source table; those behind them have one for each generation."""


def pass_on(pipeline: Pipeline, context: Context, stage: StageName, blocked: AuditError) -> None:
    """What a blocked stage has published as deleted goes from every later stage too: no run comes there before the block is over.

    Raises, with why the stage is blocked, what keeps deletes from going on: AuditError where it is the brake.
    """
    try:
        _from_later(pipeline, context, stage)
    except DeleteBrakeError as error:
        raise AuditError(f"{blocked} Its deletes have not reached every later stage: {error}") from None
    except VectorAssetsError as error:
        raise type(error)(f"{error}; passing on deletes from a stage that is blocked: {blocked}") from None


def from_embeddings(pipeline: Pipeline, context: Context, wanted: Hashes, *, current: str | None = None) -> None:
    """Leave only wanted rows in embeddings of every generation; the current one has seen to its own, and to the brake."""
    for made in children(open_store(pipeline.settings.storage), "embeddings"):
        if made != current:
            table = pipeline.table("embeddings", context.ref, made, epoch=context.lease.epoch)
            _delete(context, table, wanted, braked=current is None)


def from_collections(pipeline: Pipeline, context: Context, wanted: Hashes, *, current: str | None = None) -> None:
    """Leave only wanted rows in collections of every generation that this table was ever sent to; the current one has seen to its own."""
    ref, spec, index = context.ref, context.spec, pipeline.engines.index()
    for made in children(open_store(pipeline.settings.storage), "weaviate_collections"):
        name = collection_name(spec.collection, made)
        incarnation = index.incarnation(name) if made != current else None
        schema = index.describe(name) if incarnation else None
        if incarnation and schema:
            index.delete(name, empty_hashes())  # a visit: nobody writes to collections of other models any more
            stage = IndexedStage(ref=ref, spec=spec, index=index, schema=schema, incarnation=incarnation, properties_type=pa.struct([]))
            table = pipeline.table("weaviate_collections", ref, made, incarnation, own=stage.own, epoch=context.lease.epoch)
            _delete(context, table, wanted, stage=stage, braked=current is None)


def _from_later(pipeline: Pipeline, context: Context, stage: StageName) -> None:
    view = pipeline.published(stage if stage in _PREPARED else _PREPARED[-1], context.ref)
    if view is None:
        return
    wanted = view.content()[0].ids
    if stage in _PREPARED:
        for name in _PREPARED[_PREPARED.index(stage) + 1 :]:
            table = pipeline.table(name, context.ref, epoch=context.lease.epoch)
            _delete(context, table, wanted, braked=True, tidied=name not in values.PRIVATE)
        values.tidy(pipeline, context)
    from_embeddings(pipeline, context, wanted)
    from_collections(pipeline, context, wanted)


def _delete(
    context: Context, table: StageTable, wanted: Hashes, *, stage: Deleting = ROWS_ALONE, braked: bool, tidied: bool = True
) -> None:
    """Delete rows of a table that its own stage does not see to in this run, and leave nothing readable of them after the retention."""
    if braked:
        _check_brake(context, table, wanted)
    delete_absent(stage, table, wanted, ensure=context.limits.ensure)
    if tidied and table.newest() is not None:
        table.tidy(context.limits.retention)


def _check_brake(context: Context, table: StageTable, wanted: Hashes) -> None:
    published, approval = table.published(), context.run.approval
    if published is not None:
        ids = published.observed.ids
        doomed = len(plan(RowSet(wanted, wanted), RowSet(ids, ids)).deletes)
        # An approval names what the source was looked at, which a blocked stage does not publish: its count is what limits it here.
        version = approval.source_version if approval is not None else published.state.source_version
        context.limits.brake.check("deletes", table.uri, version, doomed, len(ids))
