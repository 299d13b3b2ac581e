"""Tables of a DuckDB file as a `Source`.

DuckDB lets one process write a file or many read it, never both. So a read holds the file's shared lock from `open` to its end: nobody can
write meanwhile, and every statement of the read sees the same rows. It also means that a writer waits for us, and we for it.

Memory: batches are bounded by `batch_rows` and by `batches.BATCH_BYTES`, whichever comes first. DuckDB itself decompresses 2,048
consecutive rows at a time, whatever is asked for: a table of nothing but 5 MB texts costs it gigabytes for a moment (300 such rows: 3 GB;
20 of them among a million rows: nothing to speak of). Its cache of the file is held small, see `_MEMORY_PER_THREAD_MB`.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from vector_assets.errors import PermanentError, SourceError, SourceUnavailable
from vector_assets.raw.batches import bounded, key_table, plain_type, shaped
from vector_assets.raw.duckdb.types import Column, column, digest_of
from vector_assets.raw.source import SourceVersion
from vector_assets.raw.sql import matching, qualified, require
from vector_assets.tables import TableRef

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 2.0

_MEMORY_PER_THREAD_MB = 32
"""DuckDB keeps what it read of a file up to its memory limit, 80 % of the machine by default. Measured on a 5 M row table: 525 MB more
without a limit, 194 MB with 128 MB, as fast. Reads that need more lift it."""

_WIDE_VECTOR_BYTES = 8 << 20
_MANY_KEYS_BYTES = 4 << 20

_ROW = "__row"
_KEYS_VIEW = "__vector_assets_keys"
_KEYS = f"temp.main.{_KEYS_VIEW}"
_SYSTEM_SCHEMAS = ("information_schema", "pg_catalog")
_TRANSIENT_KINDS = {"IO", "INTERRUPT", "Connection", "Out of Memory", "TransactionContext"}


@dataclass(frozen=True)
class DuckDBSource:
    """A DuckDB file. `catalog` is its name in sources.yaml. While another process writes it, waits up to `retry_seconds` for its turn."""

    catalog: str
    path: Path
    _: KW_ONLY
    batch_rows: int = 2048
    retry_seconds: float = 30
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)
    _listed: dict[str, frozenset[TableRef]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def tables(self, pattern: str) -> list[TableRef]:
        """Tables and views that match, sorted; see `Source.tables`."""
        return matching(pattern, self._tables(self._version()))

    def version(self, table: TableRef) -> SourceVersion:
        """Sizes and times of the file and its write-ahead log: a hint, and the same for all tables of the file."""
        version = self._version()
        self._require_table(table, self._tables(version))
        return version

    def versions(self, tables: Sequence[TableRef]) -> dict[TableRef, SourceVersion]:
        """The file's version, for all of them; tables that it does not have are left out."""
        version = self._version()
        there = self._tables(version)
        return {table: version for table in tables if table in there}

    @contextmanager
    def open(self, table: TableRef, columns: Sequence[str], key: Sequence[str]) -> Iterator[DuckDBRead]:
        """Open a consistent read, see `Source.open`; the file is locked against writers until it is closed."""
        version = self._version()
        with self._connected() as connection:
            self._require_table(table, _listing(connection, self.catalog))
            read = _opened_read(self, connection, table, columns=columns, key=key, version=version)
            with contextlib.closing(read):
                yield read

    def _version(self) -> SourceVersion:
        # Taken before connecting: a write in between makes the token too old, which costs a scan, never too new, which would hide a change.
        try:
            main = self.path.stat()
        except OSError as error:
            raise SourceError(f"{self._name} cannot be read ({error.strerror}): check its path under catalogs in sources.yaml") from None
        token = f"{main.st_size}-{main.st_mtime_ns}"
        with contextlib.suppress(FileNotFoundError):
            log = self.path.with_name(self.path.name + ".wal").stat()
            token += f"+{log.st_size}-{log.st_mtime_ns}"
        return SourceVersion(token, exact=False)

    def _tables(self, version: SourceVersion) -> frozenset[TableRef]:
        listed = self._listed.get(version.token)
        if listed is None:
            with self._connected() as connection:
                listed = _listing(connection, self.catalog)
            self._listed.clear()
            self._listed[version.token] = listed
        return listed

    def _require_table(self, table: TableRef, there: frozenset[TableRef]) -> None:
        require([table.key], [ref.key for ref in there], f"table in {self._name}")

    @contextmanager
    def _connected(self) -> Iterator[DuckDBPyConnection]:
        connection = self._connect()
        try:
            yield connection
        finally:
            connection.close()

    def _connect(self) -> DuckDBPyConnection:
        import duckdb

        deadline, wait = self.clock() + self.retry_seconds, FIRST_WAIT_SECONDS
        while True:
            try:
                return duckdb.connect(str(self.path.resolve()), read_only=True, config=_config())
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                obstacle = _held_by(error)
                if obstacle is None:
                    raise SourceError(f"{self._name} cannot be opened: {_first_line(error)}") from None
                remaining = deadline - self.clock()
                if remaining <= 0:
                    raise SourceUnavailable(
                        f"{self._name} is held by {obstacle}; gave up after {self.retry_seconds:g} s: "
                        "run again once it is done, or let writers work on a copy and rename it into place"
                    ) from None
            self.sleep(min(wait, remaining))
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    @property
    def _name(self) -> str:
        return f"DuckDB file {self.path} (catalog {self.catalog!r})"


