"""From figures to results: thresholds of a table applied to what was measured, and to the history of what was published."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from vector_assets.checks.catalog import check_named
from vector_assets.checks.result import CheckResult, Figure
from vector_assets.checks.statistics import Statistics, deviation, stability_index

VERSIONS = 20
WARM_UP = 5
_ROWS = 100  # below, distributions are mostly chance
_FEW = 10.0  # a count that moves by less is no news, however small the table


class Bounds(NamedTuple):
    """From where a check warns and from where it blocks; None: never."""

    warn: float | None
    block: float | None


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of one table: overrides by check, how many published versions are compared with, and how many it takes to begin."""

    overrides: Mapping[str, Bounds] = field(default_factory=dict)
    versions: int = VERSIONS
    warm_up: int = WARM_UP

    def bounds(self, check: str) -> Bounds:
        """Of one check."""
        known = check_named(check)
        return self.overrides.get(check, Bounds(known.warn, known.block))


@dataclass(frozen=True)
class Judge:
    """Judges one version of one table. `history`: statistics of published versions, the oldest first."""

    thresholds: Thresholds = Thresholds()
    history: Sequence[Statistics] = ()

    @property
    def warming_up(self) -> bool:
        """Whether there is too little history to compare with."""
        return len(self.history) < self.thresholds.warm_up

    def limit(self, check: str, value: float, said: str, figures: Mapping[str, Figure] | None = None) -> CheckResult:
        """A check of one figure against its thresholds; reaching one fails. `said` is what was found, without the limit."""
        warn, block = self.thresholds.bounds(check)
        blocked = block is not None and value >= block
        failed = blocked or (warn is not None and value >= warn)
        limits = ", ".join(f"{word} from {_shown(bound)}" for word, bound in (("warns", warn), ("blocks", block)) if bound is not None)
        return CheckResult(
            name=check,
            passed=not failed,
            said=f"{said} ({limits or 'no limit'})",
            blocks=blocked,
            figures={"value": value, **(figures or {})},
            history=self._past({check: value}),
        )

    def deviation(self, check: str, numbers: Mapping[str, float], *, relative: bool = False) -> CheckResult:
        """The number that is furthest from its history, in robust standard deviations; `relative`: the floor is a share of the median."""
        floor = check_named(check).floor
        scores: dict[str, float] = {}
        for name, now in numbers.items():
            before = self._before(name)
            if len(before) >= self.thresholds.warm_up:
                least = max(floor * abs(statistics.median(before)), _FEW) if relative else floor
                scores[name] = deviation(now, before, floor=least)
        return self._worst(check, scores, {name: _shown(now) for name, now in numbers.items()}, numbers, "robust standard deviations off")

    def shift(self, check: str, histograms: Mapping[str, Sequence[int]]) -> CheckResult:
        """The histogram that differs most from its history, by the population stability index."""
        scores: dict[str, float] = {}
        for name, now in histograms.items():
            before = [past.histograms[name] for past in self.history if name in past.histograms]
            if len(before) >= self.thresholds.warm_up and sum(now) >= _ROWS:
                scores[name] = stability_index(now, before)
        return self._worst(check, scores, {}, {}, "population stability index")

    def _worst(
        self, check: str, scores: Mapping[str, float], figures: Mapping[str, Figure], numbers: Mapping[str, float], unit: str
    ) -> CheckResult:
        if not scores:
            return CheckResult(check, passed=True, said=self._begins(), figures=figures, history=self._past(numbers))
        name = max(scores, key=lambda each: (scores[each], each))
        result = self.limit(check, round(scores[name], 4), f"{name}: {scores[name]:.2f} {unit}", {**figures, "most_unlike": name})
        return CheckResult(result.name, result.passed, result.said, result.blocks, result.figures, self._past(numbers))

    def _begins(self) -> str:
        seen, wanted = len(self.history), self.thresholds.warm_up
        return f"warming up: {seen} of {wanted} published versions to compare with" if seen < wanted else "nothing to compare with"

    def _before(self, name: str) -> list[float]:
        return [past.numbers[name] for past in self.history if name in past.numbers]

    def _past(self, numbers: Mapping[str, float]) -> dict[str, tuple[float, ...]]:
        return {name: (*self._before(name), now) for name, now in numbers.items() if self._before(name)}


def _shown(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:.4g}"
