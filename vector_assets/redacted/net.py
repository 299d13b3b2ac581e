"""The second net: looks through text that was redacted for identifiers that must not be in it any more. Pure; no Presidio, no spaCy.

Written apart from the recognizers on purpose: what one of the two overlooks, the other one sees. It blocks a publication, so it is
conservative: only what a checksum, a fixed prefix or a strict form gives away. Names and places have none of these.

Every pattern begins at something rare (an @, a digit after a non-digit, a key's prefix) and is bounded behind it, so that the time grows
with the length of the text: 54,000 texts of 140 characters a second, and 100 kB made to be slow in 50 ms.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

NET_VERSION: int = 1
"""Raise it whenever the net finds more or less: everything that is published is then looked through once more."""


class Kind(NamedTuple):
    """One kind of identifier: the entity of a policy that asks for it, and everything in a text that may be one."""

    entity: str
    candidates: Callable[[str], Iterator[str]]


class Net:
    """Looks for the identifiers that a policy names. `allowed`: exact strings that may stay, whatever they look like."""

    def __init__(self, entities: Iterable[str], allowed: Collection[str] = ()) -> None:
        named = set(entities)
        self._with_prefix = [kind for kind in _WITH_PREFIX if kind.entity in named]
        self._with_at = [kind for kind in _WITH_AT if kind.entity in named]
        self._with_digits = [kind for kind in _WITH_DIGITS if kind.entity in named]
        self._allowed = frozenset(each.casefold() for each in allowed)

    def entities(self, text: str) -> set[str]:
        """Entities of which at least one is in the text; of a policy that names none of ours: none."""
        if not text.isascii():
            text = _plain(text)
        if ":" in text and "<" in text:
            text = _PSEUDONYM.sub("<>", text)
        kinds = list(self._with_prefix) if any(prefix in text for prefix in _PREFIXES) or _COIN.search(text) else []
        if "@" in text:
            kinds += self._with_at
        if text.count(":") > 1 or _DIGITS.search(text):
            kinds += self._with_digits
        return {kind.entity for kind in kinds if self._has(kind, text)}

    def _has(self, kind: Kind, text: str) -> bool:
        if not self._allowed:
            return next(kind.candidates(text), None) is not None
        return any(found.casefold() not in self._allowed for found in kind.candidates(text))


# Ours (`operators.py`). Of a million, 16 have 16 decimal digits that pass for a card.
_PSEUDONYM = re.compile(r"<[A-Z][A-Z0-9_]{0,49}:[0-9a-f]{6}:[0-9a-f]{16}>")

# --- the text as the net sees it -------------------------------------------------------------------------------------------------------

# Zero-width, bidirectional and variation characters, soft hyphen, Unicode tags: they break a pattern and show nothing.
_HIDDEN = [
    *(0xAD, 0x34F, 0x61C, 0x180E, 0xFEFF),
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xFE00, 0xFE10),
    *range(0xE0000, 0xE0080),
]
_FULLWIDTH = {0xFF01 + offset: 0x21 + offset for offset in range(94)}
# Arabic-Indic, its eastern form, Devanagari, and the five mathematical alphabets.
_DECIMALS = {zero + digit: 0x30 + digit for zero in (0x660, 0x6F0, 0x966, *range(0x1D7CE, 0x1D7FF, 10)) for digit in range(10)}
_SPACES = dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_DASHES = dict.fromkeys([*range(0x2010, 0x2016), 0x2212], "-")
_FOLDED: dict[int, int | str | None] = {**dict.fromkeys(_HIDDEN), **_FULLWIDTH, **_DECIMALS, **_SPACES, **_DASHES}


def _plain(text: str) -> str:
    """Hidden characters out; fullwidth forms, digits of other scripts, odd spaces and dashes as ASCII."""
    return text.translate(_FOLDED)


# A text with none of these has nothing for the kinds behind them.
_PREFIXES = (
    *("://", "=", "eyJ", "-----BEGIN", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox"),
    *("bc1", "BC1", "0x"),
)
_COIN = re.compile(r"[13](?<![A-Za-z0-9][13])[1-9A-HJ-NP-Za-km-z]{25}")
_DIGITS = re.compile(r"[0-9](?:(?:[^0-9\n]{0,2}[0-9]){5}|\.[0-9]{1,3}\.[0-9]|(?<=[A-Za-z][A-Za-z][0-9])[0-9][ -]?[A-Za-z0-9]{4})")


def _matches(pattern: str, flags: int = 0, *, keep: Callable[[str], bool] = lambda _: True) -> Callable[[str], Iterator[str]]:
    compiled = re.compile(pattern, flags)
    return lambda text: (match.group() for match in compiled.finditer(text) if keep(match.group()))


# --- e-mail ----------------------------------------------------------------------------------------------------------------------------

# From the @: what stands before it is one character that an address may end with, so that a long word before it is not read twice.
_DOMAIN = r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])"
_EMAIL = re.compile(rf"(?<=[\w%+'-])@{_DOMAIN}")
_LOCAL = re.compile(r"[\w.%+'-]{1,64}$")


def _emails(text: str) -> Iterator[str]:
    for match in _EMAIL.finditer(text):
        local = _LOCAL.search(text, max(0, match.start() - 64), match.start())
        yield (local.group() if local else "") + match.group()


# --- numbers with a checksum -----------------------------------------------------------------------------------------------------------


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


# Issuer prefixes and lengths of the networks (ISO/IEC 7812 registry as the networks publish it); Maestro's range is half of all numbers.
_CARD = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12,15}|35(?:2[89]|[3-8]\d)\d{12,15}|62\d{14,17}"
)


def _is_card(found: str) -> bool:
    digits = re.sub("[ -]", "", found)
    return _CARD.fullmatch(digits) is not None and len(set(digits)) > 1 and luhn(digits)


def mod_97(iban: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 13616: rearranged, letters as 10 to 35, modulo 97 is 1)."""
    return int("".join(str(int(each, 36)) for each in iban[4:] + iban[:4])) % 97 == 1


