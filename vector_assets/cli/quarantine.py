"""`vector-assets quarantine …`: rows that were rejected, and why. Never their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.text import Text

from vector_assets.cli.console import note, print_json, stdout
from vector_assets.cli.session import opened
from vector_assets.cli.sync import Json, Tables

if TYPE_CHECKING:
    from vector_assets.quarantine import Rejected

app = typer.Typer(no_args_is_help=True, help="Rejected rows: which, why, since when.")


@app.callback()
def _group() -> None:
    """Keeps `list` a command of its own while it is the only one."""


@app.command("list")
def list_rows(
    context: typer.Context,
    tables: Tables = None,
    *,
    as_json: Json = False,
) -> None:
    """Rejected rows of all stages: table, stage, row id, reason, attempts, first and last seen."""
    from vector_assets.cli.selection import find
    from vector_assets.quarantine import rejected_rows

    with opened(context) as pipeline:
        found = find(pipeline, tables or ())
        model = pipeline.engines.champion_or_none()
        rows = [row for ref in found.tables for row in rejected_rows(pipeline, ref, model)]
    if as_json:
        print_json([row._asdict() for row in rows])
    elif rows:
        stdout().print(_lines(rows), soft_wrap=True, end="")
    for problem in found.problems.values():
        note(f"left out: {problem}")
    if not rows and not as_json:
        note("no row is rejected")


def _lines(rows: list[Rejected]) -> Text:
    text = Text()
    for number, row in enumerate(rows):
        if not number or rows[number - 1].table != row.table:
            text.append(f"{row.table}\n", style="bold")
        attempts = f"{row.attempts} attempts" if row.attempts != 1 else "1 attempt"
        seen = " to ".join(f"{time:%Y-%m-%d %H:%M}" for time in (row.first_seen, row.last_seen) if time)
        shows = "; searches still see its last good content" if row.stale else ""
        text.append(f"  {row.stage:20}  {row.row_id}  {attempts}, {seen}\n")
        text.append(f"  {'':20}  {row.reason}{shows}\n", style="dim")
    return text
