"""How long the command line and the code location take to load, each in a fresh interpreter; the median of five."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from vector_assets_tests.bench.report import Figure


def measure(_: Path) -> list[Figure]:
    return [
        Figure("vector-assets --help", f"{_median([str(Path(sys.executable).with_name('vector-assets')), '--help']):.2f} s", "< 1 s"),
        Figure("load the code location", f"{_median([sys.executable, '-c', 'from vector_assets.definitions import defs']):.2f} s", "< 4 s"),
    ]


def _median(command: list[str]) -> float:
    def once() -> float:
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - started

    once()
    return statistics.median(once() for _ in range(5))
