"""The stage raw_tables: rows of the source, by digest.

The source tells (key, digest) of every row; only rows whose digest differs from what is known are fetched: by key while they are few,
else in one full read. Rows that share a key, or have a NULL in it, cannot be told apart: they are rejected, not guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.checks.judge import Judge
from vector_assets.checks.statistics import Statistics
from vector_assets.fingerprint import Hashes, from_arrow, input_fingerprints, row_ids, to_arrow, version_of
from vector_assets.raw.source import DIGEST, TableRead
from vector_assets.reconcile.audit import Audit, Candidate
from vector_assets.reconcile.plan import Lookup, Plan, Positions, RowSet, distinct
from vector_assets.reconcile.stage import Batch, Computed, Input
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.view import CONTENT, ROW_ID, View
from vector_assets.tables import TableRef

RAW_VERSION = 1  # bump when the same source row gives another output
KEY, VALUES, PROBLEM = "key", "values", "problem"
_FETCH_ROWS = 10_000  # fetch by key up to this many rows, or
_FETCH_SHARE = 0.2  # this share of the known rows; a full read is cheaper beyond
_REPEATED = "several rows have this key"
_NULL_KEY = "a key column is NULL"


class RawStage:
    """Rows of one source table. `depends` are stage versions that need the values again when they change (purging)."""

    name = "raw_tables"
    desired: Mapping[str, str] = {}
    restorable = True
    handle: tuple[str, ...] = (KEY,)

    def __init__(self, schema: pa.Schema, key: Sequence[str], *, depends: Mapping[str, str], purge: bool, keep_last: bool = True) -> None:
        self.keep_last = keep_last
        self.version = version_of(
            self.name, code=RAW_VERSION, key=list(key), columns=[[f.name, family(f.type)] for f in schema], depends=dict(depends)
        )
        self.purged: tuple[str, ...] = (VALUES,) if purge else ()
        self.own = pa.schema([pa.field(KEY, pa.struct([schema.field(name) for name in key])), pa.field(VALUES, pa.struct(list(schema)))])

    def prepare(self, table: StageTable, view: View, todo: Plan, source: Input) -> None:
        """Nothing."""

    def compute(self, rows: pa.Table, previous: pa.Table) -> Computed:
        """Rows as they come; those with a problem are rejected for it."""
        return Computed(rows.select([CONTENT, KEY, VALUES]), rows.column(PROBLEM).to_pylist())

    def audit(self, candidate: Candidate, judge: Judge) -> Audit:
        """How many rows there are, and what share of them came, changed and went, against history."""
        rows = candidate.view.count()
        size = {"rows": float(rows)}
        if candidate.published is None:
            return Audit(Statistics(size), (judge.deviation("row_count", size, relative=True), judge.deviation("change_shares", {})))
        before = max(1, candidate.published.count() + candidate.deleted)
        moved = {"added": candidate.added, "changed": candidate.changed, "deleted": candidate.deleted}
        shares = {f"{what}_share": round(count / before, 6) for what, count in moved.items()}
        results = (judge.deviation("row_count", size, relative=True), judge.deviation("change_shares", shares))
        return Audit(Statistics({**size, **shares}), results)

    def delete(self, rows: pa.Table) -> None:
        """Nothing beside the rows."""


class RawInput:
    """An `Input` over an open read. `known`: rows of the table now, so that only keys of rows that differ are held in memory."""

    def __init__(
        self,
        read: TableRead,
        ref: TableRef,
        *,
        stage: RawStage,
        known: Callable[[], RowSet],
        sequence: int,
        secret: bytes | None = None,
        batch_rows: int = 2048,
    ) -> None:
        self._read, self._ref, self._secret = read, ref, secret
        self._known, self._stage = known, stage
        self._batch_rows = batch_rows
        self._rows: RowSet | None = None
        self._problems: list[npt.NDArray[np.bool_]] = []
        self._kept: _KeptKeys | None = None
        self.version = self.source_version = read.version.token
        self.sequence = sequence

    def rows(self) -> RowSet:
        """The digest scan: (row_id, digest) of every row, repeated keys once."""
        if self._rows is None:
            self._rows = self._scan()
        return self._rows

    def _scan(self) -> RowSet:
        observed = self._known()
        known = input_fingerprints(
            observed.fingerprints, self._stage.version
        )  # XOR is its own inverse: digests, where the version is the same
        lookup, limit = Lookup(observed.ids), max(_FETCH_ROWS, int(_FETCH_SHARE * len(known)))
        ids, digests, nulls, kept = [], [], [], _KeptKeys(limit)
        offset = 0
        for batch in self._read.digests():
            key, digest = batch.column(KEY), from_arrow(batch.column(DIGEST))
            found = self._ids(key)
            at = lookup.find(found)
            differs = (at < 0) | (known[at] != digest).any(axis=1) if len(known) else np.ones(len(at), dtype=bool)
            kept.add(offset + np.flatnonzero(differs), key.filter(pa.array(differs)))
            ids.append(found)
            digests.append(digest)
            nulls.append(_any_null(key))
            offset += len(batch)
        if not ids:
            self._problems, self._kept = [np.zeros(0, dtype=bool)] * 2, kept
            return RowSet.empty()
        scanned = RowSet(np.concatenate(ids), np.concatenate(digests))
        ids.clear()
        digests.clear()
        once = distinct(scanned)
        self._problems = [once.repeated, np.concatenate(nulls)[once.positions]]
        kept.settle(once.positions)
        self._kept = kept
        return RowSet(scanned.ids[once.positions] if once.repeated.any() else scanned.ids, once.fingerprints)

    def read(self, positions: Positions) -> Iterator[Batch]:
        """Rows by key while they are few, else by a full read; rows with a problem without their values."""
        assert self._kept is not None
        repeated, null = self._problems
        bad = (repeated | null)[positions]
        yield from self._unreadable(positions[bad])
        good = positions[~bad]
        if not len(good):
            return
        keys = self._kept.keys_at(good)
        batches = self._read.rows() if keys is None else self._read.fetch(keys)
        lookup, taken = Lookup(self.rows().ids[good]), np.zeros(len(good), dtype=bool)
        for batch in batches:
            at = lookup.find(self._ids(batch.column(KEY)))
            _, first = np.unique(at, return_index=True)  # a key that came up twice since the scan: the first one, until the next scan
            fresh = np.zeros(len(at), dtype=bool)
            fresh[first] = True
            fresh &= (at >= 0) & ~taken[at]
            if fresh.any():
                taken[at[fresh]] = True
                yield self._batch(good[at[fresh]], batch.filter(pa.array(fresh)))

    def absent(self, rows: pa.Table) -> pa.BooleanArray:
        """Rows whose key the source does not have any more. A row without a stored key never had content; the scan decides, and so it does
        for one whose key is another row today (key columns changed, a number became a text)."""
        absent = np.ones(len(rows), dtype=bool)
        key = _cast(rows.column(KEY).combine_chunks(), self._stage.own.field(KEY).type)
        if key is not None:
            stored = np.asarray(key.is_valid()) & (self._ids(key) == from_arrow(rows.column(ROW_ID))).all(axis=1)
            if stored.any():
                absent[stored] = ~np.asarray(self._read.present(key.filter(pa.array(stored))))
        return pa.array(absent)

    def _ids(self, key: pa.StructArray) -> Hashes:
        return row_ids(self._ref, key.flatten(), self._secret)

    def _batch(self, positions: Positions, batch: pa.RecordBatch) -> Batch:
        digest = batch.column(DIGEST)
        rows = {CONTENT: digest, KEY: batch.column(KEY), VALUES: batch.column(VALUES), PROBLEM: pa.nulls(len(batch), pa.string())}
        return Batch(positions, pa.table(rows), from_arrow(digest))

    def _unreadable(self, positions: Positions) -> Iterator[Batch]:
        for start in range(0, len(positions), self._batch_rows):
            at = positions[start : start + self._batch_rows]
            content = self.rows().fingerprints[at]
            reasons = [_REPEATED if repeated else _NULL_KEY for repeated in self._problems[0][at]]
            nothing = {name: pa.nulls(len(at), self._stage.own.field(name).type) for name in (KEY, VALUES)}
            yield Batch(at, pa.table({CONTENT: to_arrow(content), **nothing, PROBLEM: pa.array(reasons, pa.string())}), content)


class _KeptKeys:
    """Keys of rows that differ, while they are few enough to fetch one by one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._positions: list[Positions] = []
        self._keys: list[pa.StructArray] = []
        self._count = 0

    def add(self, positions: Positions, keys: pa.StructArray) -> None:
        self._count += len(positions)
        if self._count > self._limit:
            self._positions.clear()
            self._keys.clear()
        elif len(positions):
            self._positions.append(positions)
            self._keys.append(keys)

    def settle(self, scanned: Positions) -> None:
        """Count positions among rows with distinct keys from now on."""
        first = [np.isin(part, scanned) for part in self._positions]
        self._keys = [keys.filter(pa.array(mask)) for keys, mask in zip(self._keys, first, strict=True)]
        self._positions = [np.searchsorted(scanned, part[mask]) for part, mask in zip(self._positions, first, strict=True)]

    def keys_at(self, positions: Positions) -> pa.StructArray | None:
        """The keys at these positions; None where they were too many to keep, or the plan begins elsewhere than the scan expected."""
        if self._count > self._limit or not self._keys:
            return None
        wanted = np.isin(np.concatenate(self._positions), positions)
        if np.count_nonzero(wanted) < len(positions):  # a restored version lacks rows that the newest one had
            return None
        keys: pa.StructArray = pa.concat_arrays(self._keys).filter(pa.array(wanted))
        return keys


def _cast(key: pa.StructArray, kind: pa.StructType) -> pa.StructArray | None:
    """Keys as today's key columns; None where those are others, or of a type that the keys do not fit."""
    if [f.name for f in key.type] != [f.name for f in kind]:
        return None
    try:
        return key.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def family(kind: pa.DataType) -> str:
    """The family of a type: widening within one changes nothing downstream."""
    families = {
        "integer": pa.types.is_integer,
        "decimal": pa.types.is_decimal,
        "float": pa.types.is_floating,
        "text": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t),
        "binary": lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_fixed_size_binary(t),
        "timestamp": lambda t: pa.types.is_timestamp(t) and t.tz is None,
        "instant": pa.types.is_timestamp,
        "time": pa.types.is_time,
    }
    return next((name for name, belongs in families.items() if belongs(kind)), str(kind))


def _any_null(key: pa.StructArray) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(key), dtype=bool)
    for part in key.flatten():
        mask |= np.asarray(pc.is_null(part))
    return mask
