"""`vector-assets models …`: versions of the embedding model in the registry, and which one serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from vector_assets.cli.console import note, print_json, stdout
from vector_assets.cli.session import opened
from vector_assets.cli.sync import Json

if TYPE_CHECKING:
    from vector_assets.indexed.aliases import AliasMove
    from vector_assets.pipeline import Pipeline

app = typer.Typer(no_args_is_help=True, help="Embedding models: register, list, promote.")


@app.command()
def register(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A sentence-transformers directory with safetensors weights.")],
    *,
    description: Annotated[str, typer.Option(help="A note for people.")] = "",
) -> None:
    """Copy a model directory into the store and make it a version; the same files stay the version they are."""
    with opened(context) as pipeline:
        version = pipeline.engines.registry().register(path, description=description)
    note(f"version {version.version}: {version.dimension} dimensions, digest {version.digest[:12]}")
    if not version.aliases:
        note(f"it does not serve yet: vector-assets models promote {version.version}")


@app.command("list")
def list_versions(context: typer.Context, *, as_json: Json = False) -> None:
    """Registered versions, newest first."""
    with opened(context) as pipeline:
        versions = pipeline.engines.registry().versions()
    if as_json:
        print_json([asdict(version) for version in versions])
        return
    if not versions:
        note("no version is registered: vector-assets init registers the packaged model, `models register PATH` one of your own")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("version", "aliases", "dimension", "digest", "description"):
        table.add_column(name)
    for version in versions:
        aliases = Text(", ".join(version.aliases), style="bold")
        table.add_row(version.version, aliases, str(version.dimension), version.digest[:12], Text(version.description))
    stdout().print(table)


@app.command()
def promote(
    context: typer.Context,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="As `models list` shows it.")],
    *,
    alias: Annotated[str, typer.Option(help="`champion` serves.")] = "champion",
) -> None:
    """Let a version serve. Searches go on with the old one until every table of a collection is embedded with it."""
    from vector_assets.models.registry import CHAMPION

    with opened(context) as pipeline:
        promoted = pipeline.engines.registry().promote(version, alias)
        note(f"{alias} is version {promoted.version} now")
        if alias != CHAMPION:
            return
        if not pipeline.settings.sources.exists():
            note(f"there is no {pipeline.settings.sources}, so there is no collection to move")
            return
        for move in settle_aliases(pipeline):
            note(told(move))


def settle_aliases(pipeline: Pipeline) -> Sequence[AliasMove]:
    """Let each collection's alias follow the champion, where its tables are ready."""
    collections = sorted({spec.collection for spec in pipeline.settings.tables.tables})
    return [pipeline.settle_alias(collection) for collection in collections]


def told(move: AliasMove) -> str:
    """What became of an alias, in words."""
    if move.moved:
        return f"{move.alias}: searches go to {move.after} now"
    if move.waiting:
        still = f"searches stay with {move.before}" if move.before else "nothing answers yet"
        return f"{move.alias}: {still}, until these tables are synced with this model: {', '.join(move.waiting)} (vector-assets sync)"
    if move.after:
        return f"{move.alias}: {move.after} serves already"
    return f"{move.alias}: no table of it was synced yet (vector-assets sync)"
