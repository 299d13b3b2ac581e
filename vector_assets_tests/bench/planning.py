"""plan(): 10 M rows against 10 M rows, 1 % different."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from vector_assets.reconcile.plan import RowSet, plan
from vector_assets_tests.bench.report import Figure, peak_rss_mb

ROWS = 10_000_000


def measure(_: Path) -> list[Figure]:
    random = np.random.default_rng(7)
    ids, fingerprints = (random.integers(0, 2**64, size=(ROWS, 2), dtype=np.uint64) for _ in range(2))
    order = random.permutation(ROWS)
    observed = RowSet(ids[order], fingerprints[order])
    observed.fingerprints[: ROWS // 100] ^= np.uint64(1)
    started = time.perf_counter()
    todo = plan(RowSet(ids, fingerprints), observed)
    seconds = time.perf_counter() - started
    assert len(todo.changes) == ROWS // 100
    return [
        Figure("plan 10 M against 10 M, 1 % different", f"{seconds:.1f} s", "≤ 10 s"),
        Figure("peak memory of the process, inputs included", f"{peak_rss_mb() / 1024:.2f} GB", "≤ 3 GB"),
    ]
