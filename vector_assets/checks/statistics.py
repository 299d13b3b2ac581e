"""What is remembered of a published version, and how two of them are compared. Pure arithmetic.

*One number* against earlier ones: Iglewicz and Hoaglin's modified z-score (1993), |x − median| / (1.4826 · MAD), since one bad version
in the history moves neither median nor MAD. Where history hardly varies MAD is nearly 0 and anything would be an outlier, so every
number has a floor: the smallest spread that is taken for real.

*A distribution* against earlier ones: the population stability index over fixed bins, sum (p − q) · ln(p / q), where q is the median
share of each bin over the history, so that one bad version does not move it. Bins add up, so nobody needs old rows, and it treats
numbers and categories alike; Kolmogorov-Smirnov's p-value would call every difference significant once there are enough rows. Below 0.1 is
usually called stable, above 0.25 shifted (Siddiqi, Credit Risk Scorecards, 2006). Of two samples of one distribution it is about
(bins − 1) · (1/n + 1/m) (Yurdakul 2018), which is taken off. Bins that expect fewer than 5 rows are joined, as in a chi-squared test
(Cochran 1954). A share counts as at least 0.001, so that ln is finite and an empty bin weighs the same in small and in large tables.
"""

from __future__ import annotations

import re
import statistics
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_MAD_SCALE = 1.4826  # of a normal distribution: standard deviation / MAD
_LEAST_SHARE = 0.001
_EXPECTED = 5.0  # rows that a bin of its own expects at least

_Counts = npt.NDArray[np.int64]
_Shares = npt.NDArray[np.float64]
_DIGITS = string.digits + string.ascii_letters + "-_"
_MOST = 64 * 64 - 1


@dataclass(frozen=True)
class Statistics:
    """Numbers and histograms (counts per bin) of one version, by name; kept in the metadata of the published version."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @classmethod
    def of_json(cls, stored: Mapping[str, Mapping[str, object]]) -> Statistics:
        """The inverse of `stored`."""
        histograms = {name: _unpacked(str(counts)) for name, counts in stored["histograms"].items()}
        return cls(stored["numbers"], histograms)  # type: ignore[arg-type]

    def stored(self) -> dict[str, dict[str, object]]:
        """As JSON holds it. Histograms are packed, since 20 versions of every column's travel in the metadata of each commit."""
        return {"numbers": dict(self.numbers), "histograms": {name: _packed(counts) for name, counts in self.histograms.items()}}

    def __or__(self, other: Statistics) -> Statistics:
        return Statistics({**self.numbers, **other.numbers}, {**self.histograms, **other.histograms})


def _packed(counts: Sequence[int]) -> str:
    """`bins:run run …`, a run being `first bin=two digits of base 64 for each bin`. Counts above 4095 are scaled down together: they are
    compared by shares, and a share of 1/4095 is below what is told apart."""
    scale = max(1.0, max(counts, default=0) / _MOST)
    scaled = [round(count / scale) for count in counts]
    text = "".join(_DIGITS[count >> 6] + _DIGITS[count & 63] if count else "  " for count in scaled)
    runs = (f"{run.start() // 2}={run[0]}" for run in re.finditer(r"\S+", text))
    return f"{len(counts)}:{' '.join(runs)}"


def _unpacked(stored: str) -> list[int]:
    bins, _, runs = stored.partition(":")
    counts = [0] * int(bins)
    for run in runs.split():
        first, _, digits = run.partition("=")
        for at in range(0, len(digits), 2):
            counts[int(first) + at // 2] = _DIGITS.index(digits[at]) << 6 | _DIGITS.index(digits[at + 1])
    return counts


def deviation(now: float, before: Sequence[float], *, floor: float) -> float:
    """How far a number is from earlier ones, in robust standard deviations of at least `floor`. 0 without earlier ones."""
    if not before:
        return 0.0
    middle, spread = centre(before)
    return float(abs(now - middle) / max(spread, floor))


class Centre(NamedTuple):
    """The median of some numbers, and their MAD as a standard deviation."""

    median: float
    spread: float


def centre(numbers: Sequence[float]) -> Centre:
    """Where numbers lie and how far apart, whatever one of them is. There has to be one."""
    middle = statistics.median(numbers)
    return Centre(middle, _MAD_SCALE * statistics.median(abs(number - middle) for number in numbers))


class Moved(NamedTuple):
    """The bin whose share moved most: which, its share now, and its median share before."""

    bin: int
    now: float
    before: float


def stability_index(now: Sequence[int], before: Iterable[Sequence[int]]) -> float:
    """The population stability index of a histogram against the median of earlier ones, less what chance alone gives; never below 0.

    0 where either is empty. Histograms of another number of bins were made by other rules and are left out.
    """
    past, here = _matrix(now, before), sum(now)
    if not here or not len(past):
        return 0.0
    groups = _groups(past, here)
    expected, counts = _median_shares(_joined(past, groups)), _joined(np.array([now], dtype=np.int64), groups)[0]
    used = (counts > 0) | (expected > 0)
    p, q = np.maximum(counts[used] / here, _LEAST_SHARE), np.maximum(expected[used], _LEAST_SHARE)
    index = float(((p - q) * np.log(p / q)).sum())
    return max(0.0, index - (len(p) - 1) * (1 / here + 1 / float(np.median(past.sum(axis=1)))))


def most_moved(now: Sequence[int], before: Iterable[Sequence[int]]) -> Moved:
    """The bin whose share differs most from its median share. Neither side may be empty."""
    shares, expected = np.array(now) / sum(now), _median_shares(_matrix(now, before))
    at = int(np.abs(shares - expected).argmax())
    return Moved(at, float(shares[at]), float(expected[at]))


def comparable(now: Sequence[int], before: Iterable[Sequence[int]]) -> list[Sequence[int]]:
    """Earlier histograms that one can be compared with: not empty, and of the same bins; others were made by other rules."""
    return [counts for counts in before if len(counts) == len(now) and any(counts)]


def _matrix(now: Sequence[int], before: Iterable[Sequence[int]]) -> _Counts:
    """Those that are comparable, shape (versions, bins)."""
    return np.array(comparable(now, before), dtype=np.int64)


def _median_shares(counts: _Counts) -> _Shares:
    """Median share of each bin over versions, made to add up to 1 where that is not 0."""
    shares: _Shares = np.median(counts / counts.sum(axis=1)[:, None], axis=0)
    return shares / (shares.sum() or 1.0)


def _groups(past: _Counts, rows: int) -> npt.NDArray[np.int64]:
    """A group for each bin: its own where enough rows are expected; runs of rare bins until they expect enough; 0 for the rest and for
    bins that were always empty, since rows in them are news. By mean shares: the median of a rare bin is mostly 0."""
    expected = (past / past.sum(axis=1)[:, None]).mean(axis=0) * rows
    groups, label, waiting = np.zeros(len(expected), dtype=np.int64), 1, 0.0
    pending: list[int] = []
    for at in map(int, np.flatnonzero(expected)):
        alone = expected[at] >= _EXPECTED
        if not alone:
            pending.append(at)
            waiting += expected[at]
        if alone or waiting >= _EXPECTED:
            groups[at if alone else pending], label = label, label + 1
        if not alone and waiting >= _EXPECTED:
            waiting = 0.0
            pending.clear()
    return groups


def _joined(counts: _Counts, groups: npt.NDArray[np.int64]) -> _Counts:
    """Counts per group, shape (versions, groups)."""
    return np.stack([np.bincount(groups, each, minlength=int(groups.max()) + 1).astype(np.int64) for each in counts])
