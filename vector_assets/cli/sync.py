"""`vector-assets sync`: bring tables up to date in this process, recorded in the same Dagster instance as the UI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from vector_assets.cli import results
from vector_assets.cli.console import complain, note, print_json, stderr, stdout
from vector_assets.cli.results import TableResult
from vector_assets.cli.session import opened
from vector_assets.errors import ConfigurationError, UnexpectedError, VectorAssetsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster import DagsterInstance

    from vector_assets.checks.result import CheckResult
    from vector_assets.cli.progress import Display
    from vector_assets.cli.threads import Stop
    from vector_assets.pipeline import Pipeline, StageName
    from vector_assets.reconcile.run import Outcome, Progress
    from vector_assets.tables import TableRef

_STOPPED = "stopped by Ctrl-C"

Tables = Annotated[
    list[str] | None, typer.Argument(metavar="[TABLE]...", help="catalog.schema.table, the end of such a name, or a pattern; default: all.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; nothing else goes to stdout.")]


def sync(
    context: typer.Context,
    tables: Tables = None,
    *,
    as_json: Json = False,
    approve_deletes: Annotated[
        str | None,
        typer.Option(metavar="VERSION:COUNT", help="Let one TABLE delete up to COUNT rows at this source version, as the error said."),
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(metavar="'CHECK[, CHECK…] by WHO: WHY'", help="Publish one TABLE although these checks fail; it is recorded."),
    ] = None,
) -> None:
    """Bring tables up to date: all five stages of each, touching only what changed."""
    done: dict[str, TableResult] = {}
    with reported(done, as_json=as_json), opened(context) as pipeline:
        from vector_assets.cli.selection import find
        from vector_assets.defs.run_tags import ACCEPT, APPROVE_DELETES, parse_acceptance, parse_approval

        if approve_deletes:
            parse_approval(approve_deletes)
        if accept:
            parse_acceptance(accept)
        found = find(pipeline, tables or ())
        tags = {tag: text for tag, text in ((APPROVE_DELETES, approve_deletes), (ACCEPT, accept)) if text}
        if tags and (not tables or len(found.tables) != 1):
            option = "--approve-deletes" if approve_deletes else "--accept"
            raise ConfigurationError(f"{option} is for exactly one TABLE: name it, so that nothing else is let through")
        sync_tables(pipeline, found.tables, done, tags=tags)
        conclude(done, found.problems, as_json=as_json)


def sync_tables(
    pipeline: Pipeline, tables: Sequence[TableRef], done: dict[str, TableResult], *, tags: Mapping[str, str] | None = None
) -> None:
    """Sync tables side by side, with progress on stderr; what each came to is put into `done` (partition key → result) as it happens.

    Each is a run of the Dagster instance. Errors of a table are its result. Raises KeyboardInterrupt, StorageError, ConfigurationError.
    """
    from vector_assets.cli.progress import Display
    from vector_assets.cli.threads import Stop, each
    from vector_assets.defs.instance import open_instance, prepare_home
    from vector_assets.pipeline import STAGES

    kept = prepare_home(pipeline.settings)
    if kept:
        note(kept)
    stop = Stop()
    with open_instance(pipeline.settings) as instance, Display(stderr(), len(tables), STAGES) as display:
        run = _TableSync(instance, pipeline, done, display, stop, tags or {})
        each(tables, run.sync, at_once=pipeline.settings.tables_at_once, stop=stop)


@dataclass(frozen=True)
class _TableSync:
    """How one table is synced; several threads do so."""

    instance: DagsterInstance
    pipeline: Pipeline
    done: dict[str, TableResult]
    display: Display
    stop: Stop
    tags: Mapping[str, str]

    def sync(self, ref: TableRef) -> None:
        result = self.done[ref.key] = TableResult()
        self.display.begin(ref.key)
        try:
            self._run(ref, result)
        except UnexpectedError as error:
            note(error.traceback)
            result.error = str(error)
        except VectorAssetsError as error:
            result.error = str(error)
        except KeyboardInterrupt:
            result.error, result.stopped = _STOPPED, True
            raise
        except Exception as error:  # noqa: BLE001 - the other tables go on; this is a bug, and its traceback is shown
            unexpected = UnexpectedError(error)
            note(unexpected.traceback)
            result.error = str(unexpected)
        finally:
            self.display.end(ref.key, result)

    def _run(self, ref: TableRef, result: TableResult) -> None:
        from vector_assets.defs.run import sync_table

        def progress(done: Progress) -> None:
            self.display.at(ref.key, done)
            self.stop.check()

        def finished(outcome: Outcome) -> None:
            numbers = result.stages[outcome.stage] = results.of_outcome(outcome)
            self.display.finished(ref.key, outcome.stage, numbers)
            self.stop.check()

        def checked(stage: StageName, found: Sequence[CheckResult]) -> None:
            result.checks[stage] = [check for check in found if not check.passed]

        sync_table(
            self.instance,
            self.pipeline,
            ref,
            tags=self.tags,
            progress=progress,
            finished=finished,
            checked=checked,
            sleep=self.stop.sleep,
        )


# --- what came of it, for `plan` too -----------------------------------------------------------------------------------------------------


@contextmanager
def reported(done: Mapping[str, TableResult], *, as_json: bool) -> Iterator[None]:
    """With `--json`, print the object also where the command fails as a whole."""
    try:
        yield
    except (VectorAssetsError, KeyboardInterrupt) as error:
        if as_json:
            print_json(results.as_json(done, _STOPPED if isinstance(error, KeyboardInterrupt) else str(error)))
        raise


def conclude(
    done: Mapping[str, TableResult], problems: Mapping[str, VectorAssetsError], *, as_json: bool, seconds: str = "seconds"
) -> None:
    """Print results, as JSON or as a table, and exit with 1 where a table or a catalog failed."""
    missed = "; ".join(map(str, problems.values())) or None
    answer = results.as_json(done, missed)
    if as_json:
        print_json(answer)
    elif any(result.stages for result in done.values()):
        stdout().print(results.as_lines(done, seconds=seconds), soft_wrap=True)
    for key in sorted(done):
        for warning in done[key].warnings:
            note(f"{key}: {warning}")
        error = done[key].error
        if error is not None:
            complain(f"{key}: {error}")
    for problem in problems.values():
        complain(str(problem))
    if not answer["ok"]:
        raise typer.Exit(1)
