"""Marked values in every column of a table in Trino, through failures of every server and a process that is killed, into Weaviate.

Presidio is the real one. The embedded engines, with libraries that quote rows, are in `test_canary.py` one folder up.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from weaviate.exceptions import UnexpectedStatusCodeError

from vector_assets.defs.freshness import look, standings
from vector_assets.defs.instance import prepare_home
from vector_assets.defs.resources import Platform
from vector_assets.defs.sensors import catalog_sensors
from vector_assets.freshness import Memory
from vector_assets.indexed.weaviate.index import WeaviateIndex
from vector_assets.notify.formats import FORMATS
from vector_assets.quarantine import rejected_rows
from vector_assets.redacted.analyzer import PresidioRedactor
from vector_assets.settings import Settings
from vector_assets_tests.canary import DIGITS, KEPT, MARK, files, found, notified, recorded, stored
from vector_assets_tests.fakes import StubRedactor
from vector_assets_tests.live.counted import Models
from vector_assets_tests.live.fixtures import Trino, Weaviate
from vector_assets_tests.live.lakes import RealLake, Table, real_lake
from vector_assets_tests.live.proxy import Cut, Deed, Proxy, proxy

ROWS = 12
CARD = "4556 7375 8689 9855"
"""Passes the checksum that Presidio asks for."""

KILLED = """
import json, os, signal, sys
import dagster as dg
from pathlib import Path
from vector_assets.defs.assets import ASSETS
from vector_assets.defs.resources import Platform
from vector_assets.pipeline import Pipeline
from vector_assets.settings import Settings
from vector_assets_tests.live.counted import LiveEngines, Models

said = json.loads(sys.argv[1])
settings = Settings(home=Path(said["home"]), sources=Path(said["sources"]), **said["weaviate"])
pipeline = Pipeline(settings, LiveEngines(settings, Models()))
die = lambda progress: os.kill(os.getpid(), signal.SIGKILL) if progress.stage == "cleaned_frames" else None
instance = dg.DagsterInstance.local_temp(str(settings.dagster_home))
dg.materialize(ASSETS, instance=instance, partition_key=said["key"], resources={"platform": Platform(pipeline, die)})
"""


class Presidio(StubRedactor):
    """The real one, in one worker process."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._real = PresidioRedactor(settings.tables.redaction["default"], workers=1)
        self.version = self._real.version

    def redact(self, texts: list[str]) -> list[str | Exception]:  # type: ignore[override]
        self.seen += texts
        return self._real.redact(texts)

    def close(self) -> None:
        self._real.close()


@pytest.fixture
def lake(tmp_path: Path, trino: Trino, weaviate: Weaviate) -> Iterator[RealLake]:
    home = tmp_path / "home"
    prepare_home(Settings(home=home))
    with real_lake(home, trino, weaviate, Models()) as made:
        made.instance.dispose()
        made.instance = dg.DagsterInstance.local_temp(str(Settings(home=home).dagster_home))
        yield made


def people(lake: RealLake) -> tuple[Table, Table]:
    """A table of marked people, and a view of it that quotes one of them when it is read."""
    table, view = lake.table("lake", "people"), lake.table("lake", "casts")
    numbers = ", ".join(map(str, range(ROWS)))
    lake.run(
        f"""CREATE TABLE {table.sql} AS SELECT '{MARK}-key-' || n AS id, 'case' AS subject,
          'Write to {MARK}.body{DIGITS}' || n || '@private.example, card {CARD} of {MARK}.x' || n || '@private.example.' AS body,
          '{KEPT}-' || n AS status, 'Call {MARK}.notes' || n || '@private.example' AS notes, '{MARK}-owner-' || n AS owner,
          '{MARK}-internal-' || n AS internal, '{DIGITS}' || n AS amount, '{MARK}-undeclared-' || n AS undeclared
          FROM (SELECT CAST(n AS varchar) AS n FROM UNNEST(ARRAY[{numbers}]) AS t(n))"""
    )
    lake.run(f"CREATE VIEW {view.sql} AS SELECT CAST(body AS integer) AS n, status FROM {table.sql}")
    properties = {"id": "hash", "status": "keep", "notes": "redact", "owner": "hash", "internal": "drop", "amount": "drop"}
    quality = {"subject": {"max_length": 20}, "amount": {"regex": "[0-9]+"}}
    shared = {"collection": lake.collection("People"), "checks": {"rejected_rows": {"block": 0.8}}}
    lake.declare(
        {"table": table.ref.key, "key": ["id"], "text": "{subject}: {body}", "properties": properties, "quality": quality, **shared},
        {"table": view.ref.key, "key": ["n"], "text": "{status}", "properties": {"n": "keep"}, "collection": lake.collection("Casts")},
    )
    return table, view


