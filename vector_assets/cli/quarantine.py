"""`vector-assets quarantine …`: rows that were rejected, why, and trying them again. Values only where `show --values` asks for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from vector_assets.cli.console import note, print_json, stdout
from vector_assets.cli.session import opened
from vector_assets.cli.sync import Json, Tables, conclude, reported, sync_tables
from vector_assets.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    import datetime as dt

    import pyarrow as pa

    from vector_assets.cli.results import TableResult
    from vector_assets.cli.selection import Found
    from vector_assets.pipeline import Pipeline
    from vector_assets.quarantine import Rejected
    from vector_assets.tables import TableRef

app = typer.Typer(no_args_is_help=True, help="Rejected rows: which, why, since when; and trying them again.")

_FORMATS = (".csv", ".jsonl", ".parquet")
_WARNING = "the values below are unmasked and come straight from the source: keep them out of tickets, chats and logs"
RowId = Annotated[str, typer.Argument(metavar="ROW_ID", help="32 hex digits, as `quarantine list` shows them.")]


@app.command("list")
def list_rows(
    context: typer.Context,
    tables: Tables = None,
    *,
    as_json: Json = False,
) -> None:
    """Rejected rows of all stages: table, stage, row id, reason, attempts, first and last seen."""
    with opened(context) as pipeline:
        rows, found = _rejected(pipeline, tables or ())
    if as_json:
        print_json([row._asdict() for row in rows])
    elif rows:
        stdout().print(_lines(rows), soft_wrap=True, end="")
    _notes(rows, found, quiet=as_json)


@app.command()
def show(
    context: typer.Context,
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    row_id: RowId,
    *,
    values: Annotated[bool, typer.Option("--values", help="Print its columns as the source has them now: unmasked.")] = False,
    as_json: Json = False,
) -> None:
    """One row: what each stage has of it, and its key as far as its policy shows it."""
    from vector_assets.cli.selection import find
    from vector_assets.quarantine import current_values, row_states, shown_key

    with opened(context) as pipeline:
        ref = _only(find(pipeline, [table]).tables, table)
        wanted = row_id.strip().lower()
        states = row_states(pipeline, ref, wanted, pipeline.engines.champion_or_none())
        key = shown_key(pipeline, ref, wanted)
        now = current_values(pipeline, ref, wanted) if values else None
    if now is not None:
        note(_WARNING)
    if as_json:
        stages = [state._asdict() for state in states]
        print_json({"table": ref.key, "row_id": wanted, "key": key, "stages": stages, **({"values": now} if now is not None else {})})
        return
    text = Text(f"{ref.key}  {wanted}\n", style="bold")
    for name, value in key.items():
        text.append(f"  {name} = {value}\n", style="not bold")
    for state in states:
        text.append(f"  {state.stage:20}  {state.state}{_unpublished(published=state.published)}\n", style="not bold")
        if state.reason is not None:
            said = f"{state.reason}; {_attempts(state.attempts)}, {_seen(state.first_seen, state.last_seen)}"
            text.append(f"  {'':20}  {said}\n", style="not bold dim")
    for name, column in (now or {}).items():
        text.append(f"  {name}: {'NULL' if column is None else column}\n", style="not bold")
    stdout().print(text, soft_wrap=True, end="")


@app.command()
def export(
    context: typer.Context,
    tables: Tables = None,
    *,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help=f"What to write: {', '.join(_FORMATS)}.")],
) -> None:
    """Write what `list` shows to a file, for people who work elsewhere. No values."""
    if to.suffix not in _FORMATS:
        raise ConfigurationError(f"{to} has no ending that is known here: name a file that ends in {', '.join(_FORMATS)}")
    with opened(context) as pipeline:
        rows, found = _rejected(pipeline, tables or ())
    _write(_as_table(rows), to)
    note(f"{len(rows):,} rows written to {to}")
    _notes(rows, found, quiet=True)


@app.command()
def replay(
    context: typer.Context,
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Default: every table with rejected rows.")] = None,
    row_ids: Annotated[list[str] | None, typer.Argument(metavar="[ROW_ID]...", help="Default: all of the table.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Try rejected rows again although neither they nor a rule changed, then sync their tables as usual."""
    done: dict[str, TableResult] = {}
    with reported(done, as_json=as_json), opened(context) as pipeline:
        from vector_assets.defs.run_tags import REPLAY
        from vector_assets.quarantine import ALL, parse_selection
        from vector_assets.tables import TableRef

        wanted = parse_selection(" ".join(row_ids)) if row_ids else None
        rows, found = _rejected(pipeline, [table] if table else ())
        known = {row.row_id for row in rows}
        if wanted is not None and wanted - known:
            raise ConfigurationError(f"{', '.join(sorted(wanted - known))} is not rejected in {table}: see `vector-assets quarantine list`")
        tag = ALL if wanted is None else ",".join(sorted(wanted))
        refs = sorted({TableRef.parse(row.table) for row in rows})
        _notes(rows, found, quiet=as_json)
        if refs:
            sync_tables(pipeline, refs, done, tags={REPLAY: tag})
        conclude(done, found.problems, as_json=as_json)


