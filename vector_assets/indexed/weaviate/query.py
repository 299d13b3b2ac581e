"""How a Weaviate collection is asked: filters, nearest vectors, keywords and their fusion. Reads only.

Weaviate proposes, and this module decides: scores are computed again from the stored vectors, conditions are checked again on what came
back, and equal scores are ordered by id, so that a hit means what it means in a Lance collection. Errors of the client pass through to
`index.py`, which knows what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vector_assets.errors import ConfigurationError
from vector_assets.indexed.answers import MOST_CANDIDATES, SPARE, TIE, Ranked, check_vector, depth, fused, ordered, similarity
from vector_assets.indexed.conditions import Checked, check_condition
from vector_assets.indexed.index import CollectionSchema, Hit, Query
from vector_assets.indexed.weaviate.filters import filters_of, holds
from vector_assets.indexed.weaviate.layout import VECTOR, decoded

if TYPE_CHECKING:
    from weaviate.collections import Collection
    from weaviate.collections.classes.filters import FilterReturn
    from weaviate.collections.classes.internal import Object

    Things = Collection[Mapping[str, object], None]
    Thing = Object[Mapping[str, object], None]

QUERY_MAXIMUM_RESULTS = 10_000
"""Weaviate's default: it refuses to look further."""

_HIT_PROPERTIES = ("source_key", "source_table", "text")
_HIT_PAGE = 500


# --- search ----------------------------------------------------------------------------------------------------------------------------


def search(collection: Things, schema: CollectionSchema, query: Query) -> list[Hit]:
    """The best hits, best first.

    Raises ConfigurationError for a condition that does not fit or a limit beyond what Weaviate looks for, IndexConflict for a query vector
    of another length or one that is not finite.
    """
    check_vector(query, schema)
    if query.limit > QUERY_MAXIMUM_RESULTS:
        raise ConfigurationError(f"limit is {query.limit}: Weaviate finds {QUERY_MAXIMUM_RESULTS:,} objects at most")
    ask = _Ask(collection, query, schema.spec.distance, [check_condition(condition, schema) for condition in query.where])
    count = min(depth(query), QUERY_MAXIMUM_RESULTS)
    ranking = _best(ask.nearest, count)
    if query.text is not None:
        ranking = fused([one.id for one in ranked] for ranked in (ranking, _best(ask.keywords, count)))
    return _hits(collection, schema, ranking[: query.limit])


class _Found(NamedTuple):
    ranking: list[Ranked]
    complete: bool  # there is nothing beyond


class _Ask(NamedTuple):
    """A query on its way to the server, which answers without texts: a tie may make it 4,096 objects."""

    collection: Things
    query: Query
    distance: str
    conditions: list[Checked]

    def nearest(self, asked: int) -> _Found:
        from weaviate.classes.query import Filter

        # Up to 40,000 objects (`flatSearchCutoff`) Weaviate compares with all that pass a filter; without one it walks its graph, where
        # equal vectors cut others off: one object among 299 equal ones was out of reach, now and then. So there is always a filter.
        filters = self._filters() or Filter.by_property("row_id").not_equal("")
        found = self.collection.query.near_vector(
            self.query.vector.tolist(), limit=asked, filters=filters, include_vector=True, return_properties=self._properties()
        ).objects
        vectors = np.array([one.vector[VECTOR] for one in found], dtype=np.float32).reshape(-1, len(self.query.vector))
        return self._found(found, similarity(vectors, self.query.vector, self.distance).tolist(), asked)

    def keywords(self, asked: int) -> _Found:
        from weaviate.classes.query import MetadataQuery

        text = (self.query.text or "").encode(errors="replace").decode()  # a lone surrogate does not travel
        if not any(map(str.isalnum, text)):  # no word: "" is an error there, anything else finds nothing
            return _Found([], complete=True)
        found = self.collection.query.bm25(
            text,
            query_properties=["text"],
            limit=asked,
            filters=self._filters(),
            return_metadata=MetadataQuery(score=True),
            return_properties=self._properties(),
        ).objects
        return self._found(found, [one.metadata.score or 0.0 for one in found], asked)

    def _filters(self) -> FilterReturn | None:
        from weaviate.classes.query import Filter

        filters = list(filters_of(self.conditions))
        if self.query.exclude_row is not None:
            filters.append(Filter.by_property("row_id").not_equal(self.query.exclude_row.hex()))
        return all_of(filters)

    def _properties(self) -> list[str]:
        return sorted({condition.property.name for condition in self.conditions})

    def _found(self, found: Sequence[Thing], scores: Sequence[float], asked: int) -> _Found:
        ranking = [Ranked(str(one.uuid), score) for one, score in zip(found, scores, strict=True) if self._holds(one)]
        return _Found(ordered(ranking), complete=len(found) < asked)

    def _holds(self, found: Thing) -> bool:
        return all(holds(condition, found.properties[condition.property.name]) for condition in self.conditions)


def _best(find: Callable[[int], _Found], count: int) -> list[Ranked]:
    """The first `count` by (score, id). Where a tie crosses the end, or answers did not hold, more are asked for, within reason."""
    asked = min(count + SPARE, QUERY_MAXIMUM_RESULTS)
    while True:
        ranking, complete = find(asked)
        whole = len(ranking) > count and ranking[-1].score < ranking[count - 1].score - TIE
        if whole or complete or asked >= MOST_CANDIDATES:
            return ranking[:count]
        asked = min(4 * asked, MOST_CANDIDATES)


def _hits(collection: Things, schema: CollectionSchema, ranking: Sequence[Ranked]) -> list[Hit]:
    """What was found, in its order; an object that was deleted since is left out."""
    names = [*_HIT_PROPERTIES, *(prop.name for prop in schema.properties)]
    hits = []
    for start in range(0, len(ranking), _HIT_PAGE):
        page = ranking[start : start + _HIT_PAGE]
        found = collection.query.fetch_objects_by_ids([one.id for one in page], limit=len(page), return_properties=names).objects
        there = {str(one.uuid): one.properties for one in found}
        hits += [_hit(one, there[one.id], schema) for one in page if one.id in there]
    return hits


def _hit(one: Ranked, properties: Mapping[str, object], schema: CollectionSchema) -> Hit:
    return Hit(
        id=one.id,
        key=str(properties["source_key"]),
        table=str(properties["source_table"]),
        score=one.score,
        text=str(properties["text"]),
        properties=decoded(properties, schema),
    )


def all_of(filters: Sequence[FilterReturn]) -> FilterReturn | None:
    """One filter that holds where all do; None where there are none."""
    return reduce(and_, filters) if filters else None
