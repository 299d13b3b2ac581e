"""What stands around a number and says what it is: words before it, the heading of its column."""

from __future__ import annotations

import re
from collections.abc import Iterator

_REACH = 64
_DELIMITERS = "|\t;,"
_CELLS = {delimiter: re.compile(rf'(?:"[^"]*"|[^{re.escape(delimiter)}])*+') for delimiter in _DELIMITERS}


def last_before(text: str, start: int, words: re.Pattern[str], *, reach: int = _REACH) -> int:
    """Where the last match of `words` in the `reach` characters before `start` ends; -1: there is none."""
    from_ = max(0, start - reach)
    return max((match.end() + from_ for match in words.finditer(text[from_:start])), default=-1)


def cells(text: str, heading: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """(start, end) of the cells of a CSV, TSV or markdown table below a heading that `heading` matches, without blanks and quotes."""
    wanted: dict[tuple[str, int], list[int]] = {}
    place = 0
    for line in text.splitlines(keepends=True):
        for delimiter in _DELIMITERS:
            if delimiter not in line:
                continue
            spans = _spans(line, delimiter)
            below = wanted.get((delimiter, len(spans)))
            if below is None:
                found = [number for number, (start, end) in enumerate(spans) if end - start <= _REACH and heading.search(line[start:end])]
                if found:
                    wanted[delimiter, len(spans)] = found
                continue
            yield from ((place + start, place + end) for start, end in (spans[number] for number in below) if end > start)
        place += len(line)


def _spans(line: str, delimiter: str) -> list[tuple[int, int]]:
    spans, place = [], 0
    while place <= len(line):
        end = _CELLS[delimiter].match(line, place).end()  # type: ignore[union-attr]  # it matches the empty string too
        cell = line[place:end]
        start = place + len(cell) - len(cell.lstrip(" \"'\t"))
        spans.append((start, max(start, place + len(cell.rstrip(" \"'\t\r\n")))))
        place = end + 1
    return spans