def _config() -> dict[str, str | bool | int | float | list[str]]:
    # The same for every connection of this process: DuckDB refuses to open one file twice with different settings.
    limit = _MEMORY_PER_THREAD_MB * (1 + (os.cpu_count() or 1))
    return {"memory_limit": f"{limit}MB", "autoinstall_known_extensions": "false"}


def _held_by(error: Exception) -> str | None:
    """Who keeps us from the file, or None where it is something else."""
    message = str(error)
    if "different configuration" in message:
        return "a connection of this same process, with other settings"
    if "Could not set lock" in message:
        process = re.search(r"held in (.+? \(PID \d+\))", message)
        return f"another process, {process[1]}" if process else "another process"
    return None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _listing(connection: DuckDBPyConnection, catalog: str) -> frozenset[TableRef]:
    rows = connection.execute(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_catalog = current_database()"
    ).fetchall()
    return frozenset(TableRef(catalog, schema, name) for schema, name in rows if schema not in _SYSTEM_SCHEMAS)


def _opened_read(
    source: DuckDBSource,
    connection: DuckDBPyConnection,
    table: TableRef,
    *,
    columns: Sequence[str],
    key: Sequence[str],
    version: SourceVersion,
) -> DuckDBRead:
    """Resolve columns and types. Raises SourceError."""
    database = connection.execute("SELECT current_database()").fetchall()[0][0]
    name = qualified(database, table.schema, table.table)
    with _translated(table):
        everything = connection.sql(f"SELECT * FROM {name}")  # noqa: S608  # a quoted name that information_schema has
        types = dict(zip(everything.columns, everything.types, strict=True))
    require((*columns, *key), list(types), f"column in {table.key}")
    readable = [column(each, types[each], alias=_ROW, where=table.key) for each in columns]
    for each in readable:
        if each.nested and each.name in key:
            raise SourceError(f"key column {each.name!r} of {table.key} has type {types[each.name]}: a key must be made of scalars")
    if _needs_memory(connection, name, readable):
        connection.execute("RESET memory_limit")
    return DuckDBRead(connection, table, name, columns=readable, key=tuple(key), version=version, batch_rows=source.batch_rows)


def _needs_memory(connection: DuckDBPyConnection, name: str, columns: Sequence[Column]) -> bool:
    """Whether one vector of 2,048 rows may outgrow the small memory limit: views and nested columns may, long texts do by statistics."""
    import duckdb

    if any(each.nested for each in columns):
        return True
    try:
        widest = connection.execute(
            "SELECT max(least(CAST(stats.total_string_length AS HUGEINT), 2048 * CAST(stats.max_string_length AS HUGEINT)))"
            " FROM pragma_storage_info(?) WHERE list_contains(?, column_name)",
            [name, [each.name for each in columns]],
        ).fetchall()[0][0]
    except duckdb.CatalogException:  # a view has no storage
        return True
    return widest is not None and widest > _WIDE_VECTOR_BYTES


