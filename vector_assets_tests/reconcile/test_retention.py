"""What has to be gone is gone: every version and every file of every stage table is read, deleted rows included."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from contextlib import suppress
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from vector_assets.checks.result import Acceptance
from vector_assets.errors import AuditError, SourceUnavailable
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.indexed.lance.upkeep import Upkeep
from vector_assets.pipeline import STAGES, Run
from vector_assets.reconcile.run import Approval
from vector_assets.values import PRIVATE
from vector_assets_tests.canary import stored
from vector_assets_tests.scripted import REF, Crash, Lake, crash_after

KEY = 7_000_000
"""Keys count from here, so that one can be told from any other number."""


def row(number: int, body: str = "body") -> dict[str, object]:
    return {"id": KEY + number, "body": f"{body} UNMASKED-{number}.", "status": f"STATUS-{number}."}


def where(root: str | Path, *words: str) -> list[str]:
    """Datasets in which one of the words can still be read."""
    return sorted(name for name, text in stored(Path(root)).items() if any(word in text for word in words))


def private(lake: Lake) -> list[str]:
    """Private tables in which a value of any column but the key can be read."""
    return [name.split("/")[0] for name in where(lake.settings.private, "UNMASKED", "STATUS")]


def with_index(lake: Lake, retention: dt.timedelta) -> Lake:
    upkeep = Upkeep(retention=retention, reader_grace=retention / 4)
    lake.engines.memory_index = LanceIndex(lake.settings.index, upkeep=upkeep)
    return lake


# --- source values ---------------------------------------------------------------------------------------------------------------------


def test_no_version_and_no_file_shows_a_source_value_once_the_redacted_text_is_published(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [row(number) for number in range(8)])
    lake.sync(None, *STAGES[:2])
    assert private(lake) == ["cleaned_frames", "raw_tables"], "else this test is blind"
    for edit in range(4):
        lake.sync()
        assert private(lake) == [], f"after {edit} edits"
        assert where(lake.settings.private, str(KEY + 7)), "keys stay: rows are fetched by them"
        lake.rows[edit] = row(edit, "changed")
        lake.rows[4] = row(4, "too long " * edit * 5)  # rejected from the second time on
        lake.rows.append(row(100 + edit))
        del lake.rows[5]
        lake.sync(None, *STAGES[: edit % 3])  # as runs that ended early
    assert lake.sync()["cleaned_frames"].rejected == 1
    assert private(lake) == []


def test_files_of_a_run_that_was_killed_before_it_committed_go_too(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [row(number) for number in range(3)])
    lake.sync(None, *STAGES[:2])
    for file in list(Path(lake.settings.private).rglob("data/*.lance")):
        shutil.copy(file, file.with_name(f"left{file.name}"))
    lake.sync(None, *STAGES[2:])
    assert private(lake) == []
    file = next(Path(lake.settings.private).rglob("raw_tables/**/data/*.lance"))
    lance.write_dataset(pa.table({"body": ["UNMASKED"]}), tmp_path / "other")
    shutil.copy(next((tmp_path / "other" / "data").iterdir()), file.with_name(f"left{file.name}"))
    assert private(lake) == ["raw_tables"]
    assert [outcome.planned for outcome in lake.sync().values()] == [0] * 5
    assert private(lake) == [], "also where there was nothing to do"


def test_who_prefers_speed_keeps_them(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [row(1)], table={"private": "keep"})
    lake.sync()
    assert private(lake) == ["cleaned_frames", "raw_tables"]


def test_a_purge_that_dies_anywhere_is_done_by_the_next_run(tmp_path: Path) -> None:
    first = Lake(tmp_path / "first", [row(number) for number in range(4)])
    first.sync()
    first.rows[1] = row(1, "changed")
    first.sync(None, *STAGES[:2])
    crashed, writes = True, 0
    while crashed:
        writes += 1
        home = tmp_path / str(writes)
        shutil.copytree(tmp_path / "first", home)
        lake = Lake(home, first.rows)
        crashed = False
        try:
            with crash_after(writes):
                lake.sync(None, "redacted_text")
        except Crash:
            crashed = True
        lake.sync(None, *STAGES[:3])
        assert private(lake) == [], f"died after {writes} writes"
        shutil.rmtree(home)
    assert writes > 8, "else it died too seldom"


# --- tables that get stuck -------------------------------------------------------------------------------------------------------------


def judged(home: Path, **settings: object) -> Lake:
    """A lake where ten rejected rows of a table block it."""
    return Lake(home, [row(number) for number in range(12)], table={"checks": {"rejected_rows": {"block": 0.5}}}, **settings)


def accepting(lake: Lake) -> Run:
    return Run(
        "somebody", approval=Approval(lake.source.version(REF).token, 10**9), acceptance=Acceptance(("rejected_rows",), "me", "meant")
    )


def test_a_block_at_redacted_text_leaves_no_value_and_needs_none_when_it_is_accepted(tmp_path: Path) -> None:
    lake = judged(tmp_path)
    lake.engines.stub_redactor.failing = "UNMASKED"
    with pytest.raises(AuditError, match="rejected_rows"):
        lake.sync()
    assert private(lake) == []
    fetched = lake.source.fetched
    with pytest.raises(AuditError):
        lake.sync()
    assert lake.sync(accepting(lake))["redacted_text"].rejected == 12
    assert lake.source.fetched == fetched


def test_a_block_at_cleaned_frames_keeps_values_no_longer_than_the_retention(tmp_path: Path) -> None:
    lake = judged(tmp_path)
    lake.sync()
    before = lake.snapshot()["objects"]
    lake.rows[:] = [row(number, "too long " * 8) for number in range(12)]
    with pytest.raises(AuditError, match="rejected_rows"):
        lake.sync()
    assert private(lake) == ["raw_tables"], "rejected rows keep no values"
    fetched = lake.source.fetched
    with pytest.raises(AuditError):
        lake.sync()
    assert lake.source.fetched == fetched, "within the retention nothing is fetched again"
    late = judged(tmp_path, retention_hours=0)
    late.rows[:] = lake.rows
    late.engines.memory_index = lake.index
    with pytest.raises(AuditError):
        late.sync()
    assert private(late) == []
    assert lake.snapshot()["objects"] == before
    with pytest.raises(AuditError, match="rejected_rows"):  # it is judged by the same history as before
        late.sync()
    late.rows[:] = [row(number, "mended") for number in range(12)]
    assert late.sync()["weaviate_collections"].changed == 12
    assert private(late) == []


def test_a_table_without_values_is_left_alone_however_old_it_is(tmp_path: Path) -> None:
    def away(_kind: str, _number: int) -> None:
        raise SourceUnavailable("the source is away")

    lake = Lake(tmp_path, [row(number) for number in range(4)], retention_hours=0)
    lake.sync()
    fetched = lake.source.fetched
    lake.rows[1] = row(1, "changed")
    back, lake.source.on_read = lake.source.on_read, away
    with pytest.raises(SourceUnavailable):
        lake.sync()
    lake.source.on_read = back
    lake.sync()
    assert lake.source.fetched == fetched + 1, "an outage makes nobody fetch a table again"


def test_a_first_version_that_nobody_publishes_goes_as_well(tmp_path: Path) -> None:
    lake = judged(tmp_path, retention_hours=0)
    lake.rows[:] = [row(number, "too long " * 8) for number in range(12)]
    lake.rows[0] = row(0)
    with pytest.raises(AuditError):
        lake.sync()
    assert private(lake) == []
    assert lake.sync(accepting(lake))["weaviate_collections"].added == 1
    assert private(lake) == []


# --- deleted rows ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [False, True], ids=["purged", "kept"])
def test_a_deleted_row_leaves_no_trace_after_retention(tmp_path: Path, *, keep: bool) -> None:
    retention = dt.timedelta(seconds=2)
    table: dict[str, object] = {"private": "keep"} if keep else {}
    lake = with_index(Lake(tmp_path, [row(number) for number in range(6)], table=table, retention_hours=2 / 3600), retention)
    lake.sync()
    lake.model("b" * 64)
    lake.rows[1] = row(1, "changed")
    lake.sync()
    del lake.rows[3]
    traces = ("UNMASKED-3.", "STATUS-3.", str(KEY + 3))
    lake.sync()
    assert "redacted_text/lake/s/t.lance" in where(lake.settings.storage, *traces), "else this test is blind"
    deadline = time.monotonic() + 60
    while left := where(tmp_path, *traces):
        assert time.monotonic() < deadline, left
        lake.sync()
    kinds = {name.split("/")[0] for name in stored(Path(lake.settings.storage))}
    assert kinds == {"redacted_text", "embeddings", "weaviate_collections"}
    assert {name.split("/")[0] for name in where(lake.settings.storage, "UNMASKED-4.")} >= {"redacted_text", "embeddings"}, "others stay"


@pytest.mark.parametrize("stage", STAGES[:3])
def test_a_deleted_row_of_a_table_that_a_check_blocks_leaves_no_trace_either(tmp_path: Path, stage: str) -> None:
    lake = judged(tmp_path, retention_hours=0)
    with_index(lake, dt.timedelta(0)).sync()
    lake.model("b" * 64)
    lake.sync()
    gone = lake.rows.pop(3)
    match stage:
        case "raw_tables":  # keys that are not one row's
            lake.rows.extend(dict(each) for each in list(lake.rows))
        case "cleaned_frames":
            lake.rows[:] = [{**each, "body": str(each["body"]) * 5} for each in lake.rows]
        case "redacted_text":
            lake.rows[:] = [{**each, "body": f"new {each['body']}"} for each in lake.rows]
            lake.engines.stub_redactor.failing = "new"
    with pytest.raises(AuditError, match=stage):
        lake.sync()
    for root in (lake.settings.private, lake.settings.storage):
        assert where(root, str(gone["id"]), "UNMASKED-3.", "STATUS-3.") == []
    for prepared in STAGES[:3]:
        assert lake.pipeline.published(prepared, REF).state.ok == 11, "the delete is published"  # type: ignore[union-attr]
    objects = [batch for name in lake.index.collections() for batch in lake.index.stored(name, REF.key)]
    assert sum(map(len, objects)) == 2 * 11, "of the collections of both models too"


def test_a_block_where_rows_were_only_deleted_leaves_no_key(tmp_path: Path) -> None:
    checks: dict[str, object] = {"checks": {"row_count": {"block": 0.05}}, "history": {"versions": 2, "warm_up": 1}}
    lake = Lake(tmp_path, [row(number) for number in range(4)], table=checks, retention_hours=0)
    with_index(lake, dt.timedelta(0)).sync()
    del lake.rows[3]
    with pytest.raises(AuditError, match="row_count"):
        lake.sync()
    for root in (lake.settings.private, lake.settings.storage):
        assert where(root, str(KEY + 3), "UNMASKED-3.") == []
        assert where(root, str(KEY + 2)), "others stay"


def test_unpublished_work_survives_tidying_around_it(tmp_path: Path) -> None:
    lake = judged(tmp_path, retention_hours=0)
    lake.sync()
    del lake.rows[3]
    lake.rows[:] = [{**each, "body": f"new {each['body']}"} for each in lake.rows]
    lake.engines.stub_redactor.failing = "new"
    for writes in range(1, 30, 4):
        with suppress(Crash, AuditError), crash_after(writes):
            lake.sync(None, *STAGES[:3])
    with pytest.raises(AuditError):
        lake.sync()
    seen = len(lake.engines.stub_redactor.seen)
    assert lake.sync(accepting(lake))["redacted_text"].rejected == 11
    assert len(lake.engines.stub_redactor.seen) == seen, "what was computed is not computed again"


def test_private_tables_hold_nothing_else(tmp_path: Path) -> None:
    """Whoever adds a stage before redacted_text has to think of purging."""
    lake = Lake(tmp_path, [row(1)])
    lake.sync()
    assert {path.name for path in Path(lake.settings.private).iterdir()} == set(PRIVATE)
