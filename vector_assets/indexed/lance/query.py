"""How a Lance collection is asked: filters as SQL, nearest vectors, keywords, and their fusion. Reads one open dataset; writes nothing.

Order is total and does not depend on how rows lie in files: similarities are computed again from the stored vectors, and equal ones are
ordered by id.
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.fingerprint import Hashes, to_arrow
from vector_assets.indexed.answers import MOST_CANDIDATES, SPARE, TIE, check_vector, depth, fused, similarity
from vector_assets.indexed.conditions import SOURCE_TABLE, Checked, check_condition
from vector_assets.indexed.index import CollectionSchema, Hit, Query
from vector_assets.indexed.lance.layout import PROPERTY_PREFIX

if TYPE_CHECKING:
    from lance import LanceDataset

METRICS: Mapping[str, Literal["cosine", "dot", "l2"]] = {"cosine": "cosine", "dot": "dot", "l2-squared": "l2"}
ROWS_PER_PARTITION = 4096
_PROBED_SHARE = 8  # one partition in eight: recall 1.0 at 400,000 clustered vectors
_LEAST_PROBED = 16
_HIT_COLUMNS = ("id", "source_key", "source_table", "text")


def search(dataset: LanceDataset, schema: CollectionSchema, query: Query, *, partitions: int) -> list[Hit]:
    """The best hits, best first. `partitions` is what the vector index was trained with; 0 where there is none.

    Raises ConfigurationError for a condition that does not fit, IndexConflict for a query vector of another length or one that is not
    finite.
    """
    check_vector(query, schema)
    where = predicate([check_condition(condition, schema) for condition in query.where], exclude_row=query.exclude_row)
    probes = _probes(dataset, partitions, where if query.where else None)
    semantic = _nearest(dataset, schema, query.vector, where=where, count=depth(query), probes=probes)
    if query.text is None:
        return semantic
    keywords = _keywords(dataset, schema, query.text, where=where, count=depth(query))
    hits = {hit.id: hit for hit in (*semantic, *keywords)}
    ranking = fused([hit.id for hit in ranked] for ranked in (semantic, keywords))
    return [hits[one.id]._replace(score=one.score) for one in ranking[: query.limit]]


def _probes(dataset: LanceDataset, partitions: int, where: str | None) -> int:
    """Partitions to look into; 0 without an index. Under a filter that few rows pass, so many more that as many candidates are met: at
    400,000 × 384 and 1 % that is all of them, 18 ms and exact, where 16 partitions find 83 % and no index takes 240 ms."""
    usual = min(partitions, max(_LEAST_PROBED, partitions // _PROBED_SHARE))
    if where is None or usual == partitions:
        return usual
    passing = max(1, int(dataset.count_rows(where)))
    return min(partitions, math.ceil(usual * int(dataset.count_rows()) / passing))


# --- filters ---------------------------------------------------------------------------------------------------------------------------


def predicate(conditions: Sequence[Checked], *, exclude_row: bytes | None = None) -> str | None:
    """SQL that holds where all conditions do; None where there are none. `!=` also holds for objects without a value."""
    terms = [_term(condition) for condition in conditions]
    if exclude_row is not None:
        terms.append(f"row_id != X'{exclude_row.hex()}'")
    return " AND ".join(terms) or None


def _term(condition: Checked) -> str:
    prop = condition.property
    column = prop.name if prop == SOURCE_TABLE else f"`{PROPERTY_PREFIX}{prop.name}`"
    operator = "IS DISTINCT FROM" if condition.operator == "!=" else condition.operator
    return f"{column} {operator} {_literal(condition)}"


def _literal(condition: Checked) -> str:
    value = condition.value
    if condition.property.type == "number":
        return f"CAST('{float(value)!r}' AS DOUBLE)"  # type: ignore[arg-type]  # checked: an int or a float
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"CAST('{value}' AS BIGINT)"
        case dt.datetime():
            return f"timestamp '{value.isoformat(timespec='microseconds')}'"
        case _:
            return text_literal(str(value))


def of_rows(rows: Hashes) -> str:
    """SQL that holds for objects of these rows."""
    literals = ", ".join(f"X'{row.hex()}'" for row in to_arrow(rows).to_pylist())
    return f"row_id IN ({literals})"


def text_literal(text: str) -> str:
    """A text in Lance's SQL, where a quote is doubled and nothing else is special (tested with backslashes, NUL and line breaks)."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


