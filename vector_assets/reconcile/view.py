"""Reading a stage table: what every stage knows of a row, one version of a table held still, and what a published version stands for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.fingerprint import HASH_TYPE, data_version, from_arrow
from vector_assets.reconcile.plan import Positions, RowSet
from vector_assets.reconcile.store import storage_errors

if TYPE_CHECKING:
    from lance import LanceDataset

ROW_ID, INPUT, CONTENT = "row_id", "input", "content"
STATE, REASON, ATTEMPTS, FIRST_SEEN, LAST_SEEN = "state", "reason", "attempts", "first_seen", "last_seen"
OK, REJECTED = "ok", "rejected"
_SEEN = pa.timestamp("us", "UTC")

ROW_COLUMNS = pa.schema(
    [
        pa.field(ROW_ID, HASH_TYPE, nullable=False),
        pa.field(INPUT, HASH_TYPE, nullable=False),  # fingerprint of what the row was made from
        pa.field(CONTENT, HASH_TYPE),  # fingerprint of what the next stage depends on; NULL: there is nothing for it
        pa.field(STATE, pa.string(), nullable=False),
        pa.field(REASON, pa.string()),  # of a rejection; never holds a value of the row
        pa.field(ATTEMPTS, pa.int32(), nullable=False),  # in a row that were rejected
        pa.field(FIRST_SEEN, _SEEN),
        pa.field(LAST_SEEN, _SEEN),
    ]
)
"""What every stage knows of every row; a stage's own columns come behind."""

METADATA = "vector_assets"  # the key of the state in a version's metadata


@dataclass(frozen=True)
class State:
    """What a published version stands for.

    `desired` is all that was asked for (source version, stage version, generation, …): equal means there is nothing to do. `sequence`
    grows with every look at the source (milliseconds, so that it grows across a wiped root too) and is handed down from stage to stage.
    """

    desired: Mapping[str, str] = field(default_factory=dict)
    source_version: str = ""
    sequence: int = 0
    epoch: int = 0
    data_version: str = ""
    ok: int = 0
    rejected: int = 0
    stale: int = 0  # rejected rows that still show their last good content
    published_at: str = ""
    purged: bool = False  # source values other than keys are gone
    history: Sequence[Mapping[str, Mapping[str, object]]] = field(
        default_factory=list
    )  # statistics of the last published versions, this one's last
    accepted: Sequence[str] = field(default_factory=list)  # checks of this version that failed and were accepted: which, by whom, why
    dirty_since: str = ""  # when the oldest replaced or deleted row that Lance can still read was replaced

    @property
    def rows(self) -> int:
        """Rows of the table in any state."""
        return self.ok + self.rejected

    @property
    def relieved(self) -> State:
        """This state once rows are deleted from it: it does not stand for its input any more, not even where that input comes back."""
        return replace(self, desired={**self.desired, "input": ""})

    def with_history(self, history: Sequence[Mapping[str, Mapping[str, object]]], accepted: Sequence[str]) -> State:
        """This state with what checks said of it."""
        return replace(self, history=history, accepted=accepted)


class RowCounts(NamedTuple):
    """Rows of one version by state."""

    ok: int
    rejected: int
    stale: int


class View:
    """One version of a stage table, held still."""

    def __init__(self, dataset: LanceDataset) -> None:
        self._dataset = dataset

    @property
    def version(self) -> int:
        """The Lance version."""
        return int(self._dataset.version)

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of this version."""
        return self._dataset.schema

    @cached_property
    def state(self) -> State:
        """The state in this version's metadata. Only the published version's is a statement about its rows."""
        stored = self._dataset.metadata.get(METADATA)
        return State(**json.loads(stored)) if stored else State()

    @cached_property
    def observed(self) -> RowSet:
        """(row_id, input fingerprint) of every row; positions count as in `take`."""
        table = self._scan([ROW_ID, INPUT])
        return RowSet(from_arrow(table.column(ROW_ID)), from_arrow(table.column(INPUT)))

    @cached_property
    def without_stale(self) -> RowSet:
        """Like `observed`, but rejected rows that still show their last good content count as made from nothing: they are to go."""
        table = self._scan([STATE, CONTENT])
        stale = np.asarray(pc.and_(pc.equal(table.column(STATE), REJECTED), table.column(CONTENT).is_valid()))
        if not stale.any():
            return self.observed
        return RowSet(self.observed.ids, np.where(stale[:, None], np.uint64(0), self.observed.fingerprints))

    def content(self, *columns: str) -> tuple[RowSet, Positions, pa.Table]:
        """Rows that have content: (row_id, content fingerprint), their positions for `take`, and more columns of theirs."""
        table = self._scan([ROW_ID, CONTENT, *columns])
        positions = np.flatnonzero(np.asarray(table.column(CONTENT).is_valid())).astype(np.int64)
        if len(positions) < len(table):
            table = table.take(pa.array(positions))
        return RowSet(from_arrow(table.column(ROW_ID)), from_arrow(table.column(CONTENT))), positions, table.select(columns)

    def take(self, positions: Positions, columns: list[str] | None = None) -> pa.Table:
        """Rows at these positions, in their order."""
        with storage_errors("read", self._dataset.uri):
            return self._dataset.take(positions, columns=columns)

    def batches(self, columns: list[str], *, where: str | None = None, batch_rows: int = 8192) -> Iterator[pa.RecordBatch]:
        """Every row, in bounded batches."""
        with storage_errors("read", self._dataset.uri):
            yield from self._dataset.to_batches(columns=columns, filter=where, batch_size=batch_rows)

    def count(self, where: str | None = None) -> int:
        """Rows, or rows that a Lance filter lets through."""
        with storage_errors("read", self._dataset.uri):
            return int(self._dataset.count_rows(where))

    def counts(self) -> RowCounts:
        """Rows by state."""
        table = self._scan([STATE, CONTENT])
        rejected = pc.equal(table.column(STATE), REJECTED)
        total = int(pc.sum(rejected).as_py() or 0)
        stale = int(pc.sum(pc.and_(rejected, table.column(CONTENT).is_valid())).as_py() or 0)
        return RowCounts(len(table) - total, total, stale)

    def data_version(self) -> str:
        """Order-independent digest of the (row_id, content fingerprint) set."""
        rows, _, _ = self.content()
        return data_version(rows.ids, rows.fingerprints)

    def _scan(self, columns: list[str]) -> pa.Table:
        with storage_errors("read", self._dataset.uri):
            return self._dataset.to_table(columns=columns)
