"""Every check there is: where it runs, what it measures, its default thresholds. README's table and Dagster's checks are made of this."""

from __future__ import annotations

from typing import Literal, NamedTuple

Measure = Literal["deviation", "stability index", "share", "count", "recall", "hours"]


class Check(NamedTuple):
    """One check. `warn` and `block` are the values of `measure` from which it fails; None: never. `floor`: see `statistics.deviation`."""

    name: str
    stage: str
    what: str
    measure: Measure
    warn: float | None = None
    block: float | None = None
    floor: float = 0.0
    accept: str = "run tag or --accept"


_Z_WARN, _Z_BLOCK = 3.5, 8.0  # Iglewicz and Hoaglin call 3.5 an outlier
_PSI_WARN, _PSI_BLOCK = 0.25, 0.5

CHECKS: tuple[Check, ...] = (
    Check("row_states", "every stage", "rows whose state contradicts their content: a bug", "count", block=1, accept="cannot be"),
    Check("rejected_rows", "every stage", "rows that are rejected now, of all rows of the table", "share", warn=0.05, block=0.25),
    Check("row_count", "raw_tables", "rows, against history; the floor is 5 % of the median", "deviation", _Z_WARN, _Z_BLOCK, floor=0.05),
    Check(
        "change_shares",
        "raw_tables",
        "share of rows added, changed, deleted, against history",
        "deviation",
        _Z_WARN,
        floor=0.1,
    ),
)
"""In the order in which they are shown."""


def checks_of(stage: str) -> tuple[Check, ...]:
    """Checks of one stage, with those of every stage."""
    return tuple(check for check in CHECKS if check.stage in (stage, "every stage"))


def check_named(name: str) -> Check:
    """A check by its name; KeyError where there is none."""
    return {check.name: check for check in CHECKS}[name]
