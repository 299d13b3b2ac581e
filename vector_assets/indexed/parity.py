"""What the objects of a table in a collection are, against what they should be. Only looks, and in bounded memory.

Three streams meet on disk, in buckets of row ids: the ledger (which rows may have objects, and how many), the objects that published
embeddings ask for, and the objects that are stored. Where the ledger says that a row was sent as it is now, its objects must be there, with
the right fingerprint, generation, text and properties. Where a row waits for the next run its objects may be old or missing; an object
that neither the ledger nor embeddings know is an orphan. Vectors are compared for a sample, another one each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.fingerprint import Hashes, column_fingerprints, empty_hashes, from_arrow, input_fingerprints
from vector_assets.indexed.index import CollectionSchema, VectorIndex
from vector_assets.indexed.mapping import object_ids
from vector_assets.indexed.stage import INPUT_COLUMNS, OBJECTS, IndexedStage
from vector_assets.reconcile.plan import Lookup, Positions
from vector_assets.reconcile.spill import BUCKETS, Buckets, Records
from vector_assets.reconcile.view import CONTENT, INPUT, OK, ROW_ID, STATE, View

VECTOR_ROWS = 512
"""Rows whose vectors are compared in one look."""

_BATCH_ROWS = 1024
_LEDGER_ROWS = 1 << 16
_SHALLOW = ("id", "row_id", "fingerprint", "generation")
_CONTENT = ("ordinal", "text", "source_key", "properties")
_DIRECTION = 1e-3  # cosine distance of a stored vector to ours; half precision explains 1e-6
_LENGTH = 0.01  # of its norm, where norms count
_ALL = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Place:
    """Objects of one table in one collection. `embeddings`: what they are made of; None for a generation whose embeddings are not at hand,
    where ids and generations are compared, but no content. `ledger`: its newest version."""

    index: VectorIndex
    schema: CollectionSchema
    table: str
    stage: IndexedStage
    ledger: View | None
    embeddings: View | None


class Scope(NamedTuple):
    """What to look at: all rows, or some; those whose vectors are compared (None: a sample); and whether contents are."""

    rows: Hashes | None = None
    vectors: Hashes | None = None
    deep: bool = True


@dataclass(frozen=True)
class ObjectDamage:
    """Objects that are not as they must be, and what mends them. `altered`: text, properties or vector are not what the fingerprint
    stands for. `rows`: those that any of it is about."""

    objects: int = 0
    missing: int = 0
    orphan: int = 0
    stale: int = 0
    altered: int = 0
    wrong_generation: int = 0
    resend: Hashes = field(default_factory=empty_hashes)  # rows whose objects are to be sent again
    remove: Hashes = field(default_factory=empty_hashes)  # ids of objects that are to go
    rows: Hashes = field(default_factory=empty_hashes)
    vectors: Hashes = field(default_factory=empty_hashes)  # rows with an object whose vector is another

    @property
    def total(self) -> int:
        """Objects that are not as they must be."""
        return self.missing + self.orphan + self.stale + self.altered + self.wrong_generation


def compare(place: Place, folder: Path, scope: Scope) -> ObjectDamage:
    """Compare. `folder` is empty, takes about 250 bytes an object, and may be removed afterwards. Raises what the index raises."""
    look = _Look(place, scope)
    with ExitStack() as files:
        ledger, wanted, stored = (
            files.enter_context(Buckets(folder, name, words=words)) for name, words in (("ledger", 6), ("wanted", 10), ("stored", 9))
        )
        look.read_wanted(wanted)
        look.read_ledger(ledger)
        look.read_stored(stored)
    exact = place.embeddings is not None
    return look.damage(_Bucket(ledger.read(at), wanted.read(at), stored.read(at), exact=exact) for at in range(BUCKETS))


# --- reading ---------------------------------------------------------------------------------------------------------------------------


class _Look:
    """One comparison under way; remembers the vectors of its sample."""

    def __init__(self, place: Place, scope: Scope) -> None:
        self.place, self.scope = place, scope
        self._only = Lookup(scope.rows) if scope.rows is not None else None
        self._sample = _sampler(place, scope)
        self._vectors: list[tuple[Hashes, Hashes, npt.NDArray[np.float32]]] = []  # (ids, row ids, vectors)

    def read_wanted(self, into: Buckets) -> None:
        """Objects that embeddings ask for."""
        if self.place.embeddings is None:
            return
        for rows in self._embedded(self.place.embeddings):
            objects, owner, _, _ = self.place.stage.objects(rows)
            ids, row_ids = from_arrow(objects.column("id")), from_arrow(objects.column("row_id"))
            inputs = input_fingerprints(from_arrow(rows.column(CONTENT)), self.place.stage.version)[owner]
            into.add(row_ids, inputs, ids, from_arrow(objects.column("fingerprint")), self._digests(objects))
            chosen = self._sample(row_ids)
            if chosen.any():
                self._vectors.append((ids[chosen], row_ids[chosen], _matrix(objects.column("vector").filter(pa.array(chosen)))))

    def _embedded(self, view: View) -> Iterator[pa.Table]:
        columns = [*INPUT_COLUMNS, CONTENT]
        if self._only is None:
            for batch in view.batches(columns, where=f"{CONTENT} IS NOT NULL", batch_rows=_BATCH_ROWS):
                yield pa.table(batch)
            return
        start, at = 0, list[Positions]()
        for batch in view.batches([ROW_ID, CONTENT], batch_rows=_LEDGER_ROWS):
            there = (self._only.find(from_arrow(batch.column(ROW_ID))) >= 0) & np.asarray(batch.column(CONTENT).is_valid())
            at.append(start + np.flatnonzero(there))
            start += len(batch)
        positions = np.concatenate(at) if at else np.empty(0, dtype=np.int64)
        for first in range(0, len(positions), _BATCH_ROWS):
            yield view.take(positions[first : first + _BATCH_ROWS], columns)

    def read_ledger(self, into: Buckets) -> None:
        """Rows that may have objects; for a generation without embeddings these are what its objects are compared with."""
        if self.place.ledger is None:
            return
        for batch in self.place.ledger.batches([ROW_ID, INPUT, STATE, OBJECTS], batch_rows=_LEDGER_ROWS):
            ids = from_arrow(batch.column(ROW_ID))
            kept = np.ones(len(ids), dtype=bool) if self._only is None else self._only.find(ids) >= 0
            held = pc.fill_null(batch.column(OBJECTS), 0).to_numpy(zero_copy_only=False).astype(np.uint64)
            good = np.asarray(pc.equal(batch.column(STATE), OK)).astype(np.uint64)
            into.add(ids[kept], from_arrow(batch.column(INPUT))[kept], held[kept], good[kept])

    def read_stored(self, into: Buckets) -> None:
        """Objects as they are stored."""
        place, deep = self.place, self.scope.deep and self.place.embeddings is not None
        columns = (*_SHALLOW, *_CONTENT) if deep else _SHALLOW
        generation = place.schema.stamp["generation"]
        for batch in place.index.stored(place.schema.name, place.table, columns, rows=self.scope.rows):
            right = np.asarray(pc.fill_null(pc.equal(batch.column("generation"), generation), False)).astype(np.uint64)
            hashes = [from_arrow(batch.column(name)) for name in ("row_id", "id", "fingerprint")]
            into.add(*hashes, self._digests(pa.table(batch)), right)

    def _digests(self, objects: pa.Table) -> Hashes:
        """Of what an object shows; zero where contents are not compared."""
        if not self.scope.deep or "text" not in objects.column_names or self.place.embeddings is None:
            return np.zeros((len(objects), 2), dtype=np.uint64)
        properties = objects.column("properties").combine_chunks()
        columns = [(name, objects.column(name)) for name in ("ordinal", "text", "source_key")]
        columns += [(f"p {field.name}", properties.field(field.name)) for field in properties.type]
        return column_fingerprints("parity", columns)

    # --- results ---

    def damage(self, parts: Iterator[_Bucket]) -> ObjectDamage:
        """All buckets together, and the sample's vectors."""
        sample = Lookup(_stacked([ids for ids, _, _ in self._vectors]))
        found = [part.found(sample) for part in parts]
        spoilt = self._other_vectors(_stacked([each.sound for each in found]))
        resend = _distinct([*(each.resend for each in found), spoilt])
        orphan_rows = [each.orphan_rows for each in found]
        return ObjectDamage(
            objects=sum(each.objects for each in found),
            missing=sum(each.missing for each in found),
            orphan=sum(len(each.orphans) for each in found),
            stale=sum(each.stale for each in found),
            altered=sum(each.altered for each in found) + len(spoilt),
            wrong_generation=sum(each.wrong_generation for each in found),
            resend=resend,
            remove=_stacked([each.orphans for each in found]),
            rows=_distinct([resend, *orphan_rows]),
            vectors=_distinct([spoilt]),
        )

    def _other_vectors(self, sound: Hashes) -> Hashes:
        """Row ids of objects of the sample that are right but for their vector, one for each."""
        if not self._vectors or not len(sound):
            return empty_hashes()
        ids, row_ids, vectors = (np.concatenate(part) for part in zip(*self._vectors, strict=True))
        there = Lookup(sound).find(ids) >= 0
        ids, row_ids, vectors = ids[there], row_ids[there], vectors[there]
        known, wrong = Lookup(ids), np.zeros(len(ids), dtype=bool)
        place = self.place
        if len(ids):
            for batch in place.index.stored(place.schema.name, place.table, ("id", "vector"), rows=np.unique(row_ids, axis=0)):
                at = known.find(from_arrow(batch.column("id")))
                now = _matrix(pa.chunked_array([batch.column("vector")]))[at >= 0]
                wrong[at[at >= 0]] = _differ(now, vectors[at[at >= 0]], norms=place.schema.spec.distance != "cosine")
        other: Hashes = row_ids[wrong]
        return other


