"""What is alike in every index: which questions are refused, what a hit's score means, how rankings are fused. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vector_assets.errors import ConfigurationError, IndexConflict
from vector_assets.indexed.index import CollectionSchema, Query

RRF_K = 60  # Cormack, Clarke & Büttcher, SIGIR 2009: reciprocal rank fusion, where 60 was best and hardly mattered
SPARE = 16  # candidates beyond the limit, to see whether a tie crosses it
MOST_CANDIDATES = 4096
TIE = 1e-6
_FUSED_DEPTH = 100


def check_vector(query: Query, schema: CollectionSchema) -> None:
    """Raises IndexConflict for a query vector of another length, or one that is not finite."""
    if query.vector.shape != (schema.dimension,) or not np.isfinite(query.vector).all():
        raise IndexConflict(
            f"collection {schema.name} has dimension {schema.dimension}: it cannot be asked with a vector of shape {query.vector.shape}"
            ", or one that is not finite"
        )


def several_rows(name: str, tables: Iterable[str]) -> ConfigurationError:
    """The error for a key that several rows of a collection have; `tables` are theirs."""
    different = sorted(set(tables))
    remedy = f"say which table: {', '.join(different)}" if len(different) > 1 else "its key columns are not kept apart by their policies"
    return ConfigurationError(f"several rows of collection {name} have that key; {remedy}")


def depth(query: Query) -> int:
    """How many hits each ranking of a query needs: its limit, or more where two are to be fused."""
    return query.limit if query.text is None else max(_FUSED_DEPTH, 4 * query.limit)


def similarity(stored: npt.NDArray[np.floating], asked: npt.NDArray[np.float32], distance: str) -> npt.NDArray[np.float64]:
    """Scores of vectors, shape (n, dimension), for a query vector; higher is nearer: cosine similarity, dot product, or negative squared
    distance. Row by row, so that equal vectors score alike."""
    vectors = stored.astype(np.float64)
    query = np.asarray(asked, dtype=np.float64)
    products = (vectors - query) ** 2 if distance == "l2-squared" else vectors * query
    scores: npt.NDArray[np.float64] = products.sum(axis=1)
    if distance == "l2-squared":
        return -scores
    if distance == "dot":
        return scores
    norms = np.sqrt((vectors**2).sum(axis=1)) * np.sqrt((query**2).sum())
    return np.clip(scores / np.where(norms > 0, norms, 1), -1, 1)


class Ranked(NamedTuple):
    """An object in a ranking; `id` is its UUID as text."""

    id: str
    score: float


def fused(rankings: Iterable[Sequence[str]]) -> list[Ranked]:
    """Reciprocal rank fusion of ids: a score is the sum of 1 / (60 + rank) over the rankings that have the id."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, object_id in enumerate(ranking, start=1):
            scores[object_id] = scores.get(object_id, 0.0) + 1 / (RRF_K + rank)
    return ordered(Ranked(object_id, score) for object_id, score in scores.items())


def ordered(ranking: Iterable[Ranked]) -> list[Ranked]:
    """Best first; equal scores by id."""
    return sorted(ranking, key=lambda one: (-one.score, one.id))
