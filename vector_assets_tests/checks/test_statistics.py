"""How versions are compared: what chance, size and one bad version must not do, and what a shift must."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vector_assets.checks.statistics import Statistics, deviation, most_moved, stability_index

WARN, BLOCK = 0.25, 0.5
numbers = st.floats(-1e6, 1e6)
histories = st.lists(numbers, min_size=1, max_size=20)
histograms = st.lists(st.integers(0, 10**6), min_size=1, max_size=60)


def sample(seed: int, rows: int, shares: np.ndarray) -> list[int]:
    return np.random.default_rng(seed).multinomial(rows, shares).tolist()  # type: ignore[no-any-return]


# --- numbers ----------------------------------------------------------------------------------------------------------------------------


@given(numbers, histories, st.floats(0.01, 100), st.sampled_from([-1e3, 7.5, 1e3]))
def test_a_deviation_does_not_depend_on_where_zero_is(now: float, before: list[float], floor: float, shift: float) -> None:
    moved = deviation(now + shift, [value + shift for value in before], floor=floor)
    assert moved == pytest.approx(deviation(now, before, floor=floor), rel=1e-3, abs=1e-3)


@given(numbers, histories, st.floats(0.01, 100), st.sampled_from([0.001, 3.0, 1000.0]))
def test_a_deviation_does_not_depend_on_the_unit(now: float, before: list[float], floor: float, unit: float) -> None:
    scaled = deviation(now * unit, [value * unit for value in before], floor=floor * unit)
    assert scaled == pytest.approx(deviation(now, before, floor=floor), rel=1e-6, abs=1e-6)


@given(numbers, histories, st.floats(0.01, 100), st.randoms())
def test_a_deviation_is_never_negative_and_knows_no_order(now: float, before: list[float], floor: float, chance: object) -> None:
    shuffled = [*before]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert deviation(now, shuffled, floor=floor) == deviation(now, before, floor=floor) >= 0


@given(st.floats(1, 1e3), st.integers(4, 19), st.floats(-1e9, 1e9))
def test_one_outlier_in_history_moves_no_verdict(level: float, versions: int, outlier: float) -> None:
    floor = level / 100
    steady = [level + floor * (at % 3 - 1) for at in range(versions)]
    for now, off in [(level, False), (level * 2, True)]:
        assert (deviation(now, [*steady, outlier], floor=floor) > 8) is off


# --- distributions ----------------------------------------------------------------------------------------------------------------------


@given(histograms, st.lists(histograms, max_size=6))
def test_the_index_is_finite_and_never_negative(now: list[int], before: list[list[int]]) -> None:
    assert 0 <= stability_index(now, before) < 1e3


@given(histograms, st.integers(1, 50), st.integers(1, 8))
def test_a_table_that_grew_alike_has_not_moved(counts: list[int], times: int, versions: int) -> None:
    assert stability_index([count * times for count in counts], [counts] * versions) < 0.02


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([2, 5, 33, 98, 253]), st.integers(200, 5000), st.floats(0.05, 5), st.integers(5, 12))
def test_samples_of_one_distribution_do_not_warn(seed: int, bins: int, rows: int, spread: float, versions: int) -> None:
    chance = np.random.default_rng(seed)
    shares = chance.dirichlet(np.full(bins, spread))
    before = [sample(seed + at, int(rows * chance.uniform(0.5, 2)), shares) for at in range(1, versions + 1)]
    assert stability_index(sample(seed, rows, shares), before) < WARN


@given(st.integers(0, 2**32), st.integers(200, 5000), st.integers(2, 30), st.integers(5, 12))
def test_a_distribution_elsewhere_blocks(seed: int, rows: int, bins: int, versions: int) -> None:
    here, there = np.zeros(2 * bins), np.zeros(2 * bins)
    here[:bins] = there[bins:] = 1 / bins
    assert stability_index(sample(seed, rows, there), [sample(seed + at, rows, here) for at in range(1, versions + 1)]) >= BLOCK


@given(st.integers(0, 2**32), st.integers(200, 5000), st.integers(4, 12), st.integers(1, 100))
def test_one_odd_version_in_history_does_not_move_the_index(seed: int, rows: int, versions: int, times: int) -> None:
    shares, odd = np.array([0.5, 0.3, 0.2, 0, 0]), np.array([0, 0, 0, 0.5, 0.5])
    before = [*(sample(seed + at, rows, shares) for at in range(1, versions + 1)), sample(seed, rows * times, odd)]
    assert stability_index(sample(seed + 50, rows, shares), before) < WARN
    assert stability_index(sample(seed + 51, rows, odd), before) >= BLOCK


@pytest.mark.parametrize("rows", [300, 10_000, 1_000_000])
def test_a_tenth_in_a_bin_that_was_empty_warns_in_tables_of_any_size(rows: int) -> None:
    tenth = rows // 10
    assert WARN <= stability_index([rows // 2, rows // 2 - tenth, tenth], [[rows // 2, rows // 2, 0]] * 5) < BLOCK


def test_nothing_to_compare_with_is_no_shift() -> None:
    for now, before in [([5, 5], []), ([0, 0], [[5, 5]]), ([5, 5], [[0, 0]]), ([5, 5], [[1, 2, 3]]), ([], [[]])]:
        assert stability_index(now, before) == 0


def test_the_bin_that_moved_most_is_named() -> None:
    assert most_moved([10, 45, 45], [[40, 30, 30]] * 3 + [[0, 0, 9]]) == (0, pytest.approx(0.1), pytest.approx(0.4))


# --- what is remembered -----------------------------------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.text(max_size=9), numbers, max_size=5),
    st.dictionaries(st.text(max_size=9), st.lists(st.integers(0, 4095), max_size=99)),
)
def test_statistics_come_back_from_json(numbers: dict[str, float], histograms: dict[str, list[int]]) -> None:
    statistics = Statistics(numbers, histograms)
    assert Statistics.of_json(json.loads(json.dumps(statistics.stored()))) == statistics


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=99))
def test_large_counts_keep_their_shares(counts: list[int]) -> None:
    back = Statistics.of_json(Statistics({}, {"h": counts}).stored()).histograms["h"]
    most = max(counts) or 1
    assert all(abs(now / max([*back, 1]) - count / most) <= 1 / 4095 for now, count in zip(back, counts, strict=True))


def test_a_histogram_is_a_few_characters_in_metadata() -> None:
    # 65 of them, 20 versions: what a table of 50 columns carries in each commit
    assert len(json.dumps(Statistics({}, {"length.body": [0] * 20 + [123_456] * 30 + [0] * 48}).stored())) < 150
