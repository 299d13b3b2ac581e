"""Query time, on the embedded index and a scripted encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from vector_assets.errors import ConfigurationError, IndexConflict
from vector_assets.fingerprint import from_bytes, text_fingerprint, to_arrow
from vector_assets.indexed.index import OBJECT_COLUMNS, CollectionSchema, Property
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.indexed.mapping import object_ids
from vector_assets.search import Resolution, Searcher
from vector_assets.tables import CollectionSpec

DIRECTIONS = {"east": [1.0, 0.0], "north": [0.0, 1.0], "west": [-1.0, 0.0]}


class CompassEncoder:
    """Knows a few words; each model (by digest) turns them differently, so that a mix-up shows."""

    max_tokens = 16

    def __init__(self, digest: str, dimension: int = 2) -> None:
        self.dimension = dimension
        self._turned = digest == "turned"

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]

    def encode(self, passages: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.array([self.encode_query(passage) for passage in passages])

    def encode_query(self, query: str) -> npt.NDArray[np.float32]:
        vector = np.array(DIRECTIONS[query.split(maxsplit=1)[0]], dtype=np.float32)
        return np.pad(-vector if self._turned else vector, (0, self.dimension - 2))


def schema(generation: str, digest: str) -> CollectionSchema:
    return CollectionSchema(
        name=f"Places_{generation}",
        dimension=2,
        spec=CollectionSpec(),
        properties=(Property("status", "text"), Property("source_id", "int")),
        stamp={"generation": generation, "model_uri": f"models:/m/{generation}", "model_digest": digest, "query_prompt": "query: "},
    )


def objects(generation: str, digest: str, rows: Sequence[tuple[str, int, str, str]]) -> pa.Table:
    """Rows of (key, ordinal, text, table)."""
    keys, numbers, texts, tables = map(list, zip(*rows, strict=True))
    row_ids = from_bytes([text_fingerprint(f"{table} {key}") for key, table in zip(keys, tables, strict=True)])
    vectors = CompassEncoder(digest).encode(texts).astype(np.float16)
    columns = [
        to_arrow(object_ids(row_ids, np.array(numbers))),
        to_arrow(row_ids),
        pa.array(numbers, pa.int32()),
        pa.array(tables),
        pa.array(keys),
        pa.array(texts),
        to_arrow(row_ids),
        pa.array([generation] * len(keys)),
    ]
    properties = pa.array(
        [{"status": "open" if number == 0 else "closed", "source_id": at} for at, number in enumerate(numbers)],
        pa.struct([("status", pa.string()), ("source_id", pa.int64())]),
    )
    table = pa.table(columns, schema=OBJECT_COLUMNS)
    return table.append_column("vector", pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 2)).append_column(
        "properties", properties
    )


ROWS = [("e", 0, "east gate", "c.s.a"), ("n", 0, "north tower", "c.s.a"), ("n", 1, "north again", "c.s.a"), ("w", 0, "west wall", "c.s.b")]


@pytest.fixture
def index(tmp_path: Path) -> LanceIndex:
    made = LanceIndex(str(tmp_path))
    for generation, digest in (("g1", "plain"), ("g2", "turned")):
        made.ensure(schema(generation, digest))
        made.upsert(f"Places_{generation}", objects(generation, digest, ROWS))
    made.point("Places", "Places_g1")
    return made


def encoder_for(stamp: Mapping[str, str]) -> CompassEncoder:
    return CompassEncoder(stamp["model_digest"])


@pytest.fixture
def searcher(index: LanceIndex) -> Searcher:
    return Searcher(index, encoder_for)


def test_resolve_names_the_pair_to_use(index: LanceIndex, searcher: Searcher) -> None:
    assert searcher.resolve("Places") == Resolution("Places_g1", "Places", "models:/m/g1", "plain", "query: ", 2, "g1")
    assert searcher.resolve("Places_g2").alias is None
    index.point("Places", "Places_g2")
    assert searcher.resolve("Places")[:4] == ("Places_g2", "Places", "models:/m/g2", "turned")


def test_the_query_model_is_the_collections_own_whatever_serves(index: LanceIndex, searcher: Searcher) -> None:
    for generation in ("g1", "g2"):
        index.point("Places", f"Places_{generation}")
        assert [hit.key for hit in searcher.search("Places", "east", limit=1)] == ["e"]


def test_where_table_and_limit(searcher: Searcher) -> None:
    assert sorted(hit.text for hit in searcher.search("Places", "north", where=["status=open"])) == [
        "east gate",
        "north tower",
        "west wall",
    ]
    assert {hit.text for hit in searcher.search("Places", "north", where=["status=closed"])} == {"north again"}
    assert {hit.key for hit in searcher.search("Places", "north", where=["id>=1", "id<3"])} == {"n"}
    assert {hit.key for hit in searcher.search("Places", "north", table="c.s.b")} == {"w"}
    assert len(searcher.search("Places", "north", limit=2)) == 2


def test_hybrid(searcher: Searcher) -> None:
    assert "w" in [hit.key for hit in searcher.search("Places", "east wall", hybrid=True, limit=2)]


def test_like_finds_neighbours_and_not_the_row_itself(searcher: Searcher) -> None:
    hits = searcher.search("Places", like="n", limit=5)
    assert {hit.key for hit in hits} == {"e", "w"}
    assert searcher.search("Places", like="n", table="c.s.a", limit=5)[0].table == "c.s.a"


def test_like_takes_a_row_whose_passages_cancel_out(index: LanceIndex, searcher: Searcher) -> None:
    index.upsert("Places_g1", objects("g1", "plain", [("x", 0, "east", "c.s.c"), ("x", 1, "west", "c.s.c")]))
    assert searcher.search("Places", like="x", limit=1)[0].key == "e"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ["query", "row"]),
        ({"query": "east", "like": "n"}, ["not both"]),
        ({"query": "  "}, ["empty"]),
        ({"like": "n", "hybrid": True}, ["hybrid"]),
        ({"query": "east", "limit": 0}, ["limit"]),
        ({"query": "east", "where": ["colour=red"]}, ["colour", "status"]),
        ({"query": "east", "where": ["status"]}, ["COLUMN=VALUE"]),
        ({"like": "private key", "table": "c.s.a"}, ["Places_g1", "c.s.a"]),
    ],
)
def test_requests_that_cannot_be_meant(searcher: Searcher, arguments: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        searcher.search("Places", **arguments)  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words)
    assert "private key" not in str(caught.value)


def test_an_unknown_collection_names_those_there(index: LanceIndex, searcher: Searcher) -> None:
    for act in (lambda: searcher.search("Place", "east"), lambda: searcher.resolve("Place")):
        with pytest.raises(ConfigurationError, match=r"Place; there are: Places$"):
            act()
    with pytest.raises(ConfigurationError, match=r"\.\./x"):
        searcher.resolve("../x")


def test_an_empty_index_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="vector-assets sync"):
        Searcher(LanceIndex(str(tmp_path / "none")), encoder_for).search("Places", "east")


def test_an_alias_without_its_collection_says_so(index: LanceIndex, searcher: Searcher, tmp_path: Path) -> None:
    (tmp_path / "collections" / "Places_g1.lance").rename(tmp_path / "elsewhere.lance")
    with pytest.raises(ConfigurationError, match=r"Places points to Places_g1.*sync"):
        searcher.search("Places", "east")


def test_an_encoder_that_does_not_fit_is_a_conflict(index: LanceIndex) -> None:
    with pytest.raises(IndexConflict, match=r"3.*2.*models:/m/g1"):
        Searcher(index, lambda stamp: CompassEncoder("plain", dimension=3)).search("Places", "east")


def test_an_empty_collection_has_no_hits(index: LanceIndex, searcher: Searcher) -> None:
    index.ensure(schema("g3", "plain"))
    assert searcher.search("Places_g3", "east", hybrid=True) == []
