"""Weaviate: objects in and out, ours against every way that its own client has, on one server and in one run.

All of them write the same objects into collections that `WeaviateIndex` made. The client's objects are made before its clock starts, ours
start from Arrow. *Accepted*: the last object was acknowledged. *Searchable*: besides, the count is right, nothing waits to be indexed, and
probes are found by their vectors. They differ where Weaviate indexes in the background, so that is measured too, on a second server.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from vector_assets.fingerprint import Hashes, from_arrow, from_bytes, text_fingerprint, to_arrow
from vector_assets.indexed.index import OBJECT_COLUMNS, CollectionSchema, Property
from vector_assets.indexed.mapping import object_ids
from vector_assets.indexed.weaviate.index import WeaviateIndex
from vector_assets.indexed.weaviate.layout import VECTOR
from vector_assets.settings import Settings
from vector_assets.tables import CollectionSpec
from vector_assets_tests.bench import corpus, servers
from vector_assets_tests.bench.report import Figure

if TYPE_CHECKING:
    from weaviate import WeaviateClient
    from weaviate.classes.data import DataObject
    from weaviate.collections import Collection

OBJECTS = 10_000
DIMENSION = 384
ROUNDS = 3
PROBES = 20
DELETED = {"ours": 1_500, "delete_many": 1_500, "delete_by_id": 300}  # in each round; all rounds together take away 9,900
_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.02

PROPERTIES = (
    Property("ticket_id", "int"),
    Property("status", "text"),
    Property("customer", "text"),
    Property("amount", "number"),
    Property("urgent", "boolean"),
    Property("opened", "timestamp"),
)


class Made(NamedTuple):
    """The same objects, as the pipeline has them and as the client takes them."""

    table: pa.Table
    plain: Sequence[DataObject]


class Rates(NamedTuple):
    """Objects per second, and per second of this process's CPU until they were accepted."""

    accepted: float
    searchable: float
    by_cpu: float


class Setup(NamedTuple):
    """A server, and what is tried with it."""

    title: str
    environment: Mapping[str, str]
    rounds: int
    left_out: frozenset[str] = frozenset()


SETUPS = (
    Setup("indexed at once", {"ASYNC_INDEXING": "false"}, ROUNDS),
    Setup("indexed later", {"ASYNC_INDEXING": "true"}, 2, frozenset({"insert_many, 200", "insert_many, 1,000"})),  # slow where it counts
)


Way = Callable[[str], None]
"""Writes all objects to a collection; raises where one was not accepted."""


def measure(_: Path) -> list[Figure]:
    made = _made()
    figures: list[Figure] = []
    for setup in SETUPS:
        with servers.weaviate(setup.environment) as server, servers.weaviate_client(server) as client:
            index = WeaviateIndex(server)
            try:
                figures += _inserts(setup, index, client, made)
                figures += _deletes(setup, index, client, made)
            finally:
                index.close()
    return figures


# --- inserts ---------------------------------------------------------------------------------------------------------------------------


def _inserts(setup: Setup, index: WeaviateIndex, client: WeaviateClient, made: Made) -> Iterator[Figure]:
    best = _best(setup, index, client, made)
    ours = best.pop("ours")
    for name, rates in best.items():
        yield Figure(f"{setup.title}: {name}", f"{rates.accepted:,.0f} accepted/s, {rates.searchable:,.0f} searchable/s")
    for at, (what, asked) in enumerate((("accepted/s", "≥ 1×"), ("searchable/s", "≥ 1×"), ("accepted/s of the client's CPU", ""))):
        theirs = max(best, key=lambda name: best[name][at])
        yield Figure(f"{setup.title}: ours", f"{ours[at]:,.0f} {what}: {ours[at] / best[theirs][at]:.2f}× of {theirs}", asked)


