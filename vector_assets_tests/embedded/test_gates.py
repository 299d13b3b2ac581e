"""The checks of a version of embeddings: what moves them, and what does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.checks.judge import Judge
from vector_assets.checks.result import CheckResult
from vector_assets.checks.statistics import Statistics
from vector_assets.embedded import gates
from vector_assets.embedded.stage import EmbeddedStage
from vector_assets.fingerprint import from_bytes, text_fingerprint, to_arrow
from vector_assets.reconcile.audit import Candidate
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.view import OK, STATE, View
from vector_assets.tables import PassageRule
from vector_assets_tests.fakes import StubEncoder

DIMENSION = 32
STAGE = EmbeddedStage(
    encoder=StubEncoder(DIMENSION),
    dimension=DIMENSION,
    rule=PassageRule(),
    generation="g",
    properties_type=pa.struct([("status", pa.string())]),
)
QUIET = {"log_norm": 0.0, "norm_spread": 0.0, "centroid_drift": 0.0, "duplicate_vectors": 0.0, "truncated_share": 0.0}


def around(topic: int, count: int, *, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    """Unit vectors about one direction: shape (count, DIMENSION)."""
    middle = np.random.default_rng(topic).normal(size=DIMENSION)
    vectors = middle + spread * np.random.default_rng([topic, seed]).normal(size=(count, DIMENSION))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def version(table: StageTable, vectors: np.ndarray, *, tokens: int = 10, cut: int = 0, edited: int = 0) -> View:
    """A published version of rows with one passage each; the first `edited` have other texts than rows of equal number elsewhere."""
    names = [f"row {at}" for at in range(len(vectors))]
    texts = [f"{name} {vectors[at].tobytes()!r}" if at < edited else name for at, name in enumerate(names)]
    ids, fingerprints = (from_bytes([text_fingerprint(each) for each in some]) for some in (names, texts))
    passages = [
        [{"ordinal": 0, "fingerprint": text_fingerprint(text), "text": "", "vector": vector}]
        for text, vector in zip(texts, vectors.astype(np.float16), strict=True)
    ]
    known = {
        "row_id": to_arrow(ids),
        "input": to_arrow(ids),
        "content": to_arrow(fingerprints),
        STATE: pa.array([OK] * len(ids)),
        "attempts": pa.array([0] * len(ids), pa.int32()),
        "passages": pa.array(passages, STAGE.own.field("passages").type),
        "passage_count": pa.array([1] * len(ids), pa.int32()),
        "tokens": pa.array([tokens] * len(ids), pa.int32()),
        "cut": pa.array([int(at < cut) for at in range(len(ids))], pa.int32()),
    }
    table.open_for_writing()
    table.append(pa.table([known.get(field.name, pa.nulls(len(ids), field.type)) for field in table.schema], schema=table.schema))
    return table.now()


def judged(path: Path, now: np.ndarray, before: np.ndarray | None = None, **more: int) -> tuple[dict[str, CheckResult], Statistics]:
    published = None if before is None else version(StageTable(str(path / "before.lance"), STAGE.own), before)
    histogram = [0] * 17
    histogram[4] = 1000
    past = [Statistics(QUIET, {"tokens": histogram})] * 5
    made = gates.audit(Candidate(version(StageTable(str(path / "now.lance"), STAGE.own), now, **more), published), Judge(history=past))
    return {result.name: result for result in made.results}, made.statistics


def failed(results: dict[str, CheckResult]) -> set[str]:
    return {name for name, result in results.items() if not result.passed}


def test_every_check_says_something_whatever_there_is(tmp_path: Path) -> None:
    names = {"vector_norms", "centroid_drift", "duplicate_vectors", "token_counts", "truncated_share"}
    for number, count in enumerate((0, 1, 3)):
        results, _ = judged(tmp_path / str(number), around(1, count), around(1, count))
        assert (results.keys(), failed(results)) == (names, set())


def test_a_version_like_the_one_before_raises_nothing(tmp_path: Path) -> None:
    before = around(1, 600)
    now = np.concatenate([around(1, 30, seed=1), before[30:]])
    results, made = judged(tmp_path, now, before, edited=30)
    assert failed(results) == set()
    assert made.numbers["centroid_drift"] < 0.005


@pytest.mark.parametrize(("count", "outcome"), [(0, "passed"), (150, "warned"), (500, "blocked")])
def test_texts_of_another_kind_move_the_centroid(tmp_path: Path, count: int, outcome: str) -> None:
    before = around(1, 600)
    results, made = judged(tmp_path, np.concatenate([around(2, count, seed=1), before[count:]]), before, edited=count)
    drift = results["centroid_drift"]
    assert ("passed" if drift.passed else "blocked" if drift.stops else "warned") == outcome, made.numbers


def test_chance_is_no_drift(tmp_path: Path) -> None:
    """Vectors in all directions have a centroid that is nothing but chance."""
    spread = 50.0
    results, _ = judged(tmp_path, around(1, 300, seed=2, spread=spread), around(1, 300, spread=spread), edited=300)
    assert failed(results) == set()


def test_a_collapsed_encoder_is_caught(tmp_path: Path) -> None:
    collapsed = np.repeat(around(1, 1), 300, axis=0)
    results, _ = judged(tmp_path, collapsed)
    assert failed(results) == {"duplicate_vectors"}
    assert results["duplicate_vectors"].stops
    assert failed(judged(tmp_path / "few", collapsed[:3])[0]) == {"duplicate_vectors"}


def test_some_equal_vectors_are_no_collapse(tmp_path: Path) -> None:
    vectors = around(1, 300)
    vectors[:9] = vectors[0]  # texts that differ in case alone, to a model that does not see it
    assert failed(judged(tmp_path, vectors)[0]) == set()


@pytest.mark.parametrize(("scale", "share", "fails"), [(1.0, 1.0, False), (1.15, 1.0, False), (2.0, 1.0, True), (10.0, 0.02, True)])
def test_scaled_vectors_are_caught(tmp_path: Path, scale: float, share: float, fails: bool) -> None:
    vectors = around(1, 400)
    vectors[: int(share * 400)] *= scale
    assert failed(judged(tmp_path, vectors)[0]) == ({"vector_norms"} if fails else set())


def test_longer_texts_shift_token_counts_and_cut_ones_are_counted(tmp_path: Path) -> None:
    results, made = judged(tmp_path, around(1, 300), tokens=25, cut=6)
    assert failed(results) == {"token_counts", "truncated_share"}
    assert made.histograms["tokens"][5] == 300
    assert results["truncated_share"].figures["rows"] == 6


def test_the_sample_is_bounded_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "SAMPLE_ROWS", 50)
    monkeypatch.setattr(gates, "SAMPLE_PASSAGES", 40)
    view = version(StageTable(str(tmp_path / "now.lance"), STAGE.own), around(1, 300))
    chosen = gates._chosen(view)
    lanes = view.content()[0].ids
    smallest = lanes[np.lexsort((lanes[:, 1], lanes[:, 0]))][:40]
    assert (chosen.ids == smallest).all()


@given(st.integers(1, 2**31), st.integers(2, 200), st.integers(2, 200))
def test_drift_beyond_chance_is_between_zero_and_two(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    now, then = rng.normal(size=(2, 8)) / 4
    drift = gates._beyond_chance(now, then, n=n, m=m, moved=n + m)
    assert 0 <= drift <= 2
    assert gates._beyond_chance(now, now, n=n, m=m, moved=0) == 0
