"""How a collection lies in a Lance dataset: its schema as columns and metadata, its objects as rows. Pure but for reading a schema.

Object columns keep their names, properties are flat columns `p_<name>` (filters reach them, new ones are added without rewriting), vectors
are half precision. What columns cannot say (incarnation, settings, stamp) is JSON in the schema's metadata, so it is born with the dataset.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from vector_assets.errors import IndexConflict
from vector_assets.indexed.index import OBJECT_COLUMNS, CollectionSchema, Property
from vector_assets.indexed.mapping import ARROW_TYPES, struct_of
from vector_assets.tables import CollectionSpec, PropertyType

if TYPE_CHECKING:
    from lance import LanceDataset

PROPERTY_PREFIX = "p_"
_METADATA = b"vector_assets"
_PROPERTY_TYPES: dict[pa.DataType, PropertyType] = {arrow: kind for kind, arrow in ARROW_TYPES.items()}


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


# --- objects ---------------------------------------------------------------------------------------------------------------------------


def stored_columns(schema: pa.Schema, columns: Sequence[str]) -> list[str]:
    """The dataset's columns that hold these columns of objects."""
    properties = [name for name in schema.names if name.startswith(PROPERTY_PREFIX)]
    return [name for column in columns for name in (properties if column == "properties" else [column])]


def stored_objects(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """Rows of a dataset as these columns of objects."""
    fields = [field for field in batch.schema if field.name.startswith(PROPERTY_PREFIX)]
    renamed = [field.with_name(field.name.removeprefix(PROPERTY_PREFIX)) for field in fields]
    arrays = [
        struct_of([batch.column(field.name) for field in fields], renamed, len(batch)) if column == "properties" else batch.column(column)
        for column in columns
    ]
    return pa.record_batch(arrays, names=list(columns))


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
