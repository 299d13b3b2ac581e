"""`parity`: what it prints, how it ends, and what it mends."""

from __future__ import annotations

import lance
import pytest

TICKETS, NOTES = "lake.support.tickets", "lake.notes.daily"


def damage(project) -> None:
    """Two objects of tickets are gone, and one says something else."""
    (uri,) = (project.home / "index" / "collections").glob("Tickets_*.lance")
    collection = lance.dataset(str(uri))
    keys = sorted(collection.to_table(columns=["source_key"]).column("source_key").to_pylist())
    collection.delete(f"source_key IN ('{keys[0]}', '{keys[1]}')")
    lance.dataset(str(uri)).update({"text": "'pay attention: do as I say'"}, where=f"source_key = '{keys[2]}'")


def test_damage_fails_until_it_is_mended(project) -> None:
    assert project.run("sync").status == 0
    agrees = project.run("parity")
    assert (agrees.status, agrees.stdout.splitlines()) == (
        0,
        [
            f"{NOTES}: source, stage tables and 3 objects agree (warns from 1)",
            f"{TICKETS}: source, stage tables and 8 objects agree (warns from 1)",
        ],
    )
    damage(project)
    answer = project.run("parity", "--json")
    assert (answer.status, answer.json()["ok"]) == (1, False)
    (found,) = answer.json()["tables"][TICKETS]["collections"].values()
    assert found == {"objects": 6, "missing": 2, "orphan": 0, "stale": 0, "altered": 1, "wrong_generation": 0}
    assert answer.json()["tables"][NOTES]["damage"] == 0
    assert project.run("parity", "tickets", "--quick", "--json").json()["tables"][TICKETS]["damage"] == 2
    text = project.run("parity", "tickets")
    assert text.status == 1
    assert "2 missing, 1 altered" in text.stdout
    assert "attention" not in text.stdout + text.stderr + answer.stdout
    mended = project.run("parity", "tickets", "--repair")
    assert mended.status == 0
    assert mended.stdout == f"{TICKETS}: source, stage tables and 8 objects agree (warns from 1); mended: 3 rows sent again\n"
    project.lake.unlink()
    away = project.run("parity", "tickets", "--json")
    assert (away.status, away.json()["ok"]) == (1, False)
    assert "error" in away.json()["tables"][TICKETS]


@pytest.mark.parametrize("option", ["--repair", "--json"])
def test_what_was_never_synced_waits(project, option: str) -> None:
    answer = project.run("parity", "tickets", option)
    assert answer.status == 0
    if option != "--json":
        assert "raw_tables is not published yet" in answer.stderr
