"""`vector-assets …`: one module per command. Each reads its arguments, calls the core, and prints; nothing is decided here.

`app.py` says what there is to type and turns errors into one sentence; `session.py` opens settings and the pipeline; `results.py` holds the
JSON that scripts read. Heavy libraries load inside commands, so that `--help` answers at once.
"""

from __future__ import annotations

from vector_assets.arenas import bound_arenas


def main() -> None:
    """The console script."""
    bound_arenas()
    from vector_assets.cli.app import app

    app(prog_name="vector-assets")
