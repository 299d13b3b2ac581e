"""A project in a temporary folder: a DuckDB file, sources.yaml, real stages and index; stand-ins for redactor and encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from vector_assets.cli.app import app
from vector_assets.engines import Engines
from vector_assets.errors import ModelError
from vector_assets.models.registry import ModelVersion, Registry
from vector_assets.settings import Settings
from vector_assets_tests.fakes import StubEncoder, StubRedactor, model_version

SOURCES = """
catalogs:
  lake: {engine: duckdb, path: lake.duckdb}
tables:
  - table: lake.support.tickets
    key: [id]
    text: "{body}"
    collection: Tickets
    properties: {id: keep, status: keep, customer: hash}
    quality: {body: {max_length: 100}}
  - {table: "lake.notes.*", key: [id], text: "{body}", collection: Notes, properties: {id: keep}}
"""


class Stubs:
    """What the engines of every command of a test share."""

    def __init__(self) -> None:
        self.redactor = StubRedactor()
        self.encoder = StubEncoder()
        self.model: ModelVersion | None = model_version()
        self.registry: object | None = None


class StubEngines(Engines):
    """Real source and index; stand-ins for what takes seconds to load."""

    def __init__(self, settings: Settings, stubs: Stubs) -> None:
        super().__init__(settings)
        self._stubs = stubs

    def redactor(self, policy: str) -> StubRedactor:
        return self._stubs.redactor

    def registry(self) -> Registry:
        return self._stubs.registry or super().registry()  # type: ignore[return-value]

    def champion(self) -> ModelVersion:
        if self._stubs.model is None:
            raise ModelError("model 'text-embedder' has no champion: choose a version with `vector-assets models promote VERSION`")
        return self._stubs.model

    def encoder(self, model: ModelVersion) -> StubEncoder:
        return self._stubs.encoder


class Answer:
    """What a command printed, and how it ended."""

    def __init__(self, *, stdout: str, stderr: str, status: int, error: BaseException | None) -> None:
        self.stdout, self.stderr, self.status = stdout, stderr, status
        assert error is None or isinstance(error, SystemExit), error

    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def sentence(self) -> str:
        """The one line that says what is wrong."""
        assert self.status == 1, self.stderr
        (line,) = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in self.stderr
        return line


class Project:
    """A folder to run commands in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.lake = folder, folder / "home", folder / "lake.duckdb"
        self.sources = folder / "sources.yaml"
        self.stubs = Stubs()
        self.home.mkdir()
        (self.home / "secret").write_text("a secret for tests, 32 bytes long")
        (self.home / "secret").chmod(0o600)

    def sql(self, *statements: str) -> None:
        with duckdb.connect(str(self.lake)) as connection:
            for statement in statements:
                connection.execute(statement)

    def run(self, *arguments: str, real: bool = False) -> Answer:
        """A command, over stand-ins unless it is to be `real`."""
        engines = None if real else lambda settings: StubEngines(settings, self.stubs)
        result = CliRunner().invoke(app, list(arguments), obj=engines)
        return Answer(stdout=result.stdout, stderr=result.stderr, status=result.exit_code, error=result.exception)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without sources.yaml and without a lake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VECTOR_ASSETS_HOME", str(tmp_path / "home"))
    return Project(tmp_path)


@pytest.fixture
def project(empty: Project) -> Project:
    """Two tables in two schemas."""
    empty.sources.write_text(SOURCES)
    empty.sql(
        "CREATE SCHEMA support",
        "CREATE SCHEMA notes",
        "CREATE TABLE support.tickets (id BIGINT, body TEXT, status TEXT, customer TEXT)",
        "INSERT INTO support.tickets SELECT i, 'ticket number ' || i, 'open', 'ann' FROM range(8) t(i)",
        "CREATE TABLE notes.daily AS SELECT i AS id, 'note number ' || i AS body FROM range(3) t(i)",
    )
    return empty
