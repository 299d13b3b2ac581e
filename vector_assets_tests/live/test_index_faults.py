"""A Weaviate that breaks, refuses, or is edited by somebody else under a sync, and rows that are hard to store: whole syncs, real servers.

What the index itself does with a single call is in `test_weaviate.py`.
"""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from vector_assets.demo.servers.install import Installed
from vector_assets.demo.servers.weaviate import RunningWeaviate
from vector_assets.demo.servers.weaviate import weaviate as own_weaviate
from vector_assets.errors import ConfigurationError, IndexConflict, IndexUnavailable
from vector_assets.pipeline import STAGES, Pipeline, Run
from vector_assets_tests.live.counted import LiveEngines, Models
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
def gates(weaviate: Weaviate) -> Iterator[tuple[Proxy, Proxy, Weaviate]]:
    """In front of REST, in front of gRPC, and the Weaviate that they make together."""
    with proxy(weaviate.url) as rest, proxy(weaviate.grpc_url, http=False) as grpc:
        yield rest, grpc, weaviate._replace(url=rest.url, grpc_url=grpc.url)


def edit(table: Trial) -> None:
    """Rows to send and rows to remove: 60 objects or more of other texts, and three rows less."""
    table.lake.run(f"UPDATE {table.table.sql} SET body = '{MARK} is new' WHERE id BETWEEN 10 AND 39")
    table.lake.run(f"INSERT INTO {table.table.sql} VALUES (9001, '{MARK} is added', 'NEW')")
    table.lake.run(f"DELETE FROM {table.table.sql} WHERE id IN (7, 8, 9)")


def batches(deed: Callable[[], Deed], *, times: int | None = None) -> Rule:
    """Do something to what is sent by the 10 KB, which nothing but objects is, so many times; None: for ever."""
    done = []

    def rule(sent: bytes) -> Deed:
        if len(sent) < 10_000 or (times is not None and len(done) >= times):
            return None
        done.append(len(sent))
        return deed()

    return rule


def straight(table: Trial) -> None:
    table.through(weaviate=table.lake.weaviate)


# --- the network -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deed", [Cut, lambda: Cut(0)], ids=["before it arrives", "before it is acknowledged"])
def test_a_cut_in_a_batch_that_passes_is_not_seen(lake: RealLake, gates: tuple[Proxy, Proxy, Weaviate], deed: Callable[[], Deed]) -> None:
    _, grpc, through = gates
    table = trial(lake, "lake")
    edit(table)
    table.through(weaviate=through, patience=10)
    grpc.rule = batches(deed, times=2)
    table.settled(planned=34)


def test_a_cut_that_stays_leaves_what_was_there(lake: RealLake, gates: tuple[Proxy, Proxy, Weaviate]) -> None:
    _, grpc, through = gates
    table = trial(lake, "lake")
    before = table.stored
    edit(table)
    table.through(weaviate=through)
    grpc.rule = batches(Cut)
    table.broken(
        IndexUnavailable, r"cannot write to collection \w+ in http://127.*: .*not acknowledged, and are sent again by the next run"
    )
    removed = {thing for thing in before if thing not in table.stored}
    assert len(removed) <= 3 * 5  # the objects of the rows that are deleted, which go first and on their own
    grpc.rule = lambda _: None
    table.settled(planned=0)


def test_grpc_that_closes_while_rest_answers(lake: RealLake, gates: tuple[Proxy, Proxy, Weaviate]) -> None:
    _, grpc, through = gates
    table = trial(lake, "lake")
    before = table.stored
    edit(table)
    table.through(weaviate=through, patience=4)  # longer than a channel waits before it tries again
    grpc.rule = lambda _: Cut()
    table.broken(IndexUnavailable, rf"WEAVIATE_GRPC_URL: no gRPC at {grpc.url}")
    grpc.rule = lambda _: None
    assert table.lake.pipeline is not None
    table.lake.pipeline.engines.index().collections()  # it is open now, and then closes
    grpc.rule = lambda _: Cut()
    grpc.cut()
    table.broken(IndexUnavailable, rf"cannot remove objects of collection \w+ in {grpc.url}: the connection broke off")
    assert table.stored == before
    grpc.rule = lambda _: None
    table.settled(planned=0)


REST = [
    (answer("503 Service Unavailable", b"<html>"), r"answered 503"),
    (answer("500 Internal Server Error", b'{"error":[{"message":"' + MARK.encode() + b'"}]}'), r"answered 500"),
    (answer("429 Too Many Requests"), r"answered 429"),
    (answer("200 OK", b'{"class":"Noth'), r"the answer is no JSON"),
    (answer("200 OK", b"<html>" + MARK.encode(), kind="text/html"), r"the answer is no JSON"),
    (answer("200 OK", b'["' + MARK.encode() + b'"]'), r"the answer is not Weaviate's"),
    (answer("200 OK", b'{"class": ["' + MARK.encode() + b'"], "aliases": 7}'), r"the answer is not Weaviate's"),
    (Cut(), r"connection broke off or nobody answers"),
    (Cut(40), r"connection broke off or nobody answers"),
]


