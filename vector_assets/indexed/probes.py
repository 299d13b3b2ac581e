"""Probes: what a row says first, asked as a query, must find the row.

A sample that does not change while its rows stay: of the rows with the smallest ids (hashes, so it is a fair sample) those whose first
passage has 20 characters at least, 32 of them at most. The probe is that passage's first line or sentence. It is found where one of the
ten nearest objects is the row's, or begins with the very same words: then nobody could tell them apart.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.checks.judge import Judge
from vector_assets.checks.result import CheckResult
from vector_assets.fingerprint import Hashes, to_arrow
from vector_assets.indexed.index import Query, VectorIndex
from vector_assets.indexed.mapping import object_ids

PROBES = 32
NEAREST = 10
LEAST_CHARACTERS = 20
CANDIDATES = 64
"""Rows to look at for probes; some texts are too short."""

_MOST_CHARACTERS = 200
_DROP = 0.1  # below the median of history by so much: three probes of 32
_AT_ONCE = 4
_END = re.compile(r"\n|[.!?…](?=[\"'”’)\]]*\s)|[。！？]")

EncodeQuery = Callable[[str], npt.NDArray[np.float32]]


class Probe(NamedTuple):
    """A row, the objects that it has, and what is asked for it."""

    row_id: bytes
    objects: frozenset[str]
    query: str


def opening(text: str) -> str | None:
    """The first line or sentence of a text, long enough to tell it by: 20 to 200 characters; None where the text has less."""
    text = text.strip()
    if len(text) < LEAST_CHARACTERS:
        return None
    end = next((found.end() for found in _END.finditer(text) if found.end() >= LEAST_CHARACTERS), len(text))
    return text[: min(end, _MOST_CHARACTERS)].strip()


def probes_of(row_ids: Hashes, passages: pa.ListArray) -> Iterator[Probe]:
    """Probes of rows, of those whose first passage is long enough."""
    counts = pc.list_value_length(passages).to_numpy(zero_copy_only=False)
    texts = passages.flatten().field("text")
    start = 0
    for row_id, ids, count in zip(to_arrow(row_ids).to_pylist(), row_ids, counts, strict=True):
        query = opening(texts[start].as_py()) if count else None
        start += int(count)
        if query is not None:
            made = to_arrow(object_ids(np.repeat(ids[None], count, axis=0), np.arange(count))).to_pylist()
            yield Probe(row_id, frozenset(str(uuid.UUID(bytes=each)) for each in made), query)


def missed(probes: list[Probe], index: VectorIndex, collection: str, encode: EncodeQuery) -> list[bytes]:
    """Ids of the rows whose probe does not find them. Raises what the index and the encoder raise."""

    def finds(probe: Probe) -> bool:
        vector = np.asarray(encode(probe.query), dtype=np.float32)
        if not np.isfinite(vector).all():
            return False
        hits = index.search(collection, Query(vector, limit=NEAREST))
        return any(hit.id in probe.objects or opening(hit.text) == probe.query for hit in hits)

    with ThreadPoolExecutor(_AT_ONCE, "probe") as pool:
        return [probe.row_id for probe, found in zip(probes, pool.map(finds, probes), strict=True) if not found]


def judged(judge: Judge, probes: list[Probe], lost: list[bytes]) -> CheckResult:
    """`probe_recall`: fails below its thresholds, and warns where it is 0.1 below the median of history."""
    if not probes:
        return CheckResult("probe_recall", passed=True, said=f"no text of {LEAST_CHARACTERS} characters to ask for")
    recall = round(1 - len(lost) / len(probes), 4)
    warn, block = judge.thresholds.bounds("probe_recall")
    usual = judge.median("probe_recall") if len(judge.before("probe_recall")) >= judge.thresholds.warm_up else None
    blocks = block is not None and recall < block
    dropped = warn is not None and usual is not None and recall < usual - _DROP
    limits = [f"{word} below {bound:g}" for word, bound in (("warns", warn), ("blocks", block)) if bound is not None]
    found = f"{len(probes) - len(lost)} of {len(probes)} probes found their row among the {NEAREST} nearest"
    said = f"{found} ({', '.join(limits) or 'no limit'})"
    return CheckResult(
        name="probe_recall",
        passed=not (blocks or dropped or (warn is not None and recall < warn)),
        said=f"{said}; the median of history is {usual:g}" if dropped else said,
        blocks=blocks,
        figures={"value": recall, "probes": len(probes), "missed rows": ", ".join(row.hex() for row in lost[:5])},
        history=judge.past({"probe_recall": recall}),
    )
