"""The whole pipeline from a real Trino to a real Weaviate: 50,000 comments of TPC-H in an Iceberg table, stand-ins for Presidio and model.

Each stage reads, computes and writes at one time. How long each of the three is at work, and how long it waits for the other two, is
measured around what `overlap` is given. In `weaviate_collections`, sending objects is what computes; what it writes is its ledger.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from vector_assets.engines import Engines
from vector_assets.indexed.weaviate.server import Server
from vector_assets.models.registry import ModelVersion
from vector_assets.pipeline import STAGES, Pipeline, Run, StageName
from vector_assets.reconcile import sync as reconciling
from vector_assets.reconcile.overlap import overlap
from vector_assets.reconcile.run import Outcome
from vector_assets.settings import Settings
from vector_assets.tables import Sources, TableRef
from vector_assets_tests.bench import servers
from vector_assets_tests.bench.report import Figure
from vector_assets_tests.fakes import StubEncoder, StubRedactor, model_version

ROWS = 50_000
DIMENSION = 384
_LAST_KEY = ROWS * 4  # keys of TPC-H: 8 of every 32, from 1
_EDITED_KEYS = "id % 3200 < 8"  # so these are 8 of every 800 rows
EDITED = 503  # 7 + 62 × 8

T = TypeVar("T")
U = TypeVar("U")


def measure(folder: Path) -> list[Figure]:
    with servers.trino() as trino, servers.weaviate() as weaviate, _table(trino) as ref, _pipeline(folder, ref, trino, weaviate) as lake:
        first = _sync(lake)
        unchanged = _sync(lake)
        trino.run(f"UPDATE iceberg.{ref.schema}.{ref.table} SET body = body || ' (edited)' WHERE {_EDITED_KEYS}")
        edited = _sync(lake)
    assert [outcome.added for outcome in first.outcomes.values()] == [ROWS] * len(STAGES)
    assert [outcome.changed for outcome in edited.outcomes.values()] == [EDITED] * len(STAGES)
    stages = [_stage_figure(first, name) for name in STAGES]
    return [
        Figure("first sync, 50,000 comments", f"{first.seconds:.1f} s: {ROWS / first.seconds:,.0f} rows/s"),
        *stages,
        _slowest_figure(first),
        Figure("unchanged re-sync", f"{unchanged.seconds:.2f} s, {unchanged.encoded} encoded"),
        Figure("1 % edited", f"{edited.seconds:.2f} s, {edited.encoded} encoded, {edited.redacted} redacted"),
        *(Figure(f"  {name}", f"{outcome.seconds:.2f} s") for name, outcome in edited.outcomes.items()),
    ]


def _stage_figure(first: Synced, name: StageName) -> Figure:
    seconds = first.outcomes[name].seconds
    parts = first.parts[name]
    idle = ", ".join(f"{part} {1 - busy / parts.seconds:.0%}" for part, busy in parts.busy.items())
    return Figure(f"  {name}", f"{seconds:.1f} s: {ROWS / seconds:,.0f} rows/s; {parts.seconds:.1f} s overlapped, idle: {idle}")


def _slowest_figure(first: Synced) -> Figure:
    busy = {(name, part): seconds for name in STAGES for part, seconds in first.parts[name].busy.items()}
    (name, part), seconds = max(busy.items(), key=lambda each: each[1])
    idle = 1 - seconds / first.parts[name].seconds
    return Figure("slowest part", f"{name}, {part}: {ROWS / seconds:,.0f} rows/s, idle {idle:.0%}")


# --- a sync, measured ------------------------------------------------------------------------------------------------------------------


@dataclass
class Parts:
    """Seconds that reading, computing and writing of one stage overlapped, and how long each was at work in them."""

    seconds: float = 0.0
    busy: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "compute", "write"), 0.0))

    @contextmanager
    def at_work(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.busy[part] += time.perf_counter() - started


@dataclass(frozen=True)
class Synced:
    """What one sync of the table did, and took."""

    seconds: float
    outcomes: dict[StageName, Outcome]
    parts: dict[StageName, Parts]
    redacted: int
    encoded: int


@dataclass(frozen=True)
class _Lake:
    pipeline: Pipeline
    engines: _Engines
    ref: TableRef


def _sync(lake: _Lake) -> Synced:
    outcomes: dict[StageName, Outcome] = {}
    parts: dict[StageName, Parts] = {}
    before = lake.engines.redactor("").texts, lake.engines.stub.passages
    started = time.perf_counter()
    for stage in STAGES:
        parts[stage] = Parts()
        with _overlap_measured(parts[stage]):
            outcomes[stage] = lake.pipeline.sync(stage, lake.ref, Run("bench"))
    seconds = time.perf_counter() - started
    return Synced(seconds, outcomes, parts, lake.engines.redactor("").texts - before[0], lake.engines.stub.passages - before[1])


@contextmanager
def _overlap_measured(parts: Parts) -> Iterator[None]:
    """Around what is handed to `overlap`, so that the pipeline carries no clocks."""

    def measured(read: Iterable[T], compute: Callable[[T], U], write: Callable[[U], None], *, depth: int = 2) -> None:
        def reading() -> Iterator[T]:
            items = iter(read)
            while True:
                with parts.at_work("read"):
                    item = next(items, None)
                if item is None:
                    return
                yield item

        def computing(item: T) -> U:
            with parts.at_work("compute"):
                return compute(item)

        def writing(item: U) -> None:
            with parts.at_work("write"):
                write(item)

        started = time.perf_counter()
        overlap(reading(), computing, writing, depth=depth)
        parts.seconds += time.perf_counter() - started

    reconciling.overlap = measured
    try:
        yield
    finally:
        reconciling.overlap = overlap


# --- what is synced --------------------------------------------------------------------------------------------------------------------


class _Redactor(StubRedactor):
    """Counts texts, and forgets them."""

    texts = 0

    def redact(self, texts: Sequence[str]) -> list[str | Exception]:
        self.texts += len(texts)
        self.seen.clear()
        return super().redact(texts)


class _Encoder(StubEncoder):
    """Counts passages, and forgets them. Texts that share words are near each other, as with a real model: an HNSW index takes vectors
    that are not at all like each other some times slower."""

    passages = 0

    def __init__(self) -> None:
        super().__init__(DIMENSION, max_tokens=64)
        self._words: dict[str, np.ndarray] = {}

    def encode(self, passages: Sequence[str]) -> np.ndarray:
        self.passages += len(passages)
        sums = np.stack([np.sum([self._word(word) for word in text.split()], axis=0) for text in passages])
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    def _word(self, word: str) -> np.ndarray:
        if word not in self._words:
            self._words[word] = self._vector(word)
        return self._words[word]


class _Engines(Engines):
    """Real source and real index; stand-ins between them."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._redactor, self.stub = _Redactor(), _Encoder()

    def redactor(self, policy: str) -> _Redactor:
        return self._redactor

    def champion(self) -> ModelVersion:
        return model_version(dimension=DIMENSION)

    def encoder(self, model: ModelVersion) -> _Encoder:
        return self.stub


