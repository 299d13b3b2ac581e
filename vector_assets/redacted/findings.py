"""What was found where in a text, and the text without it. Pure; knows neither Presidio nor processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple, TypeVar

PART_CHARACTERS = 20_000
PART_OVERLAP = 1_000
_CUT_SEARCH = 500
_MANY = 100


class Finding(NamedTuple):
    """Personal data at text[start:end], with the detector's confidence."""

    start: int
    end: int
    entity: str
    score: float


class Failure(NamedTuple):
    """Why a text could not be searched; holds no row text."""

    reason: str


class Candidate(NamedTuple):
    """A finding whose score is not known yet, only that it is `low` or `high`."""

    start: int
    end: int
    entity: str
    low: float
    high: float


_Span = TypeVar("_Span", Finding, Candidate)


def without(text: str, findings: Iterable[Finding]) -> str:
    """The text with every found character replaced: findings that overlap become one `<ENTITY>`, named after the best of them (highest
    score, then longest, then by name). The order of the findings does not matter."""
    pieces, position = [], 0
    for group in _groups(findings):
        best = min(group, key=lambda found: (-found.score, found.start - found.end, found.entity))
        pieces += [text[position : group[0].start], f"<{best.entity}>"]
        position = max(found.end for found in group)
    return "".join([*pieces, text[position:]])


def is_settled(candidates: Sequence[Candidate], threshold: float) -> bool:
    """Whether `without` gives the same text for every choice of scores, so that nobody needs to know them.

    So it is where each candidate stays on its side of the threshold (or hides in a sure one of its own kind), and, among those that
    overlap directly or through others, no two kinds can change places.
    """
    possible = [found for found in candidates if found.high >= threshold]
    for group in _groups(possible):
        if len(group) > _MANY:
            return False  # comparing all pairs would cost more than knowing
        sure = [found for found in group if found.low >= threshold]
        for found in group:
            if found.low < threshold and not any(_hides(found, other) for other in sure):
                return False
        for one, other in combinations(group, 2):
            if one.entity != other.entity and one.low <= other.high and other.low <= one.high:
                return False
    return True


def parts(text: str) -> list[tuple[int, int]]:
    """(start, end) of overlapping parts that cover a text, each at most `PART_CHARACTERS` long; one part for a short text.

    Cut at whitespace where there is some, so that a word is whole in at least one part; what is longer than the overlap and has no
    whitespace is found in pieces, which overlap and so become one finding.
    """
    spans, start = [], 0
    while len(text) - start > PART_CHARACTERS:
        end = _cut(text, start + PART_CHARACTERS)
        spans.append((start, end))
        start = _cut(text, end - PART_OVERLAP)
    return [*spans, (start, len(text))]


def _cut(text: str, latest: int) -> int:
    """The last place after whitespace shortly before `latest`, else `latest`."""
    for at in range(latest, latest - _CUT_SEARCH, -1):
        if text[at - 1].isspace():
            return at
    return latest


def _hides(found: Candidate, other: Candidate) -> bool:
    return other.entity == found.entity and other.start <= found.start and found.end <= other.end


def _groups(spans: Iterable[_Span]) -> Iterator[list[_Span]]:
    """Spans that share characters, directly or through others; groups from left to right."""
    group: list[_Span] = []
    end = 0
    for span in sorted(spans):
        if group and span.start >= end:
            yield group
            group = []
        group.append(span)
        end = max(end, span.end) if len(group) > 1 else span.end
    if group:
        yield group
