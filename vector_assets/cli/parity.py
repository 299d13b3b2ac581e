"""`vector-assets parity`: source, stage tables and index against each other; `--repair` puts right what differs."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from vector_assets.cli.console import complain, note, print_json, stdout
from vector_assets.cli.session import opened
from vector_assets.cli.sync import Json, Tables
from vector_assets.errors import UnexpectedError, VectorAssetsError

if TYPE_CHECKING:
    from vector_assets.parity import Report
    from vector_assets.pipeline import Pipeline
    from vector_assets.tables import TableRef


def parity(
    context: typer.Context,
    tables: Tables = None,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Delete orphans, send again what is missing or altered; nothing else.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Ids, fingerprints and generations only: no texts, properties, vectors.")] = False,
    as_json: Json = False,
) -> None:
    """Compare source keys, stage tables and the index's objects. Exits with 1 where damage is left."""
    from vector_assets.cli.selection import find

    reports: dict[str, Report] = {}
    errors: dict[str, str] = {}
    with opened(context) as pipeline:
        found = find(pipeline, tables or ())
        for ref in found.tables:
            try:
                reports[ref.key] = _compared(pipeline, ref, mend=repair, deep=not quick)
            except VectorAssetsError as error:
                errors[ref.key] = str(error)
            except Exception as error:  # noqa: BLE001  the other tables go on
                unexpected = UnexpectedError(error)
                note(unexpected.traceback)
                errors[ref.key] = str(unexpected)
    errors |= {catalog: str(problem) for catalog, problem in found.problems.items()}
    ok = not errors and not any(report.damage for report in reports.values())
    if as_json:
        failed = {key: {"error": said} for key, said in errors.items()}
        print_json({"ok": ok, "tables": {key: report.as_json() for key, report in reports.items()} | failed})
    else:
        for report in reports.values():
            _say(report)
    for key, said in errors.items():
        complain(f"{key}: {said}")
    if not ok:
        raise typer.Exit(1)


def _compared(pipeline: Pipeline, ref: TableRef, *, mend: bool, deep: bool) -> Report:
    from vector_assets.parity import look
    from vector_assets.parity import repair as mended
    from vector_assets.pipeline import Run

    run = Run(f"parity-{uuid.uuid4().hex[:8]}", wait_seconds=pipeline.settings.lease_wait_seconds)
    return mended(pipeline, ref, run, deep=deep) if mend else look(pipeline, ref, run, deep=deep)


def _say(report: Report) -> None:
    from vector_assets.parity import parity_result

    result = parity_result(report)
    mended = ", ".join(f"{count:,} {what}" for what, count in report.mended.items() if count)
    stdout().print(f"{report.table}: {result.said}" + (f"; mended: {mended}" if mended else ""), soft_wrap=True, markup=False)
    for waiting in report.waiting:
        note(f"{report.table}: {waiting}")
