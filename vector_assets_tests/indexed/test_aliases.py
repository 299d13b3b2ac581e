"""The alias function: a truth table, and that it may be called at any time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vector_assets.indexed.aliases import AliasMove, settle_alias
from vector_assets.indexed.index import VectorIndex


@pytest.fixture
def generations(index: VectorIndex, make_schema: Any) -> tuple[str, str]:
    names = ("Tickets_old", "Tickets_new")
    for name in names:
        index.ensure(make_schema(name=name))
    return names


@pytest.mark.parametrize(
    ("published", "name", "waiting", "moves"),
    [
        ({"t1": True, "t2": True}, "Tickets_new", (), True),
        ({"t2": False, "t1": False}, "Tickets_new", ("t1", "t2"), False),
        ({"t1": True, "t2": False}, "Tickets_new", ("t2",), False),
        ({}, "Tickets_new", (), False),
        ({"t1": True}, "Tickets_gone", ("t1",), False),
        ({"t1": True}, "Tickets_old", (), False),
    ],
)
@pytest.mark.usefixtures("generations")
def test_truth_table(index: VectorIndex, published: dict[str, bool], name: str, waiting: tuple[str, ...], moves: bool) -> None:
    index.point("Tickets", "Tickets_old")
    for attempt in range(2):
        move = settle_alias(index, alias="Tickets", name=name, published=published)
        after = name if moves else "Tickets_old"
        assert move == AliasMove("Tickets", "Tickets_old" if attempt == 0 else after, after, waiting)
        assert move.moved == (moves and attempt == 0)
        assert index.resolve("Tickets") == after


@pytest.mark.usefixtures("generations")
def test_the_first_alias_appears_only_when_its_tables_are_there(index: VectorIndex) -> None:
    assert settle_alias(index, alias="Tickets", name="Tickets_new", published={"t": False}) == ("Tickets", None, None, ("t",))
    assert index.resolve("Tickets") is None
    assert settle_alias(index, alias="Tickets", name="Tickets_new", published={"t": True}) == ("Tickets", None, "Tickets_new", ())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.dictionaries(st.sampled_from("abc"), st.booleans())), max_size=6))
def test_the_alias_depends_on_the_last_complete_state_alone(
    index: VectorIndex, generations: tuple[str, str], states: list[tuple[bool, dict[str, bool]]]
) -> None:
    expected = index.resolve("Tickets")
    for newer, published in states:
        name = generations[newer]
        settle_alias(index, alias="Tickets", name=name, published=published)
        expected = name if published and all(published.values()) else expected
        assert index.resolve("Tickets") == expected
