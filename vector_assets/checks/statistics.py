"""What is remembered of a published version, and how two of them are compared. Pure arithmetic.

*One number* against earlier ones: Iglewicz and Hoaglin's modified z-score (1993), |x − median| / (1.4826 · MAD), since one bad version
in the history moves neither median nor MAD. Where history hardly varies MAD is nearly 0 and anything would be an outlier, so every
number has a floor: the smallest spread that is taken for real.

*A distribution* against earlier ones: the population stability index over fixed bins, sum (p − q) · ln(p / q), against the pooled
history. Bins add up, so nobody needs old rows, and it treats numbers and categories alike; Kolmogorov-Smirnov's p-value would call every
difference significant once there are enough rows. Below 0.1 is usually called stable, above 0.25 shifted (Siddiqi, Credit Risk
Scorecards, 2006). Of two samples of one distribution it is about (bins − 1) · (1/n + 1/m) (Yurdakul 2018), which is taken off.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MAD_SCALE = 1.4826  # of a normal distribution: standard deviation / MAD
_HALF = 0.5  # Laplace-like: what an empty bin counts, so that ln is finite


@dataclass(frozen=True)
class Statistics:
    """Numbers and histograms (counts per bin) of one version, by name; kept in the metadata of the published version."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @classmethod
    def of_json(cls, stored: Mapping[str, Mapping[str, object]]) -> Statistics:
        """The inverse of `dataclasses.asdict`."""
        return cls(**stored)  # type: ignore[arg-type]

    def __or__(self, other: Statistics) -> Statistics:
        return Statistics({**self.numbers, **other.numbers}, {**self.histograms, **other.histograms})


def deviation(now: float, before: Sequence[float], *, floor: float) -> float:
    """How far a number is from earlier ones, in robust standard deviations of at least `floor`. 0 without earlier ones."""
    if not before:
        return 0.0
    middle = statistics.median(before)
    spread = MAD_SCALE * statistics.median(abs(value - middle) for value in before)
    return float(abs(now - middle) / max(spread, floor))


def stability_index(now: Sequence[int], before: Iterable[Sequence[int]]) -> float:
    """The population stability index of a histogram against pooled earlier ones, less what chance alone gives; never below 0.

    0 where either is empty. Histograms of another number of bins were made by other rules and are left out.
    """
    pooled: list[int] = [sum(counts) for counts in zip(*(counts for counts in before if len(counts) == len(now)), strict=True)]
    here, there = sum(now), sum(pooled)
    if not here or not there:
        return 0.0
    used = [(p, q) for p, q in zip(now, pooled, strict=True) if p or q]
    n, m = here + _HALF * len(used), there + _HALF * len(used)
    index: float = sum(((p + _HALF) / n - (q + _HALF) / m) * math.log(((p + _HALF) / n) / ((q + _HALF) / m)) for p, q in used)
    return max(0.0, index - (len(used) - 1) * (1 / here + 1 / there))
