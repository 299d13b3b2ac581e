"""Scripted stand-ins for the outside world. They do what the Protocols say, count what they were asked, and fail when told to."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from vector_assets.engines import Engines
from vector_assets.errors import SourceError
from vector_assets.fingerprint import Hashes, column_fingerprints, from_arrow, to_arrow
from vector_assets.indexed.index import OBJECT_COLUMNS, STORED, CollectionSchema, Hit, Query
from vector_assets.indexed.mapping import ARROW_TYPES
from vector_assets.models.registry import ModelVersion
from vector_assets.raw.source import SourceVersion
from vector_assets.settings import Settings
from vector_assets.tables import TableRef

Row = Mapping[str, object]


class MemorySource:
    """Tables as lists of rows. `on_read` is called with the number of each batch before it is handed out (and may raise or wait)."""

    def __init__(self, schema: pa.Schema, tables: dict[TableRef, list[Row]] | None = None, *, batch_rows: int = 3) -> None:
        self.schema = schema
        self.data: dict[TableRef, list[Row]] = tables or {}
        self.batch_rows = batch_rows
        self.on_read: Callable[[str, int], None] = lambda _kind, _number: None
        self.fetched = 0

    def tables(self, pattern: str) -> list[TableRef]:
        return sorted(self.data)

    def version(self, table: TableRef) -> SourceVersion:
        rows = repr([sorted(row.items()) for row in self.data[table]])
        return SourceVersion(hashlib.sha256((rows + str(self.schema)).encode()).hexdigest()[:16], exact=False)

    def versions(self, tables: Sequence[TableRef]) -> dict[TableRef, SourceVersion]:
        return {table: self.version(table) for table in tables if table in self.data}

    @contextmanager
    def open(self, table: TableRef, columns: Sequence[str], key: Sequence[str]) -> Iterator[MemoryRead]:
        missing = [name for name in columns if name not in self.schema.names]
        if missing:
            raise SourceError(f"{table.key} has no column {missing[0]!r}")
        schema = pa.schema([self.schema.field(name) for name in columns])
        yield MemoryRead(self, self.version(table), schema, key, [dict(row) for row in self.data[table]])


@dataclass
class MemoryRead:
    source: MemorySource
    version: SourceVersion
    schema: pa.Schema
    key: Sequence[str]
    content: list[dict[str, object]]
    read: int = 0

    @property
    def facts(self) -> dict[str, int]:
        return {"rows_read": self.read}

    def digests(self) -> Iterator[pa.RecordBatch]:
        yield from (batch.select(["key", "digest"]) for batch in self._batches("digests", self.content))

    def rows(self) -> Iterator[pa.RecordBatch]:
        yield from self._batches("rows", self.content)

    def fetch(self, keys: pa.StructArray) -> Iterator[pa.RecordBatch]:
        wanted = {tuple(key.values()) for key in keys.to_pylist()}
        yield from self._batches("fetch", [row for row in self.content if tuple(row[name] for name in self.key) in wanted])

    def present(self, keys: pa.StructArray) -> pa.BooleanArray:
        have = {tuple(row[name] for name in self.key) for row in self.content}
        return pa.array([tuple(key.values()) in have for key in keys.to_pylist()], pa.bool_())

    def _batches(self, kind: str, rows: list[dict[str, object]]) -> Iterator[pa.RecordBatch]:
        size = self.source.batch_rows
        for number, start in enumerate(range(0, len(rows), size)):
            self.source.on_read(kind, number)
            self.read += len(rows[start : start + size])
            table = pa.Table.from_pylist(rows[start : start + size], schema=self.schema).combine_chunks()
            values = pa.StructArray.from_arrays([column.combine_chunks() for column in table.columns], fields=list(self.schema))
            fields = [self.schema.field(name) for name in self.key]
            key = pa.StructArray.from_arrays([values.field(name) for name in self.key], fields=fields)
            digest = to_arrow(column_fingerprints("test", list(zip(table.column_names, table.columns, strict=True))))
            if kind != "digests":
                self.source.fetched += len(table)
            yield pa.record_batch([key, values, digest], names=["key", "values", "digest"])


class StubRedactor:
    """Replaces the word `secret`; remembers every text that it was given."""

    def __init__(self, version: str = "1") -> None:
        self.version = version
        self.seen: list[str] = []
        self.failing: str | None = None

    def redact(self, texts: Sequence[str]) -> list[str | Exception]:
        self.seen += texts
        failing = self.failing
        return [ValueError(text) if failing and failing in text else text.replace("secret", f"<{self.version}>") for text in texts]

    def close(self) -> None:
        pass


class StubEncoder:
    """Vectors from hashes of words; one token per word; remembers every passage."""

    def __init__(self, dimension: int = 8, max_tokens: int = 16) -> None:
        self.dimension, self.max_tokens = dimension, max_tokens
        self.unit_length = True
        self.seen: list[str] = []
        self.again: list[str] = []  # passages that were encoded exactly
        self.failing: str | None = None

    def spans(self, text: str) -> list[tuple[int, int]]:
        spans, start = [], 0
        for word in text.split():
            at = text.index(word, start)
            start = at + len(word)
            spans.append((at, start))
        return spans

    def encode(self, passages: Sequence[str], *, exact: bool = False) -> np.ndarray:
        if exact:
            self.again += passages
        else:
            self.seen += passages
        return np.stack([self._vector(text) for text in passages]) if passages else np.empty((0, self.dimension), np.float32)

    def encode_query(self, query: str) -> np.ndarray:
        return self._vector(query)

    def _vector(self, text: str) -> np.ndarray:
        if self.failing and self.failing in text:
            return np.full(self.dimension, np.nan, dtype=np.float32)
        seed = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little")
        vector = np.random.default_rng(seed).normal(size=self.dimension).astype(np.float32)
        return vector / np.linalg.norm(vector)


@dataclass
class _Collection:
    schema: CollectionSchema
    incarnation: str
    objects: dict[bytes, dict[str, object]] = field(default_factory=dict)


class MemoryIndex:
    """Collections as dictionaries. `on_write` is called before each write (and may raise or wait)."""

    def __init__(self) -> None:
        self.made: dict[str, _Collection] = {}
        self.aliases: dict[str, str] = {}
        self.upserts = self.searched = 0
        self.refuse: str | None = None
        self.on_write: Callable[[], None] = lambda: None
        self._incarnations = 0

    def ensure(self, schema: CollectionSchema) -> str:
        if schema.name not in self.made:
            self._incarnations += 1
            self.made[schema.name] = _Collection(schema, f"i{self._incarnations}")
        return self.made[schema.name].incarnation

    def incarnation(self, name: str) -> str | None:
        return self.made[name].incarnation if name in self.made else None

    def describe(self, name: str) -> CollectionSchema | None:
        return self.made[name].schema if name in self.made else None

    def upsert(self, name: str, objects: pa.Table) -> dict[bytes, str]:
        self.on_write()
        rows = objects.to_pylist()
        refused = {row["id"]: "refused" for row in rows if self.refuse and self.refuse in row["text"]}
        self.upserts += len(rows) - len(refused)
        self.made[name].objects |= {row["id"]: row for row in rows if row["id"] not in refused}
        return refused

    def delete(self, name: str, ids: Hashes) -> None:
        self.on_write()
        for object_id in to_arrow(ids).to_pylist():
            self.made[name].objects.pop(object_id, None)

    def stored(
        self, name: str, source_table: str, columns: Sequence[str] = STORED, *, rows: Hashes | None = None
    ) -> Iterator[pa.RecordBatch]:
        made = self.made[name]
        wanted = None if rows is None else set(to_arrow(rows).to_pylist())
        objects = [
            row for row in made.objects.values() if row["source_table"] == source_table and (wanted is None or row["row_id"] in wanted)
        ]
        properties = pa.struct([pa.field(prop.name, ARROW_TYPES[prop.type]) for prop in made.schema.properties])
        kinds = {f.name: f.type for f in OBJECT_COLUMNS}
        kinds |= {"vector": pa.list_(pa.float16(), made.schema.dimension), "properties": properties}
        yield pa.record_batch([pa.array([row[name] for row in objects], kinds[name]) for name in columns], names=list(columns))

    def search(self, name: str, query: Query) -> list[Hit]:
        """Nearest by cosine; conditions and texts are for real indexes."""
        self.searched += 1
        objects = list(self.made[name].objects.values())
        if not objects:
            return []
        vectors = np.array([row["vector"] for row in objects], dtype=np.float32)
        scores = vectors @ query.vector / np.maximum(np.linalg.norm(vectors, axis=1), 1e-9)
        best = sorted(zip(scores.tolist(), objects, strict=True), key=lambda pair: (-pair[0], pair[1]["id"]))[: query.limit]
        return [
            Hit(str(uuid.UUID(bytes=row["id"])), row["source_key"], row["source_table"], score, row["text"], row["properties"])  # type: ignore[arg-type]
            for score, row in best
        ]

    def vectors_of(self, name: str, source_table: str | None, source_key: str) -> None:
        raise NotImplementedError

    def resolve(self, alias: str) -> str | None:
        return self.aliases.get(alias)

    def point(self, alias: str, name: str) -> None:
        self.aliases[alias] = name

    def collections(self) -> list[str]:
        return sorted(self.made)

    def drop(self, name: str) -> None:
        del self.made[name]


def model_version(digest: str = "d1", dimension: int = 8) -> ModelVersion:
    """A registered model that needs no registry."""
    return ModelVersion(version=digest.removeprefix("d"), digest=digest, uri=f"file:///{digest}", dimension=dimension)


class FakeEngines(Engines):
    """Engines of stand-ins; the model and the policy's version may be changed between runs."""

    def __init__(self, settings: Settings, source: MemorySource, index: object | None = None) -> None:
        super().__init__(settings)
        self.memory = source
        self.stub_redactor = StubRedactor()
        self.stub_encoder = StubEncoder()
        self.memory_index = index or MemoryIndex()
        self.model = model_version()

    def source(self, catalog: str) -> MemorySource:
        return self.memory

    def redactor(self, policy: str) -> StubRedactor:
        return self.stub_redactor

    def champion(self) -> ModelVersion:
        return self.model

    def encoder(self, model: ModelVersion) -> StubEncoder:
        return self.stub_encoder

    def index(self) -> MemoryIndex:
        return self.memory_index  # type: ignore[return-value]


def hashes(*values: int) -> Hashes:
    """Small ids for tests of pure parts."""
    return from_arrow(pa.array([value.to_bytes(16, "big") for value in values], pa.binary(16)))
