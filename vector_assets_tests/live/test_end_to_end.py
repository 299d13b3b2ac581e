"""From tables in a real Trino to objects in a real Weaviate, through Dagster's own `materialize` with a partition key.

After every sync, the set of (uuid, fingerprint, generation) that Weaviate's own client reads is the one that the published embeddings
promise; `lakes.py` works that out.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trino as client

from vector_assets.demo.model import packaged_model
from vector_assets.demo.servers.install import Installed
from vector_assets.demo.servers.weaviate import weaviate as own_weaviate
from vector_assets.tables import TableRef
from vector_assets_tests.live.fixtures import Trino, Weaviate
from vector_assets_tests.live.lakes import Did, Models, RealLake, Table, comments, entry, real_lake


@pytest.fixture
def lake(tmp_path: Path, trino: Trino, weaviate: Weaviate) -> Iterator[RealLake]:
    with real_lake(tmp_path / "home", trino, weaviate) as made:
        yield made


# --- there ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # 11 to 33 s beside other load: 20,192 objects
def test_fifteen_thousand_orders_arrive(lake: RealLake) -> None:
    orders = TableRef("made", "tiny", "orders")
    names = {"orderkey": "keep", "orderstatus": "keep", "totalprice": "keep", "orderdate": "keep", "clerk": "hash"}
    collection = lake.collection("Orders")
    lake.declare({"table": orders.key, "key": ["orderkey"], "text": "{comment}", "properties": names, "collection": collection})
    did = lake.sync(orders)
    assert {stage: outcome.added for stage, outcome in did.outcomes.items()} == dict.fromkeys(did.outcomes, 15_000)
    lake.assert_level(collection, orders)
    assert len(lake.promised(orders)) > 15_000  # several passages of some rows
    assert lake.sync(orders)[1:] == (0, 0, 0)


def test_tables_of_three_catalogs_arrive_whole(lake: RealLake) -> None:
    customers = TableRef("made", "tiny", "customer")
    iceberg, postgres = comments(lake, "lake", "notes", rows=300), comments(lake, "shop", "notes", rows=150)
    properties = {"custkey": "keep", "nationkey": "keep"}
    collection = lake.collection("Customers")
    lake.declare(
        {"table": customers.key, "key": ["custkey"], "text": "{name}\n\n{comment}", "properties": properties, "collection": collection},
        entry(lake, iceberg, "Notes"),
        entry(lake, postgres, "Notes"),
    )
    for table, rows in ((customers, 1_500), (iceberg, 300), (postgres, 150)):
        did = lake.sync(table)
        assert {stage: outcome.added for stage, outcome in did.outcomes.items()} == dict.fromkeys(did.outcomes, rows)
        assert did.fetched == rows
    lake.assert_level(lake.collection("Customers"), customers)
    lake.assert_level(lake.collection("Notes"), iceberg, postgres)
    assert len(lake.promised(customers)) > 2 * 1_500
    for table in (customers, iceberg, postgres):  # PostgreSQL has no versions and is looked through, to the same end
        assert lake.sync(table)[1:] == (0, 0, 0)


def test_what_an_object_holds_is_what_the_row_held(lake: RealLake) -> None:
    table = lake.table("shop", "odd")
    lake.run(
        f"CREATE TABLE {table.sql} AS SELECT * FROM (VALUES (7, 'a', 'Größe 🐘 of the\nthing', 12.50, DATE '2024-02-29', 'Ann'),"
        " (8, NULL, '', NULL, NULL, NULL)) AS t (id, kind, body, price, day, owner)"
    )
    properties = {"id": "keep", "kind": "keep", "price": "keep", "day": "keep", "owner": "hash", "body": "drop"}
    lake.declare(entry(lake, table, "Odd", properties=properties))
    lake.sync(table)
    lake.assert_level(lake.collection("Odd"), table)
    with lake.client() as weaviate:
        (thing,) = weaviate.collections.use(lake.collection("Odd")).query.fetch_objects(include_vector=True).objects  # empty text: none
    said = thing.properties
    assert (said["text"], said["source_id"], said["kind"], said["source_table"]) == ("Größe 🐘 of the\nthing", 7, "a", table.ref.key)
    assert (said["price"], str(said["day"]), said["source_key"]) == ("12.50", "2024-02-29 00:00:00+00:00", "7")
    assert said["owner"] not in (None, "Ann")
    assert "body" not in said
    encoder = lake.models.encoders["d1"]
    assert thing.vector["default"] == pytest.approx(encoder.encode_query("Größe 🐘 of the\nthing").tolist(), abs=1e-3)


def test_a_user_who_may_only_read_is_enough(lake: RealLake) -> None:
    table = comments(lake, "lake", "notes", rows=20)
    lake.declare(entry(lake, table, "Notes"))  # whose catalogs are read as `reader`
    lake.sync(table)
    lake.assert_level(lake.collection("Notes"), table)
    if _sees_everything(lake, "narrow"):
        pytest.skip("the Trino that LIVE_TRINO_URL names has no rules for its users")
    with pytest.raises(client.exceptions.TrinoUserError, match=r"Access Denied|read-only"):
        lake.run(f"DELETE FROM {table.sql}", user="reader")


# --- search -----------------------------------------------------------------------------------------------------------------------------

TICKETS = [
    (1, "mail", "open", "I cannot log in any more: the page says that my password is wrong, although I reset it yesterday."),
    (2, "mail", "closed", "Please send the reset link for my account again, it never arrived in my inbox."),
    (3, "web", "open", "The parcel was damaged when the courier delivered it; the box was wet and two glasses are broken."),
    (4, "web", "closed", "My order has been on its way for three weeks. When will the shipment arrive?"),
    (5, "phone", "open", "I was charged twice for the same invoice; please refund one of the two payments."),
    (6, "phone", "closed", "Which credit cards do you accept, and can I pay in instalments?"),
    (7, "web", "open", "The app crashes with error XK-4711 as soon as I rotate the phone. Call me: Maria Gonzalez, maria@example.com."),
]


@pytest.fixture
def real(tmp_path: Path, trino: Trino, weaviate: Weaviate) -> Iterator[RealLake]:
    """A lake with Presidio and the packaged model."""
    with real_lake(tmp_path / "home", trino, weaviate, Models(model=None, real=True)) as made:
        yield made


def test_search_through_the_alias_finds_what_it_should(real: RealLake) -> None:
    table = real.table("lake", "tickets")
    values = ", ".join(f"({key}, '{channel}', '{status}', '{body}')" for key, channel, status, body in TICKETS)
    real.run(f"CREATE TABLE {table.sql} AS SELECT * FROM (VALUES {values}) AS t (id, channel, status, body)")
    pipeline = real.declare(entry(real, table, "Tickets", properties={"id": "keep", "channel": "keep", "status": "keep"}))
    registry = pipeline.engines.registry()
    registry.promote(registry.register(packaged_model()).version)
    real.sync(table)
    name = real.collection("Tickets")
    real.assert_level(name, table)
    asked = real.searcher()

    def keys(*query: str, **more: object) -> list[str]:
        return [hit.key for hit in asked.search(name, *query, **more)]  # type: ignore[arg-type]

    assert set(keys("trouble signing in", limit=2)) == {"1", "2"}
    assert set(keys("late or broken delivery", limit=2)) == {"3", "4"}
    assert keys("double payment", limit=1) == ["5"]
    assert keys("trouble signing in", where=["status=closed"], limit=1) == ["2"]
    assert set(keys("trouble", where=["channel=web", "status!=lost", "id<7"])) == {"3", "4"}
    assert keys("XK-4711", hybrid=True, limit=1) == ["7"]
    assert keys(like="1", limit=1) == ["2"]
    assert keys("trouble", table="lake.other.tickets") == []
    (hit,) = asked.search(name, "crash on rotation", limit=1)
    assert hit.table == table.ref.key
    assert hit.properties["status"] == "open"
    assert not {"Maria", "Gonzalez", "maria@example.com"} & set(hit.text.replace(",", " ").split())
    with real.client() as weaviate:
        texts = [str(thing.properties["text"]) for thing in weaviate.collections.use(name).iterator()]
    assert len(texts) == len(TICKETS)
    assert not any("Gonzalez" in text or "maria@" in text for text in texts)


# --- changes ----------------------------------------------------------------------------------------------------------------------------


def check(lake: RealLake, table: Table, *, planned: int, encodes: Callable[[int], bool], fetched: int | None = None) -> Did:
    """Sync, and see that only what changed was fetched and encoded, and nothing that an earlier sync left over. A row is fetched once; a
    deleted one not at all."""
    did = lake.sync(table)
    assert did.planned == planned
    assert did.fetched == (planned if fetched is None else fetched)
    assert encodes(did.encoded), did.encoded
    lake.assert_level(lake.collection("Notes"), table)
    return did


def nothing(count: int) -> bool:
    return count == 0


def passages(low: int, high: int) -> Callable[[int], bool]:
    return lambda count: low <= count <= high


@pytest.mark.parametrize("catalog", ["lake", "delta", "shop"])
def test_edits_cost_what_changed(lake: RealLake, catalog: str) -> None:
    table = comments(lake, catalog, "notes")
    lake.declare(entry(lake, table, "Notes"))
    lake.sync(table)
    count = len(lake.promised(table))
    assert count > 300
    lake.run(f"UPDATE {table.sql} SET body = 'entirely new' WHERE id IN (3, 4)")
    check(lake, table, planned=2, encodes=passages(1, 1))  # the same text is encoded once
    lake.run(f"UPDATE {table.sql} SET status = 'GONE' WHERE id = 5")
    assert check(lake, table, planned=1, encodes=nothing).redacted == 0
    lake.run(f"UPDATE {table.sql} SET junk = 'unused' WHERE id > 100")
    check(lake, table, planned=0, encodes=nothing)
    lake.run(f"DELETE FROM {table.sql} WHERE id BETWEEN 10 AND 19")
    assert check(lake, table, planned=10, encodes=nothing, fetched=0).outcomes["weaviate_collections"].deleted == 10
    lake.run(f"INSERT INTO {table.sql} VALUES (9001, 'brand new words', 'NEW', 1.5, NULL), (9002, 'brand new words', 'NEW', 1.5, NULL)")
    check(lake, table, planned=2, encodes=passages(1, 1))
    lake.run(f"UPDATE {table.sql} SET id = 9003 WHERE id = 9002")  # another key is another row
    did = check(lake, table, planned=2, encodes=passages(1, 1), fetched=1)
    assert {outcome.deleted for outcome in did.outcomes.values()} == {1}
    assert lake.sync(table)[1:] == (0, 0, 0)


@pytest.mark.parametrize("catalog", ["lake", "delta"])
def test_a_merge_costs_what_it_changed(lake: RealLake, catalog: str) -> None:
    table = comments(lake, catalog, "notes")
    lake.declare(entry(lake, table, "Notes"))
    lake.sync(table)
    lake.run(
        f"MERGE INTO {table.sql} AS t USING (VALUES (1, 'merged one'), (2, 'merged two'), (3, NULL), (7001, 'merged in')) AS s (id, body)"
        " ON t.id = s.id WHEN MATCHED AND s.body IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET body = s.body"
        " WHEN NOT MATCHED THEN INSERT (id, body, status) VALUES (s.id, s.body, 'NEW')"
    )
    did = check(lake, table, planned=4, encodes=passages(3, 3), fetched=3)
    assert {(outcome.added, outcome.changed, outcome.deleted) for outcome in did.outcomes.values()} == {(1, 2, 1)}
    lake.run(f"ALTER TABLE {table.sql} EXECUTE optimize")  # other files, the same rows
    check(lake, table, planned=0, encodes=nothing)


def test_altered_columns_cost_what_they_change(lake: RealLake) -> None:
    table = comments(lake, "lake", "notes")
    lake.declare(entry(lake, table, "Notes"))
    lake.sync(table)
    first = lake.pointed(lake.collection("Notes"))
    lake.run(f"ALTER TABLE {table.sql} ADD COLUMN region varchar")
    check(lake, table, planned=0, encodes=nothing)
    lake.run(f"UPDATE {table.sql} SET region = 'north' WHERE id <= 50")
    check(lake, table, planned=0, encodes=nothing)
    lake.run(f"ALTER TABLE {table.sql} DROP COLUMN junk")
    check(lake, table, planned=0, encodes=nothing)
    assert lake.pointed(lake.collection("Notes")) == first

    properties = {"id": "keep", "status": "keep", "region": "keep"}
    lake.declare(entry(lake, table, "Notes", properties=properties))  # a property more is another collection, of the same vectors
    assert check(lake, table, planned=200, encodes=nothing).redacted == 0
    assert lake.pointed(lake.collection("Notes")) != first
    assert len(lake.searcher().search(lake.collection("Notes"), "anything", where=["region=north"], limit=1000)) > 50

    lake.run(f"ALTER TABLE {table.sql} RENAME COLUMN body TO content")
    before = lake.stored(lake.collection("Notes"))
    assert "body" in lake.failure(table)
    assert lake.stored(lake.collection("Notes")) == before
    lake.declare(entry(lake, table, "Notes", properties=properties, text="{content}"))
    check(lake, table, planned=200, encodes=nothing)
    lake.run(f"ALTER TABLE {table.sql} ALTER COLUMN content SET DATA TYPE varchar")  # it is one already
    check(lake, table, planned=0, encodes=nothing)


def test_a_rollback_is_followed(lake: RealLake) -> None:
    table = comments(lake, "lake", "notes")
    lake.declare(entry(lake, table, "Notes"))
    lake.sync(table)
    whole = lake.stored(lake.collection("Notes"))
    ((snapshot,),) = lake.run(f"""SELECT snapshot_id FROM {table.sql.rsplit(".", 1)[0]}."notes$refs" WHERE name = 'main'""")
    lake.run(f"UPDATE {table.sql} SET body = 'not for long' WHERE id <= 3")
    lake.run(f"DELETE FROM {table.sql} WHERE id = 4")
    lake.run(f"INSERT INTO {table.sql} VALUES (9001, 'soon gone', 'NEW', 1, NULL)")
    lake.run(f"ALTER TABLE {table.sql} ADD COLUMN late varchar")
    check(lake, table, planned=5, encodes=passages(2, 2), fetched=4)
    lake.run(f"ALTER TABLE {table.sql} EXECUTE rollback_to_snapshot({snapshot})")
    did = check(lake, table, planned=5, encodes=passages(4, 12), fetched=4)
    assert {(outcome.added, outcome.changed, outcome.deleted) for outcome in did.outcomes.values()} == {(1, 3, 1)}
    assert lake.stored(lake.collection("Notes")) == whole
    assert lake.sync(table)[1:] == (0, 0, 0)


# --- losses -----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def moving(tmp_path: Path, trino: Trino) -> Iterator[RealLake]:
    """A lake whose Weaviate is the test's own; it is told of it before the first sync."""
    lake = RealLake(tmp_path / "home", trino, Weaviate("", "", ""), Models())
    try:
        yield lake
    finally:
        lake.remove_tables()


