"""Arrow batches in the shape of a `TableRead`, from whatever an engine answered: the same types, columns and bounds for every engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from vector_assets.fingerprint import HASH_TYPE
from vector_assets.raw.source import DIGEST

KEY = "key"
VALUES = "values"
BATCH_BYTES = 32 << 20


def bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in pieces of at most BATCH_BYTES, or of one row."""
    if batch.num_rows <= 1 or batch.nbytes <= BATCH_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from bounded(batch.slice(0, half))
    yield from bounded(batch.slice(half))


def shaped(columns: Sequence[pa.Array], digests: pa.Array, *, schema: pa.Schema, key: Sequence[str], values: bool) -> pa.RecordBatch:
    """(key, values, digest), or (key, digest) without `values`.

    `columns` hold the values of `schema`'s columns, in its order, in types that cast to them; `digests` are binary, 16 bytes each.
    """
    named = {
        field.name: column if column.type == field.type else column.cast(field.type) for field, column in zip(schema, columns, strict=True)
    }

    def struct(names: Sequence[str]) -> pa.StructArray:
        return pa.StructArray.from_arrays([named[name] for name in names], fields=[schema.field(name) for name in names])

    structs = {KEY: struct(key), VALUES: struct(schema.names)} if values else {KEY: struct(key)}
    return pa.RecordBatch.from_pydict({**structs, DIGEST: digests.cast(HASH_TYPE)})


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without 64-bit offsets, and with Arrow's usual names for what is inside lists."""
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain_type(field.type)) for field in kind])
    return kind


def key_table(keys: pa.StructArray, schema: pa.Schema, key: Sequence[str]) -> pa.Table | None:
    """Keys as a table (position, k0, k1, …) for a join, or None where none of them can be in a table of this schema.

    A key of another family (a number, for a column that holds text now) is another identity, though their SQL values may compare equal.
    """
    fields = dict(zip((field.name for field in keys.type), keys.flatten(), strict=True))
    columns = {"position": pa.array(np.arange(len(keys)))}
    for i, name in enumerate(key):
        values, kind = fields[name], schema.field(name).type
        if pa.types.is_null(values.type):
            values = values.cast(kind)
        if _family(values.type) != _family(kind):
            return None
        columns[f"k{i}"] = values
    return pa.table(columns) if len(keys) else None


def _family(kind: pa.DataType) -> str:
    """Types of one family compare by value, whatever their width: the families of `fingerprint.encode_column`."""
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_timestamp(kind):
        return "instant" if kind.tz else "timestamp"
    if pa.types.is_time(kind):
        return "time"
    return str(plain_type(kind))
