"""A Trino that breaks, lies, refuses or changes under a sync: what a user is told, that nothing is lost, and that the next sync is right.

The client's own part (what is sent again, what is an error) is in `raw/test_trino_client.py`; here whole syncs run against a real Trino.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from vector_assets.demo.servers.install import Installed
from vector_assets.demo.servers.lakehouse import RunningTrino
from vector_assets.demo.servers.lakehouse import trino as own_trino
from vector_assets.errors import ConfigurationError, DeleteBrakeError, IndexConflict, SourceError, SourceUnavailable, VectorAssetsError
from vector_assets_tests.live.counted import Models
from vector_assets_tests.live.faults import MARK, Trial, trial
from vector_assets_tests.live.fixtures import Trino, Weaviate
from vector_assets_tests.live.lakes import RealLake, real_lake
from vector_assets_tests.live.proxy import Cut, Deed, Proxy, Rule, answer, proxy

pytestmark = pytest.mark.slow  # minutes in all: servers are cut off, stalled and killed


@pytest.fixture
def lake(tmp_path: Path, trino: Trino, weaviate: Weaviate) -> Iterator[RealLake]:
    with real_lake(tmp_path / "home", trino, weaviate) as made:
        yield made


@pytest.fixture
def gate(trino: Trino) -> Iterator[Proxy]:
    with proxy(trino.url) as made:
        yield made


# --- when ------------------------------------------------------------------------------------------------------------------------------

SCAN, PRESENT, FETCH = rb'SELECT "id", md5', rb'SELECT "id" FROM', rb'SELECT "id", "body", "status", md5'
"""How the statements begin that look through the table, confirm deletes, and read rows; they come in that order."""


def sql_of(request: bytes) -> bytes:
    """The statement that a request brings; empty where it brings none."""
    return request.partition(b"\r\n\r\n")[2] if request.startswith(b"POST") else b""


def at(start: bytes, act: Callable[[], object]) -> Rule:
    """Do something before a statement begins, once."""
    done = threading.Event()

    def rule(request: bytes) -> Deed:
        if sql_of(request).startswith(start) and not done.is_set():
            done.set()
            act()
        return None

    return rule


def pages_of(start: bytes, deed: Callable[[bytes], Deed], *, times: int | None = None) -> Rule:
    """Do something to the pages of a statement, so many times; None: for ever."""
    now = threading.Event()
    done: list[bytes] = []

    def rule(request: bytes) -> Deed:
        if sql := sql_of(request):
            (now.set if sql.startswith(start) else now.clear)()
        if now.is_set() and request.startswith(b"GET /v1/statement/executing/") and (times is None or len(done) < times):
            done.append(request)
            return deed(request)
        return None

    return rule


def edit(table: Trial) -> None:
    """A row to fetch, one to add, and one to delete."""
    table.lake.run(f"UPDATE {table.table.sql} SET body = '{MARK} is new' WHERE id = 3")
    table.lake.run(f"INSERT INTO {table.table.sql} VALUES (9001, '{MARK} is added', 'NEW')")
    table.lake.run(f"DELETE FROM {table.table.sql} WHERE id = 7")


# --- a table that changes while it is read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [SCAN, PRESENT, FETCH], ids=["scan", "present", "fetch"])
@pytest.mark.parametrize("catalog", ["lake", "shop"])
def test_rows_that_come_go_and_change_between_two_queries(lake: RealLake, gate: Proxy, catalog: str, start: bytes) -> None:
    table = trial(lake, catalog)
    name, before = table.table.sql, table.stored
    edit(table)

    def meanwhile() -> None:
        lake.run(f"INSERT INTO {name} VALUES (7, '{MARK} came back', 'BACK'), (9002, '{MARK} came late', 'NEW')")
        lake.run(f"UPDATE {name} SET body = '{MARK} is newer' WHERE id IN (3, 4)")
        lake.run(f"DELETE FROM {name} WHERE id IN (5, 9001)")

    table.through(trino=gate.url)
    gate.rule = at(start, meanwhile)
    outcomes = table.attempt()
    changed = {3, 4, 5, 7}  # of 120 rows: all others must be as they were, whatever this run saw
    assert len(before - table.stored) <= 9 * len(changed)
    if catalog == "lake":  # pinned: none of it was seen
        assert outcomes["raw_tables"].deleted == 1
        assert outcomes["raw_tables"].planned == 3
    elif start != FETCH:  # the row is there again when the delete is to be confirmed
        assert outcomes["raw_tables"].deleted == (1 if start == SCAN else 0)  # 5 is gone for good
    table.settled()


@pytest.mark.slow  # 30 s in all
@pytest.mark.parametrize("start", [SCAN, PRESENT, FETCH], ids=["scan", "present", "fetch"])
@pytest.mark.parametrize("catalog", ["lake", "shop"])
def test_a_table_made_anew_while_it_is_read(lake: RealLake, gate: Proxy, catalog: str, start: bytes) -> None:
    """Dropped, and there again under its name with other columns. What is kept of it is right, or it is nothing."""
    table = trial(lake, catalog)
    before = table.stored
    edit(table)

    def anew() -> None:
        lake.run(f"DROP TABLE {table.table.sql}")
        lake.run(
            f"CREATE TABLE {table.table.sql} AS SELECT mktsegment AS status, custkey AS id, '{MARK} anew ' || comment AS body, 1 AS more"
            " FROM tpch.tiny.customer WHERE custkey <= 110"
        )

    table.through(trino=gate.url)
    gate.rule = at(start, anew)
    if catalog == "lake":
        table.broken(SourceUnavailable, r"lake\.\w+\.notes was changed while it was read .*: run again")
        assert table.stored == before
    else:  # without versions each query sees the table as it is
        table.attempt()
        assert len(table.stored) > len(before) / 2
    table.settled()


def test_a_table_that_is_dropped_while_it_is_read_and_stays_away(lake: RealLake, gate: Proxy) -> None:
    table = trial(lake, "shop")
    before = table.stored
    edit(table)
    table.through(trino=gate.url)
    gate.rule = at(FETCH, lambda: lake.run(f"DROP TABLE {table.table.sql}"))
    table.broken(SourceUnavailable, r"shop\.\w+\.notes was changed while it was read .*: run again")
    table.broken(SourceError, r"there is no table .*in Trino at .* called 'shop\.\w+\.notes'")
    assert table.stored == before
    lake.table("shop", "notes")
    lake.run(f"CREATE TABLE {table.table.sql} AS SELECT 1 AS id, '{MARK} one' AS body, 'ONE' AS status")
    table.broken(DeleteBrakeError, "would delete 118 of 119 published rows")  # the one delete that was confirmed is done
    assert table.stored == before


def test_a_snapshot_that_expires_while_it_is_read(lake: RealLake, gate: Proxy) -> None:
    table = trial(lake, "lake")
    before, name = table.stored, table.table.sql
    edit(table)

    def expire() -> None:
        lake.run(f"UPDATE {name} SET body = '{MARK} is newer' WHERE id = 3")
        lake.run(
            f"ALTER TABLE {name} EXECUTE expire_snapshots(retention_threshold => '0s')",
            session={"iceberg.expire_snapshots_min_retention": "0s"},
        )

    for start in (SCAN, PRESENT, FETCH):
        table.through(trino=gate.url)
        gate.rule = at(start, expire)
        table.broken(SourceUnavailable, r"lake\.\w+\.notes was changed while it was read .*expired.*: run again")
        assert table.stored == before
    table.settled()


def test_a_rollback_while_it_is_read(lake: RealLake, gate: Proxy) -> None:
    """What is read is one version, before or after; the run that comes next follows."""
    table = trial(lake, "lake")
    schema = table.table.sql.rpartition(".")[0]
    ((snapshot,),) = lake.run(f"""SELECT snapshot_id FROM {schema}."notes$refs" WHERE name = 'main'""")
    edit(table)
    table.through(trino=gate.url)
    gate.rule = at(FETCH, lambda: lake.run(f"ALTER TABLE {table.table.sql} EXECUTE rollback_to_snapshot({snapshot})"))
    assert table.attempt()["raw_tables"].planned == 3
    table.settled(planned=3)


# --- a Trino that breaks ---------------------------------------------------------------------------------------------------------------

PAGE = b'{"id":"x","nextUri":"http://127.0.0.1:1/v1/statement/executing/x/y/1","stats":{"state":"RUN'


PASSING = [Cut(), Cut(300), answer("503 Service Unavailable"), answer("200 OK", PAGE, length=100_000)]


@pytest.mark.parametrize("start", [SCAN, PRESENT, FETCH], ids=["scan", "present", "fetch"])
def test_what_passes_is_not_seen(lake: RealLake, gate: Proxy, start: bytes) -> None:
    table = trial(lake, "shop")
    edit(table)
    table.through(trino=gate.url)
    deeds = iter(PASSING)
    gate.rule = pages_of(start, lambda _: next(deeds), times=len(PASSING))
    table.settled(planned=3)
    assert next(deeds, None) is None


LASTING = [
    (Cut(), r"gives no whole answer \(the connection broke\); gave up after 0\.3 s: run again once it is back"),
    (Cut(300), r"gives no whole answer"),
    (answer("503 Service Unavailable", b"<html>"), r"answers with HTTP 503; gave up after 0\.3 s: run again"),
    (answer("500 Internal Server Error", MARK.encode()), r"answers with HTTP 500 while a query runs: run again"),
    (answer("404 Not Found"), r"HTTP 404 \(it does not know the query any more\) while a query runs: run again"),
    (answer("200 OK", PAGE), r"reading shop\.\w+\.notes from Trino at .* broke off: a page is no JSON"),
    (answer("200 OK", b"<html>" + MARK.encode(), kind="text/html"), r"broke off: a page is no JSON"),
    (answer("200 OK", b"[]"), r"broke off: a page is none of Trino's"),
    (answer("200 OK", b"{}"), r"broke off: the last page says None, and not FINISHED"),
]


@pytest.mark.parametrize("start", [SCAN, PRESENT, FETCH], ids=["scan", "present", "fetch"])
def test_what_stays_is_said_and_nothing_is_lost(lake: RealLake, gate: Proxy, start: bytes) -> None:
    table = trial(lake, "shop")
    before = table.stored
    edit(table)
    for deed, says in LASTING:
        table.through(trino=gate.url, timeout_seconds=0.3)
        gate.rule = pages_of(start, lambda _, deed=deed: deed)  # type: ignore[misc]
        table.broken(SourceUnavailable, says)
    assert table.stored == before
    gate.rule = lambda _: None
    table.settled()


def test_an_administrator_kills_a_query(lake: RealLake, gate: Proxy) -> None:
    table = trial(lake, "lake")
    before = table.stored
    edit(table)

    def kill(request: bytes) -> Deed:
        query = request.split(b"/")[4].decode()
        lake.run(f"CALL system.runtime.kill_query('{query}', '{MARK}')")
        return None

    table.through(trino=gate.url)
    for start in (SCAN, PRESENT, FETCH):
        gate.rule = pages_of(start, kill, times=1)
        table.broken(SourceUnavailable, r"reading lake\.\w+\.notes broke off: ADMINISTRATIVELY_KILLED, query \w+; .*: run again")
        assert table.stored == before
    gate.rule = lambda _: None
    table.settled()


@pytest.mark.parametrize(
    ("session", "kind", "says"),
    [
        ({"query_max_run_time": "1s"}, SourceUnavailable, r"broke off: EXCEEDED_TIME_LIMIT, .*: run again, or raise the limit \(cat"),
        ({"query_max_scan_physical_bytes": "1B"}, SourceError, r"EXCEEDED_SCAN_LIMIT, .*; raise the limit \(catalogs\.lake\.session"),
    ],
)
def test_a_limit_of_the_session(lake: RealLake, gate: Proxy, session: dict[str, str], kind: type[VectorAssetsError], says: str) -> None:
    """Trino looks once a second at what runs, and what a client has not read to its end does."""
    table = trial(lake, "lake")
    before = table.stored
    edit(table)

    def until_it_failed(request: bytes) -> Deed:
        query, deadline = request.split(b"/")[4].decode(), time.monotonic() + 20
        while time.monotonic() < deadline and not lake.run(
            f"SELECT 1 FROM system.runtime.queries WHERE query_id = '{query}' AND state = 'FAILED'"
        ):
            time.sleep(0.1)
        return None

    table.through(trino=gate.url, session=session)
    gate.rule = pages_of(SCAN, until_it_failed, times=1)
    table.broken(kind, says)
    assert table.stored == before
    table.through()
    table.settled()


# --- a Trino that refuses --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("catalog", ["lake", "shop"])
def test_a_user_who_may_not_read_any_more(lake: RealLake, catalog: str) -> None:
    table = trial(lake, catalog)
    before = table.stored
    lake.run(f"DELETE FROM {table.table.sql} WHERE id = 7")
    table.through(user="nobody")
    table.broken(SourceError, rf"user 'nobody'.*{catalog}\.\w+\.notes|{catalog}\.\w+\.notes.*user 'nobody'")
    assert table.stored == before
    table.through()
    table.settled(planned=1)


def test_a_catalog_that_is_gone(lake: RealLake) -> None:
    table = trial(lake, "shop")
    before = table.stored
    table.through(catalog="postgres_of_old")
    table.broken(ConfigurationError, r"has no catalog 'postgres_of_old' for user .*check catalogs\.\w+\.catalog in sources\.yaml")
    assert table.stored == before
    table.through()
    table.settled(planned=0)


# --- columns that are not what they were -----------------------------------------------------------------------------------------------


def remade(table: Trial, columns: str) -> None:
    table.lake.run(f"DROP TABLE {table.table.sql}")
    table.lake.run(f"CREATE TABLE {table.table.sql} AS SELECT {columns} FROM tpch.tiny.customer WHERE custkey <= 120")


@pytest.mark.parametrize("catalog", ["lake", "shop"])
def test_a_property_of_another_type(lake: RealLake, catalog: str) -> None:
    """The collection has it as text, and nothing may change that. Declared as text, the numbers go in."""
    table = trial(lake, catalog)
    before = table.stored
    remade(table, f"custkey AS id, '{MARK} ' || comment AS body, nationkey AS status")
    table.broken(IndexConflict, r"collection \w+: type of property status is text, and int was asked for; declare .* in sources\.yaml")
    assert table.stored == before
    kept = {**table.entries[0], "properties": {"id": "keep", "status": {"policy": "keep", "type": "text"}}}
    lake.declare(kept)
    Trial(lake, table.table, [kept]).settled()


def test_a_text_that_becomes_a_number(lake: RealLake) -> None:
    table = trial(lake, "lake")
    remade(table, "custkey AS id, custkey * 17 AS body, mktsegment AS status")
    table.settled(planned=120)


def test_a_key_of_another_type_is_another_table(lake: RealLake) -> None:
    """1 and '1' are other rows: every row would go and come, and the brake holds it."""
    table = trial(lake, "lake")
    before = table.stored
    remade(table, f"CAST(custkey AS varchar) AS id, '{MARK} ' || comment AS body, mktsegment AS status")
    table.broken(DeleteBrakeError, "would delete 120 of 120 published rows")
    assert table.stored == before
    remade(table, f"CAST(custkey AS integer) AS id, '{MARK} ' || comment AS body, mktsegment AS status")  # narrower: the same keys
    table.settled(planned=0)


# --- a Trino that dies -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # starts two Trinos: 40 s
def test_a_trino_that_dies_and_comes_back(tmp_path: Path, servers: Installed, weaviate: Weaviate) -> None:
    def put(place: RunningTrino) -> None:
        gate.target = ("127.0.0.1", urlsplit(place.url).port or 0)
        gate.cut()

    with ExitStack() as stack:
        tables = tmp_path / "tables"
        with own_trino(servers, tmp_path / "first", tables=tables) as first:
            gate = stack.enter_context(proxy(first.url))
            lake = RealLake(tmp_path / "home", Trino(gate.url, first.tls_url, first.ca, first.token_key), weaviate, Models())
            table = trial(lake, "lake")
            before = table.stored
            edit(table)
            table.through(timeout_seconds=1)
            gate.rule = pages_of(FETCH, lambda _: os.kill(first.pid, signal.SIGKILL), times=1)
            table.broken(SourceUnavailable, r"Trino at 127.* (gives no whole answer|refuses connections).*; gave up after 1 s: run again")
            table.broken(SourceUnavailable, r"Trino at 127.* (gives no whole answer|refuses connections).*: run again")
            assert table.stored == before
        with own_trino(servers, tmp_path / "second", tables=tables) as second:
            put(second)
            table.settled(planned=2)  # the delete was confirmed and published before
            lake.remove()
