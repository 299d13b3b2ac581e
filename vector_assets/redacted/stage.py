"""The stage redacted_text: one text per row and its properties, without personal data.

Text and properties are redone apart: a changed status meets no analyzer. What the row's own personal columns hold is taken out of both
behind the redactor (known.py). What a text is like is kept in narrow columns, by which a version is judged (gates.py). A row that cannot
be redacted shows nothing: what it showed before may not satisfy the policy of today.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vector_assets.checks.judge import Judge
from vector_assets.fingerprint import (
    HASH_TYPE,
    Hashes,
    column_fingerprints,
    from_arrow,
    from_bytes,
    input_fingerprints,
    text_fingerprint,
    to_arrow,
    version_of,
)
from vector_assets.reconcile.audit import Audit, Candidate
from vector_assets.reconcile.plan import Plan
from vector_assets.reconcile.stage import Computed, Input
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.upstream import values_gone
from vector_assets.reconcile.view import CONTENT, STATE, View
from vector_assets.redacted.analyzer import Redactor
from vector_assets.redacted.gates import judged
from vector_assets.redacted.known import KNOWN_VALUE, KnownValues, Value, redacted, survivors
from vector_assets.redacted.layout import CHARACTERS, ENTITIES, LANGUAGE, PROPERTIES, SIGNALS, STUFFED, TEXT, TEXT_FINGERPRINT
from vector_assets.redacted.net import NET_VERSION, Net
from vector_assets.redacted.policy import apply_policies, output_schema, policy_version
from vector_assets.redacted.redact import compose, struct_columns
from vector_assets.redacted.texts import profile
from vector_assets.redaction import RedactionPolicy
from vector_assets.tables import TableRef, TableSpec

REDACTED_VERSION = 2  # bump when the same input gives another output
VALUES = "values"
PROPERTIES_FINGERPRINT = "properties_fingerprint"
TEXT_INPUT, PROPERTIES_INPUT = "text_input", "properties_input"
INPUT_COLUMNS = (VALUES, STATE, TEXT_FINGERPRINT, PROPERTIES_FINGERPRINT)
_GONE = "its last good values are gone, and today's policy was never applied to them"


class Versions(NamedTuple):
    """What text and properties were made with, apart; 32 hex digits each."""

    text: str
    properties: str

    @property
    def stage(self) -> str:
        """Both."""
        return version_of("redacted_text", text=self.text, properties=self.properties)


def versions(spec: TableSpec, redactor: Redactor, secret: Callable[[], bytes]) -> Versions:
    """Versions of the two parts of redacted_text for a table. Raises ConfigurationError where a secret is needed and missing."""
    policy = policy_version(spec.properties, redactor=redactor, secret=secret)
    known = {name: [spec.properties[name].policy if name in spec.properties else "", name in spec.known] for name in spec.personal}
    return Versions(
        text=version_of("redacted_text.text", code=REDACTED_VERSION, template=spec.text, redactor=redactor.version, known=known),
        properties=version_of("redacted_text.properties", code=REDACTED_VERSION, policy=policy, known=known),
    )


class RedactedStage:
    """Redacted rows of one table."""

    name = "redacted_text"
    keep_last = False
    purged: tuple[str, ...] = ()
    handle: tuple[str, ...] = ()
    restorable = True

    def __init__(
        self,
        ref: TableRef,
        spec: TableSpec,
        values_type: pa.StructType,
        *,
        redactor: Redactor,
        policy: RedactionPolicy,
        secret: Callable[[], bytes],
        recall: Callable[[Judge], Audit],
    ) -> None:
        """`recall`: how much of a labelled set the redactor finds, measured and judged."""
        # A path may be shortened: whoever lists tables reads the name here. Another net looks through everything anew.
        self.desired: Mapping[str, str] = {"table": ref.key, "declared": spec.declared, "net": str(NET_VERSION)}
        self._spec, self._redactor, self._secret, self._recall = spec, redactor, secret, recall
        self._known = KnownValues(spec, values_type)
        self._net, self._entities = Net(policy.entities, policy.allow), (*policy.entities, KNOWN_VALUE)
        self._redacted = [name for name, each in sorted(spec.properties.items()) if each.policy == "redact"]
        self._versions = versions(spec, redactor, secret)
        self.version = self._versions.stage
        self._properties_type = output_schema(values_type, spec.properties)
        self.own = pa.schema(
            [
                pa.field(TEXT, pa.string()),
                pa.field(CHARACTERS, pa.int32()),
                pa.field(LANGUAGE, pa.string()),
                pa.field(ENTITIES, pa.string()),
                pa.field(SIGNALS, pa.int8()),
                pa.field(PROPERTIES, self._properties_type),
                *(pa.field(name, HASH_TYPE) for name in (TEXT_FINGERPRINT, PROPERTIES_FINGERPRINT, TEXT_INPUT, PROPERTIES_INPUT)),
            ]
        )

    def prepare(self, table: StageTable, view: View, todo: Plan, source: Input) -> None:
        """Nothing."""

    def compute(self, rows: pa.Table, previous: pa.Table) -> Computed:
        """Redact what differs from before, part by part."""
        gone = values_gone(rows, VALUES)
        reasons: list[str | None] = [_GONE if missing else None for missing in gone]
        values = rows.column(VALUES).combine_chunks()
        text_input = input_fingerprints(from_arrow(rows.column(TEXT_FINGERPRINT)), self._versions.text) ^ self._known.fingerprints(values)
        properties_input = input_fingerprints(from_arrow(rows.column(PROPERTIES_FINGERPRINT)), self._versions.properties)
        new_text = _differ(text_input, previous, TEXT_INPUT) & ~gone
        new_properties = _differ(properties_input, previous, PROPERTIES_INPUT) & ~gone
        known = self._known.rows(values)
        texts = self._texts(values, previous, new_text, known, reasons)
        properties = self._properties(values, previous, new_properties, known, reasons)
        parts = {
            TEXT_FINGERPRINT: to_arrow(from_bytes([text_fingerprint(text or "") for text in texts])),
            PROPERTIES_FINGERPRINT: to_arrow(
                column_fingerprints(PROPERTIES, list(zip((f.name for f in properties.type), properties.flatten(), strict=True)))
                if properties.type.num_fields
                else np.zeros((len(texts), 2), dtype=np.uint64)
            ),
        }
        out = {
            CONTENT: to_arrow(column_fingerprints("redacted", list(parts.items()))),
            TEXT: pa.array(texts, pa.string()),
            CHARACTERS: pa.array([len(text or "") for text in texts], pa.int32()),
            **self._like(texts, properties, known, previous, new_text),
            PROPERTIES: properties,
            **parts,
            TEXT_INPUT: to_arrow(text_input),
            PROPERTIES_INPUT: to_arrow(properties_input),
        }
        return Computed(pa.table(out), reasons, {"redacted": int(new_text.sum())})

    def audit(self, candidate: Candidate, judge: Judge) -> Audit:
        """The second net over what is not published, or over everything where net or policy are others; what texts are like; recall."""
        before = candidate.published.state.desired if candidate.published is not None else {}
        same = before.get("net") == self.desired["net"] and before.get("stage") == self.version
        found = self._recall(judge)
        texts = judged(candidate, judge, net=self._net, everything=not same, properties=self._redacted, entities=self._entities)
        return Audit(texts.statistics | found.statistics, (*texts.results, *found.results))

    def delete(self, rows: pa.Table) -> None:
        """Nothing beside the rows."""

    def _texts(
        self,
        values: pa.StructArray,
        previous: pa.Table,
        new: npt.NDArray[np.bool_],
        known: Sequence[Sequence[Value]],
        reasons: list[str | None],
    ) -> list[str | None]:
        texts: list[str | None] = previous.column(TEXT).to_pylist()
        at = np.flatnonzero(new)
        if len(at):
            composed = compose(self._spec.template, values.take(pa.array(at)))
            for row, answer in zip(at.tolist(), self._redactor.redact(composed), strict=True):
                if isinstance(answer, Exception):
                    texts[row], reasons[row] = None, _refused("text", answer)
                else:
                    texts[row] = redacted(answer, known[row])
        return texts

    def _properties(
        self,
        values: pa.StructArray,
        previous: pa.Table,
        new: npt.NDArray[np.bool_],
        known: Sequence[Sequence[Value]],
        reasons: list[str | None],
    ) -> pa.StructArray:
        kept = previous.column(PROPERTIES).combine_chunks()
        at = np.flatnonzero(new)
        if not len(at):
            return kept
        applied = apply_policies(values.take(pa.array(at)), self._spec.properties, redactor=self._redactor, secret=self._secret)
        for row, error in zip(at, applied.errors, strict=True):
            if error is not None:
                reasons[row] = reasons[row] or _refused("properties", error)
        fresh = self._without_known(applied.values, [known[row] for row in at.tolist()])
        source = np.arange(len(new))
        source[at] = len(new) + np.arange(len(at))
        merged: pa.StructArray = pa.concat_arrays([kept.cast(self._properties_type), fresh.cast(self._properties_type)]).take(
            pa.array(source)
        )
        return merged

    def _without_known(self, properties: pa.StructArray, known: Sequence[Sequence[Value]]) -> pa.StructArray:
        if not self._redacted or not any(known):
            return properties
        columns = struct_columns(properties)
        for name in self._redacted:
            texts = zip(columns[name].to_pylist(), known, strict=True)
            columns[name] = pa.array([text and redacted(text, values, place=name) for text, values in texts], pa.string())
        return pa.StructArray.from_arrays(list(columns.values()), fields=list(properties.type))

    def _like(
        self,
        texts: Sequence[str | None],
        properties: pa.StructArray,
        known: Sequence[Sequence[Value]],
        previous: pa.Table,
        new: npt.NDArray[np.bool_],
    ) -> dict[str, pa.Array]:
        """What the texts are like: computed for new ones, kept for others. Whether a known value is left is asked of all: it may be a
        value that is new."""
        columns = struct_columns(properties)
        redacted_properties = [(name, columns[name].to_pylist()) for name in self._redacted]
        languages, entities = previous.column(LANGUAGE).to_pylist(), previous.column(ENTITIES).to_pylist()
        signals = previous.column(SIGNALS).to_pylist()
        for row, text in enumerate(texts):
            if new[row]:
                languages[row], entities[row], stuffed = profile(text or "", self._entities)
                signals[row] = STUFFED if stuffed else 0
            bits = (signals[row] or 0) & STUFFED | survivors(text or "", known[row])
            for name, values in redacted_properties:
                bits |= survivors(values[row] or "", known[row], place=name)
            signals[row] = bits
        return {
            LANGUAGE: pa.array(languages, pa.string()),
            ENTITIES: pa.array(entities, pa.string()),
            SIGNALS: pa.array(signals, pa.int8()),
        }


def _differ(now: Hashes, previous: pa.Table, column: str) -> npt.NDArray[np.bool_]:
    before = previous.column(column)
    differ: npt.NDArray[np.bool_] = (
        (now != from_arrow(before)).any(axis=1) | np.asarray(before.is_null()) | np.asarray(previous.column(CONTENT).is_null())
    )
    return differ


def _refused(part: str, error: Exception) -> str:
    return f"{part} could not be redacted ({type(error).__name__})"