def _best(setup: Setup, index: WeaviateIndex, client: WeaviateClient, made: Made) -> dict[str, Rates]:
    ways = {name: way for name, way in _ways(index, client, made).items() if name not in setup.left_out}
    found: dict[str, list[Rates]] = {name: [] for name in ways}
    for number in range(setup.rounds):
        names = list(ways)
        for name in names[number:] + names[:number]:  # none always runs behind the same one
            with _collection(index) as collection:
                found[name].append(_rates(client.collections.use(collection), made, lambda way=ways[name], to=collection: way(to)))  # type: ignore[misc]
    return {name: Rates(*(max(column) for column in zip(*rates, strict=True))) for name, rates in found.items()}


def _ways(index: WeaviateIndex, client: WeaviateClient, made: Made) -> dict[str, Way]:
    def batched(size: int, requests: int) -> Way:
        return lambda name: _batch(batch := client.collections.use(name).batch, batch.fixed_size(size, requests), made)

    def many(size: int) -> Way:
        return lambda name: _insert_many(client.collections.use(name), made, size)

    return {
        "ours": lambda name: _ours(index, name, made),
        "fixed_size(200, 2)": batched(200, 2),
        "fixed_size(500, 4)": batched(500, 4),
        "dynamic()": lambda name: _batch(batch := client.collections.use(name).batch, batch.dynamic(), made),
        "stream()": lambda name: _batch(batch := client.collections.use(name).batch, batch.stream(), made),
        "insert_many, 200": many(200),
        "insert_many, 1,000": many(1_000),
    }


def _ours(index: WeaviateIndex, name: str, made: Made) -> None:
    """As the stage does: a batch of rows at a time."""
    rows = Settings().batch_rows
    for start in range(0, OBJECTS, rows):
        refused = index.upsert(name, made.table.slice(start, rows))
        assert not refused


def _batch(wrapper, context, made: Made) -> None:  # type: ignore[no-untyped-def]
    with context as batch:
        for each in made.plain:
            batch.add_object(properties=each.properties, uuid=each.uuid, vector=each.vector)
    assert not wrapper.failed_objects


def _insert_many(collection: Collection, made: Made, size: int) -> None:
    for start in range(0, OBJECTS, size):
        assert not collection.data.insert_many(made.plain[start : start + size]).errors


def _rates(collection: Collection, made: Made, write: Callable[[], None]) -> Rates:
    started, cpu = time.perf_counter(), time.process_time()
    write()
    accepted, cpu = time.perf_counter() - started, time.process_time() - cpu
    while not _searchable(collection, made):
        assert time.perf_counter() - started < _WAIT_SECONDS
        time.sleep(_POLL_SECONDS)
    return Rates(OBJECTS / accepted, OBJECTS / (time.perf_counter() - started), OBJECTS / cpu)


