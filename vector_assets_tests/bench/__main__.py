"""Run benchmarks by name, or all of them: `python -m vector_assets_tests.bench [NAME]…`; `--help` lists the names."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from vector_assets_tests.bench import live, memory, planning, redaction, start, sync, trino, weaviate
from vector_assets_tests.bench.report import Figure, print_table

BENCHES: dict[str, Callable[[Path], list[Figure]]] = {
    "start": start.measure,
    "plan": planning.measure,
    "memory": memory.measure,
    "redaction": redaction.measure,
    "sync": sync.measure,
    "unchanged": sync.measure_unchanged,
    "trino": trino.measure,
    "weaviate": weaviate.measure,
    "live": live.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*BENCHES, []], help="which ones; all by default")
    chosen = parser.parse_args().name or list(BENCHES)
    os.environ["HF_HUB_OFFLINE"] = "1"
    if len(chosen) > 1:  # a process each: none warms another's caches or adds to its memory
        return max(subprocess.run([sys.executable, "-m", "vector_assets_tests.bench", name], check=False).returncode for name in chosen)
    with tempfile.TemporaryDirectory() as folder:
        print_table(chosen[0], BENCHES[chosen[0]](Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