@pytest.mark.parametrize("path", [b"/v1/schema", b"/v1/aliases"])
def test_rest_that_does_not_answer_like_a_weaviate(lake: RealLake, gates: tuple[Proxy, Proxy, Weaviate], path: bytes) -> None:
    rest, _, through = gates
    table = trial(lake, "shop", rows=20)
    edit(table)
    pipeline = table.through(weaviate=through)
    pipeline.engines.index().collections()  # it is open: nobody looks at what it is again
    for deed, says in REST:
        rest.rule = lambda request, deed=deed: deed if path in request.partition(b"\r\n")[0] else None  # type: ignore[misc]
        table.broken(IndexUnavailable, says)
    rest.rule = lambda _: None
    table.settled(planned=0)


# --- what somebody else does -----------------------------------------------------------------------------------------------------------


def test_a_collection_that_is_set_read_only(lake: RealLake) -> None:
    table = trial(lake, "lake")
    before = table.stored
    edit(table)
    with lake.client() as weaviate:
        config = weaviate.collections.use(str(lake.pointed(table.collection))).config
        config.update_shards(status="READONLY")  # of the collection itself: Weaviate takes no alias here
        table.broken(IndexUnavailable, r"cannot remove objects of collection \w+ in http://127.*: .*read-only \(a full disk, or somebody")
        assert table.stored == before
        lake.run(f"INSERT INTO {table.table.sql} SELECT custkey, comment, mktsegment FROM tpch.tiny.customer WHERE custkey IN (7, 8, 9)")
        table.broken(IndexUnavailable, r"cannot (write to|remove objects of) collection \w+ in http://127.*: .*read-only")
        assert table.stored == before
        config.update_shards(status="READY")
    table.settled(planned=0)


@pytest.mark.parametrize("anew", [False, True], ids=["removed", "made anew"])
@pytest.mark.parametrize("when", ["rows are removed", "objects are sent"])
def test_a_collection_that_goes_while_it_is_written(lake: RealLake, gates: tuple[Proxy, Proxy, Weaviate], when: str, anew: bool) -> None:
    """What a run writes to a collection that another process made anew meanwhile, that collection's ledger would not know of."""
    table = trial(lake, "lake")
    name = str(lake.pointed(table.collection))
    edit(table)
    if when == "objects are sent":
        lake.run(f"INSERT INTO {table.table.sql} SELECT custkey, comment, mktsegment FROM tpch.tiny.customer WHERE custkey IN (7, 8, 9)")
    rest, grpc, through = gates
    index = table.through(weaviate=through).engines.index()
    schema = index.describe(name)
    assert schema is not None
    looked: list[bytes] = []

    def go() -> None:
        rest.rule = grpc.rule = lambda _: None
        with lake.client() as weaviate:
            weaviate.collections.delete(name)
        if anew:
            index.ensure(schema)

    def rule(request: bytes) -> Deed:
        looked.append(request)
        if len([each for each in looked if each.startswith(f"GET /v1/schema/{name} ".encode())]) == 2:  # ensure() looked before
            go()
        return None

    if when == "rows are removed":
        rest.rule = rule
    else:
        grpc.rule = batches(go)
    table.broken(IndexUnavailable, rf"collection {name} .*was removed.*: run again")
    lake.run(f"DELETE FROM {table.table.sql} WHERE id = 9001")
    table.settled(planned=1)


def test_a_collection_of_somebody_else_in_its_place(lake: RealLake) -> None:
    table = trial(lake, "lake")
    name = str(lake.pointed(table.collection))
    edit(table)
    with lake.client() as weaviate:
        weaviate.collections.delete(name)
        weaviate.collections.create(name)
        table.broken(IndexConflict, rf"collection {name} was not made by vector_assets: remove it or rename it")
        assert weaviate.collections.use(name).aggregate.over_all().total_count == 0
        weaviate.collections.delete(name)
    table.settled(planned=0)


def test_an_alias_that_is_removed_or_pointed_elsewhere(lake: RealLake) -> None:
    table = trial(lake, "lake", rows=20)
    name = str(lake.pointed(table.collection))
    with lake.client() as weaviate:
        weaviate.alias.delete(alias_name=table.collection)
        table.settled(planned=0)
        other = f"Other_{lake.name}"
        weaviate.collections.create(other)
        weaviate.alias.update(alias_name=table.collection, new_target_collection=other)
        table.settled(planned=0)
        assert lake.pointed(table.collection) == name
        weaviate.alias.delete(alias_name=table.collection)
        weaviate.collections.create(table.collection)
        table.broken(IndexConflict, rf"alias {table.collection} is named like a collection")
        weaviate.collections.delete(table.collection)
    table.settled(planned=0)


