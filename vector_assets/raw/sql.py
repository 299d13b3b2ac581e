"""Names in SQL: quoting, resolving, matching. Standard SQL only, the same for every engine; values never pass through here (they are
parameters or bound Arrow tables), and neither do types or functions, which belong to the engine's own module.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Iterable
from urllib.parse import unquote

from vector_assets.errors import ConfigurationError, SourceError
from vector_assets.tables import TableRef

MAX_NAMES_SHOWN = 10


def quoted(name: str) -> str:
    """A delimited identifier: whatever the name holds, it stays one name. Raises SourceError for the two names no engine can hold."""
    if not name or "\0" in name:
        raise SourceError("an SQL name cannot be empty or hold a NUL character: check the key, text and properties in sources.yaml")
    return '"' + name.replace('"', '""') + '"'


def qualified(*parts: str) -> str:
    """A dotted name of quoted parts: `"catalog"."schema"."table"`."""
    return ".".join(map(quoted, parts))


def require(names: Iterable[str], there: Collection[str], where: str) -> None:
    """Check that every name is there, spelt exactly so. `where` reads like "column in lake.support.tickets".

    Raises SourceError that names the first missing one and what is there, close matches first.
    """
    present = set(there)
    for name in names:
        if name not in present:
            raise SourceError(f"there is no {where} called {name!r}; {_offer(name, there)}")


def _offer(name: str, there: Collection[str]) -> str:
    if not there:
        return "there is none at all"
    lowered = {other.lower(): other for other in there}
    close = [lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, n=3)]
    shown = list(dict.fromkeys([*close, *sorted(there)]))[:MAX_NAMES_SHOWN]
    more = len(there) - len(shown)
    return f"there is: {', '.join(map(repr, shown))}" + (f" and {more} more" if more else "")


def matching(pattern: str, tables: Iterable[TableRef]) -> list[TableRef]:
    """The tables that match `catalog.schema.table`, sorted: fnmatch for each percent-decoded part, case-sensitive.

    Raises ConfigurationError for a pattern that has not three parts.
    """
    parts = [unquote(part) for part in pattern.split(".")]
    if len(parts) != 3 or not all(parts):
        raise ConfigurationError(f"{pattern!r} is not a table pattern: write catalog.schema.table, for example lake.support.*")
    return sorted(ref for ref in tables if all(map(fnmatch.fnmatchcase, ref, parts)))
