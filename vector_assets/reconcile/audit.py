"""Between writing and publishing: a version is measured, its checks are judged, and where one stops it, it stays unpublished."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vector_assets.checks.judge import Judge
from vector_assets.checks.result import CheckResult
from vector_assets.checks.statistics import Statistics
from vector_assets.errors import AuditError
from vector_assets.reconcile.plan import Positions, RowSet, plan
from vector_assets.reconcile.run import Limits
from vector_assets.reconcile.view import CONTENT, OK, REASON, REJECTED, STATE, State, View

if TYPE_CHECKING:
    from vector_assets.reconcile.stage import Stage

_FEW = 10  # rejected rows below this are no share of anything, unless they are all there is


@dataclass(frozen=True)
class Candidate:
    """The version that is to be published, what is published now (with this run's deletes), and what the run did to get from one to the
    other. A run that went on from unpublished work did less than the difference."""

    view: View
    published: View | None
    added: int = 0
    changed: int = 0
    deleted: int = 0

    @cached_property
    def fresh(self) -> Positions:
        """Positions of rows with content that is not published, ascending: what nobody has checked yet."""
        rows, positions, _ = self.view.content()
        before = self.published.content()[0] if self.published is not None else RowSet.empty()
        todo = plan(rows, before)
        fresh: Positions = positions[np.sort(np.concatenate([todo.inserts, todo.changes]))]
        return fresh


class Audit(NamedTuple):
    """What a stage says of a candidate: its statistics, which become history once it is published, and its own checks."""

    statistics: Statistics = Statistics()
    results: tuple[CheckResult, ...] = ()


def audited(stage: Stage, candidate: Candidate, state: State, limits: Limits) -> State:
    """The state to publish a candidate under, with its history. Raises AuditError where a check stops it."""
    published = candidate.published
    history = [Statistics.of_json(stored) for stored in published.state.history] if published is not None else []
    judge = Judge(limits.thresholds, history)
    measured = stage.audit(candidate, judge)
    common = (_row_states(candidate.view, judge), _rejected_rows(candidate.view, judge))
    results = tuple(result.under(limits.acceptance) for result in (*common, *measured.results))
    limits.checked(stage.name, results)
    if stopping := [result for result in results if result.stops]:
        raise AuditError(_refusal(stage.name, candidate.view, stopping))
    accepted = [f"{result.name} by {result.accepted}" for result in results if result.accepted]
    if accepted:  # what was accepted is what the next versions are compared with
        history = [measured.statistics] * limits.thresholds.warm_up
    kept = [*history, measured.statistics][-limits.thresholds.versions :]
    return state.with_history([each.stored() for each in kept], accepted)


def _row_states(view: View, judge: Judge) -> CheckResult:
    broken = view.count(f"({STATE} = '{OK}' AND {CONTENT} IS NULL) OR ({STATE} = '{REJECTED}' AND {REASON} IS NULL)")
    return judge.limit("row_states", broken, f"{broken:,} rows whose state contradicts their content")


def _rejected_rows(view: View, judge: Judge) -> CheckResult:
    counts = view.counts()
    rows = counts.ok + counts.rejected
    counted = counts.rejected >= _FEW or counts.rejected == rows
    share = counts.rejected / rows if rows and counted else 0.0
    said = f"{counts.rejected:,} of {rows:,} rows are rejected"
    return judge.limit("rejected_rows", round(share, 4), said, {"rejected": counts.rejected, "stale": counts.stale, "rows": rows})


def _refusal(stage: str, view: View, stopping: list[CheckResult]) -> str:
    names = ", ".join(result.name for result in stopping)
    said = "; ".join(f"{result.name}: {result.said}" for result in stopping)
    return (
        f"{stage}: version {view.version} is not published: {said}. What is published stays, and deletes are published. "
        f"Mend the rows, the rules or the thresholds (checks: in sources.yaml); if it is right, sync this table with "
        f"--accept '{names} by YOUR NAME: WHY'"
    )
