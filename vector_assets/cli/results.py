"""What `sync` and `plan` answer: one object for scripts, one table for people.

    {"ok": bool,
     "tables": {KEY: {STAGE: {"added", "changed", "deleted", "unchanged", "rejected", "seconds", …},
                      "checks": {STAGE: {CHECK: {"outcome": "warned" | "blocked" | "accepted", "said", "by"}}}, "error": "…"}},
     "error": "…"}

`checks` has those that failed, if any did. `error` stands in a table's object where it failed, and in the whole where a command failed
before or beside its tables. What a stage counts beside rows (`encoded`, `reused` and `tokens` for embeddings) is always there, 0 where
there was nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from vector_assets.checks.result import CheckResult
    from vector_assets.planning import StagePlan
    from vector_assets.reconcile.run import Outcome

Numbers = dict[str, int | float]

_STAGE_WIDTH, _NUMBER_WIDTH, _SECONDS_WIDTH = 22, 10, 8
_ROWS = ("added", "changed", "deleted", "unchanged", "rejected")
_COUNTS: Mapping[str, tuple[str, ...]] = {
    "redacted_text": ("redacted", "tokens_waiting"),
    "embeddings": ("encoded", "reused", "passages", "tokens"),
    "weaviate_collections": ("objects",),
}


@dataclass
class TableResult:
    """Stages of one table that were done (or planned), in order, and why the next one was not."""

    stages: dict[str, Numbers] = field(default_factory=dict)
    checks: dict[str, list[CheckResult]] = field(default_factory=dict)  # that failed, by stage
    error: str | None = None
    stopped: bool = False  # by Ctrl-C, which is nobody's failure

    @property
    def failure(self) -> str:
        """How it ended, where it did not end well."""
        return "was stopped" if self.stopped else "failed, see below"

    def as_json(self) -> dict[str, object]:
        """The table's object."""
        failed = {stage: {check.name: _failed(check) for check in checks} for stage, checks in self.checks.items() if checks}
        return {**self.stages, **({"checks": failed} if failed else {}), **({"error": self.error} if self.error else {})}

    @property
    def warnings(self) -> list[str]:
        """Checks that failed and stopped nothing, a line each."""
        return [
            f"{stage}: {check.name}: {check.said}" + (f"; accepted by {check.accepted}" if check.accepted else "")
            for stage, checks in self.checks.items()
            for check in checks
            if not check.stops
        ]


def _failed(check: CheckResult) -> dict[str, object]:
    outcome = "accepted" if check.accepted else "blocked" if check.stops else "warned"
    return {"outcome": outcome, "said": check.said, **({"by": check.accepted} if check.accepted else {})}


def as_json(results: Mapping[str, TableResult], error: str | None = None) -> dict[str, object]:
    """The whole object."""
    ok = error is None and all(result.error is None for result in results.values())
    tables = {key: results[key].as_json() for key in sorted(results)}
    return {"ok": ok, "tables": tables, **({"error": error} if error else {})}


def of_outcome(outcome: Outcome) -> Numbers:
    """What a stage did."""
    counts = dict.fromkeys(_COUNTS.get(outcome.stage, ()), 0) | dict(outcome.counts)
    return {**{name: getattr(outcome, name) for name in _ROWS}, "seconds": round(outcome.seconds, 3), **counts}


def of_plan(plan: StagePlan) -> Numbers:
    """What a stage would do."""
    return {**{name: getattr(plan, name) for name in _ROWS}, "seconds": plan.seconds, **plan.counts, "exact": plan.exact}


def as_lines(results: Mapping[str, TableResult], *, seconds: str = "seconds") -> Text:
    """Rows of every table and stage, in lines of 80 characters. `≤` marks an upper bound."""
    header = f"{'':{_STAGE_WIDTH}}" + "".join(f"{name:>{_NUMBER_WIDTH}}" for name in _ROWS) + f"{seconds:>{_SECONDS_WIDTH}}"
    text = Text(header, style="dim", end="")
    for key in sorted(results):
        text.append(f"\n{key}", style="bold not dim")
        for stage, numbers in results[key].stages.items():
            text.append(f"\n  {stage:{_STAGE_WIDTH - 2}}", style="not dim")
            for name in _ROWS:
                text.append(f"{_number(name, numbers):>{_NUMBER_WIDTH}}", style="not dim" if numbers[name] else "")
            text.append(f"{numbers['seconds']:>{_SECONDS_WIDTH}.1f}", style="not dim")
            if numbers.get("tokens"):
                text.append(f"\n{'':{_STAGE_WIDTH}}{_encoding(numbers)}", style="")
    return text


def _number(name: str, numbers: Numbers) -> str:
    bound = "≤" if numbers[name] and name in ("added", "changed") and not numbers.get("exact", True) else ""
    return f"{bound}{numbers[name]:,}"


def _encoding(numbers: Numbers) -> str:
    return f" {numbers['encoded']:,} encoded, {numbers['reused']:,} reused, {numbers['tokens']:,} tokens"
