"""What comparing so many objects takes: `python -m vector_assets_tests.parity_memory FOLDER OBJECTS` prints damage and memory as JSON.

Embeddings and ledger are real Lance tables, written here; the index makes up what it stores, object by object, and holds nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from vector_assets.arenas import bound_arenas
from vector_assets.fingerprint import Hashes, from_arrow, input_fingerprints, to_arrow
from vector_assets.indexed.index import CollectionSchema
from vector_assets.indexed.parity import Place, Scope, compare
from vector_assets.indexed.stage import PASSAGE_COUNT, PASSAGES, PROPERTIES, PROPERTIES_FINGERPRINT, IndexedStage, collection_properties
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.view import ATTEMPTS, CONTENT, INPUT, OK, ROW_ID, STATE
from vector_assets.tables import CollectionSpec
from vector_assets_tests.bench.report import peak_rss_mb
from vector_assets_tests.fakes import MemoryIndex
from vector_assets_tests.scripted import REF, sources

DIMENSION, BATCH = 8, 20_000
MISSING, FORGED = 1000, 500  # every so many
KINDS = pa.struct([("id", pa.int64()), ("status", pa.string())])
PASSAGE = pa.struct(
    [("ordinal", pa.int32()), ("fingerprint", pa.binary(16)), ("text", pa.string()), ("vector", pa.list_(pa.float16(), DIMENSION))]
)
SPEC = sources(quality={}).tables[0]
SCHEMA = CollectionSchema("Things_g", DIMENSION, CollectionSpec(), collection_properties(SPEC, KINDS), {"generation": "g"})


def hashes_of(numbers: np.ndarray, salt: int) -> Hashes:
    """Something like hashes, of numbers: shape (n, 2)."""
    lanes = np.stack([numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15), numbers.astype(np.uint64) + np.uint64(salt)], axis=1)
    return lanes ^ (lanes >> np.uint64(29)) * np.uint64(0xBF58476D1CE4E5B9)


def embedded(start: int, count: int) -> pa.Table:
    """Rows of embeddings, of one passage each."""
    numbers = np.arange(start, start + count)
    vectors = np.random.default_rng(start).normal(size=(count, DIMENSION)).astype(np.float16)
    passages = pa.StructArray.from_arrays(
        [
            pa.array(np.zeros(count, np.int32)),
            to_arrow(hashes_of(numbers, 2)),
            pa.array([f"what row {number} says" for number in numbers]),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSION),
        ],
        fields=list(PASSAGE),
    )
    ids = to_arrow(hashes_of(numbers, 1))
    return pa.table(
        {
            ROW_ID: ids,
            INPUT: ids,
            CONTENT: to_arrow(hashes_of(numbers, 3)),
            STATE: pa.repeat(OK, count),
            ATTEMPTS: pa.array(np.zeros(count, np.int32)),
            PASSAGES: pa.ListArray.from_arrays(pa.array(np.arange(count + 1), pa.int32()), passages),
            PASSAGE_COUNT: pa.array(np.ones(count, np.int32)),
            PROPERTIES: pa.array([{"id": int(number), "status": "open"} for number in numbers], KINDS),
            PROPERTIES_FINGERPRINT: to_arrow(hashes_of(numbers, 4)),
        }
    )


class MadeUp(MemoryIndex):
    """Stores what it should, but for some objects."""

    def __init__(self, stage: IndexedStage, objects: int) -> None:
        super().__init__()
        self.stage, self.objects = stage, objects

    def stored(self, name: str, source_table: str, columns: Sequence[str] = (), *, rows: Hashes | None = None) -> Iterator[pa.RecordBatch]:
        for start in range(0, self.objects, BATCH):
            objects, _, _, _ = self.stage.objects(embedded(start, min(BATCH, self.objects - start)))
            if rows is not None:
                wanted = set(to_arrow(rows).to_pylist())
                objects = objects.filter(pa.array([each in wanted for each in objects.column("row_id").to_pylist()]))
            else:
                at = np.arange(start, start + len(objects))
                texts = objects.column("text").to_pylist()
                forged = ["forged" if number % FORGED == 1 else text for number, text in zip(at, texts, strict=True)]
                objects = objects.set_column(objects.column_names.index("text"), "text", pa.array(forged))
                objects = objects.filter(pa.array(at % MISSING != 0))
            yield from objects.select(columns).combine_chunks().to_batches()


def _rows(table: StageTable, known: dict[str, pa.ChunkedArray], count: int) -> pa.Table:
    return pa.table([known.get(f.name, pa.nulls(count, f.type)) for f in table.schema], schema=table.schema)


def main(folder: Path, objects: int) -> dict[str, float]:
    stage = IndexedStage(ref=REF, spec=SPEC, index=MemoryIndex(), schema=SCHEMA, incarnation="i1", properties_type=KINDS)
    made = StageTable(
        str(folder / "embeddings.lance"),
        pa.schema(
            [
                pa.field(PASSAGES, pa.list_(PASSAGE)),
                pa.field(PASSAGE_COUNT, pa.int32()),
                pa.field(PROPERTIES, KINDS),
                pa.field(PROPERTIES_FINGERPRINT, pa.binary(16)),
            ]
        ),
    )
    ledger = StageTable(str(folder / "ledger.lance"), stage.own)
    made.open_for_writing(), ledger.open_for_writing()
    for start in range(0, objects, BATCH):
        rows = embedded(start, min(BATCH, objects - start))
        made.append(_rows(made, {name: rows[name] for name in rows.column_names}, len(rows)))
        sent = {**{name: rows[name] for name in (ROW_ID, CONTENT, STATE, ATTEMPTS)}, "objects": rows[PASSAGE_COUNT]}
        sent[INPUT] = to_arrow(input_fingerprints(from_arrow(rows[CONTENT]), stage.version))
        ledger.append(_rows(ledger, sent, len(rows)))
    before, begun = peak_rss_mb(), time.perf_counter()
    place = Place(MadeUp(stage, objects), SCHEMA, REF.key, stage, ledger.now(), made.now())
    spilled = folder / "spilled"
    spilled.mkdir()
    found = compare(place, spilled, Scope())
    return {
        "before_mb": before,
        "peak_mb": peak_rss_mb(),
        "seconds": time.perf_counter() - begun,
        "spilled_mb": sum(path.stat().st_size for path in spilled.iterdir()) / 1e6,
        "objects": found.objects,
        "missing": found.missing,
        "altered": found.altered,
        "others": found.total - found.missing - found.altered,
    }


if __name__ == "__main__":
    bound_arenas()  # as the command line does
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
