"""The sample lakehouse in a DuckDB file, and what the demo asks of any: to be made, and to be edited. `sample.py` says what is in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vector_assets.demo.sample import LABELS, NOTES, TICKETS, TOPICS, Edits, Sample, next_edition
from vector_assets.errors import SourceError, SourceUnavailable, StorageError

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


class Lakehouse(Protocol):
    """Where the sample is."""

    edited: str
    """The table that edits touch, as sources.yaml names it."""

    def build(self, *, seed: int = 7, tickets: int = 2000) -> None:
        """Make the tables that are not there yet, each whole or not at all; the same for the same seed (and Python)."""

    def edit(self) -> Edits:
        """Change 3 tickets, delete 1 and add 2, all or none; other ones at every call, the same ones for the same tables. Labels follow."""


class DuckDBLakehouse:
    """All tables in one file."""

    edited = f"sample.{TICKETS}"

    def __init__(self, path: Path) -> None:
        self._path = path

    def build(self, *, seed: int = 7, tickets: int = 2000) -> None:
        """Make the file, unless it is there already. Raises StorageError where it cannot be written."""
        import duckdb

        if self._path.exists():
            return
        sample = Sample(seed=seed, tickets=tickets)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._path.parent, prefix=".building-") as folder:
                unfinished = Path(folder) / self._path.name
                with closing(duckdb.connect(str(unfinished))) as connection:
                    for name in (TOPICS, NOTES, TICKETS, LABELS):
                        _create(connection, name, sample.table(name))
                unfinished.replace(self._path)
        except (OSError, duckdb.IOException) as error:
            raise StorageError(
                f"the sample {self._path} cannot be written: {error}; free some space, or set VECTOR_ASSETS_HOME to another place"
            ) from error

    def edit(self) -> Edits:
        """In one transaction. Raises SourceError where there is no such file, SourceUnavailable while another process has it open."""
        with _opened(self._path) as connection:

            def body(number: int) -> str:
                row = connection.execute("SELECT body FROM support.tickets WHERE ticket_id = ?", [number]).fetchone()
                assert row is not None  # it is among the ids just read, and nobody else has the file
                return str(row[0])

            ids = connection.execute("SELECT ticket_id FROM support.tickets ORDER BY ticket_id").fetchall()
            edition = next_edition([number for (number,) in ids], body)
            connection.begin()
            for number, longer in edition.bodies.items():
                connection.execute("UPDATE support.tickets SET body = ? WHERE ticket_id = ?", [longer, number])
            for number in edition.edits.deleted:
                connection.execute("DELETE FROM support.tickets WHERE ticket_id = ?", [number])
                connection.execute("DELETE FROM support.ticket_labels WHERE ticket_id = ?", [number])
            _insert(connection, TICKETS, edition.tickets)
            _insert(connection, LABELS, edition.labels)
            connection.commit()
        return edition.edits


@contextmanager
def _opened(path: Path) -> Iterator[DuckDBPyConnection]:
    import duckdb

    if not path.exists():  # connecting would make an empty one
        raise SourceError(f"there is no sample at {path}: `make demo` builds it")
    try:
        connection = duckdb.connect(str(path))
    except duckdb.IOException as error:
        raise SourceUnavailable(f"the sample {path} is open in another process; close that one, or try again when it is done") from error
    with closing(connection):
        yield connection


def _create(connection: DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name.split('.', maxsplit=1)[0]}")
    connection.register("rows_in", rows)
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM rows_in")  # noqa: S608 - names are this module's own
    connection.unregister("rows_in")


def _insert(connection: DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("rows_in", rows)
    connection.execute(f"INSERT INTO {name} SELECT * FROM rows_in")  # noqa: S608 - names are this module's own
    connection.unregister("rows_in")
