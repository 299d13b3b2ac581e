"""Addresses of machines (RFC 791, RFC 4291) and secrets inside links (RFC 3986: userinfo, query)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from vector_assets.redacted.recognizers.match import Finder, Match

_OCTET = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
_DOT = r"(?:\.|\[\.\]|\(\.\)|\[dot\]|\(dot\)| \. )"
_V4 = re.compile(
    rf"(?<![\d.])(?<!\w\.){_OCTET}(?:{_DOT}{_OCTET}){{3}}(?!\d|\.\d)(?::\d{{1,5}}(?!\d)|/\d{{1,2}}(?!\d))?",
    re.IGNORECASE,
)
_V6 = re.compile(
    r"(?:(?<![\w:.])|(?<=[g-z]:)|(?<=[g-z][a-f]:)|(?<=[g-z][a-f]{2}:)|(?<=v6:))"  # a word and a colon before it: "client:2001:db8::1"
    r"([0-9a-f:]{1,30}:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:]{2,39})(?:%[\w.-]{1,15})?(?:/\d{1,3})?(?![\w:])",
    re.IGNORECASE,
)
_V6_SIGNS = re.compile(r"[0-9a-f]", re.IGNORECASE)


def _addresses(text: str) -> Iterator[Match]:
    for match in _V4.finditer(text):
        yield Match(*match.span(), 0.9)
    for match in _V6.finditer(text):
        if match[1].count(":") > 1 and _is_v6(match[1]):
            yield Match(*match.span(), 0.9)


def _is_v6(address: str) -> bool:
    """Whether it is an IPv6 address that is not as well a word of C++ (`a::b`) or a slice (`::2`)."""
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    long = len(_V6_SIGNS.findall(address)) > 3
    return address == "::1" or (long and any(map(str.isdigit, address)))


IP = Finder("IP_ADDRESS", re.compile(r"\d(?:\.\d|\[\.|\(\.|\[dot|\(dot| \. )|:[0-9a-f]{0,4}:", re.IGNORECASE).search, _addresses)

# Everything up to the last @ before a slash: passwords hold the other signs unescaped often enough.
_USER_INFO = re.compile(
    r"(?:(?<=://)|(?<=:\\/\\/))(?:[^\s/?#\"'<>@:]{0,128}:(?!\d{1,5}/)[^\s\"'<>]{1,256}@|[^\s/?#\"'<>@:]{16,256}@)[\w.\-\[\]:]{0,253}"
)
_NAMES = (
    r"(?:[\w.-]{0,24}[_.-])?(?:token|secret|passw(?:or)?d|pwd|pass|pw|api_?key|access_?key|apikey|key|sig(?:nature)?|auth(?:orization)?"
    r"|credentials?|session(?:_?id)?|sid|jwt|bearer|assertion|code|otp|code_verifier|private)"
)
_QUERY = re.compile(rf"(?<=[?&;#]){_NAMES}=([^\s&#\"'<>;`|(){{}}\[\]]{{4,2048}})", re.IGNORECASE)


def _credentials(text: str) -> Iterator[Match]:
    for match in _USER_INFO.finditer(text):
        yield Match(*match.span(), 0.95)
    for match in _QUERY.finditer(text):
        yield Match(*match.span(1), 0.95)


URL_CREDENTIALS = Finder("URL_CREDENTIALS", re.compile(r"://|:\\/\\/|[?&;#][\w.-]{2,40}=").search, _credentials)
