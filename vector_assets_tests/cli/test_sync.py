"""`sync` and `plan`: what they print for scripts, what they touch, and which tables they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from vector_assets.pipeline import STAGES
from vector_assets_tests.fakes import model_version

ROWS = {"added", "changed", "deleted", "unchanged", "rejected", "seconds"}
TICKETS, NOTES = "lake.support.tickets", "lake.notes.daily"


def _touched(stage: dict[str, int]) -> tuple[int, int, int]:
    return stage["added"], stage["changed"], stage["deleted"]


def test_sync_prints_one_object_and_a_second_sync_does_nothing(project) -> None:
    first = project.run("sync", "--json").json()
    assert first["ok"] is True
    assert set(first["tables"]) == {TICKETS, NOTES}
    for stages in first["tables"].values():
        assert list(stages) == list(STAGES)
        assert all(set(numbers) >= ROWS for numbers in stages.values())
        assert {"encoded", "reused", "tokens"} <= set(stages["embeddings"])
    assert [_touched(first["tables"][TICKETS][stage]) for stage in STAGES] == [(8, 0, 0)] * 5
    redacted, encoded = len(project.stubs.redactor.seen), len(project.stubs.encoder.seen)

    second = project.run("sync", "--json").json()
    assert [_touched(numbers) for stages in second["tables"].values() for numbers in stages.values()] == [(0, 0, 0)] * 10
    assert {"encoded": 0, "reused": 0, "tokens": 0}.items() <= second["tables"][TICKETS]["embeddings"].items()
    assert (len(project.stubs.redactor.seen), len(project.stubs.encoder.seen)) == (redacted, encoded)


def test_a_sync_is_recorded_where_the_ui_looks(project) -> None:
    import dagster as dg

    assert project.run("sync").status == 0
    with dg.DagsterInstance.from_config(str(project.home / "dagster")) as instance:
        for stage in STAGES:
            assert instance.get_materialized_partitions(dg.AssetKey(stage)) == {TICKETS, NOTES}
        assert set(instance.get_dynamic_partitions("tables")) == {TICKETS, NOTES}
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}


def test_plan_says_what_sync_then_does(project) -> None:
    assert project.run("sync").status == 0
    project.sql(
        "UPDATE support.tickets SET body = 'rewritten' WHERE id = 1",
        "DELETE FROM support.tickets WHERE id = 2",
        "INSERT INTO support.tickets VALUES (20, 'late', 'open', 'bob'), (21, 'later', 'open', 'bob')",
    )
    planned = project.run("plan", "--json").json()
    done = project.run("sync", "--json").json()
    for stage in STAGES:
        assert _touched(planned["tables"][TICKETS][stage]) == _touched(done["tables"][TICKETS][stage]) == (2, 1, 1)
        assert _touched(planned["tables"][NOTES][stage]) == (0, 0, 0)
    assert planned["tables"][TICKETS]["raw_tables"]["exact"] is True
    assert planned["tables"][TICKETS]["embeddings"]["exact"] is False
    assert planned["tables"][TICKETS]["embeddings"]["encoded"] == done["tables"][TICKETS]["embeddings"]["encoded"] == 3


def test_a_changed_property_is_planned_as_what_it_may_cost_and_costs_no_encoding(project) -> None:
    project.run("sync")
    project.sql("UPDATE support.tickets SET status = 'closed' WHERE id < 3")
    planned = project.run("plan", TICKETS, "--json").json()["tables"][TICKETS]
    assert [planned[stage]["changed"] for stage in STAGES] == [3] * 5
    done = project.run("sync", TICKETS, "--json").json()["tables"][TICKETS]
    assert [done[stage]["changed"] for stage in STAGES] == [3] * 5
    assert done["embeddings"]["encoded"] == 0


def test_rows_that_the_first_stage_rejected_are_not_planned_in_the_next(project) -> None:
    project.sql("INSERT INTO support.tickets VALUES (30, 'one', 'open', 'bob'), (30, 'other', 'open', 'bob')")
    project.run("sync")
    project.sql("UPDATE support.tickets SET body = 'rewritten' WHERE id = 1")
    planned = project.run("plan", TICKETS, "--json").json()["tables"][TICKETS]
    assert planned["raw_tables"]["rejected"] == 1
    assert [_touched(planned[stage]) for stage in STAGES] == [(0, 1, 0)] * 5


def test_plan_of_a_first_sync_is_exact_for_the_source_and_writes_nothing(project) -> None:
    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in project.home.rglob("*")}

    before = state()
    planned = project.run("plan", "--json").json()
    assert planned["ok"] is True
    assert [_touched(planned["tables"][TICKETS][stage]) for stage in STAGES] == [(8, 0, 0)] * 5
    assert planned["tables"][TICKETS]["embeddings"]["tokens"] > 0
    assert state() == before
    project.run("sync")
    before = state()
    project.sql("DELETE FROM support.tickets WHERE id = 0")
    assert project.run("plan").status == 0
    assert state() == before
    assert project.stubs.encoder.seen.count("ticket number 1") == 1


def test_plan_says_when_there_is_nothing_to_do(project) -> None:
    project.run("sync")
    assert project.run("plan").stderr.strip() == "nothing to do"


def test_plan_is_exact_from_the_first_stage_on_that_has_work_left(project) -> None:
    project.run("sync")
    project.sql("UPDATE support.tickets SET body = 'rewritten' WHERE id = 1")
    project.stubs.model = None
    assert project.run("sync", TICKETS).status == 1  # published up to redacted_text
    project.stubs.model = model_version()
    planned = project.run("plan", TICKETS, "--json").json()["tables"][TICKETS]
    assert [planned[stage]["changed"] for stage in STAGES] == [0, 0, 0, 1, 1]
    assert [planned[stage]["exact"] for stage in STAGES] == [True, True, True, True, False]
    assert planned["embeddings"]["encoded"] == 1


def test_a_new_model_is_planned_as_everything_to_encode(project) -> None:
    project.run("sync")
    project.stubs.model = model_version("d2")
    planned = project.run("plan", TICKETS, "--json").json()["tables"][TICKETS]
    assert [planned[stage]["added"] for stage in STAGES] == [0, 0, 0, 8, 8]
    assert planned["embeddings"]["encoded"] == 8


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["lake.support.tickets"], {TICKETS}),
        (["tickets"], {TICKETS}),
        (["support.tickets", "notes.*"], {TICKETS, NOTES}),
        (["*"], {TICKETS, NOTES}),
        (["lake.*.daily"], {NOTES}),
    ],
)
def test_tables_are_meant_by_key_name_end_or_pattern(project, typed: list[str], meant: set[str]) -> None:
    assert set(project.run("plan", *typed, "--json").json()["tables"]) == meant


def test_a_table_that_means_nothing_is_an_error_with_what_is_close(project) -> None:
    assert "did you mean tickets?" in project.run("sync", "tickts").sentence
    assert "there are: lake.notes.daily, lake.support.tickets" in project.run("plan", "x.*").sentence
    project.sql("CREATE SCHEMA more", "CREATE TABLE notes.tickets AS FROM support.tickets")
    assert "could be lake.notes.tickets or lake.support.tickets" in project.run("sync", "tickets").sentence


def test_names_with_dots_quotes_and_blanks_are_meant_as_they_are(project) -> None:
    project.sql('CREATE TABLE notes."a.b ""c"" ünï" AS FROM notes.daily')
    key = "lake.notes.a%2Eb%20%22c%22%20%C3%BCn%C3%AF"
    assert set(project.run("plan", key, "--json").json()["tables"]) == {key}
    assert set(project.run("plan", 'lake.notes.a.b "c" ünï', "--json").json()["tables"]) == {key}


def test_people_get_a_table_and_progress_apart_from_it(project) -> None:
    answer = project.run("sync")
    lines = answer.stdout.splitlines()
    assert lines[0].split() == ["added", "changed", "deleted", "unchanged", "rejected", "seconds"]
    assert NOTES in lines
    assert max(map(len, lines)) <= 80
    assert f"✓ {TICKETS}: 8 added" in answer.stderr


# --- failures ----------------------------------------------------------------------------------------------------------------------------


def test_one_failing_table_leaves_the_others_alone_and_the_status_is_1(project) -> None:
    project.sql("ALTER TABLE support.tickets DROP COLUMN body")
    answer = project.run("sync", "--json")
    tables = answer.json()["tables"]
    assert answer.json()["ok"] is False
    assert "body" in tables[TICKETS]["error"]
    assert list(tables[NOTES]) == list(STAGES)
    assert TICKETS in answer.sentence


def test_what_was_done_before_a_failure_is_in_the_answer(project) -> None:
    project.stubs.model = None
    for command in ("plan", "sync"):
        answer = project.run(command, TICKETS, "--json").json()
        assert list(answer["tables"][TICKETS]) == [*STAGES[:3], "error"]
        assert "models promote" in answer["tables"][TICKETS]["error"]


def test_a_table_that_only_sources_yaml_knows_fails_by_name(project) -> None:
    project.sources.write_text(project.sources.read_text().replace("lake.support.tickets", "lake.support.tikets"))
    answer = project.run("sync", "--json")
    assert set(answer.json()["tables"]) == {"lake.support.tikets", NOTES}
    assert "tikets" in answer.sentence


def test_a_catalog_that_does_not_answer_fails_what_needs_it(project) -> None:
    project.lake.unlink()
    answer = project.run("sync", "--json")
    assert answer.json()["ok"] is False
    assert "lake.duckdb" in answer.json()["error"]
    assert answer.status == 1


def test_deletes_beyond_the_brake_are_planned_refused_and_let_through_once_approved(project) -> None:
    project.run("sync")
    project.sql("DELETE FROM support.tickets")
    planned = project.run("plan", TICKETS, "--json").json()["tables"][TICKETS]
    assert planned["raw_tables"]["deleted"] == 8
    answer = project.run("sync", TICKETS)
    assert planned["error"] in answer.sentence
    approval = answer.sentence.split("--approve-deletes ")[1].split()[0]
    assert "exactly one TABLE" in project.run("sync", "--approve-deletes", approval).sentence
    assert "exactly one TABLE" in project.run("sync", "*", "--approve-deletes", approval).sentence
    assert "VERSION:COUNT" in project.run("sync", TICKETS, "--approve-deletes", "8").sentence
    assert "8 of 8" in project.run("sync", TICKETS, "--approve-deletes", "another:8").sentence
    done = project.run("sync", TICKETS, "--json", "--approve-deletes", approval).json()["tables"][TICKETS]
    assert [done[stage]["deleted"] for stage in STAGES] == [8] * 5


def test_the_object_is_printed_also_where_the_command_fails_as_a_whole(empty) -> None:
    for command in ("sync", "plan"):
        answer = empty.run(command, "--json")
        assert answer.json() == {"ok": False, "tables": {}, "error": answer.sentence.removeprefix("error: ")}


def test_ctrl_c_stops_cleanly_and_the_next_sync_goes_on(project, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(texts: object) -> list[str | Exception]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(project.stubs.redactor, "redact", pressed)
        answer = project.run("sync", TICKETS, "--json")
    assert answer.status == 130
    assert answer.json()["tables"][TICKETS]["error"] == "stopped by Ctrl-C"
    assert "Traceback" not in answer.stderr
    assert project.run("sync", TICKETS).status == 0


def test_a_bug_shows_its_traceback_and_no_values(project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(texts: object) -> list[str | Exception]:
        raise TypeError("ticket number 3")

    monkeypatch.setattr(project.stubs.redactor, "redact", broken)
    answer = project.run("sync", "--json")
    assert "unexpected TypeError at vector_assets/redacted/" in answer.json()["tables"][TICKETS]["error"]
    assert "redacted/stage.py" in answer.stderr
    assert "ticket number 3" not in answer.stdout + answer.stderr
