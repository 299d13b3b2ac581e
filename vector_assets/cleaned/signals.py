"""Signs of attacks that people do not see, counted before normalization removes them: hidden characters and look-alike letters.

*Hidden characters* carry instructions to a model past its readers: a second text in tag characters, bits in zero-width ones, variation
selectors behind an emoji, or a zero-width character inside every word. Counted are runs of four and more invisible characters, invisible
characters inside a word of a script that has no use for them (Latin, Greek, Cyrillic, Armenian, Hebrew, Georgian, digits), and bidi
overrides where nothing is written from right to left. Not counted: flags and other emoji sequences, joiners of Arabic, Persian and Indic
scripts, spaces of no width where Thai, Khmer or Chinese lines may break or at a word's end, soft hyphens, a byte order mark at the start,
pairs of bidi marks around a name or a number, as chat programs write them.

*Look-alikes*: words that mix Latin letters with Cyrillic or Greek ones that look like Latin (Unicode TR39, mixed-script confusables), and
words all of such Cyrillic letters among Latin ones (whole-script confusables). A text with as many genuine words of that script is taken
for what it looks like. Greek is also mathematics: of its small letters only omicron counts at a word's edge, and a word with any letter
that has no Latin look-alike (Δt, kΩ, λmax) does not count at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.cleaned.normalize import as_utf8

SIGNALS_VERSION = 1  # part of the stage version: raise it when a text gets another count
MOST = 255  # a count is a byte of the profile

_Counts = npt.NDArray[np.uint8]

# --- hidden characters ------------------------------------------------------------------------------------------------------------------

_INVISIBLE = "\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef"
_LETTERS = "0-9A-Za-z\u00aa-\u02ff\u0370-\u05ff\u10a0-\u10ff\u1e00-\u1fff"  # of scripts that neither join nor break inside words
_OVERRIDES = "\u202d\u202e"
_MAYBE_HIDDEN = f"[{_INVISIBLE}]{{4}}|[{_LETTERS}][{_INVISIBLE}]{{1,3}}[{_LETTERS}]|[{_OVERRIDES}]"
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f")
_RUN = re.compile(f"[{_INVISIBLE}]{{4,}}")
_INSIDE = re.compile(f"(?<=[{_LETTERS}])[{_INVISIBLE}]{{1,3}}(?=[{_LETTERS}])")
_OVERRIDE = re.compile(f"[{_OVERRIDES}]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_ENTITY = "&(#|zw|lr|rl|ZeroWidth|Invisible|NoBreak|ApplyFunction|af;|it;|ic;)"

# --- look-alikes ------------------------------------------------------------------------------------------------------------------------

_LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"


class _Script(NamedTuple):
    """A script with letters that look like Latin ones: `anywhere`, or only `inside` a word."""

    letters: str
    anywhere: frozenset[str]
    inside: frozenset[str]
    whole: bool  # whether words of look-alikes alone count


_CYRILLIC = _Script(
    letters="\u0400-\u052f",
    anywhere=frozenset("аеорсухѕіјһԁԛԝӏүѵАВЕЅІЈКМНОРСТХУҮԌԚԜӀѴ"),
    inside=frozenset(),
    whole=True,
)
_GREEK = _Script(
    letters="\u0370-\u03ff",
    anywhere=frozenset("οϲϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"),
    inside=frozenset("αικνρυ"),
    whole=False,
)
_SCRIPTS = (_CYRILLIC, _GREEK)
_FOREIGN = "".join(script.letters for script in _SCRIPTS)
_WHOLE = "".join(sorted(_CYRILLIC.anywhere))
_SIDE_BY_SIDE = f"[{_LATIN}][{_FOREIGN}]|[{_FOREIGN}][{_LATIN}]"
_MAYBE_MIXED = f"{_SIDE_BY_SIDE}|(^|[^{_FOREIGN}])[{_WHOLE}]{{3,}}([^{_FOREIGN}]|$)"
_WORD = re.compile(r"[^\W\d_]+")
_MIXING = re.compile(_SIDE_BY_SIDE)
_IS_LATIN = re.compile(f"[{_LATIN}]")
_LEAST_WHOLE = 3  # letters; shorter words of look-alikes are abbreviations


class Signals(NamedTuple):
    """Per row: hidden characters and words of look-alikes, at most 255 each (uint8)."""

    hidden: _Counts
    mixed: _Counts


def signals(column: pa.Array, *, html: bool = False) -> Signals:
    """Signals of every text of a column of strings, as it comes from the source; none where it is NULL. Linear in the length of the texts;
    of most, which are ASCII, no regular expression is asked (56 M characters a second with it, 600 M without)."""
    column = as_utf8(column.cast(pa.large_string()))
    found = Signals(*(np.zeros(len(column), dtype=np.uint8) for _ in Signals._fields))
    maybe = pc.invert(pc.string_is_ascii(column))
    if html:
        maybe = pc.or_(maybe, pc.match_substring(column, "&"))
    at = np.flatnonzero(np.asarray(pc.fill_null(maybe, False)))
    if len(at):
        texts = column.take(pa.array(at))
        found.hidden[at] = _counted(texts, f"{_MAYBE_HIDDEN}|{_ENTITY}" if html else _MAYBE_HIDDEN, count_hidden, html=html)
        found.mixed[at] = _counted(texts, f"{_MAYBE_MIXED}|&#" if html else _MAYBE_MIXED, count_mixed, html=html)
    return found


def count_hidden(text: str) -> int:
    """Invisible characters of one text that serve no reader."""
    text = _FLAG.sub("", text.removeprefix("\ufeff"))
    found = sum(len(run[0]) for pattern in (_RUN, _INSIDE) for run in pattern.finditer(text))
    overrides = _OVERRIDE.findall(_RUN.sub("", text))
    return found + (0 if _RIGHT_TO_LEFT.search(text) else len(overrides))


def count_mixed(text: str) -> int:
    """Words of one text that look Latin and are not."""
    words = _WORD.findall(text)
    latin = any(_IS_LATIN.match(word) for word in words)
    return sum(_mixed_with(script, words, latin=latin) for script in _SCRIPTS)


def _mixed_with(script: _Script, words: list[str], *, latin: bool) -> int:
    foreign = re.compile(f"[{script.letters}]")
    mixed = genuine = 0
    for word in words:
        letters = foreign.findall(word)
        if not letters:
            continue
        alike = script.anywhere.issuperset(letters) or _inside_only(script, word)
        if len(letters) < len(word):
            mixed += alike and _MIXING.search(word) is not None
        elif alike and script.whole:
            mixed += latin and len(word) >= _LEAST_WHOLE
        else:
            genuine += 1
    return mixed if mixed > genuine else 0


def _inside_only(script: _Script, word: str) -> bool:
    """Whether all letters of the script look Latin where they stand."""
    edges = {word[0], word[-1]}
    foreign = {letter for letter in word if re.match(f"[{script.letters}]", letter)}
    return foreign <= script.anywhere | script.inside and not (edges & script.inside)


def _counted(column: pa.Array, maybe: str, count: Callable[[str], int], *, html: bool) -> _Counts:
    counts = np.zeros(len(column), dtype=np.uint8)
    rows = pc.indices_nonzero(pc.match_substring_regex(column, maybe))
    for row, text in zip(rows.to_pylist(), column.take(rows).to_pylist(), strict=True):
        counts[row] = min(MOST, count(unescape(text) if html else text))
    return counts