def test_a_wiped_weaviate_is_filled_from_stage_tables(moving: RealLake, tmp_path: Path, servers: Installed) -> None:
    folder = tmp_path / "weaviate"
    table = comments(moving, "lake", "notes")
    name = moving.collection("Notes")
    with own_weaviate(servers, folder) as running:
        moving.weaviate = Weaviate(running.url, running.grpc_url, running.api_key)
        moving.declare(entry(moving, table, "Notes"))
        moving.sync(table)
        moving.assert_level(name, table)
        before = moving.stored(name)
        moving.close()
    shutil.rmtree(folder / "data")
    with own_weaviate(servers, folder) as running:
        moving.reopen(Weaviate(running.url, running.grpc_url, running.api_key))
        assert moving.pointed(name) is None
        did = moving.sync(table)
        assert did[1:] == (0, 0, 0)
        assert {stage: outcome.planned for stage, outcome in did.outcomes.items() if outcome.planned} == {"weaviate_collections": 200}
        moving.assert_level(name, table)
        assert moving.stored(name) == before
        moving.close()


def test_a_collection_that_somebody_removed_is_filled_again(lake: RealLake) -> None:
    table = comments(lake, "lake", "notes")
    lake.declare(entry(lake, table, "Notes"))
    lake.sync(table)
    name = lake.pointed(lake.collection("Notes"))
    assert name is not None
    with lake.client() as weaviate:
        weaviate.collections.delete(name)
    did = lake.sync(table)
    assert did[1:] == (0, 0, 0)
    assert did.outcomes["weaviate_collections"].planned == 200
    lake.assert_level(lake.collection("Notes"), table)


