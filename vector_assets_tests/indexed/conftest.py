"""Objects for index tests. `index` is every implementation that keeps the contract."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import SecretStr

from vector_assets.fingerprint import Hashes, from_arrow, from_bytes, text_fingerprint, to_arrow
from vector_assets.indexed.index import OBJECT_COLUMNS, CollectionSchema, Property, VectorIndex
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.indexed.mapping import ARROW_TYPES, object_ids
from vector_assets.indexed.weaviate.index import WeaviateIndex
from vector_assets.indexed.weaviate.server import Server, parse_endpoint
from vector_assets.tables import CollectionSpec
from vector_assets_tests.live.fixtures import Weaviate

DIMENSION = 4
NAME = re.compile(r"[A-Z]\w{0,230}", re.ASCII)
PROPERTIES = (
    Property("status", "text"),
    Property("votes", "int"),
    Property("price", "number"),
    Property("open", "boolean"),
    Property("at", "timestamp"),
)
MakeObjects = Callable[..., pa.Table]
MakeSchema = Callable[..., CollectionSchema]


@pytest.fixture(params=["lance", "weaviate"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> VectorIndex:
    if request.param == "lance":
        return LanceIndex(str(tmp_path / "index"))
    made: WeaviateIndex = request.getfixturevalue("weaviate_index")
    return made


@pytest.fixture
def weaviate_index(server_of_tests: Server) -> Iterator[WeaviateIndex]:
    """An index whose collections and aliases are gone when the test is over."""
    index = TidyIndex(server_of_tests)
    try:
        yield index
    finally:
        index.tidy()


@pytest.fixture
def server_of_tests(weaviate: Weaviate) -> Server:
    return Server(
        rest=parse_endpoint("WEAVIATE_URL", weaviate.url),
        grpc=parse_endpoint("WEAVIATE_GRPC_URL", weaviate.grpc_url),
        api_key=SecretStr(weaviate.api_key),
    )


class TidyIndex(WeaviateIndex):
    """Remembers what a test makes, and can remove just that."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.made: set[str] = set()

    def ensure(self, schema: CollectionSchema) -> str:
        self.made.add(schema.name)
        return super().ensure(schema)

    def tidy(self) -> None:
        try:
            for name in self.made:
                if NAME.fullmatch(name):
                    for alias in self._client.alias.list_all(collection=name):
                        self._client.alias.delete(alias_name=alias)
                    self._client.collections.delete(name)
        finally:
            self.close()


@pytest.fixture
def make_schema() -> MakeSchema:
    def make(**changes: object) -> CollectionSchema:
        settings: dict[str, object] = {
            # A name of its own: a server is shared by tests that run at the same time.
            "name": f"Things_{uuid.uuid4().hex[:12]}",
            "dimension": DIMENSION,
            "spec": CollectionSpec(),
            "properties": PROPERTIES,
            "stamp": {"generation": "g1", "model_uri": "models:/m/1", "model_digest": "d1", "query_prompt": ""},
        }
        return CollectionSchema(**{**settings, **changes})  # type: ignore[arg-type]

    return make


def rows_named(names: Sequence[str]) -> Hashes:
    return from_bytes([text_fingerprint(name, "row_id") for name in names])


def objects_named(
    names: Sequence[str],
    vectors: Sequence[Sequence[float]] | np.ndarray,
    *,
    texts: Sequence[str] | None = None,
    ordinals: Sequence[int] | None = None,
    table: str = "c.s.t",
    generation: str = "g1",
    properties: dict[str, Sequence[object]] | None = None,
    schema: Sequence[Property] = PROPERTIES,
    dtype: str = "float16",
) -> pa.Table:
    count = len(names)
    rows = rows_named(names)
    numbers = np.asarray(ordinals if ordinals is not None else [0] * count, dtype=np.int32)
    said = list(texts) if texts is not None else [f"text of {name}" for name in names]
    columns = [
        to_arrow(object_ids(rows, numbers)),
        to_arrow(rows),
        pa.array(numbers),
        pa.array([table] * count, pa.string()),
        pa.array(list(names), pa.string()),
        pa.array(said, pa.string()),
        to_arrow(from_bytes([text_fingerprint(text) for text in said])),
        pa.array([generation] * count, pa.string()),
    ]
    values = np.asarray(vectors, dtype=dtype).reshape(count, -1)
    vector = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    given = properties or {}
    arrays = [pa.array(given.get(p.name, [None] * count), ARROW_TYPES[p.type]) for p in schema]
    fields = [pa.field(p.name, ARROW_TYPES[p.type]) for p in schema]
    struct = pa.StructArray.from_arrays(arrays, fields=fields) if fields else pa.array([{}] * count, pa.struct([]))
    return pa.table(columns, schema=OBJECT_COLUMNS).append_column("vector", vector).append_column("properties", struct)


@pytest.fixture
def make_objects() -> MakeObjects:
    return objects_named


def ids_named(objects: pa.Table) -> Hashes:
    return from_arrow(objects.column("id"))


@pytest.fixture
def ids_of() -> Callable[[pa.Table], Hashes]:
    return ids_named