def test_objects_that_somebody_edits_or_removes(lake: RealLake) -> None:
    """A sync does not look for that (parity does); what it sends again is right again."""
    table = trial(lake, "lake")
    with lake.client() as weaviate:
        things = weaviate.collections.use(table.collection)
        with pytest.raises(Exception, match=r"vector lengths|dimensions"):
            things.data.insert(properties={}, vector={"default": [1.0, 2.0, 3.0]})
        ids = [thing.uuid for thing in things.query.fetch_objects(limit=1000).objects]
        for each in ids[:5]:
            things.data.delete_by_id(each)
        things.data.update(ids[5], properties={"fingerprint": "not ours"})
    lake.run(f"UPDATE {table.table.sql} SET status = 'ALL'")
    table.settled(planned=120)


# --- several at once -------------------------------------------------------------------------------------------------------------------


def test_two_syncs_of_one_table_at_once(lake: RealLake) -> None:
    table = trial(lake, "shop")
    edit(table)
    assert lake.pipeline is not None
    pipeline = lake.pipeline
    start = threading.Barrier(2)

    def sync(_: int) -> None:
        run = Run(uuid.uuid4().hex, wait_seconds=60)
        start.wait()
        for stage in STAGES:
            pipeline.sync(stage, table.table.ref, run)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(sync, range(2)))
    table.settled(planned=0)


def test_two_tables_of_one_collection_and_one_breaks_off(lake: RealLake, gates: tuple[Proxy, Proxy, Weaviate]) -> None:
    table = trial(lake, "lake")
    second = lake.table("shop", "notes")
    lake.run(f"CREATE TABLE {second.sql} AS SELECT * FROM {table.table.sql} WHERE id < 100")
    entries = [*table.entries, {**table.entries[0], "table": second.ref.key}]
    pipeline = lake.declare(*entries)
    edit(table)
    _, grpc, through = gates
    grpc.rule = batches(Cut)
    settings = pipeline.settings.model_copy(update={"weaviate_url": through.url, "weaviate_grpc_url": through.grpc_url})
    other = Pipeline(settings, LiveEngines(settings, lake.models))

    def breaks() -> None:
        for stage in STAGES:
            other.sync(stage, second.ref, Run("breaks"))

    with ThreadPoolExecutor(2) as pool:
        good, bad = pool.submit(table.attempt), pool.submit(breaks)
        assert isinstance(bad.exception(), IndexUnavailable)
        good.result()
    other.close()
    assert lake.stored(table.collection).keys() == {table.table.ref.key}
    Trial(lake, second, entries).attempt()
    lake.assert_level(table.collection, table.table, second)


# --- a server that ends, and one that is not what it was --------------------------------------------------------------------------------

KEY = "a-key-that-stays"


@pytest.mark.slow  # starts four servers: 30 s
def test_a_server_that_dies_and_comes_back_as_another(tmp_path: Path, trino: Trino, servers: Installed) -> None:
    folder, same = tmp_path / "weaviate", {"AUTHENTICATION_APIKEY_ALLOWED_KEYS": KEY}

    def put(place: RunningWeaviate) -> None:
        for gate, url in ((rest, place.url), (grpc, place.grpc_url)):
            gate.target = (str(urlsplit(url).hostname), urlsplit(url).port or 0)
            gate.cut()

    with ExitStack() as stack:
        with own_weaviate(servers, folder, more=same) as first:
            rest = stack.enter_context(proxy(first.url))
            grpc = stack.enter_context(proxy(first.grpc_url, http=False))
            lake = RealLake(tmp_path / "home", trino, Weaviate(rest.url, grpc.url, KEY), Models())
            table = trial(lake, "lake")
            before = table.stored
            edit(table)
            table.through()
            grpc.rule = batches(lambda: os.kill(first.pid, signal.SIGKILL), times=1)
            table.broken(IndexUnavailable, r"cannot \w+ .* in http://127.*:")
        with own_weaviate(servers, folder, more=same) as place:
            put(place)
            assert len(before - table.stored) <= 33 * 9  # of the rows that were edited
            table.settled(planned=0)  # in the same process, with the pipeline that broke
            lake.run(f"DELETE FROM {table.table.sql} WHERE id = 11")
        with own_weaviate(servers, folder) as place:
            put(place)
            table.broken(ConfigurationError, "the key is wrong, or may not do this .WEAVIATE_API_KEY.")
        with own_weaviate(servers, folder, anonymous=True) as place:
            put(place)
            table.broken(ConfigurationError, "the key is wrong, or may not do this .WEAVIATE_API_KEY.")
            lake.reopen()
            table.broken(ConfigurationError, r"WEAVIATE_URL: http://127.* lets anybody in without a key")
        with own_weaviate(servers, folder, more=same) as place:
            put(place)
            table.settled(planned=0)
            lake.remove()


