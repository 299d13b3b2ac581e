"""What a sync would do, without doing it: nothing is written, no redactor or encoder is called.

Each stage is planned as `reconcile` plans it, against the rows that the stage before *will* have. What a row becomes is known only once it
is computed, so behind the first stage that has work, counts are upper bounds: a row counts as changed although it may come out the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.cleaned.stage import cleaned_version
from vector_assets.embedded.stage import EmbeddedStage
from vector_assets.fingerprint import Hashes, input_fingerprints
from vector_assets.indexed.stage import IndexedStage
from vector_assets.models.generation import collection_name
from vector_assets.models.registry import ModelVersion
from vector_assets.pipeline import Pipeline, RawWork, StageName
from vector_assets.raw.source import TableRead
from vector_assets.reconcile.plan import Lookup, Plan, RowSet, plan
from vector_assets.reconcile.run import Brake
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.sync import wanted_state
from vector_assets.reconcile.view import View
from vector_assets.redacted.layout import CHARACTERS
from vector_assets.tables import TableRef, TableSpec
from vector_assets.waiting import CHARACTERS_PER_TOKEN, waiting

_UNKNOWN = np.uint64(2**64 - 1)  # both lanes: the fingerprint of what is not computed yet, which equals no other

# Seconds, for an estimate. Measured on 2 cores; redaction and encoding per core.
_PER_STAGE = 0.1
_PER_ROW: Mapping[StageName, float] = {
    "raw_tables": 1 / 20_000,
    "cleaned_frames": 1 / 8_000,
    "redacted_text": 1 / 4_000,
    "embeddings": 1 / 4_000,
    "weaviate_collections": 1 / 2_000,
}
_CHARACTERS_REDACTED_PER_CORE_SECOND = 30_000
_TOKENS_ENCODED_PER_CORE_SECOND = 3_000
_TOKENS_ENCODED_PER_GPU_SECOND = 200_000


@dataclass(frozen=True)
class StagePlan:
    """Rows that a stage would touch. `exact`: no stage before it has rows to compute; otherwise added and changed are upper bounds.

    `rejected` are rows that are rejected now. `counts`: for embeddings, texts to encode, texts to reuse, tokens (an estimate).
    """

    stage: StageName
    added: int
    changed: int
    deleted: int
    unchanged: int
    rejected: int
    exact: bool
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)


class _Rows(NamedTuple):
    """Rows that a stage will have: content fingerprints, and which of them (mask) are only known once they are computed."""

    rows: RowSet
    unknown: npt.NDArray[np.bool_]

    @classmethod
    def known(cls, rows: RowSet) -> _Rows:
        return cls(rows, np.zeros(len(rows.ids), dtype=bool))

    def told(self, rows: RowSet) -> _Rows:
        """The same rows, where the unknown ones have the fingerprints that they have in `rows`, which has them all."""
        at = Lookup(rows.ids).find(self.rows.ids)
        fingerprints = np.where(self.unknown[:, None], rows.fingerprints[at], self.rows.fingerprints)
        return self.known(RowSet(self.rows.ids, fingerprints))


class _Step(NamedTuple):
    """One stage planned: the version that work would go on from, what there is to do, and the rows there will be."""

    base: View | None
    todo: Plan
    after: _Rows
    upserted: npt.NDArray[np.bool_]  # of the rows that came in


def plan_table(pipeline: Pipeline, ref: TableRef) -> Iterator[StagePlan]:
    """The five stages of one table, in order.

    Raises, behind the stages that could be planned, what a sync would be stopped by: SourceError, SourceUnavailable, ConfigurationError,
    ModelError where there is no champion, DeleteBrakeError.
    """
    planner = _Planner(pipeline, ref)
    yield from planner.raw()
    yield from planner.step("cleaned_frames", cleaned_version(planner.spec, pipeline.cleaned_depends(planner.spec)))
    yield from planner.step("redacted_text", pipeline.redacted_version(planner.spec))
    model = pipeline.engines.champion()
    yield from planner.step("embeddings", planner.embeddings_version(model), model)
    yield from planner.step("weaviate_collections", planner.collections_version(model), model)


class _Planner:
    """Carries the rows from stage to stage."""

    def __init__(self, pipeline: Pipeline, ref: TableRef) -> None:
        self._pipeline, self._ref = pipeline, ref
        self.spec = pipeline.settings.tables.spec_for(ref)
        self._rows = _Rows.known(RowSet.empty())
        self._source_version = ""
        self._characters = 0.0  # of a row's text, on average
        self._exact = True

    def raw(self) -> Iterator[StagePlan]:
        source = self._pipeline.engines.source(self._ref.catalog)
        with source.open(self._ref, self.spec.columns, self.spec.key) as read:
            work = self._pipeline.raw_work(self._ref, read)
            self._source_version = work.rows.source_version
            level = _level(work)
            rows = level.content()[0] if level is not None else work.rows.rows()
            self._characters = self._mean_characters(read)
        if level is not None:
            self._rows = _Rows.known(rows)
            yield self._shown("raw_tables", level, _nothing(level.state.rows))
            return
        self._rows = _Rows.known(rows)
        yield from self._step("raw_tables", work.stage.version, work.table)
        self._rows = self._rows.told(rows)  # what this stage makes of a row is its digest

    def step(self, stage: StageName, version: str, model: ModelVersion | None = None) -> Iterator[StagePlan]:
        yield from self._step(stage, version, self._pipeline.current(stage, self._ref, model))

    def _step(self, stage: StageName, version: str, table: StageTable | None) -> Iterator[StagePlan]:
        step = _step(self._rows, version, table, restorable=stage != "weaviate_collections")
        uncertain = int((self._rows.unknown & step.upserted).sum())
        self._rows = step.after
        yield self._shown(stage, step.base, step.todo, uncertain)
        self._exact = self._exact and not step.todo.upserts
        published = table.published() if table is not None else None
        if table is not None and published is not None:
            settings, count = self._pipeline.settings, len(published.observed.ids)
            brake = Brake(settings.delete_share, settings.delete_rows)
            brake.check(stage, table.uri, self._source_version, len(step.todo.deletes), count)

    def embeddings_version(self, model: ModelVersion) -> str:
        names = self._pipeline.generations(self.spec, model)
        return EmbeddedStage(
            encoder=self._pipeline.engines.encoder(model),
            dimension=model.dimension,
            rule=self.spec.passages,
            generation=names.embeddings,
            properties_type=pa.struct([]),
        ).version

    def collections_version(self, model: ModelVersion) -> str:
        name = collection_name(self.spec.collection, self._pipeline.generations(self.spec, model).collection)
        index = self._pipeline.engines.index()
        schema = index.describe(name)
        if schema is None:
            return "0" * 32  # nothing is there to compare with
        stage = IndexedStage(ref=self._ref, spec=self.spec, index=index, schema=schema, incarnation="", properties_type=pa.struct([]))
        return stage.version

    # --- numbers -----------------------------------------------------------------------------------------------------------------------

    def _shown(self, stage: StageName, base: View | None, todo: Plan, uncertain: int = 0) -> StagePlan:
        counts = self._to_encode(todo, uncertain) if stage == "embeddings" else {}
        return StagePlan(
            stage,
            added=len(todo.inserts),
            changed=len(todo.changes),
            deleted=len(todo.deletes),
            unchanged=todo.unchanged,
            rejected=base.counts().rejected if base is not None else 0,
            exact=self._exact,
            seconds=round(self._seconds(stage, todo, counts.get("tokens", 0)), 1),
            counts=counts,
        )

    def _to_encode(self, todo: Plan, uncertain: int) -> dict[str, int]:
        """Texts that are published and not embedded, and those that are still to be redacted."""
        known = waiting(self._pipeline, self._ref)
        texts = min(known.texts + uncertain, todo.upserts)
        tokens = known.tokens + round(uncertain * self._characters / CHARACTERS_PER_TOKEN) if texts else 0
        return {"encoded": texts, "reused": todo.upserts - texts, "tokens": tokens}

    def _seconds(self, stage: StageName, todo: Plan, tokens: int) -> float:
        seconds = _PER_STAGE + (todo.upserts + len(todo.deletes)) * _PER_ROW[stage]
        cores = os.cpu_count() or 1
        if stage == "redacted_text":
            workers = min(self._pipeline.settings.redaction_workers or cores, cores)
            seconds += todo.upserts * self._characters / _CHARACTERS_REDACTED_PER_CORE_SECOND / workers
        if stage == "embeddings":
            gpu = self._pipeline.settings.device == "cuda"
            seconds += tokens / (_TOKENS_ENCODED_PER_GPU_SECOND if gpu else _TOKENS_ENCODED_PER_CORE_SECOND * cores)
        return seconds

    def _mean_characters(self, read: TableRead) -> float:
        """Length of a text: of those that are published, else of a first batch of the source."""
        view = self._pipeline.published("redacted_text", self._ref)
        if view is not None and view.state.ok:
            return float(pc.mean(view.content(CHARACTERS)[2].column(0)).as_py())
        with closing(iter(read.rows())) as batches:  # type: ignore[type-var]  # a generator of the source's
            return _characters(next(batches, None), self.spec)


def _nothing(unchanged: int) -> Plan:
    none = np.empty(0, dtype=np.int64)
    return Plan(none, none, none, none, unchanged)


def _level(work: RawWork) -> View | None:
    """The published version, where it is the newest and stands for the very version that the source has now."""
    published, newest = work.table.published(), work.table.newest()
    if published is None or newest is None or newest.version != published.version:
        return None
    return published if published.state.desired == wanted_state(work.stage, work.rows).desired else None


def _step(rows: _Rows, version: str, table: StageTable | None, *, restorable: bool) -> _Step:
    fingerprints = input_fingerprints(rows.rows.fingerprints, version)
    fingerprints[rows.unknown] = _UNKNOWN
    wanted = RowSet(rows.rows.ids, fingerprints)
    base = table.newest() if table is not None else None
    published = table.published() if table is not None else None
    todo = plan(wanted, base.observed if base is not None else RowSet.empty())
    if restorable and base is not None and published is not None and published.version != base.version:
        other = plan(wanted, published.observed)
        if other.upserts < todo.upserts:
            base, todo = published, other
    upserted = np.zeros(len(wanted.ids), dtype=bool)
    upserted[todo.inserts] = upserted[todo.changes] = True
    return _Step(base, todo, _after(wanted.ids, upserted, base), upserted)


def _after(ids: Hashes, upserted: npt.NDArray[np.bool_], base: View | None) -> _Rows:
    """Rows that will have content: those that are computed (at most), and those that have it already."""
    content = base.content()[0] if base is not None else RowSet.empty()
    found = Lookup(content.ids).find(ids)
    fingerprints = np.full_like(ids, _UNKNOWN)
    fingerprints[found >= 0] = content.fingerprints[found[found >= 0]]
    keep = upserted | (found >= 0)
    return _Rows(RowSet(ids[keep], fingerprints[keep]), upserted[keep])


def _characters(batch: pa.RecordBatch | None, spec: TableSpec) -> float:
    if batch is None or not len(batch):
        return 0.0
    values = batch.column("values")
    texts = [values.field(f.name) for f in values.type if f.name in spec.text_columns and pa.types.is_string(f.type)]
    return sum(float(pc.sum(pc.utf8_length(text)).as_py() or 0) for text in texts) / len(batch)
