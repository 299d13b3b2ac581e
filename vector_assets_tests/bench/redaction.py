"""Texts per second through the redactor and through Presidio's `BatchAnalyzerEngine(batch_size=64)`, with the same recognizers.

The contenders take turns on slices of the same texts in one run, so that whatever else the machine does slows all of them alike. Theirs
only finds; ours finds and replaces, and pays for its processes' pipes. Torch is kept out of both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from vector_assets_tests.bench.report import Figure

TEXTS, SLICE, BATCH = 4_096, 512, 64


def measure(_: Path) -> list[Figure]:
    command = [sys.executable, "-m", "vector_assets_tests.bench.redaction"]
    seconds = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    rates = {name: TEXTS / spent for name, spent in seconds.items()}
    theirs = rates["theirs"]
    return [
        Figure("Presidio, BatchAnalyzerEngine(batch_size=64)", f"{theirs:,.0f} texts/s"),
        Figure("redactor, one process", f"{rates['one']:,.0f} texts/s ({rates['one'] / theirs:.1f} x)"),
        Figure("redactor, two processes", f"{rates['two']:,.0f} texts/s ({rates['two'] / theirs:.1f} x)", ">= 2 x"),
    ]


def run() -> dict[str, float]:
    """Seconds by contender, without what comes before the first text."""
    from presidio_analyzer import BatchAnalyzerEngine

    from vector_assets.redacted.analyzer import PresidioRedactor
    from vector_assets.redaction import RedactionPolicy
    from vector_assets_tests.bench.corpus import texts
    from vector_assets_tests.presidio import asked, plain_engine

    policy = RedactionPolicy()
    batches = BatchAnalyzerEngine(plain_engine(policy))
    rows = texts(TEXTS)
    with PresidioRedactor(policy, workers=1) as one, PresidioRedactor(policy, workers=2) as two:
        contenders: dict[str, Callable[[list[str]], object]] = {
            "theirs": lambda some: list(batches.analyze_iterator(some, language="en", batch_size=BATCH, **asked(policy))),
            "one": one.redact,
            "two": two.redact,
        }
        seconds = dict.fromkeys(contenders, 0.0)
        for contender in contenders.values():
            contender([f"{text} Warm." for text in rows[:SLICE]])
        for at in range(0, TEXTS, SLICE):
            for name, contender in contenders.items():
                started = time.perf_counter()
                contender(rows[at : at + SLICE])
                seconds[name] += time.perf_counter() - started
    return seconds


if __name__ == "__main__":
    from vector_assets_tests.presidio import block_torch

    block_torch()
    print(json.dumps(run()))
