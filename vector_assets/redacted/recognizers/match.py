"""What a finder of formatted identifiers is: a function from a text to matches, and what a text must have for it to find anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Match(NamedTuple):
    """An identifier at text[start:end]. `score`: 1 where a checksum or an unmistakable form proves it, less where the form alone speaks."""

    start: int
    end: int
    score: float


class Finder(NamedTuple):
    """Finds one entity. `needs`: where it says no, `find` finds nothing; cheap, so that most texts cost nothing more.

    `find` takes time linear in the text, whatever the text (the tests feed it 100,000 hostile characters).
    """

    entity: str
    needs: Callable[[str], object]
    find: Callable[[str], Iterable[Match]]

    def matches(self, text: str) -> list[Match]:
        """All matches; they may overlap."""
        return list(self.find(text)) if self.needs(text) else []
