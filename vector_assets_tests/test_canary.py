"""Marked values in every column of a source, through everything that can go wrong on the embedded engines: none turns up where it must not.

The same on real servers, with processes that are killed, is in `live/test_canary.py`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pandera.pandas as pandera
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from vector_assets.cli.app import app
from vector_assets.defs.assets import ASSETS
from vector_assets.defs.instance import prepare_home
from vector_assets.defs.parity import CHECK_PARITY, REPAIR_PARITY
from vector_assets.defs.partitions import TABLES
from vector_assets.defs.resources import Platform
from vector_assets.defs.run_tags import ACCEPT
from vector_assets.defs.sensors import catalog_sensors
from vector_assets.engines import Engines
from vector_assets.fingerprint import Hashes, from_bytes
from vector_assets.freshness import Memory
from vector_assets.indexed.index import OBJECT_COLUMNS, STORED
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.models.registry import ModelVersion
from vector_assets.notify.formats import FORMATS
from vector_assets.pipeline import STAGES, Pipeline
from vector_assets.settings import Settings
from vector_assets.tables import TableRef
from vector_assets_tests.canary import DIGITS, KEPT, MARK, files, found, notified, recorded, stored
from vector_assets_tests.fakes import StubEncoder, StubRedactor, model_version

REF = TableRef("lake", "s", "people")
ROWS = 12
SOURCES = f"""
catalogs:
  lake: {{engine: duckdb, path: lake.duckdb}}
tables:
  - table: lake.s.people
    key: [id]
    text: "{{subject}}: {{body}}"
    collection: People
    properties: {{id: hash, status: keep, notes: redact, owner: hash, internal: drop, amount: drop}}
    quality: {{body: {{max_length: 60}}, amount: {{regex: "[0-9]+", isin: [{", ".join(f"'{DIGITS}{n:02}'" for n in range(100))}]}}}}
    checks: {{rejected_rows: {{block: 0.8}}, freshness: {{warn: 0}}}}
  - {{table: lake.s.casts, key: [n], text: "{{status}}", collection: Casts, properties: {{n: keep}}}}
"""
TABLE = f"""
CREATE TABLE s.people AS SELECT '{MARK}-key-' || n AS id, 'case ' || n AS subject, 'told by {MARK}-body-' || n AS body,
  '{KEPT}-' || n AS status, '{MARK} notes ' || n || '.' AS notes, '{MARK}-owner-' || n AS owner, '{MARK}-internal-' || n AS internal,
  '{DIGITS}' || lpad(n::TEXT, 2, '0') AS amount, '{MARK}-undeclared-' || n AS undeclared FROM range({ROWS}) t(n)"""
CASTS = "CREATE VIEW s.casts AS SELECT n, status FROM (SELECT body::INTEGER AS n, status FROM s.people)"  # every conversion fails


class Redactor(StubRedactor):
    """Replaces words with the mark in them; `failing` and `raising` say for which texts it does not."""

    raising = False

    def redact(self, texts: Sequence[str]) -> list[str | Exception]:
        if self.raising:
            raise ValueError(f"could not convert {texts[0]!r} to tensor")
        return [ValueError(text) if self.failing and self.failing in text else _masked(text) for text in texts]


def _masked(text: str) -> str:
    return " ".join("<X>" if MARK in word else word for word in text.split(" "))


class Encoder(StubEncoder):
    """Quotes what it cannot encode."""

    raising = False

    def encode(self, passages: Sequence[str], *, exact: bool = False) -> np.ndarray:
        if self.raising:
            raise RuntimeError(f"token indices of {list(passages)!r} are out of range")
        return super().encode(passages, exact=exact)


class Index(LanceIndex):
    """Quotes what it cannot write."""

    raising = False

    def upsert(self, name: str, objects: pa.Table) -> dict[bytes, str]:
        if self.raising:
            raise TypeError(f"bad object: {objects.to_pylist()[0]!r}")
        return super().upsert(name, objects)

    def resolve(self, alias: str) -> str | None:
        if self.raising:
            raise TypeError(f"bad answer: {KEPT}-1 {MARK}-1")
        return super().resolve(alias)

    def stored(
        self, name: str, source_table: str, columns: Sequence[str] = STORED, *, rows: Hashes | None = None
    ) -> Iterator[pa.RecordBatch]:
        for batch in super().stored(name, source_table, columns, rows=rows):
            if self.raising:
                raise TypeError(f"bad object: {KEPT}-1 {MARK}-1 {batch.to_pylist()[0]!r}")
            yield batch


class Stubs(Engines):
    """Real source and index; models that fail when they are told to."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.made = Redactor(), Encoder(), Index(settings.index)

    def redactor(self, policy: str) -> Redactor:
        return self.made[0]

    def champion(self) -> ModelVersion:
        return model_version()

    def encoder(self, model: ModelVersion) -> Encoder:
        return self.made[1]

    def index(self) -> Index:
        return self.made[2]


