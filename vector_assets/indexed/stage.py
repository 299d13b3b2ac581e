"""The stage weaviate_collections: passages as objects of a collection, and a ledger of what was sent.

The ledger is the stage's table: per row, how many objects the index may hold, and the fingerprint that was acknowledged. It is named
after the collection's incarnation, so a wiped index meets an empty ledger and is filled again from stage tables. Rows are entered
*before* their objects are sent: whatever a crash leaves in the index, the next run knows where to look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.checks.judge import Judge
from vector_assets.checks.statistics import Statistics
from vector_assets.errors import IndexConflict, IndexUnavailable
from vector_assets.fingerprint import HASH_TYPE, Hashes, fingerprint, from_arrow, from_bytes, to_arrow, version_of
from vector_assets.indexed.index import OBJECT_COLUMNS, CollectionSchema, Property, VectorIndex
from vector_assets.indexed.mapping import object_ids, property_names, property_type, source_keys, to_properties
from vector_assets.indexed.probes import CANDIDATES, PROBES, EncodeQuery, Probe, judged, missed, probes_of
from vector_assets.reconcile.audit import Audit, Candidate
from vector_assets.reconcile.plan import Lookup, Plan, Positions
from vector_assets.reconcile.sample import smallest
from vector_assets.reconcile.stage import Computed, Input
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.upstream import Upstream
from vector_assets.reconcile.view import ATTEMPTS, CONTENT, INPUT, OK, REASON, REJECTED, ROW_ID, STATE, View
from vector_assets.tables import TableRef, TableSpec

INDEXED_VERSION = 1  # bump when the same input gives other objects
PASSAGES, PASSAGE_COUNT, PROPERTIES, PROPERTIES_FINGERPRINT = "passages", "passage_count", "properties", "properties_fingerprint"
INPUT_COLUMNS = (ROW_ID, PASSAGES, PROPERTIES, PROPERTIES_FINGERPRINT)
OBJECTS = "objects"
_ENTRY_ROWS = 1 << 17  # entered at a time
_SENDING = "its objects were not acknowledged yet"
UNSENT = f"{STATE} = '{REJECTED}' AND {ATTEMPTS} = 0"
"""Rows of a ledger that were entered, and not sent yet."""


class Objects(NamedTuple):
    """Objects of rows (see `OBJECT_COLUMNS`), the row that each is of, objects of each row, and why rows cannot be sent."""

    table: pa.Table
    owner: Positions
    counts: Positions
    reasons: Sequence[str | None]


class IndexedStage:
    """Objects of one table in one collection, which exists."""

    name = "weaviate_collections"
    purged: tuple[str, ...] = ()
    handle: tuple[str, ...] = (OBJECTS,)
    restorable = False
    own = pa.schema([pa.field(OBJECTS, pa.int32())])

    def __init__(
        self,
        *,
        ref: TableRef,
        spec: TableSpec,
        index: VectorIndex,
        schema: CollectionSchema,
        incarnation: str,
        properties_type: pa.StructType,
        encode_query: EncodeQuery | None = None,
    ) -> None:
        """`encode_query`: the model's, for probes; a stage that only deletes or looks needs none."""
        self._index, self._schema, self._table, self._incarnation = index, schema, ref.key, incarnation
        self.keep_last = spec.on_reject == "keep_last"
        self._key = [name for name in spec.key if name in spec.shown]
        self._names = property_names([f.name for f in properties_type])
        self._generation = schema.stamp["generation"]
        self._encode_query = encode_query
        self._source: Input | None = None
        self.desired: Mapping[str, str] = {"generation": self._generation, "incarnation": incarnation}
        self.version = version_of(self.name, code=INDEXED_VERSION, generation=self._generation)

    def prepare(self, table: StageTable, view: View, todo: Plan, source: Input) -> None:
        """Enter rows that will hold more objects than the ledger says."""
        self._source = source
        if not todo.upserts:
            return
        assert isinstance(source, Upstream)
        counts = source.column(PASSAGE_COUNT).to_numpy()
        ids = source.rows().ids
        for start in range(0, len(todo.inserts), _ENTRY_ROWS):
            part = todo.inserts[start : start + _ENTRY_ROWS]
            table.append(self._entries(table.schema, ids[part], counts[part]))
        if len(todo.changes):
            before = view.take(todo.previous, [OBJECTS, CONTENT])
            grows = counts[todo.changes] > _held(before)
            more = todo.changes[grows]
            table.merge(self._entries(table.schema, ids[more], counts[more], before.column(CONTENT).filter(pa.array(grows))))

    def compute(self, rows: pa.Table, previous: pa.Table) -> Computed:
        """Send objects; delete those of passages that are no more, and of refused rows that are to show nothing."""
        objects, owner, counts, refused = self.objects(rows)
        reasons = list(refused)
        sendable = np.array([reason is None for reason in reasons], dtype=bool)[owner]
        failures = self._upsert(objects.filter(pa.array(sendable))) if sendable.any() else {}
        if failures:
            for row, object_id in zip(owner, objects.column("id").to_pylist(), strict=True):
                if object_id in failures:
                    reasons[row] = f"the index refused it: {failures[object_id]}"
        ids = from_arrow(rows.column(ROW_ID))
        held, refused_now = _held(previous), np.array([reason is not None for reason in reasons], dtype=bool)
        shown = np.asarray(previous.column(CONTENT).is_valid()) & self.keep_last
        self._delete(ids, np.where(refused_now, np.where(shown, held, 0), counts), np.maximum(held, counts))
        content = [
            fingerprint("indexed", (self._generation.encode(), row_properties, *passage_fingerprints))
            for row_properties, passage_fingerprints in zip(
                rows.column(PROPERTIES_FINGERPRINT).to_pylist(),
                _split(rows.column(PASSAGES).combine_chunks().flatten().field("fingerprint").to_pylist(), counts),
                strict=True,
            )
        ]
        out = pa.table({CONTENT: to_arrow(from_bytes(content)), OBJECTS: pa.array(counts, pa.int32())})
        return Computed(out, reasons, {"objects": int(sendable.sum())})

    def objects(self, rows: pa.Table) -> Objects:
        """The objects that embedded rows are to have."""
        passages = rows.column(PASSAGES).combine_chunks()
        counts = np.asarray(pc.list_value_length(passages), dtype=np.int64)
        properties, reasons = to_properties(rows.column(PROPERTIES).combine_chunks(), self._schema.properties, self._names)
        owner = np.repeat(np.arange(len(rows)), counts)
        return Objects(self._objects(rows, passages, properties, owner, _ordinals(counts)), owner, counts, reasons)

    def mark(self, table: StageTable, ids: Hashes) -> None:
        """Enter rows of the ledger as not acknowledged, so that the next run sends their objects again. Under the lease."""
        view = table.open_for_writing()
        at = Lookup(view.observed.ids).find(ids)
        for start in range(0, len(at), _ENTRY_ROWS):
            rows = view.take(np.sort(at[start : start + _ENTRY_ROWS]), [ROW_ID, OBJECTS, CONTENT])
            table.merge(self._entries(table.schema, from_arrow(rows.column(ROW_ID)), _held(rows).astype(np.int32), rows.column(CONTENT)))

    def audit(self, candidate: Candidate, judge: Judge) -> Audit:
        """Probes: whether rows are found by what they say. A probe that finds nothing of its row does not say why; parity does."""
        if self._encode_query is None or self._source is None:
            return Audit()
        probes = self._probes(candidate.view, self._source)
        result = judged(judge, probes, missed(probes, self._index, self._schema.name, self._encode_query))
        return Audit(Statistics({"probe_recall": float(result.figures["value"])} if probes else {}), (result,))

    def _probes(self, ledger: View, source: Input) -> list[Probe]:
        shown, _, columns = ledger.content(STATE)
        ids = shown.ids[np.asarray(pc.equal(columns.column(STATE), OK))]
        ids = ids[smallest(ids, CANDIDATES)]
        at = Lookup(source.rows().ids).find(ids)
        probes = [
            probe
            for batch in source.read(np.sort(at[at >= 0]))
            for probe in probes_of(from_arrow(batch.rows.column(ROW_ID)), batch.rows.column(PASSAGES).combine_chunks())
        ]
        return sorted(probes)[:PROBES]

    def delete(self, rows: pa.Table) -> None:
        """Delete every object that these rows may have."""
        self._delete(from_arrow(rows.column(ROW_ID)), np.zeros(len(rows), dtype=np.int64), _held(rows))

    def _delete(self, ids: npt.NDArray[np.uint64], first: Positions, end: Positions) -> None:
        surplus = np.maximum(end - first, 0)
        if surplus.any():
            owner = np.repeat(np.arange(len(ids)), surplus)
            with self._same_collection():
                self._index.delete(self._schema.name, object_ids(ids[owner], first[owner] + _ordinals(surplus)))

    def _upsert(self, objects: pa.Table) -> dict[bytes, str]:
        with self._same_collection():
            refused = self._index.upsert(self._schema.name, objects)
        now = self._index.incarnation(self._schema.name)
        if now not in (None, self._incarnation):  # nobody else writes objects of this table there
            self._index.delete(self._schema.name, from_arrow(objects.column("id")))
        self._require(now)
        return refused

    @contextmanager
    def _same_collection(self) -> Iterator[None]:
        """Somebody may remove the collection while we write, and another process make it anew, where no ledger would know of what we wrote.
        So we look before (2 ms), and again where the index refuses. Raises IndexUnavailable: the next run begins another ledger."""
        self._require(self._index.incarnation(self._schema.name))
        try:
            yield
        except IndexConflict:
            self._require(self._index.incarnation(self._schema.name))
            raise

    def _require(self, incarnation: str | None) -> None:
        if incarnation != self._incarnation:
            raise IndexUnavailable(
                f"collection {self._schema.name} was removed by somebody while {self._table} was written to it: run again, to fill it anew"
            )

    def _entries(
        self, schema: pa.Schema, ids: npt.NDArray[np.uint64], counts: npt.NDArray[np.int32], content: pa.ChunkedArray | None = None
    ) -> pa.Table:
        known = {
            CONTENT: pa.nulls(len(ids), HASH_TYPE) if content is None else content,
            ROW_ID: to_arrow(ids),
            INPUT: to_arrow(np.zeros_like(ids)),
            STATE: pa.repeat(REJECTED, len(ids)),
            REASON: pa.repeat(_SENDING, len(ids)),
            ATTEMPTS: pa.repeat(pa.scalar(0, pa.int32()), len(ids)),
            OBJECTS: pa.array(counts, pa.int32()),
        }
        return pa.table([known.get(f.name, pa.nulls(len(ids), f.type)) for f in schema], schema=schema)

    def _objects(
        self, rows: pa.Table, passages: pa.ListArray, properties: pa.StructArray, owner: Positions, ordinals: Positions
    ) -> pa.Table:
        flat = passages.flatten()
        ids = from_arrow(rows.column(ROW_ID))[owner]
        row_properties = rows.column(PROPERTIES_FINGERPRINT).to_pylist()
        fingerprints = [
            fingerprint("object", (passage, row_properties[row], self._generation.encode()))
            for passage, row in zip(flat.field("fingerprint").to_pylist(), owner, strict=True)
        ]
        at = pa.array(owner)
        columns = {
            "id": to_arrow(object_ids(ids, ordinals)),
            "row_id": to_arrow(ids),
            "ordinal": pa.array(ordinals, pa.int32()),
            "source_table": pa.repeat(self._table, len(owner)),
            "source_key": source_keys(rows.column(PROPERTIES).combine_chunks(), self._key).take(at),
            "text": flat.field("text"),
            "fingerprint": to_arrow(from_bytes(fingerprints)),
            "generation": pa.repeat(self._generation, len(owner)),
        }
        table = pa.table([columns[name] for name in OBJECT_COLUMNS.names], schema=OBJECT_COLUMNS)
        return table.append_column("vector", flat.field("vector")).append_column("properties", properties.take(at))


def collection_properties(spec: TableSpec, properties_type: pa.StructType) -> tuple[Property, ...]:
    """Properties of a collection, from what a table declares and what its columns are."""
    names = property_names([f.name for f in properties_type])
    return tuple(Property(names[f.name], spec.properties[f.name].type or property_type(f.type)) for f in properties_type)


def _held(rows: pa.Table) -> Positions:
    """How many objects of each row the index may hold; none of a refused row that shows nothing."""
    held: Positions = pc.fill_null(rows.column(OBJECTS), 0).to_numpy().astype(np.int64)
    return held


def _ordinals(counts: Positions) -> Positions:
    """0 … n-1 for each count, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(ends - counts, counts)


def _split(items: Sequence[bytes], counts: Positions) -> list[Sequence[bytes]]:
    ends = np.cumsum(counts)
    return [items[end - count : end] for end, count in zip(ends, counts, strict=True)]
