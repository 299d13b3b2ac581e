"""`vector-assets redaction …`: how much a policy finds, and what it does to a text."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vector_assets.cli.console import note, print_json, stdout
from vector_assets.cli.session import opened
from vector_assets.cli.sync import Json
from vector_assets.errors import ConfigurationError

if TYPE_CHECKING:
    from vector_assets.evaluation.measure import Report
    from vector_assets.evaluation.scoring import Score
    from vector_assets.pipeline import Pipeline
    from vector_assets.redaction import RedactionPolicy

app = typer.Typer(no_args_is_help=True, help="What redaction policies find, and what they do.")

_Policy = Annotated[str, typer.Argument(metavar="[POLICY]", help="As sources.yaml names it.")]


@app.command()
def evaluate(
    context: typer.Context,
    policy: _Policy = "default",
    *,
    size: Annotated[int, typer.Option(min=1, help="Texts of the labelled set.")] = 2_000,
    as_json: Json = False,
) -> None:
    """Recall, precision and F2 of a policy on made-up texts whose personal data is known."""
    from vector_assets.evaluation.labelled_set import labelled_set
    from vector_assets.evaluation.measure import Finds, measured

    with opened(context) as pipeline:
        asked = _policy(pipeline, policy)
        redactor = pipeline.engines.redactor(policy)
        if not isinstance(redactor, Finds):
            raise ConfigurationError(f"the redactor of {policy!r} does not tell what it finds, so that nobody can measure it")
        report = measured(redactor, asked.entities, labelled_set(size))
    if as_json:
        print_json({"policy": policy, "version": redactor.version, "texts": size, **report.json()})
    else:
        _show(report)
        note(f"{size:,} texts, policy {policy}; found: every letter and digit of it would go, under whatever name")


@app.command("try")
def try_(context: typer.Context, policy: _Policy = "default") -> None:
    """Read a text from standard input and print what a policy makes of it."""
    with opened(context) as pipeline:
        _policy(pipeline, policy)
        [answer] = pipeline.engines.redactor(policy).redact([sys.stdin.read()])
    if isinstance(answer, Exception):
        raise answer
    print(answer, end="")  # not through Rich, which would wrap it and read its brackets


def _policy(pipeline: Pipeline, name: str) -> RedactionPolicy:
    known = pipeline.settings.tables.redaction
    if name not in known:
        raise ConfigurationError(f"there is no redaction policy {name!r} (there are: {', '.join(known)})")
    return known[name]


def _show(report: Report) -> None:
    stdout().print(_table("entity", report.entities, found=True))
    stdout().print()
    stdout().print(_table("disguise", report.disguises))
    stdout().print()
    stdout().print(_table("kind of text", report.kinds))


def _table(what: str, scores: Mapping[str, Score], *, found: bool = False) -> Table:
    """Scores for people. `found`: what was found has the same names, so that precision and F2 mean something."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(what)
    for column in ("labelled", "found", "recall", *(("precision", "F2", "other name") if found else ())):
        table.add_column(column, justify="right")
    for name, score in scores.items():
        recall = f"{score.recall:.3f}" if score.labels else ""
        more = (f"{score.precision:.3f}" if score.findings else "", f"{score.f2:.3f}" if score.labels else "", str(score.mislabelled))
        table.add_row(name, str(score.labels), str(score.found), recall, *(more if found else ()))
    return table
