"""A lake of its own on real servers: schemas in Trino's catalogs, collections in Weaviate, a Dagster instance, and what came of a sync.

Sources, stage tables and the index are the real ones. What is expected of Weaviate is worked out in `promises.py`, and compared with what
Weaviate's own client reads.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import dagster as dg
from weaviate import WeaviateClient

from vector_assets.cli.search import searcher
from vector_assets.defs.assets import ASSETS
from vector_assets.defs.partitions import TABLES
from vector_assets.defs.resources import Platform
from vector_assets.defs.run_tags import APPROVE_DELETES
from vector_assets.defs.turn import DAGSTER
from vector_assets.demo.servers.lakehouse import READER
from vector_assets.models.registry import ModelVersion
from vector_assets.pipeline import Pipeline
from vector_assets.reconcile.run import Outcome
from vector_assets.search import Searcher
from vector_assets.settings import Settings
from vector_assets.tables import TableRef
from vector_assets_tests.clients import run_in_trino, weaviate_client
from vector_assets_tests.live.counted import LiveEngines, Models
from vector_assets_tests.live.fixtures import Trino, Weaviate
from vector_assets_tests.live.promises import Stored, promised

CATALOGS = {"lake": "iceberg", "delta": "delta", "shop": "postgres", "made": "tpch"}
"""Names in sources.yaml, and what Trino calls them."""

OWNER = "alice"
"""Who makes and edits the tables; syncs are another user's."""


class Table(NamedTuple):
    """A table: its partition key here, and its name in Trino's SQL."""

    ref: TableRef
    sql: str


class Did(NamedTuple):
    """What a sync did: outcomes by stage, rows of the source that were fetched, texts redacted and passages encoded."""

    outcomes: Mapping[str, Outcome]
    fetched: int
    redacted: int
    encoded: int

    @property
    def planned(self) -> int:
        """Rows that raw_tables planned."""
        return self.outcomes["raw_tables"].planned


