"""`search` and `resolve` over a synced project."""

from __future__ import annotations

import pytest

from vector_assets_tests.fakes import StubEncoder, model_version

HIT = ["id", "key", "table", "score", "text", "properties"]


@pytest.fixture
def synced(project):
    assert project.run("sync").status == 0
    return project


def test_searches_answer_a_list_of_hits(synced) -> None:
    hits = synced.run("search", "Tickets", "ticket number 3", "--limit", "2", "--json").json()
    assert [list(hit) for hit in hits] == [HIT] * 2
    assert (hits[0]["key"], hits[0]["table"], hits[0]["text"]) == ("3", "lake.support.tickets", "ticket number 3")
    assert hits[0]["score"] == pytest.approx(1, abs=1e-3)
    assert hits[0]["properties"]["status"] == "open"
    assert hits[0]["properties"]["customer"] != "ann"


def test_hybrid_filters_and_neighbours(synced) -> None:
    synced.sql("UPDATE support.tickets SET status = 'closed' WHERE id = 3")
    synced.run("sync")
    found = synced.run("search", "Tickets", "ticket number 3", "--hybrid", "--where", "status=open", "--where", "id<5", "--json").json()
    assert {hit["key"] for hit in found} == {"0", "1", "2", "4"}
    like = synced.run("search", "Tickets", "--like", "3", "--table", "lake.support.tickets", "--json").json()
    assert len(like) == 7
    assert "3" not in {hit["key"] for hit in like}


def test_people_get_a_table_and_nothing_found_is_no_error(synced) -> None:
    answer = synced.run("search", "Tickets", "ticket number 3")
    assert "ticket number 3" in answer.stdout
    assert "status=open" in answer.stdout
    nothing = synced.run("search", "Tickets", "x", "--where", "status=gone")
    assert (nothing.status, nothing.stdout, nothing.stderr) == (0, "", "nothing found: no row fulfils every --where\n")
    assert synced.run("search", "Tickets", "x", "--where", "status=gone", "--json").json() == []


def test_markup_in_a_text_is_text(project) -> None:
    project.sql("UPDATE support.tickets SET body = '[bold]not markup[/] [link=x]' WHERE id = 0")
    project.run("sync")
    assert "[bold]not markup[/] [link=x]" in project.run("search", "Tickets", "x", "--where", "id=0").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Tiket", "x"], "there is no collection Tiket; there are: Notes, Tickets"),
        (["Tickets"], "needs a query or the key of a row"),
        (["Tickets", "x", "--like", "1"], "not both"),
        (["Tickets", " "], "the query is empty"),
        (["Tickets", "--like", "99"], "no row of"),
        (["Tickets", "--like", "1", "--hybrid"], "hybrid search needs a query"),
        (["Tickets", "x", "--where", "colour=red"], "no property 'colour'; it has: "),
        (["Tickets", "x", "--where", "id=three"], "property"),
        (["Tickets", "x", "--where", "status"], "is not a condition: write COLUMN=VALUE"),
        (["Tickets", "x", "--limit", "0"], "limit is 0"),
    ],
)
def test_what_cannot_be_meant_is_said(synced, arguments: list[str], said: str) -> None:
    for form in ([], ["--json"]):
        answer = synced.run("search", *arguments, *form)
        assert said in answer.sentence
        assert answer.stdout == ""


def test_a_collection_answers_with_the_model_it_was_made_with(synced) -> None:
    synced.stubs.model = model_version("d2")  # promoted, not synced yet
    answer = synced.run("resolve", "Tickets", "--json").json()
    assert (answer["alias"], answer["model_digest"], answer["dimension"]) == ("Tickets", "d1", 8)
    assert answer["collection"].startswith("Tickets_")
    assert "model_digest" in synced.run("resolve", "Tickets").stdout
    assert "there are: Notes, Tickets" in synced.run("resolve", "Nothing").sentence


def test_an_encoder_of_another_dimension_is_refused(synced) -> None:
    synced.stubs.encoder = StubEncoder(dimension=4)
    assert "dimension 8" in synced.run("search", "Tickets", "x").sentence
