"""What is Lance's own: several writers, upkeep, retention, unreadable stores."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pytest

from vector_assets.errors import ConfigurationError, IndexConflict, IndexUnavailable
from vector_assets.indexed.index import CollectionSchema, Condition, Property, Query
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.indexed.lance.upkeep import VECTOR_INDEX, Upkeep, segments_to_merge
from vector_assets.tables import CollectionSpec

EAGER = Upkeep(
    fresh_fragments=3, fresh_rows=100, fragment_rows=64, small_fragments=4, reader_grace=dt.timedelta(seconds=1), retention=dt.timedelta(0)
)


def dataset_of(root: Path, name: str) -> Any:
    return lance.dataset(root / "collections" / f"{name}.lance")


def clusters(count: int, dimension: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(0).standard_normal((50, dimension))
    return centers[random.integers(0, 50, count)] + 0.5 * random.standard_normal((count, dimension))


def keys_of(index: LanceIndex, name: str) -> set[str]:
    dataset = index._open(name)
    return set(dataset.to_table(columns=["source_key"]).column("source_key").to_pylist())


# --- several writers -------------------------------------------------------------------------------------------------------------------


def run_all(actions: list[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(actions)) as pool:
        for future in [pool.submit(action) for action in actions]:
            future.result()


def test_threads_share_a_collection(tmp_path: Path, make_schema: Any, make_objects: Any, ids_of: Any) -> None:
    schema = make_schema()
    LanceIndex(str(tmp_path)).ensure(schema)
    shared = LanceIndex(str(tmp_path), upkeep=EAGER)

    def write(writer: int) -> None:
        index = shared if writer % 2 else LanceIndex(str(tmp_path), upkeep=EAGER)
        for step in range(8):
            names = [f"{writer}-{step}-{i}" for i in range(6)]
            objects = make_objects(names, clusters(6, 4, step), table=f"c.s.t{writer}")
            assert index.upsert(schema.name, objects) == {}
            index.delete(schema.name, ids_of(objects)[4:])
            again = make_objects(names[:2], clusters(2, 4, 99), table=f"c.s.t{writer}", texts=["second", "second"])
            assert index.upsert(schema.name, again) == {}

    run_all([lambda writer=writer: write(writer) for writer in range(4)])  # type: ignore[misc]
    expected = {f"{writer}-{step}-{i}" for writer in range(4) for step in range(8) for i in range(4)}
    table = shared._open(schema.name).to_table(columns=["source_key", "text"])
    assert sorted(table.column("source_key").to_pylist()) == sorted(expected)
    assert table.column("text").to_pylist().count("second") == 4 * 8 * 2


def test_processes_share_a_collection(tmp_path: Path, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    index = LanceIndex(str(tmp_path), upkeep=EAGER)
    index.ensure(schema)
    for writer in range(2):  # what each process writes, as files: tests' own helpers stay here
        for step in range(6):
            objects = make_objects([f"{writer}-{step}-{i}" for i in range(5)], clusters(5, 4, step), table=f"c.s.t{writer}")
            lance.write_dataset(objects, tmp_path / f"in-{writer}-{step}.lance")
    script = (
        "import sys, lance\n"
        "import datetime as dt\n"
        "from vector_assets.indexed.lance.index import LanceIndex\n"
        "from vector_assets.indexed.lance.upkeep import Upkeep\n"
        "root, name, writer = sys.argv[1:]\n"
        "upkeep = Upkeep(fresh_fragments=3, fresh_rows=100, reader_grace=dt.timedelta(seconds=1), retention=dt.timedelta(0))\n"
        "index = LanceIndex(root, upkeep=upkeep)\n"
        "for step in range(6):\n"
        "    objects = lance.dataset(f'{root}/in-{writer}-{step}.lance').to_table()\n"
        "    assert index.upsert(name, objects) == {}\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), schema.name, str(writer)]) for writer in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert keys_of(index, schema.name) == {f"{writer}-{step}-{i}" for writer in range(2) for step in range(6) for i in range(5)}


def test_ensure_at_once_makes_one_collection_with_all_properties(tmp_path: Path, make_schema: Any) -> None:
    schema = make_schema(properties=())
    incarnations: list[str] = []

    def ensure(number: int) -> None:
        mine = CollectionSchema(
            schema.name, schema.dimension, schema.spec, (Property("shared", "int"), Property(f"p{number}", "text")), schema.stamp
        )
        incarnations.append(LanceIndex(str(tmp_path)).ensure(mine))

    run_all([lambda number=number: ensure(number) for number in range(6)])  # type: ignore[misc]
    assert len(set(incarnations)) == 1
    described = LanceIndex(str(tmp_path)).describe(schema.name)
    assert described is not None
    assert {prop.name for prop in described.properties} == {"shared", *(f"p{n}" for n in range(6))}


def test_a_handle_meets_a_collection_wiped_and_remade_by_another(tmp_path: Path, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    mine, other = LanceIndex(str(tmp_path)), LanceIndex(str(tmp_path))
    first = mine.ensure(schema)
    mine.upsert(schema.name, make_objects(["a"], [[1, 0, 0, 0]]))
    assert keys_of(mine, schema.name) == {"a"}
    other.drop(schema.name)
    assert mine.incarnation(schema.name) is None
    other.ensure(schema)
    other.upsert(schema.name, make_objects(["b"], [[1, 0, 0, 0]]))
    assert mine.incarnation(schema.name) not in (None, first)
    assert [hit.key for hit in mine.search(schema.name, Query(np.ones(4, np.float32)))] == ["b"]


# --- reading ---------------------------------------------------------------------------------------------------------------------------


def test_stored_sees_one_moment(tmp_path: Path, make_schema: Any, make_objects: Any, ids_of: Any) -> None:
    schema = make_schema()
    index = LanceIndex(str(tmp_path))
    index.ensure(schema)
    objects = make_objects([f"n{i}" for i in range(100)], [[1, 0, 0, 0]] * 100)
    index.upsert(schema.name, objects)
    reading = index.stored(schema.name, "c.s.t")
    first = next(reading)
    index.delete(schema.name, ids_of(objects))
    assert first.num_rows + sum(batch.num_rows for batch in reading) == 100
    assert list(index.stored(schema.name, "c.s.t")) == []


# --- upkeep ----------------------------------------------------------------------------------------------------------------------------


def test_upkeep_bounds_fragments_and_segments_and_changes_no_answer(
    tmp_path: Path, make_schema: Any, make_objects: Any, ids_of: Any
) -> None:
    schema = make_schema(name="Kept_1")
    kept = LanceIndex(
        str(tmp_path / "kept"),
        upkeep=Upkeep(fresh_fragments=3, fresh_rows=100, fragment_rows=200, small_fragments=6, vector_index_rows=150),
    )
    plain = LanceIndex(str(tmp_path / "plain"), upkeep=Upkeep(fresh_fragments=10**9, fresh_rows=10**9))
    for index in (kept, plain):
        index.ensure(schema)
    random = np.random.default_rng(1)
    for step in range(60):
        names = sorted({f"n{i}" for i in random.integers(0, 400, 12)})
        texts = [f"word{random.integers(0, 40)} of step{step}" for _ in names]
        objects = make_objects(names, clusters(len(names), 4, step), texts=texts)
        gone = ids_of(objects)[:3]
        for index in (kept, plain):
            index.upsert(schema.name, objects)
            if step % 5 == 0:
                index.delete(schema.name, gone)
    dataset = dataset_of(tmp_path / "kept", schema.name)
    assert len(dataset.get_fragments()) < 12 < len(dataset_of(tmp_path / "plain", schema.name).get_fragments())
    assert all(len(entry.segments) <= 8 for entry in dataset.describe_indices())
    for seed in range(5):
        query = Query(clusters(1, 4, seed)[0].astype(np.float32), limit=20)
        assert kept.search(schema.name, query) == plain.search(schema.name, query)
    rare = Query(np.ones(4, np.float32), text="step59 step58 step17", limit=400)
    assert {hit.id for hit in kept.search(schema.name, rare)} == {hit.id for hit in plain.search(schema.name, rare)}


@pytest.mark.parametrize("quantization", ["none", "rq", "sq", "pq", "bq"])
def test_a_vector_index_appears_follows_and_finds(
    tmp_path: Path, make_schema: Any, make_objects: Any, ids_of: Any, quantization: str
) -> None:
    schema = make_schema(dimension=32, spec=CollectionSpec(quantization=quantization), properties=(Property("votes", "int"),))
    index = LanceIndex(str(tmp_path), upkeep=Upkeep(fresh_fragments=2, fresh_rows=200, vector_index_rows=1000))
    index.ensure(schema)
    vectors = clusters(1600, 32, 3)
    for start in range(0, 1600, 200):
        names = [f"n{i}" for i in range(start, start + 200)]
        votes = {"votes": [i % 20 for i in range(200)]}
        index.upsert(schema.name, make_objects(names, vectors[start : start + 200], schema=schema.properties, properties=votes))
    assert any(entry.name == VECTOR_INDEX for entry in dataset_of(tmp_path, schema.name).describe_indices())
    stored = vectors.astype(np.float16).astype(np.float64)
    hits = 0
    for query in (100, 900, 1599):
        similarity = stored @ stored[query] / np.linalg.norm(stored, axis=1)
        nearest = {f"n{i}" for i in np.argsort(-similarity)[:10]}
        found = index.search(schema.name, Query(stored[query].astype(np.float32), limit=10))
        assert found[0].key == f"n{query}"
        hits += len(nearest & {hit.key for hit in found})
    assert hits >= 27
    index.delete(schema.name, ids_of(make_objects(["n100"], [vectors[100]])))
    few = index.search(schema.name, Query(stored[100].astype(np.float32), where=(Condition("votes", "=", 0),), limit=100))
    assert {hit.key for hit in few} == {f"n{i}" for i in range(0, 1600, 20)} - {"n100"}


@pytest.mark.parametrize(
    ("sizes", "added", "merged"), [([], 5, 0), ([100], 5, 0), ([10], 5, 1), ([40, 20], 10, 2), ([100, 20], 10, 1), ([1000, 8, 4, 2], 1, 3)]
)
def test_segments_to_merge(sizes: list[int], added: int, merged: int) -> None:
    assert segments_to_merge(sizes, added) == merged


def test_segments_stay_few_and_rows_are_rarely_merged_again() -> None:
    sizes: list[int] = []
    work = 0
    for _ in range(1000):
        merged = segments_to_merge(sizes, 10)
        new = 10 + sum(sizes[len(sizes) - merged :])
        sizes[len(sizes) - merged :] = [new]
        work += new
    assert sum(sizes) == 10_000
    assert len(sizes) <= 10
    assert work <= 10_000 * 10


# --- retention -------------------------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = dt.datetime.now(dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now


def test_deleted_and_replaced_rows_are_gone_after_retention(tmp_path: Path, make_schema: Any, make_objects: Any, ids_of: Any) -> None:
    schema, clock = make_schema(), Clock()
    index = LanceIndex(str(tmp_path), upkeep=Upkeep(retention=dt.timedelta(days=1)), clock=clock)
    index.ensure(schema)
    objects = make_objects(["a", "b", "c"], [[1, 0, 0, 0]] * 3, texts=["gone a", "old b", "c"])
    index.upsert(schema.name, objects)
    index.delete(schema.name, ids_of(objects)[:1])
    index.upsert(schema.name, make_objects(["b"], [[1, 0, 0, 0]], texts=["new b"]))

    def readable() -> set[str]:
        dataset = dataset_of(tmp_path, schema.name)
        texts: set[str] = set()
        for version in dataset.versions():
            old = lance.dataset(dataset.uri, version=version["version"])
            texts |= set(old.scanner(columns=["text"], include_deleted_rows=True, with_row_id=True).to_table().column("text").to_pylist())
        return texts

    assert readable() == {"gone a", "old b", "c", "new b"}
    for _ in range(2):  # the second visit takes the versions that the first left for readers
        clock.now += dt.timedelta(hours=23, minutes=45)
        index.ensure(schema)
    assert readable() == {"c", "new b"}
    files = len(list((tmp_path / "collections" / f"{schema.name}.lance" / "data").iterdir()))
    assert files == 1


def test_a_reader_outlives_upkeep_for_a_while(tmp_path: Path, make_schema: Any, make_objects: Any, ids_of: Any) -> None:
    schema, clock = make_schema(), Clock()
    clock.now += dt.timedelta(days=1)  # every version is old; what counts is when it was superseded
    index = LanceIndex(str(tmp_path), upkeep=Upkeep(retention=dt.timedelta(0), reader_grace=dt.timedelta(days=1, minutes=1)), clock=clock)
    index.ensure(schema)
    objects = make_objects([f"n{i}" for i in range(50)], [[1, 0, 0, 0]] * 50)
    index.upsert(schema.name, objects)
    reader = dataset_of(tmp_path, schema.name)
    index.delete(schema.name, ids_of(objects)[1:])
    clock.now += dt.timedelta(seconds=30)
    index.ensure(schema)
    assert reader.to_table().num_rows == 50
    for _ in range(2):
        clock.now += dt.timedelta(days=2)
        index.ensure(schema)
    with pytest.raises((OSError, ValueError)):
        lance.dataset(reader.uri, version=reader.version).to_table()


def test_upkeep_without_work_commits_nothing(tmp_path: Path, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    index = LanceIndex(str(tmp_path))
    index.ensure(schema)
    index.upsert(schema.name, make_objects(["a"], [[1, 0, 0, 0]]))
    version = dataset_of(tmp_path, schema.name).version
    index.ensure(schema)
    index.search(schema.name, Query(np.ones(4, np.float32)))
    assert dataset_of(tmp_path, schema.name).version == version


# --- what may pass ---------------------------------------------------------------------------------------------------------------------


def test_an_unreadable_store_is_unavailable_and_quotes_nothing(tmp_path: Path, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    index = LanceIndex(str(tmp_path / "index"))
    index.ensure(schema)
    objects = make_objects(["a"], [[1, 0, 0, 0]], texts=["very secret words"])
    index.upsert(schema.name, objects)
    index.point("Alias", schema.name)
    (tmp_path / "index" / "aliases" / "Alias.json").unlink()
    (tmp_path / "index" / "aliases" / "Alias.json").mkdir()
    versions = tmp_path / "index" / "collections" / f"{schema.name}.lance" / "_versions"
    for file in versions.iterdir():
        file.write_bytes(b"very secret words")
    for act in (
        lambda: LanceIndex(str(tmp_path / "index")).describe(schema.name),
        lambda: LanceIndex(str(tmp_path / "index")).upsert(schema.name, objects),
        lambda: LanceIndex(str(tmp_path / "index")).ensure(schema),
        lambda: list(LanceIndex(str(tmp_path / "index")).stored(schema.name, "c.s.t")),
        lambda: LanceIndex(str(tmp_path / "index")).collections(),
    ):
        with pytest.raises(IndexUnavailable) as caught:
            act()
        assert "secret" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_a_root_that_is_no_folder_is_unavailable(tmp_path: Path, make_schema: Any) -> None:
    (tmp_path / "file").write_text("")
    index = LanceIndex(str(tmp_path / "file" / "index"))
    with pytest.raises(IndexUnavailable):
        index.ensure(make_schema())
    with pytest.raises(IndexUnavailable):
        index.collections()


@pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="mounting a small disk needs root on Linux")
def test_a_full_disk_is_unavailable_and_loses_nothing(tmp_path: Path, make_schema: Any, make_objects: Any) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this container may not mount a file system")
    try:
        schema = make_schema()
        index = LanceIndex(str(disk / "index"))
        index.ensure(schema)
        index.upsert(schema.name, make_objects(["a"], [[1, 0, 0, 0]]))
        random = np.random.default_rng(0)
        texts = ["very secret " + random.bytes(40_000).hex() for _ in range(60)]
        big = make_objects([f"n{i}" for i in range(60)], [[1, 0, 0, 0]] * 60, texts=texts)
        with pytest.raises(IndexUnavailable, match="no space left") as caught:
            index.upsert(schema.name, big)
        assert "secret" not in str(caught.value)
        assert keys_of(index, schema.name) == {"a"}
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_roots_of_every_spelling(tmp_path: Path, make_schema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = make_schema()
    LanceIndex(str(tmp_path / "index")).ensure(schema)
    LanceIndex(str(tmp_path / "index")).point("Alias", schema.name)
    monkeypatch.chdir(tmp_path)
    for root in ("index", "index/", f"file://{tmp_path}/index", f"{tmp_path}/index/"):
        assert LanceIndex(root).resolve("Alias") == schema.name
        assert LanceIndex(root).collections() == [schema.name]


def test_an_alias_is_read_whole_while_it_moves(tmp_path: Path, make_schema: Any) -> None:
    schemas = [make_schema(), make_schema()]
    index = LanceIndex(str(tmp_path))
    for schema in schemas:
        index.ensure(schema)
    index.point("Alias", schemas[0].name)
    names = {schema.name for schema in schemas}
    done = threading.Event()
    seen: set[str | None] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(LanceIndex(str(tmp_path)).resolve("Alias"))

    def move() -> None:
        try:
            for step in range(200):
                index.point("Alias", schemas[step % 2].name)
        finally:
            done.set()

    run_all([read, move])
    assert seen <= names


def test_several_rows_with_one_key(tmp_path: Path, make_schema: Any, make_objects: Any) -> None:
    schema = make_schema()
    index = LanceIndex(str(tmp_path))
    index.ensure(schema)
    objects = make_objects(["a", "b"], [[1, 0, 0, 0]] * 2)
    same = objects.set_column(4, objects.schema.field(4), [["~", "~"]])
    index.upsert(schema.name, same)
    with pytest.raises(ConfigurationError, match="several rows") as caught:
        index.vectors_of(schema.name, None, "~")
    assert "~" not in str(caught.value)


def test_drop_of_a_pointed_collection_names_the_alias(tmp_path: Path, make_schema: Any) -> None:
    schema = make_schema()
    index = LanceIndex(str(tmp_path))
    index.ensure(schema)
    index.point("Alias", schema.name)
    with pytest.raises(IndexConflict, match="Alias"):
        index.drop(schema.name)
