"""`WeaviateIndex`: collections, objects and aliases of a Weaviate server.

What a collection is like there is in `layout.py`, getting in is in `server.py`, sending objects in `write.py`,
asking in `query.py`, and what errors mean in `errors.py`.

Weaviate resolves an alias wherever a collection is named, in lower case too. Here a name is the name of a collection and nothing else, so
every look-up compares the name that comes back.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vector_assets.errors import IndexConflict, IndexUnavailable
from vector_assets.fingerprint import Hashes, to_arrow
from vector_assets.indexed.index import STORED, CollectionSchema, Hit, Query
from vector_assets.indexed.objects import last_of_each, refuse_disagreement, refused_objects
from vector_assets.indexed.weaviate.errors import boundary, well_formed
from vector_assets.indexed.weaviate.layout import (
    about,
    check_properties,
    class_properties,
    description,
    own_properties,
    refuse_tampering,
    stored_incarnation,
    stored_schema,
    vector_settings,
)
from vector_assets.indexed.weaviate.query import search
from vector_assets.indexed.weaviate.server import ASCII_FOLDING_SINCE, Connection, Server, connect, is_awake, pause
from vector_assets.indexed.weaviate.stored import StoredColumns, stored, vectors_of
from vector_assets.indexed.weaviate.write import Writer, attempts, delete

if TYPE_CHECKING:
    from weaviate import WeaviateClient
    from weaviate.collections import Collection
    from weaviate.collections.classes.config import CollectionConfig

    Things = Collection[Mapping[str, object], None]

Answer = TypeVar("Answer")

_NAME = re.compile(r"[A-Z][_0-9A-Za-z]{0,230}")
_WAKING_SECONDS = 0.7  # in which the client's channel finds a server that ours has found
_READ_SECONDS = 3.0  # a search is waited for by somebody
_SETTINGS = ("distance", "quantization", "hnsw", "replication")


class _Open(NamedTuple):
    connection: Connection
    writer: Writer
    pool: ThreadPoolExecutor


class WeaviateIndex:
    """A `VectorIndex` in a Weaviate. Connects when it is first used; safe to share between threads."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._open: _Open | None = None

    def close(self) -> None:
        """Close the connection; the next call would open another."""
        with self._lock:
            opened, self._open = self._open, None
        if opened is not None:
            opened.pool.shutdown()
            opened.connection.close()

    # --- collections -------------------------------------------------------------------------------------------------------------------

    def ensure(self, schema: CollectionSchema) -> str:
        """See `VectorIndex.ensure`. Raises IndexConflict also for a collection that somebody else made, or changed."""
        _check_name(schema.name)
        with self._boundary(f"make collection {schema.name}"):
            config = self._find(schema.name)
            if config is None:
                if self._target(schema.name) is not None:
                    raise IndexConflict(f"collection {schema.name} would be named like an alias: choose another name")
                config = self._create(schema)
            refuse_disagreement(stored_schema(schema.name, config), schema, settings=_SETTINGS)
            config = self._add_properties(schema, config)
            refuse_disagreement(stored_schema(schema.name, config), schema, settings=_SETTINGS)  # another may have added properties
            refuse_tampering(config, schema)
            return stored_incarnation(schema.name, config)

    def incarnation(self, name: str) -> str | None:
        """See `VectorIndex.incarnation`. Raises IndexConflict for a collection that is not ours."""
        with self._boundary(f"read collection {name}"):
            config = self._find(name)
            return None if config is None else stored_incarnation(name, config)

    def describe(self, name: str) -> CollectionSchema | None:
        """See `VectorIndex.describe`. Raises IndexConflict for a collection that is not ours."""
        with self._boundary(f"read collection {name}"):
            config = self._find(name)
            return None if config is None else stored_schema(name, config)

    def collections(self) -> list[str]:
        """See `VectorIndex.collections`. Those that are not ours are left out."""
        with self._boundary("list collections"), self._well_formed("list collections"):
            found = self._client.collections.list_all(simple=True)
            return sorted(name for name, config in found.items() if about(config.description) is not None)

    def drop(self, name: str) -> None:
        """See `VectorIndex.drop`. Raises IndexConflict also for a collection that is not ours."""
        with self._boundary(f"drop collection {name}"):
            config = self._find(name)
            if config is None:
                return
            stored_incarnation(name, config)
            with self._well_formed("list aliases"):
                aliases = sorted(self._client.alias.list_all(collection=name))
            if aliases:  # Weaviate itself would leave the alias pointing to nothing
                raise IndexConflict(f"alias {aliases[0]} points to collection {name}: point it elsewhere first")
            self._client.collections.delete(name)

    # --- objects -----------------------------------------------------------------------------------------------------------------------

    def upsert(self, name: str, objects: pa.Table) -> dict[bytes, str]:
        """See `VectorIndex.upsert`. Returns when every object is acknowledged or refused; not a transaction: what was acknowledged before
        an error stays. Raises IndexUnavailable where Weaviate is read-only, or acknowledged a part only."""
        if objects.num_rows == 0:
            return {}
        with self._boundary(f"write to collection {name}"):
            schema = self._schema(name)
            refused = refused_objects(objects, schema)
            check_properties(objects, schema)
            kept = last_of_each(objects, refused)
            return refused | self._writer.send(name, kept) if kept.num_rows else refused

    def delete(self, name: str, ids: Hashes) -> None:
        """See `VectorIndex.delete`."""
        if len(ids) == 0:
            return
        with self._boundary(f"remove objects of collection {name}"):
            self._schema(name)
            gone = [uuid.UUID(bytes=value) for value in to_arrow(np.unique(ids, axis=0)).to_pylist()]
            delete(self._collection(name), gone, server=self._server, connection=self._opened().connection)

    def stored(
        self, name: str, source_table: str, columns: Sequence[str] = STORED, *, rows: Hashes | None = None
    ) -> Iterator[pa.RecordBatch]:
        """See `VectorIndex.stored`. Weaviate has no snapshots: what others write meanwhile may be in it or not."""

        def begin() -> tuple[pa.RecordBatch | None, Iterator[pa.RecordBatch]]:
            batches = stored(self._collection(name), source_table, StoredColumns(self._schema(name), tuple(columns)), rows)
            return next(batches, None), batches

        first, others = self._patiently(f"read collection {name}", begin)
        if first is not None:
            yield first
            with self._boundary(f"read collection {name}"):
                yield from others

    def search(self, name: str, query: Query) -> list[Hit]:
        """See `VectorIndex.search`. Raises IndexConflict for a query vector of another length or one that is not finite."""
        return self._patiently(f"search collection {name}", lambda: search(self._collection(name), self._schema(name), query))

    def vectors_of(self, name: str, source_table: str | None, source_key: str) -> tuple[bytes, npt.NDArray[np.float32]] | None:
        """See `VectorIndex.vectors_of`. Raises ConfigurationError where several rows have that key."""
        return self._patiently(
            f"read collection {name}", lambda: vectors_of(self._collection(name), self._schema(name), source_table, source_key)
        )

    # --- aliases -----------------------------------------------------------------------------------------------------------------------

    def resolve(self, alias: str) -> str | None:
        """See `VectorIndex.resolve`."""
        with self._boundary(f"read alias {alias}"):
            return self._target(alias)

    def point(self, alias: str, name: str) -> None:
        """See `VectorIndex.point`. Raises IndexConflict for a collection that does not exist or an alias named like one."""
        from weaviate.exceptions import UnexpectedStatusCodeError

        _check_name(alias)
        with self._boundary(f"point alias {alias}"):
            if self._find(alias) is not None:
                raise IndexConflict(f"alias {alias} is named like a collection: choose another name")
            self._schema(name)
            if self._client.alias.update(alias_name=alias, new_target_collection=name):
                return
            try:
                self._client.alias.create(alias_name=alias, target_collection=name)
            except UnexpectedStatusCodeError:
                # Somebody was quicker; if the alias is not there even so, this is not why it failed.
                if self._target(alias) is None or not self._client.alias.update(alias_name=alias, new_target_collection=name):
                    raise

    # --- the server --------------------------------------------------------------------------------------------------------------------

    def _boundary(self, action: str) -> AbstractContextManager[None]:
        return boundary(action, self._server.rest.url, self._server.grpc.url)

    def _well_formed(self, action: str) -> AbstractContextManager[None]:
        return well_formed(action, self._server.rest.url)

    def _patiently(self, action: str, read: Callable[[], Answer]) -> Answer:
        """Read by gRPC where it is awake. Left alone, the client tries for 63 s and then gives up, and the first search after an outage
        took 15 s although the server was back. The look costs 1 ms."""
        with self._boundary(action):
            channel = self._opened().connection.channel
        begun, patience = time.monotonic(), min(_READ_SECONDS, self._server.patience_seconds)
        problem = IndexUnavailable(f"cannot {action} in {self._server.grpc.url}: the connection broke off or nobody answers")
        slept = False
        for _ in attempts(replace(self._server, patience_seconds=patience), self._opened().connection):
            if not is_awake(self._server, channel):
                slept = True
                continue
            if slept:
                pause(self._server, channel, _WAKING_SECONDS)
            try:
                with self._boundary(action):
                    return read()
            except IndexUnavailable as error:
                problem = error
                if time.monotonic() - begun > patience:  # a request that timed out
                    break
        raise problem

    def _opened(self) -> _Open:
        with self._lock:
            if self._open is None:
                connection = connect(self._server)
                pool = ThreadPoolExecutor(self._server.batches, thread_name_prefix="weaviate")
                self._open = _Open(connection, Writer(self._server, connection, pool), pool)
            return self._open

    @property
    def _client(self) -> WeaviateClient:
        return self._opened().connection.client

    @property
    def _writer(self) -> Writer:
        return self._opened().writer

    def _collection(self, name: str) -> Things:
        from weaviate.classes.config import ConsistencyLevel

        used = self._client.collections.use(name).with_consistency_level(ConsistencyLevel(self._server.consistency))
        return cast("Things", used)

    def _find(self, name: str) -> CollectionConfig | None:
        """A collection of just this name; None where there is none, or an alias of that name."""
        from weaviate.exceptions import UnexpectedStatusCodeError

        if not _NAME.fullmatch(name):
            return None
        try:
            with self._well_formed(f"read collection {name}"):
                config = self._client.collections.export_config(name)
        except UnexpectedStatusCodeError as error:
            if error.status_code == 404:
                return None
            raise
        return config if config.name == name else None

    def _schema(self, name: str) -> CollectionSchema:
        """Asked of the server each time (2 ms): somebody may have removed the collection, or extended it."""
        config = self._find(name)
        if config is None:
            raise IndexConflict(f"there is no collection {name} in {self._server.rest.url}: `vector-assets sync` makes it")
        return stored_schema(name, config)

    def _target(self, alias: str) -> str | None:
        if not _NAME.fullmatch(alias):
            return None
        with self._well_formed(f"read alias {alias}"):
            found = self._client.alias.get(alias_name=alias)
            return None if found is None else found.collection

    def _create(self, schema: CollectionSchema) -> CollectionConfig:
        from weaviate.classes.config import Configure, StopwordsPreset
        from weaviate.exceptions import UnexpectedStatusCodeError

        folding = self._opened().connection.version >= ASCII_FOLDING_SINCE
        try:
            self._client.collections.create(
                schema.name,
                description=description(schema, uuid.uuid4().hex),
                properties=[*own_properties(folding=folding), *class_properties(schema.properties)],
                vector_config=vector_settings(schema.spec),
                # Texts are of any language: no word is too common to be looked for. Null state: filters find what has no value.
                inverted_index_config=Configure.inverted_index(index_null_state=True, stopwords_preset=StopwordsPreset.NONE),
                replication_config=Configure.replication(factor=schema.spec.replication),
            )
        except UnexpectedStatusCodeError:
            if self._find(schema.name) is None:  # else somebody was quicker
                raise
        config = self._find(schema.name)
        if config is None:
            raise IndexConflict(
                f"collection {schema.name} was removed while it was made: somebody else is at work in {self._server.rest.url}"
            )
        return config

    def _add_properties(self, schema: CollectionSchema, config: CollectionConfig) -> CollectionConfig:
        """Add what is missing; returns what the collection is like then."""
        from weaviate.exceptions import UnexpectedStatusCodeError

        known = {prop.name for prop in config.properties}
        missing = [prop for prop in schema.properties if prop.name not in known]
        for prop in class_properties(missing):
            try:
                self._client.collections.use(schema.name).config.add_property(prop)
            except UnexpectedStatusCodeError:
                newest = self._find(schema.name)  # somebody was quicker
                if newest is None or prop.name not in {each.name for each in newest.properties}:
                    raise
        return (self._find(schema.name) or config) if missing else config


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise IndexConflict(
            f"{name!r} cannot name a collection or an alias: letters, digits and _ after a first letter, which is a capital"
        )
