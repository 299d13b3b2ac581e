"""The guided demo touches exactly what it edits, says so, and can be run again; what it says to try next works as it is typed."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from vector_assets.cli.app import app
from vector_assets.cli.results import TableResult
from vector_assets.demo import guide
from vector_assets.demo.lakehouse import DuckDBLakehouse
from vector_assets.demo.sample import Edits
from vector_assets.engines import Engines
from vector_assets.models.registry import ModelVersion, Registry
from vector_assets.pipeline import STAGES, Pipeline
from vector_assets.settings import Settings, load_settings
from vector_assets_tests.fakes import StubEncoder, StubRedactor, model_version

EDITED = DuckDBLakehouse.edited
EDITS = Edits(changed=(1, 2, 3), deleted=(4,), added=(5, 6))


class LettersOnly(StubRedactor):
    """Leaves nothing that the second net looks for."""

    def redact(self, texts: Sequence[str]) -> list[str | Exception]:
        return [re.sub(r"[^A-Za-z\s]", " ", str(text)) for text in super().redact(texts)]


class StubEngines(Engines):
    """Real source and index; a redactor and an encoder that take no time."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._encoder = StubEncoder(max_tokens=256)

    def redactor(self, policy: str) -> StubRedactor:
        return LettersOnly()

    def registry(self) -> Registry:
        return self  # type: ignore[return-value]

    def versions(self) -> list[ModelVersion]:
        return [self.champion()]

    def champion(self) -> ModelVersion:
        return model_version()

    def encoder(self, model: ModelVersion) -> StubEncoder:
        return self._encoder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VECTOR_ASSETS_HOME", "home")
    monkeypatch.setenv("VECTOR_ASSETS_SOURCES", str(guide.SOURCES))
    return tmp_path


def _tour() -> str:
    settings = load_settings()
    pipeline = Pipeline(settings, StubEngines(settings))
    told = io.StringIO()
    try:
        failed = guide.run(pipeline, Console(file=told, width=80), guide.embedded(settings), tickets=40)
    finally:
        pipeline.close()
    assert failed == []
    return told.getvalue()


def test_the_tour_and_what_it_says_to_try_next(place: Path) -> None:
    told = _tour()
    report = json.loads((place / "home" / "report.json").read_text())
    assert (report["first"]["ok"], report["second"]["ok"]) == (True, True)
    assert report["first"]["tables"][EDITED]["embeddings"]["added"] == 40
    for stage in STAGES:
        numbers = report["second"]["tables"][EDITED][stage]
        assert (numbers["added"], numbers["changed"], numbers["deleted"]) == (2, 3, 1)
        assert numbers["unchanged"] == 36
    assert report["second"]["tables"][EDITED]["embeddings"]["encoded"] == 5
    assert "exactly those 6 rows were touched" in told
    for asked in ("--hybrid --where status=open", "--like "):
        assert asked in told

    again = json.loads((place / "home" / "report.json").read_text())
    assert _tour().count("exactly those 6 rows") == 1
    second = json.loads((place / "home" / "report.json").read_text())
    assert second["edits"] != again["edits"]
    assert {numbers["added"] for table in second["first"]["tables"].values() for numbers in table.values()} == {0}

    _type(told.partition("What to try next")[2])


def _type(lines: str) -> None:
    """What is said to try next, typed line by line; `make` and `init`, which take long, are left out."""
    typed = 0
    for line in lines.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["export"]:
            name, _, value = words[1].partition("=")
            os.environ[name] = value  # the fixture puts it back
            assert Path(value).exists()
        elif words and words[0].endswith("vector-assets"):
            assert Path(words[0]).exists()
            result = CliRunner().invoke(app, words[1:], obj=StubEngines)
            assert result.exit_code == 0, (line, result.stderr)
            typed += 1
    assert typed == 3


def test_anything_beside_the_edits_is_a_surprise() -> None:
    right = {"added": 2, "changed": 3, "deleted": 1}
    done = {
        EDITED: TableResult(dict.fromkeys(STAGES, right)),
        "sample.crm.notes": TableResult(dict.fromkeys(STAGES, dict.fromkeys(right, 0))),
    }
    assert guide.surprises(done, EDITS, EDITED) == []
    done["sample.crm.notes"].stages["embeddings"] = right
    done[EDITED].stages = done[EDITED].stages | {"raw_tables": dict.fromkeys(right, 0)}
    surprises = guide.surprises(done, EDITS, EDITED)
    assert len(surprises) == 2
    assert "sample.crm.notes, embeddings" in surprises[1]


def test_a_search_is_shown_as_it_is_typed() -> None:
    search = guide.Search("SupportTickets", "what's new", hybrid=True, where=("priority>=3",))
    assert shlex.split(search.command)[2:] == ["SupportTickets", "what's new", "--hybrid", "--where", "priority>=3"]


def test_what_is_in_the_way_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    variables = os.environ | {"VECTOR_ASSETS_HOME": str(tmp_path / "file" / "home")}
    done = subprocess.run([sys.executable, "-m", "vector_assets.demo"], capture_output=True, text=True, env=variables)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "VECTOR_ASSETS_HOME" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_with_the_real_redactor_and_model_runs_twice(tmp_path: Path) -> None:
    variables = os.environ | {"VECTOR_ASSETS_HOME": str(tmp_path / "home")}
    for _ in range(2):
        done = subprocess.run([sys.executable, "-m", "vector_assets.demo"], cwd=tmp_path, capture_output=True, text=True, env=variables)
        assert done.returncode == 0, done.stderr
        assert "exactly those 6 rows were touched" in done.stdout
        assert "Traceback" not in done.stderr
