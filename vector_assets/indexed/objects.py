"""What every index does with a schema and with objects before it writes them. Pure, and of no particular index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.errors import IndexConflict
from vector_assets.indexed.index import CollectionSchema

WIDE = frozenset({"text", "vector", "properties"})
"""Columns of objects that are not of bounded width."""

_SAME_MODEL = ("generation", "model_digest")


def refuse_disagreement(
    stored: CollectionSchema, wanted: CollectionSchema, *, settings: Sequence[str] = ("distance", "quantization")
) -> None:
    """Raises IndexConflict where a collection is not what is wanted of it; a property that it lacks is no disagreement. `settings`: the
    fields of its spec that this index knows."""
    types = {prop.name: prop.type for prop in stored.properties}
    facts: list[tuple[str, object, object]] = [("dimension", stored.dimension, wanted.dimension)]
    facts += [(name, getattr(stored.spec, name), getattr(wanted.spec, name)) for name in settings]
    facts += [(f"type of property {p.name}", types.get(p.name, p.type), p.type) for p in wanted.properties]
    facts += [(key, stored.stamp[key], wanted.stamp[key]) for key in _SAME_MODEL if key in stored.stamp and key in wanted.stamp]
    for what, there, asked in facts:
        if there != asked:
            raise IndexConflict(
                f"collection {stored.name}: {what} is {there}, and {asked} was asked for; declare what it is to be in sources.yaml (a "
                "property's `type:`), which fills a new collection beside this one"
            )


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


def last_of_each(objects: pa.Table, refused: dict[bytes, str]) -> pa.Table:
    """The objects to write: of those with one id the last, none that is refused."""
    ids = objects.column("id")
    numbered = pa.table({"id": ids, "at": np.arange(len(ids))})
    last = numbered.group_by("id", use_threads=False).aggregate([("at", "max")]).column("at_max")
    kept = objects if len(last) == len(ids) else objects.take(last.take(pc.sort_indices(last)))
    if refused:
        kept = kept.filter(pc.invert(pc.is_in(kept.column("id"), pa.array(list(refused), ids.type))))
    return kept