@contextmanager
def _table(trino: servers.Address) -> Iterator[TableRef]:
    """50,000 orders' comments in an Iceberg table of our own."""
    ref = TableRef("lake", f"bench_{uuid.uuid4().hex[:10]}", "comments")
    trino.run(f"CREATE SCHEMA iceberg.{ref.schema}")
    try:
        columns = "orderkey AS id, comment AS body, orderstatus AS status, totalprice AS price, orderdate AS day"
        trino.run(f"CREATE TABLE iceberg.{ref.schema}.{ref.table} AS SELECT {columns} FROM tpch.sf1.orders WHERE orderkey <= {_LAST_KEY}")
        yield ref
    finally:
        trino.run(f"DROP SCHEMA iceberg.{ref.schema} CASCADE")


@contextmanager
def _pipeline(folder: Path, ref: TableRef, trino: servers.Address, weaviate: Server) -> Iterator[_Lake]:
    assert weaviate.api_key is not None
    collection = f"Comments_{ref.schema}"
    spec = {
        "table": ref.key,
        "key": ["id"],
        "text": "{body}",
        "properties": {"id": "keep", "status": "keep", "price": "keep", "day": "keep"},
        "collection": collection,
    }
    settings = Settings(
        home=folder / "home",
        weaviate_url=weaviate.rest.url,
        weaviate_grpc_url=weaviate.grpc.url,
        weaviate_api_key=weaviate.api_key,
    )
    object.__setattr__(settings, "tables", Sources.model_validate({"catalogs": {"lake": trino.catalog("iceberg")}, "tables": [spec]}))
    engines = _Engines(settings)
    pipeline = Pipeline(settings, engines)
    try:
        yield _Lake(pipeline, engines, ref)
    finally:
        pipeline.close()
        with servers.weaviate_client(weaviate) as client:
            client.alias.delete(alias_name=collection)
            for name in client.collections.list_all():
                if name.startswith(collection):
                    client.collections.delete(name)
