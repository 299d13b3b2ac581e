"""What there is to type, and what becomes of errors: one sentence with the remedy on stderr and an exit status other than 0."""

from __future__ import annotations

import traceback
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from vector_assets.cli import doctor, init, models, parity, plan, quarantine, redaction, search, sync
from vector_assets.cli.console import complain, note, quiet_libraries
from vector_assets.errors import UnexpectedError, VectorAssetsError

_FAILED, _INTERRUPTED = 1, 130


class _Commands(TyperGroup):
    """The root of all commands; our own errors end here."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # Typer's own copy of click has a wider type
        try:
            return super().invoke(ctx)
        except VectorAssetsError as error:
            if ctx.params.get("debug"):
                traceback.print_exception(error)
            complain(str(error))
            raise typer.Exit(_FAILED) from None
        except (TyperException, typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            unexpected = UnexpectedError(error)
            note(unexpected.traceback)
            complain(f"{unexpected} (--debug shows it)")
            raise typer.Exit(_FAILED) from None
        except KeyboardInterrupt:
            note("stopped; what was committed stays, and the next sync goes on from there")
            raise typer.Exit(_INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keeps vector collections in step with SQL tables: cleaned, redacted, embedded, and only what changed.",
    epilog="sources.yaml says what to sync (VECTOR_ASSETS_SOURCES names another file); VECTOR_ASSETS_HOME is where everything local lives.",
)


@app.callback()
def _root(*, debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, and what libraries log.")] = False) -> None:
    quiet_libraries(debug=debug)


app.command()(init.init)
app.command()(sync.sync)
app.command()(plan.plan)
app.command()(parity.parity)
app.command()(search.search)
app.command()(search.resolve)
app.add_typer(models.app, name="models")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(redaction.app, name="redaction")
app.command()(doctor.doctor)