class Town:
    """The project, and what happens in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lake = folder, folder / "lake.duckdb"
        sources = folder / "sources.yaml"
        sources.write_text(SOURCES)
        self.settings = Settings(home=folder / "home", sources=sources)
        self.settings.home.mkdir()
        (self.settings.home / "secret").write_text("a secret for tests, 32 bytes long")
        self.sql("CREATE SCHEMA s", TABLE, CASTS)
        prepare_home(self.settings)
        self.instance = dg.DagsterInstance.local_temp(str(self.settings.dagster_home))
        self.instance.add_dynamic_partitions(str(TABLES.name), [REF.key, "lake.s.casts"])
        self.engines = Stubs(self.settings)
        self.redactor, self.encoder, self.index = self.engines.made
        self.pipeline = Pipeline(self.settings, self.engines)

    def sql(self, *statements: str) -> None:
        with duckdb.connect(str(self.lake)) as connection:
            for statement in statements:
                connection.execute(statement)

    def run(self, *stages: str, ref: TableRef = REF, tags: Mapping[str, str] | None = None) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            ASSETS,
            instance=self.instance,
            partition_key=ref.key,
            selection=list(stages) or None,
            resources={"platform": Platform(self.pipeline, step_retries=0)},
            tags=dict(tags or {}),
            raise_on_error=False,
        )

    def stops(self, stage: str, says: str, *stages: str, ref: TableRef = REF) -> None:
        """A run that fails at this stage, saying so."""
        (event,) = self.run(*stages, ref=ref).get_step_failure_events()
        data = event.step_failure_data
        said = (data.user_failure_data.description if data.user_failure_data else None) or data.error_display_string
        assert (event.step_key, says in said) == (stage, True), said

    def command(self, *arguments: str, fails: bool = False) -> str:
        """What a command prints, on both streams."""
        done = CliRunner().invoke(app, list(arguments), obj=lambda settings: self.engines)
        assert done.exit_code == int(fails), done.output
        return done.stdout + done.stderr

    def close(self) -> None:
        self.pipeline.close()
        self.instance.dispose()


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    monkeypatch.setenv("VECTOR_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VECTOR_ASSETS_SOURCES", str(tmp_path / "sources.yaml"))
    made = Town(tmp_path)
    yield made
    made.close()


def everything_fails(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage stops by itself, by a library that quotes a row, and by a check; rows are rejected by each as well."""

    def quoting(self: object, frame: object, **_: object) -> None:
        raise ValueError(f"could not validate {frame}")

    town.redactor.failing, town.encoder.failing = f"{MARK}-body-2", "case 4:"
    town.stops("raw_tables", "DuckDB answers with a Conversion error", ref=TableRef("lake", "s", "casts"))
    with monkeypatch.context() as patch:
        patch.setattr(pandera.DataFrameSchema, "validate", quoting)
        town.stops("cleaned_frames", "unexpected ValueError")
    for stage, part in (("redacted_text", town.redactor), ("embeddings", town.encoder), ("weaviate_collections", town.index)):
        part.raising = True  # type: ignore[attr-defined]
        before = STAGES[STAGES.index(stage) - 1]  # type: ignore[arg-type]
        town.stops(stage, "unexpected ", before, stage)
        part.raising = False  # type: ignore[attr-defined]
    town.sql("UPDATE s.people SET body = body || repeat('!', 60) WHERE id LIKE '%-3'")


