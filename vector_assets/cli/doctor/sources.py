"""Checks of the sources: each catalog, and every table that sources.yaml speaks of, in bounded time."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from vector_assets.catalogs import TrinoCatalog
from vector_assets.cli.doctor.checks import Check, Checks, Remark
from vector_assets.errors import ConfigurationError, VectorAssetsError
from vector_assets.tables import Sources, TableRef, encode_part

if TYPE_CHECKING:
    from vector_assets.pipeline import Pipeline
    from vector_assets.raw.source import Source
    from vector_assets.raw.trino.source import TrinoSource

TABLES_SECONDS = 60.0  # no table is begun later; 20 ms for one in a quiet Trino
MAX_SHOWN = 10


class Looked(NamedTuple):
    """Tables that were looked at: those that can be read, what is wrong with others, and how many there was no time for."""

    fine: list[TableRef]
    wrong: dict[TableRef, VectorAssetsError]
    left: int


def checks(pipeline: Pipeline) -> Checks[None]:
    """Catalogs, then tables of those that answer, then what is to be known of the tables of each Trino."""
    from vector_assets.cli.doctor import trino

    sources = pipeline.settings.tables
    with ExitStack() as closed_after:
        answering: dict[str, Source] = {}
        for name, spec in sources.catalogs.items():
            if isinstance(spec, TrinoCatalog):
                remote = closed_after.enter_context(closing(trino.patient_source(name, spec)))
                if (yield Check(f"catalog {name}", partial(_greeted, sources, remote))):
                    answering[name] = remote
                    yield from trino.checks(remote)
            elif (yield Check(f"catalog {name}", partial(_embedded, pipeline, name))):
                answering[name] = pipeline.engines.source(name)
        looked = Looked([], {}, 0)
        if answering or not sources.catalogs:
            looked = yield from _tables(pipeline, answering)
        for name, source in answering.items():
            yield from trino.table_checks(source, [ref for ref in looked.fine if ref.catalog == name])


def meant(sources: Sources, asked: Mapping[str, Source]) -> list[TableRef]:
    """Tables of some catalogs that sources.yaml speaks of: those it names, there or not, and what matches its patterns."""
    found: set[TableRef] = set()
    for spec in sources.tables:
        if not spec.is_pattern:
            found.update({TableRef.parse(spec.table)} if TableRef.parse(spec.table).catalog in asked else ())
            continue
        for catalog, source in asked.items():
            if fnmatch.fnmatchcase(catalog, unquote(spec.table.split(".", maxsplit=1)[0])):
                found.update(ref for ref in source.tables(spec.table) if spec.matches(ref))
    return sorted(found)


def _greeted(sources: Sources, source: TrinoSource) -> str:
    from vector_assets.cli.doctor import trino

    said = trino.greet(source)
    return f"{said}, {len(meant(sources, {source.catalog: source}))} of its tables in sources.yaml"


def _embedded(pipeline: Pipeline, catalog: str) -> str:
    found = pipeline.engines.source(catalog).tables(f"{encode_part(catalog)}.*.*")
    return f"answers, with {len(found)} tables"


def _tables(pipeline: Pipeline, answering: Mapping[str, Source]) -> Checks[Looked]:
    """Every table that would be synced has its columns, of types that can be read: a summary, and a line for each that has not."""
    results: list[Looked] = []

    def look() -> str:
        refs = meant(pipeline.settings.tables, answering)
        results.append(_look_at(pipeline.settings.tables, answering, refs))
        return _summary(results[0], pipeline)

    yield Check("tables", look)
    looked = results[0] if results else Looked([], {}, 0)
    for ref, error in list(looked.wrong.items())[:MAX_SHOWN]:
        yield Check(f"table {ref.key}", partial(_raise, error))
    return looked


def _look_at(sources: Sources, answering: Mapping[str, Source], refs: Sequence[TableRef]) -> Looked:
    from vector_assets.cli.doctor import trino

    fine: list[TableRef] = []
    wrong: dict[TableRef, VectorAssetsError] = {}
    deadline = time.monotonic() + TABLES_SECONDS

    def look(ref: TableRef) -> None:
        if time.monotonic() > deadline:
            return
        try:
            trino.read_one(answering[ref.catalog], ref, sources.spec_for(ref))
            fine.append(ref)
        except VectorAssetsError as error:
            wrong[ref] = error

    with ThreadPoolExecutor(4, thread_name_prefix="table") as pool:
        for future in [pool.submit(look, ref) for ref in refs]:
            future.result()
    return Looked(sorted(fine), dict(sorted(wrong.items())), len(refs) - len(fine) - len(wrong))


def _summary(looked: Looked, pipeline: Pipeline) -> str:
    name, fine, wrong = pipeline.settings.sources, len(looked.fine), len(looked.wrong)
    if not fine + wrong + looked.left:
        raise ConfigurationError(f"{name} names no table that its catalogs have: add one under tables:, or check the patterns there")
    unseen = f"; {looked.left} more were not looked at, since that took {TABLES_SECONDS:g} s" if looked.left else ""
    if wrong:
        more = f", {MAX_SHOWN} of them here" if wrong > MAX_SHOWN else ""
        raise ConfigurationError(f"{wrong} of {fine + wrong} cannot be read{more}; what they lack is below{unseen}")
    said = f"{fine} table{'s' * (fine != 1)}, each with the columns that {name} names{unseen}"
    return Remark(said) if unseen else said


def _raise(error: VectorAssetsError) -> str:
    raise error
