"""The five stages put together for one table: where their tables live, what each is made with, and what follows it.

No Dagster here: `defs/` and the CLI call `Pipeline.sync`, one stage of one table at a time. The outside world (sources, models, index)
comes in through `Engines`, so that tests and other deployments replace it by the seam.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal, NamedTuple, get_args

import pyarrow as pa

from vector_assets import deletes, values
from vector_assets.checks.result import Acceptance, CheckResult
from vector_assets.cleaned import stage as cleaned
from vector_assets.embedded import layout as embedded_layout
from vector_assets.embedded import stage as embedded
from vector_assets.embedded.passages import PASSAGES_VERSION
from vector_assets.engines import Engines
from vector_assets.errors import AuditError, PermanentError
from vector_assets.evaluation.recall import recall_audit
from vector_assets.indexed import stage as indexed
from vector_assets.indexed.aliases import AliasMove, settle_alias
from vector_assets.indexed.index import CollectionSchema
from vector_assets.models.generation import collection_name, embedding_generation, generation
from vector_assets.models.registry import ModelVersion
from vector_assets.raw import stage as raw
from vector_assets.raw.source import TableRead
from vector_assets.reconcile.lease import Lease, lease
from vector_assets.reconcile.plan import RowSet
from vector_assets.reconcile.run import Approval, Brake, Limits, Outcome, Progress
from vector_assets.reconcile.stage import Stage
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.store import Access, children, open_store, private_access
from vector_assets.reconcile.sync import reconcile
from vector_assets.reconcile.upstream import Upstream
from vector_assets.reconcile.view import View
from vector_assets.redacted import stage as redacted
from vector_assets.settings import Settings
from vector_assets.tables import TableRef, TableSpec
from vector_assets.waiting import waiting

StageName = Literal["raw_tables", "cleaned_frames", "redacted_text", "embeddings", "weaviate_collections"]
STAGES: tuple[StageName, ...] = get_args(StageName)
_TO_LOOK_AT = pa.schema([])


@dataclass(frozen=True)
class Run:
    """Who is at work, and what that person or sensor allows."""

    id: str
    wait_seconds: float = 0  # for the lease
    approval: Approval | None = None
    acceptance: Acceptance | None = None
    progress: Callable[[Progress], None] = lambda _: None
    checked: Callable[[str, Sequence[CheckResult]], None] = lambda _stage, _results: None


class RawWork(NamedTuple):
    """raw_tables of one table, ready to be reconciled or planned."""

    stage: raw.RawStage
    rows: raw.RawInput
    table: StageTable


class Generations(NamedTuple):
    """What names embeddings tables and collections of a table under one model."""

    embeddings: str
    collection: str


@dataclass(frozen=True)
class Context:
    """One stage run under way."""

    ref: TableRef
    spec: TableSpec
    run: Run
    lease: Lease
    limits: Limits


class Pipeline:
    """Stages of every table of one sources.yaml. Thread-safe: tables may be synced side by side."""

    def __init__(self, settings: Settings, engines: Engines | None = None) -> None:
        self.settings = settings
        self.engines = engines or Engines(settings)
        self._private = private_access(settings.private, settings.private_credentials)
        self._slots = threading.Semaphore(settings.compute_slots)

    def close(self) -> None:
        """End worker processes and connections."""
        self.engines.close()

    # --- names and places ---

    def discover(self, catalogs: Iterable[str]) -> list[TableRef]:
        """Tables of some catalogs that sources.yaml speaks of, sorted. Raises ConfigurationError, SourceUnavailable."""
        found = {
            ref
            for catalog in catalogs
            for spec in self.settings.tables.tables
            for ref in self.engines.source(catalog).tables(spec.table)
            if ref.catalog == catalog and spec.matches(ref)
        }
        return sorted(found)

    def generations(self, spec: TableSpec, model: ModelVersion) -> Generations:
        """The generations of a table's embeddings and collection under a model."""
        sources = self.settings.tables
        dtype = embedded_layout.VECTOR_DTYPE
        embeddings = embedding_generation(model.digest, spec.passages, dtype=dtype, passages_version=PASSAGES_VERSION)
        properties = {name: prop.model_dump(mode="json") for name, prop in sources.properties_of(spec.collection).items()}
        return Generations(embeddings, generation(embeddings, sources.collection(spec.collection), properties=properties))

    def uri(self, stage: StageName, ref: TableRef, *folders: str) -> str:
        """Where a stage table lives; raw and cleaned ones below the private root. `folders`: generation and incarnation."""
        root = self.settings.private if stage in values.PRIVATE else self.settings.storage
        return "/".join([root, stage, *folders, ref.path]) + ".lance"

    def table(self, stage: StageName, ref: TableRef, *folders: str, own: pa.Schema = _TO_LOOK_AT, epoch: int = 0) -> StageTable:
        """A stage table, with the credentials that its root wants. Writers give the stage's own columns and their lease's epoch."""
        access = self._private if stage in values.PRIVATE else Access()
        return StageTable(self.uri(stage, ref, *folders), own, epoch=epoch, access=access)

    def published(self, stage: StageName, ref: TableRef, *folders: str) -> View | None:
        """The published version of a stage table."""
        return self.table(stage, ref, *folders).published()

    def tables_of(self, collection: str) -> list[TableRef]:
        """Tables whose redacted text is published and that feed a collection."""
        store = open_store(self.settings.storage)
        found = []
        for catalog in children(store, "redacted_text"):
            for schema in children(store, f"redacted_text/{catalog}"):
                for table in children(store, f"redacted_text/{catalog}/{schema}"):
                    view = StageTable(f"{self.settings.storage}/redacted_text/{catalog}/{schema}/{table}", pa.schema([])).published()
                    if view is not None:
                        found.append(TableRef.parse(view.state.desired["table"]))
        specs = ((ref, self.settings.tables.find(ref)) for ref in found)
        return [ref for ref, spec in specs if spec is not None and spec.collection == collection]

    # --- the stages ---

    def sync(self, stage: StageName, ref: TableRef, run: Run, model: ModelVersion | None = None) -> Outcome:
        """Bring one stage of one table up to date and publish it. `model` defaults to the champion; a run passes the one it began with.

        Raises what `reconcile` does; LeaseHeldError; ConfigurationError; PermanentError where the stage before is not published.
        """
        spec = self.settings.tables.spec_for(ref)
        computes = stage in ("cleaned_frames", "redacted_text", "embeddings")
        with self._context(ref, spec, run, computes=computes) as context, values.bounded(self, context, stage):
            try:
                return self._stage(stage, context, model)
            except AuditError as blocked:
                deletes.pass_on(self, context, stage, blocked)
                raise

    def _stage(self, stage: StageName, context: Context, model: ModelVersion | None) -> Outcome:
        match stage:
            case "raw_tables":
                return self._raw(context)
            case "cleaned_frames":
                return self._cleaned(context)
            case "redacted_text":
                return self._redacted(context)
            case "embeddings":
                return self._embeddings(context, model or self.engines.champion())
            case "weaviate_collections":
                return self._collections(context, model or self.engines.champion())

    @contextmanager
    def _context(self, ref: TableRef, spec: TableSpec, run: Run, *, computes: bool) -> Iterator[Context]:
        settings = self.settings
        with lease(settings.storage, ref, run.id, wait_seconds=run.wait_seconds) as held:
            slot: AbstractContextManager[object] = self._slots if computes else nullcontext()
            limits = Limits(
                commit_rows=settings.commit_rows,
                commit_seconds=settings.commit_seconds,
                retention=timedelta(hours=settings.retention_hours),
                brake=Brake(settings.delete_share, settings.delete_rows, run.approval),
                compute=slot,
                ensure=held.ensure,
                progress=run.progress,
                thresholds=spec.thresholds,
                acceptance=run.acceptance,
                checked=run.checked,
            )
            yield Context(ref, spec, run, held, limits)

    def _raw(self, context: Context) -> Outcome:
        ref, spec = context.ref, context.spec
        source = self.engines.source(ref.catalog)
        with source.open(ref, spec.columns, spec.key) as read:
            work = self.raw_work(ref, read, epoch=context.lease.epoch)
            outcome = reconcile(work.stage, work.rows, work.table, context.limits)
            return replace(outcome, counts={**outcome.counts, **read.facts})

    def raw_work(self, ref: TableRef, read: TableRead, *, epoch: int = 0) -> RawWork:
        """What raw_tables is made with for one open read. Nothing is read or written yet."""
        spec = self.settings.tables.spec_for(ref)
        stage = raw.RawStage(
            read.schema,
            spec.key,
            depends=self._private_versions(spec),
            purge=spec.private == "purge",
            keep_last=spec.on_reject == "keep_last",
        )
        table = self.table("raw_tables", ref, own=stage.own, epoch=epoch)
        rows = raw.RawInput(
            read,
            ref,
            stage=stage,
            known=lambda: _observed(table),
            sequence=max(time.time_ns() // 1_000_000, _sequence(table) + 1),
            secret=self.settings.secret_bytes() if self.settings.keyed_row_ids else None,
            batch_rows=self.settings.batch_rows,
        )
        return RawWork(stage, rows, table)

    def _private_versions(self, spec: TableSpec) -> Mapping[str, str]:
        """Stage versions that make raw values be fetched again when they change, since purging leaves none."""
        depends = self.cleaned_depends(spec)
        return {**depends, "cleaned_frames": cleaned.cleaned_version(spec, depends)} if depends else {}

    def cleaned_depends(self, spec: TableSpec) -> Mapping[str, str]:
        """Stage versions that are part of cleaned_frames' own: where values are purged, those that need them again when they change."""
        return {"redacted_text": self.redacted_version(spec)} if spec.private == "purge" else {}

    def redacted_version(self, spec: TableSpec) -> str:
        """The stage version of redacted_text for a table. Raises ConfigurationError where a secret is needed and missing."""
        return redacted.versions(spec, self.engines.redactor(spec.redaction), self.settings.secret_bytes).stage

    def _cleaned(self, context: Context) -> Outcome:
        ref, spec = context.ref, context.spec
        before = self._before("raw_tables", ref)
        types = {name: before.schema.field(name).type for name in cleaned.INPUT_COLUMNS}
        stage = cleaned.CleanedStage(spec, types[cleaned.KEY], types[cleaned.VALUES], depends=self.cleaned_depends(spec))
        rows = self._upstream(before, cleaned.INPUT_COLUMNS, needed=cleaned.VALUES)
        with values.refetched(self, context):
            return reconcile(stage, rows, self._table(context, stage, "cleaned_frames"), context.limits)

    def _redacted(self, context: Context) -> Outcome:
        ref, spec = context.ref, context.spec
        before = self._before("cleaned_frames", ref)
        redactor, policy = self.engines.redactor(spec.redaction), self.settings.tables.redaction[spec.redaction]
        stage = redacted.RedactedStage(
            ref,
            spec,
            before.schema.field(redacted.VALUES).type,
            redactor=redactor,
            policy=policy,
            secret=self.settings.secret_bytes,
            recall=lambda judge: recall_audit(redactor, policy, self.settings.storage, judge),
        )
        rows = self._upstream(before, redacted.INPUT_COLUMNS, needed=redacted.VALUES)
        with values.refetched(self, context):
            try:
                outcome = reconcile(stage, rows, self._table(context, stage, "redacted_text"), context.limits)
            except AuditError:  # everything is computed, and whatever mends it either needs no values or fetches them again
                values.purge(self, context, version=before.state.data_version)
                raise
        values.purge(self, context)
        return replace(outcome, counts={**outcome.counts, "tokens_waiting": waiting(self, ref).tokens})

    def _embeddings(self, context: Context, model: ModelVersion) -> Outcome:
        ref, spec = context.ref, context.spec
        names = self.generations(spec, model)
        before = self._before("redacted_text", ref)
        stage = embedded.EmbeddedStage(
            encoder=self.engines.encoder(model),
            dimension=model.dimension,
            rule=spec.passages,
            generation=names.embeddings,
            properties_type=before.schema.field(embedded_layout.PROPERTIES).type,
            declared=before.state.desired["declared"],
            keep_last=spec.on_reject == "keep_last",
        )
        rows = self._upstream(before, embedded.INPUT_COLUMNS)
        table = self._table(context, stage, "embeddings", names.embeddings)
        outcome = reconcile(stage, rows, table, context.limits)
        deletes.from_embeddings(self, context, rows.rows().ids, current=names.embeddings)
        return replace(outcome, facts=_model_facts(model, names))

    def _collections(self, context: Context, model: ModelVersion) -> Outcome:
        ref, spec = context.ref, context.spec
        names = self.generations(spec, model)
        before = self._before("embeddings", ref, names.embeddings)
        properties_type = before.schema.field(indexed.PROPERTIES).type
        if before.state.desired["declared"] != spec.declared:
            raise PermanentError(
                f"embeddings of {ref.key} has other properties than sources.yaml declares now: sync the table, so that the stages before "
                "weaviate_collections are materialized first"
            )
        schema = CollectionSchema(
            name=collection_name(spec.collection, names.collection),
            dimension=model.dimension,
            spec=self.settings.tables.collection(spec.collection),
            properties=indexed.collection_properties(spec, properties_type),
            stamp=_stamp(model, names),
        )
        index = self.engines.index()
        incarnation = index.ensure(schema)
        stage = indexed.IndexedStage(
            ref=ref,
            spec=spec,
            index=index,
            schema=schema,
            incarnation=incarnation,
            properties_type=properties_type,
            encode_query=lambda query: self.engines.encoder(model).encode_query(query),  # loads the model where there is a probe
        )
        rows = self._upstream(before, indexed.INPUT_COLUMNS)
        table = self._table(context, stage, "weaviate_collections", names.collection, incarnation)
        outcome = reconcile(stage, rows, table, context.limits)
        deletes.from_collections(self, context, rows.rows().ids, current=names.collection)
        change = self.settle_alias(spec.collection)
        facts = {**_model_facts(model, names), "collection": schema.name, "alias": f"{change.alias} → {change.after or 'nothing yet'}"}
        return replace(outcome, facts=facts)

    # --- aliases ---

    def settle_alias(self, collection: str) -> AliasMove:
        """Point a collection's alias to the champion's generation, if every table that feeds it is published there."""
        champion = self.engines.champion()
        index = self.engines.index()
        sources = self.settings.tables
        names = self.generations(sources.tables_of(collection)[0], champion)
        name = collection_name(collection, names.collection)
        incarnation = index.incarnation(name)
        published = {
            ref.key: bool(incarnation) and self.published("weaviate_collections", ref, names.collection, str(incarnation)) is not None
            for ref in self.tables_of(collection)
        }
        return settle_alias(index, alias=collection, name=name, published=published)

    def serving(self, collection: str) -> tuple[str, str] | None:
        """Generation and incarnation of the collection that an alias resolves to: folders of its ledgers. None: nothing can be searched."""
        index = self.engines.index()
        name = index.resolve(collection)
        incarnation = index.incarnation(name) if name is not None else None
        return (name.removeprefix(f"{collection}_"), incarnation) if name is not None and incarnation is not None else None

    def current(self, stage: StageName, ref: TableRef, model: ModelVersion | None) -> StageTable | None:
        """A stage table as it is under a model, to look at; None where there can be none: no model, or no collection yet."""
        if stage not in ("embeddings", "weaviate_collections"):
            return self.table(stage, ref)
        if model is None:
            return None
        spec = self.settings.tables.spec_for(ref)
        names = self.generations(spec, model)
        if stage == "embeddings":
            return self.table(stage, ref, names.embeddings)
        incarnation = self.engines.index().incarnation(collection_name(spec.collection, names.collection))
        return self.table(stage, ref, names.collection, incarnation) if incarnation else None

    # --- inside ---

    def _table(self, context: Context, stage: Stage, name: StageName, *folders: str) -> StageTable:
        return self.table(name, context.ref, *folders, own=stage.own, epoch=context.lease.epoch)

    def _before(self, stage: StageName, ref: TableRef, *folders: str) -> View:
        view = self.published(stage, ref, *folders)
        if view is None:
            raise PermanentError(f"{stage} of {ref.key} is not published yet: materialize it first")
        return view

    def _upstream(self, view: View, columns: tuple[str, ...], *, needed: str | None = None) -> Upstream:
        return Upstream(view, columns, batch_rows=self.settings.batch_rows, batch_bytes=self.settings.batch_bytes, needed=needed)


def _observed(table: StageTable) -> RowSet:
    view = table.newest()
    return view.observed if view is not None else RowSet.empty()


def _sequence(table: StageTable) -> int:
    view = table.published()
    return view.state.sequence if view is not None else 0


def _model_facts(model: ModelVersion, names: Generations) -> dict[str, str]:
    return {
        "model_version": model.version,
        "model_digest": model.digest,
        "embedding_generation": names.embeddings,
        "generation": names.collection,
    }


def _stamp(model: ModelVersion, names: Generations) -> dict[str, str]:
    return {
        "generation": names.collection,
        "model_uri": model.uri,
        "model_digest": model.digest,
        "model_version": model.version,
        "query_prompt": model.query_prompt or "",
    }
