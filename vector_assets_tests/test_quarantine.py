"""Quarantine: what is listed, what is tried again and what that costs, and how rows leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from vector_assets.errors import AuditError, ConfigurationError, SourceError
from vector_assets.pipeline import STAGES, Run
from vector_assets.quarantine import Rejected, current_values, parse_selection, rejected_rows, requeue, row_states, shown_key
from vector_assets.reconcile.run import Outcome
from vector_assets_tests.scripted import REF, Lake

BAD = "far too long for its rule " * 9
RUN = Run("replay")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    rows = [{"id": n, "body": f"body {n}", "status": "open"} for n in range(6)]
    return Lake(tmp_path, rows)


def listed(lake: Lake) -> list[Rejected]:
    return list(rejected_rows(lake.pipeline, REF, lake.engines.model))


def replay(lake: Lake, *rows: str) -> dict[str, Outcome]:
    """All five stages, as a run with the replay tag syncs them."""
    run = Run("replay", approval=lake.approval())
    done = {}
    for stage in STAGES:
        requeue(lake.pipeline, stage, REF, run, model=lake.engines.model, rows=rows or None)
        done[stage] = lake.pipeline.sync(stage, REF, run)
    return done


def planned(done: dict[str, Outcome]) -> list[int]:
    return [done[stage].planned for stage in STAGES]


def refuse_in_redaction(lake: Lake, *numbers: int) -> None:
    for number in numbers:
        lake.rows[number] = {**lake.rows[number], "body": f"broken {number}"}
    lake.engines.stub_redactor.failing = "broken"
    lake.sync()


# --- replay ------------------------------------------------------------------------------------------------------------------------------


def test_only_rejected_rows_are_fetched_and_computed_again(lake: Lake) -> None:
    refuse_in_redaction(lake, 2, 4)
    assert [row.stage for row in listed(lake)] == ["redacted_text"] * 2
    assert planned(lake.sync()) == [0] * 5
    lake.engines.stub_redactor.failing = None  # neither a row nor a rule: a sync does not see it
    assert planned(lake.sync()) == [0] * 5
    lake.source.fetched, seen = 0, len(lake.engines.stub_redactor.seen)
    done = replay(lake)
    assert planned(done) == [2, 2, 2, 2, 2]
    assert lake.source.fetched == 2
    assert len(lake.engines.stub_redactor.seen) - seen == 2
    assert listed(lake) == []
    assert planned(lake.sync()) == [0] * 5
    purged = [lake.pipeline.published(stage, REF) for stage in STAGES[:2]]
    assert all(view is not None and view.state.purged and not view.count("values IS NOT NULL") for view in purged)


def test_what_a_replay_ends_in_is_what_a_first_run_would_make(lake: Lake, tmp_path: Path) -> None:
    refuse_in_redaction(lake, 2)
    lake.engines.stub_redactor.failing = None
    replay(lake)
    fresh = Lake(tmp_path / "fresh", lake.rows)
    fresh.sync()
    assert lake.snapshot() == fresh.snapshot()


def test_one_row_may_be_chosen(lake: Lake) -> None:
    refuse_in_redaction(lake, 2, 4)
    lake.engines.stub_redactor.failing = None
    first, second = (row.row_id for row in listed(lake))
    assert planned(replay(lake, first)) == [1, 1, 1, 1, 1]
    assert [row.row_id for row in listed(lake)] == [second]


def test_a_row_that_fails_again_keeps_count(lake: Lake) -> None:
    refuse_in_redaction(lake, 2)
    (before,) = listed(lake)
    replay(lake)
    (after,) = listed(lake)
    assert (before.attempts, after.attempts) == (1, 2)
    assert after.first_seen == before.first_seen
    assert before.last_seen is not None
    assert after.last_seen is not None
    assert after.last_seen > before.last_seen


def test_what_the_encoder_or_the_index_refused_begins_there(lake: Lake) -> None:
    lake.engines.stub_encoder.failing = "body 3"
    lake.index.refuse = "body 5"
    lake.sync()
    assert [(row.stage, row.attempts) for row in listed(lake)] == [("embeddings", 1), ("weaviate_collections", 1)]
    lake.engines.stub_encoder.failing = lake.index.refuse = None
    assert planned(replay(lake)) == [0, 0, 0, 1, 2]
    assert listed(lake) == []


def test_a_null_key_is_tried_again_and_counted(lake: Lake) -> None:
    lake.rows.append({"id": None, "body": "no key", "status": "open"})
    lake.sync()
    replay(lake)
    (row,) = listed(lake)
    assert (row.stage, row.attempts) == ("raw_tables", 2)


def test_beneath_work_that_a_check_keeps_unpublished(tmp_path: Path) -> None:
    """The row is rejected in the published version, and other rows wait in one that is not: both versions count it as not made."""
    rows = [{"id": n, "body": f"body {n}", "status": "open"} for n in range(40)]
    lake = Lake(tmp_path, rows, table={"checks": {"rejected_rows": {"block": 0.5}}})
    lake.rows[0] = {**lake.rows[0], "body": BAD}
    lake.sync()
    good = [dict(row) for row in lake.rows]
    for number in range(1, 31):
        lake.rows[number] = {**lake.rows[number], "body": BAD}
    with pytest.raises(AuditError):
        lake.sync()
    assert sum(row.published for row in listed(lake)) == 1
    assert sum(not row.published for row in listed(lake)) == 30
    lake.source.data[REF][:] = good
    done = replay(lake, *(row.row_id for row in listed(lake) if row.published))
    assert done["cleaned_frames"].state.rejected == 1
    (row,) = listed(lake)
    assert (row.attempts, row.published) == (2, True)
    assert lake.pipeline.published("weaviate_collections", REF, *_folders(lake)) is not None


def _folders(lake: Lake) -> tuple[str, str]:
    names = lake.pipeline.generations(lake.settings.tables.spec_for(REF), lake.engines.model)
    return names.collection, str(lake.index.incarnation(f"Things_{names.collection}"))


def test_a_replay_that_dies_half_way_is_finished_by_the_next_sync(lake: Lake) -> None:
    refuse_in_redaction(lake, 2)
    lake.engines.stub_redactor.failing = None
    requeue(lake.pipeline, "raw_tables", REF, RUN, model=lake.engines.model)
    assert planned(lake.sync()) == [1, 1, 1, 1, 1]
    assert listed(lake) == []


@pytest.mark.parametrize(("text", "rows"), [("all", None), (" all\n", None), (f"{'a' * 32}, {'B' * 32}", {"a" * 32, "b" * 32})])
def test_which_rows_are_meant(text: str, rows: set[str] | None) -> None:
    assert parse_selection(text) == rows


@pytest.mark.parametrize("text", ["", ",", "everything", "a" * 31, f"{'a' * 32},x"])
def test_a_selection_that_cannot_be_read_says_so(text: str) -> None:
    with pytest.raises(ConfigurationError, match="32 hex digits"):
        parse_selection(text)


# --- leaving by themselves ---------------------------------------------------------------------------------------------------------------


def test_a_mended_row_leaves_by_itself(lake: Lake) -> None:
    lake.rows[1] = {**lake.rows[1], "body": BAD}
    lake.sync()
    assert len(listed(lake)) == 1
    lake.rows[1] = {**lake.rows[1], "body": "mended"}
    assert planned(lake.sync()) == [1, 1, 1, 1, 1]
    assert listed(lake) == []


def test_a_mended_rule_tries_every_row_again(lake: Lake, tmp_path: Path) -> None:
    lake.rows[1] = {**lake.rows[1], "body": BAD}
    lake.sync()
    wider = Lake(tmp_path, lake.rows, table={"quality": {"body": {"max_length": 400}}})
    wider.engines.memory_index = lake.index
    wider.sync()
    assert listed(wider) == []


def test_rows_that_vanish_upstream_leave(lake: Lake) -> None:
    refuse_in_redaction(lake, 2, 4)
    lake.rows.append({"id": None, "body": "no key", "status": "open"})
    lake.sync()
    assert len(listed(lake)) == 3
    lake.source.data[REF][:] = [row for row in lake.rows if row["id"] in {0, 1, 3, 4, 5}]
    lake.sync()
    assert [row.stage for row in listed(lake)] == ["redacted_text"]


# --- looking at one row ------------------------------------------------------------------------------------------------------------------


def test_a_row_is_shown_stage_by_stage_without_values(lake: Lake) -> None:
    lake.rows[1] = {**lake.rows[1], "body": BAD}
    lake.sync()
    (row,) = listed(lake)
    states = {state.stage: state for state in row_states(lake.pipeline, REF, row.row_id, lake.engines.model)}
    assert {stage: state.state for stage, state in states.items()}.items() >= {"raw_tables": "ok", "cleaned_frames": "rejected"}.items()
    assert shown_key(lake.pipeline, REF, row.row_id) == {"id": "1"}
    assert "far too long" not in str(states)


def test_keys_are_shown_by_policy(tmp_path: Path) -> None:
    rows = [{"id": 1, "body": BAD, "status": "open"}]
    lake = Lake(tmp_path, rows, table={"properties": {"id": "drop", "status": "keep"}})
    lake.sync()
    (row,) = listed(lake)
    assert shown_key(lake.pipeline, REF, row.row_id) == {"id": "(not shown: drop)"}


def test_values_come_from_the_source_when_they_are_asked_for(lake: Lake) -> None:
    lake.rows[1] = {**lake.rows[1], "body": BAD}
    lake.rows.append({"id": None, "body": "no key", "status": "open"})
    lake.sync()
    by_stage = {row.stage: row.row_id for row in listed(lake)}
    assert current_values(lake.pipeline, REF, by_stage["cleaned_frames"])["body"] == BAD
    with pytest.raises(SourceError, match="key of row"):
        current_values(lake.pipeline, REF, by_stage["raw_tables"])
    del lake.rows[1]
    with pytest.raises(SourceError, match="any more"):
        current_values(lake.pipeline, REF, by_stage["cleaned_frames"])


def test_a_row_that_nobody_knows(lake: Lake) -> None:
    lake.sync()
    with pytest.raises(ConfigurationError, match="has no row"):
        row_states(lake.pipeline, REF, "0" * 32, lake.engines.model)
    with pytest.raises(ConfigurationError, match="32 hex digits"):
        row_states(lake.pipeline, REF, "x", lake.engines.model)
