"""`vector-assets plan`: what a sync would do, writing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from vector_assets.cli import results
from vector_assets.cli.console import note
from vector_assets.cli.results import TableResult
from vector_assets.cli.session import opened
from vector_assets.cli.sync import Json, Tables, conclude, reported
from vector_assets.errors import VectorAssetsError

if TYPE_CHECKING:
    from vector_assets.pipeline import Pipeline
    from vector_assets.tables import TableRef


def plan(context: typer.Context, tables: Tables = None, *, as_json: Json = False) -> None:
    """Dry run: rows that a sync would add, change and delete, tokens and time. Writes nothing."""
    from vector_assets.cli.selection import find
    from vector_assets.cli.threads import Stop, each

    done: dict[str, TableResult] = {}
    with reported(done, as_json=as_json), opened(context) as pipeline:
        found = find(pipeline, tables or ())
        each(found.tables, lambda ref: _plan(pipeline, ref, done), at_once=pipeline.settings.tables_at_once, stop=Stop())
        if not as_json:
            _say_total(done)
        conclude(done, found.problems, as_json=as_json, seconds="about s")


def _plan(pipeline: Pipeline, ref: TableRef, done: dict[str, TableResult]) -> None:
    from vector_assets.planning import plan_table

    result = done[ref.key] = TableResult()
    try:
        for stage in plan_table(pipeline, ref):
            result.stages[stage.stage] = results.of_plan(stage)
    except VectorAssetsError as error:
        result.error = str(error)


def _say_total(done: dict[str, TableResult]) -> None:
    stages = [numbers for result in done.values() for numbers in result.stages.values()]
    seconds = sum(numbers["seconds"] for numbers in stages)
    tokens = sum(numbers.get("tokens", 0) for numbers in stages)
    touched = sum(numbers[name] for numbers in stages for name in ("added", "changed", "deleted"))
    if touched:
        note(f"a sync would take about {seconds:,.0f} s of work here, and encode about {tokens:,} tokens at most")
    else:
        note("nothing to do")