def test_no_marked_value_turns_up_where_it_must_not(
    town: Town, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    said = {"first tick": sensor_tick(town)}
    everything_fails(town, monkeypatch)
    town.sql("UPDATE s.people SET subject = 'a case' WHERE id LIKE '%-7'")
    assert town.run("raw_tables").success
    assert where_in(stored(Path(town.settings.private)), MARK)[-1:] == ["raw_tables/lake/s/people.lance"], "else the search is blind"
    assert town.run().success
    assert KEPT in town.command("search", "People", "case", "--json"), "what a policy lets through is found"
    said |= {"tick": sensor_tick(town)} | quarantine(town) | parity(town)
    town.sql("UPDATE s.people SET body = repeat(body, 9)")
    said["sync"] = town.command("sync", "people", "--json", fails=True)
    assert "rejected_rows" in said["sync"]
    assert town.run(tags={ACCEPT: "rejected_rows by me: meant"}).success
    town.sql("DELETE FROM s.people")
    town.stops("raw_tables", "this would delete")
    assert_silent(town, said, caplog.text, "".join(capfd.readouterr()))


@pytest.mark.slow  # 9 s of CPU: what differs is looked at five times
def test_no_marked_value_turns_up_where_what_differs_is_compared_and_mended(
    town: Town, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    assert town.run().success
    said = parity(town) | {"tick": sensor_tick(town), "plain parity": town.command("parity", "people", fails=True)}
    job = {"instance": town.instance, "partition_key": REF.key, "resources": {"platform": Platform(town.pipeline, step_retries=0)}}
    assert CHECK_PARITY.execute_in_process(**job).success  # type: ignore[arg-type]
    town.index.raising = True
    said["broken"] = f"people: {town.command('parity', 'people', fails=True)}"
    assert "unexpected TypeError" in said["broken"]
    assert not REPAIR_PARITY.execute_in_process(**job, raise_on_error=False).success  # type: ignore[arg-type]
    town.index.raising = False
    said["repair"] = town.command("parity", "people", "--repair")
    assert "mended" in said["repair"]
    (town.folder / "exported").mkdir()
    assert_silent(town, said, caplog.text, "".join(capfd.readouterr()))


def assert_silent(town: Town, said: Mapping[str, str], logs: str, streams: str) -> None:
    """No marked value is in what was said, told, recorded, exported or logged, nor in files but those of the private tables. What a policy
    lets through is in the latter only."""
    spoken = [*said.items(), *notified(town.instance, town.settings), *recorded(town.instance), *files(town.folder / "exported")]
    spoken += [("logs", logs), ("streams", streams), *files(Path(str(town.settings.dagster_home)))]
    exported = [path.name for path in (town.folder / "exported").iterdir()]
    for place in (*said, *exported, "streams", *(f"message as {form}" for form in FORMATS)):
        texts = [text for name, text in spoken if name == place]
        assert texts, place
        assert all("people" in text or "lake.s.casts" in text for text in texts), f"the search is blind in {place}"
    assert logs
    assert {name: hits for name, text in spoken if (hits := found(text, MARK, DIGITS, KEPT))} == {}
    seen = dict(files(town.settings.home, but=(Path(town.settings.private),)))
    assert where_in(seen, KEPT), "the control"
    assert {name: hits for name, text in seen.items() if (hits := found(text))} == {}


def where_in(contents: Mapping[str, str], mark: str) -> list[str]:
    return sorted(name for name, text in contents.items() if found(text, mark))


def sensor_tick(town: Town) -> str:
    """What a tick of the catalog's sensor says, its cursor and its events among it; and what one says of an index that quotes objects."""
    (sensor,) = (each for each in catalog_sensors(town.settings) if each.name == "catalog_lake")
    ticks = []
    for raising in (False, True):
        town.index.raising = raising
        with dg.build_sensor_context(instance=town.instance, resources={"platform": Platform(town.pipeline)}) as context:
            ticks.append(sensor.evaluate_tick(context))
    town.index.raising = False
    assert Memory.of_cursor(ticks[0].cursor).of(REF) is not None
    assert f"{REF.key}: unexpected TypeError" in str(ticks[1].skip_message)
    return "\n".join(map(str, ticks))


def quarantine(town: Town) -> dict[str, str]:
    """What the commands print of rejected rows; exports are written."""
    listed = town.command("quarantine", "list", "--json")
    rows = {row["stage"]: row["row_id"] for row in json.loads(listed)}
    assert set(rows) == {"cleaned_frames", "redacted_text", "embeddings"}
    said = {"list": listed, "plain list": town.command("quarantine", "list")}
    for stage, row_id in rows.items():
        said[f"show {stage}"] = town.command("quarantine", "show", "people", row_id, "--json")
        said[f"plain show {stage}"] = town.command("quarantine", "show", "people", row_id)
        assert "not shown: hash" in said[f"plain show {stage}"], "the key"
    values = town.command("quarantine", "show", "people", rows["embeddings"], "--values")
    assert found(values, MARK), "those that are asked for"
    (town.folder / "exported").mkdir()
    for ending in ("csv", "jsonl", "parquet"):
        said[ending] = town.command("quarantine", "export", "people", "--to", str(town.folder / "exported" / f"people.{ending}"))
    return said


def parity(town: Town) -> dict[str, str]:
    """What the command says of an index that lost objects and has others altered."""
    name = town.index.resolve("People")
    assert name is not None
    objects = pa.Table.from_batches(town.index.stored(name, REF.key, [*OBJECT_COLUMNS.names, "vector", "properties"]))
    town.index.delete(name, from_bytes(objects.slice(0, 2).column("id").to_pylist()))
    altered = objects.slice(2, 2).drop_columns("text").append_column("text", [[f"{KEPT} forged"] * 2])
    town.index.upsert(name, altered)
    said = town.command("parity", "people", "--json", fails=True)
    damage = json.loads(said)["tables"][REF.key]["collections"][name]
    assert (damage["missing"], damage["altered"]) == (2, 2)
    return {"parity": said}
