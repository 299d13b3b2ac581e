"""What to do: desired against observed, as arrays of positions. Pure; everything else in the package only carries this out.

10 M against 10 M rows, 1 % different: seconds and about 1 GB beside the inputs (`make bench`); one sort of 64-bit lanes does the work.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vector_assets.fingerprint import Hashes, empty_hashes

Positions = npt.NDArray[np.int64]


class RowSet(NamedTuple):
    """Rows as ids and fingerprints, both of shape (n, 2); ids are unique."""

    ids: Hashes
    fingerprints: Hashes

    @classmethod
    def empty(cls) -> RowSet:
        """No rows."""
        return cls(empty_hashes(), empty_hashes())


class Plan(NamedTuple):
    """Positions: `inserts` and `changes` (ascending) in desired, `deletes` (ascending) in observed, and `previous` in observed,
    where each of `changes` stands now."""

    inserts: Positions
    changes: Positions
    previous: Positions
    deletes: Positions
    unchanged: int

    @property
    def upserts(self) -> int:
        """Rows to compute."""
        return len(self.inserts) + len(self.changes)


def plan(desired: RowSet, observed: RowSet) -> Plan:
    """The difference between what should be and what is. Raises ValueError where an id occurs twice on one side."""
    count = len(desired.ids)
    in_desired, in_observed = _matches(desired.ids, observed.ids)
    differs = (desired.fingerprints[in_desired] != observed.fingerprints[in_observed]).any(axis=1)
    changes, previous = in_desired[differs], in_observed[differs]
    order = np.argsort(changes)
    return Plan(
        inserts=_others(in_desired, count),
        changes=changes[order],
        previous=previous[order],
        deletes=_others(in_observed, len(observed.ids)),
        unchanged=len(in_desired) - len(changes),
    )


class Lookup:
    """Finds ids in a fixed set of unique ids, batch after batch."""

    def __init__(self, ids: Hashes) -> None:
        self._order = np.lexsort((ids[:, 1], ids[:, 0]))
        self._first, self._second = ids[self._order, 0], ids[self._order, 1]

    def find(self, ids: Hashes) -> Positions:
        """Where each id is in the set: shape (n,), -1 for those that are not in it."""
        found = np.full(len(ids), -1, dtype=np.int64)
        at = np.searchsorted(self._first, ids[:, 0])
        looking = np.arange(len(ids))
        while len(looking):  # once, unless first lanes tie
            inside = at[looking] < len(self._first)
            looking = looking[inside]
            looking = looking[self._first[at[looking]] == ids[looking, 0]]
            hit = self._second[at[looking]] == ids[looking, 1]
            found[looking[hit]] = self._order[at[looking[hit]]]
            looking = looking[~hit]
            at[looking] += 1
        return found


class Distinct(NamedTuple):
    """A scan without repeated ids: positions of the first of each, their (combined) fingerprints, and which of them were repeated."""

    positions: Positions
    fingerprints: Hashes
    repeated: npt.NDArray[np.bool_]


def distinct(rows: RowSet) -> Distinct:
    """Collapse rows that share an id. Their fingerprint is an order-independent sum, and never that of one of them alone."""
    order, same = _sorted_neighbours(rows.ids)
    first = np.ones(len(order), dtype=bool)
    first[1:] = ~same
    if first.all():
        positions = np.arange(len(order), dtype=np.int64)
        return Distinct(positions, rows.fingerprints, np.zeros(len(order), dtype=bool))
    starts = np.flatnonzero(first)
    sizes = np.diff(starts, append=len(order))
    sums = np.add.reduceat(rows.fingerprints[order], starts, axis=0)  # wraps modulo 2^64
    sums[sizes > 1] += np.uint64(1)
    positions = np.minimum.reduceat(order, starts)
    by_position = np.argsort(positions)
    return Distinct(positions[by_position], sums[by_position], (sizes > 1)[by_position])


def _others(taken: Positions, count: int) -> Positions:
    mask = np.ones(count, dtype=bool)
    mask[taken] = False
    return np.flatnonzero(mask)


def _matches(left: Hashes, right: Hashes) -> tuple[Positions, Positions]:
    """Positions of equal ids on both sides, aligned."""
    order, same = _sorted_neighbours(np.concatenate([left, right]))
    first, second = order[:-1][same], order[1:][same]
    in_left, in_right = np.minimum(first, second), np.maximum(first, second) - len(left)
    thrice = (same[1:] & same[:-1]).any()  # ties are in no particular order: left, right, left would make two good pairs
    if thrice or (len(in_left) and (int(in_left.max()) >= len(left) or int(in_right.min()) < 0)):
        raise ValueError("an id occurs twice on one side")
    return in_left, in_right


def _sorted_neighbours(ids: Hashes) -> tuple[Positions, npt.NDArray[np.bool_]]:
    """An order that sorts ids, and whether each equals the next in it."""
    # Ids are hashes: their first lane almost always decides, and one 64-bit sort is a quarter of the cost of sorting pairs.
    order = np.argsort(ids[:, 0])
    first = ids[order, 0]
    tied = first[1:] == first[:-1]
    same = tied.copy()
    same[tied] = ids[order[1:][tied], 1] == ids[order[:-1][tied], 1]
    if (tied & ~same).any():
        order = np.lexsort((ids[:, 1], ids[:, 0]))
        same = (ids[order[1:]] == ids[order[:-1]]).all(axis=1)
    return order, same
