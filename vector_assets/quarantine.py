"""Rejected rows, as every stage keeps them: which, why, since when; and how they are tried again. Never a value of a row, except where
`current_values` is called for it.

They live in the stage tables themselves (`reconcile.stage_table`). A row or a rule that is mended is tried again by itself; `requeue` is
for what was mended elsewhere: a model file, a server that refused, a library.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from vector_assets.errors import ConfigurationError, SourceError
from vector_assets.fingerprint import Hashes, from_bytes
from vector_assets.models.registry import ModelVersion
from vector_assets.pipeline import STAGES, Pipeline, Run, StageName
from vector_assets.raw.stage import KEY, VALUES
from vector_assets.reconcile.lease import lease
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.view import ATTEMPTS, CONTENT, FIRST_SEEN, LAST_SEEN, REASON, REJECTED, ROW_ID, STATE, View
from vector_assets.redacted.redact import render_column
from vector_assets.tables import TableRef

ALL = "all"
_ROW_ID = re.compile(r"[0-9a-f]{32}")
_COLUMNS = [ROW_ID, STATE, REASON, ATTEMPTS, FIRST_SEEN, LAST_SEEN, CONTENT]
_REJECTED = f"{STATE} = '{REJECTED}' AND {ATTEMPTS} > 0"  # an entry of a ledger that is being sent has no attempt yet
_TOGETHER: dict[StageName, tuple[StageName, ...]] = {
    "raw_tables": STAGES[:3],
    "embeddings": STAGES[3:4],
    "weaviate_collections": STAGES[4:],
}
"""A stage, and those whose rejected rows begin there again: the private tables keep no values, so theirs are fetched anew; what stands
behind `redacted_text` is kept, and is at hand."""


class Rejected(NamedTuple):
    """One rejected row. `stale`: what it showed before it was rejected is still shown. `attempts`: how often in a row it was refused.
    `published` is False where only a version that nobody reads yet rejects it: a check blocked that one, or a run is at work."""

    table: str
    stage: StageName
    row_id: str  # 32 hex digits
    reason: str
    attempts: int
    first_seen: dt.datetime | None
    last_seen: dt.datetime | None
    stale: bool
    published: bool


class RowState(NamedTuple):
    """What one stage has of a row."""

    stage: StageName
    state: str  # ok | rejected
    reason: str | None
    attempts: int
    first_seen: dt.datetime | None
    last_seen: dt.datetime | None
    published: bool


def rejected_rows(pipeline: Pipeline, ref: TableRef, model: ModelVersion | None) -> Iterator[Rejected]:
    """Rejected rows of each stage under a model: of its published version, then those that only its newest one rejects."""
    for stage in STAGES:
        seen: set[str] = set()
        for row in _rejected(pipeline.current(stage, ref, model), ref, stage):
            if row.row_id not in seen:
                yield row
            seen.add(row.row_id)


class _Version(NamedTuple):
    view: View
    published: bool


def _versions(table: StageTable | None) -> Iterator[_Version]:
    """The published version of a stage table, and the newest where that is another one."""
    published = table.published() if table is not None else None
    newest = table.newest() if table is not None else None
    if published is not None:
        yield _Version(published, True)
    if newest is not None and (published is None or newest.version != published.version):
        yield _Version(newest, False)


def _rejected(table: StageTable | None, ref: TableRef, stage: StageName) -> Iterator[Rejected]:
    """Rejected rows of each version; those that both reject twice."""
    for view, published in _versions(table):
        for batch in view.batches(_COLUMNS, where=_REJECTED):
            for row in batch.to_pylist():
                yield Rejected(
                    table=ref.key,
                    stage=stage,
                    row_id=row[ROW_ID].hex(),
                    reason=row[REASON],
                    attempts=row[ATTEMPTS],
                    first_seen=row[FIRST_SEEN],
                    last_seen=row[LAST_SEEN],
                    stale=row[CONTENT] is not None,
                    published=published,
                )


# --- one row -----------------------------------------------------------------------------------------------------------------------------


def row_states(pipeline: Pipeline, ref: TableRef, row_id: str, model: ModelVersion | None) -> list[RowState]:
    """What every stage has of a row, by its 32 hex digits; of the newest version where the published one says something else.

    Raises ConfigurationError where that is no row id, or no stage knows the row.
    """
    found = []
    for stage in STAGES:
        versions = _versions(pipeline.current(stage, ref, model))
        *_, last = [None, *(_state(view, stage, row_id, published=published) for view, published in versions)]
        if last is not None:
            found.append(last)
    if not found:
        raise ConfigurationError(f"{ref.key} has no row {row_id}: `vector-assets quarantine list` shows the ids of rejected rows")
    return found


def _state(view: View, stage: StageName, row_id: str, *, published: bool) -> RowState | None:
    at = _position(view, row_id)
    if at is None:
        return None
    (row,) = view.take(at, _COLUMNS).to_pylist()
    return RowState(stage, row[STATE], row[REASON], row[ATTEMPTS], row[FIRST_SEEN], row[LAST_SEEN], published)


def _position(view: View, row_id: str) -> np.ndarray | None:
    (wanted,) = _ids([row_id])
    at = np.flatnonzero((view.observed.ids == wanted).all(axis=1))
    return at if len(at) else None


def shown_key(pipeline: Pipeline, ref: TableRef, row_id: str) -> dict[str, str]:
    """Key columns of a row under their policy: what is kept in plain, of the others that it is not shown. Empty where no key is stored."""
    spec = pipeline.settings.tables.spec_for(ref)
    key = _stored_key(pipeline, ref, row_id)
    if key is None:
        return {}
    plain = {field.name: render_column(column)[0].as_py() for field, column in zip(key.type, key.flatten(), strict=True)}
    policies = {name: spec.properties[name].policy if name in spec.properties else "drop" for name in plain}
    return {name: str(value) if policies[name] == "keep" else f"(not shown: {policies[name]})" for name, value in plain.items()}


def current_values(pipeline: Pipeline, ref: TableRef, row_id: str) -> dict[str, str | None]:
    """The columns of a row as the source has them now, unmasked. Raises SourceError where there is no such row or its key is not known."""
    spec = pipeline.settings.tables.spec_for(ref)
    key = _stored_key(pipeline, ref, row_id)
    if key is None:
        raise SourceError(f"the key of row {row_id} is not stored (it is NULL, or several rows share it): look for it in {ref.key} itself")
    with pipeline.engines.source(ref.catalog).open(ref, spec.columns, spec.key) as read:
        for batch in read.fetch(key):
            if len(batch):
                values = batch.column(VALUES)
                columns = zip(values.type, values.flatten(), strict=True)
                return {field.name: render_column(column)[0].as_py() for field, column in columns}
    raise SourceError(f"{ref.key} does not have row {row_id} any more: the next sync takes it out of quarantine")


def _stored_key(pipeline: Pipeline, ref: TableRef, row_id: str) -> pa.StructArray | None:
    for view, _ in _versions(pipeline.current("raw_tables", ref, None)):
        at = _position(view, row_id)
        if at is not None:
            key = view.take(at, [KEY]).column(KEY).combine_chunks()
            if key.null_count == 0:
                return key
    return None


# --- trying again ------------------------------------------------------------------------------------------------------------------------


def parse_selection(text: str) -> frozenset[str] | None:
    """Which rows are meant: `all` (None), or row ids between commas or spaces. Raises ConfigurationError for anything else."""
    if text.strip() == ALL:
        return None
    ids = frozenset(filter(None, re.split(r"[\s,]+", text.lower())))
    if not ids or not all(map(_ROW_ID.fullmatch, ids)):
        raise ConfigurationError(f"write {ALL!r} or row ids of 32 hex digits: `vector-assets quarantine list` shows them")
    return ids


def requeue(
    pipeline: Pipeline, stage: StageName, ref: TableRef, run: Run, *, model: ModelVersion | None, rows: Collection[str] | None = None
) -> int:
    """Before a stage is synced: make it compute rejected rows again although neither they nor a rule changed, and say how many there are.

    `rows` are the row ids that are meant; None: all. raw_tables begins with what it and the two stages behind it reject, since their values
    are fetched again; embeddings and weaviate_collections with what they reject themselves. Attempts, first and last seen are kept.
    Raises LeaseHeldError, StorageError.
    """
    stages = _TOGETHER.get(stage, ())
    if not stages:
        return 0
    with lease(pipeline.settings.storage, ref, run.id, wait_seconds=run.wait_seconds) as held:
        tables = {name: table for name in stages if (table := pipeline.current(name, ref, model)) is not None}
        refused = {name: {row.row_id for row in _rejected(table, ref, name)} for name, table in tables.items()}
        if rows is not None:
            refused = {name: ids.intersection(rows) for name, ids in refused.items()}
        again: set[str] = set()
        for name in reversed(stages):  # a row begins again in every stage up to the one that rejects it
            again |= refused.get(name, set())
            if again and name in tables:
                held.ensure()
                tables[name].forget(_ids(sorted(again)))
    return len(again)


def _ids(row_ids: Collection[str]) -> Hashes:
    if not all(map(_ROW_ID.fullmatch, row_ids)):
        raise ConfigurationError("a row id has 32 hex digits: `vector-assets quarantine list` shows them")
    return from_bytes([bytes.fromhex(row_id) for row_id in row_ids])
