"""The checks of a version of embeddings: what its vectors and token counts are like, and how far they moved.

Vectors are looked at in a sample: the rows with the smallest ids, 4,096 at most, which hold 16,384 passages at most. Ids are hashes, so it
is a fair sample; it is the same one as long as its rows stay, and its cost does not grow with the table (20 ms at 384 dimensions).

*Centroid drift* is the cosine distance between the mean directions of two samples, less three times what chance alone gives where
`moved` passages of both samples are not in the other: moved · (1 − c²) / (2 · n · m · c²), with c the length of the mean direction. The
published centroid is computed from the published version, of which only rows that differ are read: nothing has to be kept, and it is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vector_assets.checks.judge import Judge
from vector_assets.checks.result import CheckResult
from vector_assets.checks.statistics import Statistics
from vector_assets.embedded.layout import CUT, PASSAGE_COUNT, PASSAGES, TOKENS
from vector_assets.fingerprint import Hashes
from vector_assets.reconcile.audit import Audit, Candidate
from vector_assets.reconcile.plan import Lookup, Positions
from vector_assets.reconcile.sample import smallest
from vector_assets.reconcile.view import View

SAMPLE_ROWS = 4096
SAMPLE_PASSAGES = 16_384
_LEAST = 100  # passages: the middle of fewer is mostly chance
_FEW = 10  # duplicates below this are no share of anything, unless they are all there is
_CHANCE = 3.0
_BINS = 17  # 0, 1, 2–3, 4–7, … 32,768 and more tokens


def audit(candidate: Candidate, judge: Judge) -> Audit:
    """Statistics of the version, and its results."""
    sample = _chosen(candidate.view)
    passages = _read(candidate.view, sample.positions)
    norms, norm_result = _norms(passages, judge)
    drift = _drift(candidate, sample, passages)
    duplicates, duplicate_result = _duplicates(passages, judge)
    tokens, token_results = _tokens(candidate.view, judge)
    moved = {"centroid_drift": drift} if drift is not None else {}
    results = (norm_result, judge.deviation("centroid_drift", moved), duplicate_result, *token_results)
    return Audit(Statistics({**norms, **moved, **duplicates}) | tokens, results)


# --- the sample ------------------------------------------------------------------------------------------------------------------------


class _Chosen(NamedTuple):
    """Rows of the sample by ascending id: ids and content fingerprints of shape (n, 2), positions in their view, passages of each."""

    ids: Hashes
    contents: Hashes
    positions: Positions
    counts: Positions


class _Passages(NamedTuple):
    """Passages of rows: which row each is of, fingerprints of their texts, and vectors of shape (n, dimension)."""

    rows: Positions
    fingerprints: npt.NDArray[np.bytes_]
    vectors: npt.NDArray[np.float32]

    @property
    def directions(self) -> npt.NDArray[np.float64]:
        """Vectors of length 1."""
        norms = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        directions: npt.NDArray[np.float64] = self.vectors / np.where(norms > 0, norms, 1)
        return directions


def _chosen(view: View) -> _Chosen:
    rows, positions, columns = view.content(PASSAGE_COUNT)
    counts = columns.column(PASSAGE_COUNT).to_numpy()
    few = smallest(rows.ids, SAMPLE_ROWS)
    few = few[np.cumsum(counts[few]) <= SAMPLE_PASSAGES]
    return _Chosen(rows.ids[few], rows.fingerprints[few], positions[few], counts[few].astype(np.int64))


def _read(view: View, positions: Positions) -> _Passages:
    order = np.argsort(positions)  # Lance takes ascending ones faster
    lists = view.take(positions[order], [PASSAGES]).column(PASSAGES).combine_chunks()
    flat = lists.flatten()
    dimension = lists.type.value_type.field("vector").type.list_size
    vectors = flat.field("vector").flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, dimension)
    counts = np.asarray(pa.compute.fill_null(pa.compute.list_value_length(lists), 0))
    fingerprints = np.array(flat.field("fingerprint").to_pylist(), dtype="V16")
    return _Passages(np.repeat(order, counts), fingerprints, vectors)


# --- vectors ---------------------------------------------------------------------------------------------------------------------------


def _norms(passages: _Passages, judge: Judge) -> tuple[dict[str, float], CheckResult]:
    """`log_norm` is the logarithm of the median norm: a difference of 0.05 is one of 5 %, whatever a model's norms are. `norm_spread`: the
    range that holds all but the outermost hundredths, as a share of the median."""
    if not len(passages.vectors):
        return {}, judge.deviation("vector_norms", {})
    low, middle, high = np.quantile(np.linalg.norm(passages.vectors, axis=1), [0.01, 0.5, 0.99])
    if middle <= 0:
        return {}, judge.deviation("vector_norms", {})
    numbers = {"log_norm": round(float(np.log(middle)), 6), "norm_spread": round(float((high - low) / middle), 6)}
    return numbers, judge.deviation("vector_norms", numbers)


def _duplicates(passages: _Passages, judge: Judge) -> tuple[dict[str, float], CheckResult]:
    """Different texts that have the very same vector, as a share of different texts: what a collapsed encoder makes."""
    _, first = np.unique(passages.fingerprints, return_index=True)
    texts = len(first)
    stored = passages.vectors[first].astype(np.float16)
    distinct = len(np.unique(stored.view(f"V{2 * stored.shape[1]}").ravel())) if texts else 0
    again = texts - distinct
    counted = again >= _FEW or (texts > 2 and distinct == 1)
    share = round(again / texts, 4) if counted else 0.0
    said = f"{again:,} of {texts:,} different texts in the sample have the vector of another one"
    return {"duplicate_vectors": share}, judge.limit("duplicate_vectors", share, said, {"texts": texts, "vectors": distinct})


def _drift(candidate: Candidate, sample: _Chosen, passages: _Passages) -> float | None:
    """How far the centroid moved from the published one, beyond chance; None where there is too little to say."""
    if candidate.published is None or len(passages.vectors) < _LEAST:
        return None
    before = _chosen(candidate.published)
    at = Lookup(sample.ids).find(before.ids)
    same = (at >= 0) & (sample.contents[at] == before.contents).all(axis=1)
    others = _read(candidate.published, before.positions[~same])
    directions = passages.directions
    stayed = np.isin(passages.rows, at[same])
    shared = int(stayed.sum())
    n, m = len(directions), shared + len(others.vectors)
    if m < _LEAST:
        return None
    now = directions.mean(axis=0, dtype=np.float64)
    then = (directions[stayed].sum(axis=0, dtype=np.float64) + others.directions.sum(axis=0, dtype=np.float64)) / m
    return _beyond_chance(now, then, n=n, m=m, moved=n + m - 2 * shared)


def _beyond_chance(now: npt.NDArray[np.float64], then: npt.NDArray[np.float64], *, n: int, m: int, moved: int) -> float:
    lengths = float(np.linalg.norm(now) * np.linalg.norm(then))
    if lengths == 0:
        return 0.0
    distance = 1 - float(now @ then) / lengths
    chance = moved * max(0.0, 1 - lengths) / (2 * n * m * lengths)
    return round(max(0.0, distance - _CHANCE * chance), 6)


# --- tokens ----------------------------------------------------------------------------------------------------------------------------


def _tokens(view: View, judge: Judge) -> tuple[Statistics, tuple[CheckResult, ...]]:
    rows, _, columns = view.content(TOKENS, CUT)
    tokens = columns.column(TOKENS).to_numpy()
    octaves = np.minimum(np.frexp(tokens.astype(np.float64))[1], _BINS - 1)
    histogram = {"tokens": np.bincount(octaves, minlength=_BINS).tolist()}
    cut = int((columns.column(CUT).fill_null(0).to_numpy() > 0).sum())
    share = round(cut / len(rows.ids), 4) if len(rows.ids) else 0.0
    said = f"{cut:,} of {len(rows.ids):,} rows have a passage that the model does not see whole"
    truncated = judge.limit("truncated_share", share, said, {"rows": cut})
    return Statistics({"truncated_share": share}, histogram), (judge.shift("token_counts", histogram), truncated)
