"""Run tags that mean something here, and what they say. Tags reach every run, backfills included; run config does not.

Which model a run works with is a tag too, but it is written as well as read: pin.py. No Dagster objects here: the command line reads an
approval by the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vector_assets.checks.catalog import CHECKS
from vector_assets.checks.result import Acceptance
from vector_assets.errors import ConfigurationError
from vector_assets.quarantine import ALL, parse_selection
from vector_assets.reconcile.run import Approval

APPROVE_DELETES = "vector_assets/approve_deletes"
ACCEPT = "vector_assets/accept"
REPLAY = "vector_assets/replay"
REPLAY_JOB = "replay_quarantine"
MODEL_VERSION = "vector_assets/model_version"
MODEL_DIGEST = "vector_assets/model_digest"
GENERATION = "vector_assets/generation"
PINNED_BY = "vector_assets/pinned_by"

RESUMED = "dagster/is_resume_retry"
_UNATTENDED = (
    "dagster/sensor_name",
    "dagster/schedule_name",
    "dagster/backfill",
    "dagster/auto_materialize",
    "dagster/from_automation_condition",
)


def parse_approval(text: str) -> Approval:
    """The approval that a delete-brake error asked for, `SOURCE_VERSION:COUNT`. Raises ConfigurationError for anything else."""
    version, _, count = text.strip().rpartition(":")
    if not version or not count.isdecimal():
        raise ConfigurationError(f"{text!r} is not SOURCE_VERSION:COUNT: copy it from the error that asked for the approval")
    return Approval(version, int(count))


def approval(tags: Mapping[str, str]) -> Approval | None:
    """What a run may delete beyond the brake. Raises ConfigurationError for a tag that cannot be read."""
    text = tags.get(APPROVE_DELETES)
    return None if text is None else parse_approval(text)


def acceptance(tags: Mapping[str, str]) -> Acceptance | None:
    """Which checks may fail in this run, by whose word. Raises ConfigurationError for a tag that cannot be read or a check that is not."""
    text = tags.get(ACCEPT)
    return None if text is None else parse_acceptance(text)


def parse_acceptance(text: str) -> Acceptance:
    """`CHECK[, CHECK…] by WHO: WHY`. Raises ConfigurationError for anything else, and for checks that are not or cannot be accepted."""
    accepted = Acceptance.parse(text)
    known = {check.name for check in CHECKS if "--accept" in check.accept}
    if unknown := sorted(accepted.checks - known):
        raise ConfigurationError(f"{', '.join(unknown)} cannot be accepted: no such check (there are: {', '.join(sorted(known))})")
    return accepted


class Replay(NamedTuple):
    """Rejected rows that a run tries again: these row ids, or all of them (None)."""

    rows: frozenset[str] | None


def replay(tags: Mapping[str, str], job: str) -> Replay | None:
    """Which rejected rows a run is to try again. Raises ConfigurationError for a tag that cannot be read."""
    # Dagster leaves the tags of a job out where its partitions are launched as a backfill: there its name says it.
    text = tags.get(REPLAY, ALL if job == REPLAY_JOB else None)
    return None if text is None else Replay(parse_selection(text))


def partition_of(tags: Mapping[str, str]) -> str:
    """The partition key of a run's only table; "" where it has none, or several. A backfill says it as a range of one."""
    first, last = (tags.get(f"dagster/asset_partition_range_{end}", "") for end in ("start", "end"))
    return tags.get("dagster/partition", first if first == last else "")


def is_attended(tags: Mapping[str, str]) -> bool:
    """Whether a person launched this run and waits for it; sensors, schedules and backfills come back by themselves."""
    return not any(tag in tags for tag in _UNATTENDED)