def _sampler(place: Place, scope: Scope):  # type: ignore[no-untyped-def]  # a function of row ids to a mask
    """Which rows' vectors are compared: those that were asked for, or about `VECTOR_ROWS`, others each time."""
    if not scope.deep or place.embeddings is None:
        return lambda ids: np.zeros(len(ids), dtype=bool)
    if scope.vectors is not None:
        chosen = Lookup(scope.vectors)
        return lambda ids: chosen.find(ids) >= 0
    share = VECTOR_ROWS / max(VECTOR_ROWS, place.embeddings.count())
    salt = np.random.default_rng().integers(0, 2**64 - 1, dtype=np.uint64)
    limit = _ALL if share >= 1 else np.uint64(int(share * 2**64))
    return lambda ids: (ids[:, 1] ^ salt) <= limit


def _matrix(vectors: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    flat = vectors.combine_chunks()
    dimension = flat.type.list_size
    matrix: npt.NDArray[np.float32] = flat.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, dimension)
    return matrix


def _differ(now: npt.NDArray[np.float32], ours: npt.NDArray[np.float32], *, norms: bool) -> npt.NDArray[np.bool_]:
    """Whether vectors point elsewhere, or are of another length where that counts. Weaviate normalises them for cosine."""
    lengths, before = np.linalg.norm(now, axis=1), np.linalg.norm(ours, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (now * ours).sum(axis=1) / (lengths * before)
        ratio = lengths / before
    same = cosines >= 1 - _DIRECTION  # NaN is not
    differ: npt.NDArray[np.bool_] = ~(same & (abs(ratio - 1) <= _LENGTH)) if norms else ~same
    return differ


# --- comparing -------------------------------------------------------------------------------------------------------------------------


class _Found(NamedTuple):
    """What one bucket came to."""

    objects: int
    missing: int
    stale: int
    altered: int
    wrong_generation: int
    resend: Hashes
    orphans: Hashes  # ids
    orphan_rows: Hashes
    sound: Hashes  # ids of objects of the sample that are as they must be


class _Bucket(NamedTuple):
    """Records of some rows: ledger (row, input, objects, good), wanted (row, input, id, fingerprint, digest), stored (row, id, fingerprint,
    digest, right generation)."""

    ledger: Records
    wanted: Records
    stored: Records
    exact: bool

    def found(self, sample: Lookup) -> _Found:
        """Compare them. `sample`: ids of objects whose vectors are to be compared."""
        must, may = self._expected()
        _, first = np.unique(np.ascontiguousarray(self.stored[:, 2:4]).view("V16").ravel(), return_index=True)
        stored = self.stored[first]  # pages may overlap
        ids, rows = stored[:, 2:4], stored[:, 0:2]
        at = Lookup(must[:, 4:6]).find(ids)
        known = at >= 0
        there = must[at[known]] if known.any() else must[:0]
        held = stored[known]
        wrong = held[:, 8] == 0
        stale = ~wrong & _unequal(held[:, 4:6], there[:, 6:8]) & self.exact
        altered = ~wrong & ~stale & (_unequal(held[:, 6:8], there[:, 8:10]) & self.exact | _unequal(held[:, 0:2], there[:, 0:2]))
        hit = np.zeros(len(must), dtype=bool)
        hit[at[known]] = True
        bad = np.zeros(len(must), dtype=bool)
        bad[at[known]] = wrong | stale | altered
        sound = ids[known][~(wrong | stale | altered)]
        orphan = ~known & (Lookup(may).find(ids) < 0)
        return _Found(
            objects=len(stored),
            missing=int((~hit).sum()),
            stale=int(stale.sum()),
            altered=int(altered.sum()),
            wrong_generation=int(wrong.sum()),
            resend=np.unique(must[~hit | bad, 0:2], axis=0),
            orphans=ids[orphan],
            orphan_rows=rows[orphan],
            sound=sound[sample.find(sound) >= 0],
        )

    def _expected(self) -> tuple[Records, Hashes]:
        """Objects that must be there (as `wanted`), and ids of others that may."""
        good = self.ledger[:, 5] == 1
        if not self.exact:
            return self._entered(good), self._entered(~good)[:, 4:6]
        at = Lookup(self.ledger[:, 0:2]).find(self.wanted[:, 0:2])
        level = at >= 0
        level[level] = good[at[level]] & ~_unequal(self.ledger[at[level], 2:4], self.wanted[level, 2:4])
        waiting = np.ones(len(self.ledger), dtype=bool)
        waiting[at[level]] = False
        return self.wanted[level], np.concatenate([self.wanted[~level, 4:6], self._entered(waiting)[:, 4:6]])

    def _entered(self, which: npt.NDArray[np.bool_]) -> Records:
        """Objects that these rows of the ledger may have, as `wanted` without content."""
        rows = self.ledger[which]
        counts = rows[:, 4].astype(np.int64)
        row_ids = np.repeat(rows[:, 0:2], counts, axis=0)
        ordinals = np.arange(len(row_ids)) - np.repeat(np.cumsum(counts) - counts, counts)
        made = np.zeros((len(row_ids), 10), dtype=np.uint64)
        made[:, 0:2], made[:, 4:6] = row_ids, object_ids(row_ids, ordinals)
        return made


def _unequal(left: Records, right: Records) -> npt.NDArray[np.bool_]:
    unequal: npt.NDArray[np.bool_] = (left != right).any(axis=1)
    return unequal


def _stacked(parts: Sequence[Hashes]) -> Hashes:
    return np.concatenate([empty_hashes(), *parts])


def _distinct(parts: Sequence[Hashes]) -> Hashes:
    return np.unique(_stacked(parts), axis=0)
