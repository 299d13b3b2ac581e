"""The stage embeddings: passages of a redacted text and their vectors, one row per source row.

Vectors are reused by passage fingerprint, so an edit re-encodes only the passages it changed, and a changed property none. Vector bytes
never enter a fingerprint: they differ a little from run to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from vector_assets.checks.judge import Judge
from vector_assets.embedded import gates
from vector_assets.embedded.encoder import Encoder
from vector_assets.embedded.layout import (
    CUT,
    PASSAGE_COUNT,
    PASSAGES,
    PROPERTIES,
    PROPERTIES_FINGERPRINT,
    TEXT,
    TEXT_FINGERPRINT,
    TOKENS,
)
from vector_assets.embedded.passages import split
from vector_assets.embedded.vectors import Stored, as_stored, flaws
from vector_assets.fingerprint import HASH_TYPE, fingerprint, from_bytes, text_fingerprint, to_arrow, version_of
from vector_assets.reconcile.audit import Audit, Candidate
from vector_assets.reconcile.plan import Plan
from vector_assets.reconcile.stage import Computed, Input
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.view import CONTENT, View
from vector_assets.tables import PassageRule

EMBEDDED_VERSION = 2  # bump when the same input gives another output
INPUT_COLUMNS = (TEXT, PROPERTIES, TEXT_FINGERPRINT, PROPERTIES_FINGERPRINT)


class _Passage(NamedTuple):
    fingerprint: bytes
    text: str
    tokens: int


class _Row(NamedTuple):
    """Passages of one row, the tokens of its text, and how many passages the model does not see whole."""

    passages: list[_Passage]
    tokens: int
    cut: int


class EmbeddedStage:
    """Embedded rows of one table, by one model and passage rule (`generation`, the embedding generation)."""

    name = "embeddings"
    keep_last = True
    purged: tuple[str, ...] = ()
    handle: tuple[str, ...] = ()
    restorable = True

    def __init__(
        self,
        *,
        encoder: Encoder,
        dimension: int,
        rule: PassageRule,
        generation: str,
        properties_type: pa.StructType,
        declared: str = "",
        keep_last: bool = True,
    ) -> None:
        self._encoder, self._dimension, self._rule, self._generation = encoder, dimension, rule, generation
        self.keep_last = keep_last
        self.desired: Mapping[str, str] = {"embedding_generation": generation, "declared": declared}
        self.version = version_of(self.name, code=EMBEDDED_VERSION, generation=generation)
        self._passage_type = pa.struct(
            [
                pa.field("ordinal", pa.int32()),
                pa.field("fingerprint", HASH_TYPE),
                pa.field("text", pa.string()),
                pa.field("vector", pa.list_(pa.float16(), dimension)),
            ]
        )
        self.own = pa.schema(
            [
                pa.field(PASSAGES, pa.list_(self._passage_type)),
                pa.field(PASSAGE_COUNT, pa.int32()),
                pa.field(TOKENS, pa.int32()),
                pa.field(CUT, pa.int32()),
                pa.field(PROPERTIES, properties_type),
                pa.field(TEXT_FINGERPRINT, HASH_TYPE),
                pa.field(PROPERTIES_FINGERPRINT, HASH_TYPE),
            ]
        )

    def prepare(self, table: StageTable, view: View, todo: Plan, source: Input) -> None:
        """Nothing."""

    def audit(self, candidate: Candidate, judge: Judge) -> Audit:
        """What vectors and token counts are like, against history; see `gates`."""
        return gates.audit(candidate, judge)

    def delete(self, rows: pa.Table) -> None:
        """Nothing beside the rows."""

    def compute(self, rows: pa.Table, previous: pa.Table) -> Computed:
        """Split, reuse, encode the rest; a row with a vector that is not as it must be is rejected. Raises ModelError."""
        texts, fingerprints = rows.column(TEXT).to_pylist(), rows.column(TEXT_FINGERPRINT).to_pylist()
        before = _Before(previous)
        passages = [before.rows.get((at, now)) or self._split(text) for at, (text, now) in enumerate(zip(texts, fingerprints, strict=True))]
        known = before.sound_vectors(unit_length=self._encoder.unit_length) if len(before.vectors) else {}
        missing = {p.fingerprint: p for row in passages for p in row.passages if p.fingerprint not in known}
        encoded, flawed = self._encode(missing)
        known |= encoded
        reasons = [next((flawed[p.fingerprint] for p in row.passages if p.fingerprint in flawed), None) for row in passages]
        total = sum(len(row.passages) for row in passages)
        fresh = sum(p.fingerprint in missing for row in passages for p in row.passages)
        tokens = sum(p.tokens for p in missing.values())
        tally = {"encoded": len(missing), "reused": total - fresh, "passages": total, "tokens": tokens}
        return Computed(self._table(rows, passages, known), reasons, tally)

    def _split(self, text: str) -> _Row:
        spans = self._encoder.spans(text)
        limit = min(self._encoder.max_tokens, self._rule.max_tokens or self._encoder.max_tokens)
        parts = split(text, spans, max_tokens=limit, overlap_tokens=self._rule.overlap_tokens)
        tokens = [len(spans)] if len(parts) == 1 else [len(self._encoder.spans(part)) for part in parts]
        passages = [_Passage(text_fingerprint(part, "passage"), part, n) for part, n in zip(parts, tokens, strict=True)]
        return _Row(passages, len(spans), sum(n > self._encoder.max_tokens for n in tokens))

    def _encode(self, missing: Mapping[bytes, _Passage]) -> tuple[dict[bytes, Stored], dict[bytes, str]]:
        """Vectors by passage, and of those that are not as they must be, also when encoded alone and exactly: why."""
        if not missing:
            return {}, {}
        texts = [passage.text for passage in missing.values()]
        unit_length = self._encoder.unit_length
        stored = self._stored(self._encoder.encode(texts), len(texts))
        found = flaws(stored, unit_length=unit_length)
        again = [at for at, flaw in enumerate(found) if flaw is not None]
        if again:
            stored[again] = self._stored(self._encoder.encode([texts[at] for at in again], exact=True), len(again))
            for at, flaw in zip(again, flaws(stored[again], unit_length=unit_length), strict=True):
                found[at] = flaw
        flawed = {key: flaw for key, flaw in zip(missing, found, strict=True) if flaw is not None}
        return dict(zip(missing, stored, strict=True)), flawed

    def _stored(self, vectors: object, rows: int) -> Stored:
        return as_stored(vectors, rows=rows, dimension=self._dimension)

    def _table(self, rows: pa.Table, passages: list[_Row], vectors: Mapping[bytes, Stored]) -> pa.Table:
        flat = [p for row in passages for p in row.passages]
        counts = np.array([len(row.passages) for row in passages], dtype=np.int32)
        matrix = np.stack([vectors[p.fingerprint] for p in flat]) if flat else np.empty((0, self._dimension), np.float16)
        children = [
            pa.array(np.concatenate([np.arange(n, dtype=np.int32) for n in counts]) if len(counts) else np.empty(0, np.int32)),
            to_arrow(from_bytes([p.fingerprint for p in flat])),
            pa.array([p.text for p in flat], pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), self._dimension),
        ]
        lists = pa.ListArray.from_arrays(
            pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32()),
            pa.StructArray.from_arrays(children, fields=list(self._passage_type)),
        )
        content = [
            fingerprint("embedded", (self._generation.encode(), properties, *(p.fingerprint for p in row.passages)))
            for row, properties in zip(passages, rows.column(PROPERTIES_FINGERPRINT).to_pylist(), strict=True)
        ]
        return pa.table(
            {
                CONTENT: to_arrow(from_bytes(content)),
                PASSAGES: lists,
                PASSAGE_COUNT: pa.array(counts),
                TOKENS: pa.array([row.tokens for row in passages], pa.int32()),
                CUT: pa.array([row.cut for row in passages], pa.int32()),
                **{name: rows.column(name) for name in (PROPERTIES, TEXT_FINGERPRINT, PROPERTIES_FINGERPRINT)},
            }
        )


class _Before:
    """Passages and vectors that stood here: rows by (position, text fingerprint), vectors by passage fingerprint."""

    def __init__(self, previous: pa.Table) -> None:
        self.rows: dict[tuple[int, bytes], _Row] = {}
        self.vectors: dict[bytes, Stored] = {}
        lists = previous.column(PASSAGES).combine_chunks()
        flat = lists.flatten()
        if len(lists) == lists.null_count:
            return
        fingerprints, texts = flat.field("fingerprint").to_pylist(), flat.field("text").to_pylist()
        if len(flat):
            vectors = flat.field("vector").flatten().to_numpy(zero_copy_only=False).reshape(len(flat), -1)
            self.vectors = dict(zip(fingerprints, vectors, strict=True))
        columns = [previous.column(name).to_pylist() for name in (TEXT_FINGERPRINT, PASSAGE_COUNT, TOKENS, CUT)]
        start = 0
        for at, (text, count, tokens, cut) in enumerate(zip(*columns, strict=True)):
            if count is None:
                continue
            stop = start + count
            if cut is not None:  # a row of an older version is split again: nobody had counted
                made = [_Passage(f, t, 0) for f, t in zip(fingerprints[start:stop], texts[start:stop], strict=True)]
                self.rows[at, text] = _Row(made, tokens, cut)
            start = stop

    def sound_vectors(self, *, unit_length: bool) -> dict[bytes, Stored]:
        """Those that are as they must be: what was stored before there was a check is encoded again where it fails it."""
        found = flaws(np.stack(list(self.vectors.values())), unit_length=unit_length)
        return {key: vector for (key, vector), flaw in zip(self.vectors.items(), found, strict=True) if flaw is None}