def kill(lake: RealLake, table: Table) -> None:
    """A process of its own that syncs the table and is killed while values are in its hands."""
    assert lake.pipeline is not None
    server = {"weaviate_url": lake.weaviate.url, "weaviate_grpc_url": lake.weaviate.grpc_url, "weaviate_api_key": lake.weaviate.api_key}
    said = {"home": str(lake.home), "sources": str(lake.home / "sources.yaml"), "key": table.ref.key, "weaviate": server}
    done = subprocess.run([sys.executable, "-c", KILLED, json.dumps(said)], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert found(done.stdout + done.stderr) == []


def away(lake: RealLake, table: Table) -> None:
    """Syncs that meet a Trino, or a Weaviate, that cuts every connection."""
    with proxy(lake.trino.url) as gate, proxy(lake.weaviate.url) as rest, proxy(lake.weaviate.grpc_url, http=False) as grpc:
        straight, lake.trino = lake.trino, lake.trino._replace(url=gate.url)
        lake.catalog_settings = {"timeout_seconds": 1}
        lake.reopen()
        gate.rule = lambda sent: Cut(0) if MARK.encode() in sent or b"subject" in sent else None
        assert "gave up after 1 s" in lake.failure(table)
        lake.trino, lake.catalog_settings = straight, {}
        weaviate = lake.weaviate
        index = lake.reopen(weaviate._replace(url=rest.url, grpc_url=grpc.url)).engines.index()
        assert isinstance(index, WeaviateIndex)
        index._server = replace(index._server, patience_seconds=1)
        grpc.rule = lambda sent: Cut(0) if KEPT.encode() in sent else None
        assert "the connection broke off" in lake.failure(table)
        stalls(lake, table, grpc)
        lake.reopen(weaviate)


def stalls(lake: RealLake, table: Table, grpc: Proxy) -> None:
    """A sync whose objects Weaviate is silent about."""
    over = threading.Event()

    def stall(sent: bytes) -> Deed:
        if KEPT.encode() not in sent:
            return None
        over.wait(60)
        return Cut()

    index = lake.reopen(lake.weaviate).engines.index()
    assert isinstance(index, WeaviateIndex)
    index._server = replace(index._server, patience_seconds=1, timeout_seconds=1)
    grpc.rule = stall
    try:
        assert "it did not answer in time" in lake.failure(table)
    finally:
        over.set()


def refuses(lake: RealLake, table: Table) -> None:
    """A sync whose objects Weaviate refuses one by one, and says of each what it will not have: a property is of another type now."""
    remade: list[str] = []

    def remake(sent: bytes) -> None:
        if KEPT.encode() in sent and not remade:
            with lake.client() as client:
                (name,) = (name for name in client.collections.list_all() if name.startswith(lake.collection("People")))
                wanted = client.collections.export_config(name).to_dict()
                for each in wanted["properties"]:
                    if each["name"] == "status":
                        each |= {"dataType": ["int"], "indexSearchable": False, "tokenization": None}
                client.collections.delete(name)
                client.collections.create_from_dict(wanted)
                remade.append(name)

    weaviate = lake.weaviate
    with proxy(weaviate.grpc_url, http=False) as grpc:
        grpc.rule = remake
        lake.reopen(weaviate._replace(grpc_url=grpc.url))
        assert "rejected_rows" in lake.failure(table)
        pipeline = lake.reopen(weaviate)
    rejected = [row for row in rejected_rows(pipeline, table.ref, pipeline.engines.champion()) if row.stage == "weaviate_collections"]
    assert len(rejected) == ROWS
    assert found(str(rejected), KEPT, MARK, DIGITS) == []
    with lake.client() as client:
        objects = client.collections.use(remade[0])
        with pytest.raises(UnexpectedStatusCodeError, match=KEPT):
            objects.data.insert({"status": f"{KEPT}-1"}, vector={"default": [1.0] * 8})
        assert len(objects) == 0
        client.collections.delete(remade[0])


@pytest.mark.slow  # 97 s at a load of 10, 20 s of them CPU: two processes, nine runs
def test_no_marked_value_turns_up_where_it_must_not(
    lake: RealLake, trino: Trino, weaviate: Weaviate, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    table, view = people(lake)
    lake.instance.add_dynamic_partitions("tables", [table.ref.key, view.ref.key])
    assert "INVALID_CAST_ARGUMENT" in lake.failure(view)
    lake.run(f"DROP VIEW {view.sql}")
    kill(lake, table)
    assert any(found(text) for text in stored(lake.home / "private").values()), "else the search is blind"
    assert lake.pipeline is not None
    lake.models.redactor = Presidio(lake.pipeline.settings)
    try:
        away(lake, table)
        refuses(lake, table)
        lake.run(f"UPDATE {table.sql} SET subject = 'far too long for a subject' WHERE status = '{KEPT}-3'")
        outcomes = lake.sync(table).outcomes
        assert (outcomes["cleaned_frames"].state.stale, outcomes["weaviate_collections"].state.ok) == (1, ROWS)
        lake.run(f"UPDATE {table.sql} SET amount = '-' || amount")
        assert "rejected_rows" in lake.failure(table)
        lake.run(f"DELETE FROM {table.sql}")
        assert "this would delete" in lake.failure(table)
    finally:
        lake.models.redactor.close()
        lake.weaviate, lake.trino = weaviate, trino  # also where it failed while proxies, which are gone now, stood in between
    shown = "\n".join(objects(lake))
    assert found(shown, KEPT)
    assert found(shown) == []
    assert CARD not in shown
    spoken = [*notified(lake.instance, lake.pipeline.settings), *recorded(lake.instance), *sensor_ticks(lake, table)]
    spoken += [("logs", caplog.text), ("streams", "".join(capfd.readouterr())), *files(lake.home / "dagster")]
    for place in ("observation", "freshness", "sensor", *(f"message as {form}" for form in FORMATS)):
        assert any(table.ref.key in text for name, text in spoken if name == place), f"the search is blind in {place}"
    assert {name: hits for name, text in spoken if (hits := found(text, MARK, DIGITS, KEPT, CARD))} == {}
    seen = dict(files(lake.home, but=(lake.home / "private",)))
    assert any(found(text, KEPT) for text in seen.values()), "the control"
    assert {name: hits for name, text in seen.items() if (hits := found(text))} == {}


def sensor_ticks(lake: RealLake, table: Table) -> Iterator[tuple[str, str]]:
    """What the catalog's sensor says of a table that is outdated, three days later too."""
    assert lake.pipeline is not None
    platform = Platform(lake.pipeline)
    (sensor,) = (each for each in catalog_sensors(lake.pipeline.settings) if each.name == "catalog_lake")
    with dg.build_sensor_context(instance=lake.instance, resources={"platform": platform}) as context:
        ticked = sensor.evaluate_tick(context)
    memory = Memory.of_cursor(ticked.cursor)
    assert memory.of(table.ref) is not None
    yield "sensor", f"{ticked} {lake.instance.get_dynamic_partitions('tables')}"
    yield from (("observation", repr(event)) for event in ticked.asset_events)
    later = look(
        lake.pipeline,
        [table.ref],
        memory,
        deadline=time.monotonic() + 20,
        standings=partial(standings, lake.instance),
        now=lambda: time.time() + 3 * 86400,
    )
    ((_, stale),) = later.evaluations
    assert not stale.passed
    yield "freshness", f"{stale!r} {later.said} {memory.cursor()}"


def objects(lake: RealLake) -> Iterator[str]:
    """Every object of this lake in Weaviate, all of it."""
    with lake.client() as client:
        for name in client.collections.list_all(simple=True):
            if lake.name in name:
                yield from (str(each) for each in client.collections.use(name).iterator(include_vector=True))
