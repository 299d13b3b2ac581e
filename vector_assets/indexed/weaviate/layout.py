"""How a collection lies in Weaviate: its schema as a class, its objects as gRPC messages, and back. Nothing here asks a server.

Object columns and declared properties are properties of the same names (`mapping.py` keeps the two apart). What a class cannot say
(incarnation, dimension, settings as declared, stamp) is JSON in its description, so it is born with the class. Two properties are helpers:

- `GUARD` is an object, empty in every object we send. A server that makes up classes as it goes (auto-schema) cannot guess what an empty
  object is made of, and so never makes a class anew that somebody deleted while we write to it;
- `OFF_INDEX` marks the few values that the filter index would mistake (`filters.py`).
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from vector_assets.errors import IndexConflict
from vector_assets.indexed.index import OBJECT_COLUMNS, CollectionSchema, Property
from vector_assets.indexed.mapping import ARROW_TYPES
from vector_assets.indexed.weaviate.filters import OFF_INDEX, marks
from vector_assets.tables import CollectionSpec, PropertyType

if TYPE_CHECKING:
    from weaviate.classes.config import Property as WeaviateProperty
    from weaviate.collections.classes.config import CollectionConfig
    from weaviate.proto.v1 import batch_pb2

VECTOR = "default"
GUARD = "auto_schema_guard"
_ABOUT = "vector_assets"
_INTERNAL = {*OBJECT_COLUMNS.names, GUARD, OFF_INDEX}
_DATA_TYPES: Mapping[PropertyType, str] = {"text": "text", "int": "int", "number": "number", "boolean": "boolean", "timestamp": "date"}
_PROPERTY_TYPES = {name: kind for kind, name in _DATA_TYPES.items()}
_FILTERED = ("row_id", "source_table", "source_key")
_WORDS = "word"  # how `text` is cut for keyword search; every other text is kept whole
_WHOLE = "field"


class About(NamedTuple):
    """What the description of a class of ours says."""

    incarnation: str
    dimension: int
    spec: CollectionSpec
    stamp: Mapping[str, str]


# --- schemas ---------------------------------------------------------------------------------------------------------------------------


def description(schema: CollectionSchema, incarnation: str) -> str:
    """The description of a new class."""
    about = {"incarnation": incarnation, "dimension": schema.dimension, "spec": schema.spec.declared, "stamp": dict(schema.stamp)}
    return json.dumps({_ABOUT: about})


def about(text: str | None) -> About | None:
    """What a description says; None where it is not one of ours."""
    try:
        said = json.loads(text or "")[_ABOUT]
        return About(str(said["incarnation"]), int(said["dimension"]), CollectionSpec.model_validate(said["spec"]), dict(said["stamp"]))
    except (ValueError, TypeError, KeyError):
        return None


def class_properties(properties: Sequence[Property]) -> list[WeaviateProperty]:
    """Weaviate's properties for declared ones. All can be filtered, ordered ones by range; texts are kept whole."""
    from weaviate.classes.config import DataType, Tokenization
    from weaviate.classes.config import Property as Made

    return [
        Made(
            name=prop.name,
            data_type=DataType(_DATA_TYPES[prop.type]),
            index_filterable=True,
            index_searchable=False if prop.type == "text" else None,
            index_range_filters=prop.type in ("int", "number", "timestamp") or None,
            tokenization=Tokenization(_WHOLE) if prop.type == "text" else None,
        )
        for prop in properties
    ]


def own_properties(*, folding: bool) -> list[WeaviateProperty]:
    """Weaviate's properties for object columns, and the helpers. `folding`: the server can find `überfällig` by `uberfallig`."""
    from weaviate.classes.config import Configure, DataType, Property, Tokenization

    whole = [
        Property(
            name=name,
            data_type=DataType.TEXT,
            tokenization=Tokenization(_WHOLE),
            index_filterable=name in _FILTERED,
            index_searchable=False,
        )
        for name in ("row_id", "source_table", "source_key", "fingerprint", "generation")
    ]
    text = Property(
        name="text",
        data_type=DataType.TEXT,
        tokenization=Tokenization(_WORDS),
        index_filterable=False,
        index_searchable=True,
        text_analyzer=Configure.text_analyzer(ascii_fold=True) if folding else None,
    )
    ordinal = Property(name="ordinal", data_type=DataType.INT, index_filterable=True)
    off_index = Property(
        name=OFF_INDEX, data_type=DataType.TEXT_ARRAY, tokenization=Tokenization(_WHOLE), index_filterable=True, index_searchable=False
    )
    guard = Property(
        name=GUARD,
        data_type=DataType.OBJECT,
        nested_properties=[Property(name="nothing", data_type=DataType.BOOL, index_filterable=False)],
        index_filterable=False,
    )
    return [*whole, ordinal, text, off_index, guard]


