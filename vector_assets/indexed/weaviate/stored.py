"""Every object of a table in Weaviate, a page at a time, and the vectors of a row. Reads only; errors of the client pass through.

Somebody else may have written there what we would not: an object without a row id is read too, and what is not of its type is nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vector_assets.fingerprint import HASH_BYTES, HASH_TYPE, Hashes, to_arrow
from vector_assets.indexed.answers import several_rows
from vector_assets.indexed.index import OBJECT_COLUMNS, CollectionSchema
from vector_assets.indexed.mapping import ARROW_TYPES, struct_of
from vector_assets.indexed.objects import WIDE
from vector_assets.indexed.weaviate.layout import VECTOR, decoded
from vector_assets.indexed.weaviate.query import all_of

if TYPE_CHECKING:
    from weaviate.collections import Collection
    from weaviate.collections.classes.filters import FilterReturn
    from weaviate.collections.classes.internal import Object

    Things = Collection[Mapping[str, object], None]
    Thing = Object[Mapping[str, object], None]

_PAGE = 5_000  # objects without text and vector are about 200 bytes: a page is 1 MB
_WIDE_PAGE = 1_000
_ROWS_AT_ONCE = 200  # row ids in one filter
_NO_HASH = bytes(HASH_BYTES)


class StoredColumns(NamedTuple):
    """Columns of objects that are asked for, of a collection like this."""

    schema: CollectionSchema
    names: tuple[str, ...]

    @property
    def page(self) -> int:
        """Objects of an answer."""
        return _PAGE if WIDE.isdisjoint(self.names) else _WIDE_PAGE

    @property
    def asked(self) -> list[str]:
        """Weaviate's properties that they are made of; row id and ordinal cut pages."""
        own = [name for name in self.names if name not in ("id", "vector", "properties")]
        declared = [prop.name for prop in self.schema.properties] if "properties" in self.names else []
        return list(dict.fromkeys(["row_id", "ordinal", *own, *declared]))

    def batch(self, page: Sequence[Thing]) -> pa.RecordBatch:
        """Objects as these columns."""
        return pa.record_batch([self._column(name, page) for name in self.names], names=list(self.names))

    def _column(self, name: str, page: Sequence[Thing]) -> pa.Array:
        match name:
            case "id":
                return pa.array([found.uuid.bytes for found in page], HASH_TYPE)
            case "vector":
                return _vectors(page, self.schema.dimension)
            case "properties":
                rows = [decoded(found.properties, self.schema) for found in page]
                fields = [pa.field(prop.name, ARROW_TYPES[prop.type]) for prop in self.schema.properties]
                return struct_of([_typed([row[field.name] for row in rows], field.type) for field in fields], fields, len(page))
        values = [found.properties.get(name) for found in page]
        kind = OBJECT_COLUMNS.field(name).type
        return pa.array([_hash(value) for value in values], kind) if kind == HASH_TYPE else _typed(values, kind)


def stored(collection: Things, source_table: str, columns: StoredColumns, rows: Hashes | None) -> Iterator[pa.RecordBatch]:
    """Every object of one table, or of some of its rows, a page at a time; complete while nobody writes.

    Weaviate has no snapshot, and its cursor takes no filter: it would read every table of a shared collection. Row ids are evenly spread,
    so ranges of them make pages: 15,000 of 20,000 objects in 0.4 s, where the cursor took 0.5 s for all.
    """
    from weaviate.classes.query import Filter

    of_table = Filter.by_property("source_table").equal(source_table)
    row_id = Filter.by_property("row_id")
    parts: list[tuple[FilterReturn, _Span]] = []
    if rows is None:
        parts += [(of_table, span) for span in _spans(collection, of_table, columns.page)]
        if len(parts) > 1:
            parts.append((of_table & row_id.is_none(True), _Span()))  # ranges leave them out
    else:
        ids = [value.hex() for value in to_arrow(rows).to_pylist()]
        parts += [(of_table & row_id.contains_any(ids[at : at + _ROWS_AT_ONCE]), _Span()) for at in range(0, len(ids), _ROWS_AT_ONCE)]
    for where, span in parts:
        for page in _pages(collection, where, names=columns.asked, span=span, size=columns.page, vectors="vector" in columns.names):
            yield columns.batch(page)


def _spans(collection: Things, of_table: FilterReturn, page: int) -> Iterator[_Span]:
    count = collection.aggregate.over_all(filters=of_table, total_count=True).total_count or 0
    parts = count * 5 // (page * 4) + 1  # pages are to be four fifths full
    cuts = [None, *(f"{part * 2**128 // parts:032x}" for part in range(1, parts)), None]
    return (_Span(first, last) for first, last in itertools.pairwise(cuts))


def _hash(value: object) -> bytes:
    try:
        made = bytes.fromhex(str(value))
    except ValueError:
        return _NO_HASH
    return made if len(made) == HASH_BYTES else _NO_HASH


def _typed(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        if len(values) == 1:
            return pa.nulls(1, kind)
        return pa.concat_arrays([_typed([value], kind) for value in values])


def _vectors(page: Sequence[Thing], dimension: int) -> pa.Array:
    """Vectors as float32; one that is missing or of another length is NaN."""
    made = np.full((len(page), dimension), np.nan, dtype=np.float32)
    for row, found in enumerate(page):
        vector = found.vector.get(VECTOR)
        if vector is not None and len(vector) == dimension:
            made[row] = vector
    return pa.FixedSizeListArray.from_arrays(pa.array(made.ravel()), dimension)


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


def _pages(
    collection: Things, where: FilterReturn, *, names: list[str], span: _Span, size: int = _PAGE, vectors: bool = False
) -> Iterator[Sequence[Thing]]:
    """Every object of a span, each once. A page that comes back full may not be all: then its parts are asked for."""
    found = collection.query.fetch_objects(
        filters=all_of([where, *span.filters()]), limit=size, include_vector=vectors, return_properties=names
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
    for page in _pages(collection, where, names=names, span=_Span(), size=_WIDE_PAGE, vectors=True):
        for found in page:
            if found.properties["source_key"] == source_key and source_table in (None, found.properties["source_table"]):
                owners[str(found.properties["row_id"])] = str(found.properties["source_table"])
                vectors[int(str(found.properties["ordinal"]))] = found.vector[VECTOR]  # type: ignore[assignment]  # one vector, not many
        if len(owners) > 1:  # a key that is not unique may be that of the whole table: stop at the second row
            raise several_rows(schema.name, owners.values())
    if not owners:
        return None
    return bytes.fromhex(next(iter(owners))), np.array([vectors[ordinal] for ordinal in sorted(vectors)], dtype=np.float32)
