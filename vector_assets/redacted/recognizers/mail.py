"""E-mail addresses: as RFC 5321 writes them, inside links, and as people spell them to fool machines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vector_assets.redacted.recognizers.match import Finder, Match

# Characters that names have; Presidio's own recognizer has the rare rest of RFC 5322's atext. `%`, `/` and `=` would eat up links.
_LOCAL = r"[\w.+'#-]"
_LABEL = r"\w(?:[\w-]{0,61}\w)?"
_TOP = r"(?:xn--[\w-]{2,59}|[^\W\d_]{2,63})"
_HOST = rf"(?:(?:{_LABEL}\.){{1,12}}{_TOP}|\[?\d{{1,3}}(?:\.\d{{1,3}}){{3}}\]?|\[IPv6:[0-9a-f:.]{{2,45}}\])"
_AT = r"(?:@|%40|&#(?:64|x40);|&commat;|\\u0040)"
_PLAIN = re.compile(rf"(?<!{_LOCAL}){_LOCAL}{{1,128}}+{_AT}{_HOST}", re.IGNORECASE)
_QUOTED = re.compile(rf'"[^"\n@]{{1,64}}"@{_HOST}', re.IGNORECASE)

# Where signs are replaced or set apart, prose looks alike ("lunch @ noon. It"), so the last label has to be one that people use.
_USUAL = r"(?:com|org|net|edu|gov|mil|int|info|biz|name|pro|app|dev|cloud|email|online|site|tech|xyz|[a-z]{2})\b"
_DOT = r"(?:\.|\s?[\[({<]\s?(?:\.|dot|punkt|punto|point|ponto|punt|kropka)\s?[\])}>]\s?|\s(?:dot|punkt|punto|ponto|punt|kropka)\s)"
_SPELT_DOT = r"(?:\s?[\[({<]\s?(?:\.|dot|punkt|punto|point|ponto|punt|kropka)\s?[\])}>]\s?|\s(?:dot|punkt|punto|ponto|punt|kropka)\s)"
_SPELT_AT = r"(?:\s?[\[({<|]\s?(?:at|@|ät|arroba|chez|kukac|małpa)\s?[\])}>|]\s?)"
_NAME = rf"(?<!{_LOCAL}){_LOCAL}{{1,64}}+(?:{_SPELT_DOT}{_LOCAL}{{1,64}}+){{0,3}}"
_PART = r"[\w-]{1,63}"
_SPELT = re.compile(
    rf"{_NAME}(?:{_SPELT_AT}{_PART}(?:{_DOT}{_PART}){{0,4}}{_DOT}|\s(?:at|arroba)\s{_PART}(?:{_DOT}{_PART}){{0,4}}{_SPELT_DOT}){_USUAL}"
    rf"|{_NAME}\s?@\s?{_PART}(?:{_DOT}{_PART}){{0,4}}{_SPELT_DOT}{_USUAL}",
    re.IGNORECASE,
)
_APART = re.compile(
    rf"(?<!{_LOCAL}){_LOCAL}{{1,64}}+(?: \. {_LOCAL}{{1,64}}+){{0,3}}\s{{0,3}}@\s{{0,3}}{_PART}"
    rf"(?:(?:\.| \. ){_PART}){{0,4}}(?:\.| \. ){_USUAL}",
    re.IGNORECASE,
)
_LETTERS_APART = re.compile(r"(?<!\S)(?:[\w.+-] ){2,64}@(?: [\w.-]){4,64}(?!\S)")
_UNDERSCORED = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z0-9.-]{1,64}?[_-]at[_-][A-Za-z0-9]{1,63}[_-]dot[_-][a-z]{2,10}(?![A-Za-z])", re.IGNORECASE
)

_SET_APART = re.compile(r"\s@|@\s| \. ")
_HAS_AT_SIGN = re.compile(r"@|%40|&#|&commat|\\u0040", re.IGNORECASE)
_HAS_WORD = re.compile(
    r"[\[({<|]\s?(?:at|@|ät|arroba|chez|kukac|małpa)\s?[\])}>|]|[\[({<]\s?\.\s?[\])}>]|[^a-z](?:dot|punkt|punto|point|ponto|punt|kropka)[^a-z]",
    re.IGNORECASE,
)


def _find(text: str) -> Iterator[Match]:
    if _HAS_AT_SIGN.search(text):
        yield from _all(text, 1.0, _PLAIN, _QUOTED)
        if _SET_APART.search(text):
            yield from _all(text, 0.6, _APART, _LETTERS_APART)
    if _HAS_WORD.search(text):
        yield from _all(text, 0.6, _SPELT, _UNDERSCORED)


def _all(text: str, score: float, *patterns: re.Pattern[str]) -> Iterator[Match]:
    for pattern in patterns:
        for match in pattern.finditer(text):
            yield Match(*match.span(), score)


EMAIL = Finder("EMAIL_ADDRESS", re.compile(f"{_HAS_AT_SIGN.pattern}|{_HAS_WORD.pattern}", re.IGNORECASE).search, _find)
