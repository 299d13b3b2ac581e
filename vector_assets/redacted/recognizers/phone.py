"""Phone numbers: by their form where it is one that only phone numbers have, else by a word or a column heading that says so.

Written from E.164 (a plus, at most 15 digits) and from how national plans are usually spelt; whether a number is given to anybody is not
asked (Presidio's own recognizer asks libphonenumber): people write numbers that never were, and those are personal data as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from vector_assets.redacted.recognizers.match import Finder, Match
from vector_assets.redacted.recognizers.surroundings import cells, last_before

_EXTENSION = r"(?:\s{0,2},?\s?(?:ext(?:ension|n)?|x|#|poste|int(?:erno)?|durchwahl|dw|wew|toestel)\.?:?\s?\d{1,6}(?!\d))?"
_END = rf"(?!\d){_EXTENSION}"
_MORE = r"[ .\-/()]{0,3}\d"
# Not the decimals of a number; a cell of a CSV file begins behind a comma too, and there signs between the digits tell.
_BEGIN = r"(?<![\w.+-])(?:(?<!\d,)|(?=\(?\d+\)?[ .\-/()]{1,3}\d))"

_INTERNATIONAL = re.compile(rf"(?<![\w+])\(?\+(?: (?=\d{{1,3}}[ .\-(]))?\(?[1-9](?:_?{_MORE}){{7,16}}{_END}", re.IGNORECASE)
_EXIT = re.compile(rf"{_BEGIN}(?:00|011)[ \-]?[1-9](?:{_MORE}){{7,15}}{_END}", re.IGNORECASE)
_NORTH_AMERICAN = re.compile(
    r"(?<![\w-])(?:1[ .\-]{0,3})?(?:\(\d{3}\)[ .\-/]{0,3}|\d{3}[ .\-/_]{1,3})\d{3}[ .\-_]{1,3}\d{4}(?![.\-]?\d)" + _EXTENSION,
    re.IGNORECASE,
)
_AREA = re.compile(rf"(?<![\w.])(?:[78][ \-]?)?\(0?\d{{1,5}}\)[ \-/.]{{0,3}}\d(?:[ .\-/]?\d){{4,9}}{_END}", re.IGNORECASE)
_TRUNK = re.compile(rf"{_BEGIN}(?<!:)0\d{{1,5}}(?:{_MORE}){{5,10}}{_END}", re.IGNORECASE)
_GROUPED = re.compile(r"(?<![\w.:+/$€£#-])(?:[1-9]|0(?= \d))\d{0,4}(?:([ .\-/])\d{2,7})(?:[ .\-]\d{2,4}){0,4}(?![.:/-]?\d|,\d{1,2}(?!\d))")
_PLAIN = re.compile(
    r"(?<![\w.:+/$€£#=-])(?<!\d,)(?:0[1-9]\d{7,9}|[2-9]\d{9}|[36-9]\d{8}|1[3-9]\d{9}|1[2-9]\d{2}[2-9]\d{6})(?![.:/-]?\d|,\d{1,2}(?!\d)|[\w%€$£])"
)
_SINGLE = re.compile(r"(?<![\w.,])\(?\d\)?(?:[ .\-]{1,3}\(?\d\)?){8,11}(?![.,]?\d|[ \-]\d)")
_CLOSE = re.compile(rf"(?<![\w.+])(?<!\d,)\(?\+?\d(?:{_MORE}){{5,15}}{_END}", re.IGNORECASE)

_FORMS = {
    *((3, 3, 3), (2, 3, 2, 2), (3, 2, 2, 2), (3, 3, 2, 2), (3, 2, 3), (3, 3, 4), (5, 5), (3, 4, 4), (2, 5, 4), (2, 4, 4), (2, 2, 2, 2, 2)),
    *((2, 2, 2, 2), (3, 6), (3, 7), (4, 6), (1, 3, 3, 2, 2), (1, 3, 3, 4), (1, 2, 3, 2, 2), (1, 4, 4), (1, 3, 3, 3)),
}
# What a first group of one digit is: 1 of North America, 7 and 8 of Russia, 0 in front of an area.
_TRUNKS = {(1, 3, 3, 2, 2): "078", (1, 3, 3, 4): "0178", (1, 2, 3, 2, 2): "0", (1, 4, 4): "0", (1, 3, 3, 3): "0"}
_LISTS = {(2, 2, 2, 2), (1, 3, 3, 3)}  # may be four amounts
_YEAR = re.compile(r"(?:19|20)\d\d[ .\-]")
_DATE = re.compile(
    r"(?:\d{1,2}([./\- ])\d{1,2}\1(?:19|20)\d{2}|(?:19|20)\d{2}([./\- ])\d{1,2}\2\d{1,2})(?!\d)|\d{1,2}([./\-])\d{1,2}\3\d{2}\Z"
)
_VERSION = re.compile(r"\d+(?:\.\d+){3}(?!\d)|\d{1,3}\.\d+\Z|\d{1,2}\.\d{1,2}\.\d{1,2}(?!\d)")
_WORDS = re.compile(
    r"\b(?:(?:tele)?(?:phone|fon|fono|foon|fone)\w*|t[eé]l(?:[eé](?:phone|fono)\w*)?|tel(?:ef)?|ph|mob(?:ile|il\w*)?|m[oó]vil\w*"
    r"|cell(?:phone|ulare|ular)?s?|celular|handy\w*|gsm|fax|call\w*|dial|ring|sms|text(?:ed)?|whats ?app|viber|hotline|reach\w*|kontakt\w*"
    r"|contact\w*|appel\w*|joindre|llam\w*|chiam\w*|(?:an)?ruf\w*|erreich\w*|bel(?:len)?|zadzwo\w*|kom[oó]rk\w*|portable|ligue|[tmp](?=:)"
    r"|(?:my|his|her|your|our|their|new|old) number)\b|[☎📞📱]",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"\b(?:orders?|bestell\w*|invoices?|rechnung\w*|factura|fattura|facture|faktur\w*|tickets?|cases?|ref(?:erence|s)?|ids?|sku|serial|account"
    r"|acct|tracking|parcel|isbn|issn|doi|version|build|batch|lot|part|item|article|commits?|timestamp|epoch|bytes?|size|total|sum|price"
    r"|amount|port|pid|uid|gid|bug|issue|pr|rfc|zip|ean|upc|vin|imei|customer|client|policy|contract|kunden\w*)\b",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"^\W*(?:\w+[ _-])?(?:phone|tel|mobile?|cell|fax|handy|telefo\w+|t[eé]l[eé]\w+|m[oó]vil|contact|gsm|cellulare)\w*(?:[ _-]\w+)?\W*$",
    re.IGNORECASE,
)
_LIMITS = {"2147483647", "2147483648", "4294967295", "4294967296"}  # of 32 bits: every program is full of them
_QUANTITY = re.compile(
    r"\s?(?:[€$£¥%]|(?:EUR|USD|GBP|PLN|CHF|kg|km|kB|MB|GB|ms|bytes|rows|users|people|times|inhabitants)\b)|\.\d|,\d{1,2}(?!\d)",
    re.IGNORECASE,
)


def _find(text: str) -> Iterator[Match]:
    for pattern, score in ((_INTERNATIONAL, 0.9), (_NORTH_AMERICAN, 0.8), (_AREA, 0.75)):
        for match in pattern.finditer(text):
            yield Match(*match.span(), score)
    for pattern, is_phone in ((_EXIT, _is_exit), (_TRUNK, _is_trunk), (_GROUPED, _is_grouped), (_SINGLE, _is_single), (_PLAIN, _is_plain)):
        for match in pattern.finditer(text):
            if is_phone(text, match):
                yield Match(*match.span(), 0.6)
    yield from _named(text)


def _named(text: str) -> Iterator[Match]:
    """Numbers that a word before them, or the heading of their column, calls phone numbers."""
    if _WORDS.search(text):
        for match in _CLOSE.finditer(text):
            if not _DATE.match(match.group()) and not _VERSION.match(match.group()) and _is_called_phone(text, match.start()):
                yield Match(*match.span(), 0.7)
    for start, end in cells(text, _HEADING):
        if _CLOSE.fullmatch(text[start:end]):
            yield Match(start, end, 0.7)


def _is_called_phone(text: str, start: int) -> bool:
    said = last_before(text, start, _WORDS)
    return said >= 0 and said > last_before(text, start, _OTHER)


def _is_something_else(text: str, match: re.Match[str]) -> bool:
    """Whether a word says that it is another number, or a unit that it is a quantity."""
    other = last_before(text, match.start(), _OTHER, reach=24)
    quantity = not match.group().startswith("0") and _QUANTITY.match(text, match.end())
    return (other >= 0 and other > last_before(text, match.start(), _WORDS)) or bool(quantity)


def _is_exit(text: str, match: re.Match[str]) -> bool:
    digits = sum(map(str.isdigit, match.group()))
    return digits >= (10 if len(match.group()) > digits else 12) and not _is_something_else(text, match)


def _is_trunk(text: str, match: re.Match[str]) -> bool:
    number = match.group()
    if _DATE.match(number) or number.count(".") == 3:
        return False
    return (len(number) >= 10 or not number.isdigit()) and not _is_something_else(text, match)


def _is_grouped(text: str, match: re.Match[str]) -> bool:
    number = match.group()
    sizes, between = tuple(map(len, re.split(r"[ .\-/]", number))), {sign for sign in number if not sign.isdigit()}
    if match[1] == "/":
        return sizes in {(2, 3, 3), (2, 3, 4)} and not _is_something_else(text, match)
    thousands = between == {"."} and set(sizes) == {3}
    even = between <= {" ", "-"} or len(between) == 1
    counted = (sizes in _LISTS and (between != {" "} or _is_counted(number))) or (len(sizes) == 2 and _YEAR.match(number))
    written = even and not thousands and not counted and number[0] in _TRUNKS.get(sizes, number)
    return sizes in _FORMS and written and not _DATE.match(number) and not _is_something_else(text, match)


def _is_counted(number: str) -> bool:
    """Whether its groups only rise or only fall, as in a list."""
    groups = list(map(int, number.split()))
    return groups in (sorted(groups), sorted(groups, reverse=True))


def _is_single(text: str, match: re.Match[str]) -> bool:
    """Nine digits and more, each on its own: not counting up or down, and not zeros and ones."""
    digits = [int(digit) for digit in match.group() if digit.isdigit()]
    steps = {after - before for before, after in pairwise(digits)}
    return len(set(digits)) > 3 and len(steps) > 2 and not _is_something_else(text, match)


def _is_plain(text: str, match: re.Match[str]) -> bool:
    return match.group() not in _LIMITS and not _is_something_else(text, match)


PHONE = Finder("PHONE_NUMBER", re.compile(r"\d(?:\D{0,4}\d){5}").search, _find)