# Lengths by country: the SWIFT IBAN registry.
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA",
        30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9]{4})")
_LONGEST_IBAN = 2 * max(_IBAN_LENGTHS.values())


def _ibans(text: str) -> Iterator[str]:
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match.group()[:2].upper())
        if length is None:
            continue
        window = text[match.start() : match.start() + _LONGEST_IBAN + 1]
        found = re.match(rf"(?:[A-Za-z0-9][ -]?){{{length - 1}}}[A-Za-z0-9](?![A-Za-z0-9])", window)
        if found and mod_97(re.sub("[ -]", "", found.group())):
            yield found.group()


# --- telephone, social security, network addresses -------------------------------------------------------------------------------------

# Country calling codes (ITU-T E.164, assigned codes).
_CALLING = (
    "1 20 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 240 241 242 243 244 245 246 "
    "247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269 27 290 291 297 298 299 30 31 32 33 34 350 "
    "351 352 353 354 355 356 357 358 359 36 370 371 372 373 374 375 376 377 378 380 381 382 383 385 386 387 389 39 40 41 420 421 423 43 "
    "44 45 46 47 48 49 500 501 502 503 504 505 506 507 508 509 51 52 53 54 55 56 57 58 590 591 592 593 594 595 596 597 598 599 60 61 62 "
    "63 64 65 66 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 7 800 808 81 82 84 850 852 853 855 "
    "856 86 870 878 880 881 882 883 886 888 90 91 92 93 94 95 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 979 98 "
    "992 993 994 995 996 998"
).replace(" ", "|")
_PHONE = rf"(?<![\w+.-])\+(?:{_CALLING})(?:(?:[ .-]|[ -]?\([ ]?|\)[ -]?)?[0-9]){{6,13}}(?![0-9])"
_SSN = r"(?<![\w.-])(?!000|666)[0-8][0-9]{2}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-])"
_EXAMPLE_SSNS = {"078-05-1120", "219-09-9999", "123-45-6789"}  # printed on cards and forms: nobody's


def _is_phone(found: str) -> bool:
    digits = re.sub("[^0-9]", "", found)
    if digits.startswith("1"):  # North American Numbering Plan: area and exchange begin with 2 to 9
        return len(digits) == 11 and digits[1] not in "01" and digits[4] not in "01"
    return 8 <= len(digits) <= 15


_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?<![\w.-]){_OCTET}(?:\.{_OCTET}){{3}}(?![\w-]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?![\w:])")
_VERSION = re.compile(r"(?:\bv|\bver|version|release|section|chapter|§)s?[\s.:=]{0,3}$", re.IGNORECASE)
_GROUPS = 4  # of hex digits: fewer may be a::b of some programming language


def _addresses(text: str) -> Iterator[str]:
    for match in _IPV4.finditer(text):
        if _is_somebodys(match.group()) and not _VERSION.search(text, max(0, match.start() - 16), match.start()):
            yield match.group()
    if text.count(":") > 1:
        for match in _IPV6.finditer(text):
            found = match.group()
            groups = sum(1 for group in found.split(":") if group)
            if found.count(":") > 1 and groups >= _GROUPS and _is_somebodys(found):
                yield found


