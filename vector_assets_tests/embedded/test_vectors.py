"""What a vector must be like: every flaw has its name, and nothing that a model makes is one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vector_assets.embedded.vectors import CONSTANT, LARGEST_RMS, NORM, NOT_FINITE, SMALLEST_RMS, UNIT_NORM, ZERO, as_stored, flaws

WIDE = arrays.arrays(np.float16, st.tuples(st.integers(0, 6), st.integers(1, 24)), elements=st.floats(width=16))


@given(WIDE, st.booleans())
def test_only_sound_vectors_pass(stored: np.ndarray, unit_length: bool) -> None:
    found = flaws(stored, unit_length=unit_length)
    assert len(found) == len(stored)
    for vector, flaw in zip(stored.astype(np.float64), found, strict=True):
        assert (flaw == NOT_FINITE) == (not np.isfinite(vector).all())
        if flaw == NOT_FINITE:
            continue
        norm = float(np.linalg.norm(vector))
        assert (flaw == ZERO) == (norm == 0)
        if flaw is None and unit_length:
            assert norm == pytest.approx(1, abs=0.0101)
        if flaw is None and len(vector) >= 4:
            assert np.ptp(vector) > 0
        if flaw == UNIT_NORM:
            assert unit_length
            assert abs(norm - 1) > 0.0099


@given(st.integers(0, 2**32), st.integers(4, 1536), st.booleans())
def test_vectors_of_models_pass(seed: int, dimension: int, unit_length: bool) -> None:
    vectors = np.random.default_rng(seed).normal(size=(4, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scale = 1 if unit_length else np.random.default_rng(seed).uniform(0.05, 60)  # e5 has 1, BERT's first token about 15
    assert flaws(as_stored((scale * vectors).astype(np.float32), rows=4, dimension=dimension), unit_length=unit_length) == [None] * 4


@pytest.mark.parametrize(("scale", "unit", "other"), [(0.98, UNIT_NORM, None), (1.02, UNIT_NORM, None), (0, ZERO, ZERO)])
def test_a_scaled_vector(scale: float, unit: str, other: str | None) -> None:
    vectors = np.random.default_rng(1).normal(size=(1, 384))
    stored = (scale * vectors / np.linalg.norm(vectors)).astype(np.float16)
    assert flaws(stored, unit_length=True) == [unit]
    assert flaws(stored, unit_length=False) == [other]


@pytest.mark.parametrize(
    ("rms", "flaw"), [(SMALLEST_RMS / 2, NORM), (SMALLEST_RMS * 2, None), (LARGEST_RMS / 2, None), (LARGEST_RMS * 2, NORM)]
)
def test_other_norms_have_the_bounds_of_half_precision(rms: float, flaw: str | None) -> None:
    signs = np.where(np.arange(64) % 2, 1.0, -1.0)
    assert flaws((rms * signs)[None].astype(np.float16), unit_length=False) == [flaw]


def test_a_constant_vector() -> None:
    vector = np.full((1, 384), 384**-0.5)
    assert flaws(vector.astype(np.float16), unit_length=True) == [CONSTANT]
    vector[0, :2] *= 1.01
    assert flaws(vector.astype(np.float16), unit_length=True) == [None]
    assert flaws(np.array([[0.7071, 0.7071]], dtype=np.float16), unit_length=True) == [None], "a direction like any other"
