"""What a run may do, and what it says: limits, the delete brake, progress and outcome. Plain values; `sync.py` acts on them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

import pyarrow as pa

from vector_assets.checks.judge import Thresholds
from vector_assets.checks.result import Acceptance, CheckResult
from vector_assets.errors import DeleteBrakeError
from vector_assets.reconcile.view import State

APPROVAL_HOURS = 24  # whoever reads of a brake in the evening may answer in the morning
_LOOK = re.compile(r"unversioned@(\d+)")


def look_at(seconds: float) -> str:
    """The source version of a table that has none: when it was looked at, in seconds since 1970. Never the same twice."""
    return f"unversioned@{int(seconds * 1000)}"


class Approval(NamedTuple):
    """A person's word that a plan may delete up to so many rows at this source version.

    A table without versions is never seen at the same one again: there it holds for looks within APPROVAL_HOURS of the one approved.
    """

    source_version: str
    deletes: int

    def covers(self, source_version: str, deletes: int) -> bool:
        """Whether these deletes are meant."""
        if deletes > self.deletes:
            return False
        approved, now = _LOOK.fullmatch(self.source_version), _LOOK.fullmatch(source_version)
        if approved is None or now is None:
            return self.source_version == source_version
        return 0 <= int(now[1]) - int(approved[1]) <= APPROVAL_HOURS * 3_600_000


@dataclass(frozen=True)
class Brake:
    """Stops plans that delete more than `share` of a published table of more than `rows` rows, or all of any table."""

    share: float = 0.3
    rows: int = 100
    approval: Approval | None = None

    def check(self, stage: str, uri: str, source_version: str, deletes: int, published: int) -> None:
        """Raises DeleteBrakeError with the approval to give."""
        empties = deletes == published and published > 0
        if not empties and (published <= self.rows or deletes <= self.share * published):
            return
        if self.approval is not None and self.approval.covers(source_version, deletes):
            return
        raise DeleteBrakeError(
            f"{stage} ({uri}): this would delete {deletes:,} of {published:,} published rows "
            f"({deletes / published:.0%}; the limit is {self.share:.0%}). "
            f"Nothing was changed. If it is right, sync this table with --approve-deletes {source_version}:{deletes}"
        )


@dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Limits:
    """Bounds of a run, and what it may use."""

    commit_rows: int = 32_768
    commit_bytes: int = 64 << 20
    commit_seconds: float = 30
    retention: timedelta = timedelta(days=7)
    brake: Brake = Brake()
    compute: AbstractContextManager[object] = field(default_factory=nullcontext)  # entered for each batch: a share of the processor
    ensure: Callable[[], None] = lambda: None  # raises where this run is no longer the writer
    thresholds: Thresholds = field(default_factory=Thresholds)
    acceptance: Acceptance | None = None
    checked: Callable[[str, Sequence[CheckResult]], None] = lambda _stage, _results: None  # before anything is published or refused
    progress: Callable[[Progress], None] = lambda _: None


@dataclass(frozen=True)
class Outcome:
    """What a run of a stage did. Rows planned = computed + deleted; added, changed and deleted are what the next stage sees."""

    stage: str
    state: State
    version: int  # of the Lance dataset at `uri`
    uri: str
    planned: int = 0
    added: int = 0
    changed: int = 0
    deleted: int = 0
    unchanged: int = 0
    seconds: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)  # of the stage: encoded, reused, tokens, …
    facts: Mapping[str, str] = field(default_factory=dict)  # what it was done with: model, generation, collection, …
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))  # of that version

    @property
    def rejected(self) -> int:
        """Rows in the table that are rejected now."""
        return self.state.rejected
