"""A plainer view of a text for detectors: what looks the same to a reader is the same character, what cannot be seen is gone. Pure.

A detector that knows `john@example.com` must not be stopped by a zero-width space inside, fullwidth letters or a Cyrillic `о`. The view is
only searched: `Folded.span` says where a finding lies in the original, whose characters (the hidden ones inside too) are replaced.

- Characters that show nothing go (format and control characters but whitespace, and what else Unicode lists as default ignorable), and so
  do accents and strokes that are put over an ASCII letter or digit as a character of their own.
- Letters, digits and ASCII punctuation in another form (fullwidth, mathematical, circled, superscript, ligatures) become plain by their
  compatibility decomposition (UAX 15); decimal digits of any script become 0-9, spaces U+0020, hyphens `-`, dots `.`.
- Dashes that prose uses too become `-` only between digits, between letters that they join, and in rows; raised dots `.` between digits.
- Letters of other scripts that look Latin become Latin only in words without any other letter of theirs: those that have a Latin letter or
  a digit as well, and those of an e-mail address. Russian and Greek stay as they are. The table is the part of Unicode's confusables
  (UTS 39) that a reader hardly tells apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

# Code point and the ASCII letter that it looks like: Latin beyond ASCII, Greek, Cyrillic, Armenian.
_LOOKALIKES = {
    int(code, 16): letter
    for code, letter in re.findall(
        r"([0-9A-F]{4})([A-Za-z])",
        "0131i 0251a 0261g 0269i 028FY 037FJ 0391A 0392B 0395E 0396Z 0397H 0399I 039AK 039CM 039DN 039FO 03A1P 03A4T 03A5Y 03A7X "
        "03B1a 03B3y 03B5e 03B7n 03B9i 03BAk 03BDv 03BFo 03C1p 03C4t 03C5u 03C7x 03C9w 03F2c 03F3j 03F9C 0405S 0406I 0408J 0410A "
        "0412B 0415E 041AK 041CM 041DH 041EO 0420P 0421C 0422T 0423Y 0425X 042Cb 0430a 0432b 0433r 0435e 043Ak 043Cm 043Dh 043Eo "
        "043Fn 0440p 0441c 0442t 0443y 0445x 044Cb 0455s 0456i 0458j 0474V 0475v 04BBh 04C0I 04CFl 0501d 050CG 051AQ 051Bq 051CW "
        "051Dw 054DU 054FS 0555O 0561w 0566q 0570h 0578n "
        "057Du 0581g 0584f 0585o 1D00a ",
    )
}
_PUNCTUATION = {
    **dict.fromkeys("\u02d7\u2010\u2011\u2043\u2212\u2796", "-"),
    **dict.fromkeys("\u3002\uff61", "."),
    **dict.fromkeys("\u2044\u2215", "/"),
    "\u2236": ":",
    "\u2800": " ",  # a braille cell without dots
}
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_FORMS = ("<wide>", "<narrow>", "<small>", "<font>", "<circle>", "<square>", "<super>", "<sub>", "<compat>")
_MARKS = re.compile(f"(?<=[A-Za-z0-9{''.join(map(chr, _LOOKALIKES))}])[\u0300-\u036f\u20d0-\u20f0]+")
_LOOKALIKE = re.compile(f"[{''.join(map(chr, _LOOKALIKES))}]")
_TOKEN = re.compile(r"\S+")
_WORD = re.compile(r"[^\W_]+")
_ASCII = re.compile("[A-Za-z0-9]")
_DASH = re.compile(r"(?<=\d) ?[\u2012-\u2015](?= ?\d)|(?<=\w)[\u2012\u2013](?=\w)|[\u2012-\u2015]{2,}")
_HYPHEN = dict.fromkeys(range(0x2012, 0x2016), "-")
_POINT = re.compile("(?<=[0-9]) ?[\u00b7\u2022\u2027\u2219\u22c5\u30fb] ?(?=[0-9])")
_DOT = dict.fromkeys(map(ord, "\u00b7\u2022\u2027\u2219\u22c5\u30fb"), ".")


class Folded(NamedTuple):
    """A text as detectors see it. `offsets`: where each of its characters lies in the original, and the original's length; None: at the
    same place."""

    text: str
    offsets: Sequence[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """(start, end) in the original of the characters [start, end) of `text`, start < end, with what is hidden in and behind them."""
        if self.offsets is None:
            return start, end
        return self.offsets[start], max(self.offsets[end], self.offsets[end - 1] + 1)


def fold(text: str) -> Folded:
    """The plainer view of a text. Folding it again changes nothing. ASCII costs a look for control characters, the rest a pass (15 µs for
    170 characters)."""
    if text.isascii() and not _CONTROL.search(text):
        return Folded(text)
    plain, offsets = _plain_forms(text)
    plain, offsets = _without_marks(plain, offsets, len(text))
    return Folded(_POINT.sub(_dot, _DASH.sub(_hyphen, _latin(plain))), offsets)


def _plain_forms(text: str) -> tuple[str, list[int] | None]:
    """Every character in its plain form, and where each lies in the text."""
    changed = {character: plain for character in set(text) if (plain := _plain(character)) != character}
    if not changed:
        return text, None
    pieces = [changed.get(character, character) for character in text]
    offsets = [place for place, piece in enumerate(pieces) for _ in piece]
    return "".join(pieces), [*offsets, len(text)]


@lru_cache(maxsize=65_536)
def _plain(character: str) -> str:
    """One character in its plain form; "" for one that shows nothing."""
    kind = unicodedata.category(character)
    if character.isascii():
        return "" if _CONTROL.match(character) else character
    if character in _PUNCTUATION:
        return _PUNCTUATION[character]
    if character.isspace():
        return " " if kind == "Zs" else character
    if kind in ("Cc", "Cf") or _IGNORABLE.match(character):
        return ""
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    if unicodedata.decomposition(character).startswith(_FORMS):
        plain = unicodedata.normalize("NFKC", character)
        if plain.isascii() and (len(plain) == 1 or (plain.isalnum() and kind[0] in "LN")):
            return plain
    return character


def _without_marks(text: str, offsets: list[int] | None, length: int) -> tuple[str, list[int] | None]:
    """Without accents and strokes over what is, or may become, an ASCII letter or digit."""
    dropped = {place for match in _MARKS.finditer(text) for place in range(*match.span())}
    if not dropped:
        return text, offsets
    kept = [place for place in range(len(text)) if place not in dropped]
    return "".join(text[place] for place in kept), [*(kept if offsets is None else (offsets[place] for place in kept)), length]


def _hyphen(match: re.Match[str]) -> str:
    return match.group().translate(_HYPHEN)


def _dot(match: re.Match[str]) -> str:
    return match.group().translate(_DOT)


def _latin(text: str) -> str:
    """Lookalikes as Latin letters, in words that are Latin otherwise. As long as before."""
    return _TOKEN.sub(_latin_token, text) if _LOOKALIKE.search(text) and _ASCII.search(text) else text


def _latin_token(match: re.Match[str]) -> str:
    token = match.group()
    if not _LOOKALIKE.search(token) or not _ASCII.search(token):
        return token
    return _WORD.sub(lambda word: _latin_word(word.group(), known="@" in token), token)


def _latin_word(word: str, *, known: bool) -> str:
    """`known`: whether it is among Latin words."""
    if not known and not _ASCII.search(word):
        return word
    latin = word.translate(_LOOKALIKES)
    return latin if all(unicodedata.name(letter, "").startswith("LATIN") for letter in latin if letter.isalpha()) else word
