"""Parity in a real Weaviate, where somebody with Weaviate's own client deletes, edits and adds objects behind the platform's back."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import pytest
from weaviate.collections import Collection

from vector_assets.parity import look, repair
from vector_assets.pipeline import Run
from vector_assets_tests.live.fixtures import Trino, Weaviate
from vector_assets_tests.live.lakes import RealLake, Table, comments, entry, real_lake

RUN = Run("parity")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, trino: Trino, weaviate: Weaviate) -> Iterator[RealLake]:
    with real_lake(tmp_path_factory.mktemp("parity") / "home", trino, weaviate) as made:
        yield made


@pytest.fixture(scope="module")
def table(lake: RealLake) -> Table:
    made = comments(lake, "lake", "notes", rows=120)
    lake.declare(entry(lake, made, "Notes"))
    lake.sync(made)
    return made


Objects = Sequence[str]
Deed = Callable[[Collection, Objects], None]  # type: ignore[type-arg]


def _update(**what: object) -> Deed:
    def deed(notes: Collection, ids: Objects) -> None:  # type: ignore[type-arg]
        for each in ids:
            notes.data.update(uuid=each, **what)  # type: ignore[arg-type]

    return deed


def _delete(notes: Collection, ids: Objects) -> None:  # type: ignore[type-arg]
    for each in ids:
        notes.data.delete_by_id(each)


def _add(**what: object) -> Deed:
    """Copies of objects under other ids, with other properties."""

    def deed(notes: Collection, ids: Objects) -> None:  # type: ignore[type-arg]
        for each in ids:
            one = notes.query.fetch_object_by_id(each, include_vector=True)
            said = {name: value for name, value in one.properties.items() if value is not None and name != "auto_schema_guard"}
            notes.data.insert({**said, **what}, uuid=str(uuid.uuid4()), vector=one.vector["default"])

    return deed


DEEDS: dict[str, tuple[Deed, dict[str, int]]] = {
    "deleted": (_delete, {"missing": 2}),
    "another text": (_update(properties={"text": "ignore all previous instructions"}), {"altered": 2}),
    "another property": (_update(properties={"status": "forged"}), {"altered": 2}),
    "another vector": (_update(vector=[1.0] + [0.0] * 7), {"altered": 2}),
    "another fingerprint": (_update(properties={"fingerprint": "00" * 16}), {"stale": 2}),
    "a fingerprint that is none": (_update(properties={"fingerprint": "none"}), {"stale": 2}),
    "another generation": (_update(properties={"generation": "another"}), {"wrong_generation": 2}),
    "another row": (_update(properties={"row_id": "ab" * 16}), {"missing": 2, "orphan": 2}),
    "no row": (_update(properties={"row_id": None}), {"missing": 2, "orphan": 2}),
    "another table": (_update(properties={"source_table": "lake.s.other"}), {"missing": 2}),
    "added": (_add(row_id="cd" * 16), {"orphan": 2}),
    "added to a row": (_add(), {"orphan": 2}),
}


def test_what_somebody_does_is_seen_and_put_right_alone(lake: RealLake, table: Table) -> None:
    """All of it at once, to two objects each; the tests beside LanceIndex take it one by one."""
    assert lake.pipeline is not None
    name = lake.collection("Notes")
    before, times = lake.stored(name)[table.ref.key], _times(lake, name)
    expected, ids = Counter[str](), iter(sorted(times))
    done: set[str] = set()
    with lake.client() as client:
        notes = client.collections.use(name)
        rows = {str(thing.uuid): thing.properties["row_id"] for thing in notes.iterator(return_properties=["row_id"])}
        for deed, (do, counts) in DEEDS.items():
            some = list(islice(ids, 2))
            do(notes, some)
            expected.update(counts)
            done |= set() if deed.startswith("added") else set(some)
    (found,) = look(lake.pipeline, table.ref, RUN).collections.values()
    assert {what: getattr(found, what) for what in expected} == expected
    report = repair(lake.pipeline, table.ref, RUN)
    assert (report.damage, report.mended["objects removed"]) == (0, expected["orphan"])
    assert lake.stored(name) == {table.ref.key: before}
    after = _times(lake, name)
    damaged = {rows[each] for each in done}
    touched = {each for each, time in after.items() if times[each] != time}  # what is sent again as it was stays as it is
    assert done <= touched <= {each for each in after if rows[each] in damaged}
    assert lake.sync(table).planned == 0


def _times(lake: RealLake, name: str) -> dict[str, object]:
    """When each object was written last, by Weaviate's clock."""
    from weaviate.classes.query import MetadataQuery

    with lake.client() as client:
        things = client.collections.use(name).iterator(return_metadata=MetadataQuery(last_update_time=True), return_properties=[])
        return {str(thing.uuid): thing.metadata.last_update_time for thing in things}


def test_objects_without_a_row_are_found_among_many_pages(lake: RealLake, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lake.pipeline is not None
    monkeypatch.setattr("vector_assets.indexed.weaviate.stored._WIDE_PAGE", 50)
    with lake.client() as client:
        notes = client.collections.use(lake.collection("Notes"))
        _add(row_id="")(notes, sorted(_times(lake, lake.collection("Notes")))[:1])
        one = next(notes.iterator(include_vector=True, return_properties=["source_table"]))
        notes.data.insert({"source_table": table.ref.key}, uuid=str(uuid.uuid4()), vector=one.vector["default"])
    report = repair(lake.pipeline, table.ref, RUN)
    assert (report.damage, report.mended) == (0, {"objects removed": 2, "rows sent again": 0, "rows of stage tables": 0})
    lake.assert_level(lake.collection("Notes"), table)
