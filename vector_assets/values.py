"""Unmasked values of one table: how long its private stage tables hold them. `Pipeline` asks; it owns the tables and the lease.

They go as soon as redacted_text is published, or refused by a check: everything is computed then. A table that does not get that far keeps
them for the retention at most. Whatever needs them again fetches them: the private tables hold no only copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from vector_assets.errors import InputPurgedError, LeaseLostError
from vector_assets.raw.stage import VALUES
from vector_assets.tables import TableRef

if TYPE_CHECKING:
    from vector_assets.pipeline import Context, Pipeline, StageName

PRIVATE: tuple[StageName, ...] = ("raw_tables", "cleaned_frames")
"""Stages whose tables hold unmasked values, below a root of their own."""


def purge(pipeline: Pipeline, context: Context, *, version: str | None = None) -> None:
    """Remove source values once all three tables stand for the same rows and nothing unpublished needs them. `version`: of the cleaned
    rows that redacted_text has computed, where that is not published."""
    ref = context.ref
    first, second = (pipeline.published(name, ref) for name in PRIVATE)
    third = pipeline.published("redacted_text", ref)
    if context.spec.private == "keep" or first is None or second is None:
        return
    done = version or (third.state.desired["input"] if third is not None else "")
    if second.state.desired["input"] != first.state.data_version or done != second.state.data_version:
        return
    for name, view in zip(PRIVATE, (first, second), strict=True):
        table = pipeline.table(name, ref, epoch=context.lease.epoch)
        if table.now().version == view.version:
            context.lease.ensure()
            if not view.state.purged:
                table.purge([VALUES])
            table.tidy(context.limits.retention, versions=timedelta(0))


def tidy(pipeline: Pipeline, context: Context) -> None:
    """Of a table that a check blocks: what is left of deleted rows, their keys, goes after the retention. Where values wait for the end of
    the block, old versions tell since when: `bounded` removes both."""
    kept = context.spec.private == "keep"
    if not kept and _holds_values(pipeline, context.ref):
        return
    for table in (pipeline.table(name, context.ref, epoch=context.lease.epoch) for name in PRIVATE):
        if table.newest() is not None:
            context.lease.ensure()
            table.tidy(context.limits.retention, versions=None if kept else timedelta(0))


@contextmanager
def bounded(pipeline: Pipeline, context: Context, stage: StageName) -> Iterator[None]:
    """A table that does not get as far as redacted_text for longer than the retention keeps no values meanwhile."""
    try:
        yield
    except (LeaseLostError, InputPurgedError):
        raise
    except Exception:
        if stage in (*PRIVATE, "redacted_text") and context.spec.private == "purge" and _holds_values(pipeline, context.ref):
            began = pipeline.table("raw_tables", context.ref).began
            if began is not None and began <= datetime.now(UTC) - context.limits.retention:
                _start_over(pipeline, context)
        raise


@contextmanager
def refetched(pipeline: Pipeline, context: Context) -> Iterator[None]:
    """Where values are needed that were purged (a stage table was lost), the private tables start over."""
    try:
        yield
    except InputPurgedError as error:
        _start_over(pipeline, context)
        raise InputPurgedError(
            f"{context.ref.key}: source values that were purged are needed again; raw_tables and cleaned_frames start over: "
            "sync it once more"
        ) from error


def _holds_values(pipeline: Pipeline, ref: TableRef) -> bool:
    for table in (pipeline.table(name, ref) for name in PRIVATE):
        newest, published = table.newest(), table.published()
        if newest is not None and (published is None or newest.version != published.version or not published.state.purged):
            return True
    return False


def _start_over(pipeline: Pipeline, context: Context) -> None:
    for name in PRIVATE:
        table = pipeline.table(name, context.ref, epoch=context.lease.epoch)
        if table.newest() is not None:
            context.lease.ensure()
            table.start_over([VALUES])
            if table.newest() is not None:
                table.tidy(context.limits.retention, versions=timedelta(0))