# --- rows that are hard to store -------------------------------------------------------------------------------------------------------


HARD = """
    (1, 'zanzibar', 'a' || chr(0) || 'b', BIGINT '9007199254740992', 1e308, TIMESTAMP '0001-01-01 00:00:00.000000'),
    (2, 'zanzibar', chr(65535) || chr(1114111), BIGINT '-9007199254740992', -0e0, TIMESTAMP '9999-12-31 23:59:59.999999'),
    (3, 'zanzibar', '', BIGINT '9007199254740993', 1e0, NULL),
    (4, 'zanzibar', NULL, BIGINT '-9007199254740993', 1e0, NULL),
    (5, 'zanzibar', rpad('x', 200000, 'y'), BIGINT '9007199254740991', nan(), NULL),
    (6, 'zanzibar', rpad('x', 200000, 'y'), NULL, 4.9e-324, NULL),
    (7, 'zanzibar', ' ' || chr(769) || chr(10), BIGINT '0', infinity(), TIMESTAMP '0000-12-31 00:00:00.000000'),
    (8, '', 'empty', BIGINT '0', 0e0, NULL),
    (9, 'zanzibar' || chr(0) || chr(8203), 'NUL', BIGINT '0', 0e0, NULL)
"""


def test_values_at_the_edge(lake: RealLake) -> None:
    table = lake.table("lake", "notes")
    lake.run(f"CREATE TABLE {table.sql} AS SELECT * FROM (VALUES {HARD}) AS t (id, body, status, n, x, at)")
    properties = dict.fromkeys(("id", "status", "n", "x", "at"), "keep")
    entry = {"table": table.ref.key, "key": ["id"], "text": "{body}", "properties": properties, "collection": lake.collection("Notes")}
    lake.declare(entry)
    made = Trial(lake, table, [entry])
    assert made.attempt()["weaviate_collections"].state.rejected == 4
    with lake.client() as weaviate:
        objects = weaviate.collections.use(made.collection).query.fetch_objects().objects
    held = {thing.properties["source_id"]: thing.properties for thing in objects}
    # 3, 4: beyond 2⁵³; 5: not a number; 7: infinite, and of year 0. 8: there is nothing to find it by.
    assert {key: (said["status"], said["n"], said["x"], str(said["at"])) for key, said in held.items()} == {
        1: ("ab", 2**53, 1e308, "0001-01-01 00:00:00+00:00"),  # NUL is cleaned away
        2: ("\uffff\U0010ffff", -(2**53), 0.0, "9999-12-31 23:59:59.999999+00:00"),
        6: ("x" + 199_999 * "y", None, 5e-324, "None"),
        9: ("NUL", 0, 0.0, "None"),
    }
    assert {str(said["text"]) for said in held.values()} == {MARK}
    assert [outcome.planned for outcome in made.attempt().values()] == [0] * len(STAGES)


@pytest.mark.parametrize(
    ("body", "objects"),
    [
        pytest.param(
            "array_join(repeat(array_join(repeat('zanzibar', 6000), ' '), 10), ' ')",
            10_000,
            id="ten thousand passages",
            marks=pytest.mark.slow,
        ),
        pytest.param("rpad('zanzibar', 5000000, 'y')", 1, id="a word of five megabytes"),
    ],
)
def test_a_row_that_is_very_large(lake: RealLake, body: str, objects: int) -> None:
    table = trial(lake, "lake", rows=20)
    lake.run(f"UPDATE {table.table.sql} SET body = {body} WHERE id = 5")
    before = len(table.stored)
    table.attempt()
    assert objects <= len(table.stored) - before + 20 <= objects + 40
    lake.run(f"UPDATE {table.table.sql} SET body = '{MARK}' WHERE id = 5")
    table.settled(planned=1)


def test_no_rows_and_one(lake: RealLake) -> None:
    table = lake.table("lake", "notes")
    lake.run(f"CREATE TABLE {table.sql} (id bigint, body varchar)")
    entry = {"table": table.ref.key, "key": ["id"], "text": "{body}", "properties": {"id": "keep"}, "collection": lake.collection("Notes")}
    lake.declare(entry)
    made = Trial(lake, table, [entry])
    made.settled(planned=0)
    for step, body in enumerate((f"'{MARK}'", "''", "NULL", f"'{MARK} again'")):
        lake.run(f"DELETE FROM {table.sql}") if step else None
        lake.run(f"INSERT INTO {table.sql} VALUES (1, {body})")
        made.settled(planned=1)
        assert len(made.stored) == (MARK in body)
