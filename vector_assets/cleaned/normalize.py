"""Text as later stages want it: one spelling per character, nothing invisible, tidy whitespace. Pure; nothing here knows tables or rules.

What is kept and what is not, where it is a decision:

- *Joiners* (ZWJ U+200D, ZWNJ U+200C) and *variation selectors* carry meaning inside emoji sequences, Arabic, Indic and other joining
  scripts, and are kept there. Anywhere else (`J<ZWJ>ohn`) they only hide a word from a detector of personal data, and go.
- *Bidi controls* (marks, embeddings, overrides, isolates) go everywhere: they direct rendering only. Right-to-left text is stored in
  logical order and reads the same without them, while overrides can make text look unlike what it says.
- *Tag characters* stay inside the flags they spell (🏴 + tags + cancel) and go elsewhere, where they smuggle text.
- Every kind of space is a space; a tab stays a tab; every kind of line or page break is a newline.
"""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.cleaned.markup import html_to_text

NORMALIZE_VERSION: int = 1
"""Part of the stage version of cleaned_frames: raise it whenever the output for any text changes."""

# What a text must hold for anything to change. RE2, so linear; 400 k rows/s of 190 characters.
_SUSPECT = r"[^\n -~]|  | \n|\n\n\n|\A\s|\s\z"
_SUSPECT_HTML = _SUSPECT + r"|[<&]"

_LINE_BREAKS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SPACES = re.compile("[ \xa0\u1680\u2000-\u200a\u202f\u205f\u3000]{2,}|[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_BLANK_LINES = re.compile(r"\n{3,}")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # control characters, apart from the breaks above
    "\xad\u034f\u061c\u180e"  # soft hyphen, grapheme joiner, Arabic letter mark, Mongolian vowel separator
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"  # zero-width space, bidi controls, word joiner and invisible operators
    "\ufeff\ufff9-\ufffb\U0001d173-\U0001d17a]"  # byte order mark, interlinear annotation, musical controls
)
# Scripts that join, and symbols that build emoji.
_JOINING = (
    "\u0600-\u109f\u1780-\u18aa\u1900-\u1c7f\u20e3\u2190-\u2328\u232b-\u2bff\u3030\u303d\u3297\u3299\ua840-\ua87f"
    "\ufb50-\ufdff\ufe00-\ufe0f\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f\U0001f000-\U0001faff\U000e0020-\U000e007f"
)
_JOINS = re.compile(f"[{_JOINING}]")
_JOINER_RUN = re.compile("[\u200c\u200d]+")
_SELECTOR_RUN = re.compile(
    f"([0-9#*\xa9\xae\u203c\u2049\u2122\u2139\u3400-\u9fff\U00020000-\U0003ffff{_JOINING}])?([\ufe00-\ufe0f\U000e0100-\U000e01ef])"
    "[\ufe00-\ufe0f\U000e0100-\U000e01ef]*"
)
_TAG_RUN = re.compile("(\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f)|[\U000e0000-\U000e007f]+")
_RARE = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0000-\U000e01ef]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def normalize_column(column: pa.Array, *, html: bool = False) -> pa.Array:
    """Every text of a column by `normalize_text`; NULL stays NULL.

    Args:
        column: strings of any Arrow string type, n values. Bytes that are not UTF-8 (lone surrogates) become U+FFFD.
        html: whether the texts are HTML; then entities and tags are resolved first.

    Returns:
        n strings of the same type; the very same array where nothing needs a change.
    """
    if not is_text(column.type):
        return normalize_column(column.cast(pa.large_string()), html=html).cast(column.type)
    column = as_utf8(column)
    suspect = pc.match_substring_regex(column, _SUSPECT_HTML if html else _SUSPECT)
    rows = pc.indices_nonzero(pc.fill_null(suspect, False))
    if len(rows) == 0:
        return column
    cleaned = [normalize_text(text, html=html) for text in column.take(rows).to_pylist()]
    return pc.replace_with_mask(column, pc.fill_null(suspect, False), pa.array(cleaned, column.type))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts, as Arrow's functions for strings take them (they know no `string_view`)."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def as_utf8(column: pa.Array) -> pa.Array:
    """The column, with bytes that Arrow cannot read as UTF-8 replaced (some writers let lone surrogates through)."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        binary = column.view(pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary())
        texts = [None if raw is None else _decode(raw) for raw in binary.to_pylist()]
        return pa.array(texts, column.type)
    return column


def normalize_text(text: str, *, html: bool = False) -> str:
    """One text: NFC, without invisible characters, whitespace tidied, stripped. Linear in its length; idempotent where `html` is false."""
    text = _without_surrogates(text)
    if html:
        text = html_to_text(text)
    text = _without_invisible(unicodedata.normalize("NFC", text))
    text = _SPACES.sub(" ", _LINE_BREAKS.sub("\n", text))
    # Per line and not by a regular expression: `[ \t]+$` is quadratic on long runs.
    text = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", text).strip()


def _without_invisible(text: str) -> str:
    """NFC in, NFC out. Removal lets letters and accents meet, and what they become decides on the joiner behind them: hence until nothing
    changes, which takes two or three rounds, since no letter composes with more than two accents."""
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    while _RARE.search(text) is not None:
        cleaned = _TAG_RUN.sub(r"\1", text)
        cleaned = _SELECTOR_RUN.sub(lambda run: run[1] + run[2] if run[1] else "", cleaned)
        cleaned = unicodedata.normalize("NFC", _JOINER_RUN.sub(_joiner, cleaned))
        if cleaned == text:
            break
        text = cleaned
    return text


def _joiner(run: re.Match[str]) -> str:
    joins = run.start() > 0 and _JOINS.match(run.string, run.start() - 1) and _JOINS.match(run.string, run.end())
    return run[0][0] if joins else ""


def _without_surrogates(text: str) -> str:
    if text.isascii() or _SURROGATES.search(text) is None:
        return text
    # Halves that stand together are one character; the others are nothing.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _decode(raw: bytes) -> str:
    try:
        return _without_surrogates(raw.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace")