def test_tables_that_share_a_collection_leave_each_other_alone(lake: RealLake) -> None:
    iceberg, postgres = comments(lake, "lake", "notes"), comments(lake, "shop", "notes")
    lake.declare(entry(lake, iceberg, "Notes"), entry(lake, postgres, "Notes"), tables_at_once=2)

    def both() -> list[Did]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lake.sync, (iceberg, postgres)))

    both()
    name = lake.collection("Notes")
    lake.assert_level(name, iceberg, postgres)
    whole = lake.stored(name)
    assert len(whole) == 2
    assert not whole[iceberg.ref.key] & whole[postgres.ref.key]  # equal keys and texts, and yet other objects

    lake.run(f"DELETE FROM {iceberg.sql} WHERE id > 150")
    lake.run(f"UPDATE {postgres.sql} SET body = 'short' WHERE id > 150")
    both()
    lake.assert_level(name, iceberg, postgres)
    shrunk = lake.stored(name)
    assert len(shrunk[iceberg.ref.key]) < len(whole[iceberg.ref.key])
    assert len(shrunk[postgres.ref.key]) < len(whole[postgres.ref.key])

    lake.run(f"DELETE FROM {iceberg.sql}")
    told = lake.failure(iceberg)
    assert lake.stored(name) == shrunk
    lake.sync(iceberg, approve=told.rsplit("--approve-deletes ", 1)[1].split()[0])
    lake.assert_level(name, iceberg, postgres)
    assert lake.stored(name) == {postgres.ref.key: shrunk[postgres.ref.key]}

    lake.run(f"DELETE FROM {postgres.sql}")  # which has no versions: what was approved is never seen again, and holds for a day
    told = lake.failure(postgres)
    lake.sync(postgres, approve=told.rsplit("--approve-deletes ", 1)[1].split()[0])
    assert lake.stored(name) == {}


