"""From figures to results: thresholds of a table applied to what was measured, and to the history of what was published."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from vector_assets.checks.catalog import check_named
from vector_assets.checks.result import CheckResult, Figure
from vector_assets.checks.statistics import Statistics, comparable, deviation, most_moved, stability_index

VERSIONS = 20
WARM_UP = 5
ROWS = 200  # below, distributions are mostly chance: two samples of one over 98 bins are up to 0.47 apart at 100 rows, 0.18 at 150
_SHOWN = 10  # numbers of a check that are shown, the most unlike first
_FEWER = f"fewer than {ROWS} rows are not judged by shares"
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


class _Found(NamedTuple):
    """How far one number or histogram is from its history, in words and figures too."""

    score: float
    said: str
    figures: Mapping[str, Figure]


def _bin(_: str, at: int) -> str:
    return f"bin {at}"


@dataclass(frozen=True)
class Judge:
    """Judges one version of one table. `history`: statistics of published versions, the oldest first."""

    thresholds: Thresholds = Thresholds()
    history: Sequence[Statistics] = ()

    @property
    def warming_up(self) -> bool:
        """Whether there is too little history to compare with."""
        return len(self.history) < self.thresholds.warm_up

    def median(self, name: str) -> float:
        """The median of a number over history; 0 where there is none, however short it is."""
        before = self.before(name)
        return statistics.median(before) if before else 0.0

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
            history=self.past({check: value}),
        )

    def deviation(self, check: str, numbers: Mapping[str, float], *, relative: bool = False, rows: int | None = None) -> CheckResult:
        """The number that is furthest from its history, in robust standard deviations; `relative`: the floor is a share of the median.
        `rows`: of how many the numbers are shares; of too few they are chance."""
        if rows is not None and rows < ROWS:
            return self._unjudged(check, numbers, _FEWER)
        floor = check_named(check).floor
        found: dict[str, _Found] = {}
        for name, now in numbers.items():
            before = self.before(name)
            if len(before) >= self.thresholds.warm_up:
                middle = statistics.median(before)
                score = deviation(now, before, floor=max(floor * abs(middle), _FEW) if relative else floor)
                said = f"{_shown(now)}, where the median of {len(before)} versions is {_shown(middle)}"
                found[name] = _Found(score, f"{said}: {score:.2f} robust standard deviations off", {"now": now, "median": middle})
        return self._worst(check, found, numbers)

    def shift(self, check: str, histograms: Mapping[str, Sequence[int]], *, named: Callable[[str, int], str] = _bin) -> CheckResult:
        """The histogram that differs most from its history, by the population stability index. `named`: what a bin of a histogram is, in
        words; never a value."""
        found: dict[str, _Found] = {}
        for name, now in histograms.items():
            before = comparable(now, (past.histograms[name] for past in self.history if name in past.histograms))
            if len(before) >= self.thresholds.warm_up and sum(now) >= ROWS:
                score, moved = stability_index(now, before), most_moved(now, before)
                what = named(name, moved.bin)
                said = f"{what}: {moved.now:.1%} of {sum(now):,} rows, where the median of {len(before)} versions is {moved.before:.1%}"
                figures: dict[str, Figure] = {"most_moved": what, "now": round(moved.now, 4), "median": round(moved.before, 4)}
                found[name] = _Found(score, f"{said}; population stability index {score:.2f}", figures)
        if not found and not self.warming_up and histograms and all(sum(now) < ROWS for now in histograms.values()):
            return self._unjudged(check, {}, _FEWER)
        return self._worst(check, found, {})

    def _worst(self, check: str, found: Mapping[str, _Found], numbers: Mapping[str, float]) -> CheckResult:
        if not found:
            return self._unjudged(check, numbers, self.begins())
        ranked = sorted(found, key=lambda each: (-found[each].score, each))
        name, shown = ranked[0], {each: numbers[each] for each in ranked[:_SHOWN] if each in numbers}
        worst = found[name]
        result = self.limit(check, round(worst.score, 4), f"{name}: {worst.said}", {"most_unlike": name, **worst.figures})
        return replace(result, history=self.past(shown))

    def _unjudged(self, check: str, numbers: Mapping[str, float], why: str) -> CheckResult:
        shown = {name: numbers[name] for name in [*numbers][:_SHOWN]}
        figures: dict[str, Figure] = {name: _shown(now) for name, now in shown.items()}
        return CheckResult(check, passed=True, said=why, figures=figures, history=self.past(shown))

    def begins(self) -> str:
        """Why nothing is said yet, in words."""
        seen, wanted = len(self.history), self.thresholds.warm_up
        return f"warming up: {seen} of {wanted} published versions to compare with" if seen < wanted else "nothing to compare with"

    def before(self, name: str) -> list[float]:
        """A number over history, the oldest first, of the versions that have it."""
        return [past.numbers[name] for past in self.history if name in past.numbers]

    def past(self, numbers: Mapping[str, float]) -> dict[str, tuple[float, ...]]:
        """Numbers over history, the oldest first, and as they are now; those that have no history are left out."""
        return {name: (*before, now) for name, now in numbers.items() if (before := self.before(name))}


def _shown(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:.4g}"