def _is_somebodys(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast or parsed.is_reserved)


# --- credentials -----------------------------------------------------------------------------------------------------------------------

_LOGIN_IN_URL = r"(?<=://)[^\s/@:?#<>]{1,128}:[^\s/@?#<>]{1,256}(?=@)"
_QUERY = r"(?<=[?&])(?:access_token|auth_token|api[_-]?key|client_secret|password|passwd|x-amz-signature)=[\w%.~+/-]{12,}"
_KEY = (
    r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,251}(?![A-Za-z0-9])"
    r"|(?<![A-Za-z0-9])github_pat_[A-Za-z0-9_]{22,255}(?![A-Za-z0-9_])"
    r"|(?<![A-Za-z0-9])xox[abeoprs]-(?=[A-Za-z-]{0,64}[0-9])[A-Za-z0-9-]{10,255}"
    r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
)
_JWT = re.compile(r"(?<![\w-])(eyJ[\w-]{8,})\.eyJ[\w-]{8,}\.[\w-]{8,}", re.ASCII)


def _keys(text: str) -> Iterator[str]:
    yield from _matches_key(text)
    for match in _JWT.finditer(text):
        header = match.group(1)[:512]
        try:
            decoded = base64.urlsafe_b64decode(header[: len(header) // 4 * 4])
        except binascii.Error:
            continue
        if b'"alg"' in decoded or len(match.group(1)) > 512:
            yield match.group()


_matches_key = _matches(_KEY)

# --- coins -----------------------------------------------------------------------------------------------------------------------------

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def base58check(address: str) -> bool:
    """Whether 25 bytes in base 58 end with the first four of their double SHA-256 (Bitcoin's legacy addresses)."""
    number = 0
    for character in address:
        number = number * 58 + _BASE58.index(character)
    if number.bit_length() > 200:
        return False
    data = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(data[:21]).digest()).digest()[:4] == data[21:]


def bech32(address: str) -> bool:
    """Whether the checksum of a segwit address is right (BIP 173, or BIP 350 for later witness versions)."""
    human, _, data = address.lower().rpartition("1")
    values = [ord(c) >> 5 for c in human] + [0] + [ord(c) & 31 for c in human] + [_BECH32.index(c) for c in data]
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATORS):
            check ^= generator if top >> place & 1 else 0
    return check in (1, 0x2BC830A3)


_legacy = _matches(r"(?<![A-Za-z0-9])[13][1-9A-HJ-NP-Za-km-z]{25,34}(?![A-Za-z0-9])", keep=base58check)
_segwit = _matches(rf"(?<![A-Za-z0-9])(?:bc1[{_BECH32}]{{11,71}}|BC1[{_BECH32.upper()}]{{11,71}})(?![A-Za-z0-9])", keep=bech32)
_ether = _matches(r"(?<![A-Za-z0-9])0x[0-9a-fA-F]{40}(?![A-Za-z0-9])", keep=lambda found: len(set(found)) > 4)


def _coins(text: str) -> Iterator[str]:
    for look in (_legacy, _segwit, _ether):
        yield from look(text)


# --- when each is looked for -----------------------------------------------------------------------------------------------------------

_WITH_AT = (Kind("EMAIL_ADDRESS", _emails),)
_WITH_DIGITS = (
    Kind("CREDIT_CARD", _matches(r"(?<![\w.])(?<![0-9]-)[0-9](?:[ -]?[0-9]){12,18}(?![\w-]|\.[0-9])", keep=_is_card)),
    Kind("IBAN_CODE", _ibans),
    Kind("PHONE_NUMBER", _matches(_PHONE, keep=_is_phone)),
    Kind("US_SSN", _matches(_SSN, keep=lambda found: found not in _EXAMPLE_SSNS)),
    Kind("IP_ADDRESS", _addresses),
)
_WITH_PREFIX = (
    Kind("URL_CREDENTIALS", _matches(_LOGIN_IN_URL)),
    Kind("URL_CREDENTIALS", _matches(_QUERY, re.IGNORECASE)),
    Kind("API_KEY", _keys),
    Kind("CRYPTO", _coins),
)
NAMED: frozenset[str] = frozenset(kind.entity for kind in (*_WITH_AT, *_WITH_DIGITS, *_WITH_PREFIX))
"""Entities that the net knows."""
