"""Payment cards (ISO/IEC 7812: Luhn's check digit, ranges of issuers) and bank accounts (ISO 13616: IBAN, mod 97)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate

from vector_assets.redacted.recognizers.match import Finder, Match

_CARD_RUN = re.compile(
    r"(?:(?<![^\W_])|(?<=card)|(?<=visa)|(?<=\bcc))(?:\d(?:(?:[^\w\n]|_){0,3}\d){11,40}|\d{4}(?:[\W_]{1,3}\d{4}){3})(?![^\W_])",
    re.IGNORECASE,
)
_GROUP = re.compile(r"\d+")
_SHAPES = {(4, 6, 5), (4, 6, 4), (4, 4, 5), (4, 5, 6), (6, 13), (6, 10), (8, 8)}
_LENGTHS = range(12, 20)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
# Issuers by leading digits and lengths: Visa; Mastercard, with its second series; American Express; Diners Club and Discover; JCB;
# UnionPay; Maestro; Mir; Troy, Prostir and RuPay. Ranges overlap in reality too.
_ISSUERS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|[3-6]\d{15}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|3(?:0[0-5]|09|[689]\d)\d{11,16}"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12,15}|35\d{14,17}|(?:2131|1800)\d{11}|62\d{14,17}|(?:50|5[6-9]|6[0-9])\d{10,17}"
    r"|220[0-4]\d{12,15}|9\d{15}|8[12]\d{14}|0604\d{8,15}"
)
_ISSUER = re.compile(r"[3-6]|2[1-7]|1800|9|8[12]|0604")  # what all of them begin with


def _cards(text: str) -> Iterator[Match]:
    for run in _CARD_RUN.finditer(text):
        groups = [match.span() for match in _GROUP.finditer(text, *run.span())]
        digits = "".join(text[start:end] for start, end in groups)
        ends = list(accumulate(end - start for start, end in groups))  # of each group, in `digits`
        for first, (start, at) in enumerate(zip((start for start, _ in groups), [0, *ends], strict=False)):
            if not _ISSUER.match(digits, at):
                continue
            for last in range(len(groups) - 1, first - 1, -1):
                number = digits[at : ends[last]] if ends[last] - at in _LENGTHS else ""
                if _ISSUERS.fullmatch(number) and _is_divided_like_a_card(text, groups, first, last) and luhn(number):
                    yield Match(start, groups[last][1], 1.0)
                    break


def _is_divided_like_a_card(text: str, groups: list[tuple[int, int]], first: int, last: int) -> bool:
    sizes = tuple(end - start for start, end in groups[first : last + 1])
    if len(sizes) == 1:
        return not text.endswith("0.", 0, groups[first][0])  # else the decimals of a number, one in 40 of which would pass
    if sizes in _SHAPES or (set(sizes[:-1]) <= {4} and sizes[-1] <= 4):
        return True
    between = {text[groups[n][1] : groups[n + 1][0]] for n in range(first, last)}
    whole = first == 0 and last == len(groups) - 1
    if set(sizes) <= {1} or set(sizes) <= {2}:
        return whole or len(between) == 1
    return whole and between <= {" ", "-", "."}


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = sum(int(digit) for digit in digits[-1::-2]) + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])
    return total % 10 == 0


CARD = Finder("CREDIT_CARD", re.compile(r"\d(?:[\W_]{0,3}\d){11}").search, _cards)

# The IBAN registry's lengths, and those of countries that use the form without being in it.
_IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24 AE23 AL28 AO25 AT20 AZ28 BA20 BE16 BF28 BG22 BH22 BI27 BJ28 BR29 BY28 CF27 CG27 CH21 CI28 CM27 CR22 CV25 CY28 "
        "CZ24 DE22 DJ27 DK18 DO28 DZ26 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GA27 GB22 GE22 GI23 GL18 GQ27 GR27 GT28 GW25 HN28 "
        "HR21 HU28 IE22 IL23 IQ23 IR26 IS26 IT27 JO30 KM27 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MA28 MC27 MD24 ME22 "
        "MG27 MK19 ML28 MN20 MR27 MT31 MU30 MZ25 NE28 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 "
        "SD18 SE24 SI19 SK24 SM27 SN28 SO23 ST25 SV28 TD27 TG28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 ",
    )
}
_IBAN_START = re.compile(r"(?:(?<![A-Za-z0-9])|(?<=iban))[a-z] ?[a-z][ .\-]?\d ?\d", re.IGNORECASE)
_IBAN_LIKE = re.compile(
    r"(?<![A-Za-z0-9])[a-z]{2}\d\d(?:[a-z0-9]{10,30}|(?:([ \-])[a-z0-9]{4}(?:\1[a-z0-9]{4}){1,6}(?:\1[a-z0-9]{1,3})?))(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_IBAN_NEXT = re.compile(r"[\W_]{0,3}([A-Za-z0-9])")


def _ibans(text: str) -> Iterator[Match]:
    for start in _IBAN_START.finditer(text):
        account = alphanumeric(start.group())
        length, end = _IBAN_LENGTHS.get(account[:2], 0), start.end()
        while len(account) < length and (match := _IBAN_NEXT.match(text, end)):
            account += match[1].upper()
            end = match.end()
        # Words and a few digits pass for an account once in 97 times ("at 20 percent of ..."); real ones are digits for the most part.
        whole = length == len(account) and not text[end : end + 1].isalnum() and 3 * sum(map(str.isdigit, account)) >= length
        if whole and is_account(account):
            yield Match(start.start(), end, 1.0)
    # Of another length than its country's: what is written in one piece, or in fours, and has the right check digits, is meant as one.
    for match in _IBAN_LIKE.finditer(text):
        if is_account(alphanumeric(match.group())):
            yield Match(*match.span(), 0.9)


def alphanumeric(text: str) -> str:
    """Letters and digits alone, in capitals."""
    return "".join(filter(str.isalnum, text)).upper()


def is_account(account: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 13616): with its first four characters moved behind, it leaves 1."""
    return mod97(account[4:] + account[:4])


def mod97(characters: str) -> bool:
    """Whether letters and digits leave 1 (ISO/IEC 7064, MOD 97-10; A is 10, Z is 35)."""
    return characters.isascii() and int("".join(str(int(character, 36)) for character in characters)) % 97 == 1


IBAN = Finder("IBAN_CODE", re.compile(r"[a-z] ?[a-z][ .\-]?\d ?\d[\W_]{0,3}[a-z0-9]", re.IGNORECASE).search, _ibans)
