"""`vector-assets sync`: bring tables up to date in this process, recorded in the same Dagster instance as the UI."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from vector_assets.cli import results
from vector_assets.cli.console import complain, print_json, stderr, stdout
from vector_assets.cli.results import TableResult
from vector_assets.cli.session import opened
from vector_assets.errors import ConfigurationError, VectorAssetsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vector_assets.cli.progress import Display
    from vector_assets.cli.threads import Stop
    from vector_assets.pipeline import Pipeline
    from vector_assets.reconcile.sync import Approval, Outcome, Progress
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
) -> None:
    """Bring tables up to date: all five stages of each, touching only what changed."""
    approval = _approval(approve_deletes, tables)
    done: dict[str, TableResult] = {}
    with reported(done, as_json=as_json), opened(context) as pipeline:
        from vector_assets.cli.selection import find

        found = find(pipeline, tables or ())
        if approval is not None and len(found.tables) != 1:
            raise ConfigurationError(f"--approve-deletes is for exactly one table, and this means {len(found.tables)}: name it whole")
        sync_tables(pipeline, found.tables, done, approval=approval)
        conclude(done, found.problems, as_json=as_json)


def sync_tables(pipeline: Pipeline, tables: Sequence[TableRef], done: dict[str, TableResult], *, approval: Approval | None = None) -> None:
    """Sync tables side by side, with progress on stderr; what each came to is put into `done` (partition key → result) as it happens.

    Errors of a table are its result. Raises KeyboardInterrupt.
    """
    from vector_assets.cli.progress import Display
    from vector_assets.cli.threads import Stop, each
    from vector_assets.pipeline import STAGES

    stop = Stop()
    with Display(stderr(), len(tables), STAGES) as display:
        run = _TableSync(pipeline, done, display, stop, approval)
        each(tables, run.sync, at_once=pipeline.settings.tables_at_once, stop=stop)


class _TableSync:
    """Syncs one table after the other in each of several threads."""

    def __init__(self, pipeline: Pipeline, done: dict[str, TableResult], display: Display, stop: Stop, approval: Approval | None) -> None:
        self._pipeline, self._done, self._display, self._stop, self._approval = pipeline, done, display, stop, approval

    def sync(self, ref: TableRef) -> None:
        result = self._done[ref.key] = TableResult()
        self._display.begin(ref.key)
        try:
            self._stages(ref, result)
        except VectorAssetsError as error:
            result.error = str(error)
        except KeyboardInterrupt:
            result.error = _STOPPED
            raise
        except Exception as error:  # noqa: BLE001 - the other tables go on; this is a bug, and its traceback is shown
            traceback.print_exception(error)
            result.error = f"unexpected {type(error).__name__}: a bug, please report the traceback"
        finally:
            self._display.end(ref.key, result)

    def _stages(self, ref: TableRef, result: TableResult) -> None:
        def at(progress: Progress) -> None:
            self._display.at(ref.key, progress)
            self._stop.check()

        def finished(outcome: Outcome) -> None:
            numbers = result.stages[outcome.stage] = results.of_outcome(outcome)
            self._display.finished(ref.key, outcome.stage, numbers)
            self._stop.check()

        from vector_assets.pipeline import STAGES, Run

        for stage in STAGES:
            finished(self._pipeline.sync(stage, ref, Run("cli", approval=self._approval, progress=at)))


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
        error = done[key].error
        if error is not None:
            complain(f"{key}: {error}")
    for problem in problems.values():
        complain(str(problem))
    if not answer["ok"]:
        raise typer.Exit(1)


def _approval(typed: str | None, tables: Sequence[str] | None) -> Approval | None:
    if typed is None:
        return None
    from vector_assets.reconcile.sync import Approval

    version, _, count = typed.rpartition(":")
    if not version or not count.isdecimal():
        raise ConfigurationError(f"--approve-deletes {typed} is not VERSION:COUNT: copy it from the error that asked for it")
    if not tables or len(tables) != 1:
        raise ConfigurationError("--approve-deletes is for exactly one table: name it, so that nothing else is let through")
    return Approval(version, int(count))
