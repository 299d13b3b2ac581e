"""How a Weaviate collection is asked: filters, nearest vectors, keywords and their fusion, and every object of a table. Reads only.

Weaviate proposes, and this module decides: scores are computed again from the stored vectors, conditions are checked again on what came
back, and equal scores are ordered by id, so that a hit means what it means in a Lance collection. Errors of the client pass through to
`index.py`, which knows what they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vector_assets.errors import ConfigurationError
from vector_assets.fingerprint import HASH_TYPE
from vector_assets.indexed.answers import MOST_CANDIDATES, SPARE, TIE, Ranked, check_vector, depth, fused, ordered, several_rows, similarity
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
_PAGE = 5_000  # objects without text and vector are about 200 bytes: a page is 1 MB
_VECTOR_PAGE = 1_000
_HIT_PAGE = 500
_STORED = pa.schema([pa.field(name, HASH_TYPE, nullable=False) for name in ("id", "row_id", "fingerprint")])


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
        return _all_of(filters)

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


def _all_of(filters: Sequence[FilterReturn]) -> FilterReturn | None:
    return reduce(and_, filters) if filters else None


# --- every object ----------------------------------------------------------------------------------------------------------------------


class _Span(NamedTuple):
    """A part of the objects: row ids in [first, last) in hex, ordinals in [lowest, highest); None is no bound."""

    first: str | None = None
    last: str | None = None
    lowest: int | None = None
    highest: int | None = None

    def filters(self) -> list[FilterReturn]:
        from weaviate.classes.query import Filter

        row, ordinal = Filter.by_property("row_id"), Filter.by_property("ordinal")
        bounds = [
            (self.first, row.greater_or_equal),
            (self.last, row.less_than),
            (self.lowest, ordinal.greater_or_equal),
            (self.highest, ordinal.less_than),
        ]
        return [compare(bound) for bound, compare in bounds if bound is not None]

    def halves(self, seen: Sequence[Thing]) -> list[_Span]:
        """Smaller spans that together are this one. `seen`: two of its objects at least, any."""
        rows = sorted({str(found.properties["row_id"]) for found in seen})
        if len(rows) > 1:
            middle = rows[len(rows) // 2]
            return [self._replace(last=middle), self._replace(first=middle)]
        behind = rows[0] + "0"  # sorts next
        if (self.first, self.last) != (rows[0], behind):
            return [self._replace(first=rows[0], last=behind), self._replace(last=rows[0]), self._replace(first=behind)]
        ordinals = sorted(int(str(found.properties["ordinal"])) for found in seen)
        return [self._replace(highest=ordinals[len(ordinals) // 2]), self._replace(lowest=ordinals[len(ordinals) // 2])]


def stored(collection: Things, source_table: str) -> Iterator[pa.RecordBatch]:
    """(id, row_id, fingerprint) of every object of one table, a page at a time; complete while nobody writes.

    Weaviate has no snapshot, and its cursor takes no filter: it would read every table of a shared collection. Row ids are evenly spread,
    so ranges of them make pages: 15,000 of 20,000 objects in 0.4 s, where the cursor took 0.5 s for all.
    """
    from weaviate.classes.query import Filter

    of_table = Filter.by_property("source_table").equal(source_table)
    count = collection.aggregate.over_all(filters=of_table, total_count=True).total_count or 0
    parts = count * 5 // (_PAGE * 4) + 1  # pages are to be four fifths full
    cuts = [None, *(f"{part * 2**128 // parts:032x}" for part in range(1, parts)), None]
    names = ["row_id", "fingerprint", "ordinal"]
    for first, last in itertools.pairwise(cuts):
        for page in _pages(collection, of_table, names=names, span=_Span(first, last)):
            columns = [
                [found.uuid.bytes for found in page],
                [bytes.fromhex(str(found.properties["row_id"])) for found in page],
                [bytes.fromhex(str(found.properties["fingerprint"])) for found in page],
            ]
            yield pa.record_batch([pa.array(column, HASH_TYPE) for column in columns], schema=_STORED)


def _pages(
    collection: Things, where: FilterReturn, *, names: list[str], span: _Span, size: int = _PAGE, vectors: bool = False
) -> Iterator[Sequence[Thing]]:
    """Every object of a span, each once. A page that comes back full may not be all: then its parts are asked for."""
    found = collection.query.fetch_objects(
        filters=_all_of([where, *span.filters()]), limit=size, include_vector=vectors, return_properties=names
    ).objects
    if len(found) < size:
        if found:
            yield found
        return
    halves = span.halves(found)
    del found  # not one page per level
    for half in halves:
        yield from _pages(collection, where, names=names, span=half, size=size, vectors=vectors)


def vectors_of(
    collection: Things, schema: CollectionSchema, source_table: str | None, source_key: str
) -> tuple[bytes, npt.NDArray[np.float32]] | None:
    """(row_id, vectors of shape (passages, dimension)) of the row whose `source_key` this is; None where there is none.

    Raises ConfigurationError where several rows have that key.
    """
    from weaviate.classes.query import Filter

    where: FilterReturn = Filter.by_property("source_key").equal(source_key)
    if source_table is not None:
        where &= Filter.by_property("source_table").equal(source_table)
    owners: dict[str, str] = {}
    vectors: dict[int, Sequence[float]] = {}
    names = ["row_id", "ordinal", "source_table", "source_key"]
    for page in _pages(collection, where, names=names, span=_Span(), size=_VECTOR_PAGE, vectors=True):
        for found in page:
            if found.properties["source_key"] == source_key and source_table in (None, found.properties["source_table"]):
                owners[str(found.properties["row_id"])] = str(found.properties["source_table"])
                vectors[int(str(found.properties["ordinal"]))] = found.vector[VECTOR]  # type: ignore[assignment]  # one vector, not many
        if len(owners) > 1:  # a key that is not unique may be that of the whole table: stop at the second row
            raise several_rows(schema.name, owners.values())
    if not owners:
        return None
    return bytes.fromhex(next(iter(owners))), np.array([vectors[ordinal] for ordinal in sorted(vectors)], dtype=np.float32)
