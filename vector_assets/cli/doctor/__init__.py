"""`vector-assets doctor`: is everything there that a sync needs? One line per check, with the remedy where it is not.

`checks.py` says what a check is; `project.py` looks at what is on this machine, `sources.py` and `trino.py` at the sources, `weaviate.py`
at the index. Servers are asked with short timeouts, and whatever depends on one that does not answer is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.text import Text

from vector_assets.cli.console import stderr, stdout
from vector_assets.cli.doctor.checks import Check, Checks, Remark
from vector_assets.cli.session import opened
from vector_assets.errors import VectorAssetsError

if TYPE_CHECKING:
    from vector_assets.pipeline import Pipeline

__all__ = ["doctor"]


def doctor(context: typer.Context) -> None:
    """Check settings, sources, secret, models, storage, index, Dagster, redaction and device. Exit status 1 where one fails."""
    failed = 0
    with opened(context) as pipeline:
        asking = _all(pipeline)
        check = next(asking, None)
        while check is not None:
            passed = _report(check)
            failed += not passed
            try:
                check = asking.send(passed)
            except StopIteration:
                break
    if failed:
        raise typer.Exit(1)


def _report(check: Check) -> bool:
    """Look, print what was found, and say whether it is usable."""
    passed = True
    try:
        with stderr().status(Text(check.name)):
            found = check.look()
        mark, style = ("!", "yellow") if isinstance(found, Remark) else ("✓", "green")
    except VectorAssetsError as error:
        passed = False
        found, mark, style = str(error), "✗", "bold red"
    stdout().print(Text.assemble((f"{mark} ", style), (f"{check.name}: ", "bold"), found), soft_wrap=True)
    return passed


def _all(pipeline: Pipeline) -> Checks[None]:
    from vector_assets.cli.doctor import project, sources, weaviate

    settings = pipeline.settings
    yield Check("settings", lambda: project.settings(settings))
    readable = yield Check("sources", lambda: project.sources(settings))
    if readable:
        yield Check("secret", lambda: project.secret(settings))
        yield from sources.checks(pipeline)
    yield Check("model", lambda: project.model(pipeline))
    yield Check("storage", lambda: project.writable(settings.storage))
    yield Check("private storage", lambda: project.private(settings))
    yield from weaviate.checks(settings, settings.tables if readable else None) if settings.weaviate_url else project.index(pipeline)
    yield Check("dagster", lambda: project.dagster(settings))
    if readable:
        for policy in sorted({spec.redaction for spec in settings.tables.tables}):
            yield Check(f"redaction {policy}", lambda policy=policy: project.redaction(pipeline, policy))  # type: ignore[misc]
    yield Check("device", lambda: project.device(settings))
