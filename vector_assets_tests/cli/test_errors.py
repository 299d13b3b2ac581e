"""Whatever is wrong with what was typed or written: one clear sentence on stderr, exit status 1, no traceback, nothing on stdout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(sys.executable).with_name("vector-assets")
COMMANDS = (["plan"], ["sync"], ["quarantine", "list"], ["doctor"])


def _replaced(project, old: str, new: str) -> None:
    text = project.sources.read_text()
    assert old in text
    project.sources.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("table: lake.support.tickets", "table: leak.support.tickets", "there is no catalog 'leak' (there are: lake)"),
        ("table: lake.support.tickets", "table: tickets", "'tickets' is not catalog.schema.table"),
        ("key: [id]\n", "key: [id, id]\n", "key names a column twice"),
        ("quality:", "qualty:", "qualty: no such setting; check the spelling"),
        ("collection: Tickets", "collection: tickets", "collection"),
        ('"{body}"', '"{body"', "lone '{'"),
        ('"{body}"', '"no column"', "text names no column"),
        ("{max_length: 100}", '{regex: "("}', "not a regular expression"),
        ("customer: hash", "customer: hsah", "customer"),
        ("status: keep", "status: keep, body: keep", None),
        ("lake.duckdb", '"${NOT_SET_ANYWHERE}"', "${NOT_SET_ANYWHERE}, which is not set"),
        ("catalogs:", "catalogs: [", "cannot be read as YAML"),
    ],
)
def test_sources_yaml(project, old: str, new: str, said: str | None) -> None:
    _replaced(project, old, new)
    answer = project.run("plan")
    if said is None:
        assert answer.status == 0
    else:
        assert said in answer.sentence
        assert answer.stdout == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("table: lake.support.tickets", "table: lake.support.tikets", "tikets"),
        ("key: [id]\n", "key: [ident]\n", "ident"),
        ('"{body}"', '"{body.__class__}"', "body.__class__"),
        ("customer: hash", "custommer: hash", "custommer"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "sync"])
def test_what_the_source_does_not_have(project, command: str, old: str, new: str, said: str) -> None:
    _replaced(project, old, new)
    if "ident" in new:
        _replaced(project, "id: keep, status", "ident: keep, status")
    assert said in project.run(command).sentence


def test_a_misspelt_setting(project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECTOR_ASSETS_TABLES_AT_ONE", "2")
    for command in COMMANDS:
        assert project.run(*command).sentence == (
            "error: VECTOR_ASSETS_TABLES_AT_ONE is not a setting: did you mean VECTOR_ASSETS_TABLES_AT_ONCE?"
        )


def test_a_setting_that_does_not_fit(project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECTOR_ASSETS_TABLES_AT_ONCE", "none")
    assert "VECTOR_ASSETS_TABLES_AT_ONCE" in project.run("plan").sentence


def test_no_sources_yaml(empty) -> None:
    for command in (["plan"], ["sync"], ["quarantine", "list"]):
        assert "there is no sources.yaml: `vector-assets init`" in empty.run(*command).sentence


def test_no_tables(project) -> None:
    project.sources.write_text("catalogs: {lake: {engine: duckdb, path: lake.duckdb}}\ntables: []\n")
    assert "add one under tables:" in project.run("sync").sentence


def test_no_secret_where_one_is_needed(project) -> None:
    (project.home / "secret").unlink()
    for command in ("sync", "plan"):
        sentence = project.run(command, "tickets").sentence
        assert "no secret" in sentence
        assert "vector-assets init" in sentence
        assert project.run(command, "daily").status == 0


def test_debug_shows_where_it_comes_from(empty) -> None:
    answer = empty.run("--debug", "sync")
    assert answer.status == 1
    assert "Traceback" in answer.stderr


def test_what_a_library_says_of_a_row_is_shown_to_nobody_but_who_debugs(project, monkeypatch: pytest.MonkeyPatch) -> None:
    def quoting(*_: object, **__: object) -> None:
        raise ValueError("could not convert 'ticket number 3' to double")

    project.run("sync")
    monkeypatch.setattr(project.stubs.encoder, "encode_query", quoting)
    answer = project.run("search", "Tickets", "x")
    assert "unexpected ValueError at vector_assets/search.py" in answer.sentence
    assert "ticket number 3" not in answer.stdout + answer.stderr
    with pytest.raises(AssertionError, match="ticket number 3"):  # as it is
        project.run("--debug", "search", "Tickets", "x")


# --- in a process of its own -------------------------------------------------------------------------------------------------------------


def _typed(project, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(TOOL), *arguments], cwd=project.folder, capture_output=True, text=True, env=os.environ | variables)


def test_help_answers_without_loading_what_commands_need() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); from vector_assets.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(time.perf_counter() - start, [m for m in ('numpy', 'pyarrow', 'pydantic', 'dagster', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    seconds, _, loaded = done.stdout.splitlines()[-1].partition(" ")
    assert loaded == "[]", done.stderr
    assert float(seconds) < 1
    assert "quarantine" in done.stdout


def test_the_installed_command_fails_in_one_line(empty) -> None:
    done = _typed(empty, "sync")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: there is no sources.yaml: `vector-assets init` writes a commented one\n"


def test_a_command_that_does_not_exist_is_a_usage_error(empty) -> None:
    done = _typed(empty, "snyc")
    assert done.returncode == 2
    assert "sync" in done.stderr


def test_a_reader_that_stops_reading_is_no_error(project) -> None:
    done = subprocess.run(f"{TOOL} quarantine list --json | true", cwd=project.folder, shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_while_waiting_ends_with_130(project) -> None:
    code = (
        "import sys\n"
        "from vector_assets.cli.app import app\n"
        "from vector_assets.cli import plan\n"
        "from vector_assets import planning\n"
        "def endless(*_):\n"
        "    print('at it', flush=True)\n"
        "    import threading\n"
        "    threading.Event().wait(60)\n"
        "    yield\n"
        "planning.plan_table = endless\n"
        "app(['plan', 'tickets'])\n"
    )
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], cwd=project.folder, text=True, **streams) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline() == "at it\n"
        run.send_signal(signal.SIGINT)
        assert "Ctrl-C again" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=30) == 130
