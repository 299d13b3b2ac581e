"""What was found where in a text, when scores do not matter, and how a long text is cut. Pure; knows neither Presidio nor processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple, TypeVar

PART_CHARACTERS = 20_000
PART_OVERLAP = 1_000
_MANY = 100
# Behind the whitespace after a full stop (or what stands for it, also in scripts that put no space there), or behind an empty line. A stop
# after one letter ends an initial, not a sentence.
_SENTENCE_END = re.compile(r"(?<![\s.]\w)[.!?\u2026\u061f\u06d4\u0964][\"')\]\u201d\u2019\u00bb]*\s+|[\u3002\uff01\uff1f]+\s*|\n\s*\n\s*")
_WHITESPACE = re.compile(r"\s+")


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


def is_settled(candidates: Sequence[Candidate], threshold_of: Callable[[str], float]) -> bool:
    """Whether replacing gives the same text for every choice of scores, so that nobody needs to know them.

    So it is where each candidate stays on its side of its entity's threshold (or hides in a sure one of its own kind), and, among those
    that overlap directly or through others, no two kinds can change places.
    """
    possible = [found for found in candidates if found.high >= threshold_of(found.entity)]
    for crowd in groups(possible):
        if len(crowd) > _MANY:
            return False  # comparing all pairs would cost more than knowing
        group = [found for found in crowd if not any(_ousts(other, found) for other in crowd)]
        sure = [found for found in group if found.low >= threshold_of(found.entity)]
        for found in group:
            if found.low < threshold_of(found.entity) and not any(_hides(found, other) for other in sure):
                return False
        for one, other in combinations(group, 2):
            if one.entity != other.entity and one.low <= other.high and other.low <= one.high:
                return False
    return True


def parts(text: str, *, characters: int = PART_CHARACTERS, overlap: int = PART_OVERLAP) -> list[tuple[int, int]]:
    """(start, end) of parts that cover a text, each at most `characters` long and overlapping the next by at least `overlap`, which must
    be less than two thirds of it; one part for a short text.

    Cut where a sentence ends if one does nearby, else at whitespace, so that what is found is read in its own sentence and a word is whole
    in at least one part; what is longer than the overlap and has no whitespace is found in pieces, which overlap and so become one finding.
    """
    spans, start = [], 0
    while len(text) - start > characters:
        end = _cut(text, start + characters, overlap // 2)
        spans.append((start, end))
        start = _cut(text, end - overlap, overlap // 2)
    return [*spans, (start, len(text))]


def _cut(text: str, latest: int, search: int) -> int:
    """The last place within `search` characters before `latest` where a sentence has ended, else one after whitespace, else `latest`."""
    near = text[latest - search : latest]
    for bound in (_SENTENCE_END, _WHITESPACE):
        if found := [match.end() for match in bound.finditer(near)]:
            return latest - search + found[-1]
    return latest


def _ousts(other: Candidate, found: Candidate) -> bool:
    """Whether Presidio drops `found` because of `other`, whatever their scores turn out to be: of one kind, what lies inside goes."""
    return _hides(found, other) and other.low >= found.high and (other.start, other.end, other.low) != (found.start, found.end, found.high)


def _hides(found: Candidate, other: Candidate) -> bool:
    return other.entity == found.entity and other.start <= found.start and found.end <= other.end


def groups(spans: Iterable[_Span]) -> Iterator[list[_Span]]:
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
