"""Which tables a command is about: what sources.yaml speaks of and the sources have, narrowed to what was typed."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from vector_assets.errors import ConfigurationError, VectorAssetsError
from vector_assets.pipeline import Pipeline
from vector_assets.tables import TableRef, TableSpec


class Found(NamedTuple):
    """Tables, sorted, and why some catalogs could not be asked for theirs."""

    tables: list[TableRef]
    problems: Mapping[str, VectorAssetsError]


def find(pipeline: Pipeline, typed: Sequence[str] = ()) -> Found:
    """Tables that are meant: all of them, or those that were typed as key, plain name, end of a name (`tickets`) or pattern (`lake.crm.*`).

    A table that sources.yaml names is among them even if its source has none of that name: whoever reads it says so. Raises
    ConfigurationError where something typed means no table, or a name without `*` more than one.
    """
    found = _discover(pipeline)
    if not typed:
        if not found.tables and not found.problems:
            raise ConfigurationError(
                f"{pipeline.settings.sources} names no table that its catalogs have: add one under tables:, or check the patterns there"
            )
        return found
    chosen = {ref for argument in typed for ref in _meant(argument, found)}
    return Found(sorted(chosen), {})


def _discover(pipeline: Pipeline) -> Found:
    sources, problems = pipeline.settings.tables, dict[str, VectorAssetsError]()
    tables: set[TableRef] = set()
    for spec in sources.tables:
        if not spec.is_pattern:
            tables.add(TableRef.parse(spec.table))
            continue
        for catalog in sources.catalogs:
            if _speaks_of(spec, catalog):
                try:
                    tables.update(ref for ref in pipeline.engines.source(catalog).tables(spec.table) if spec.matches(ref))
                except VectorAssetsError as error:
                    problems[catalog] = error
    return Found(sorted(tables), problems)


def _speaks_of(spec: TableSpec, catalog: str) -> bool:
    return fnmatch.fnmatchcase(catalog, unquote(spec.table.split(".", maxsplit=1)[0]))


def _meant(argument: str, found: Found) -> list[TableRef]:
    meant = [ref for ref in found.tables if _matches(argument, ref)]
    if not meant and found.problems:
        raise next(iter(found.problems.values()))
    keys = [ref.key for ref in found.tables]
    if not meant:
        close = difflib.get_close_matches(argument, [*keys, *(ref.table for ref in found.tables)], n=3)
        raise ConfigurationError(f"no table is called {argument!r}" + (f": did you mean {' or '.join(close)}?" if close else _listed(keys)))
    if len(meant) > 1 and not any(character in argument for character in "*?["):
        raise ConfigurationError(f"{argument!r} could be {' or '.join(ref.key for ref in meant)}: write one of these")
    return meant


def _matches(argument: str, ref: TableRef) -> bool:
    if argument in (ref.key, ".".join(ref)):
        return True
    patterns = [unquote(part) for part in argument.split(".")]
    names = ref[-len(patterns) :]
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


def _listed(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:10]) + (f" and {len(keys) - 10} more" if len(keys) > 10 else "")
    return f"; there are: {shown}" if keys else "; sources.yaml names none"
