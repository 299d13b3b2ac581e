"""The seam to a SQL engine. A `Source` lists tables and opens reads; a `TableRead` is one consistent look at one table.

Rows come as bounded Arrow batches. A read that does not end cleanly raises, so that nobody mistakes a part for the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import pyarrow as pa

from vector_assets.tables import TableRef

DIGEST = "digest"
"""Name of the digest column (`fixed_size_binary(16)`); source columns are therefore always wrapped, see `TableRead`."""


class SourceVersion(NamedTuple):
    """What a table's content is known by. `exact`: equal tokens mean equal content and reads are pinned to it (an Iceberg snapshot);
    otherwise a changed token is only a hint that it is worth looking (a file's size and time)."""

    token: str
    exact: bool


class TableRead(Protocol):
    """One consistent look at a table: every method sees the same rows.

    Batches have two or three columns, so that no name of the source can collide with ours: `key` (struct of the key columns), `values`
    (struct of every column that was asked for), and `digest` (`fixed_size_binary(16)` over the values of all the columns asked for,
    in their order: equal values, equal digest, on any machine and in any session).
    """

    @property
    def version(self) -> SourceVersion:
        """The version this read sees."""

    @property
    def schema(self) -> pa.Schema:
        """The columns that were asked for, in that order, with their Arrow types."""

    @property
    def facts(self) -> Mapping[str, int]:
        """What was read so far, as the engine counts it (`rows_read`, `bytes_read`, `queries`); empty where it does not count."""

    def digests(self) -> Iterator[pa.RecordBatch]:
        """(key, digest) of every row."""

    def rows(self) -> Iterator[pa.RecordBatch]:
        """(key, values, digest) of every row."""

    def fetch(self, keys: pa.StructArray) -> Iterator[pa.RecordBatch]:
        """(key, values, digest) of the rows with these keys; NULL parts match NULL. Keys that do not exist are left out."""

    def present(self, keys: pa.StructArray) -> pa.BooleanArray:
        """For each of these keys, whether a row has it now."""


class Source(Protocol):
    """One catalog."""

    def tables(self, pattern: str) -> list[TableRef]:
        """Tables that match `catalog.schema.table`, where the schema and the table may hold `*`, `?` or `[…]` (fnmatch, case-sensitive,
        parts percent-encoded as in a partition key). Raises SourceUnavailable."""

    def version(self, table: TableRef) -> SourceVersion:
        """The table's version now, cheaply. Raises SourceError where there is no such table, SourceUnavailable."""

    def versions(self, tables: Sequence[TableRef]) -> Mapping[TableRef, SourceVersion]:
        """The versions of many tables in few questions; a table that turns out not to be there may be left out. Raises as `version`."""

    def open(self, table: TableRef, columns: Sequence[str], key: Sequence[str]) -> AbstractContextManager[TableRead]:
        """Open a consistent read of some columns. `key` is a subset of `columns`.

        Raises SourceError for an unknown table or column (naming what is there) and for types that cannot be read; SourceUnavailable.
        """
