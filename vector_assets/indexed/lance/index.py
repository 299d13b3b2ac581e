"""`LanceIndex`: the embedded vector index, on a local disk or an object store.

    <root>/collections/<name>.lance      one Lance dataset per collection; schema, stamp and incarnation in its own metadata
    <root>/aliases/<alias>.json          {"collection": name}, replaced whole

Vectors are kept in half precision, as the embeddings stage makes them. Any number of processes may write to a collection: a write is one
commit, conflicts are retried. The layout of a dataset is in `layout.py`, asking in `query.py`, compaction and retention in
`upkeep.py`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vector_assets.errors import IndexConflict, IndexUnavailable
from vector_assets.fingerprint import Hashes, to_arrow
from vector_assets.indexed.answers import several_rows
from vector_assets.indexed.index import STORED, CollectionSchema, Hit, Property, Query
from vector_assets.indexed.lance.layout import (
    PROPERTY_PREFIX,
    dataset_schema,
    object_rows,
    property_column,
    stored_columns,
    stored_incarnation,
    stored_objects,
    stored_schema,
)
from vector_assets.indexed.lance.query import of_rows, search, stored_vectors, text_literal
from vector_assets.indexed.lance.upkeep import Upkeep, create_indices, keep_up, trained_partitions, yielding
from vector_assets.indexed.objects import WIDE, last_of_each, refuse_disagreement, refused_objects

if TYPE_CHECKING:
    from lance import LanceDataset, Session
    from obstore.store import ObjectStore

_NAME = re.compile(r"[A-Za-z][_0-9A-Za-z]{0,230}")
_ATTEMPTS = 20  # on top of Lance's own ten per merge, for conflicts that it does not resolve: a change of schema, a new index
_BACKOFF_SECONDS = 0.01
_STORED_ROWS = 16_384
_WIDE_ROWS = 1024  # with texts or vectors
_ROWS_AT_ONCE = 1000  # row ids in one filter
_SUFFIX = ".lance"


class LanceIndex:
    """A `VectorIndex` below `root` (a path, or a URI such as s3://bucket/index). Safe to share between threads."""

    def __init__(
        self,
        root: str,
        *,
        upkeep: Upkeep | None = None,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        local = root.removeprefix("file://")
        self._root = root.rstrip("/") if "://" in local else str(Path(local).absolute())
        self._upkeep = upkeep or Upkeep()
        self._clock = clock

    # --- collections -------------------------------------------------------------------------------------------------------------------

    def ensure(self, schema: CollectionSchema) -> str:
        """See `VectorIndex.ensure`. Also a visit: what retention asks for is done here, even if no object changes."""
        _check_name(schema.name)
        with self._boundary(f"make collection {schema.name}"):
            if self.resolve(schema.name) is not None:
                raise IndexConflict(f"collection {schema.name} would be named like an alias: choose another name")
            dataset = self._find(schema.name) or self._create(schema)
            stored = stored_schema(schema.name, dataset)
            refuse_disagreement(stored, schema)
            known = {prop.name for prop in stored.properties}
            self._add_properties(schema.name, [prop for prop in schema.properties if prop.name not in known])
            refuse_disagreement(stored_schema(schema.name, self._open(schema.name)), schema)  # another may have added properties meanwhile
            self._commit(schema.name, create_indices)
            self._visit(schema.name)
            return stored_incarnation(dataset)

    def incarnation(self, name: str) -> str | None:
        """See `VectorIndex.incarnation`."""
        with self._boundary(f"read collection {name}"):
            dataset = self._find(name)
            return None if dataset is None else stored_incarnation(dataset)

    def describe(self, name: str) -> CollectionSchema | None:
        """See `VectorIndex.describe`."""
        with self._boundary(f"read collection {name}"):
            dataset = self._find(name)
            return None if dataset is None else stored_schema(name, dataset)

    def collections(self) -> list[str]:
        """See `VectorIndex.collections`."""
        import obstore

        with self._boundary("list collections"):
            prefixes = obstore.list_with_delimiter(self._objects, "collections")["common_prefixes"]
            names = [prefix.rsplit("/", 1)[-1] for prefix in prefixes]
            found = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
            return sorted(name for name in found if self._find(name) is not None)

    def drop(self, name: str) -> None:
        """See `VectorIndex.drop`."""
        from lance import LanceDataset

        with self._boundary(f"drop collection {name}"):
            aliases = [alias for alias in self._aliases() if self.resolve(alias) == name]
            if aliases:
                raise IndexConflict(f"alias {aliases[0]} points to collection {name}: point it elsewhere first")
            if self._find(name) is not None:
                LanceDataset.drop(self._uri(name), ignore_not_found=True)

    # --- objects -----------------------------------------------------------------------------------------------------------------------

    def upsert(self, name: str, objects: pa.Table) -> dict[bytes, str]:
        """See `VectorIndex.upsert`. All in one commit; of objects with one id the last counts."""
        if objects.num_rows == 0:
            return {}
        with self._boundary(f"write to collection {name}"):
            schema = stored_schema(name, self._open(name))
            refused = refused_objects(objects, schema)
            kept = last_of_each(objects, refused)
            if kept.num_rows:
                self._commit(name, lambda dataset: _merge(dataset, object_rows(kept, dataset.schema, name)))
                self._visit(name)
            return refused

    def delete(self, name: str, ids: Hashes) -> None:
        """See `VectorIndex.delete`. A visit, even of no ids."""
        with self._boundary(f"remove objects of collection {name}"):
            if len(ids):
                gone = pa.table({"id": to_arrow(np.unique(ids, axis=0))})
                self._commit(name, lambda dataset: dataset.merge_insert("id").when_matched_delete().execute(gone))
            self._visit(name)

    def stored(
        self, name: str, source_table: str, columns: Sequence[str] = STORED, *, rows: Hashes | None = None
    ) -> Iterator[pa.RecordBatch]:
        """See `VectorIndex.stored`. One version of the collection, whatever is written meanwhile."""
        with self._boundary(f"read collection {name}"):
            dataset = self._open(name)
            wanted = stored_columns(dataset.schema, columns)
            size = _STORED_ROWS if set(columns).isdisjoint(WIDE) else _WIDE_ROWS
            for part in [None] if rows is None else [rows[at : at + _ROWS_AT_ONCE] for at in range(0, len(rows), _ROWS_AT_ONCE)]:
                where = f"source_table = {text_literal(source_table)}{'' if part is None else f' AND {of_rows(part)}'}"
                for batch in dataset.to_batches(columns=wanted, filter=where, batch_size=size):
                    yield stored_objects(batch, columns)

    def search(self, name: str, query: Query) -> list[Hit]:
        """See `VectorIndex.search`. Raises IndexConflict for a query vector of another length or one that is not finite."""
        with self._boundary(f"search collection {name}"):
            dataset = self._open(name)
            schema = stored_schema(name, dataset)
            return search(dataset, schema, query, partitions=trained_partitions(dataset))

    def vectors_of(self, name: str, source_table: str | None, source_key: str) -> tuple[bytes, npt.NDArray[np.float32]] | None:
        """See `VectorIndex.vectors_of`. Raises ConfigurationError where several rows have that key."""
        where = f"source_key = {text_literal(source_key)}"
        if source_table is not None:
            where += f" AND source_table = {text_literal(source_table)}"
        with self._boundary(f"read collection {name}"):
            parts: list[pa.Table] = []
            owners: dict[bytes, str] = {}
            batches = self._open(name).to_batches(columns=["row_id", "source_table", "ordinal", "vector"], filter=where, batch_size=1024)
            for batch in batches:  # a key that is not unique may be that of the whole table: stop at the second row
                owners.update(zip(batch.column("row_id").to_pylist(), batch.column("source_table").to_pylist(), strict=True))
                if len(owners) > 1:
                    raise several_rows(name, owners.values())
                parts.append(pa.table(batch))
        if not owners:
            return None
        return next(iter(owners)), stored_vectors(pa.concat_tables(parts).sort_by("ordinal")).astype(np.float32)

    # --- aliases -----------------------------------------------------------------------------------------------------------------------

    def resolve(self, alias: str) -> str | None:
        """See `VectorIndex.resolve`."""
        import obstore
        from obstore.exceptions import NotFoundError

        if not _NAME.fullmatch(alias):
            return None
        with self._boundary(f"read alias {alias}"):
            try:
                content = bytes(obstore.get(self._objects, _alias_path(alias)).bytes())
            except (FileNotFoundError, NotFoundError):
                return None
            return str(json.loads(content)["collection"])

    def point(self, alias: str, name: str) -> None:
        """See `VectorIndex.point`. Raises IndexConflict for a collection that does not exist or an alias named like one."""
        import obstore

        _check_name(alias)
        with self._boundary(f"point alias {alias}"):
            if self._find(alias) is not None:
                raise IndexConflict(f"alias {alias} is named like a collection: choose another name")
            self._open(name)
            # On a local disk this is a temporary file renamed over the old one, on an object store one PUT: nobody reads a half.
            obstore.put(self._objects, _alias_path(alias), json.dumps({"collection": name}).encode())

    def _aliases(self) -> list[str]:
        import obstore

        objects = obstore.list_with_delimiter(self._objects, "aliases")["objects"]
        return [Path(entry["path"]).stem for entry in objects]

    # --- datasets ----------------------------------------------------------------------------------------------------------------------

    @cached_property
    def _session(self) -> Session:
        from lance import Session

        # Index pages and file metadata, shared by all collections; Lance's defaults go to gigabytes.
        return Session(index_cache_size_bytes=64 << 20, metadata_cache_size_bytes=32 << 20)

    @cached_property
    def _objects(self) -> ObjectStore:
        from obstore.store import LocalStore, from_url

        return from_url(self._root) if "://" in self._root else LocalStore(self._root, mkdir=True)

    def _uri(self, name: str) -> str:
        return f"{self._root}/collections/{name}{_SUFFIX}"

    def _find(self, name: str) -> LanceDataset | None:
        """The newest version of a collection; None where there is none."""
        import lance

        if not _NAME.fullmatch(name):
            return None
        try:
            return lance.dataset(self._uri(name), session=self._session)
        except (ValueError, FileNotFoundError) as error:
            if "was not found" in str(error):
                return None
            raise

    def _open(self, name: str) -> LanceDataset:
        dataset = self._find(name)
        if dataset is None:
            raise IndexConflict(f"there is no collection {name} in {self._root}: `vector-assets sync` makes it")
        return dataset

    def _create(self, schema: CollectionSchema) -> LanceDataset:
        import lance

        try:
            # write_dataset(mode="create") is not exclusive: of two at once, the second *replaces* the first. A commit without retries is.
            lance.LanceDataset.commit(self._uri(schema.name), lance.LanceOperation.Overwrite(dataset_schema(schema), []), max_retries=0)
        except OSError:
            if self._find(schema.name) is None:
                raise
        return self._open(schema.name)  # ours, or that of somebody who was quicker

    def _add_properties(self, name: str, missing: list[Property]) -> None:
        def add(newest: LanceDataset) -> None:
            there = set(newest.schema.names)
            columns = [property_column(prop) for prop in missing if PROPERTY_PREFIX + prop.name not in there]
            if columns:
                newest.add_columns(columns)

        if missing:
            self._commit(name, add)

    def _commit(self, name: str, write: Callable[[LanceDataset], object]) -> None:
        """One write on the newest version, again on a newer one where another writer came first."""
        for attempt in range(_ATTEMPTS):
            time.sleep(_BACKOFF_SECONDS * attempt)
            with yielding() as result:
                write(self._open(name))
            if not result.yielded:
                return
        raise IndexUnavailable(f"collection {name} is being written by too many others: nothing was lost, try again")

    def _visit(self, name: str) -> None:
        dataset = self._open(name)
        keep_up(dataset, stored_schema(name, dataset), upkeep=self._upkeep, now=self._clock())

    @contextlib.contextmanager
    def _boundary(self, action: str) -> Iterator[None]:
        """Errors of Lance and obstore as ours, without their text: it quotes file contents and filters."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (OSError, BaseError, ValueError, RuntimeError) as error:
            if isinstance(error, ValueError | RuntimeError) and not re.search(r"LanceError|Not found:", str(error)):
                raise
            raise IndexUnavailable(f"cannot {action} in {self._root}: {_reason(error)}") from None


def _merge(dataset: LanceDataset, rows: pa.Table) -> None:
    # With the index on ids this costs what a blind append costs (27 ms for 5,000 objects of 384 dimensions), new ids or not.
    dataset.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)


def _alias_path(alias: str) -> str:
    return f"aliases/{alias}.json"


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise IndexConflict(f"{name!r} cannot name a collection or an alias: letters, digits and _ after a first letter")


def _reason(error: Exception) -> str:
    """What can be said of an error without quoting it."""
    if number := re.search(r"\(os error (\d+)\)", str(error)):
        return os.strerror(int(number[1])).lower()
    if status := re.search(r"\bstatus:? (\d{3})\b", str(error), re.IGNORECASE):
        return f"the object store answered {status[1]}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "it cannot be read or written; if this stays, remove it and sync again: it is rebuilt from stage tables"
