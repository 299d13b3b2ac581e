"""Since when a table's searches lag behind its source, what is said of it and when, and what has to be remembered for that. Pure.

A table is outdated since the moment when a version other than the published one was first seen. A table without exact versions (a view, a
file) never looks unchanged: it counts as fresh while its token is the published one, else its age is the time since the last sync that
looked at its rows. Who looks is in `defs/freshness.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from vector_assets.checks.judge import Judge
from vector_assets.checks.result import CheckResult
from vector_assets.raw.source import SourceVersion
from vector_assets.reconcile.view import State
from vector_assets.tables import TableRef

CHECK = "freshness"
REPEAT_SECONDS = 3600
MOST_REMEMBERED = 5_000  # tables of one catalog; 110 KB of cursor


class Seen(NamedTuple):
    """What is remembered of a table. Times are seconds since 1970, versions are hashes; "" where there is none."""

    version: str = ""
    first: int = 0  # when this version was first seen
    published: str = ""
    since: int = 0  # outdated since; 0: it is not
    outcome: str = ""  # fresh | lags | warned | blocked, as it was last said
    said: int = 0  # when that was


class Looked(NamedTuple):
    """A table as it is now: the source's version, and what searches see of it."""

    version: SourceVersion
    published: State | None


def seen_now(before: Seen | None, looked: Looked, now: int) -> Seen:
    """What there is to remember after a look."""
    seen, published = before or Seen(first=now), looked.published
    token = looked.version.token
    if published is not None and published.source_version == token:
        return seen._replace(version=_hash(token), published=_hash(token), since=0)
    served = _hash(published.source_version) if published is not None else ""
    if not looked.version.exact:
        since = published.sequence // 1000 if published is not None else seen.first
        return seen._replace(version="", first=seen.first or now, published=served, since=since)
    version = _hash(token)
    first = seen.first if seen.version == version and seen.since else now
    begun = seen.since if seen.since and seen.published == served else first
    return seen._replace(version=version, first=first, published=served, since=begun)


def judged(judge: Judge, seen: Seen, looked: Looked, now: int) -> CheckResult:
    """The check `freshness` of a table."""
    hours = round(max(0, now - seen.since) / 3600, 2) if seen.since else 0.0
    published = looked.published
    if not seen.since:
        said = "the source has the version that is searched"
    elif published is None:
        said = f"nothing of it can be searched yet; first seen {hours:.1f} h ago"
    elif looked.version.exact:
        said = f"a version that is not searched was first seen {hours:.1f} h ago"
    else:
        said = f"its source has no exact versions; its rows were last looked at {hours:.1f} h ago"
    figures = {"source_version": looked.version.token, "published_version": published.source_version if published is not None else "none"}
    if seen.since:
        figures["outdated_since"] = datetime.fromtimestamp(seen.since, UTC).isoformat()
    return judge.limit(CHECK, hours, said, figures)


def news(before: Seen | None, word: str, now: int) -> bool:
    """Whether an outcome is worth an event: it is another one, or it has been bad for another hour.

    That a table lags, and no more than that, is said once an hour at most, however often it changes.
    """
    if before is None or not before.outcome:
        return True
    waited = now - before.said >= REPEAT_SECONDS
    return waited if word == before.outcome != "fresh" or (word, before.outcome) == ("lags", "fresh") else word != before.outcome


def outcome(seen: Seen, result: CheckResult) -> str:
    """How the check ended, in a word: fresh | lags | warned | blocked."""
    if result.passed:
        return "lags" if seen.since else "fresh"
    return "blocked" if result.blocks else "warned"


# --- the cursor --------------------------------------------------------------------------------------------------------------------------


@dataclass
class Memory:
    """What a sensor remembers from tick to tick: where it stopped, and tables by the hash of their key."""

    after: str = ""
    tables: dict[str, Seen] = field(default_factory=dict)

    @classmethod
    def of_cursor(cls, cursor: str | None) -> Memory:
        """From a cursor; an empty memory where it is none of ours."""
        try:
            stored = json.loads(cursor or "{}")
            tables = {key: _unpacked(value) for key, value in stored.get("tables", {}).items()}
            return cls(str(stored.get("after", "")), tables)
        except (ValueError, TypeError, AttributeError):
            return cls()

    def cursor(self, now: float | None = None) -> str:
        """As a cursor."""
        at = int(time.time() if now is None else now)
        packed = {key: _packed(seen, at) for key, seen in self.tables.items()}
        return json.dumps({"after": self.after, "tables": packed}, separators=(",", ":"))

    def keep(self, refs: Sequence[TableRef]) -> None:
        """Forget tables that are no more."""
        there = {_hash(ref.key) for ref in refs}
        self.tables = {key: seen for key, seen in self.tables.items() if key in there}

    def turn(self, refs: Sequence[TableRef]) -> list[TableRef]:
        """Tables in the order of this tick: behind those of the last one."""
        ordered = sorted(refs, key=lambda ref: ref.key)
        start = bisect_right([ref.key for ref in ordered], self.after)
        return ordered[start:] + ordered[:start]

    def note(self, ref: TableRef, seen: Seen) -> bool:
        """Remember a table; False where there is no room. One that lags takes the room of one that does not."""
        key = _hash(ref.key)
        if key not in self.tables and len(self.tables) >= MOST_REMEMBERED:
            fresh = next((other for other, known in self.tables.items() if not known.since), None)
            if not seen.since or fresh is None:
                return False
            del self.tables[fresh]
        self.tables[key] = seen
        return True

    def of(self, ref: TableRef) -> Seen | None:
        """What is remembered of a table."""
        return self.tables.get(_hash(ref.key))


def _packed(seen: Seen, now: int) -> str | list[str | int]:
    plain = not seen.since and seen.outcome == "fresh" and seen.version == seen.published and now - seen.said >= REPEAT_SECONDS
    return seen.version if plain else list(seen)


def _unpacked(stored: object) -> Seen:
    if isinstance(stored, str):
        return Seen(stored, published=stored, outcome="fresh")
    if not isinstance(stored, list):
        raise TypeError("not what was remembered")
    return Seen(*stored)


def _hash(text: str) -> str:
    """8 characters: among 5,000 tables, two share one once in 20 million times."""
    return base64.urlsafe_b64encode(hashlib.blake2b(text.encode(), digest_size=6).digest()).decode()
