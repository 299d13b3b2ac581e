"""Parity: what the source has, what every stage table holds and what the index stores, compared for one table, and put right.

Looking takes no lease and writes nothing. A running sync makes things differ for a while, so what differs is looked at again under the
table's lease; only what differs then is damage. What the next sync brings anyway (a changed source, a stage that has not run yet) is
*waiting*, and no damage.

Everything goes through sorted buckets on disk (`reconcile.spill`): memory does not grow with the table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from vector_assets.checks.judge import Judge, Thresholds
from vector_assets.checks.result import CheckResult
from vector_assets.errors import InputPurgedError
from vector_assets.fingerprint import from_arrow, row_ids
from vector_assets.indexed.index import CollectionSchema
from vector_assets.indexed.parity import ObjectDamage, Place, Scope, compare
from vector_assets.indexed.stage import PROPERTIES, UNSENT, IndexedStage
from vector_assets.models.generation import collection_name
from vector_assets.models.registry import ModelVersion
from vector_assets.pipeline import STAGES, Pipeline, Run, StageName
from vector_assets.raw.source import DIGEST
from vector_assets.raw.stage import KEY
from vector_assets.reconcile.lease import Lease, lease
from vector_assets.reconcile.spill import RowDamage, content_of, differ, made_of
from vector_assets.reconcile.store import children, open_store
from vector_assets.reconcile.view import View
from vector_assets.tables import TableRef

_NO_VERSIONS = "unversioned@"


@dataclass(frozen=True)
class Report:
    """What was found. `stages`: those that could be compared; `collections`: by name, of every generation that the table was sent to;
    `waiting`: what a sync brings, in words; `mended`: what a repair did, as counts."""

    table: str
    stages: Mapping[StageName, RowDamage] = field(default_factory=dict)
    collections: Mapping[str, ObjectDamage] = field(default_factory=dict)
    waiting: Sequence[str] = ()
    mended: Mapping[str, int] = field(default_factory=dict)

    @property
    def damage(self) -> int:
        """Rows and objects that are not as they must be."""
        return sum(rows.total for rows in self.stages.values()) + sum(objects.total for objects in self.collections.values())

    def as_json(self) -> dict[str, object]:
        """Counts only."""
        named = ("objects", "missing", "orphan", "stale", "altered", "wrong_generation")
        return {
            "damage": self.damage,
            "stages": {stage: rows._asdict() for stage, rows in self.stages.items()},
            "collections": {name: {what: getattr(found, what) for what in named} for name, found in self.collections.items()},
            "waiting": list(self.waiting),
            "mended": dict(self.mended),
        }


def look(pipeline: Pipeline, ref: TableRef, run: Run, model: ModelVersion | None = None, *, deep: bool = True) -> Report:
    """Compare. `model`: the current one, default the champion. `deep`: texts and properties of objects too, and a sample of vectors.

    Raises what source and index raise, and LeaseHeldError where something differs and another run holds the table (`run.wait_seconds`).
    """
    table = _Table(pipeline, ref, model or pipeline.engines.champion(), deep)
    first = table.look()
    if not first.damage:
        return first
    with lease(pipeline.settings.storage, ref, run.id, wait_seconds=run.wait_seconds):
        return table.look(after=first)


def repair(pipeline: Pipeline, ref: TableRef, run: Run, model: ModelVersion | None = None, *, deep: bool = True) -> Report:
    """Put right what differs and nothing else: orphans are deleted; rows of missing, stale, altered and wrong objects are sent again, as
    they are in embeddings; stage tables with damaged rows are compared row by row with their input by a sync.

    The report says what is damaged afterwards (objects of other generations are sent when those are synced), and what was mended.
    Raises what `look` and `Pipeline.sync` raise.
    """
    champion = model or pipeline.engines.champion()
    table = _Table(pipeline, ref, champion, deep)
    first = table.look()
    if not first.damage:
        return first
    with lease(pipeline.settings.storage, ref, run.id, wait_seconds=run.wait_seconds) as held:
        found = table.look(after=first)
        if not found.damage:
            return found
        mended = table.mend(found, held)
    _sync(pipeline, ref, run, champion, found)
    after = look(pipeline, ref, run, champion, deep=deep)
    return Report(after.table, after.stages, after.collections, after.waiting, mended)


def parity_result(report: Report, thresholds: Thresholds | None = None) -> CheckResult:
    """The check `parity` of a report."""
    parts = [f"{stage}: {_words(rows._asdict())}" for stage, rows in report.stages.items() if rows.total]
    parts += [
        f"{name}: " + _words({what: getattr(found, what) for what in ("missing", "orphan", "stale", "altered", "wrong_generation")})
        for name, found in report.collections.items()
        if found.total
    ]
    objects = sum(found.objects for found in report.collections.values())
    said = "; ".join(parts) or f"source, stage tables and {objects:,} objects agree"
    figures = {"objects": objects, "waiting": len(report.waiting), **{f"mended {what}": count for what, count in report.mended.items()}}
    return Judge(thresholds or Thresholds()).limit("parity", report.damage, said, figures)


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in counts.items() if count)


def _sync(pipeline: Pipeline, ref: TableRef, run: Run, model: ModelVersion, found: Report) -> None:
    """The stages from the first damaged one on; all of them once more where values are needed that were purged."""
    damaged = [STAGES.index(stage) for stage, rows in found.stages.items() if rows.total]
    first = min([*damaged, STAGES.index("weaviate_collections")])
    try:
        for stage in STAGES[first:]:
            pipeline.sync(stage, ref, run, model)
    except InputPurgedError:
        for stage in STAGES:
            pipeline.sync(stage, ref, run, model)


# --- one table -------------------------------------------------------------------------------------------------------------------------


class _Generation(NamedTuple):
    """A collection that has objects of the table, and its ledger."""

    name: str
    generation: str
    incarnation: str
    schema: CollectionSchema


class _Table:
    """One table, to look at and to mend."""

    def __init__(self, pipeline: Pipeline, ref: TableRef, model: ModelVersion, deep: bool) -> None:
        self.pipeline, self.ref, self.deep = pipeline, ref, deep
        self.spec = pipeline.settings.tables.spec_for(ref)
        self.names = pipeline.generations(self.spec, model)

    def look(self, *, after: Report | None = None) -> Report:
        """Everything, or only what differed in an earlier look."""
        waiting = [*after.waiting] if after is not None else []
        stages: dict[StageName, RowDamage] = {}
        with self._folder() as folder:
            for stage in STAGES:
                earlier = after.stages.get(stage) if after is not None else None
                if after is None or (earlier is not None and earlier.total):
                    found = self._rows(stage, folder(), waiting)
                    stages.update({stage: found} if found is not None else {})
                elif earlier is not None:
                    stages[stage] = earlier
            collections = {place.name: self._objects(place, after, folder, waiting) for place in self._generations()}
        return Report(self.ref.key, stages, collections, tuple(dict.fromkeys(waiting)))

    @contextmanager
    def _folder(self) -> Iterator[_NewFolder]:
        """Folders below VECTOR_ASSETS_HOME, gone afterwards: what is spilled may be larger than a /tmp in memory, and holds hashes only."""
        self.pipeline.settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.pipeline.settings.home, prefix=".parity-") as root:
            yield _NewFolder(Path(root))

    # --- rows ---

    def _rows(self, stage: StageName, folder: Path, waiting: list[str]) -> RowDamage | None:
        view = self._view(stage)
        if view is None:
            waiting.append(f"{stage} is not published yet")
            return None
        if stage == "raw_tables":
            return self._source_rows(view, folder, waiting)
        before = self._view(STAGES[STAGES.index(stage) - 1])
        if before is None or view.state.desired["input"] != before.state.data_version:
            waiting.append(f"{stage} waits for a sync")
            return None
        return differ(content_of(before, view.state.desired["stage"]), made_of(view), folder)

    def _source_rows(self, view: View, folder: Path, waiting: list[str]) -> RowDamage | None:
        pipeline, ref = self.pipeline, self.ref
        with pipeline.engines.source(ref.catalog).open(ref, self.spec.columns, self.spec.key) as read:
            desired, version = view.state.desired, pipeline.raw_work(ref, read).stage.version
            if read.version.token.startswith(_NO_VERSIONS) or (desired["input"], desired["stage"]) != (read.version.token, version):
                waiting.append("raw_tables waits for a sync, which compares it with the source")
                return None
            secret = pipeline.settings.secret_bytes() if pipeline.settings.keyed_row_ids else None
            scanned = ((row_ids(ref, batch.column(KEY).flatten(), secret), from_arrow(batch.column(DIGEST))) for batch in read.digests())
            return differ(scanned, made_of(view), folder, version=version)

    def _view(self, stage: StageName) -> View | None:
        match stage:
            case "embeddings":
                return self.pipeline.published(stage, self.ref, self.names.embeddings)
            case "weaviate_collections":
                incarnation = self.pipeline.engines.index().incarnation(self._collection(self.names.collection))
                return self.pipeline.published(stage, self.ref, self.names.collection, incarnation) if incarnation else None
        return self.pipeline.published(stage, self.ref)

    # --- objects ---

    def _collection(self, generation: str) -> str:
        return collection_name(self.spec.collection, generation)

    def _generations(self) -> Iterator[_Generation]:
        """Collections of every generation that this pipeline knows, the current one too, where they exist."""
        index = self.pipeline.engines.index()
        known = set(children(open_store(self.pipeline.settings.storage), "weaviate_collections")) | {self.names.collection}
        for generation in sorted(known):
            name = self._collection(generation)
            incarnation = index.incarnation(name)
            schema = index.describe(name) if incarnation else None
            if incarnation and schema:
                yield _Generation(name, generation, incarnation, schema)

    def _objects(self, made: _Generation, after: Report | None, folder: _NewFolder, waiting: list[str]) -> ObjectDamage:
        earlier = after.collections.get(made.name) if after is not None else None
        if earlier is not None and not earlier.total:
            return earlier
        scope = Scope(deep=self.deep)
        if earlier is not None and earlier.rows.any(axis=1).all():  # an object without a row id is found by looking at all of them
            scope = Scope(earlier.rows, earlier.vectors, self.deep)
        place = self._place(made, waiting)
        found = compare(place, folder(), scope) if place is not None else ObjectDamage()
        return replace(found, objects=earlier.objects) if earlier is not None and scope.rows is not None else found

    def _place(self, made: _Generation, waiting: list[str]) -> Place | None:
        embeddings = self._view("embeddings") if made.generation == self.names.collection else None
        if made.generation == self.names.collection and (embeddings is None or embeddings.state.desired["declared"] != self.spec.declared):
            waiting.append(f"{made.name} waits for a sync")
            return None
        ledger = self.pipeline.table("weaviate_collections", self.ref, made.generation, made.incarnation).newest()
        if embeddings is None and ledger is not None and (unsent := ledger.count(UNSENT)):
            waiting.append(f"{made.name}: {unsent:,} rows wait for a sync with its model")
        index = self.pipeline.engines.index()
        return Place(index, made.schema, self.ref.key, self._stage(made, embeddings), ledger, embeddings)

    def _stage(self, made: _Generation, embeddings: View | None) -> IndexedStage:
        return IndexedStage(
            ref=self.ref,
            spec=self.spec,
            index=self.pipeline.engines.index(),
            schema=made.schema,
            incarnation=made.incarnation,
            properties_type=embeddings.schema.field(PROPERTIES).type if embeddings is not None else pa.struct([]),
        )

    # --- mending ---

    def mend(self, found: Report, held: Lease) -> dict[str, int]:
        """Delete orphans, mark rows that are to be sent again, and have damaged stage tables compared by the next sync. Under the lease."""
        removed = resent = 0
        for made in self._generations():
            damage = found.collections.get(made.name)
            if damage is None or not damage.total:
                continue
            held.ensure()
            self.pipeline.engines.index().delete(made.name, damage.remove)
            stage = self._stage(made, None)
            table = self.pipeline.table(
                "weaviate_collections", self.ref, made.generation, made.incarnation, own=stage.own, epoch=held.epoch
            )
            stage.mark(table, damage.resend)
            removed, resent = removed + len(damage.remove), resent + len(damage.resend)
        for name, rows in found.stages.items():
            view = self._view(name)
            if rows.total and view is not None:
                held.ensure()
                self._unsettle(name, held)
        rows_damaged = sum(rows.total for rows in found.stages.values())
        return {"objects removed": removed, "rows sent again": resent, "rows of stage tables": rows_damaged}

    def _unsettle(self, stage: StageName, held: Lease) -> None:
        """Take away what a stage table's published version is said to stand for, so that the next run compares every row."""
        folders = {"embeddings": [self.names.embeddings]}.get(stage, [])
        if stage == "weaviate_collections":
            incarnation = self.pipeline.engines.index().incarnation(self._collection(self.names.collection))
            folders = [self.names.collection, str(incarnation)]
        table = self.pipeline.table(stage, self.ref, *folders, epoch=held.epoch)
        published = table.published()
        if published is not None and table.now().version == published.version:
            table.publish(published.state.relieved)


class _NewFolder:
    """Makes folders, a new one each time."""

    def __init__(self, root: Path) -> None:
        self._root, self._made = root, 0

    def __call__(self) -> Path:
        self._made += 1
        folder = self._root / str(self._made)
        folder.mkdir()
        return folder
