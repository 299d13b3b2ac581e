"""How a collection lies in a Lance dataset: its schema as columns and metadata, its objects as rows. Pure but for reading a schema.

Object columns keep their names, properties are flat columns `p_<name>` (filters reach them, new ones are added without rewriting), vectors
are half precision. What columns cannot say (incarnation, settings, stamp) is JSON in the schema's metadata, so it is born with the dataset.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.errors import IndexConflict
from vector_assets.indexed.index import OBJECT_COLUMNS, CollectionSchema, Property
from vector_assets.indexed.mapping import ARROW_TYPES
from vector_assets.tables import CollectionSpec, PropertyType

if TYPE_CHECKING:
    from lance import LanceDataset

PROPERTY_PREFIX = "p_"
_METADATA = b"vector_assets"
_PROPERTY_TYPES: dict[pa.DataType, PropertyType] = {arrow: kind for kind, arrow in ARROW_TYPES.items()}
_SAME_MODEL = ("generation", "model_digest")


# --- schemas ---------------------------------------------------------------------------------------------------------------------------


def dataset_schema(schema: CollectionSchema) -> pa.Schema:
    """The Arrow schema of a new collection, with a new incarnation."""
    about = {
        "incarnation": uuid.uuid4().hex,
        "distance": schema.spec.distance,
        "quantization": schema.spec.quantization,
        "stamp": dict(schema.stamp),
    }
    vector = pa.field("vector", pa.list_(pa.float16(), schema.dimension), nullable=False)
    columns = [*OBJECT_COLUMNS, vector, *map(property_column, schema.properties)]
    return pa.schema(columns, metadata={_METADATA: json.dumps(about).encode()})


def property_column(prop: Property) -> pa.Field:
    """The column of a property."""
    return pa.field(PROPERTY_PREFIX + prop.name, ARROW_TYPES[prop.type])


def stored_incarnation(dataset: LanceDataset) -> str:
    """The id a collection was born with."""
    return str(json.loads(dataset.schema.metadata[_METADATA])["incarnation"])


def stored_schema(name: str, dataset: LanceDataset) -> CollectionSchema:
    """What a collection is like."""
    schema = dataset.schema
    about = json.loads(schema.metadata[_METADATA])
    return CollectionSchema(
        name=name,
        dimension=schema.field("vector").type.list_size,
        spec=CollectionSpec(distance=about["distance"], quantization=about["quantization"]),
        properties=tuple(
            Property(field.name.removeprefix(PROPERTY_PREFIX), _PROPERTY_TYPES[field.type])
            for field in schema
            if field.name.startswith(PROPERTY_PREFIX)
        ),
        stamp=about["stamp"],
    )


def refuse_disagreement(stored: CollectionSchema, wanted: CollectionSchema) -> None:
    """Raises IndexConflict where a collection is not what is wanted of it; a property that it lacks is no disagreement."""
    types = {prop.name: prop.type for prop in stored.properties}
    facts: list[tuple[str, object, object]] = [("dimension", stored.dimension, wanted.dimension)]
    facts += [(name, getattr(stored.spec, name), getattr(wanted.spec, name)) for name in ("distance", "quantization")]
    facts += [(f"type of property {p.name}", types.get(p.name, p.type), p.type) for p in wanted.properties]
    facts += [(key, stored.stamp[key], wanted.stamp[key]) for key in _SAME_MODEL if key in stored.stamp and key in wanted.stamp]
    for what, there, asked in facts:
        if there != asked:
            raise IndexConflict(
                f"collection {stored.name}: {what} is {there}, and {asked} was asked for; declare what it is to be in sources.yaml (a "
                "property's `type:`), which fills a new collection beside this one"
            )


# --- objects ---------------------------------------------------------------------------------------------------------------------------


def refused_objects(objects: pa.Table, schema: CollectionSchema) -> dict[bytes, str]:
    """Ids of objects whose vector cannot be stored, with the reason. Raises IndexConflict where all are of another length."""
    vectors = objects.column("vector").combine_chunks()
    if vectors.type.list_size != schema.dimension:
        raise IndexConflict(f"collection {schema.name} has dimension {schema.dimension}, these vectors have {vectors.type.list_size}")
    present = np.asarray(vectors.is_valid())
    values = vectors.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, schema.dimension)
    with np.errstate(over="ignore"):  # a float32 too large for half precision becomes infinite, and is refused
        finite = np.isfinite(values.astype(np.float16)).all(axis=1)
    reasons = np.full(len(vectors), "there is no vector", dtype=object)
    reasons[present] = np.where(finite, "", "its vector is not finite in half precision")
    if schema.spec.distance == "cosine":
        zero = finite & ~values.any(axis=1)
        reasons[np.flatnonzero(present)[zero]] = "its vector is zero, which has no direction"
    at = np.flatnonzero(reasons != "")
    ids = objects.column("id").take(pa.array(at)).to_pylist()
    return dict(zip(ids, reasons[at].tolist(), strict=True))


def object_rows(objects: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """Objects as rows of a dataset; properties that they do not have are NULL.

    Raises IndexConflict for a property that the collection does not have or a column of another type.
    """
    properties = objects.column("properties").combine_chunks()
    columns = {column: objects.column(column) for column in (*OBJECT_COLUMNS.names, "vector")}
    columns |= {PROPERTY_PREFIX + field.name: properties.field(field.name) for field in properties.type}
    for unknown in columns.keys() - set(schema.names):
        raise IndexConflict(f"collection {name} has no property {unknown.removeprefix(PROPERTY_PREFIX)!r}: ensure() adds it")
    arrays = []
    for field in schema:
        column = columns.get(field.name)
        if column is None:
            column = pa.nulls(objects.num_rows, field.type)
        elif field.name.startswith(PROPERTY_PREFIX) and column.type != field.type:
            raise IndexConflict(
                f"collection {name}: {field.name.removeprefix(PROPERTY_PREFIX)} is {field.type}, these objects have {column.type}"
            )
        arrays.append(column.cast(field.type))
    return pa.table(arrays, schema=schema)


def last_of_each(objects: pa.Table, refused: dict[bytes, str]) -> pa.Table:
    """The objects to write: of those with one id the last, none that is refused."""
    ids = objects.column("id")
    numbered = pa.table({"id": ids, "at": np.arange(len(ids))})
    last = numbered.group_by("id", use_threads=False).aggregate([("at", "max")]).column("at_max")
    kept = objects if len(last) == len(ids) else objects.take(last.take(pc.sort_indices(last)))
    if refused:
        kept = kept.filter(pc.invert(pc.is_in(kept.column("id"), pa.array(list(refused), ids.type))))
    return kept