def vector_settings(spec: CollectionSpec):  # type: ignore[no-untyped-def]  # its type is private to the client
    """The vector index that a spec asks for; what it does not say is the server's default, except that nothing is quantized unasked."""
    from weaviate.classes.config import Configure, VectorDistances

    quantizers = Configure.VectorIndex.Quantizer
    return Configure.Vectors.self_provided(
        name=VECTOR,
        vector_index_config=Configure.VectorIndex.hnsw(
            distance_metric=VectorDistances(spec.distance),
            ef=spec.hnsw.ef,
            ef_construction=spec.hnsw.ef_construction,
            max_connections=spec.hnsw.max_connections,
            quantizer=getattr(quantizers, spec.quantization)(),  # rq, pq, sq, bq, none
        ),
    )


def stored_about(name: str, config: CollectionConfig) -> About:
    """What a collection says of itself. Raises IndexConflict for one that is not ours."""
    said = about(config.description)
    if said is None:
        raise IndexConflict(
            f"collection {name} was not made by vector_assets: remove it or rename it, or give `collection:` in sources.yaml another name"
        )
    return said


def stored_incarnation(name: str, config: CollectionConfig) -> str:
    """The id that a collection was born with. Raises IndexConflict for one that is not ours."""
    return stored_about(name, config).incarnation


def stored_schema(name: str, config: CollectionConfig) -> CollectionSchema:
    """What a collection is like; properties that somebody else added, of types that we do not have, are left out.

    Raises IndexConflict for a collection that is not ours.
    """
    said = stored_about(name, config)
    properties = tuple(
        Property(prop.name, _PROPERTY_TYPES[prop.data_type.value])
        for prop in config.properties
        if prop.name not in _INTERNAL and prop.data_type.value in _PROPERTY_TYPES
    )
    return CollectionSchema(name, said.dimension, said.spec, properties, said.stamp)


def refuse_tampering(config: CollectionConfig, wanted: CollectionSchema) -> None:
    """Raises IndexConflict where a class is not as we would have made it: somebody added a property, or changed the vector index."""
    texts = dict.fromkeys(("row_id", "source_table", "source_key", "fingerprint", "generation"), _WHOLE) | {"text": _WORDS}
    expected: dict[str, tuple[str, str | None]] = {name: ("text", words) for name, words in texts.items()}
    expected |= {"ordinal": ("int", None), OFF_INDEX: ("text[]", _WHOLE), GUARD: ("object", None)}
    expected |= {prop.name: (_DATA_TYPES[prop.type], _WHOLE if prop.type == "text" else None) for prop in wanted.properties}
    there = {
        prop.name: (prop.data_type.value, prop.tokenization.value if prop.tokenization else None, prop.index_filterable)
        for prop in config.properties
    }
    facts: list[tuple[str, object, object]] = []
    for name, (data_type, tokenization) in expected.items():
        if name not in there:
            facts.append((f"property {name}", "missing", data_type))
            continue
        facts.append((f"type of property {name}", there[name][0], data_type))
        facts.append((f"tokenization of property {name}", there[name][1], tokenization))
        if name not in _INTERNAL:
            facts.append((f"filter index of property {name}", there[name][2], True))
    facts += _vector_facts(config, wanted.spec)
    for what, found, asked in facts:
        if found != asked:
            raise IndexConflict(
                f"collection {wanted.name}: {what} is {found}, and {asked} was asked for; somebody changed it: remove the collection and "
                "sync again, which fills it from stage tables"
            )