class DuckDBRead:
    """One look at one table; a `TableRead`. Made by `DuckDBSource.open`.

    Each stream has its own cursor, so that several may be read at once, also from different threads.
    """

    def __init__(
        self,
        connection: DuckDBPyConnection,
        table: TableRef,
        name: str,
        *,
        columns: Sequence[Column],
        key: tuple[str, ...],
        version: SourceVersion,
        batch_rows: int,
    ) -> None:
        self._connection = connection
        self._table = table
        self._from = f"{name} AS {_ROW}"
        self._columns = {each.name: each for each in columns}
        self._key = key
        self._version = version
        self._batch_rows = batch_rows
        self._readers: set[pa.RecordBatchReader] = set()
        self._digest = digest_of(list(columns))
        self._schema = self._arrow_schema()

    @property
    def version(self) -> SourceVersion:
        """The version this read sees, or an older one."""
        return self._version

    @property
    def schema(self) -> pa.Schema:
        """The columns that were asked for, in that order."""
        return self._schema

    @property
    def facts(self) -> Mapping[str, int]:
        """Nothing: DuckDB counts only when it profiles."""
        return {}

    def digests(self) -> Iterator[pa.RecordBatch]:
        """(key, digest) of every row, in the table's order."""
        schema = pa.schema([self._schema.field(name) for name in self._key])
        for batch in self._stream(self._select(self._key)):
            yield shaped(batch.columns[:-1], batch.columns[-1], schema=schema, key=self._key, values=False)

    def rows(self) -> Iterator[pa.RecordBatch]:
        """(key, values, digest) of every row, in the table's order."""
        return self._whole_rows("")

    def fetch(self, keys: pa.StructArray) -> Iterator[pa.RecordBatch]:
        """(key, values, digest) of the rows with these keys: one scan of the key columns, whatever the number of keys."""
        bound = key_table(keys, self._schema, self._key)
        if bound is None:
            return iter(())
        return self._whole_rows(f" SEMI JOIN {_KEYS} AS k ON {self._matches(bound)}", bound)

    def present(self, keys: pa.StructArray) -> pa.BooleanArray:
        """For each of these keys, in their order, whether a row has it."""
        found = np.zeros(len(keys), dtype=bool)
        bound = key_table(keys, self._schema, self._key)
        if bound is not None:
            query = f"SELECT DISTINCT k.position FROM {self._from} JOIN {_KEYS} AS k ON {self._matches(bound)}"  # noqa: S608
            for batch in self._stream(query, bound):
                found[batch.column(0).to_numpy()] = True
        return pa.array(found)

    def close(self) -> None:
        """End every stream. An open one would keep the file locked; reading on from it raises SourceUnavailable."""
        while self._readers:
            self._readers.pop().close()

    def _select(self, names: Sequence[str]) -> str:
        values = [f"{self._columns[name].value} AS c{i}" for i, name in enumerate(names)]
        return f"SELECT {', '.join(values)}, {self._digest} AS digest FROM {self._from}"  # noqa: S608  # quoted names, see sql.py

    def _whole_rows(self, join: str, bound: pa.Table | None = None) -> Iterator[pa.RecordBatch]:
        for batch in self._stream(self._select(self._schema.names) + join, bound):
            yield shaped(batch.columns[:-1], batch.columns[-1], schema=self._schema, key=self._key, values=True)

    def _arrow_schema(self) -> pa.Schema:
        with _translated(self._table), contextlib.closing(self._cursor()) as cursor:
            found = cursor.sql(f"{self._select(list(self._columns))} LIMIT 0").to_arrow_table().schema
        return pa.schema([pa.field(name, plain_type(found.field(i).type)) for i, name in enumerate(self._columns)])

    def _matches(self, bound: pa.Table) -> str:
        # `=` lets DuckDB skip what cannot match while it scans (10 times faster for 100 keys of 5 M rows); NULL parts need the other one.
        return " AND ".join(
            f"{self._columns[name].comparand} {'IS NOT DISTINCT FROM' if bound.column(f'k{i}').null_count else '='} k.k{i}"
            for i, name in enumerate(self._key)
        )

    # --- streaming ---

    def _cursor(self) -> DuckDBPyConnection:
        cursor = self._connection.cursor()
        # Both are settings of a session. Zoned timestamps would render in the machine's zone; a batch may pass 2 GiB before it is cut.
        cursor.execute("SET TimeZone = 'UTC'; SET arrow_large_buffer_size = true")
        return cursor

    def _stream(self, query: str, bound: pa.Table | None = None) -> Iterator[pa.RecordBatch]:
        """Batches of a query, bounded in rows and bytes. Ends only where DuckDB ended; anything else raises."""
        with contextlib.ExitStack() as stack:
            with _translated(self._table):
                cursor = stack.enter_context(contextlib.closing(self._cursor()))
                if bound is not None:
                    if bound.nbytes > _MANY_KEYS_BYTES:
                        cursor.execute("RESET memory_limit")
                    cursor.register(_KEYS_VIEW, bound)
                reader = stack.enter_context(contextlib.closing(cursor.sql(query).to_arrow_reader(self._batch_rows)))
            self._readers.add(reader)
            stack.callback(self._readers.discard, reader)
            while True:
                with _translated(self._table):
                    batch = next(reader, None)
                if batch is None:
                    return
                yield from bounded(batch)


@contextmanager
def _translated(table: TableRef) -> Iterator[None]:
    """DuckDB's errors as ours. Its text is left out, and the cause too: a failed conversion quotes the value.

    Errors met while streaming come through Arrow as OSError or ArrowInvalid; the kind is in their text either way.
    """
    import duckdb

    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise _ours(error, table) from None


def _ours(error: Exception, table: TableRef) -> PermanentError | SourceUnavailable:
    found = re.match(r"([A-Za-z ]+) Error:", str(error))
    kind = found[1] if found else type(error).__name__
    if not found or kind in _TRANSIENT_KINDS:
        return SourceUnavailable(f"reading {table.key} broke off ({kind} error of DuckDB); nothing of it is kept: run again")
    hint = "; a HUGEINT of more than 38 digits has to be cast to text in a view" if kind == "Conversion" else ""
    return SourceError(
        f"{table.key} cannot be read: DuckDB answers with a {kind} error, whose text may hold values and is left out. "
        f"Read all of the table or view in DuckDB to see it{hint}"
    )
