"""The stage redacted_text: one text per row and its properties, without personal data.

Text and properties are redone apart: a changed status meets no analyzer. A row that cannot be redacted shows nothing: what it showed
before may not satisfy the policy of today.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from vector_assets.redacted.policy import apply_policies, output_schema, policy_version
from vector_assets.redacted.redact import compose
from vector_assets.tables import TableRef, TableSpec

REDACTED_VERSION = 1  # bump when the same input gives another output
VALUES = "values"
TEXT, CHARACTERS, PROPERTIES = "text", "characters", "properties"
TEXT_FINGERPRINT, PROPERTIES_FINGERPRINT = "text_fingerprint", "properties_fingerprint"
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
    return Versions(
        text=version_of("redacted_text.text", code=REDACTED_VERSION, template=spec.text, redactor=redactor.version),
        properties=version_of("redacted_text.properties", code=REDACTED_VERSION, policy=policy),
    )


class RedactedStage:
    """Redacted rows of one table."""

    name = "redacted_text"
    keep_last = False
    purged: tuple[str, ...] = ()
    handle: tuple[str, ...] = ()
    restorable = True

    def __init__(
        self, ref: TableRef, spec: TableSpec, values_type: pa.StructType, *, redactor: Redactor, secret: Callable[[], bytes]
    ) -> None:
        # A path may be shortened: whoever lists tables reads the name here.
        self.desired: Mapping[str, str] = {"table": ref.key, "declared": spec.declared}
        self._spec, self._redactor, self._secret = spec, redactor, secret
        self._versions = versions(spec, redactor, secret)
        self.version = self._versions.stage
        self._properties_type = output_schema(values_type, spec.properties)
        self.own = pa.schema(
            [
                pa.field(TEXT, pa.string()),
                pa.field(CHARACTERS, pa.int32()),
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
        text_input = input_fingerprints(from_arrow(rows.column(TEXT_FINGERPRINT)), self._versions.text)
        properties_input = input_fingerprints(from_arrow(rows.column(PROPERTIES_FINGERPRINT)), self._versions.properties)
        new_text = _differ(text_input, previous, TEXT_INPUT) & ~gone
        new_properties = _differ(properties_input, previous, PROPERTIES_INPUT) & ~gone
        texts = self._texts(rows, previous, new_text, reasons)
        properties = self._properties(rows, previous, new_properties, reasons)
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
            PROPERTIES: properties,
            **parts,
            TEXT_INPUT: to_arrow(text_input),
            PROPERTIES_INPUT: to_arrow(properties_input),
        }
        return Computed(pa.table(out), reasons, {"redacted": int(new_text.sum())})

    def audit(self, candidate: Candidate, judge: Judge) -> Audit:
        """Nothing of its own."""
        return Audit()

    def delete(self, rows: pa.Table) -> None:
        """Nothing beside the rows."""

    def _texts(self, rows: pa.Table, previous: pa.Table, new: npt.NDArray[np.bool_], reasons: list[str | None]) -> list[str | None]:
        texts: list[str | None] = previous.column(TEXT).to_pylist()
        at = np.flatnonzero(new)
        if len(at):
            values = rows.column(VALUES).take(pa.array(at)).combine_chunks()
            composed = compose(self._spec.template, values)
            for row, answer in zip(at, self._redactor.redact(composed), strict=True):
                if isinstance(answer, Exception):
                    texts[row], reasons[row] = None, _refused("text", answer)
                else:
                    texts[row] = answer
        return texts

    def _properties(self, rows: pa.Table, previous: pa.Table, new: npt.NDArray[np.bool_], reasons: list[str | None]) -> pa.StructArray:
        kept = previous.column(PROPERTIES).combine_chunks()
        at = np.flatnonzero(new)
        if not len(at):
            return kept
        values = rows.column(VALUES).take(pa.array(at)).combine_chunks()
        fresh, refused = apply_policies(values, self._spec.properties, redactor=self._redactor, secret=self._secret)
        for row, error in zip(at, refused, strict=True):
            if error is not None:
                reasons[row] = reasons[row] or _refused("properties", error)
        source = np.arange(len(new))
        source[at] = len(new) + np.arange(len(at))
        merged: pa.StructArray = pa.concat_arrays([kept.cast(self._properties_type), fresh.cast(self._properties_type)]).take(
            pa.array(source)
        )
        return merged


def _differ(now: Hashes, previous: pa.Table, column: str) -> npt.NDArray[np.bool_]:
    before = previous.column(column)
    differ: npt.NDArray[np.bool_] = (
        (now != from_arrow(before)).any(axis=1) | np.asarray(before.is_null()) | np.asarray(previous.column(CONTENT).is_null())
    )
    return differ


def _refused(part: str, error: Exception) -> str:
    return f"{part} could not be redacted ({type(error).__name__})"
