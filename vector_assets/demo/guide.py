"""The guided demo: build the sample, sync it, search it, edit six rows, and sync again to see that just those were touched.

It runs the same code as the commands that it shows, below VECTOR_ASSETS_HOME. Running it again continues where it left off: with other
edits. A `Scene` says where the sample is: in a DuckDB file, or (`live.py`) behind a real Trino.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vector_assets import initial
from vector_assets.cli import results
from vector_assets.cli.results import TableResult
from vector_assets.cli.search import searcher
from vector_assets.cli.selection import find
from vector_assets.cli.sync import sync_tables
from vector_assets.demo.lakehouse import DuckDBLakehouse, Lakehouse
from vector_assets.errors import StorageError
from vector_assets.pipeline import STAGES, Pipeline
from vector_assets.settings import Settings

if TYPE_CHECKING:
    from vector_assets.demo.sample import Edits
    from vector_assets.indexed.index import Hit

SOURCES = Path(str(files("vector_assets.demo").joinpath("sources.yaml")))
_HITS = 2
_SHOWN_CHARACTERS = 150


class Scene(NamedTuple):
    """Where the tour takes place, and what a terminal needs: lines to type before the commands at its end work, and after them."""

    lakehouse: Lakehouse
    before: list[str]
    after: list[str]


class Search(NamedTuple):
    """One search: what to type behind `vector-assets search`."""

    collection: str
    query: str | None = None
    hybrid: bool = False
    where: tuple[str, ...] = ()
    like: str | None = None

    @property
    def command(self) -> str:
        """As it is typed."""
        words = [self.collection, *([self.query] if self.query else []), *(["--hybrid"] if self.hybrid else [])]
        words += [word for condition in self.where for word in ("--where", condition)]
        return shlex.join(["vector-assets", "search", *words, *(["--like", self.like] if self.like else [])])


def embedded(settings: Settings) -> Scene:
    """The sample in a DuckDB file."""
    home = [] if settings.home == Path(".vector_assets") else [f"export VECTOR_ASSETS_HOME={near(settings.home)}"]
    sources = f"export VECTOR_ASSETS_SOURCES={near(settings.sources)}   # the demo's tables; unset it for your own"
    afterwards = f"unset VECTOR_ASSETS_SOURCES; {_tool()} init   # a sources.yaml for your own tables"
    return Scene(DuckDBLakehouse(settings.home / "sample.duckdb"), [*home, sources], [afterwards])


def run(pipeline: Pipeline, console: Console, scene: Scene, *, tickets: int = 2000) -> list[str]:
    """The whole tour, told on the console, and what went wrong, in sentences. Raises VectorAssetsError."""
    settings, lakehouse = pipeline.settings, scene.lakehouse
    _say(console, f"A sample lakehouse: Python's help texts, {tickets:,} support tickets full of (made-up) personal data, account notes")
    lakehouse.build(tickets=tickets)
    _prepare(pipeline)

    _say(console, "Sync: clean, redact, embed and index every table", "vector-assets sync")
    first, seconds = _sync(pipeline)
    console.print(results.as_lines(first), soft_wrap=True)
    if failed := _failures(first):
        return failed

    _say(console, "Search: by meaning, with keywords and a filter, and for rows like another")
    console.print(_answers(pipeline))

    edits = lakehouse.edit()
    _say(console, _told(edits), "vector-assets sync")
    second, more_seconds = _sync(pipeline)
    console.print(results.as_lines({lakehouse.edited: second[lakehouse.edited]}), soft_wrap=True)
    _write_report(settings.home / "report.json", first=(first, seconds), second=(second, more_seconds), edits=edits)
    if failed := _failures(second) or surprises(second, edits, lakehouse.edited):
        return failed
    _conclude(console, settings, edits, seconds=(seconds, more_seconds))
    _suggest(console, scene)
    return []


def surprises(done: Mapping[str, TableResult], edits: Edits, edited: str) -> list[str]:
    """What a sync did beside the edits of table `edited`, or left undone, in words."""
    wanted = {"added": len(edits.added), "changed": len(edits.changed), "deleted": len(edits.deleted)}
    found = []
    for key, result in done.items():
        expected = wanted if key == edited else dict.fromkeys(wanted, 0)
        for stage in STAGES:
            counts = {name: result.stages[stage][name] for name in wanted}
            if counts != expected:
                found.append(f"{key}, {stage}: {counts} instead of {expected}")
    return found


# --- steps -----------------------------------------------------------------------------------------------------------------------------


def _prepare(pipeline: Pipeline) -> None:
    initial.make_home(pipeline.settings.home)
    initial.make_secret(pipeline.settings)
    initial.make_champion(pipeline.engines.registry())


def _sync(pipeline: Pipeline) -> tuple[dict[str, TableResult], float]:
    started, done = time.monotonic(), dict[str, TableResult]()
    sync_tables(pipeline, find(pipeline).tables, done)
    return done, time.monotonic() - started


def _failures(done: Mapping[str, TableResult]) -> list[str]:
    return [f"{key}: {result.error}" for key, result in sorted(done.items()) if result.error]


def _answers(pipeline: Pipeline) -> Table:
    """Three searches in one table."""
    ask = searcher(pipeline.engines)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("key", no_wrap=True)
    table.add_column("passage", ratio=1)
    like = None
    for wanted in (
        Search("SupportTickets", "the parcel was left with somebody else"),
        Search("SupportTickets", "refund to another card", hybrid=True, where=("status=open", "priority>=3")),
        Search("SupportTickets"),
    ):
        asked = wanted if wanted.query else wanted._replace(like=like)
        hits = ask.search(asked.collection, asked.query, hybrid=asked.hybrid, where=asked.where, like=asked.like, limit=_HITS)
        table.add_row("", "", Text(f"$ {asked.command}", style="bold cyan"))
        for hit in hits:
            table.add_row(f"{hit.score:.3f}", Text(hit.key), _passage(hit))
        like = like or (hits[0].key if hits else None)
    return table


def _passage(hit: Hit) -> Text:
    words = " ".join(hit.text.split())
    shown = words if len(words) <= _SHOWN_CHARACTERS else words[:_SHOWN_CHARACTERS] + "…"
    facts = ", ".join(f"{name}={hit.properties[name]}" for name in ("status", "priority", "topic") if name in hit.properties)
    return Text.assemble(shown, "\n", (facts, "dim"))


# --- words -----------------------------------------------------------------------------------------------------------------------------


def _say(console: Console, heading: str, command: str | None = None) -> None:
    console.print()
    console.print(Text(heading, style="bold"))
    if command:
        console.print(Text(f"$ {command}", style="bold cyan"))


def _told(edits: Edits) -> str:
    def numbers(keys: Sequence[int]) -> str:
        return ", ".join(map(str, keys))

    return (
        f"Edit: {len(edits.changed)} tickets changed ({numbers(edits.changed)}), {len(edits.deleted)} deleted ({numbers(edits.deleted)}),"
        f" {len(edits.added)} added ({numbers(edits.added)}). Sync again:"
    )


def _conclude(console: Console, settings: Settings, edits: Edits, *, seconds: tuple[float, float]) -> None:
    touched = sum(map(len, edits))
    console.print()
    console.print(Text(f"✓ exactly those {touched} rows were touched, in every stage; nothing else was computed", style="bold green"))
    console.print(f"first sync {seconds[0]:.0f} s, second {seconds[1]:.1f} s; counts of both: {near(settings.home / 'report.json')}")


def _suggest(console: Console, scene: Scene) -> None:
    """Commands that work as they are typed, in the folder that the demo ran in."""
    tool = _tool()
    _say(console, "What to try next")
    for line in (
        *scene.before,
        f'{tool} search PythonHelp "when is a decorator called"',
        f"{tool} plan                # what a sync would do now",
        f"{tool} quarantine list     # rows that could not be taken, and why",
        "make dev                                   # the same project in Dagster's UI",
        *scene.after,
    ):
        console.print(Text(f"  {line}"), soft_wrap=True)


def _tool() -> str:
    return near(Path(sys.executable).with_name("vector-assets"))


def near(path: Path) -> str:
    """A path as one would type it here."""
    here, full = Path.cwd(), path.absolute()
    return shlex.quote(str(full.relative_to(here) if full.is_relative_to(here) else full))


def _write_report(
    path: Path, *, first: tuple[dict[str, TableResult], float], second: tuple[dict[str, TableResult], float], edits: Edits
) -> None:
    report = {
        "first": {**results.as_json(first[0]), "seconds": round(first[1], 1)},
        "second": {**results.as_json(second[0]), "seconds": round(second[1], 1)},
        "edits": edits._asdict(),
    }
    try:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror}): free some space") from error
