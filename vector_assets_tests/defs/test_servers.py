"""The real webserver, daemon and code server, as `make dev` starts them, on real text with the real redactor and encoder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import duckdb
import pytest

from vector_assets import initial
from vector_assets.defs.instance import prepare_home
from vector_assets.models.registry import Registry
from vector_assets.pipeline import STAGES
from vector_assets.settings import Settings

ROOT = Path(__file__).parents[2]
KEYS = ["lake.help.one", "lake.help.two"]
SOURCES = """
catalogs: {lake: {engine: duckdb, path: lake.duckdb}}
tables:
  - {table: "lake.help.*", key: [id], text: "{body}", properties: {id: keep}, collection: Help}
"""
LAUNCH = """mutation ($keys: [String!]!, $assets: [AssetKeyInput!]!) {
  launchPartitionBackfill(backfillParams: {partitionNames: $keys, assetSelection: $assets}) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}"""
STATUS = """query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status runs { status } } }
}"""
PARTITIONS = "query ($asset: AssetKeyInput!) { assetNodeOrError(assetKey: $asset) { ... on AssetNode { partitionKeys } } }"
MATERIALIZED = """query ($asset: AssetKeyInput!) {
  assetOrError(assetKey: $asset) { ... on Asset { assetMaterializations(limit: 10) {
    partition metadataEntries { label ... on IntMetadataEntry { intValue } } } } }
}"""


class Servers:
    """A Dagster deployment at a port of this machine."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process, self._url, self._log = process, f"http://127.0.0.1:{port}/graphql", log

    def ask(self, query: str, **variables: object) -> dict[str, object]:
        """The one field of a GraphQL answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        with urlopen(Request(self._url, body, {"Content-Type": "application/json"}), timeout=30) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return next(iter(answer["data"].values()))

    def until(self, done: Callable[[], bool], what: str, seconds: float = 240) -> None:
        """Poll until something is so."""
        deadline = time.monotonic() + seconds
        while not done():
            assert self._process.poll() is None, self._log.read_text()[-4000:]
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{self._log.read_text()[-4000:]}"
            time.sleep(0.5)

    def answers(self) -> bool:
        try:
            return bool(self.ask("query { version }"))
        except (URLError, ConnectionError):
            return False


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home", sources=tmp_path / "sources.yaml")
    settings.sources.write_text(SOURCES)
    initial.make_home(settings.home)
    initial.make_secret(settings)
    initial.make_champion(Registry(settings))
    prepare_home(settings)
    with duckdb.connect(str(tmp_path / "lake.duckdb")) as lake:
        lake.execute("CREATE SCHEMA help")
        for name in ("one", "two"):
            lake.execute(
                f"CREATE TABLE help.{name} AS SELECT range AS id, 'Table {name}, row ' || range || ': ask Jane Doe.' AS body FROM range(3)"
            )
    return settings


@pytest.fixture
def servers(settings: Settings, tmp_path: Path) -> Iterator[Servers]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    places = {
        "DAGSTER_HOME": str(settings.dagster_home),
        "VECTOR_ASSETS_HOME": str(settings.home),
        "VECTOR_ASSETS_SOURCES": str(settings.sources),
    }
    command = [
        str(Path(sys.executable).with_name("dagster")),
        "dev",
        "-w",
        str(ROOT / "workspace.yaml"),
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    log = tmp_path / "dagster.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | places, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield Servers(process, port, log)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its session holds what it started, and nothing else
        process.wait()


@pytest.mark.slow
def test_a_backfill_of_two_tables_materializes_both(servers: Servers) -> None:
    servers.until(servers.answers, "the webserver answers")
    raw = {"path": ["raw_tables"]}
    servers.until(lambda: sorted(servers.ask(PARTITIONS, asset=raw)["partitionKeys"]) == KEYS, "the sensor adds both tables")
    launched = servers.ask(LAUNCH, keys=KEYS, assets=[{"path": [stage]} for stage in STAGES])
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def over() -> bool:
        return str(servers.ask(STATUS, id=launched["backfillId"])["status"]) not in ("REQUESTED", "IN_PROGRESS")

    servers.until(over, "the backfill ends")
    backfill = servers.ask(STATUS, id=launched["backfillId"])
    assert backfill["status"] == "COMPLETED_SUCCESS", backfill
    assert len(backfill["runs"]) == 2
    for stage in STAGES:
        materializations = servers.ask(MATERIALIZED, asset={"path": [stage]})["assetMaterializations"]
        shown = {one["partition"]: {entry["label"]: entry.get("intValue") for entry in one["metadataEntries"]} for one in materializations}
        assert {key: labels["rows_added"] for key, labels in shown.items()} == dict.fromkeys(KEYS, 3)
