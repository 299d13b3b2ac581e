"""`vector-assets search` and `resolve`: ask a collection with the model that it was made with."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from vector_assets.cli.console import note, print_json, stdout
from vector_assets.cli.session import opened
from vector_assets.cli.sync import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vector_assets.embedded.encoder import Encoder
    from vector_assets.engines import Engines
    from vector_assets.indexed.index import Hit
    from vector_assets.search import Searcher

_SHOWN_CHARACTERS = 240

_Collection = Annotated[str, typer.Argument(metavar="COLLECTION", help="As sources.yaml names it.")]


def search(
    context: typer.Context,
    collection: _Collection,
    query: Annotated[str | None, typer.Argument(metavar="[QUERY]", help="What to look for, in words.")] = None,
    *,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Keywords count too, not only meaning.")] = False,
    where: Annotated[
        list[str] | None, typer.Option(metavar="CONDITION", help="status=open, priority>=2, …; all of them must hold.")
    ] = None,
    like: Annotated[str | None, typer.Option(metavar="KEY", help="Instead of a query: neighbours of the row with this key.")] = None,
    table: Annotated[str | None, typer.Option(metavar="TABLE", help="Only rows of this table, catalog.schema.table.")] = None,
    limit: Annotated[int, typer.Option(help="Passages at most.")] = 10,
    as_json: Json = False,
) -> None:
    """Search a collection: by meaning, by meaning and keywords (--hybrid), or for rows like another (--like)."""
    with opened(context) as pipeline:
        asked = searcher(pipeline.engines)
        hits = asked.search(collection, query, hybrid=hybrid, where=where or (), like=like, table=table, limit=limit)
    if as_json:
        print_json([hit._asdict() for hit in hits])
    elif hits:
        stdout().print(hit_table(hits))
    else:
        note("nothing found" + (": no row fulfils every --where" if where else ""))


def resolve(
    context: typer.Context,
    collection: _Collection,
    *,
    as_json: Json = False,
) -> None:
    """What answers for a collection now, and the model to encode queries with."""
    with opened(context) as pipeline:
        answer = searcher(pipeline.engines).resolve(collection)._asdict()
    if as_json:
        print_json(answer)
    else:
        lines = Table.grid(padding=(0, 2))
        for name, value in answer.items():
            lines.add_row(Text(name, "dim"), Text("" if value is None else str(value), overflow="fold"))
        stdout().print(lines)


def searcher(engines: Engines) -> Searcher:
    """A searcher over the index, with the encoder of whatever model a collection is stamped with."""
    from vector_assets.models.registry import ModelVersion
    from vector_assets.search import Searcher

    def encoder_for(stamp: Mapping[str, str]) -> Encoder:
        model = ModelVersion(
            version=stamp.get("model_version", ""),
            digest=stamp.get("model_digest", ""),
            uri=stamp.get("model_uri", ""),
            dimension=0,  # the searcher compares what comes out with the collection
            query_prompt=stamp.get("query_prompt") or None,
        )
        return engines.encoder(model)

    return Searcher(engines.index(), encoder_for)


def hit_table(hits: Sequence[Hit]) -> Table:
    """Hits for people: score, key, the beginning of the text, and the properties below it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("key", overflow="fold", max_width=24)
    table.add_column("passage", ratio=1)
    for hit in hits:
        text = textwrap.shorten(hit.text, _SHOWN_CHARACTERS, placeholder=" …")
        properties = ", ".join(f"{name}={value}" for name, value in hit.properties.items() if value is not None)
        table.add_row(f"{hit.score:.3f}", Text(hit.key), Text.assemble(text, "\n", (f"{properties}\n", "dim")))
    return table
