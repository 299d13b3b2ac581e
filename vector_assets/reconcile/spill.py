"""Records on disk, in buckets: more than memory holds can be compared, a part at a time. Rows of two sides are compared here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from vector_assets.fingerprint import Hashes, from_arrow, input_fingerprints
from vector_assets.reconcile.plan import Lookup, RowSet, distinct
from vector_assets.reconcile.view import CONTENT, INPUT, ROW_ID, View

Records = npt.NDArray[np.uint64]
Pairs = Iterator[tuple[Hashes, Hashes]]
"""(row ids, fingerprints), a batch at a time."""

BUCKETS = 64  # 64 open files a kind; 100 M records of 72 bytes are buckets of 110 MB
_WAITING_RECORDS = 1 << 15
_SCAN_ROWS = 1 << 16


class Buckets:
    """Records of `words` 64-bit words, spread by the first word, whose upper bits must be those of a hash. Written once, then read."""

    def __init__(self, folder: Path, name: str, *, words: int) -> None:
        self._paths = [folder / f"{name}-{number:02d}" for number in range(BUCKETS)]
        self._words, self._waiting, self._count = words, list[Records](), 0
        self._stack = ExitStack()
        self._files: list[BinaryIO] = []

    def __enter__(self) -> Self:
        self._files = [self._stack.enter_context(path.open("wb")) for path in self._paths]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._write()
        finally:
            self._stack.close()

    def add(self, *columns: Records) -> None:
        """Records, given as columns of shape (n,) or (n, k) that have `words` words together."""
        records = np.column_stack(columns).astype(np.uint64, copy=False)
        self._waiting.append(records)
        self._count += len(records)
        if self._count >= _WAITING_RECORDS:
            self._write()

    def read(self, number: int) -> Records:
        """One bucket: shape (n, words)."""
        return np.fromfile(self._paths[number], dtype=np.uint64).reshape(-1, self._words)

    def _write(self) -> None:
        if not self._waiting:
            return
        records = np.concatenate(self._waiting)
        self._waiting, self._count = [], 0
        bucket = (records[:, 0] >> np.uint64(58)).astype(np.int64)
        order = np.argsort(bucket, kind="stable")
        ends = np.searchsorted(bucket[order], np.arange(BUCKETS), side="right")
        start = 0
        for number, end in enumerate(ends.tolist()):
            if end > start:
                self._files[number].write(np.ascontiguousarray(records[order[start:end]]).tobytes())
            start = end


# --- rows of two sides -----------------------------------------------------------------------------------------------------------------


class RowDamage(NamedTuple):
    """Rows of a stage table against its input: not there, there without an input, and made from something else."""

    missing: int = 0
    extra: int = 0
    stale: int = 0

    @property
    def total(self) -> int:
        """Rows that are not as they must be."""
        return self.missing + self.extra + self.stale


def content_of(view: View, version: str) -> Pairs:
    """What rows of the next stage, at this version, are made from."""
    for batch in view.batches([ROW_ID, CONTENT], where=f"{CONTENT} IS NOT NULL", batch_rows=_SCAN_ROWS):
        yield from_arrow(batch.column(ROW_ID)), input_fingerprints(from_arrow(batch.column(CONTENT)), version)


def made_of(view: View) -> Pairs:
    """What rows were made from."""
    for batch in view.batches([ROW_ID, INPUT], batch_rows=_SCAN_ROWS):
        yield from_arrow(batch.column(ROW_ID)), from_arrow(batch.column(INPUT))


def differ(wanted: Pairs, made: Pairs, folder: Path, *, version: str | None = None) -> RowDamage:
    """Compare two sides on disk, in an empty folder. `version`: `wanted` are digests of source rows, which may repeat a key, and this is
    the stage version that they are made with."""
    with ExitStack() as files:
        sides = [files.enter_context(Buckets(folder, name, words=4)) for name in ("wanted", "made")]
        for side, pairs in zip(sides, (wanted, made), strict=True):
            for ids, fingerprints in pairs:
                side.add(ids, fingerprints)
    totals = np.zeros(3, dtype=np.int64)
    for at in range(BUCKETS):
        asked, there = sides[0].read(at), sides[1].read(at)
        totals += _counted(_once(asked, version) if version is not None else asked, there)
    return RowDamage(*totals.tolist())


def _once(scanned: Records, version: str) -> Records:
    if not len(scanned):
        return scanned
    once = distinct(RowSet(scanned[:, 0:2], scanned[:, 2:4]))
    return np.column_stack([scanned[once.positions, 0:2], input_fingerprints(once.fingerprints, version)])


def _counted(asked: Records, there: Records) -> npt.NDArray[np.int64]:
    at = Lookup(asked[:, 0:2]).find(there[:, 0:2])
    known = at >= 0
    found = np.zeros(len(asked), dtype=bool)
    found[at[known]] = True
    stale = (asked[at[known], 2:4] != there[known, 2:4]).any(axis=1) if known.any() else np.zeros(0, dtype=bool)
    return np.array([(~found).sum(), (~known).sum(), stale.sum()], dtype=np.int64)
