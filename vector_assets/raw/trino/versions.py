"""What a Trino table's content is known by, and how a read is held to it.

Tried on Trino 476:

- Iceberg: a token is the current snapshot and the table's columns with their field ids. Changing columns makes no snapshot, and yet changes
  what is read (a column dropped and added again is all NULL). The snapshot is that of the branch `main`: the newest one is another after a
  rollback. Field ids are seen in no table, only in EXPLAIN; where it shows none, column names and types must do.
- `FOR VERSION AS OF` reads a snapshot with the columns of that snapshot, not with today's. Where those we read have changed since, the
  read is not pinned: it sees the table as it is, and the version is compared again at the end of every statement.
- Delta Lake: the version's number, and its time too, since a table that is made anew counts from 0 again.
- tpch and tpcds compute their rows: they change with Trino's own version only. Everything else has no token: it never looks unchanged.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import orjson

from vector_assets.raw.source import SourceVersion
from vector_assets.raw.sql import qualified, quoted
from vector_assets.raw.trino.client import TrinoClient
from vector_assets.raw.trino.keys import string
from vector_assets.reconcile.run import look_at
from vector_assets.tables import TableRef

TABLES_AT_ONCE = 20

_COMPUTED = ("tpch", "tpcds")
_HAVE_NONE = {"TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "NOT_SUPPORTED", "COLUMN_NOT_FOUND", "UNSUPPORTED_TABLE_TYPE", "PERMISSION_DENIED"}
"""How Trino says that a table has no such metadata: it is a view, of another kind, or not there."""

_SCANS = ("TableScan", "ScanFilter", "ScanProject", "ScanFilterProject")  # the latter where this user's rows or columns are restricted
_FIELD = re.compile(r"\d+:")

_MIXED = ("hive", "lakehouse", None)  # may hold tables of both formats; None: this user may not see the connector's name


class Known(NamedTuple):
    """A version, the SQL that holds a read to it, and whether the read has to watch for a change because no SQL does."""

    version: SourceVersion
    clause: str = ""
    watched: bool = False


_Way = Callable[[Sequence[TableRef]], "dict[TableRef, Known] | None"]


class Versions:
    """Versions of the tables of one catalog."""

    def __init__(self, client: TrinoClient, *, now: Callable[[], float] = time.time) -> None:
        self._client, self._now = client, now
        self._catalog = client.spec.catalog
        self._connector: str | None = None
        self._looked = False

    def of(self, tables: Sequence[TableRef]) -> dict[TableRef, Known]:
        """Exact versions, in few statements; tables that have none, or are not there, are left out. Raises SourceUnavailable."""
        found: dict[TableRef, Known] = {}
        for start in range(0, len(tables), TABLES_AT_ONCE):
            chunk = tables[start : start + TABLES_AT_ONCE]
            for way in self._ways():
                found.update(self._together(way, [table for table in chunk if table not in found]))
        return found

    def none(self) -> Known:
        """The version of a table that has no exact one: never twice the same."""
        return Known(SourceVersion(look_at(self._now()), exact=False))

    def pinned(self, table: TableRef, columns: Sequence[str]) -> Known:
        """The version now, with a clause that reads exactly it with today's columns; no clause where there is none such."""
        known = self.of([table]).get(table)
        if known is None:
            return self.none()
        if known.watched or not known.clause or self.connector() == "delta_lake":  # its column changes are versions
            return known
        then = self._fields([table], columns=columns, clause=known.clause).get(table)
        now = self._fields([table], columns=columns).get(table)
        return known if then is not None and then == now else known._replace(clause="", watched=True)

    def connector(self) -> str | None:
        """The connector's name; None where this user may not see it."""
        if not self._looked:
            sql = f"SELECT connector_name FROM system.metadata.catalogs WHERE catalog_name = {string(self._catalog)}"  # noqa: S608
            rows = self._tried(sql, f"the connector of catalog {self._catalog!r}")
            self._connector = str(rows[0][0]) if rows else None
            self._looked = True
        return self._connector

    def _ways(self) -> Sequence[_Way]:
        connector = self.connector()
        if connector in _COMPUTED:
            return [self._computed]
        may_be: dict[str, Sequence[_Way]] = {"iceberg": [self._iceberg], "delta_lake": [self._delta]}
        return may_be.get(connector or "", [self._iceberg, self._delta] if connector in _MIXED else [])

    def _together(self, way: _Way, tables: Sequence[TableRef]) -> dict[TableRef, Known]:
        """All of them in one statement; where that fails because of some, halves of them."""
        found = way(tables) if tables else {}
        if found is None and len(tables) > 1:
            half = len(tables) // 2
            return self._together(way, tables[:half]) | self._together(way, tables[half:])
        return found or {}

    # --- kinds of tables: versions, or None where one of them is of another kind ---

    def _iceberg(self, tables: Sequence[TableRef]) -> dict[TableRef, Known] | None:
        parts = [f"SELECT {i}, snapshot_id FROM {self._beside(table, 'refs')} WHERE name = 'main'" for i, table in enumerate(tables)]  # noqa: S608
        rows = self._tried(" UNION ALL ".join(parts), _about(tables))
        if rows is None:
            return None
        snapshots = {tables[int(str(i))]: str(snapshot) for i, snapshot in rows}
        columns = self._fields(tables)
        found = {}
        for table in tables:
            snapshot = snapshots.get(table)  # none: nothing was ever written
            token = f"{snapshot or 'empty'}-{_digest(columns.get(table) or self._described(table))}"
            clause = f" FOR VERSION AS OF {int(snapshot)}" if snapshot else ""
            found[table] = Known(SourceVersion(token, exact=True), clause, watched=not snapshot)
        return found

    def _delta(self, tables: Sequence[TableRef]) -> dict[TableRef, Known] | None:
        newest = "max(version), CAST(to_unixtime(max_by(timestamp, version)) * 1000 AS bigint)"
        parts = [f"SELECT {i}, {newest} FROM {self._beside(table, 'history')}" for i, table in enumerate(tables)]  # noqa: S608
        rows = self._tried(" UNION ALL ".join(parts), _about(tables))
        if rows is None:
            return None
        return {
            tables[int(str(i))]: Known(SourceVersion(f"{version}-{at}", exact=True), f" FOR VERSION AS OF {int(str(version))}")
            for i, version, at in rows
            if version is not None
        }

    def _computed(self, tables: Sequence[TableRef]) -> dict[TableRef, Known]:
        rows = self._tried("SELECT version()", "Trino's version")
        described = {table: self._described(table) for table in tables}
        return {
            table: Known(SourceVersion(f"{rows[0][0] if rows else '?'}-{_digest(columns)}", exact=True))
            for table, columns in described.items()
            if columns
        }

    # --- columns ---

    def _fields(self, tables: Sequence[TableRef], *, columns: Sequence[str] = (), clause: str = "") -> dict[TableRef, tuple[str, ...]]:
        """Iceberg's columns as `id:name:type`, sorted; of all columns where none are named. Tables where they are not seen are left out."""
        names = ", ".join(map(quoted, columns)) or "*"
        sources = ", ".join(self._name(table) + clause for table in tables)
        rows = self._tried(f"EXPLAIN (TYPE LOGICAL, FORMAT JSON) SELECT {names} FROM {sources}", _about(tables), planning=True)  # noqa: S608
        if not rows:
            return {}
        by_scan = {f"{self._catalog}:{table.schema}.{table.table}$data": table for table in tables}
        found = {}
        for scan, details in _scans(orjson.loads(str(rows[0][0]))):
            table = by_scan.get(scan.partition("@")[0])
            assigned = (detail.partition(" := ")[2] for detail in details)  # masks are among them, of names that are other ones next time
            fields = tuple(sorted(column for column in assigned if _FIELD.match(column)))
            if table is not None and fields:
                found[table] = fields
        return found

    def _described(self, table: TableRef) -> tuple[str, ...]:
        sql = (
            f"SELECT column_name, data_type FROM {quoted(self._catalog)}.information_schema.columns"  # noqa: S608
            f" WHERE table_schema = {string(table.schema)} AND table_name = {string(table.table)} ORDER BY ordinal_position"
        )
        return tuple(f"{name}:{kind}" for name, kind in self._tried(sql, _about([table])) or [])

    # --- statements ---

    def _tried(self, sql: str, about: str, *, planning: bool = False) -> list[list[object]] | None:
        """All rows; None where Trino says that there is no such thing, or not for us."""
        session = {f"{self._catalog}.statistics_enabled": "false"} if planning and self._connector == "iceberg" else {}
        return self._client.ask_or_none(sql, about, none_for=_HAVE_NONE, session=session)

    def _name(self, table: TableRef) -> str:
        return qualified(self._catalog, table.schema, table.table)

    def _beside(self, table: TableRef, what: str) -> str:
        return qualified(self._catalog, table.schema, f"{table.table}${what}")


def _about(tables: Sequence[TableRef]) -> str:
    return f"the version of {tables[0].key}" if len(tables) == 1 else f"the versions of {len(tables)} tables"


def _digest(columns: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(columns).encode(), digest_size=8).hexdigest()


def _scans(plan: Mapping[str, object]) -> Iterator[tuple[str, Sequence[str]]]:
    """(table, assignments of its columns) of every table scan in a plan."""
    descriptor, details, children = plan.get("descriptor"), plan.get("details"), plan.get("children")
    if plan.get("name") in _SCANS and isinstance(descriptor, dict) and isinstance(details, list):
        yield str(descriptor.get("table")), details
    for child in children if isinstance(children, list) else []:
        yield from _scans(child)
