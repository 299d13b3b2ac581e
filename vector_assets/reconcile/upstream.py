"""The published version of one stage as the input of the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.errors import InputPurgedError
from vector_assets.reconcile.plan import Positions, RowSet
from vector_assets.reconcile.stage import Batch
from vector_assets.reconcile.view import OK, REJECTED, STATE, View


class Upstream:
    """An `Input` over a published view: every row that has content. `needed` names a column that a good row must still have (purging)."""

    def __init__(self, view: View, columns: Sequence[str], *, batch_rows: int, batch_bytes: int, needed: str | None = None) -> None:
        self._view, self._needed = view, needed
        self._columns = list(dict.fromkeys([*columns, *([needed, STATE] if needed else [])]))
        self._batch_rows, self._batch_bytes = batch_rows, batch_bytes
        self._rows: RowSet | None = None
        self._positions: Positions = np.empty(0, dtype=np.int64)
        self.version = view.state.data_version
        self.source_version = view.state.source_version
        self.sequence = view.state.sequence

    def rows(self) -> RowSet:
        """(row_id, content fingerprint) of rows with content."""
        if self._rows is None:
            self._rows, self._positions, _ = self._view.content()
        return self._rows

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of rows with content, in the order of `rows`."""
        return self._view.content(name)[2].column(name)

    def read(self, positions: Positions) -> Iterator[Batch]:
        """Rows in batches of about so many bytes. Raises InputPurgedError where values that are needed are gone."""
        rows = self.rows()
        size, start = min(256, self._batch_rows), 0  # small at first: the width of a row is not known yet
        while start < len(positions):
            at = positions[start : start + size]
            table = self._view.take(self._positions[at], self._columns)
            self._check(table)
            yield Batch(at, table, rows.fingerprints[at])
            start += len(at)
            width = max(table.nbytes // len(at), 1)
            size = max(1, min(self._batch_rows, self._batch_bytes // width, 4 * size))

    def absent(self, rows: pa.Table) -> pa.BooleanArray:
        """All of them: the stage before has confirmed it."""
        return pa.array(np.ones(len(rows), dtype=bool))

    def _check(self, table: pa.Table) -> None:
        if self._needed is None or not table.column(self._needed).null_count:
            return
        gone = np.asarray(table.column(self._needed).is_null()) & (np.asarray(table.column(STATE).to_pylist()) == OK)
        if gone.any():
            raise InputPurgedError("source values that are needed again were purged")


def values_gone(rows: pa.Table, column: str) -> npt.NDArray[np.bool_]:
    """Which rows are rejected ones whose last good values were purged: there is nothing to compute them from. Good rows have a key."""
    gone = np.asarray(pc.equal(rows.column(STATE), REJECTED))
    for values in rows.column(column).combine_chunks().flatten():
        gone &= np.asarray(values.is_null())
    return gone
