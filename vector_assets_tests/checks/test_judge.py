"""From figures to results: who is judged, against what, and what is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.checks.judge import ROWS, Bounds, Judge, Thresholds
from vector_assets.checks.statistics import Statistics


def history(*values: float, name: str = "null_share.body") -> list[Statistics]:
    return [Statistics({name: value}) for value in values]


def judged(now: float, *before: float, rows: int = 1000, **thresholds: object) -> tuple[bool, bool]:
    """Whether the share of NULLs passes, and whether it blocks."""
    judge = Judge(Thresholds(**thresholds), history(*before))  # type: ignore[arg-type]
    result = judge.deviation("null_shares", {"null_share.body": now}, rows=rows)
    return result.passed, result.blocks


def test_thresholds_and_the_floor() -> None:
    before = [0.01, 0.012, 0.008, 0.011, 0.009]
    assert judged(0.06, *before) == (True, False)  # 2.5 floors
    assert judged(0.09, *before) == (False, False)
    assert judged(0.20, *before) == (False, True)
    assert judged(0.20, *before, overrides={"null_shares": Bounds(None, None)}) == (True, False)
    assert judged(0.09, *before, overrides={"null_shares": Bounds(None, 2)}) == (False, True)


@given(st.floats(0, 1), st.lists(st.floats(0, 1), max_size=4))
def test_warming_up_says_nothing(now: float, before: list[float]) -> None:
    assert judged(now, *before) == (True, False)
    shift = Judge(history=[Statistics({}, {"length.body": [500, 0]})] * len(before)).shift("text_lengths", {"length.body": [0, 500]})
    assert shift.passed
    assert f"{len(before)} of 5 published versions" in shift.said


def test_few_rows_are_not_judged_by_shares() -> None:
    assert judged(1.0, *[0.0] * 9, rows=ROWS - 1) == (True, False)
    past = [Statistics({}, {"length.body": [500, 0]})] * 9
    result = Judge(history=past).shift("text_lengths", {"length.body": [0, ROWS - 1]})
    assert result.passed
    assert "fewer than" in result.said


def test_a_new_column_has_no_history() -> None:
    past = history(*[0.0] * 9)
    assert Judge(history=past).deviation("null_shares", {"null_share.new": 1.0, "null_share.body": 0.0}, rows=999).passed


def test_a_count_of_few_may_move_however_small_the_table() -> None:
    judge = Judge(history=history(*[3.0] * 9, name="rows"))
    assert judge.deviation("row_count", {"rows": 12.0}, relative=True).passed
    assert judge.deviation("row_count", {"rows": 300.0}, relative=True).blocks


def test_what_is_said_names_the_column_now_and_the_median() -> None:
    past = [Statistics({"null_share.body": 0.0, "null_share.title": 0.25}) for _ in range(6)]
    result = Judge(history=past).deviation("null_shares", {"null_share.body": 0.5, "null_share.title": 0.26}, rows=999)
    assert result.said == (
        "null_share.body: 0.5, where the median of 6 versions is 0: 25.00 robust standard deviations off (warns from 3.5, blocks from 8)"
    )
    assert result.figures == {"value": 25.0, "most_unlike": "null_share.body", "now": 0.5, "median": 0.0}
    assert result.history == {"null_share.body": (*[0.0] * 6, 0.5), "null_share.title": (*[0.25] * 6, 0.26)}


def test_a_shift_names_the_bin_in_the_words_of_its_owner() -> None:
    past = [Statistics({}, {"length.body": [500, 500, 0]})] * 6
    result = Judge(history=past).shift("text_lengths", {"length.body": [100, 500, 400]}, named=lambda name, at: f"{name} at {at}")
    assert result.blocks
    assert result.said.startswith("length.body: length.body at 0: 10.0% of 1,000 rows, where the median of 6 versions is 50.0%; ")
    assert result.figures["most_unlike"] == "length.body"


def test_many_numbers_are_not_all_shown() -> None:
    numbers = {f"null_share.c{at}": at / 1000 for at in range(50)}
    result = Judge(history=[Statistics(dict.fromkeys(numbers, 0.0))] * 6).deviation("null_shares", numbers, rows=999)
    assert [*result.history][:2] == ["null_share.c49", "null_share.c48"]
    assert len(result.history) == 10


@pytest.mark.parametrize(("before", "median"), [([], 0.0), ([4.0], 4.0), ([1.0, 2.0, 900.0], 2.0)])
def test_a_median_needs_no_warm_up(before: list[float], median: float) -> None:
    assert Judge(history=history(*before, name="n")).median("n") == median


def test_a_histogram_of_other_bins_is_not_compared() -> None:
    judge = Judge(history=[Statistics({}, {"language": [500, 0]})] * 5)
    result = judge.shift("language_shares", {"language": [0, 0, 500]})
    assert (result.passed, result.said) == (True, "nothing to compare with")
