"""The loop that every stage runs: plan, delete, compute only what differs, commit, audit, publish.

A `Stage` says what a row becomes, an `Input` what there is to do it with; `reconcile` makes the stage's table equal to what the input
asks for. A crash at any point loses at most one commit interval and the queues' depth: what was committed is observed by the next run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.errors import AuditError
from vector_assets.fingerprint import Hashes, column_fingerprints, input_fingerprints, to_arrow
from vector_assets.reconcile.audit import Candidate, audited
from vector_assets.reconcile.overlap import overlap
from vector_assets.reconcile.plan import Plan, Positions, RowSet, plan
from vector_assets.reconcile.run import Limits, Outcome, Progress
from vector_assets.reconcile.stage import Batch, Computed, Deleting, Input, Stage
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.view import (
    ATTEMPTS,
    CONTENT,
    FIRST_SEEN,
    INPUT,
    LAST_SEEN,
    OK,
    REASON,
    REJECTED,
    ROW_COLUMNS,
    ROW_ID,
    STATE,
    State,
    View,
)

_log = logging.getLogger(__name__)
_LOG_SECONDS = 10.0
_CHUNK_ROWS = 10_000  # rows confirmed or deleted at a time


def reconcile(stage: Stage, source: Input, table: StageTable, limits: Limits) -> Outcome:
    """Make a stage's table what its input asks for, and publish it.

    Raises DeleteBrakeError before anything is changed, AuditError with the deletes published and the rest not, LeaseLostError, and
    whatever the input and the stage raise.
    """
    started = time.monotonic()
    wanted = wanted_state(stage, source)
    published = table.published()
    limits.ensure()
    if published is not None and _is_level(table, published) and published.state.desired == wanted.desired:
        if published.state.source_version != wanted.source_version:
            table.restate(wanted.source_version, wanted.sequence)
        if not stage.purged:
            table.tidy(limits.retention)
        return _outcome(stage, table, started, unchanged=published.state.rows)
    run = _Run(stage, source, table, limits, published)
    base, todo = run.choose(table.open_for_writing(), published)
    deleted = run.delete(base, todo, published)
    base, todo = run.ready(base, todo)
    run.upsert(base, todo)
    limits.ensure()
    if not stage.purged:
        table.compact()
    candidate = Candidate(table.now(), table.published(), run.tally.added, run.tally.changed, deleted)
    try:
        state = audited(stage, candidate, wanted, limits)
    except AuditError:
        if not stage.purged:  # values of others go as the pipeline says
            table.tidy(limits.retention)
        raise
    table.publish(state)
    if not stage.purged:
        table.tidy(limits.retention)
    planned = todo.upserts + deleted
    return _outcome(stage, table, started, tally=run.tally, planned=planned, deleted=deleted, unchanged=todo.unchanged)


def wanted_state(stage: Stage, source: Input) -> State:
    """What a published version must stand for, so that there is nothing to do."""
    desired = {"input": source.version, "stage": stage.version, "rejected": "kept" if stage.keep_last else "dropped", **stage.desired}
    return State(desired, source.source_version, source.sequence)


class _RowsAlone:
    """Of stages that keep nothing beside their rows."""

    handle: tuple[str, ...] = ()

    def delete(self, rows: pa.Table) -> None:
        """Nothing."""


ROWS_ALONE = _RowsAlone()


def delete_absent(
    stage: Deleting,
    table: StageTable,
    wanted: Hashes,
    *,
    ensure: Callable[[], None],
    absent: Callable[[pa.Table], pa.BooleanArray] | None = None,
) -> int:
    """Delete rows that are not wanted, and publish that on its own; nothing that follows may hold a delete back.

    `absent` confirms each row. Used for tables of other generations too: deletes reach every one, upserts only the current one.
    """
    if table.newest() is None:
        return 0
    published, newest = table.published(), table.open_for_writing()
    surplus = _surplus(newest, wanted, stage, absent)
    ensure()
    for chunk in _chunks(surplus):
        stage.delete(newest.take(chunk, [ROW_ID, *stage.handle]))
    ids = newest.observed.ids[surplus]
    if published is None:
        table.delete(ids)
    elif newest.version == published.version:
        if len(ids):
            table.delete(ids)
            table.publish(published.state.relieved)
    else:
        gone = _surplus(published, wanted, stage, absent)
        table.publish_deletes(published.observed.ids[gone])
        table.delete(ids)
        return max(len(ids), len(gone))
    return len(ids)


def _surplus(view: View, wanted: Hashes, stage: Deleting, absent: Callable[[pa.Table], pa.BooleanArray] | None) -> Positions:
    surplus = plan(RowSet(wanted, wanted), RowSet(view.observed.ids, view.observed.ids)).deletes
    if absent is None:
        return surplus
    gone = [np.asarray(absent(view.take(chunk, [ROW_ID, *stage.handle]))) for chunk in _chunks(surplus)]
    return surplus[np.concatenate(gone)] if gone else surplus


def _chunks(positions: Positions) -> Iterator[Positions]:
    for start in range(0, len(positions), _CHUNK_ROWS):
        yield positions[start : start + _CHUNK_ROWS]


def _is_level(table: StageTable, published: View) -> bool:
    newest = table.newest()
    return newest is not None and newest.version == published.version and newest.schema.equals(table.schema)


def _outcome(
    stage: Stage, table: StageTable, started: float, *, tally: _Tally | None = None, planned: int = 0, deleted: int = 0, unchanged: int
) -> Outcome:
    view = table.published()
    assert view is not None
    return Outcome(
        stage=stage.name,
        state=view.state,
        version=view.version,
        uri=table.uri,
        planned=planned,
        added=tally.added if tally else 0,
        changed=tally.changed if tally else 0,
        deleted=deleted,
        unchanged=unchanged + (tally.same if tally else 0),
        seconds=time.monotonic() - started,
        counts=dict(tally.counts) if tally else {},
        schema=view.schema,
    )


class _Tally:
    """Counts of a run."""

    def __init__(self) -> None:
        self.added = self.changed = self.same = 0
        self.counts: dict[str, int] = {}

    def add(self, rows: pa.Table, previous: pa.Table, counts: Mapping[str, int]) -> None:
        now, before = rows.column(CONTENT), previous.column(CONTENT)
        good = pc.equal(rows.column(STATE), OK)
        self.added += _true(pc.and_(good, before.is_null()))
        self.changed += _true(pc.and_(good, pc.not_equal(now, before)))
        self.same += _true(pc.and_(good, pc.equal(now, before)))
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count


def _true(mask: pa.Array | pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


class _Work(NamedTuple):
    """A batch on its way: input rows, what stood there before, and which of them replace a row."""

    batch: Batch
    previous: pa.Table
    replaces: npt.NDArray[np.bool_]


class _Run:
    """One reconciliation under way."""

    def __init__(self, stage: Stage, source: Input, table: StageTable, limits: Limits, published: View | None) -> None:
        self.stage, self.source, self.table, self.limits = stage, source, table, limits
        self.restaged = published is None or published.state.desired.get("stage") != stage.version
        rows = source.rows()
        self.wanted = RowSet(rows.ids, input_fingerprints(rows.fingerprints, stage.version))
        self.tally = _Tally()

    def choose(self, newest: View, published: View | None) -> tuple[View, Plan]:
        """Go on from the newest version, or from the published one where that needs less (a policy that was reverted)."""
        todo = self._plan(newest)
        if published is None or newest.version == published.version or not self.stage.restorable:
            return newest, todo
        if self._plan(published).upserts >= todo.upserts:
            return newest, todo
        restored = self.table.restore(published)
        return restored, self._plan(restored)

    def delete(self, base: View, todo: Plan, published: View | None) -> int:
        """Deletes, under the brake. Plans again only where unpublished work stands between `base` and what is published."""
        doomed = len(todo.deletes)
        if published is not None:
            if base.version != published.version:
                doomed = len(plan(self.wanted, published.observed).deletes)
            self.limits.brake.check(self.stage.name, self.table.uri, self.source.source_version, doomed, len(published.observed.ids))
        if not doomed and not len(todo.deletes):
            return 0
        return delete_absent(self.stage, self.table, self.wanted.ids, ensure=self.limits.ensure, absent=self.source.absent)

    def ready(self, base: View, todo: Plan) -> tuple[View, Plan]:
        """The version that rows are written to, and what is left to do there."""
        self.table.reshape()
        base, todo = self._moved(base, todo)
        self.stage.prepare(self.table, base, todo, self.source)
        return self._moved(base, todo)

    def _moved(self, base: View, todo: Plan) -> tuple[View, Plan]:
        now = self.table.now()
        return (base, todo) if now.version == base.version else (now, self._plan(now))

    def upsert(self, base: View, todo: Plan) -> None:
        """Compute and commit what differs."""
        total = todo.upserts
        if not total:
            return
        commits = _Commits(self.table, self.limits)
        meter = _Meter(self.stage.name, total, self.limits.progress)

        def compute(work: _Work) -> tuple[pa.Table, _Work]:
            with self.limits.compute:
                computed = self.stage.compute(work.batch.rows, work.previous)
            rows = self._settle(work, computed)
            self.tally.add(rows, work.previous, computed.tally)
            meter.add(len(rows))
            return rows, work

        overlap(self._work(base, todo), compute, lambda done: commits.add(done[0], done[1].replaces))
        commits.flush()

    def _plan(self, view: View) -> Plan:
        return plan(self.wanted, view.observed if self.stage.keep_last else view.without_stale)

    def _work(self, base: View, todo: Plan) -> Iterator[_Work]:
        for batch in self.source.read(np.sort(np.concatenate([todo.inserts, todo.changes]))):
            at = np.minimum(np.searchsorted(todo.changes, batch.positions), max(len(todo.changes) - 1, 0))
            replaces = todo.changes[at] == batch.positions if len(todo.changes) else np.zeros(len(at), dtype=bool)
            found = base.take(todo.previous[at[replaces]]) if replaces.any() else self.table.schema.empty_table()
            spread = np.where(replaces, np.cumsum(replaces) - 1, 0)
            yield _Work(batch, found.take(pa.array(spread, mask=~replaces)), replaces)

    def _settle(self, work: _Work, computed: Computed) -> pa.Table:
        """Rows as they are stored: rejected ones keep what stood there before, or nothing."""
        batch, previous = work.batch, work.previous
        count, now = len(batch.positions), pa.scalar(datetime.now(UTC), ROW_COLUMNS.field(LAST_SEEN).type)
        rejected = pa.array([reason is not None for reason in computed.reasons], pa.bool_())
        content = [CONTENT, *self.stage.own.names]
        rows = _pick(computed.rows.select(content), previous.select(content), rejected, keep=self.stage.keep_last)
        first = pc.if_else(rejected, pc.coalesce(previous.column(FIRST_SEEN), now), None)
        attempts = pc.if_else(rejected, pc.add(pc.coalesce(previous.column(ATTEMPTS), pa.scalar(0, pa.int32())), 1), 0)
        columns = {
            ROW_ID: to_arrow(self.wanted.ids[batch.positions]),
            INPUT: to_arrow(input_fingerprints(batch.content, self.stage.version)),
            STATE: pc.if_else(rejected, REJECTED, OK),
            REASON: pa.array(computed.reasons, pa.string()),
            ATTEMPTS: attempts,
            FIRST_SEEN: first,
            LAST_SEEN: pc.if_else(rejected, now, None),
            **{name: rows.column(name) for name in content},
            CONTENT: self._disowned(rows.column(CONTENT), rejected),
            **{name: _not_null(rows.column(name), count) for name in self.stage.purged},
        }
        return pa.table([columns[name] for name in self.table.schema.names], names=self.table.schema.names).cast(self.table.schema)

    def _disowned(self, content: pa.ChunkedArray, rejected: pa.BooleanArray) -> pa.ChunkedArray:
        """Last good content of rejected rows under a new version of a stage that purges: the next stage has nothing to compute it anew
        from. It gets a fingerprint of its own, so that the row counts as changed both now and when the same content is good again."""
        if not (self.stage.purged and self.restaged and rejected.true_count):
            return content
        kept = pc.and_(rejected, content.is_valid())
        return pc.if_else(kept, to_arrow(column_fingerprints("stale", [(CONTENT, content)])), content)


def _pick(computed: pa.Table, previous: pa.Table, rejected: pa.BooleanArray, *, keep: bool) -> pa.Table:
    if not rejected.true_count:
        return computed
    mask, count = np.asarray(rejected), len(rejected)
    if not keep:
        return computed.take(pa.array(np.arange(count), mask=mask))
    both = pa.concat_tables([computed.cast(previous.schema), previous])
    return both.take(pa.array(np.arange(count) + np.where(mask, count, 0)))


def _not_null(column: pa.ChunkedArray, count: int) -> pa.ChunkedArray:
    if not column.null_count:
        return column
    empty = pa.StructArray.from_arrays([pa.nulls(count, f.type) for f in column.type], fields=list(column.type))
    at = np.arange(count) + np.where(np.asarray(column.is_null()), count, 0)
    return pa.chunked_array([*column.chunks, empty]).take(pa.array(at))


class _Commits:
    """Rows gathered into commits: each holds at most so many rows, bytes and seconds of work."""

    def __init__(self, table: StageTable, limits: Limits) -> None:
        self._table, self._limits = table, limits
        self._new: list[pa.Table] = []
        self._replacing: list[pa.Table] = []
        self._since = time.monotonic()

    def add(self, rows: pa.Table, replaces: npt.NDArray[np.bool_]) -> None:
        self._new.append(rows.filter(pa.array(~replaces)))
        self._replacing.append(rows.filter(pa.array(replaces)))
        waiting, limits = [*self._new, *self._replacing], self._limits
        if (
            sum(map(len, waiting)) >= limits.commit_rows
            or sum(part.nbytes for part in waiting) >= limits.commit_bytes
            or time.monotonic() - self._since >= limits.commit_seconds
        ):
            self.flush()

    def flush(self) -> None:
        self._limits.ensure()
        for parts, commit in ((self._new, self._table.append), (self._replacing, self._table.merge)):
            if parts:
                commit(pa.concat_tables(parts))
                parts.clear()
        self._since = time.monotonic()


class _Meter:
    """Says how far a stage is: to whoever watches, and every ten seconds to the log."""

    def __init__(self, stage: str, total: int, progress: Callable[[Progress], None]) -> None:
        self._stage, self._total, self._progress = stage, total, progress
        self._done = 0
        self._started = self._logged = time.monotonic()

    def add(self, rows: int) -> None:
        self._done += rows
        self._progress(Progress(self._stage, self._done, self._total))
        now = time.monotonic()
        if now - self._logged >= _LOG_SECONDS:
            self._logged = now
            rate = self._done / (now - self._started)
            left = (self._total - self._done) / rate
            _log.info("%s: %s of %s rows, %.0f rows/s, %.0f s left", self._stage, f"{self._done:,}", f"{self._total:,}", rate, left)