def _rejected(pipeline: Pipeline, tables: Sequence[str]) -> tuple[list[Rejected], Found]:
    from vector_assets.cli.selection import find
    from vector_assets.quarantine import rejected_rows

    found = find(pipeline, tables)
    model = pipeline.engines.champion_or_none()
    return [row for ref in found.tables for row in rejected_rows(pipeline, ref, model)], found


def _only(refs: Sequence[TableRef], typed: str) -> TableRef:
    if len(refs) > 1:
        raise ConfigurationError(f"{typed!r} is {len(refs):,} tables: name the one that has the row")
    return refs[0]


def _notes(rows: Sequence[Rejected], found: Found, *, quiet: bool) -> None:
    for problem in found.problems.values():
        note(f"left out: {problem}")
    if not rows and not quiet:
        note("no row is rejected")


# --- on the screen -----------------------------------------------------------------------------------------------------------------------


def _lines(rows: Sequence[Rejected]) -> Text:
    text = Text()
    for number, row in enumerate(rows):
        if not number or rows[number - 1].table != row.table:
            text.append(f"{row.table}\n", style="bold")
        shows = "; searches still see its last good content" if row.stale else ""
        hidden = _unpublished(published=row.published)
        text.append(f"  {row.stage:20}  {row.row_id}  {_attempts(row.attempts)}, {_seen(row.first_seen, row.last_seen)}\n")
        text.append(f"  {'':20}  {row.reason}{shows}{hidden}\n", style="dim")
    return text


def _attempts(attempts: int) -> str:
    return f"{attempts} attempts" if attempts != 1 else "1 attempt"


def _seen(first: dt.datetime | None, last: dt.datetime | None) -> str:
    return " to ".join(f"{time:%Y-%m-%d %H:%M}" for time in (first, last) if time)


def _unpublished(*, published: bool) -> str:
    return "" if published else "; in a version that is not published (a check blocked it, or a run is at work)"


# --- files -------------------------------------------------------------------------------------------------------------------------------


def _as_table(rows: Iterable[Rejected]) -> pa.Table:
    import pyarrow as pa

    seen = pa.timestamp("us", "UTC")
    kinds = {"attempts": pa.int32(), "first_seen": seen, "last_seen": seen, "stale": pa.bool_(), "published": pa.bool_()}
    names = ("table", "stage", "row_id", "reason", "attempts", "first_seen", "last_seen", "stale", "published")
    schema = pa.schema([pa.field(name, kinds.get(name, pa.string())) for name in names])
    return pa.Table.from_pylist([row._asdict() for row in rows], schema=schema)


def _write(table: pa.Table, to: Path) -> None:
    from pyarrow import csv, parquet

    try:
        match to.suffix:
            case ".csv":
                csv.write_csv(table, to)
            case ".parquet":
                parquet.write_table(table, to)
            case _:
                lines = (json.dumps(row, default=str) for row in table.to_pylist())
                to.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {to} ({error.strerror or 'see its folder'}): name a file in a folder that is writable") from None