def _searchable(collection: Collection, made: Made) -> bool:
    if collection.aggregate.over_all(total_count=True).total_count != OBJECTS:
        return False
    if any(shard.vector_queue_length for shard in collection.shards()):
        return False
    return all(_found(collection, probe) for probe in made.plain[:: OBJECTS // PROBES])


def _found(collection: Collection, probe: DataObject) -> bool:
    answer = collection.query.near_vector(near_vector=probe.vector[VECTOR], limit=1, return_properties=[])
    return [each.uuid for each in answer.objects] == [probe.uuid]


# --- deletes ---------------------------------------------------------------------------------------------------------------------------


def _deletes(setup: Setup, index: WeaviateIndex, client: WeaviateClient, made: Made) -> Iterator[Figure]:
    seconds: dict[str, list[float]] = {name: [] for name in DELETED}
    with _collection(index) as name:
        index.upsert(name, made.table)
        collection = client.collections.use(name)
        start = 0
        for _ in range(ROUNDS):
            for way, count in DELETED.items():
                ids = from_arrow(made.table.column("id").slice(start, count))
                start += count
                started = time.perf_counter()
                _delete(way, index, collection, ids)
                seconds[way].append(time.perf_counter() - started)
        assert collection.aggregate.over_all(total_count=True).total_count == OBJECTS - start
    rates = {way: DELETED[way] / min(taken) for way, taken in seconds.items()}
    others = ", ".join(f"{rates['ours'] / rates[way]:.2f}× of {way}" for way in DELETED if way != "ours")
    yield Figure(f"{setup.title}: ours, deleted by id", f"{rates['ours']:,.0f} objects/s: {others}")


def _delete(way: str, index: WeaviateIndex, collection: Collection, ids: Hashes) -> None:
    from weaviate.classes.query import Filter

    uuids = _uuids(to_arrow(ids))
    match way:
        case "ours":
            index.delete(collection.name, ids)
        case "delete_many":
            assert collection.data.delete_many(Filter.by_id().contains_any(uuids)).successful == len(uuids)
        case _:
            assert sum(collection.data.delete_by_id(each) for each in uuids) == len(uuids)


# --- what they work on -----------------------------------------------------------------------------------------------------------------


@contextmanager
def _collection(index: WeaviateIndex) -> Iterator[str]:
    schema = CollectionSchema(f"Bench_{uuid.uuid4().hex[:12]}", DIMENSION, CollectionSpec(), PROPERTIES, {"generation": "g1"})
    index.ensure(schema)
    try:
        yield schema.name
    finally:
        index.drop(schema.name)


def _made() -> Made:
    from weaviate.classes.data import DataObject

    table = _objects()
    vectors = table.column("vector").combine_chunks().flatten().to_numpy().astype(np.float32).reshape(-1, DIMENSION)
    flat = table.drop_columns(["id", "vector"]).flatten()
    named = flat.rename_columns([name.removeprefix("properties.") for name in flat.column_names]).to_pylist()
    rows = [{name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()} for row in named]
    plain = [
        DataObject(properties=row, uuid=key, vector={VECTOR: vector.tolist()})
        for row, key, vector in zip(rows, _uuids(table.column("id")), vectors, strict=True)
    ]
    return Made(table, plain)


def _objects() -> pa.Table:
    texts = corpus.texts(OBJECTS)
    numbers = np.arange(OBJECTS)
    rows = from_bytes([text_fingerprint(str(number), "row_id") for number in numbers])
    columns = [
        to_arrow(object_ids(rows, np.zeros(OBJECTS, np.int32))),
        to_arrow(rows),
        pa.array(np.zeros(OBJECTS, np.int32)),
        pa.repeat("lake.support.tickets", OBJECTS),
        pa.array([str(number) for number in numbers]),
        pa.array(texts),
        to_arrow(from_bytes([text_fingerprint(text) for text in texts])),
        pa.repeat("g1", OBJECTS),
    ]
    properties = {
        "ticket_id": pa.array(numbers),
        "status": pa.array(["open", "pending", "closed"]).take(pa.array(numbers % 3)),
        "customer": pa.array([text_fingerprint(str(number % 900)).hex() for number in numbers]),
        "amount": pa.array(numbers * 1.25),
        "urgent": pa.array(numbers % 7 == 0),
        "opened": pa.array(1_700_000_000_000_000 + numbers * 61_000_000, pa.timestamp("us", "UTC")),
    }
    vector = pa.FixedSizeListArray.from_arrays(pa.array(_vectors().ravel()), DIMENSION)
    return (
        pa.table(columns, schema=OBJECT_COLUMNS)
        .append_column("vector", vector)
        .append_column("properties", pa.StructArray.from_arrays(list(properties.values()), names=list(properties)))
    )


def _vectors() -> np.ndarray:
    """Shape (OBJECTS, DIMENSION), half precision, of length 1. As with embeddings of texts, most of what differs lies in few directions:
    in a cloud without any, Weaviate would have to look at far more neighbours."""
    random = np.random.default_rng(7)
    few = random.normal(size=(OBJECTS, 32)) @ random.normal(size=(32, DIMENSION))
    vectors = few + random.normal(size=few.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def _uuids(ids: pa.Array | pa.ChunkedArray) -> list[uuid.UUID]:
    return [uuid.UUID(bytes=value) for value in ids.to_pylist()]
