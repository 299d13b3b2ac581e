"""Where output goes: results to stdout, everything else to stderr. Consoles are made when they are needed, since tests swap the streams."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import warnings

from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text


def stdout() -> Console:
    """For results."""
    return Console(highlight=False)


def stderr() -> Console:
    """For progress, notes and errors."""
    return Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """One JSON value on stdout, ASCII, so that it survives any locale."""
    print(json.dumps(value, indent=2, default=_plain))  # not through Rich, which would wrap it


def note(message: str) -> None:
    """A sentence on stderr."""
    stderr().print(Text(message), soft_wrap=True)


def complain(message: str) -> None:
    """An error on stderr: one line, whatever the width of the terminal."""
    stderr().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def quiet_libraries(*, debug: bool) -> None:
    """Keep logs and warnings of libraries from the user; our own warnings stay. With `debug`, everything is shown."""
    root, ours = logging.getLogger(), logging.getLogger("vector_assets")
    shown = RichHandler(console=stderr(), show_path=False, show_time=debug, level=logging.DEBUG if debug else logging.WARNING)
    root.handlers = [shown] if debug else [logging.NullHandler()]
    root.setLevel(logging.INFO)
    ours.handlers, ours.propagate = ([], True) if debug else ([shown], False)
    if debug:
        return
    warnings.simplefilter("ignore")
    # Read once, when these libraries are imported.
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY", "DAGSTER_DISABLE_TELEMETRY"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def _plain(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")
