"""`doctor` where no server is needed: what it says of many tables, and of clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.cli.doctor import sources
from vector_assets.cli.doctor.checks import MAX_SKEW_SECONDS, Remark, skew

# --- clocks ----------------------------------------------------------------------------------------------------------------------------

MOMENTS = st.floats(0, 2e9)
DURATIONS = st.floats(0, 100)


@given(MOMENTS, DURATIONS, st.floats(-MAX_SKEW_SECONDS, MAX_SKEW_SECONDS), st.floats(0, 1))
def test_a_slow_answer_is_no_skew(asked: float, took: float, apart: float, share: float) -> None:
    said = skew(asked + share * took + 0.99 * apart, asked, asked + took, where="the clock")
    assert said == "agrees with ours"
    assert not isinstance(said, Remark)


@given(MOMENTS, DURATIONS, st.floats(MAX_SKEW_SECONDS + 1, 1e6), st.booleans())
def test_a_clock_that_is_off_is_remarked_upon(asked: float, took: float, apart: float, behind: bool) -> None:
    said = skew(asked - apart if behind else asked + took + apart, asked, asked + took, where="the clock")
    assert isinstance(said, Remark)
    assert said.startswith(f"the clock is {apart:,.0f} s {'behind' if behind else 'ahead of'} this machine")


# --- many tables -----------------------------------------------------------------------------------------------------------------------


def _lines(stdout: str) -> dict[str, str]:
    return {line[2:].partition(": ")[0]: line for line in stdout.splitlines()}


def test_a_line_for_each_table_that_cannot_be_read_up_to_a_number(project) -> None:
    project.sql(*(f"CREATE TABLE notes.bad{i:02} (id BIGINT)" for i in range(12)))
    lines = _lines(project.run("doctor").stdout)
    bad = sorted(name for name in lines if name.startswith("table lake.notes.bad"))
    assert bad == [f"table lake.notes.bad{i:02}" for i in range(10)]
    assert all("'body'" in lines[name] for name in bad)
    assert lines["tables"].startswith("✗ tables: 12 of 14 cannot be read, 10 of them here")


def test_it_does_not_look_at_tables_for_ever(project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "TABLES_SECONDS", -1.0)
    answer = project.run("doctor")
    assert answer.status == 0
    assert "2 more were not looked at" in _lines(answer.stdout)["tables"]
    assert answer.stdout.count("\n! ") == 1
