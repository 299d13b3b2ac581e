"""What Weaviate must hold, worked out from the published embeddings with lance and hashlib: our index has no part in it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import NamedTuple

import lance
import pyarrow as pa

from vector_assets.fingerprint import fingerprint
from vector_assets.models.registry import ModelVersion
from vector_assets.pipeline import Pipeline
from vector_assets.tables import TableRef


class Stored(NamedTuple):
    """An object, as far as it can be told from another one."""

    uuid: str
    fingerprint: str
    generation: str


def promised(pipeline: Pipeline, ref: TableRef, model: ModelVersion) -> set[Stored]:
    """The objects that a table's published embeddings stand for."""
    names = pipeline.generations(pipeline.settings.tables.spec_for(ref), model)
    rows = lance.dataset(pipeline.uri("embeddings", ref, names.embeddings), version="published").to_table(
        columns=["row_id", "content", "passages", "properties_fingerprint"]
    )
    return {
        Stored(_object_id(row["row_id"], passage["ordinal"]), _object_fingerprint(passage, row, names.collection), names.collection)
        for row in rows.drop_columns("passages").append_column("passages", _without_vectors(rows)).to_pylist()
        if row["content"] is not None
        for passage in row["passages"]
    }


def _without_vectors(rows: pa.Table) -> pa.ListArray:
    """Passages as (ordinal, fingerprint): vectors as Python lists take long."""
    passages = rows.column("passages").combine_chunks()
    kept = pa.StructArray.from_arrays([passages.values.field(name) for name in ("ordinal", "fingerprint")], ["ordinal", "fingerprint"])
    return pa.ListArray.from_arrays(passages.offsets, kept, mask=passages.is_null())


def _object_id(row_id: bytes, ordinal: int) -> str:
    """A UUID of version 8 over (row id, ordinal)."""
    octets = bytearray(hashlib.blake2b(row_id + ordinal.to_bytes(4, "little"), digest_size=16, person=b"object").digest())
    octets[6] = octets[6] & 0x0F | 0x80
    octets[8] = octets[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(octets)))


def _object_fingerprint(passage: Mapping[str, bytes], row: Mapping[str, bytes], generation: str) -> str:
    return fingerprint("object", (passage["fingerprint"], row["properties_fingerprint"], generation.encode())).hex()
