"""HTML to plain text, in one linear pass: what a reader would see, without scripts, styles, comments and tags.

The standard library's `HTMLParser` is not used: up to Python 3.11.13 it is quadratic on unterminated markup (20 kB of `<a ` take 3 s, so a
hostile 5 MB cell would take days). This scanner never looks at a character more than a few times, and has no nesting to overflow.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

# A tag ends at `>`; no `<` inside, not even quoted: so an attempt that fails stops before the next attempt begins.
_TOKEN = re.compile(r"""<!--|<[!?][^<>]*>|<(/?)([A-Za-z][A-Za-z0-9:-]*)(?:[^<>"']|"[^"<]*"|'[^'<]*')*>""")
_END_OF_RAW = {name: re.compile(rf"</{name}\b[^<>]*>", re.IGNORECASE) for name in ("script", "style", "template", "noscript")}
_LINES = re.compile(
    "address|article|aside|blockquote|body|br|caption|d[dlt]|div|fieldset|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|legend|li"
    "|main|nav|ol|option|p|pre|section|select|summary|table|tbody|tfoot|thead|title|tr|ul"
)
_PARAGRAPHS = re.compile("blockquote|h[1-6]|hr|p|pre|table")
_CELLS = re.compile("t[dh]")
_SPACES = re.compile(r"[ \t\r\n\f]+")


def html_to_text(source: str) -> str:
    """The visible text of an HTML fragment. Block tags make lines, paragraphs and headings blank lines, cells a space.

    Entities are decoded once. What is not well-formed markup (`a < b`, an unfinished tag) is text. An unclosed comment or script
    runs to the end.
    """
    pieces: list[str] = []
    preformatted = 0
    for kind, value in _tokens(source):
        if kind == "text":
            text = html.unescape(value)
            pieces.append(text if preformatted else _SPACES.sub(" ", text))
            continue
        name = value.lower()
        if name == "pre":
            preformatted = max(0, preformatted + (1 if kind == "open" else -1))
        pieces.append(_break_at(name, kind))
    return "".join(pieces)


def _break_at(name: str, kind: str) -> str:
    if _PARAGRAPHS.fullmatch(name):
        return "\n\n"
    if _LINES.fullmatch(name):
        return "\n"
    return " " if kind == "close" and _CELLS.fullmatch(name) else ""


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    """("text", text), ("open", tag name) and ("close", tag name), in order; comments, declarations and raw elements are left out."""
    position = 0
    while match := _TOKEN.search(source, position):
        if match.start() > position:
            yield "text", source[position : match.start()]
        position, name = match.end(), match.group(2)
        if name is None:
            if match.group() == "<!--":
                end = source.find("-->", position)
                position = len(source) if end < 0 else end + 3
            continue
        yield ("close" if match.group(1) else "open"), name
        raw = None if match.group(1) else _END_OF_RAW.get(name.lower())
        if raw is not None:
            closing = raw.search(source, position)
            position = len(source) if closing is None else closing.end()
    if position < len(source):
        yield "text", source[position:]
