"""Tables of a Trino catalog as a `Source`.

A read is pinned to one version where the connector has them (Iceberg, Delta Lake), see `versions.py`. Elsewhere every statement sees the
table as it is then; a row that is fetched brings its own digest along, and a delete is confirmed by its key, so that a table that changes
in between costs another run and nothing else.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from vector_assets.catalogs import TrinoCatalog
from vector_assets.errors import SourceError, SourceUnavailable
from vector_assets.raw.batches import KEY, bounded, key_table, shaped
from vector_assets.raw.source import SourceVersion
from vector_assets.raw.sql import matching, qualified, quoted, require
from vector_assets.raw.trino.client import TrinoClient
from vector_assets.raw.trino.decode import varbinary, wire_types
from vector_assets.raw.trino.find import EncodedKey, Find, encoded, find
from vector_assets.raw.trino.keys import string
from vector_assets.raw.trino.pages import Statement
from vector_assets.raw.trino.types import Column, column, digest_of
from vector_assets.raw.trino.versions import Known, Versions
from vector_assets.tables import TableRef

_SYSTEM_SCHEMAS = ("information_schema", "pg_catalog", "system")
_MOVED = {"TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "COLUMN_NOT_FOUND", "INVALID_ARGUMENTS", "INVALID_VIEW", "VIEW_IS_STALE"}
"""What Trino says in the middle of a read whose table was dropped or altered, or whose snapshot was expired."""


class TrinoSource:
    """A catalog of a Trino cluster; `catalog` is its name in sources.yaml. Thread-safe."""

    def __init__(
        self,
        catalog: str,
        spec: TrinoCatalog,
        *,
        batch_rows: int = 2048,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.catalog, self.spec, self.batch_rows = catalog, spec, batch_rows
        self.client = TrinoClient(catalog, spec, sleep=sleep, clock=clock)
        self._versions = Versions(self.client)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def tables(self, pattern: str) -> list[TableRef]:
        """Tables, views and materialized views that match, sorted; see `Source.tables`. What the user may not see is not there."""
        matching(pattern, [])
        parts = [unquote(part) for part in pattern.split(".")][1:]
        named = zip(("table_schema", "table_name"), parts, strict=True)
        fixed = [f"{name} = {string(part)}" for name, part in named if not set(part) & set("*?[")]
        return matching(pattern, self._listed(fixed))

    def version(self, table: TableRef) -> SourceVersion:
        """The version now; one that never comes again where the connector has none. Raises SourceError where there is no such table."""
        known = self._versions.of([table]).get(table) if table.catalog == self.catalog else None
        if known is None:
            self._require_table(table)
            known = self._versions.none()
        return known.version

    def versions(self, tables: Sequence[TableRef]) -> dict[TableRef, SourceVersion]:
        """The versions of many tables, in two statements for 20 of them; they are taken to be there."""
        known = self._versions.of(tables)
        return {table: known.get(table, self._versions.none()).version for table in tables}

    @contextmanager
    def open(self, table: TableRef, columns: Sequence[str], key: Sequence[str]) -> Iterator[TrinoRead]:
        """Open a consistent read, see `Source.open`; its queries are cancelled when it is closed."""
        require((*columns, *key), self._columns(table), f"column in {table.key}")
        known = self._versions.pinned(table, columns)
        with contextlib.closing(_opened_read(self, table, known, columns=columns, key=tuple(key))) as read:
            yield read

    def changed(self, table: TableRef, known: Known) -> bool:
        """Whether a table has another version by now."""
        now = self._versions.of([table]).get(table)
        return now is None or now.version != known.version

    # --- what is there ---

    def _columns(self, table: TableRef) -> list[str]:
        sql = (
            f"SELECT column_name FROM {self._information('columns')}"  # noqa: S608
            f" WHERE table_schema = {string(table.schema)} AND table_name = {string(table.table)}"
        )
        names = [str(name) for (name,) in self.client.ask(sql, f"the columns of {table.key}")] if table.catalog == self.catalog else []
        if not names:
            self._require_table(table)
            raise SourceError(
                f"{table.key} has no columns that user {self.spec.user!r} may see, or is a view that does not work any more: "
                "look at it in Trino, or grant SELECT on it"
            )
        return names

    def _listed(self, conditions: Sequence[str]) -> list[TableRef]:
        hidden = ", ".join(map(string, _SYSTEM_SCHEMAS))
        where = " AND ".join([f"table_schema NOT IN ({hidden})", *conditions])
        sql = f"SELECT table_schema, table_name FROM {self._information('tables')} WHERE {where}"  # noqa: S608
        rows = self.client.ask(sql, f"the tables of catalog {self.catalog!r}")
        return [TableRef(self.catalog, str(schema), str(name)) for schema, name in rows]

    def _require_table(self, table: TableRef) -> None:
        there = self._listed([f"table_schema = {string(table.schema)}"]) or self._listed([])
        require([table.key], [ref.key for ref in there], f"table that user {self.spec.user!r} may see in {self.client.address}")

    def _information(self, what: str) -> str:
        return qualified(self.spec.catalog, "information_schema", what)


def _opened_read(source: TrinoSource, table: TableRef, known: Known, *, columns: Sequence[str], key: tuple[str, ...]) -> TrinoRead:
    """Resolve types, as they are in the version that is read. Raises SourceError."""
    name = qualified(source.spec.catalog, table.schema, table.table) + known.clause
    # Not from information_schema, which prints the fields of a row without quotes.
    sql = f"SELECT {', '.join(map(quoted, columns))} FROM {name} WHERE false"  # noqa: S608
    with source.client.statement(sql, table.key, info=table.key) as statement, _translated(statement, table):
        for _ in statement:
            pass
        types = statement.types
    readable = [column(each, kind, where=table.key) for each, kind in zip(columns, types, strict=True)]
    for each, kind in zip(readable, types, strict=True):
        if each.nested and each.name in key:
            raise SourceError(f"key column {each.name!r} of {table.key} has type {kind}: a key must be made of scalars")
    return TrinoRead(source, table, name, columns=readable, key=key, known=known)


class TrinoRead:
    """One look at one table; a `TableRead`. Made by `TrinoSource.open`. Several streams may be read at once, from any thread."""

    def __init__(
        self, source: TrinoSource, table: TableRef, name: str, *, columns: Sequence[Column], key: tuple[str, ...], known: Known
    ) -> None:
        self._source, self._table, self._name = source, table, name
        self._columns = {each.name: each for each in columns}
        self._key, self._known = key, known
        self._digest = digest_of(list(columns))
        self._schema = pa.schema([pa.field(each.name, each.arrow) for each in columns])
        self._lock = threading.Lock()
        self._open: set[Statement] = set()
        self._closed = False
        self._counts = {"rows_read": 0, "bytes_read": 0, "queries": 0}

    @property
    def version(self) -> SourceVersion:
        """The version this read sees; for a table without exact ones, the time it was opened."""
        return self._known.version

    @property
    def schema(self) -> pa.Schema:
        """The columns that were asked for, in that order."""
        return self._schema

    @property
    def facts(self) -> Mapping[str, int]:
        """What the queries that have ended made Trino read: rows, bytes (of files, else as decoded), and how many they were."""
        with self._lock:
            return dict(self._counts)

    def digests(self) -> Iterator[pa.RecordBatch]:
        """(key, digest) of every row."""
        schema = self._key_schema
        for arrays in self._stream(self._key, digest=True):
            yield from self._cut(shaped(arrays[:-1], arrays[-1], schema=schema, key=self._key, values=False))

    def rows(self) -> Iterator[pa.RecordBatch]:
        """(key, values, digest) of every row."""
        for batch in self._whole_rows(""):
            yield from self._cut(batch)

    def fetch(self, keys: pa.StructArray) -> Iterator[pa.RecordBatch]:
        """(key, values, digest) of the rows with these keys, in one statement; see `find.py`."""
        found = self._find(keys)
        if found is None:
            return
        for batch in self._whole_rows(found.where):
            among = _among(batch.column(KEY).flatten(), found.wanted)
            yield from self._cut(batch.filter(pa.array(among)))

    def present(self, keys: pa.StructArray) -> pa.BooleanArray:
        """For each of these keys, in their order, whether a row has it."""
        found = self._find(keys)
        bound = key_table(keys, self._schema, self._key)
        if found is None or bound is None:
            return pa.array(np.zeros(len(keys), dtype=bool))
        there: set[EncodedKey] = set()
        for arrays in self._stream(self._key, found.where, digest=False):
            there.update(found.wanted.intersection(encoded(arrays)))
        return pa.array(_among(_key_columns(bound), there))

    def close(self) -> None:
        """Cancel what still runs; reading on from it raises SourceUnavailable."""
        with self._lock:
            self._closed = True
            still = list(self._open)
        for statement in still:
            statement.close()

    @property
    def _key_schema(self) -> pa.Schema:
        return pa.schema([self._schema.field(name) for name in self._key])

    def _find(self, keys: pa.StructArray) -> Find | None:
        bound = key_table(keys, self._schema, self._key)
        return None if bound is None else find(_key_columns(bound), [self._columns[name] for name in self._key])

    def _cut(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(batch), self._source.batch_rows):
            yield from bounded(batch.slice(start, self._source.batch_rows))

    def _whole_rows(self, where: str) -> Iterator[pa.RecordBatch]:
        for arrays in self._stream(self._schema.names, where, digest=True):
            yield shaped(arrays[:-1], arrays[-1], schema=self._schema, key=self._key, values=True)

    # --- streaming ---

    def _stream(self, names: Sequence[str], where: str = "", *, digest: bool) -> Iterator[list[pa.Array]]:
        """Columns of a query, block by block, and digests last. Ends only where Trino finished, of the version that was opened."""
        columns = [self._columns[name] for name in names]
        wire = wire_types([each.kind for each in columns], digest=digest)
        values = [*(each.value for each in columns), *([self._digest] if digest else [])]
        sql = f"SELECT {', '.join(values)} FROM {self._name}{f' WHERE {where}' if where else ''}"  # noqa: S608
        with self._statement(sql) as statement, _translated(statement, self._table):
            for parts in statement.columns(wire):
                digests = [varbinary(parts.pop())] if digest else []
                yield [*(each.decode(part) for each, part in zip(columns, parts, strict=True)), *digests]
        if self._known.watched and self._source.changed(self._table, self._known):
            raise _moved(self._table)

    @contextmanager
    def _statement(self, sql: str) -> Iterator[Statement]:
        statement = self._source.client.statement(sql, self._table.key, spooling=True, info=self._table.key)
        with self._lock:
            if self._closed:
                raise SourceUnavailable(f"the read of {self._table.key} was closed")
            self._open.add(statement)
        try:
            with statement:
                yield statement
        finally:
            with self._lock:
                self._open.discard(statement)
                self._counts["rows_read"] += statement.read.rows
                self._counts["bytes_read"] += statement.read.file_bytes or statement.read.decoded_bytes
                self._counts["queries"] += 1


def _key_columns(bound: pa.Table) -> list[pa.Array]:
    return [column.combine_chunks() for name, column in zip(bound.column_names, bound.columns, strict=True) if name != "position"]


def _among(keys: Sequence[pa.Array], wanted: set[EncodedKey] | frozenset[EncodedKey]) -> np.ndarray:
    return np.fromiter((key in wanted for key in encoded(keys)), bool, len(keys[0]))


@contextmanager
def _translated(statement: Statement, table: TableRef) -> Iterator[None]:
    """A table that is not there any more after it was opened has moved: worth another run, not an error of sources.yaml."""
    try:
        yield
    except SourceError:
        if statement.error is not None and statement.error.name in _MOVED:
            raise _moved(table) from None
        raise


def _moved(table: TableRef) -> SourceUnavailable:
    return SourceUnavailable(f"{table.key} was changed while it was read (altered, replaced or expired); nothing of it is kept: run again")