class RealLake:
    """Tables, settings and pipelines of one test. Made by `real_lake`."""

    def __init__(self, home: Path, trino: Trino, weaviate: Weaviate, models: Models) -> None:
        self.name = f"e2e_{uuid.uuid4().hex[:10]}"
        self.home, self.trino, self.models = home, trino, models
        self.weaviate, self._schemas = weaviate, set[str]()
        self.catalog_settings: Mapping[str, object] = {}
        self._entries: tuple[Mapping[str, object], ...] = ()
        self._collections: Mapping[str, object] = {}
        self._users: Mapping[str, str] = {}
        self._overrides: Mapping[str, object] = {}
        self.pipeline: Pipeline | None = None
        self.instance = dg.DagsterInstance.ephemeral()
        home.mkdir(parents=True, exist_ok=True)
        (home / "secret").write_text("a secret for tests, 32 bytes long")

    # --- Trino ---

    def run(self, statement: str, user: str = OWNER, *, session: Mapping[str, str] | None = None) -> list[tuple[object, ...]]:
        """Run a statement to its end."""
        return [tuple(row) for row in run_in_trino(self.trino.url, statement, user=user, session_properties=session)]

    def table(self, catalog: str, name: str) -> Table:
        """A table in a schema of our own, which is there now; the table need not be."""
        if catalog not in self._schemas:
            self._schemas.add(catalog)
            self.run(f"CREATE SCHEMA {CATALOGS[catalog]}.{self.name}")
        return Table(TableRef(catalog, self.name, name), f"{CATALOGS[catalog]}.{self.name}.{name}")

    # --- what is synced ---

    def collection(self, name: str) -> str:
        """The name of a collection of our own."""
        return f"{name}_{self.name}"

    def declare(
        self,
        *entries: Mapping[str, object],
        users: Mapping[str, str] | None = None,
        collections: Mapping[str, object] | None = None,
        **overrides: object,
    ) -> Pipeline:
        """Write sources.yaml, and open a pipeline of it. `users`: whom a catalog is read as. `overrides`: settings, kept from then on."""
        self._entries, self._users, self._collections = entries, users or {}, collections or {}
        self._overrides = {**self._overrides, **overrides}
        return self.reopen()

    def reopen(self, weaviate: Weaviate | None = None) -> Pipeline:
        """A new pipeline as a new process has it; on another Weaviate, where one is given."""
        self.close()
        self.weaviate = weaviate or self.weaviate
        place = urlsplit(self.trino.url)
        catalogs = {
            name: {
                "engine": "trino",
                "host": place.hostname,
                "port": place.port,
                "user": self._users.get(name, READER),
                "catalog": catalog,
                **self.catalog_settings,
            }
            for name, catalog in CATALOGS.items()
        }
        sources = {"catalogs": catalogs, "tables": self._entries, "collections": self._collections}
        path = self.home / "sources.yaml"
        path.write_text(json.dumps(sources))  # which is YAML too
        settings = Settings(  # type: ignore[arg-type]
            home=self.home,
            sources=path,
            weaviate_url=self.weaviate.url,
            weaviate_grpc_url=self.weaviate.grpc_url,
            weaviate_api_key=self.weaviate.api_key,
            redaction_workers=1,
            **self._overrides,
        )
        self.pipeline = Pipeline(settings, LiveEngines(settings, self.models))
        return self.pipeline

    def sync(self, *tables: Table | TableRef, approve: str | None = None) -> Did:
        """Materialize the five assets of each table; every one must succeed."""
        before = self._counts()
        outcomes: dict[str, Outcome] = {}
        for table in tables:
            result, outcomes = self._materialize(_ref(table), approve)
            assert result.success, _failure(result)
        return Did(outcomes, *(now - then for now, then in zip(self._counts(), before, strict=True)))

    def failure(self, table: Table | TableRef) -> str:
        """What a user reads in Dagster of a sync that must fail."""
        result, _ = self._materialize(_ref(table), None)
        assert not result.success
        return _failure(result)

    def _materialize(self, ref: TableRef, approve: str | None) -> tuple[dg.ExecuteInProcessResult, dict[str, Outcome]]:
        assert self.pipeline is not None
        outcomes: dict[str, Outcome] = {}
        platform = Platform(self.pipeline, finished=lambda outcome: outcomes.update({outcome.stage: outcome}), step_retries=0)
        with DAGSTER.inside():  # tests sync in threads
            self.instance.add_dynamic_partitions(str(TABLES.name), [ref.key])
            result = dg.materialize(
                ASSETS,
                instance=self.instance,
                partition_key=ref.key,
                resources={"platform": platform},
                tags={APPROVE_DELETES: approve} if approve else {},
                raise_on_error=False,
            )
        return result, outcomes

    def _counts(self) -> tuple[int, int, int]:
        return self.models.fetched, len(self.models.redactor.seen), self.models.encoded

    # --- Weaviate ---

    def client(self) -> AbstractContextManager[WeaviateClient]:
        """Weaviate's own client."""
        return weaviate_client(*self.weaviate)

    def stored(self, collection: str) -> dict[str, set[Stored]]:
        """Objects by table, of a collection or of what an alias points to."""
        found: dict[str, set[Stored]] = {}
        with self.client() as client:
            for thing in client.collections.use(collection).iterator(return_properties=["source_table", "fingerprint", "generation"]):
                said = {name: str(value) for name, value in thing.properties.items()}
                one = Stored(str(thing.uuid), said["fingerprint"], said["generation"])
                found.setdefault(said["source_table"], set()).add(one)
        return found

    def pointed(self, alias: str) -> str | None:
        """The collection that an alias points to."""
        with self.client() as client:
            found = client.alias.get(alias_name=alias)
            return found.collection if found else None

    def searcher(self) -> Searcher:
        """A searcher as the command line makes it."""
        assert self.pipeline is not None
        return searcher(self.pipeline.engines)

    # --- what must be there ---

    def promised(self, table: Table | TableRef, model: ModelVersion | None = None) -> set[Stored]:
        """The objects that a table's published embeddings stand for, of the champion or another model."""
        assert self.pipeline is not None
        return promised(self.pipeline, _ref(table), model or self.pipeline.engines.champion())

    def assert_level(self, collection: str, *tables: Table | TableRef) -> None:
        """What the alias shows is just what the published embeddings of these tables promise."""
        stored, promised = self.stored(collection), {_ref(table).key: self.promised(table) for table in tables}
        assert {key: len(objects) for key, objects in stored.items()} == {key: len(objects) for key, objects in promised.items() if objects}
        assert stored == {key: objects for key, objects in promised.items() if objects}

    # --- the end ---

    def close(self) -> None:
        """End the pipeline."""
        if self.pipeline is not None:
            self.pipeline.close()
            self.pipeline = None

    def remove(self) -> None:
        """Drop whatever this lake made."""
        try:
            self._remove_collections()
        finally:
            self.remove_tables()

    def remove_tables(self) -> None:
        """Drop what this lake made in Trino; its Weaviate is gone, or goes with all that it holds."""
        self.close()
        self.instance.dispose()
        for catalog in map(CATALOGS.__getitem__, self._schemas):
            for (table,) in self.run(f"SHOW TABLES FROM {catalog}.{self.name}"):
                self.run(f'DROP TABLE {catalog}.{self.name}."{table}"')
            self.run(f"DROP SCHEMA {catalog}.{self.name}")

    def _remove_collections(self) -> None:
        with self.client() as client:
            for alias in [alias for alias in client.alias.list_all() if self.name in alias]:  # also one whose collection somebody removed
                client.alias.delete(alias_name=alias)
            for name in [name for name in client.collections.list_all(simple=True) if self.name in name]:
                client.collections.delete(name)


@contextmanager
def real_lake(home: Path, trino: Trino, weaviate: Weaviate, models: Models | None = None) -> Iterator[RealLake]:
    """A lake for the length of a `with`."""
    lake = RealLake(home, trino, weaviate, models or Models())
    try:
        yield lake
    finally:
        lake.remove()


# --- tables of customers' comments ------------------------------------------------------------------------------------------------------


def comments(lake: RealLake, catalog: str, name: str, *, rows: int = 200) -> Table:
    """A table of customers' comments: 73 characters on average, so most are several passages of 8 words."""
    table = lake.table(catalog, name)
    columns = "custkey AS id, comment AS body, mktsegment AS status, acctbal AS balance, name AS junk"
    lake.run(f"CREATE TABLE {table.sql} AS SELECT {columns} FROM tpch.tiny.customer WHERE custkey <= {rows}")
    return table


def entry(lake: RealLake, table: Table, collection: str, **more: object) -> dict[str, object]:
    """What sources.yaml says of such a table."""
    return {
        "table": table.ref.key,
        "key": ["id"],
        "text": "{body}",
        "properties": {"id": "keep", "status": "keep"},
        "collection": lake.collection(collection),
        "passages": {"overlap_tokens": 2},
        **more,
    }


# --- inside ----------------------------------------------------------------------------------------------------------------------------


def _ref(table: Table | TableRef) -> TableRef:
    return table.ref if isinstance(table, Table) else table


def _failure(result: dg.ExecuteInProcessResult) -> str:
    """The failed step's message, as a user sees it."""
    (event,) = result.get_step_failure_events()
    data = event.step_failure_data
    return (data.user_failure_data.description if data.user_failure_data else None) or data.error_display_string
