"""What a stage and its input are: the seam between the loop (`sync.py`) and what any stage does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import pyarrow as pa

from vector_assets.checks.judge import Judge
from vector_assets.fingerprint import Hashes
from vector_assets.reconcile.audit import Audit, Candidate
from vector_assets.reconcile.plan import Plan, Positions, RowSet
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.view import View


class Batch(NamedTuple):
    """Input rows at some positions of the desired set, with the content fingerprints that they were read with."""

    positions: Positions
    rows: pa.Table
    content: Hashes


class Input(Protocol):
    """What a stage is made from, at one version."""

    @property
    def version(self) -> str:
        """The version of the input: equal means equal rows."""

    @property
    def source_version(self) -> str:
        """The version of the source table behind it."""

    @property
    def sequence(self) -> int:
        """When the source was looked at; never falls."""

    def rows(self) -> RowSet:
        """(row_id, content fingerprint) of every row there should be."""

    def read(self, positions: Positions) -> Iterator[Batch]:
        """The rows at these ascending positions, in bounded batches. A row that is no longer there is left out."""

    def absent(self, rows: pa.Table) -> pa.BooleanArray:
        """Whether these rows of the stage (columns row_id and key, where it has one) are truly gone from the input."""


class Computed(NamedTuple):
    """What a batch became: the stage's own columns with `content` (n rows), a reason for each rejected row, and counts to add up."""

    rows: pa.Table
    reasons: Sequence[str | None]
    tally: Mapping[str, int] = {}


class Deleting(Protocol):
    """What goes with a row of a stage table."""

    handle: tuple[str, ...]  # own columns that `delete` and `Input.absent` need of a row

    def delete(self, rows: pa.Table) -> None:
        """Rows (row_id and `handle`) that are about to be deleted from the table."""


class Stage(Deleting, Protocol):
    """What a row becomes."""

    name: str
    version: str  # 32 hex digits: everything that can change the output
    own: pa.Schema  # columns of the stage behind ROW_COLUMNS
    desired: Mapping[str, str]  # what else the published state must equal (generation, …)
    keep_last: bool  # a rejected row keeps its last good content
    purged: tuple[str, ...]  # struct columns whose values are purged later (StageTable.purge)
    restorable: bool  # whether going back to the published version undoes unpublished work

    def prepare(self, table: StageTable, view: View, todo: Plan, source: Input) -> None:
        """Before rows are written. Where it changes the table, the plan is made again."""

    def compute(self, rows: pa.Table, previous: pa.Table) -> Computed:
        """Compute rows. `previous` has a row for each of them: what stood here before, all NULL for a new row."""

    def audit(self, candidate: Candidate, judge: Judge) -> Audit:
        """What the version to publish is like, and the checks of this stage. Reads columns of bounded width, or what changed."""
