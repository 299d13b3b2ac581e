"""What a materialization shows: an `Outcome` as metadata. Numbers that can be plotted, names, and columns; never a value of a row."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from vector_assets.reconcile.run import Outcome

_RATED = {"planned": "rows_per_second", "encoded": "passages_encoded_per_second", "tokens": "tokens_per_second"}
_RATED_ROWS = 100  # below, a rate says how long a model takes to load
_LABELS = {"encoded": "passages_encoded", "reused": "passages_reused", "redacted": "texts_redacted", "objects": "objects_sent"}
_SHOWN_AT_ZERO = {
    "redacted_text": ("redacted", "tokens_waiting"),
    "embeddings": ("encoded", "reused", "tokens"),
    "weaviate_collections": ("objects",),
}
_TYPE_CHARACTERS = 200  # a struct type spells out every field: the fields have lines of their own

Metadata = dict[str, dg.MetadataValue]


def outcome_metadata(outcome: Outcome) -> Metadata:
    """Metadata of a materialization."""
    state, seconds = outcome.state, round(outcome.seconds, 3)
    rates = {"planned": outcome.planned, **outcome.counts} if outcome.planned >= _RATED_ROWS and seconds else {}
    counts = dict.fromkeys(_SHOWN_AT_ZERO.get(outcome.stage, ()), 0) | dict(outcome.counts)
    numbers: dict[str, int | float] = {
        "rows_planned": outcome.planned,
        "rows_added": outcome.added,
        "rows_changed": outcome.changed,
        "rows_deleted": outcome.deleted,
        "rows_unchanged": outcome.unchanged,
        "rows_rejected": outcome.rejected,
        "rows_stale": state.stale,
        "seconds": seconds,
        **{_LABELS.get(name, name): count for name, count in counts.items()},
        **{label: round(rates[name] / seconds, 1) for name, label in _RATED.items() if rates.get(name)},
        "table_version": outcome.version,
        "dagster/row_count": state.rows,
        "dagster/partition_row_count": state.rows,
    }
    names = {"source_version": state.source_version, **outcome.facts, "table_uri": outcome.uri, "dagster/uri": outcome.uri}
    return {
        **{label: _number(number) for label, number in numbers.items()},
        **{label: dg.MetadataValue.text(name) for label, name in names.items()},
        "dagster/column_schema": dg.MetadataValue.table_schema(column_schema(outcome.schema)),
    }


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """Columns of a stage table; fields of a struct have a line each, as `struct.field`."""
    return dg.TableSchema([_column(path, field) for path, field in _paths(schema)])


def summary(outcome: Outcome) -> str:
    """One line for the log."""
    rows = {name: getattr(outcome, name) for name in ("added", "changed", "deleted", "unchanged", "rejected")}
    said = ", ".join(f"{count:,} {name}" for name, count in rows.items() if count) or "no rows"
    return f"{outcome.stage}: {said} in {outcome.seconds:.1f} s"


def _number(number: float) -> dg.MetadataValue:
    return dg.MetadataValue.int(number) if isinstance(number, int) else dg.MetadataValue.float(number)


def _paths(schema: pa.Schema) -> Iterator[tuple[str, pa.Field]]:
    for field in schema:
        yield field.name, field
        if pa.types.is_struct(field.type):
            for inner in field.type:
                yield f"{field.name}.{inner.name}", inner


def _column(path: str, field: pa.Field) -> dg.TableColumn:
    kind = str(field.type)
    if len(kind) > _TYPE_CHARACTERS:
        kind = f"{kind[:_TYPE_CHARACTERS]}…"
    return dg.TableColumn(path, kind, constraints=dg.TableColumnConstraints(nullable=field.nullable))
