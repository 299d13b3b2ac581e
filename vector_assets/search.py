"""Query time: resolve the alias, encode the query with the model stamped on the collection, ask the index.

The registry's champion plays no part here: while a new generation is being built, queries keep the model that the answering collection was
made with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vector_assets.embedded.encoder import Encoder
from vector_assets.errors import ConfigurationError, IndexConflict
from vector_assets.indexed.conditions import SOURCE_TABLE, parse_condition
from vector_assets.indexed.index import CollectionSchema, Condition, Hit, Query, VectorIndex


class Resolution(NamedTuple):
    """What answers for a name, and the model to encode queries with. `alias` is None where a collection itself was named."""

    collection: str
    alias: str | None
    model_uri: str
    model_digest: str
    query_prompt: str
    dimension: int
    generation: str


class Searcher:
    """Searches collections by alias (or by their own name, to look at a generation before it serves).

    `encoder_for` gives the encoder for a collection's stamp (`model_uri`, `model_digest`, `query_prompt`, …).
    """

    def __init__(self, index: VectorIndex, encoder_for: Callable[[Mapping[str, str]], Encoder]) -> None:
        self._index = index
        self._encoder_for = encoder_for

    def resolve(self, collection: str) -> Resolution:
        """What answers for a name now. Raises ConfigurationError for an unknown one."""
        alias, schema = self._schema(collection)
        stamp = schema.stamp
        return Resolution(
            collection=schema.name,
            alias=alias,
            model_uri=stamp.get("model_uri", ""),
            model_digest=stamp.get("model_digest", ""),
            query_prompt=stamp.get("query_prompt", ""),
            dimension=schema.dimension,
            generation=stamp.get("generation", ""),
        )

    def search(
        self,
        collection: str,
        query: str | None = None,
        *,
        hybrid: bool = False,
        where: Sequence[str] = (),
        like: str | None = None,
        table: str | None = None,
        limit: int = 10,
    ) -> list[Hit]:
        """The best passages for a query, or for a row's neighbours (`like`: its key as a hit shows it; `table` says of which table).

        `where` holds conditions such as `status=open`, all of which must hold; `hybrid` adds keywords to meaning.
        Raises ConfigurationError for a request that cannot be meant, IndexConflict where the encoder does not fit the collection.
        """
        if (query is None) == (like is None):
            raise ConfigurationError("search needs a query or the key of a row whose neighbours to find, and not both")
        if query is not None and not query.strip():
            raise ConfigurationError("the query is empty: write what to look for")
        if hybrid and query is None:
            raise ConfigurationError("hybrid search needs a query: a row's neighbours are found by meaning alone")
        if limit < 1:
            raise ConfigurationError(f"limit is {limit}: ask for one hit at least")
        _, schema = self._schema(collection)
        conditions = tuple(parse_condition(expression, schema) for expression in where)
        if table is not None:
            conditions += (Condition(SOURCE_TABLE.name, "=", table),)
        if like is not None:
            row, vector = self._row_vector(schema, like, table)
            return self._index.search(schema.name, Query(vector, where=conditions, limit=limit, exclude_row=row))
        assert query is not None
        vector = self._query_vector(schema, query)
        return self._index.search(schema.name, Query(vector, text=query if hybrid else None, where=conditions, limit=limit))

    def _schema(self, collection: str) -> tuple[str | None, CollectionSchema]:
        target = self._index.resolve(collection)
        schema = self._index.describe(collection if target is None else target)
        if schema is not None:
            return (None if target is None else collection), schema
        if target is not None:
            raise ConfigurationError(f"alias {collection} points to {target}, which is gone: `vector-assets sync` builds it again")
        there = ", ".join(self._names()) or "none yet: `vector-assets sync` makes them"
        raise ConfigurationError(f"there is no collection {collection}; there are: {there}")

    def _names(self) -> list[str]:
        # An alias is its collection's name without the generation; one that nothing points to yet is listed by its full name.
        names = set()
        for name in self._index.collections():
            schema = self._index.describe(name)
            generation = schema.stamp.get("generation", "") if schema else ""
            alias = name.removesuffix(f"_{generation}")
            names.add(alias if self._index.resolve(alias) else name)
        return sorted(names)

    def _query_vector(self, schema: CollectionSchema, query: str) -> npt.NDArray[np.float32]:
        vector = np.asarray(self._encoder_for(schema.stamp).encode_query(query), dtype=np.float32)
        if vector.shape != (schema.dimension,):
            raise IndexConflict(
                f"the encoder makes vectors of shape {vector.shape}, collection {schema.name} has dimension {schema.dimension}: "
                f"use the model {schema.stamp.get('model_uri', 'it was made with')}"
            )
        return vector

    def _row_vector(self, schema: CollectionSchema, key: str, table: str | None) -> tuple[bytes, npt.NDArray[np.float32]]:
        found = self._index.vectors_of(schema.name, table, key)
        if found is None:
            place = schema.name if table is None else f"{schema.name} from {table}"
            raise ConfigurationError(f"no row of {place} has that key: give it as `vector-assets search` prints it")
        row, vectors = found
        mean = vectors.mean(axis=0, dtype=np.float32)
        return row, (mean if np.linalg.norm(mean) > 0 else vectors[0])  # passages may point opposite ways
