"""`init`, `doctor`, `quarantine` and `models`."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
import yaml
from pyarrow import parquet

from vector_assets import initial
from vector_assets.catalogs import TrinoCatalog
from vector_assets.pipeline import STAGES
from vector_assets.settings import Settings
from vector_assets.sources_file import load_sources
from vector_assets_tests.fakes import model_version

# --- init --------------------------------------------------------------------------------------------------------------------------------


def test_the_template_and_all_its_examples_are_valid(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    assert initial.make_sources(path)
    assert load_sources(path, {}).tables == ()
    lines = re.sub(r"^#(?=\S|  )", "", path.read_text(), flags=re.MULTILINE).splitlines()
    examples = [line for line in lines if not line.startswith("#") and line != "tables: []"]
    path.write_text("\n".join(examples).replace("  - table:", "tables:\n  - table:"))
    sources = load_sources(path, {})
    (table,) = sources.tables
    assert set(yaml.safe_load(path.read_text())) == {"catalogs", "collections", "notifications", "redaction", "tables"}
    assert (table.table, table.redaction, set(sources.catalogs)) == ("lake.support.tickets", "strict", {"lake", "warehouse"})
    warehouse = sources.catalogs["warehouse"]
    assert isinstance(warehouse, TrinoCatalog)
    assert warehouse.encrypted
    assert sources.collection("SupportTickets").replication == 3


def test_init_makes_what_is_missing_once(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    initial.make_home(settings.home)
    secret = initial.make_secret(settings)
    assert secret is not None
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(settings.secret_bytes()) >= 32
    before = secret.read_bytes()
    assert initial.make_secret(settings) is None
    assert secret.read_bytes() == before
    assert initial.make_secret(Settings(home=tmp_path / "other", secret="x" * 32)) is None
    assert not (tmp_path / "other").exists()
    assert (settings.home / ".gitignore").read_text().endswith("*\n")


def test_init_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text("mine")
    assert initial.make_sources(path) is False
    assert path.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_said(empty) -> None:
    (empty.folder / "file").write_text("in the way")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VECTOR_ASSETS_HOME", str(empty.folder / "file" / "home"))
        assert "cannot be written" in empty.run("init").sentence


def _artifact(folder: Path) -> Path:
    """The files of a model too small to run."""
    files = {
        "model.safetensors": "weights",
        "config.json": json.dumps({"hidden_size": 3}),
        "modules.json": json.dumps([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]),
    }
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def test_from_init_to_another_champion(empty) -> None:
    answer = empty.run("init")
    assert answer.status == 0
    assert "sources.yaml: say there what to sync" in answer.stderr
    assert "serves now" in answer.stderr
    assert (empty.folder / "sources.yaml").exists()
    again = empty.run("init")
    assert "is there already and stays" in again.stderr
    assert "the registered models stay as they are" in again.stderr

    registered = empty.run("models", "register", str(_artifact(empty.folder / "mine")), "--description", "mine")
    assert "vector-assets models promote 2" in registered.stderr
    assert [(one["version"], one["aliases"]) for one in empty.run("models", "list", "--json").json()] == [("2", []), ("1", ["champion"])]
    assert "champion is version 2 now" in empty.run("models", "promote", "2").stderr
    assert "mine" in empty.run("models", "list").stdout
    assert "challenger is version 1 now" in empty.run("models", "promote", "1", "--alias", "challenger").stderr
    assert "has no version '9' (there are: 2, 1)" in empty.run("models", "promote", "9").sentence
    assert str(empty.folder / "nothing") in empty.run("models", "register", str(empty.folder / "nothing")).sentence


def test_a_model_that_was_tampered_with_is_not_loaded(project) -> None:
    project.run("models", "register", str(_artifact(project.folder / "mine")), real=True)
    project.run("models", "promote", "1", real=True)
    (weights,) = (project.home / "models").glob("*/model.safetensors")
    weights.chmod(0o644)
    weights.write_text("tampered")
    assert "model.safetensors" in project.run("plan", "daily", real=True).sentence


def test_an_artifact_that_is_none_is_refused(project) -> None:
    folder = _artifact(project.folder / "broken")
    (folder / "modules.json").write_text("{not json")
    assert "modules.json" in project.run("models", "register", str(folder)).sentence
    pickled = _artifact(project.folder / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "safetensors" in project.run("models", "register", str(pickled)).sentence


# --- doctor ------------------------------------------------------------------------------------------------------------------------------


def _lines(stdout: str) -> dict[str, str]:
    return {line[2:].partition(": ")[0]: line for line in stdout.splitlines()}


def test_doctor_says_that_all_is_well(project) -> None:
    answer = project.run("doctor")
    lines = _lines(answer.stdout)
    assert answer.status == 0, answer.stdout
    assert all(line.startswith("✓") for line in lines.values())
    checked = {"settings", "sources", "secret", "catalog lake", "tables", "model", "storage", "private storage", "index", "dagster"}
    assert set(lines) == {*checked, "redaction default", "device"}


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("sources", "vector-assets init"),
        ("secret", "chmod 600"),
        ("catalog lake", "lake.duckdb"),
        ("table lake.support.tickets", "'body'"),
        ("model", "models promote"),
        ("storage", "check the storage root"),
    ],
)
def test_doctor_says_what_is_wrong_and_how_to_mend_it(project, monkeypatch: pytest.MonkeyPatch, check: str, said: str) -> None:
    match check:
        case "sources":
            project.sources.unlink()
        case "secret":
            (project.home / "secret").chmod(0o644)
        case "catalog lake":
            project.lake.unlink()
        case "table lake.support.tickets":
            project.sql("ALTER TABLE support.tickets DROP COLUMN body")
        case "model":
            project.stubs.model = None
        case "storage":
            (project.folder / "file").write_text("in the way")
            monkeypatch.setenv("VECTOR_ASSETS_STORAGE", str(project.folder / "file"))
    answer = project.run("doctor")
    line = _lines(answer.stdout)[check]
    assert answer.status == 1
    assert line.startswith("✗")
    assert said in line
    assert "Traceback" not in answer.stderr


def test_doctor_remarks_on_a_dagster_yaml_of_ones_own(project) -> None:
    (project.home / "dagster").mkdir()
    (project.home / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    answer = project.run("doctor")
    assert _lines(answer.stdout)["dagster"].startswith("!")
    assert answer.status == 0


# --- quarantine --------------------------------------------------------------------------------------------------------------------------


def test_quarantine_lists_rejected_rows_without_their_values(project) -> None:
    assert project.run("quarantine", "list").stderr == "no row is rejected\n"
    project.sql(
        f"INSERT INTO support.tickets VALUES (100, '{'far too long ' * 20}', 'open', 'ann')",
        "INSERT INTO support.tickets VALUES (NULL, 'no key', 'open', 'ann')",
    )
    assert project.run("sync").status == 0
    rows = project.run("quarantine", "list", "--json").json()
    assert {(row["table"], row["stage"]) for row in rows} == {
        ("lake.support.tickets", "raw_tables"),
        ("lake.support.tickets", "cleaned_frames"),
    }
    columns = {"table", "stage", "row_id", "reason", "attempts", "first_seen", "last_seen", "stale", "published"}
    assert all(set(row) == columns for row in rows)
    assert all(re.fullmatch("[0-9a-f]{32}", row["row_id"]) and row["attempts"] == 1 for row in rows)
    shown = project.run("quarantine", "list", "tickets").stdout
    assert "a key column is NULL" in shown
    for text in (json.dumps(rows), shown):
        assert "far too long" not in text
    assert project.run("quarantine", "list", "daily", "--json").json() == []


def _refused(project) -> str:
    """The id of a row that redaction refused, and would take by now."""
    project.stubs.redactor.failing = "number 3"
    assert project.run("sync").status == 0
    project.stubs.redactor.failing = None
    (row,) = project.run("quarantine", "list", "tickets", "--json").json()
    return str(row["row_id"])


def test_quarantine_shows_a_row_and_its_values_only_where_they_are_asked_for(project) -> None:
    row_id = _refused(project)
    shown = project.run("quarantine", "show", "tickets", row_id)
    assert "id = 3" in shown.stdout
    assert re.search(r"redacted_text +rejected\n +text could not be redacted \(ValueError\); 1 attempt, ", shown.stdout)
    assert "ticket number" not in shown.stdout + shown.stderr
    told = project.run("quarantine", "show", "tickets", row_id, "--json").json()
    assert (told["key"], told["row_id"], "values" in told) == ({"id": "3"}, row_id, False)
    assert [stage["state"] for stage in told["stages"]] == ["ok", "ok", "rejected"]
    asked = project.run("quarantine", "show", "tickets", row_id, "--values")
    assert "  body: ticket number 3" in asked.stdout
    assert "unmasked" in asked.stderr
    assert project.run("quarantine", "show", "tickets", row_id, "--values", "--json").json()["values"]["customer"] == "ann"
    assert "has no row" in project.run("quarantine", "show", "tickets", "0" * 32).sentence
    assert "32 hex digits" in project.run("quarantine", "show", "tickets", "3").sentence
    assert "name the one that has the row" in project.run("quarantine", "show", "lake.*.*", row_id).sentence


def test_quarantine_is_exported_without_values(project) -> None:
    row_id = _refused(project)
    for name in ("rows.csv", "rows.jsonl", "rows.parquet"):
        assert project.run("quarantine", "export", "tickets", "--to", name).stderr == f"1 rows written to {name}\n"
    (line,) = map(json.loads, (project.folder / "rows.jsonl").read_text().splitlines())
    assert (line["row_id"], line["stage"], line["published"]) == (row_id, "redacted_text", True)
    (stored,) = parquet.read_table(project.folder / "rows.parquet").to_pylist()
    assert (stored["row_id"], stored["attempts"]) == (row_id, 1)
    header, text = (project.folder / "rows.csv").read_text().splitlines()
    assert header.replace('"', "").split(",") == list(line)
    assert row_id in text
    assert "ticket number" not in text
    assert "ends in .csv" in project.run("quarantine", "export", "--to", "rows.xls").sentence
    assert "cannot write" in project.run("quarantine", "export", "--to", "no/such/rows.csv").sentence


def test_quarantine_replays_and_only_what_was_rejected(project) -> None:
    row_id = _refused(project)
    seen = len(project.stubs.redactor.seen)
    assert "is not rejected" in project.run("quarantine", "replay", "tickets", "0" * 32).sentence
    answer = project.run("quarantine", "replay", "tickets", row_id, "--json").json()
    stages = answer["tables"]["lake.support.tickets"]
    assert [stages[stage]["changed"] + stages[stage]["added"] for stage in STAGES[2:]] == [1] * 3
    assert project.stubs.redactor.seen[seen:].count("ticket number 3") == 1
    assert len(project.stubs.redactor.seen) == seen + 1
    assert project.run("quarantine", "replay").stderr == "no row is rejected\n"


# --- promote -----------------------------------------------------------------------------------------------------------------------------


def test_promote_says_what_moved_and_what_still_waits(project) -> None:
    class Promoting:
        def promote(self, version: str, alias: str) -> object:
            project.stubs.model = model_version(f"d{version}")
            return project.stubs.model

    project.stubs.registry = Promoting()
    assert "Tickets: no table of it was synced yet" in project.run("models", "promote", "1").stderr
    project.run("sync")
    assert "Tickets: Tickets_" in project.run("models", "promote", "1").stderr
    waiting = project.run("models", "promote", "2").stderr
    assert "searches stay with Tickets_" in waiting
    assert "lake.support.tickets (vector-assets sync)" in waiting
    assert project.run("sync").status == 0
    moved = project.run("models", "promote", "1").stderr  # rolled back
    assert "Tickets: searches go to Tickets_" in moved
