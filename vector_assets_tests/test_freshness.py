"""Freshness, the pure part: since when a table is outdated, what is said of it and how often, and what is remembered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.checks.judge import Bounds, Judge, Thresholds
from vector_assets.freshness import MOST_REMEMBERED, REPEAT_SECONDS, Looked, Memory, Seen, judged, news, outcome, seen_now
from vector_assets.raw.source import SourceVersion
from vector_assets.reconcile.run import look_at
from vector_assets.reconcile.view import State
from vector_assets.tables import TableRef

HOUR = 3600
START = 1_800_000_000


def exact(token: str) -> SourceVersion:
    return SourceVersion(token, exact=True)


def published(token: str, *, looked_at: int = START) -> State:
    return State({}, token, sequence=looked_at * 1000)


# --- pure --------------------------------------------------------------------------------------------------------------------------------


def test_a_table_is_outdated_since_another_version_was_first_seen() -> None:
    fresh = seen_now(None, Looked(exact("1"), published("1")), START)
    assert fresh.since == 0
    late = seen_now(fresh, Looked(exact("2"), published("1")), START + HOUR)
    later = seen_now(late, Looked(exact("3"), published("1")), START + 3 * HOUR)
    assert (late.since, later.since) == (START + HOUR, START + HOUR)
    caught_up_half = seen_now(later, Looked(exact("3"), published("2")), START + 4 * HOUR)
    assert caught_up_half.since == START + 3 * HOUR  # version 3 was first seen then
    assert seen_now(caught_up_half, Looked(exact("3"), published("3")), START + 5 * HOUR).since == 0


def test_what_was_never_published_is_outdated_since_it_was_seen() -> None:
    seen = seen_now(None, Looked(exact("1"), None), START)
    again = seen_now(seen, Looked(exact("2"), None), START + HOUR)
    assert again.since == START
    result = judged(Judge(), again, Looked(exact("2"), None), START + 25 * HOUR)
    assert (result.passed, result.blocks) == (False, False)
    assert "nothing of it can be searched yet; first seen 25.0 h ago" in result.said


def test_a_new_token_of_a_table_without_versions_is_no_change() -> None:
    looked = Looked(SourceVersion(look_at(START), exact=False), published(look_at(START - 2 * HOUR), looked_at=START - 2 * HOUR))
    seen = seen_now(None, looked, START)
    assert seen.since == START - 2 * HOUR  # the last sync that looked
    result = judged(Judge(), seen, looked, START)
    assert result.passed
    assert "no exact versions; its rows were last looked at 2.0 h ago" in result.said
    same_file = Looked(SourceVersion("12-34", exact=False), published("12-34", looked_at=START - 900 * HOUR))
    assert seen_now(seen, same_file, START).since == 0


@pytest.mark.parametrize(
    ("bounds", "hours", "expected"),
    [
        (None, 23.9, "lags"),
        (None, 24, "warned"),
        (Bounds(1, None), 1, "warned"),
        (Bounds(1, 48), 48, "blocked"),
        (Bounds(None, None), 9_999, "lags"),
    ],
)
def test_hours_are_judged_by_the_tables_thresholds(bounds: Bounds | None, hours: float, expected: str) -> None:
    judge = Judge(Thresholds({"freshness": bounds} if bounds else {}))
    seen = Seen("v", START, "p", START)
    result = judged(judge, seen, Looked(exact("2"), published("1")), START + int(hours * HOUR))
    assert outcome(seen, result) == expected
    assert result.figures["value"] == hours


def test_news_are_changes_and_hours() -> None:
    said = Seen(outcome="warned", said=START)
    assert news(None, "fresh", START)
    assert not news(said, "warned", START + REPEAT_SECONDS - 1)
    assert news(said, "warned", START + REPEAT_SECONDS)
    assert news(said, "blocked", START + 1)
    assert news(said, "fresh", START + 1)
    fresh = Seen(outcome="fresh", said=START)
    assert not news(fresh, "fresh", START + 99 * HOUR)
    assert not news(fresh, "lags", START + 60)  # a table that changes every minute
    assert news(fresh, "lags", START + REPEAT_SECONDS)


SEEN = st.builds(
    Seen,
    version=st.text("abc", max_size=3),
    first=st.integers(0, START),
    published=st.text("abc", max_size=3),
    since=st.integers(0, START),
    outcome=st.sampled_from(["fresh", "lags", "warned", "blocked"]),
    said=st.integers(0, START),
)


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=4), SEEN), st.text(max_size=5))
def test_a_cursor_holds_what_matters_of_it(tables: dict[str, Seen], after: str) -> None:
    memory = Memory.of_cursor(Memory(after, tables).cursor(START + 2 * HOUR))
    assert memory.after == after
    for key, seen in tables.items():
        kept = memory.tables[key]
        assert (kept.version, kept.published, kept.since, kept.outcome) == (seen.version, seen.published, seen.since, seen.outcome)


@pytest.mark.parametrize(
    "cursor", [None, "", "7", "[]", "{", '{"tables": 7}', '{"tables": {"a": [1,2,3,4,5,6,7,8]}}', '{"tables": {"a": 1}}']
)
def test_a_cursor_that_is_none_of_ours_is_begun_anew(cursor: str | None) -> None:
    assert Memory.of_cursor(cursor).tables == {}


def test_a_cursor_stays_small() -> None:
    refs = [TableRef("lake", "schema", f"table_{number}") for number in range(MOST_REMEMBERED + 100)]
    memory = Memory()
    for ref in refs:
        memory.note(ref, Seen("12345678", START, "12345678", 0, "fresh", START))
    assert len(memory.tables) == MOST_REMEMBERED
    assert len(memory.cursor(START + 2 * HOUR)) < 120_000


def test_where_there_is_no_room_tables_that_lag_come_first() -> None:
    memory = Memory(tables={f"{number:08}": Seen(outcome="fresh") for number in range(MOST_REMEMBERED)})
    ref = TableRef("lake", "s", "t")
    assert not memory.note(ref, Seen(outcome="fresh"))
    assert memory.note(ref, Seen(since=START))
    assert len(memory.tables) == MOST_REMEMBERED
