"""A small lake of one table over stand-ins: edits, syncs that may crash, and what everything ended up as."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from vector_assets.pipeline import STAGES, Pipeline, Run, StageName
from vector_assets.reconcile import stage_table
from vector_assets.reconcile.run import Approval, Outcome
from vector_assets.settings import Settings
from vector_assets.tables import Sources, TableRef
from vector_assets_tests.fakes import FakeEngines, MemoryIndex, MemorySource, Row, model_version

REF = TableRef("lake", "s", "t")
SCHEMA = pa.schema([("id", pa.int64()), ("body", pa.string()), ("status", pa.string())])
_UNCOMPARED = {"input", "attempts", "first_seen", "last_seen", "text_input", "properties_input", "passages"}


class Crash(BaseException):
    """Not an Exception: nothing may catch it."""


def sources(**table: object) -> Sources:
    """One table with a text, a kept key and a kept status."""
    spec: dict[str, object] = {
        "table": "lake.s.t",
        "key": ["id"],
        "text": "{body}",
        "properties": {"id": "keep", "status": "keep"},
        "collection": "Things",
        "quality": {"body": {"max_length": 40}},
        "checks": {"rejected_rows": "off"},  # a table of one row, rejected, is published too
    }
    return Sources.model_validate({"catalogs": {"lake": {"engine": "duckdb", "path": "x.duckdb"}}, "tables": [spec | table]})


class Lake:
    """A pipeline over stand-ins, small batches and small commits."""

    def __init__(self, home: Path, rows: list[Row] | None = None, *, table: dict[str, object] | None = None, **settings: object) -> None:
        bounds = {"batch_rows": 2, "commit_rows": 2, "delete_share": 1.0, "delete_rows": 10**9}
        self.settings = Settings(home=home, **(bounds | settings))  # type: ignore[arg-type]
        object.__setattr__(self.settings, "tables", sources(**(table or {})))
        self.source = MemorySource(SCHEMA, {REF: rows if rows is not None else []})
        self.engines = FakeEngines(self.settings, self.source)
        self.pipeline = Pipeline(self.settings, self.engines)

    @property
    def rows(self) -> list[Row]:
        return self.source.data[REF]

    @property
    def index(self) -> MemoryIndex:
        return self.engines.index()

    def sync(self, run: Run | None = None, *stages: StageName) -> dict[str, Outcome]:
        return {stage: self.pipeline.sync(stage, REF, run or Run("test", approval=self.approval())) for stage in stages or STAGES}

    def approval(self) -> Approval:
        return Approval(self.source.version(REF).token, 10**9)

    def model(self, digest: str) -> None:
        self.engines.model = model_version(digest)

    def snapshot(self) -> dict[str, object]:
        """Everything published that a from-scratch run must have too, by stage, and the index behind the alias."""
        names = self.pipeline.generations(self.settings.tables.spec_for(REF), self.engines.model)
        name = self.index.resolve("Things")
        folders = {"embeddings": (names.embeddings,), "weaviate_collections": (names.collection, self.index.incarnation(str(name)) or "")}
        stages = {stage: _published(self.pipeline, stage, *folders.get(stage, ())) for stage in STAGES}
        objects = [{k: str(v) for k, v in row.items()} for row in self.index.made[str(name)].objects.values()] if name else []
        return {**stages, "alias": name, "objects": sorted(objects, key=lambda row: row["id"])}


def _published(pipeline: Pipeline, stage: StageName, *folders: str) -> list[dict[str, object]]:
    view = pipeline.published(stage, REF, *folders)
    assert view is not None, stage
    rows = view.take(range(view.count())).to_pylist()
    shown = [{k: v for k, v in row.items() if k not in _UNCOMPARED} | _passages(row) for row in rows]
    return sorted(shown, key=lambda row: row["row_id"])  # type: ignore[arg-type, return-value]


def _passages(row: dict[str, object]) -> dict[str, object]:
    passages = row.get("passages")
    return {"texts": [(p["ordinal"], p["text"]) for p in passages]} if isinstance(passages, list) else {}


@contextmanager
def crash_after(commits: int) -> Iterator[None]:
    """Raise `Crash` once so many writes to stage tables are done."""
    real, left = stage_table.storage_errors, [commits]

    @contextmanager
    def counting(doing: str, uri: str) -> Iterator[None]:
        with real(doing, uri):
            yield
        if doing == "write":
            left[0] -= 1
            if left[0] == 0:
                raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_table, "storage_errors", counting)
        yield