def _vector_facts(config: CollectionConfig, spec: CollectionSpec) -> list[tuple[str, object, object]]:
    vector = (config.vector_config or {}).get(VECTOR)
    if vector is None:
        return [("vector", "missing", VECTOR)]
    index = vector.vector_index_config
    quantizer = getattr(index, "quantizer", None)
    kind = type(quantizer).__name__.strip("_").removesuffix("Config").lower() if quantizer is not None else "none"
    facts: list[tuple[str, object, object]] = [
        ("vectorizer", str(getattr(vector.vectorizer.vectorizer, "value", vector.vectorizer.vectorizer)), "none"),
        ("distance", str(getattr(getattr(index, "distance_metric", None), "value", None)), spec.distance),
        ("quantization", kind, spec.quantization),
    ]
    knobs = {name: value for name, value in spec.hnsw if value is not None}
    facts += [(name, getattr(index, name, None), value) for name, value in knobs.items()]
    return facts


# --- objects ---------------------------------------------------------------------------------------------------------------------------


def check_properties(objects: pa.Table, schema: CollectionSchema) -> None:
    """Raises IndexConflict for a property that the collection does not have, or a column of another type."""
    types = {prop.name: ARROW_TYPES[prop.type] for prop in schema.properties}
    for field in objects.schema.field("properties").type:
        if field.name not in types:
            raise IndexConflict(f"collection {schema.name} has no property {field.name!r}: ensure() adds it")
        if field.type != types[field.name]:
            raise IndexConflict(f"collection {schema.name}: {field.name} is {types[field.name]}, these objects have {field.type}")


def messages(objects: pa.Table, name: str) -> list[batch_pb2.BatchObject]:
    """Objects as Weaviate's gRPC takes them; a NULL property is left out.

    Built here and not by the client, whose `insert_many` logs the objects that fail, rows and all, and takes 5 times as long.
    """
    from weaviate.proto.v1 import base_pb2, batch_pb2

    properties = objects.column("properties").combine_chunks()
    columns: dict[str, list[object]] = {
        "row_id": [value.hex() for value in objects.column("row_id").to_pylist()],
        "fingerprint": [value.hex() for value in objects.column("fingerprint").to_pylist()],
        **{column: objects.column(column).to_pylist() for column in ("ordinal", "source_table", "source_key", "text", "generation")},
    }
    declared = {field.name: properties.field(field.name).to_pylist() for field in properties.type}
    vectors = _vectors(objects)
    nothing = base_pb2.ObjectPropertiesValue()
    made = []
    for row, object_id in enumerate(objects.column("id").to_pylist()):
        vector = base_pb2.Vectors(name=VECTOR, vector_bytes=vectors[row].tobytes(), type=base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32)
        message = batch_pb2.BatchObject(collection=name, uuid=str(uuid.UUID(bytes=object_id)), vectors=[vector])
        given = {column: values[row] for column, values in declared.items() if values[row] is not None}
        fields = message.properties.non_ref_properties.fields
        for column, value in ({column: values[row] for column, values in columns.items()} | given).items():
            match value:
                case bool():
                    fields[column].bool_value = value
                case int() | float():
                    fields[column].number_value = value
                case dt.datetime():
                    fields[column].string_value = value.isoformat(timespec="microseconds")
                case _:
                    fields[column].string_value = str(value)
        message.properties.object_properties.add(prop_name=GUARD, value=nothing)
        if marked := marks(given):
            message.properties.text_array_properties.add(prop_name=OFF_INDEX, values=marked)
        made.append(message)
    return made


def _vectors(objects: pa.Table) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Shape (n, dimension), little-endian float32 as Weaviate wants them; half precision arrives."""
    column = objects.column("vector").combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False).astype("<f4")
    shaped: np.ndarray[tuple[int, int], np.dtype[np.float32]] = values.reshape(len(column), -1)
    return shaped


def decoded(properties: Mapping[str, object], schema: CollectionSchema) -> dict[str, object]:
    """Declared properties of an answer: text, int, float, bool, aware datetime in UTC, or None."""
    return {prop.name: _decode(properties.get(prop.name), prop.type) for prop in schema.properties}


def _decode(value: object, kind: PropertyType) -> object:
    match kind, value:
        case "int", float():
            return int(value)
        case "number", int():
            return float(value)
        case "timestamp", dt.datetime():
            return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
    return value
