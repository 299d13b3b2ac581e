"""The live demo: its tables are those of the embedded one, its secrets stay with their owner, and it leaves nothing running."""

import contextlib
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vector_assets.catalogs import TrinoCatalog
from vector_assets.demo import guide, live
from vector_assets.demo.servers.install import Installed
from vector_assets.demo.trino_lakehouse import CATALOGS, TrinoLakehouse
from vector_assets.errors import ConfigurationError, StorageError
from vector_assets.pipeline import STAGES
from vector_assets.sources_file import load_sources
from vector_assets.tables import Sources
from vector_assets_tests.live.fixtures import CACHE

TICKETS = 40


def test_tables_are_those_of_the_embedded_demo(tmp_path: Path) -> None:
    def described(sources: Sources) -> list[tuple[str, object]]:
        return [(spec.table.partition(".")[2], spec.model_dump(exclude={"table"})) for spec in sources.tables]

    there = load_sources(live.SOURCES, {"DEMO_TRINO_PORT": "8080"})
    here = load_sources(guide.SOURCES, {"VECTOR_ASSETS_HOME": str(tmp_path)})
    assert described(there) == described(here)
    assert (there.collections, there.redaction) == (here.collections, here.redaction)
    for spec in there.tables:
        catalog, _, table = spec.table.partition(".")
        named = there.catalogs[catalog]
        assert isinstance(named, TrinoCatalog)
        assert (named.catalog, named.port, named.user) == (CATALOGS[table], 8080, "reader")
    assert TrinoLakehouse.edited in {spec.table for spec in there.tables}


def test_exports_are_for_their_owner_and_gone_with_the_servers(tmp_path: Path) -> None:
    path, hostile = tmp_path / "live.env", "a'b\"$HOME `id`"
    path.touch(mode=0o644)
    with live._exported(path, {"WEAVIATE_API_KEY": hostile}) as file:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        command = f'source {file} && printf "%s|%s" "$WEAVIATE_API_KEY" "$WEAVIATE_API_KEY_FILE"'
        sourced = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env={"WEAVIATE_API_KEY_FILE": "other"})
        assert sourced.stdout == f"{hostile}|"
    assert not path.exists()
    with pytest.raises(StorageError, match="none"), live._exported(tmp_path / "none" / "live.env", {}):
        pass


def test_a_second_one_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with live._alone(tmp_path), pytest.raises(ConfigurationError, match="runs already"), live._alone(tmp_path):
        pass
    with live._alone(tmp_path):
        pass


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_live_demo_runs_twice(servers: Installed, tmp_path: Path) -> None:
    """From an empty home; what the second finds is what the first left."""
    variables = os.environ | {"VECTOR_ASSETS_HOME": str(tmp_path / "home"), "VECTOR_ASSETS_SERVERS": str(CACHE)}
    command = [sys.executable, "-m", "vector_assets.demo", "--live", "--tickets", str(TICKETS)]
    reports = []
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=variables)
        assert done.returncode == 0, done.stderr
        assert "exactly those 6 rows were touched" in done.stdout
        assert "Traceback" not in done.stderr
        assert re.search(r"API_KEY|password", done.stdout + done.stderr) is None
        reports.append(json.loads((tmp_path / "home" / "live" / "report.json").read_text()))
    for report in reports:
        for stage in STAGES:
            numbers = report["second"]["tables"][TrinoLakehouse.edited][stage]
            assert (numbers["added"], numbers["changed"], numbers["deleted"]) == (2, 3, 1)
        assert report["second"]["tables"][TrinoLakehouse.edited]["embeddings"]["encoded"] == 5
    first, again = (report["first"]["tables"] for report in reports)
    assert first[TrinoLakehouse.edited]["weaviate_collections"]["added"] == TICKETS
    assert {numbers[name] for table in again.values() for numbers in table.values() for name in ("added", "changed", "deleted")} == {0}
    assert reports[0]["edits"] != reports[1]["edits"]
    assert not (tmp_path / "home" / "live" / "live.env").exists()
    assert _still_running(tmp_path) == ""


def _still_running(folder: Path) -> str:
    """Command lines that name the folder, as that of the process that holds the servers does: it ends after them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended just now
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return "\n".join(line for line in found if str(folder) in line)
