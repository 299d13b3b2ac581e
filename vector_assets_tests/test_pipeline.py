"""The stages put together, over stand-ins: what is touched, what is kept apart, and what search sees."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from vector_assets.errors import AuditError, ConfigurationError, IndexUnavailable, InputPurgedError, PermanentError
from vector_assets.pipeline import STAGES, Run
from vector_assets.reconcile.run import Approval
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.tables import Sources, TableRef
from vector_assets_tests.scripted import REF, Lake, sources

ROWS = [{"id": key, "body": f"body {key} secret", "status": "open"} for key in range(20)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path, [dict(row) for row in ROWS])


def test_a_second_sync_touches_exactly_what_changed(lake: Lake) -> None:
    assert [outcome.added for outcome in lake.sync().values()] == [20] * 5
    assert [outcome.planned for outcome in lake.sync().values()] == [0] * 5
    redacted, encoded, sent = len(lake.engines.stub_redactor.seen), len(lake.engines.stub_encoder.seen), lake.index.upserts
    lake.rows[3] = {**lake.rows[3], "status": "closed"}
    lake.rows[4] = {**lake.rows[4], "body": "new body"}
    del lake.rows[7]
    lake.rows.append({"id": 99, "body": "late", "status": "x"})
    for outcome in lake.sync().values():
        assert (outcome.planned, outcome.added, outcome.changed, outcome.deleted, outcome.unchanged) == (4, 1, 2, 1, 17), outcome.stage
    assert len(lake.engines.stub_redactor.seen) == redacted + 2  # a changed status meets neither redactor nor encoder
    assert len(lake.engines.stub_encoder.seen) == encoded + 2
    assert lake.index.upserts == sent + 3


def test_rows_without_a_key_of_their_own_are_rejected_and_the_rest_goes_on(lake: Lake) -> None:
    lake.rows.extend([{"id": 1, "body": "twin", "status": "open"}, {"id": None, "body": "nobody", "status": "open"}])
    outcomes = lake.sync()
    assert outcomes["raw_tables"].rejected == 2
    assert outcomes["weaviate_collections"].added == 19
    del lake.rows[1]
    assert lake.sync()["weaviate_collections"].added == 1


def test_source_values_are_gone_once_the_redacted_text_is_published(lake: Lake) -> None:
    lake.sync(None, *STAGES[:2])
    assert _has_values(lake, "raw_tables")
    lake.sync(None, "redacted_text")
    for stage in STAGES[:2]:
        assert not _has_values(lake, stage)
        view = lake.pipeline.published(stage, REF)
        assert view is not None
        assert view.state.purged
        assert view.take(range(20)).column("key").null_count == 0


def test_private_keep_keeps_them(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [dict(row) for row in ROWS], table={"private": "keep"})
    lake.sync()
    assert _has_values(lake, "raw_tables")
    fetched = lake.source.fetched
    lake.engines.stub_redactor.version = "2"
    assert lake.sync()["redacted_text"].changed == 20
    assert lake.source.fetched == fetched


def test_a_lost_stage_table_is_made_again_from_the_source(lake: Lake) -> None:
    lake.sync()
    before = lake.snapshot()
    StageTable(lake.pipeline.uri("redacted_text", REF), _no_columns()).drop()
    with pytest.raises(InputPurgedError, match="sync it once more"):
        lake.sync()
    lake.sync()
    assert lake.snapshot() == before


def test_embedding_and_indexing_need_no_private_storage(lake: Lake, tmp_path: Path) -> None:
    lake.sync(None, *STAGES[:3])
    (tmp_path / "private").rename(tmp_path / "elsewhere")
    assert lake.sync(None, *STAGES[3:])["weaviate_collections"].added == 20
    assert not (tmp_path / "private").exists()


def test_a_wiped_index_is_filled_again_without_redactor_or_encoder(lake: Lake) -> None:
    lake.sync()
    before = lake.snapshot()
    redacted, encoded = len(lake.engines.stub_redactor.seen), len(lake.engines.stub_encoder.seen)
    lake.index.made.clear()
    lake.index.aliases.clear()
    assert lake.sync()["weaviate_collections"].added == 20
    assert (redacted, encoded) == (len(lake.engines.stub_redactor.seen), len(lake.engines.stub_encoder.seen))
    assert lake.snapshot()["objects"] == before["objects"]


def test_a_new_model_fills_a_new_collection_and_takes_over_when_it_is_complete(lake: Lake) -> None:
    lake.sync()
    old = lake.index.resolve("Things")
    lake.model("d2")
    lake.sync(None, *STAGES[:4])
    assert lake.index.resolve("Things") == old
    lake.sync(None, "weaviate_collections")
    new = lake.index.resolve("Things")
    assert new != old
    encoded = len(lake.engines.stub_encoder.seen)
    lake.model("d1")  # rolled back: everything is still there
    lake.sync()
    assert lake.index.resolve("Things") == old
    assert len(lake.engines.stub_encoder.seen) == encoded


def test_the_alias_waits_for_every_table_of_a_collection(lake: Lake) -> None:
    other = TableRef("lake", "s", "u")
    object.__setattr__(lake.settings, "tables", _two_tables())
    lake.source.data[other] = [{"id": 1, "body": "of another table", "status": "open"}]
    for ref in (REF, other):
        for stage in STAGES:
            lake.pipeline.sync(stage, ref, Run("test"))
    old = str(lake.index.resolve("Things"))
    assert len(lake.index.made[old].objects) == 21
    lake.model("d2")
    for stage in STAGES:
        outcome = lake.pipeline.sync(stage, REF, Run("test"))
    assert lake.index.resolve("Things") == old
    assert outcome.facts["alias"].endswith(old)
    for stage in STAGES:
        lake.pipeline.sync(stage, other, Run("test"))
    assert lake.index.resolve("Things") != old
    lake.source.data[other].clear()
    lake.sync(Run("test", approval=lake.approval()))
    assert len(lake.index.made[str(lake.index.resolve("Things"))].objects) == 21  # one table's sync leaves the other's objects alone


def test_a_table_with_an_entry_of_its_own_is_not_waited_for_where_only_a_pattern_matches(lake: Lake) -> None:
    one = sources().tables[0]
    specs = (one.model_copy(update={"table": "lake.s.*"}), one.model_copy(update={"table": "lake.s.u", "collection": "Others"}))
    object.__setattr__(lake.settings, "tables", sources().model_copy(update={"tables": specs}))
    other = TableRef("lake", "s", "u")
    lake.source.data[other] = []
    for stage in STAGES[:3]:
        lake.pipeline.sync(stage, other, Run("test"))
    lake.sync()
    assert lake.index.resolve("Things") is not None
    assert lake.pipeline.tables_of("Others") == [other]


def test_a_stage_wants_the_one_before_it(lake: Lake) -> None:
    with pytest.raises(PermanentError, match=r"raw_tables of lake\.s\.t is not published yet"):
        lake.sync(None, "cleaned_frames")


def test_a_table_that_nobody_named_is_refused(lake: Lake) -> None:
    with pytest.raises(ConfigurationError, match=r"no entry under tables: matches lake\.s\.other"):
        lake.pipeline.sync("raw_tables", TableRef("lake", "s", "other"), Run("test"))


def test_discovery_finds_what_sources_yaml_names(lake: Lake) -> None:
    lake.source.data[TableRef("lake", "s", "unnamed")] = []
    assert lake.pipeline.discover(["lake"]) == [REF]


def _two_tables() -> Sources:
    one = sources().tables[0]
    return sources().model_copy(update={"tables": (one, one.model_copy(update={"table": "lake.s.u"}))})


def _has_values(lake: Lake, stage: str) -> bool:
    view = lake.pipeline.published(stage, REF)  # type: ignore[arg-type]
    assert view is not None
    return view.take(range(view.count()), ["values"]).column("values").null_count < view.count()


def _no_columns() -> pa.Schema:
    return pa.schema([])


# --- a stage that a check blocks -------------------------------------------------------------------------------------------------------


def test_what_keeps_deletes_of_a_blocked_stage_from_going_on_is_said_with_the_block(tmp_path: Path) -> None:
    lake = Lake(tmp_path, [dict(row) for row in ROWS], table={"checks": {"rejected_rows": {"block": 0.5}}})
    lake.sync()
    del lake.rows[7]
    lake.rows[:] = [{**row, "body": "too long " * 8} for row in lake.rows]

    def away() -> None:
        raise IndexUnavailable("the index is away")

    lake.index.on_write = away
    with pytest.raises(IndexUnavailable, match=r"the index is away; .* blocked: cleaned_frames: .*rejected_rows"):
        lake.sync()
    assert len(lake.snapshot()["objects"]) == 20  # type: ignore[arg-type]
    lake.index.on_write = lambda: None
    with pytest.raises(AuditError, match="rejected_rows"):
        lake.sync()
    assert len(lake.snapshot()["objects"]) == 19  # type: ignore[arg-type]


def test_the_brake_holds_deletes_of_a_blocked_stage_too_and_says_how_to_approve_them(tmp_path: Path) -> None:
    rows = [{"id": key, "body": f"body {key}" * (1 if key < 110 else 9), "status": "open"} for key in range(400)]
    table: dict[str, object] = {"checks": {"rejected_rows": {"block": 0.8}}}
    lake = Lake(tmp_path, rows, table=table, delete_share=0.3, delete_rows=100, batch_rows=512, commit_rows=512)
    lake.sync()
    del lake.rows[:60]  # 15 % of the rows, and 55 % of those that are good
    with pytest.raises(AuditError, match=r"290 of 340 .*deletes \(.*redacted_text.* 60 of 110 .*--approve-deletes") as caught:
        lake.sync(Run("nobody"))
    assert len(lake.snapshot()["objects"]) == 110  # type: ignore[arg-type]
    version, count = str(caught.value).rpartition("--approve-deletes ")[2].rsplit(":", 1)
    with pytest.raises(AuditError) as caught:
        lake.sync(Run("somebody", approval=Approval(version, int(count))))
    assert "approve-deletes" not in str(caught.value)
    assert len(lake.snapshot()["objects"]) == 50  # type: ignore[arg-type]
