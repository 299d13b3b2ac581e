"""A first sync of 1 M rows against one of 50 k, with stub redactor and encoder: memory and rate must not depend on the size of the table.

Each size runs in a process of its own, since a process remembers its peak.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from vector_assets.arenas import bound_arenas
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.pipeline import STAGES, Pipeline, Run
from vector_assets.raw.duckdb.source import DuckDBSource
from vector_assets.settings import Settings
from vector_assets_tests import scripted
from vector_assets_tests.bench.report import Figure, peak_rss_mb
from vector_assets_tests.fakes import FakeEngines, MemorySource, StubEncoder, model_version

SMALL, LARGE = 50_000, 1_000_000


def measure(folder: Path) -> list[Figure]:
    results = {}
    for rows in (SMALL, LARGE):
        command = [sys.executable, "-m", "vector_assets_tests.bench.memory", str(folder / str(rows)), str(rows)]
        results[rows] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    small, large = results[SMALL], results[LARGE]
    return [
        Figure("peak memory, 50 k rows", f"{small['mb']:.0f} MB"),
        Figure("peak memory, 1 M rows", f"{large['mb']:.0f} MB ({large['mb'] - small['mb']:+.0f} MB)", "within 300 MB"),
        Figure("rate, 50 k rows", f"{small['rate']:,.0f} rows/s"),
        Figure("rate, 1 M rows", f"{large['rate']:,.0f} rows/s ({large['rate'] / small['rate'] - 1:+.0%})", "within 20 %"),
        *(Figure(f"  {stage}", f"{small['stages'][stage]:.1f} s and {large['stages'][stage]:.1f} s") for stage in large["stages"]),
    ]


class _Forgetful(list[str]):
    """A list that stays empty: stand-ins must not remember a million texts."""

    def __iadd__(self, _: object) -> _Forgetful:
        return self


class _Engines(FakeEngines):
    """A real source and a real index around the stand-ins."""

    def __init__(self, settings: Settings, database: Path) -> None:
        super().__init__(settings, MemorySource(scripted.SCHEMA), LanceIndex(settings.index))
        self.model = model_version(dimension=64)
        self.stub_encoder = StubEncoder(dimension=64, max_tokens=64)
        self.stub_redactor.seen, self.stub_encoder.seen = _Forgetful(), _Forgetful()
        self._duckdb = DuckDBSource("lake", database)

    def source(self, catalog: str) -> DuckDBSource:  # type: ignore[override]
        return self._duckdb


def run(folder: Path, rows: int) -> dict[str, object]:
    import duckdb

    folder.mkdir()
    with duckdb.connect(str(folder / "lake.duckdb")) as connection:
        connection.execute(
            "create schema s; create table s.t as select i as id, 'row ' || i || ': ' || repeat(md5(i::varchar), 3) as body,"
            f" 'open' as status from range({rows}) r(i)"
        )
    settings = Settings(home=folder / "home")
    object.__setattr__(settings, "tables", scripted.sources(quality={}))
    pipeline = Pipeline(settings, _Engines(settings, folder / "lake.duckdb"))
    started, stages = time.perf_counter(), {}
    for stage in STAGES:
        outcome = pipeline.sync(stage, scripted.REF, Run("bench"))
        assert outcome.added == rows
        stages[stage] = outcome.seconds
        print(stage, f"{peak_rss_mb():.0f} MB", file=sys.stderr)
    seconds = time.perf_counter() - started
    return {"mb": peak_rss_mb(), "rate": rows / seconds, "stages": stages}


if __name__ == "__main__":
    bound_arenas()  # as the command line and the code location do
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]))))
