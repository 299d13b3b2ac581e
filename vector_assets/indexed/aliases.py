"""The one function that moves aliases.

It is level-triggered: it looks at what is published now, not at what just happened, so it may be called after every run, by the sensor and
by `promote`, in any order and as often as one likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vector_assets.indexed.index import VectorIndex


class AliasMove(NamedTuple):
    """What was done about an alias: `before` and `after` are what it pointed to, `waiting` the tables (keys) that it still waits for."""

    alias: str
    before: str | None
    after: str | None
    waiting: tuple[str, ...]

    @property
    def moved(self) -> bool:
        """Whether searches see another collection than before."""
        return self.before != self.after


def settle_alias(index: VectorIndex, *, alias: str, name: str, published: Mapping[str, bool]) -> AliasMove:
    """Point `alias` to collection `name` iff every table that feeds it is published there.

    `published` says so of each table key, read just now; tombstoned and waived tables are left out of it. A collection that does not exist
    holds no table, whatever was published; an alias that no table feeds stays. Raises what the index raises.
    """
    before = index.resolve(alias)
    waiting = tuple(sorted(key for key, done in published.items() if not done))
    if published and not waiting and index.incarnation(name) is None:
        waiting = tuple(sorted(published))
    if not published or waiting:
        return AliasMove(alias, before, before, waiting)
    if before != name:
        index.point(alias, name)
    return AliasMove(alias, before, name, ())
