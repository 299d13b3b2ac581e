"""Rejected rows, as every stage keeps them: which, why, since when. Never a value of a row.

They live in the stage tables themselves (`reconcile.stage_table`); this only lists them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import NamedTuple

from vector_assets.models.registry import ModelVersion
from vector_assets.pipeline import STAGES, Pipeline, StageName
from vector_assets.reconcile.view import ATTEMPTS, CONTENT, FIRST_SEEN, LAST_SEEN, REASON, REJECTED, ROW_ID, STATE
from vector_assets.tables import TableRef


class Rejected(NamedTuple):
    """One rejected row. `stale`: what it showed before it was rejected is still shown. `attempts`: how often in a row it was refused."""

    table: str
    stage: StageName
    row_id: str  # 32 hex digits
    reason: str
    attempts: int
    first_seen: dt.datetime | None
    last_seen: dt.datetime | None
    stale: bool


def rejected_rows(pipeline: Pipeline, ref: TableRef, model: ModelVersion | None) -> Iterator[Rejected]:
    """Rejected rows of the published version of each stage (of the newest, where nothing was ever published), under a model."""
    for stage in STAGES:
        table = pipeline.current(stage, ref, model)
        view = (table.published() or table.newest()) if table is not None else None
        if view is None:
            continue
        columns = [ROW_ID, REASON, ATTEMPTS, FIRST_SEEN, LAST_SEEN, CONTENT]
        for batch in view.batches(columns, where=f"{STATE} = '{REJECTED}'"):
            for row in batch.to_pylist():
                yield Rejected(
                    table=ref.key,
                    stage=stage,
                    row_id=row[ROW_ID].hex(),
                    reason=row[REASON],
                    attempts=row[ATTEMPTS],
                    first_seen=row[FIRST_SEEN],
                    last_seen=row[LAST_SEEN],
                    stale=row[CONTENT] is not None,
                )
