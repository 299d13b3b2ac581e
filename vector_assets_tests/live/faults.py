"""One table in a lake, synced, and what must hold when a sync of it breaks: nothing is lost, nothing is told, and the next sync is right.

What is right is worked out by another lake that has never seen the table: from nothing, as far as embeddings.
"""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from vector_assets.errors import VectorAssetsError
from vector_assets.indexed.weaviate.index import WeaviateIndex
from vector_assets.pipeline import STAGES, Pipeline, Run
from vector_assets.reconcile.run import Outcome
from vector_assets_tests.live.counted import Models
from vector_assets_tests.live.lakes import RealLake, Table
from vector_assets_tests.live.promises import Stored

if TYPE_CHECKING:
    from vector_assets_tests.live.fixtures import Weaviate

MARK = "zanzibar"
"""In the text of every row, and in no message."""

ROWS = 120
"""More than the delete brake lets go at will."""


@dataclass(frozen=True)
class Trial:
    """A table of comments and the lake it is in."""

    lake: RealLake
    table: Table
    entries: Sequence[Mapping[str, object]]

    @property
    def collection(self) -> str:
        """The alias that its objects are found by."""
        return str(self.entries[0]["collection"])

    # --- by which way ---

    def through(self, *, trino: str | None = None, weaviate: Weaviate | None = None, patience: float = 1, **settings: object) -> Pipeline:
        """A new pipeline that meets Trino and Weaviate at other addresses; the test itself goes the straight way.

        `settings`: of the catalogs. `patience`: seconds that Weaviate is given to come back."""
        lake, straight = self.lake, (self.lake.trino, self.lake.weaviate)
        lake.trino, lake.catalog_settings = lake.trino._replace(url=trino or lake.trino.url), settings
        try:
            pipeline = lake.reopen(weaviate)
        finally:
            (lake.trino, lake.weaviate), lake.catalog_settings = straight, {}
        index = pipeline.engines.index()
        assert isinstance(index, WeaviateIndex)
        index._server = replace(index._server, patience_seconds=patience)
        return pipeline

    # --- what happens ---

    def attempt(self) -> dict[str, Outcome]:
        """All stages, without Dagster, which would hide the error's class."""
        assert self.lake.pipeline is not None
        run = Run(uuid.uuid4().hex)
        return {stage: self.lake.pipeline.sync(stage, self.table.ref, run) for stage in STAGES}

    def broken(self, kind: type[VectorAssetsError], says: str) -> str:
        """Sync, which must fail with this class and these words, and tell nothing of a row; returns the message."""
        with pytest.raises(VectorAssetsError, match=says) as caught:
            self.attempt()
        error = caught.value
        assert isinstance(error, kind), f"{type(error).__name__}: {error}"
        assert MARK not in "".join(traceback.format_exception(error))  # as a log would have it, causes and all
        assert len(str(error)) < 700
        return str(error)

    def settled(self, *, planned: int | None = None) -> None:
        """Sync; then everything is as from nothing, and there is nothing more to do."""
        outcomes = self.attempt()
        assert planned is None or outcomes["raw_tables"].planned == planned
        self.assert_right()
        assert [outcome.planned for outcome in self.attempt().values()] == [0] * len(STAGES)

    # --- what must hold ---

    @property
    def stored(self) -> set[Stored]:
        """Objects of the table that a search can find."""
        return self.lake.stored(self.collection).get(self.table.ref.key, set())

    def assert_right(self) -> None:
        """Weaviate shows what a lake makes of the table that has never seen it."""
        self.lake.assert_level(self.collection, self.table)
        assert self.stored == self.from_nothing()

    def from_nothing(self) -> set[Stored]:
        """The objects that the table as it is now stands for."""
        other = RealLake(self.lake.home / uuid.uuid4().hex, self.lake.trino, self.lake.weaviate, Models())
        try:
            pipeline = other.declare(*self.entries)
            for stage in STAGES[:-1]:
                pipeline.sync(stage, self.table.ref, Run("from-nothing"))
            return other.promised(self.table)
        finally:
            other.close()
            other.instance.dispose()


def trial(lake: RealLake, catalog: str, *, rows: int = ROWS, **more: object) -> Trial:
    """Make a table of comments, and sync it."""
    table = lake.table(catalog, "notes")
    lake.run(
        f"CREATE TABLE {table.sql} AS SELECT custkey AS id, '{MARK} ' || comment AS body, mktsegment AS status"
        f" FROM tpch.tiny.customer WHERE custkey <= {rows}"
    )
    entry = {
        "table": table.ref.key,
        "key": ["id"],
        "text": "{body}",
        "properties": {"id": "keep", "status": "keep"},
        "collection": lake.collection("Notes"),
        "passages": {"overlap_tokens": 2},
        **more,
    }
    lake.declare(entry)
    made = Trial(lake, table, [entry])
    made.attempt()
    assert len(made.stored) > rows  # several passages of some
    return made
