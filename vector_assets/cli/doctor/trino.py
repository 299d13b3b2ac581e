"""Checks of a Trino: who we are there, its clock, spooling, and what its tables are known by; all by asking for it.

`vector_assets` only ever reads, so whether it could write is asked too: `EXPLAIN (TYPE VALIDATE)` checks a statement's permissions and runs
nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from vector_assets.catalogs import TrinoCatalog
from vector_assets.cli.doctor.checks import SERVER_SECONDS, Check, Checks, Remark, now, skew
from vector_assets.errors import SourceError, SourceUnavailable
from vector_assets.raw.sql import qualified, quoted
from vector_assets.raw.trino.client import TrinoClient
from vector_assets.raw.trino.source import TrinoSource
from vector_assets.raw.trino.versions import Versions
from vector_assets.tables import TableRef, TableSpec

if TYPE_CHECKING:
    from vector_assets.raw.source import Source

QUERY_SECONDS = 30.0
MAX_VERSIONS = 200  # 20 in two statements
MAX_PROBED = 3
MAX_NAMED = 5

# 5 MB that do not compress: up to 3 MB come inline, and say nothing of the store.
_SPOOLED = "SELECT to_hex(sha512(to_utf8(CAST(a * b AS varchar)))) FROM UNNEST(sequence(1, 10000)) AS t(a), UNNEST(sequence(1, 4)) AS u(b)"
_HISTORIES = ("$refs", "$history")


def patient_source(catalog: str, spec: TrinoCatalog) -> TrinoSource:
    """A source that gives up after some seconds: a server that is away should be said soon."""
    return TrinoSource(catalog, spec.model_copy(update={"timeout_seconds": min(spec.timeout_seconds, SERVER_SECONDS)}))


def greet(source: TrinoSource) -> str:
    """What answers, as whom it knows us, and that it has this catalog."""
    spec = source.spec
    ((version, user),) = _ask(source.client, "SELECT version(), current_user", "the version")
    way = "over TLS" if spec.encrypted else "without TLS"
    for name, what in {"password": "password", "jwt": "token"}.items():
        if getattr(spec, name) is not None or getattr(spec, f"{name}_file") is not None:
            way += f" with a {what}"
    roles = f", roles {', '.join(f'{catalog}={role}' for catalog, role in spec.roles.items())}" if spec.roles else ""
    said = f"Trino {version} at {spec.host}:{spec.port} knows us as {user!r} {way}{roles}"
    source.client.ask(f"SELECT 1 FROM {qualified(spec.catalog, 'information_schema', 'schemata')} LIMIT 1", "the schemas")  # noqa: S608
    connector = Versions(source.client).connector()  # None where this user may not see it
    return f"{said}; {spec.catalog!r}" + (f" is {connector}" if connector else " is there")


def checks(source: TrinoSource) -> Checks[None]:
    """What is alike for all tables of a catalog."""
    yield Check(f"clock of {source.catalog}", lambda: _clock(source))
    yield Check(f"spooling of {source.catalog}", lambda: _spooling(source))


def table_checks(source: Source, tables: Sequence[TableRef]) -> Checks[None]:
    """What is to be known of tables that can be read."""
    if isinstance(source, TrinoSource) and tables:
        yield Check(f"versions in {source.catalog}", lambda: _versions(source, tables))
        yield Check(f"privileges in {source.catalog}", lambda: _privileges(source, tables))


def read_one(source: Source, ref: TableRef, spec: TableSpec) -> None:
    """Open a table with its columns; in Trino read one row too, since files have permissions of their own. Raises what the source does."""
    with source.open(ref, spec.columns, spec.key):
        pass
    if isinstance(source, TrinoSource):
        columns = ", ".join(map(quoted, spec.columns))
        _ask(source.client, f"SELECT {columns} FROM {_name(source, ref)} LIMIT 1", ref.key)  # noqa: S608


def _ask(client: TrinoClient, sql: str, about: str, *, spooling: bool = False) -> list[list[object]]:
    """All rows, within bounded time. Raises what a statement does; SourceUnavailable where it does not run."""
    with client.statement(sql, about, spooling=spooling) as statement:
        late = threading.Event()

        def stop() -> None:
            late.set()
            statement.close()

        timer = threading.Timer(QUERY_SECONDS, stop)
        timer.start()
        try:
            return [row for block in statement for row in block]
        except SourceUnavailable:
            if late.is_set():
                raise SourceUnavailable(
                    f"{client.address} takes queries and has not run one within {QUERY_SECONDS:g} s: are its workers up, is the queue of "
                    "this user's resource group full?"
                ) from None
            raise
        finally:
            timer.cancel()


def _clock(source: TrinoSource) -> str:
    asked = now()
    ((theirs,),) = _ask(source.client, "SELECT CAST(to_unixtime(now()) AS double)", "the time")
    return skew(float(str(theirs)), asked, now(), where=f"the clock of Trino at {source.spec.host}")


class _Counting(TrinoClient):
    """Knows how many segments it got from a spooling store."""

    segments = 0

    def segment(self, url: str, headers: Mapping[str, str], stopped: threading.Event) -> bytes:
        body = super().segment(url, headers, stopped)
        self.segments += 1
        return body


def _spooling(source: TrinoSource) -> str:
    setting = source.client.address.setting("spooling")
    if not source.spec.spooling:
        return f"not asked for ({setting} is false)"
    with closing(_Counting(source.catalog, source.spec)) as client:
        try:
            _ask(client, _SPOOLED, "a spooled result", spooling=True)
        except SourceUnavailable as error:
            raise SourceUnavailable(f"{error}; where its store cannot be reached from here at all: {setting}: false") from None
        if client.segments:
            return "offered, and a segment came through"
    return "not offered there; results come through the coordinator"


def _versions(source: TrinoSource, tables: Sequence[TableRef]) -> str:
    asked = tables[:MAX_VERSIONS]
    versions = source.versions(asked)
    without = [ref for ref in asked if not versions[ref].exact]
    exact = len(asked) - len(without)
    said = f"exact for {exact} of {len(asked)} tables" + (", which cost one look while they do not change" if exact else "")
    if not without:
        return said
    said += f"; of {_named(without)} every sync scans the digests"
    refused = [ref for ref in without[:MAX_PROBED] if _refused(source, ref)]
    if refused:
        return Remark(
            f'{said}. User {source.spec.user!r} may not read "{refused[0].table}$refs" or "{refused[0].table}$history", which hold them: '
            "grant SELECT on these, too"
        )
    return said


def _refused(source: TrinoSource, ref: TableRef) -> bool:
    """Whether a table has a history that we may not read."""
    return any(
        _error_of(source, f"SELECT 1 FROM {_name(source, ref._replace(table=ref.table + suffix))} LIMIT 0") == "PERMISSION_DENIED"  # noqa: S608
        for suffix in _HISTORIES
    )


def _privileges(source: TrinoSource, tables: Sequence[TableRef]) -> str:
    for ref in tables[:MAX_PROBED]:
        name = _name(source, ref)
        for statement in (f"DELETE FROM {name}", f"INSERT INTO {name} SELECT * FROM {name}"):  # noqa: S608
            error = _error_of(source, f"EXPLAIN (TYPE VALIDATE) {statement}")
            if error is None:
                return Remark(
                    f"user {source.spec.user!r} may change {ref.key}: SELECT is all that is needed, see README, The least privileges"
                )
            if error == "NOT_SUPPORTED":
                break  # whatever the connector is asked to write
    return "nothing that was tried may be written"


def _error_of(source: TrinoSource, sql: str) -> str | None:
    """The name of Trino's error for a statement; None where there is none."""
    with source.client.statement(sql, "a statement that changes nothing") as statement:
        try:
            for _ in statement:
                pass
        except SourceError:
            if statement.error is None:
                raise
            return statement.error.name
    return None


def _name(source: TrinoSource, ref: TableRef) -> str:
    return qualified(source.spec.catalog, ref.schema, ref.table)


def _named(tables: Sequence[TableRef]) -> str:
    more = len(tables) - MAX_NAMED
    return ", ".join(f"{ref.schema}.{ref.table}" for ref in tables[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
