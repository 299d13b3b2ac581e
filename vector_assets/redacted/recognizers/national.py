"""Social security numbers of the United States: 3-2-4 digits, without the areas, groups and serials that are never given out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vector_assets.redacted.recognizers.match import Finder, Match
from vector_assets.redacted.recognizers.surroundings import cells, last_before

_DIVIDED = re.compile(
    r"(?<![^\W_])(?<![./-])(?:\d{3}([-./ _])\d{2}\1\d{4}|\d ?\d ?\d ?([-./]) ?\d ?\d ?\2 ?\d ?\d ?\d ?\d)(?![^\W_]|[-./]\d)"
)
_PLAIN = re.compile(r"(?<![\w.+-])\d(?:[ .\-_]{0,3}\d){8}(?![\w]|[-.]\d)")
_WORDS = re.compile(
    r"\b(?:ssn|ss ?#|s\.s\.n\.?|soc(?:ial)?[ .\-]{0,2}sec(?:urity)?|social(?: insurance)?|itin|tin"
    r"|tax(?:payer)? ?(?:id\w*|number|no))(?![a-z])",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"^\W*(?:\w+[ _-])?(?:ssn|social[ _-]?security\w*|soc[ _-]?sec\w*|itin|tin|tax[ _-]?id)(?:[ _-]\w+)*\W*$", re.IGNORECASE
)
_NEVER = re.compile(r"000|666|\d{3}00|\d{5}0000")  # Social Security Administration: areas 000 and 666, group 00, serial 0000


def _find(text: str) -> Iterator[Match]:
    for match in _DIVIDED.finditer(text):
        digits = _digits(match.group())
        if not _NEVER.match(digits) and (digits[0] != "9" or digits[3] in "456789"):  # 9: an ITIN, whose fourth digit is 5 and up
            yield Match(*match.span(), 0.85)
    if _WORDS.search(text):
        for match in _PLAIN.finditer(text):
            if last_before(text, match.start(), _WORDS) >= 0:
                yield Match(*match.span(), 0.85)
    for start, end in cells(text, _HEADING):
        if _PLAIN.fullmatch(text[start:end]):
            yield Match(start, end, 0.85)


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


US_SSN = Finder("US_SSN", re.compile(r"\d(?:[ .\-/_]{0,3}\d){8}").search, _find)