# --- candidates ------------------------------------------------------------------------------------------------------------------------


def _nearest(
    dataset: LanceDataset, schema: CollectionSchema, vector: npt.NDArray[np.float32], *, where: str | None, count: int, probes: int
) -> list[Hit]:
    nearest: dict[str, object] = {
        "column": "vector",
        "q": np.asarray(vector, dtype=np.float32),
        "metric": METRICS[schema.spec.distance],
        "use_index": probes > 0,
    }
    if probes:
        nearest["minimum_nprobes"] = probes
        if schema.spec.quantization != "none":
            nearest["refine_factor"] = 4  # candidates by the short codes, their order by the stored vectors

    def fetch(asked: int) -> pa.Table:
        scanner = dataset.scanner(
            columns=[*_columns(schema), "vector", "_distance"], nearest={**nearest, "k": asked}, filter=where, prefilter=True
        )
        found = scanner.to_table()
        return found.append_column("score", pa.array(similarity(stored_vectors(found), vector, schema.spec.distance)))

    return _best(fetch, count, schema)


def stored_vectors(rows: pa.Table) -> npt.NDArray[np.float16]:
    """The vectors of rows: shape (n, dimension)."""
    column = rows.column("vector").combine_chunks()
    values: npt.NDArray[np.float16] = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, column.type.list_size)


def _keywords(dataset: LanceDataset, schema: CollectionSchema, text: str, *, where: str | None, count: int) -> list[Hit]:
    from lance.query import MatchQuery  # any text is a query: no operators to escape

    def fetch(asked: int) -> pa.Table:
        scanner = dataset.scanner(
            columns=[*_columns(schema), "_score"], full_text_query=MatchQuery(text, "text"), filter=where, prefilter=True, limit=asked
        )
        found = scanner.to_table()
        return found.append_column("score", found.column("_score").cast(pa.float64()))

    return _best(fetch, count, schema)


def _columns(schema: CollectionSchema) -> list[str]:
    return [*_HIT_COLUMNS, *(PROPERTY_PREFIX + prop.name for prop in schema.properties)]


def _best(fetch: Callable[[int], pa.Table], count: int, schema: CollectionSchema) -> list[Hit]:
    """The first `count` hits by (score, id). Where a tie crosses the end, more are fetched until it is whole, within reason."""
    asked = count + SPARE
    while True:
        found = fetch(asked)
        scores = np.sort(found.column("score").to_numpy())[::-1]
        exhausted = len(scores) < asked or asked >= max(MOST_CANDIDATES, count + SPARE)
        if exhausted or scores[-1] < scores[count - 1] - TIE:
            break
        asked *= 4
    order = pc.sort_indices(
        found.append_column("order", found.column("id").cast(pa.binary())), sort_keys=[("score", "descending"), ("order", "ascending")]
    )
    rows = found.drop_columns(["vector"] if "vector" in found.column_names else []).take(order[:count])
    return [_hit(row, schema) for row in rows.to_pylist()]


def _hit(row: Mapping[str, object], schema: CollectionSchema) -> Hit:
    assert isinstance(row["id"], bytes)
    assert isinstance(row["score"], float)
    return Hit(
        id=str(uuid.UUID(bytes=row["id"])),
        key=str(row["source_key"]),
        table=str(row["source_table"]),
        score=row["score"],
        text=str(row["text"]),
        properties={prop.name: row[PROPERTY_PREFIX + prop.name] for prop in schema.properties},
    )
