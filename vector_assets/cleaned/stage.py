"""The stage cleaned_frames: normalized columns, each row validated; text and properties fingerprinted apart.

A row that normalizes to what it was stops here: an edit that changes nothing meaningful costs no redaction and no embedding.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.checks.judge import Judge
from vector_assets.cleaned.normalize import NORMALIZE_VERSION, is_text, normalize_column
from vector_assets.cleaned.profile import PROFILE_VERSION, Layout
from vector_assets.cleaned.quality import audited, unique_fingerprints
from vector_assets.cleaned.schema import RowRules
from vector_assets.cleaned.signals import SIGNALS_VERSION, Signals, signals
from vector_assets.fingerprint import HASH_TYPE, column_fingerprints, to_arrow, version_of
from vector_assets.reconcile.audit import Audit, Candidate
from vector_assets.reconcile.plan import Plan
from vector_assets.reconcile.stage import Computed, Input
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.upstream import values_gone
from vector_assets.reconcile.view import CONTENT, STATE, View
from vector_assets.tables import TableSpec

CLEANED_VERSION = 2  # bump when the same input gives another output
KEY, VALUES = "key", "values"
TEXT_FINGERPRINT, PROPERTIES_FINGERPRINT = "text_fingerprint", "properties_fingerprint"
PROFILE, UNIQUE = "profile", "unique"
INPUT_COLUMNS = (KEY, VALUES, STATE)
_GONE = "its last good values are gone, and today's rules were never applied to them"


def cleaned_version(spec: TableSpec, depends: Mapping[str, str]) -> str:
    """The stage version for a table. `depends`: stage versions that need the values again when they change (purging)."""
    return version_of(
        CleanedStage.name,
        code=[CLEANED_VERSION, NORMALIZE_VERSION, PROFILE_VERSION, SIGNALS_VERSION],
        html=sorted(spec.html),
        text=sorted(spec.text_columns),
        properties=sorted({*spec.shown, *spec.personal}),
        on_reject=spec.on_reject,
        kept=sorted(name for name, shown in spec.properties.items() if shown.policy == "keep"),  # what profiles hold
        redacted=sorted(name for name, shown in spec.properties.items() if shown.policy == "redact"),
        quality={name: rules.model_dump(mode="json") for name, rules in spec.quality.items()},
        rules=dict(spec.rules),
        depends=dict(depends),
    )


class CleanedStage:
    """Cleaned rows of one table. `values_type` is the struct of columns that raw_tables holds."""

    name = "cleaned_frames"
    desired: Mapping[str, str] = {}
    restorable = True
    handle: tuple[str, ...] = ()

    def __init__(self, spec: TableSpec, key_type: pa.StructType, values_type: pa.StructType, *, depends: Mapping[str, str]) -> None:
        self._spec = spec
        self._schema = pa.schema(list(values_type))
        self._rules = RowRules(spec.quality, self._schema, spec.rules)
        self._layout = Layout(spec, self._schema)
        self._unique = [name for name, rules in spec.quality.items() if rules.unique]
        self._text = [f.name for f in values_type if f.name in spec.text_columns]
        self._properties = [f.name for f in values_type if f.name in (*spec.shown, *spec.personal)]
        self.keep_last = spec.on_reject == "keep_last"
        self.purged: tuple[str, ...] = (VALUES,) if spec.private == "purge" else ()
        fields = [
            pa.field(KEY, key_type),
            pa.field(VALUES, values_type),
            pa.field(TEXT_FINGERPRINT, HASH_TYPE),
            pa.field(PROPERTIES_FINGERPRINT, HASH_TYPE),
            pa.field(PROFILE, self._layout.type),
        ]
        if self._unique:  # by name: rows that keep their last good content may have them of other columns
            fields.append(pa.field(UNIQUE, pa.struct([pa.field(name, HASH_TYPE) for name in self._unique])))
        self.own = pa.schema(fields)
        self.version = cleaned_version(spec, depends)

    def prepare(self, table: StageTable, view: View, todo: Plan, source: Input) -> None:
        """Nothing."""

    def compute(self, rows: pa.Table, previous: pa.Table) -> Computed:
        """Normalize and validate."""
        values = rows.column(VALUES).combine_chunks()
        columns = {f.name: self._clean(f, column) for f, column in zip(values.type, values.flatten(), strict=True)}
        cleaned = pa.StructArray.from_arrays(list(columns.values()), fields=list(values.type))
        text = column_fingerprints("text", [(name, columns[name]) for name in self._text])
        named = [(name, columns[name]) for name in self._properties]
        properties = column_fingerprints("properties", named) if named else np.zeros_like(text)
        parts = {TEXT_FINGERPRINT: to_arrow(text), PROPERTIES_FINGERPRINT: to_arrow(properties)}
        content = column_fingerprints("cleaned", list(parts.items()))
        profiles = self._layout.profiles(columns, self._signals(values))
        out = pa.table({CONTENT: to_arrow(content), KEY: rows.column(KEY), VALUES: cleaned, **parts, PROFILE: profiles})
        if self._unique:
            out = out.append_column(UNIQUE, unique_fingerprints({name: columns[name] for name in self._unique}))
        reasons = self._rules.check(cleaned).to_pylist()
        return Computed(out, [_GONE if gone else reason for gone, reason in zip(values_gone(rows, VALUES), reasons, strict=True)])

    def audit(self, candidate: Candidate, judge: Judge) -> Audit:
        """Statistics of all rows by their profiles, against history; values that occur twice; signs of attacks."""
        return audited(candidate, judge, layout=self._layout, profile=PROFILE, unique=UNIQUE if self._unique else None)

    def delete(self, rows: pa.Table) -> None:
        """Nothing beside the rows."""

    def _signals(self, values: pa.StructArray) -> Signals:
        """Of the texts as they came, all columns of a row together."""
        found = [
            signals(column, html=field.name in self._spec.html)
            for field, column in zip(values.type, values.flatten(), strict=True)
            if is_text(field.type) and field.name in (*self._spec.text_columns, *self._spec.shown)
        ]
        nothing = np.zeros(len(values), dtype=np.uint8)
        return Signals(*(np.maximum.reduce([nothing, *counts]) for counts in zip((nothing, nothing), *found, strict=True)))

    def _clean(self, field: pa.Field, column: pa.Array) -> pa.Array:
        if is_text(field.type):
            return normalize_column(column, html=field.name in self._spec.html)
        return pc.if_else(pc.is_null(column), None, column) if field.nullable and column.null_count else column
