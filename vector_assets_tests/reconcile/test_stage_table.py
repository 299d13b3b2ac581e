"""Stage tables on a real disk: what is published stays published, and what has to be gone cannot be read any more."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vector_assets.errors import LeaseLostError, StorageError
from vector_assets.fingerprint import HASH_TYPE, data_version, from_bytes, text_fingerprint, to_arrow
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.view import CONTENT, INPUT, OK, REJECTED, ROW_ID, STATE, State, View
from vector_assets.tables import TableRef
from vector_assets_tests.fakes import hashes
from vector_assets_tests.scripted import Crash, Lake, crash_after

VALUES = pa.struct([("body", pa.string()), ("n", pa.int32())])
OWN = pa.schema([("key", pa.struct([("id", pa.int64())])), ("values", VALUES)])
Rows = Mapping[int, str | None]  # by id; None is a rejected row that shows nothing


def table_at(path: Path, own: pa.Schema = OWN, *, epoch: int = 1) -> StageTable:
    return StageTable(str(path / "t.lance"), own, epoch=epoch)


def made(rows: Rows, own: pa.Schema = OWN) -> pa.Table:
    content = [None if body is None else text_fingerprint(body) for body in rows.values()]
    columns = {
        ROW_ID: to_arrow(hashes(*rows)),
        INPUT: to_arrow(from_bytes([text_fingerprint(str(body), "input") for body in rows.values()])),
        CONTENT: pa.array(content, HASH_TYPE),
        STATE: pa.array([REJECTED if body is None else OK for body in rows.values()]),
        "reason": pa.array(["it is bad" if body is None else None for body in rows.values()], pa.string()),
        "attempts": pa.array([0] * len(rows), pa.int32()),
        "key": pa.array([{"id": key} for key in rows], OWN.field("key").type),
        "values": pa.array([{"body": body, "n": key} for key, body in rows.items()], VALUES),
    }
    schema = StageTable("", own).schema
    return pa.table([columns.get(f.name, pa.nulls(len(rows), f.type)) for f in schema], names=schema.names)


def shown(view: View | None) -> dict[int, str | None]:
    assert view is not None
    rows = view.take(np.arange(view.count())).to_pylist()
    return {int.from_bytes(row[ROW_ID], "big"): row["values"]["body"] if row["values"] else None for row in rows}


def filled(path: Path, rows: Rows, state: State = State({"input": "1", "stage": "s"}, "v1", 1)) -> StageTable:  # noqa: B008
    table = table_at(path)
    table.open_for_writing()
    table.append(made(rows))
    table.publish(state)
    return table


def readable(table: StageTable) -> Iterator[dict[str, object]]:
    """Every row that Lance still shows to anybody: of every version, deleted ones too."""
    for version in lance.dataset(table.uri).versions():
        dataset = lance.dataset(table.uri, version=version["version"])
        yield from dataset.scanner(with_row_id=True, include_deleted_rows=True).to_table().to_pylist()


def bodies(table: StageTable) -> set[str]:
    return {row["values"]["body"] for row in readable(table) if row["values"] and row["values"]["body"]}  # type: ignore[index, call-overload]


# --- versions --------------------------------------------------------------------------------------------------------------------------


def test_a_table_begins_unpublished(tmp_path: Path) -> None:
    table = table_at(tmp_path)
    assert table.newest() is None
    assert table.published() is None
    assert shown(table.open_for_writing()) == {}
    assert table.published() is None
    assert table.open_for_writing().version == table.now().version


def test_readers_see_only_what_is_published_and_a_view_holds_still(tmp_path: Path) -> None:
    table = filled(tmp_path, {1: "a", 2: "b"})
    before = table.published()
    table.append(made({3: "c"}))
    table.merge(made({1: "A", 4: "d"}))
    table.delete(hashes(2, 99))
    assert shown(table.published()) == {1: "a", 2: "b"}
    assert shown(table.now()) == {1: "A", 3: "c", 4: "d"}
    table.publish(State(sequence=2))
    assert shown(table.published()) == {1: "A", 3: "c", 4: "d"}
    assert shown(before) == {1: "a", 2: "b"}


def test_a_published_state_comes_back_as_it_was(tmp_path: Path) -> None:
    table = table_at(tmp_path, epoch=7)
    table.open_for_writing()
    rows: Rows = {1: "a", 2: None, 3: "c"}
    table.append(made(rows))
    stale = made({4: "old"}).set_column(3, STATE, pa.array([REJECTED]))
    table.append(stale)
    stored = table.publish(State({"input": "i", "stage": "s"}, "v", 5))
    view = table.published()
    assert view is not None
    assert view.state == stored
    assert (stored.ok, stored.rejected, stored.stale, stored.rows, stored.epoch, stored.sequence) == (2, 2, 1, 4, 7, 5)
    content = [text_fingerprint(body) for body in ("a", "c", "old")]
    assert stored.data_version == view.data_version() == data_version(hashes(1, 3, 4), from_bytes(content))
    assert datetime.fromisoformat(stored.published_at).tzinfo is not None


def test_content_leaves_out_rows_that_show_nothing(tmp_path: Path) -> None:
    view = filled(tmp_path, {1: "a", 2: None, 3: "c"}).published()
    assert view is not None
    rows, positions, columns = view.content("key")
    assert (rows.ids == hashes(1, 3)).all()
    assert columns.column("key").to_pylist() == [{"id": 1}, {"id": 3}]
    assert [row["key"] for row in view.take(positions[::-1], ["key"]).to_pylist()] == [{"id": 3}, {"id": 1}]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("merge"), st.dictionaries(st.integers(0, 5), st.sampled_from(["a", "b", None]), max_size=3)),
            st.tuples(st.just("delete"), st.sets(st.integers(0, 5), max_size=3)),
            st.tuples(
                st.sampled_from(["publish", "restore", "compact", "reopen", "publish_deletes"]), st.sets(st.integers(0, 5), max_size=3)
            ),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_use_is_that_of_two_dictionaries(tmp_path_factory: pytest.TempPathFactory, script: list[tuple]) -> None:
    path = tmp_path_factory.mktemp("table")
    table = filled(path, {0: "z"})
    newest: dict[int, str | None] = {0: "z"}
    published = dict(newest)
    for action, argument in script:
        match action:
            case "merge":
                table.merge(made(argument))
                newest |= argument
            case "delete":
                table.delete(hashes(*sorted(argument)))
                newest = {key: body for key, body in newest.items() if key not in argument}
            case "publish":
                table.publish(State(sequence=1))
                published = dict(newest)
            case "restore":
                view = table.published()
                assert view is not None
                table.restore(view)
                newest = dict(published)
            case "compact":
                table._forget_deleted()
            case "reopen":
                table = table_at(path)
                table.open_for_writing()
            case "publish_deletes":
                table.publish_deletes(hashes(*sorted(argument)))
                published = {key: body for key, body in published.items() if key not in argument}
        assert shown(table.now()) == newest
        assert shown(table.published()) == published
        view = table.now()
        ids = [int.from_bytes(row, "big") for row in to_arrow(view.observed.ids).to_pylist()]
        assert [row["key"]["id"] for row in view.take(np.arange(len(ids)), ["key"]).to_pylist()] == ids, "positions are those of `take`"


# --- publishing ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "sequence", "refused"), [(1, 9, True), (2, 4, True), (2, 5, False), (2, 6, False), (3, 5, False), (3, 6, False)]
)
def test_a_run_that_was_overtaken_publishes_nothing(tmp_path: Path, epoch: int, sequence: int, refused: bool) -> None:
    filled(tmp_path, {1: "a"})
    table_at(tmp_path, epoch=2).publish(State({"input": "2"}, "v2", 5))
    late = table_at(tmp_path, epoch=epoch)
    late.append(made({2: "late"}))
    if refused:
        with pytest.raises(LeaseLostError, match="a later run has published already"):
            late.publish(State({"input": "late"}, "late", sequence))
        view = late.published()
        assert view is not None
        assert shown(view) == {1: "a"}
        assert view.state.source_version == "v2"
    else:
        late.publish(State({"input": "late"}, "late", sequence))
        assert shown(late.published()) == {1: "a", 2: "late"}


def test_a_later_look_that_saw_the_same_rows_is_noted_unless_it_comes_late(tmp_path: Path) -> None:
    filled(tmp_path, {1: "a"})
    table = table_at(tmp_path, epoch=2)
    table.restate("v2", 2)
    view = table.published()
    assert view is not None
    assert (view.state.source_version, view.state.sequence, view.state.epoch, view.state.ok) == ("v2", 2, 2, 1)
    assert view.version == table.now().version
    with pytest.raises(LeaseLostError):
        table_at(tmp_path, epoch=1).restate("v3", 3)


def unpublished_work(path: Path) -> StageTable:
    table = filled(path, {1: "a", 2: "b", 3: "c"})
    table.merge(made({1: "A", 4: "D"}))
    return table


RELIEVED = {1: "a", 3: "c"}
WORK = {1: "A", 2: "b", 3: "c", 4: "D"}


def test_deletes_are_published_around_unpublished_work(tmp_path: Path) -> None:
    table = unpublished_work(tmp_path)
    table.publish_deletes(hashes(2, 77))
    view = table.published()
    assert view is not None
    assert shown(view) == RELIEVED
    assert shown(table.now()) == WORK
    assert (view.state.ok, view.state.data_version) == (2, view.data_version())
    assert view.state.desired == {"input": "", "stage": "s"}, "it does not stand for that input any more"
    assert lance.dataset(table.uri).tags.list().keys() == {"published"}


@pytest.mark.parametrize("writes", range(1, 8))
def test_a_crash_while_deletes_are_published_loses_no_work(tmp_path: Path, writes: int) -> None:
    table = unpublished_work(tmp_path)
    with suppress(Crash), crash_after(writes):
        table.publish_deletes(hashes(2))
    assert shown(table.published()) in ({1: "a", 2: "b", 3: "c"}, RELIEVED)
    again = table_at(tmp_path, epoch=2)
    assert shown(again.open_for_writing()) == WORK
    again.publish_deletes(hashes(2))
    assert shown(again.published()) == RELIEVED
    assert shown(again.now()) == WORK
    assert lance.dataset(table.uri).tags.list().keys() == {"published"}


def test_restoring_keeps_what_is_published(tmp_path: Path) -> None:
    table = unpublished_work(tmp_path)
    before = table.published()
    assert before is not None
    assert shown(table.restore(before)) == {1: "a", 2: "b", 3: "c"}
    after = table.published()
    assert after is not None
    assert after.version == table.now().version
    assert after.state == before.state


# --- another schema --------------------------------------------------------------------------------------------------------------------


def struct(**fields: pa.DataType) -> pa.DataType:
    return pa.struct(list(fields.items()))


SHAPES: dict[str, tuple[pa.DataType, object, pa.DataType, object]] = {
    "widened": (pa.int32(), 5, pa.int64(), 5),
    "integer to decimal": (pa.int64(), 5, pa.decimal128(21, 2), 5),
    "number to text": (pa.int32(), 5, pa.string(), "5"),
    "text that is no number": (pa.string(), "five", pa.int32(), None),
    "no way across": (pa.int32(), 5, pa.list_(pa.string()), None),
    "field added": (struct(a=pa.int32()), {"a": 1}, struct(a=pa.int32(), b=pa.string()), {"a": 1, "b": None}),
    "field dropped": (struct(a=pa.int32(), b=pa.string()), {"a": 1, "b": "x"}, struct(a=pa.int32()), {"a": 1}),
    "fields moved": (struct(a=pa.int32(), b=pa.string()), {"a": 1, "b": "x"}, struct(b=pa.string(), a=pa.int32()), {"a": 1, "b": "x"}),
    "field widened": (struct(a=pa.int8()), {"a": 1}, struct(a=pa.int64()), {"a": 1}),
    "nested": (
        struct(a=struct(b=pa.int8(), c=pa.int8())),
        {"a": {"b": 1, "c": 2}},
        struct(a=struct(b=pa.int64(), d=pa.string())),
        {"a": {"b": 1, "d": None}},
    ),
    "first fields": (struct(), {}, struct(a=pa.int32()), {"a": None}),
    "last fields": (struct(a=pa.int32()), {"a": 1}, struct(), {}),
}


@pytest.mark.parametrize(("old", "value", "new", "expected"), SHAPES.values(), ids=SHAPES.keys())
def test_another_type_keeps_what_fits(tmp_path: Path, old: pa.DataType, value: object, new: pa.DataType, expected: object) -> None:
    before, after = (pa.schema([("dropped" if kind is old else "added", pa.int32()), ("x", kind)]) for kind in (old, new))
    table = table_at(tmp_path, before)
    table.open_for_writing()
    rows = made({1: "a", 2: None, 3: "c"}, before)
    at = rows.schema.get_field_index("x")
    table.append(rows.set_column(at, "x", pa.array([value, None, value], old)))
    table.publish(State())
    table = table_at(tmp_path, after)
    table.reshape()
    assert table.now().schema.equals(table.schema)
    read = table.now().take(np.arange(3))
    null = expected if struct() in (old, new) else None  # a struct without fields is never NULL
    assert read.column("x").to_pylist() == [expected, null, expected]
    assert read.column("added").to_pylist() == [None] * 3
    assert [row[ROW_ID] for row in read.to_pylist()] == to_arrow(hashes(1, 2, 3)).to_pylist()
    version = table.now().version
    table.reshape()
    assert table.now().version == version, "a table that fits is left alone"


def test_a_value_that_does_not_fit_costs_its_neighbours_nothing(tmp_path: Path) -> None:
    own, narrow = pa.schema([("n", pa.int64())]), pa.schema([("n", pa.int8())])
    table = table_at(tmp_path, own)
    table.open_for_writing()
    numbers = [1000 if n % 17 == 3 else n for n in range(100)]
    rows = made(dict.fromkeys(range(100), "x"), own)
    table.append(rows.set_column(rows.schema.get_field_index("n"), "n", pa.array(numbers, pa.int64())))
    table_at(tmp_path, narrow).reshape()
    assert table.now().take(np.arange(100)).column("n").to_pylist() == [None if n == 1000 else n for n in numbers]


def test_columns_behind_a_struct_without_fields_are_not_mixed_up(tmp_path: Path) -> None:
    own = pa.schema([("nothing", pa.struct([])), ("n", pa.int32()), ("text", pa.string()), ("hash", HASH_TYPE)])
    table = table_at(tmp_path, own)
    table.open_for_writing()

    def rows(*ids: int) -> pa.Table:
        parts = {"nothing": [{}] * len(ids), "n": list(ids), "text": list(map(str, ids)), "hash": to_arrow(hashes(*ids)).to_pylist()}
        made_rows = made(dict.fromkeys(ids, "x"), own)
        return pa.table([parts.get(f.name) or made_rows.column(f.name) for f in table.schema], schema=table.schema)

    table.append(rows(1, 2, 3))
    table.merge(rows(2, 4))
    table.delete(hashes(3))
    table._forget_deleted()
    read = table.now().take(np.arange(3), ["n", "text", "hash", "nothing"]).to_pylist()
    assert sorted(row["n"] for row in read) == [1, 2, 4]
    for row in read:
        assert row == {"n": row["n"], "text": str(row["n"]), "hash": row["n"].to_bytes(16, "big"), "nothing": {}}


# --- what has to be gone ---------------------------------------------------------------------------------------------------------------


def test_purging_leaves_ids_keys_and_fingerprints_alone(tmp_path: Path) -> None:
    table = filled(tmp_path, {1: "UNMASKED", 2: "UNMASKED too"})
    before = table.published()
    assert before is not None
    state, observed = before.state, before.observed
    table.merge(made({1: "CHANGED"}))
    table.delete(hashes(2))
    table.append(made({3: "NEW", 4: None}))
    table.publish(replace(state, sequence=2))
    table.purge(["values"])
    view = table.published()
    assert view is not None
    assert not bodies(table)
    assert view.state.purged
    assert sorted(row["key"]["id"] for row in view.take(np.arange(3), ["key"]).to_pylist()) == [1, 3, 4]
    assert view.state.data_version == view.data_version()
    assert view.version == table.now().version
    assert len(observed.ids) == 2


def test_every_later_purge_leaves_nothing_either(tmp_path: Path) -> None:
    table = filled(tmp_path, {key: f"UNMASKED {key}" for key in range(20)})
    for round_ in range(4):
        table.purge(["values"])
        assert not bodies(table), f"after {round_} refreshes"
        table.merge(made({key: f"CHANGED {round_} {key}" for key in range(round_, 20, 4)}))
        table.append(made({100 + round_: "NEW"}))
        table.delete(hashes(19 - round_))
        table.publish(State(sequence=2 + round_))


def test_values_that_a_wider_column_put_beside_purged_ones_go_too(tmp_path: Path) -> None:
    table = filled(tmp_path, {1: "UNMASKED", 2: "UNMASKED", 3: "UNMASKED"})
    table.purge(["values"])
    table.append(made({4: "UNMASKED", 5: "UNMASKED"}))
    wider = table_at(tmp_path, pa.schema([("key", pa.struct([("id", pa.decimal128(20, 0))])), OWN.field("values")]))
    wider.reshape()  # rewrites all rows into one file
    wider.delete(hashes(5))
    wider.publish(State(sequence=2))
    wider.purge(["values"])
    assert not bodies(wider)
    assert sorted(shown(wider.published())) == [1, 2, 3, 4]


@pytest.mark.parametrize("writes", range(1, 8))
def test_a_purge_that_died_is_done_by_the_next(tmp_path: Path, writes: int) -> None:
    table = filled(tmp_path, {1: "UNMASKED", 2: "UNMASKED"})
    with suppress(Crash), crash_after(writes):
        table.purge(["values"])
    view = table.published()
    assert view is not None
    assert sorted(shown(view)) == [1, 2]
    if view.state.purged:
        assert not bodies(table), "it is said only once it is so"
    table = table_at(tmp_path, epoch=2)
    table.open_for_writing()
    table.publish(State(sequence=2))
    table.purge(["values"])
    assert not bodies(table)
    assert sorted(shown(table.published())) == [1, 2]


KINDS = [
    *(pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.bool_(), pa.string(), pa.large_string(), pa.binary(), pa.binary(4)),
    *(
        pa.decimal128(38, 10),
        pa.decimal256(50, 2),
        pa.date32(),
        pa.timestamp("s"),
        pa.timestamp("ns", "UTC"),
        pa.timestamp("us", "Asia/Tokyo"),
    ),
    *(pa.time32("s"), pa.time64("ns"), pa.duration("us"), pa.uuid(), pa.null(), pa.dictionary(pa.int8(), pa.string())),
    *(pa.list_(pa.int64()), pa.large_list(pa.string()), pa.list_(pa.int8(), 3), pa.map_(pa.string(), pa.int32()), pa.struct([])),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_type_comes_back_as_it_was(tmp_path: Path, kind: pa.DataType) -> None:
    """Else every run would find a table of another schema and write it anew."""
    table = table_at(tmp_path, pa.schema([("plain", kind), ("nested", pa.struct([("x", kind if kind != pa.struct([]) else pa.int8())]))]))
    assert table.open_for_writing().schema.equals(table.schema)


def test_tidying_without_retention_leaves_nothing_that_is_not_shown(tmp_path: Path) -> None:
    table = filled(tmp_path, {key: f"old {key}" for key in range(30)})
    table.merge(made({1: "new 1"}))
    table.delete(hashes(2))
    table.publish(State(sequence=2))
    table.tidy(timedelta(0))
    assert bodies(table) == {*shown(table.published()).values()}
    assert "old 1" not in bodies(table)
    assert len(lance.dataset(table.uri).versions()) == 1
    assert table.now().version == table.published().version  # type: ignore[union-attr]


def test_tidying_keeps_what_is_younger_than_the_retention(tmp_path: Path) -> None:
    table = filled(tmp_path, {key: f"old {key}" for key in range(30)})
    table.delete(hashes(2))
    state = table.publish(State(sequence=2))
    assert state.dirty_since
    table.tidy(timedelta(days=7))
    assert "old 2" in bodies(table)
    long_ago = (datetime.now(UTC) - timedelta(days=4)).isoformat(timespec="seconds")
    table._tag(replace(state, dirty_since=long_ago))  # as a publication four days ago would have
    table.delete(hashes(3))
    assert table.publish(State(sequence=3)).dirty_since == long_ago, "the oldest counts"
    table.tidy(timedelta(days=7))
    view = table.published()
    assert view is not None
    assert not view.state.dirty_since
    newest = lance.dataset(table.uri).scanner(with_row_id=True, include_deleted_rows=True).to_table()
    assert len(newest) == 28, "rows of the newest version are rewritten; old versions go when they are old enough"


def test_a_hundred_small_refreshes_leave_few_files(tmp_path: Path) -> None:
    table = filled(tmp_path, dict.fromkeys(range(49), "x"))
    most = 0
    for number in range(100):
        table.append(made({1000 + number: "new"}))
        table.merge(made({1000 + number // 2: "changed"}))
        table.compact()
        table.publish(State(sequence=2 + number))
        table.tidy(timedelta(0) if number % 10 == 9 else timedelta(days=7))
        most = max(most, len(lance.dataset(table.uri).get_fragments()))
    assert most <= 10
    files = [path for path in Path(table.uri).rglob("*") if path.is_file()]
    assert len(files) <= 30
    assert table.now().count() == 149


# --- places ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ü" * 200, "日本" * 100, "😀" * 50, 'a"b', 'x";--', "..", "a b/c", "100%", "%41", "a[b]", "t@1", "-"])
def test_any_name_of_a_table_is_a_place(tmp_path: Path, name: str) -> None:
    folder = tmp_path / TableRef("lake", name, name).path
    table = filled(folder, {1: "a"})
    table.merge(made({2: "b"}))
    table.publish(State(sequence=2))
    assert shown(StageTable(table.uri, OWN).published()) == {1: "a", 2: "b"}
    assert Path(table.uri).is_dir()
    table.drop()
    assert table.newest() is None
    table.drop()


def test_a_table_that_vanishes_while_it_is_in_use_is_a_storage_error(tmp_path: Path) -> None:
    table = filled(tmp_path, {1: "a"})
    view = table.now()
    shutil.rmtree(table.uri)
    for use in (table.now, lambda: view.take(np.arange(1)), lambda: list(view.batches([ROW_ID]))):
        with pytest.raises(StorageError, match=r"t\.lance"):
            use()


def test_a_root_that_is_no_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="check the storage root"):
        table_at(tmp_path / "file").open_for_writing()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A disk of its own, and how to give it another size."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("mounting a small disk needs root on Linux")
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options: str) -> int:
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True).returncode

    if mount("size=64m"):
        pytest.skip("this container may not mount a file system")
    try:
        yield (
            disk,
            lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True, capture_output=True) and None,
        )
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_loses_nothing_and_the_next_run_goes_on(small_disk: tuple[Path, Callable[[str], None]]) -> None:
    disk, resize = small_disk
    lake = Lake(disk, [{"id": 1, "body": "first", "status": "open"}], table={"quality": {}}, batch_rows=50, commit_rows=50)
    lake.sync()
    before = lake.snapshot()
    random = np.random.default_rng(0)
    lake.rows.extend({"id": key, "body": "late " + random.bytes(10_000).hex(), "status": "open"} for key in range(2, 302))
    used = subprocess.run(["du", "-sk", str(disk)], capture_output=True, text=True, check=True).stdout.split()[0]
    resize(f"{int(used) + 2_000}k")
    with pytest.raises(StorageError, match="disk is full; free some space") as caught:
        lake.sync()
    assert "late" not in str(caught.value)
    assert lake.snapshot() == before
    resize("200m")
    lake.sync()
    assert len(lake.snapshot()["objects"]) > 300  # type: ignore[arg-type]
    assert lake.sync()["weaviate_collections"].planned == 0
