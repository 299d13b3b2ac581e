"""Keys of programming interfaces, tokens and passwords: by the prefixes that issuers give them, or by the word they are assigned to."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain

from vector_assets.redacted.recognizers.match import Finder, Match
from vector_assets.redacted.recognizers.surroundings import cells

# What a token begins with, or cannot be without, and its whole form as the issuer documents it, or as it is seen.
_ISSUED = {
    **dict.fromkeys(
        ("AKIA", "ASIA", "AROA", "AIDA", "AGPA", "AIPA", "ANPA", "ANVA", "ABIA", "ACCA"), r"A[A-Z]{2}A[A-Z0-9]{16}(?![A-Z0-9])"
    ),  # AWS
    **dict.fromkeys(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{36,255}"),  # GitHub
    "github_pat_": r"github_pat_[A-Za-z0-9_]{22,255}",
    "gl": r"gl(?:pat|dt|rt|rtr|oas|ptt|ft|imt|agent|cbt|soat|ffct|wt)-[\w.-]{20,300}",  # GitLab
    "xox": r"xox[abceoprs]-[A-Za-z0-9-]{10,255}",  # Slack
    "xapp-": r"xapp-\d-[A-Za-z0-9-]{20,255}",
    "hooks.slack.com/": r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/]{20,120}",
    **dict.fromkeys(("_live_", "_test_", "_prod_"), r"(?:sk|rk|pk)_(?:live|test|prod)_[A-Za-z0-9]{10,247}"),  # Stripe
    "whsec_": r"whsec_[A-Za-z0-9+/=]{24,100}",
    "AIza": r"AIza[\w-]{35}(?![\w-])",  # Google
    "ya29.": r"ya29\.[\w.-]{20,2048}",
    "GOCSPX-": r"GOCSPX-[\w-]{20,60}",
    "sk-": r"sk-[A-Za-z0-9_-]{20,255}",  # OpenAI, Anthropic and those who followed them
    **{
        f"{prefix}_": rf"{prefix}_[\w-]{{24,512}}"
        for prefix in (
            *("hf", "npm", "gsk", "r8", "sbp", "sb_secret", "glsa", "glc", "ntn", "lin_api", "sntrys", "dckr_pat", "dckr_oat", "figd"),
            *("dop_v1", "doo_v1", "dor_v1", "shpat", "shpca", "shppa", "shpss", "pscale_tkn", "pscale_pw", "rubygems", "fo1", "phc", "phx"),
            *("vercel_blob_rw", "sgp", "co_api", "FLWSECK", "FLWSECK_TEST"),
        )
    },
    **{
        f"{prefix}-": rf"{prefix}-[\w-]{{24,512}}"
        for prefix in ("pplx", "nvapi", "NRAK", "PMAK", "HRKU", "key", "xai", "tvly", "CFPAT", "tskey")
    },
    "pypi-": r"pypi-[\w-]{50,512}",
    **{prefix: rf"{prefix}[\w=-]{{28,512}}" for prefix in ("ATATT3", "ATCTT3", "ATBB", "EAAA", "EAAC", "dapi", "AKCp", "cmVmdGtuOj")},
    "rzp_": r"rzp_(?:live|test)_[A-Za-z0-9]{14,64}",  # Razorpay
    "amzn.mws.": r"amzn\.mws\.[0-9a-f-]{36}",
    "LTAI": r"LTAI[A-Za-z0-9]{12,30}(?![A-Za-z0-9])",  # Alibaba
    "-us": r"[0-9a-f]{32}-us\d{1,2}(?!\d)",  # Mailchimp
    "ops_eyJ": r"ops_eyJ[\w-]{100,2048}",  # 1Password
    "sl.": r"sl\.[\w-]{100,300}",  # Dropbox
    **dict.fromkeys(("MT", "MD", "Mz", "Nz", "OD", "Nj", "Nt", "OT"), r"[MNO][A-Za-z0-9]{23,27}\.[\w-]{6}\.[\w-]{27,40}"),  # Discord
    "secret_": r"secret_[A-Za-z0-9]{40,50}(?![\w])",  # Notion
    "pat": r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}",  # Airtable
    "api/webhooks/": r"discord(?:app)?\.com/api/webhooks/\d{16,20}/[\w-]{40,100}",
    "access_token$": r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}",  # Braintree
    "AKID": r"AKID[A-Za-z0-9]{32}(?![A-Za-z0-9])",  # Tencent
    "SG.": r"SG\.[\w-]{16,32}\.[\w-]{16,64}",  # SendGrid
    **{prefix: rf"{prefix}[0-9a-f]{{32}}(?![0-9a-f])" for prefix in ("SK", "AC")},  # Twilio
    "sq0": r"sq0[a-z]{3}-[\w-]{22,64}",  # Square
    **{f"hv{kind}.": rf"hv{kind}\.[\w-]{{24,300}}" for kind in "sbr"},  # Vault
    ":AA": r"\d{8,10}:AA[\w-]{33}(?![\w-])",  # Telegram
    "AGE-SECRET-KEY-1": r"AGE-SECRET-KEY-1[A-Z0-9]{58}",
    "eyJ": r"eyJ[\w-]{6,8192}\.[\w-]{2,16384}(?:\.[\w-]{0,16384}){0,3}",  # JSON web tokens (RFC 7515, RFC 7516)
}
_FORMS = {sign: re.compile(rf"(?<![A-Za-z0-9]){form}") for sign, form in _ISSUED.items()}
_PEM_BEGIN = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_PEM_END = re.compile(r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_PEM_BODY = re.compile(r"(?:[\w+/=:,.;\s\\\"'-]{0,16384})")

_NAME = (
    r"(?:(?:api|access|private|account|encryption|signing|license|secret)[ _-]?(?:access[ _-]?)?keys?(?:[ _-]?id)?|secrets?|tokens?|bearer"
    r"|pass(?:word|wd|phrase|code|wort)s?|pwd|pw|kennwort|mot de passe|contraseña|wachtwoord|hasło|credentials?|auth(?:orization)?"
    r"|signature)"
)
# In lower case; one of them is in every name above and below.
_NAMES = (
    "key",
    "secret",
    "token",
    "pass",
    "pwd",
    "pw",
    "kennwort",
    "contraseña",
    "wachtwoord",
    "hasło",
    "credential",
    "auth",
    "bearer",
    "basic",
    "signature",
)
_IS = r"[\"'`*\]]{0,3}(?:\s{0,3}(?::=|=>|==?|:)\s{0,3}|\s(?:is|was|ist|lautet|es|est|are)\s{0,2}:?\s?)"
_ASSIGNED = re.compile(
    rf"(?:{_NAME}|\bkey){_IS}(?:(?:bearer|basic|token|digest)\s)?[\"'`]{{0,3}}([^\s\"'`<>,;(){{}}\[\]|]{{6,1024}})", re.IGNORECASE
)
_NAMED = re.compile(rf"{_NAME}[\"'`]?[ \t]{{1,3}}[\"'`]?([A-Za-z0-9_+/=.-]{{20,512}})", re.IGNORECASE)
_CALLED = r"(?:pass(?:word|wd|phrase|code|wort|(?=[\"']?\s?[:=]))|pwd|pw|kennwort|mot de passe|contraseña|wachtwoord|hasło)"
_GIVEN = re.compile(
    rf"{_CALLED}{_IS}(?:\"(?P<double>[^\"\n]{{6,256}})\"|'(?P<single>[^'\n]{{6,256}})'|(?P<bare>[^\s\"'][^\s]{{5,256}}))"
    rf"|{_CALLED}[ \t](?P<strong>[^\s`=(),{{}}]{{8,64}})",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\b(?:bearer|basic)\s{1,2}([A-Za-z0-9._~+/-]{16,4096}=*)", re.IGNORECASE)
_HEADING = re.compile(
    r"^\W*(?:\w+[ _-])?(?:api[ _-]?key|access[ _-]?key|secret|token|password|passwd|pwd|passphrase|credential)s?(?:[ _-]\w+)?\W*$",
    re.IGNORECASE,
)
_VALUE = re.compile(r"[^\s\"'`<>|]{6,1024}")
_REFERENCE = re.compile(
    r"\$[{(]|\$[A-Z_]{3}|%\(|\*{3}|\{\{|<|(?i:[a-z_][a-z_.]{2,}[(\[]|(?:os|process|env|settings|config|self|request|args)\.)"
)


def _find(text: str) -> Iterator[Match]:
    for form in dict.fromkeys(form for sign, form in _FORMS.items() if sign in text):
        for match in form.finditer(text):
            yield Match(*match.span(), 1.0)
    if "PRIVATE KEY" in text:
        yield from _pem(text)
    lower = text.lower()
    if any(name in lower for name in _NAMES):
        yield from _assigned(text)
        for start, end in cells(text, _HEADING):
            if _VALUE.fullmatch(text[start:end]) and _is_password(text[start:end]):
                yield Match(start, end, 0.7)


def _assigned(text: str) -> Iterator[Match]:
    """Values behind a name and `=`, `:` or `is`; long ones and strong passwords also behind the name alone."""
    for match in chain(_ASSIGNED.finditer(text), _NAMED.finditer(text)):
        value = match[1].rstrip(".:")
        if _is_random(value):
            yield Match(match.start(1), match.start(1) + len(value), 0.8)
    for match in _HEADER.finditer(text):
        if _is_random(match[1]):
            yield Match(*match.span(1), 0.8)
    for match in _GIVEN.finditer(text):
        group = match.lastgroup or ""
        value = match[group].rstrip(".,:;") if group in ("bare", "strong") else match[group]
        if _is_password(value, least=3 if group == "strong" else 0):
            yield Match(match.start(group), match.start(group) + len(value), 0.8)


def _pem(text: str) -> Iterator[Match]:
    """Private keys between their lines; of one whose end is missing, what may belong to it."""
    place = 0
    while begin := _PEM_BEGIN.search(text, place):
        end = _PEM_END.search(text, begin.end())
        place = end.end() if end else _PEM_BODY.match(text, begin.end()).end()  # type: ignore[union-attr]  # it matches "" too
        yield Match(begin.start(), place, 1.0)


def _is_random(value: str) -> bool:
    """Whether it looks drawn by lot rather than written: letters and digits, and 3 bits of entropy per character. Words, paths,
    placeholders and references have no digits, or too little of it."""
    mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return mixed and len(value) >= 12 and entropy(value) >= 3.0 and not _REFERENCE.match(value)


def _is_password(value: str, *, least: int = 0) -> bool:
    """Whether it is no word: it has digits or signs, and 2.5 bits of entropy per character. `least`: kinds of characters it has to have,
    of small letters, capitals, digits and signs."""
    kinds = {
        "digit" if c.isdigit() else "sign" if not c.isalpha() else "upper" if c.isupper() else "lower" for c in value if c not in "._-/:"
    }
    written = not kinds & {"digit", "sign"} or _REFERENCE.match(value)
    return not written and len(value) >= 6 and len(kinds) >= least and entropy(value) >= 2.5


def entropy(value: str) -> float:
    """Shannon's entropy of the characters, in bits per character."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())


def _needs(text: str) -> bool:
    lower = text.lower()
    return any(sign in text for sign in _FORMS) or "PRIVATE KEY" in text or any(name in lower for name in _NAMES)


API_KEY = Finder("API_KEY", _needs, _find)
