"""The seam to a vector index. `LanceIndex` (embedded) and `WeaviateIndex` answer the same questions in the same shapes.

Objects travel as Arrow tables of `OBJECT_COLUMNS` plus `vector` and `properties`. Names of properties are already mapped
(`mapping.py`), so an index never sees a name that it could refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vector_assets.fingerprint import HASH_TYPE, Hashes
from vector_assets.tables import CollectionSpec, PropertyType

OBJECT_COLUMNS = pa.schema(
    [
        pa.field("id", HASH_TYPE, nullable=False),  # the object's UUID bytes
        pa.field("row_id", HASH_TYPE, nullable=False),
        pa.field("ordinal", pa.int32(), nullable=False),  # of the passage in its row
        pa.field("source_table", pa.string(), nullable=False),  # partition key
        pa.field("source_key", pa.string(), nullable=False),  # key columns by policy, rendered; what `search --like` takes
        pa.field("text", pa.string(), nullable=False),
        pa.field("fingerprint", HASH_TYPE, nullable=False),  # of the object's content
        pa.field("generation", pa.string(), nullable=False),
    ]
)
"""Every object has these; `vector` (fixed_size_list<float16|float32>[dimension]) and `properties` (struct) come behind them."""

STORED = ("id", "row_id", "fingerprint")


class Property(NamedTuple):
    """A property of a collection, by its mapped name."""

    name: str
    type: PropertyType


@dataclass(frozen=True)
class CollectionSchema:
    """What a collection must be like. `stamp` is stored with it: generation, model URI and digest, query prompt."""

    name: str
    dimension: int
    spec: CollectionSpec
    properties: tuple[Property, ...]
    stamp: Mapping[str, str] = field(default_factory=dict)


Operator = Literal["=", "!=", "<", "<=", ">", ">="]


class Condition(NamedTuple):
    """A filter on one property (mapped name) or on `source_table`."""

    property: str
    operator: Operator
    value: str | int | float | bool


@dataclass(frozen=True)
class Query:
    """What to look for. `vector` alone: semantic. With `text`: hybrid (vector and keywords, fused by rank). `exclude_row`: a row not to
    find (its own neighbours are asked for)."""

    vector: npt.NDArray[np.float32]
    text: str | None = None
    where: tuple[Condition, ...] = ()
    limit: int = 10
    exclude_row: bytes | None = None


class Hit(NamedTuple):
    """One found object. `score`: higher is nearer; cosine similarity for semantic search, fused rank score for hybrid."""

    id: str
    key: str
    table: str
    score: float
    text: str
    properties: dict[str, object]


class VectorIndex(Protocol):
    """Collections of objects, and aliases that point to them. Every method raises IndexUnavailable for what may pass, IndexConflict for
    what will not."""

    def ensure(self, schema: CollectionSchema) -> str:
        """Create the collection, or add properties that it lacks; returns its incarnation: an id that a wiped and remade collection does
        not share. Raises IndexConflict where dimension, settings or a property's type disagree, naming both."""

    def incarnation(self, name: str) -> str | None:
        """The incarnation of a collection; None where there is none."""

    def describe(self, name: str) -> CollectionSchema | None:
        """The schema and stamp that a collection was made with (and extended to); None where there is none."""

    def upsert(self, name: str, objects: pa.Table) -> dict[bytes, str]:
        """Write objects, replacing those of equal id. Every object is acknowledged, or its id is in the answer with a reason that holds no
        row text. Vectors were checked before (dimension, finite)."""

    def delete(self, name: str, ids: Hashes) -> None:
        """Delete objects by id; ids that are not there are no error. Without ids it is a visit: an index that removes deleted objects for
        good some time later does so."""

    def stored(
        self, name: str, source_table: str, columns: Sequence[str] = STORED, *, rows: Hashes | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Every object of one table as it is stored, in bounded batches: what parity compares. `columns`: of `OBJECT_COLUMNS`, `vector`,
        `properties` (the collection's, typed as `mapping.ARROW_TYPES`). `rows`: only objects of these row ids."""

    def search(self, name: str, query: Query) -> list[Hit]:
        """The best hits, best first. Raises ConfigurationError for a condition on a property that the collection does not have."""

    def vectors_of(self, name: str, source_table: str | None, source_key: str) -> tuple[bytes, npt.NDArray[np.float32]] | None:
        """(row_id, vectors of shape (passages, dimension)) of the row whose `source_key` this is; None where there is none."""

    def resolve(self, alias: str) -> str | None:
        """The collection an alias points to; None where there is no such alias."""

    def point(self, alias: str, name: str) -> None:
        """Point an alias to a collection, atomically: a reader sees the old one or the new one."""

    def collections(self) -> list[str]:
        """Names of all collections."""

    def drop(self, name: str) -> None:
        """Remove a collection. Refuses one that an alias points to (IndexConflict)."""