# --- rights -----------------------------------------------------------------------------------------------------------------------------


def _sees_everything(lake: RealLake, user: str) -> bool:
    """Whether a user whom the rules of `demo/servers/lakehouse.py` bind is not bound: this Trino is somebody else's."""
    probe = lake.table("shop", "guarded")
    lake.run(f"CREATE TABLE IF NOT EXISTS {probe.sql} AS SELECT 1 AS id, 'south' AS region")
    found = lake.run(f"SELECT 1 FROM {probe.sql}", user=user)
    lake.run(f"DROP TABLE {probe.sql}")
    return bool(found)


@pytest.mark.parametrize("catalog", ["lake", "shop"])
def test_rows_that_a_role_hides_are_not_deleted(lake: RealLake, catalog: str) -> None:
    if _sees_everything(lake, "narrow"):
        pytest.skip("the Trino that LIVE_TRINO_URL names has no user `narrow` who sees less than others")
    table = lake.table(catalog, "guarded")
    region = "if(custkey % 2 = 0, 'north', 'south') AS region"
    lake.run(f"CREATE TABLE {table.sql} AS SELECT custkey AS id, comment AS body, {region} FROM tpch.tiny.customer WHERE custkey <= 200")
    declared = entry(lake, table, "Notes", properties={"id": "keep", "region": "keep"})
    lake.declare(declared)
    lake.sync(table)
    name = lake.collection("Notes")
    before = lake.stored(name)

    lake.declare(declared, users={catalog: "narrow"})
    if catalog == "lake":  # the version is exact, and the same: nobody looks
        assert lake.sync(table).planned == 0
    lake.run(f"INSERT INTO {table.sql} VALUES (9001, 'one more', 'north')")
    told = lake.failure(table)
    assert "would delete 100 of 200 published rows" in told
    assert "--approve-deletes" in told
    assert lake.stored(name) == before

    lake.declare(declared)  # the grant is back
    assert lake.sync(table).planned == 1
    lake.assert_level(name, table)
    assert before[table.ref.key] < lake.stored(name)[table.ref.key]
