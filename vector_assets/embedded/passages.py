"""Long texts become passages that fit a model: windows of tokens that end where a reader would pause, and overlap a little.

Pure: tokens come in as character spans, so nothing here knows a tokenizer. Windows are cut from left to right and look ahead by one window
at most: editing the end of a long text leaves its first passages as they were, and their vectors are reused.

Change `PASSAGES_VERSION` with any change of output; it is part of the embedding generation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

PASSAGES_VERSION = 1

_NONE, _SPACE, _SENTENCE, _PARAGRAPH = range(4)
_BLANK_LINE = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]]*$")
_CLOSERS = 4  # characters looked at before white space: a full stop and a few closing quotes or brackets


def split(text: str, spans: Sequence[tuple[int, int]], *, max_tokens: int, overlap_tokens: int) -> list[str]:
    """Passages of a text, in order.

    `spans` are (start, end) character offsets of its tokens, starts never decreasing. No tokens or only white space: no passages. A text
    of at most `max_tokens` tokens is its own passage, as it is. Otherwise every passage spans at most `max_tokens` tokens, every token is
    in one, and neighbours share up to `overlap_tokens` tokens (never more than half a window). A passage ends with a paragraph or sentence
    in the last quarter of its window, else between words; a word is cut only where it alone is longer than a window.
    """
    if not spans or not text.strip():
        return []
    if len(spans) <= max_tokens:
        return [text]
    cuts = windows(text, spans, max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    return [text[spans[start][0] : spans[end - 1][1]] for start, end in cuts]


def windows(text: str, spans: Sequence[tuple[int, int]], *, max_tokens: int, overlap_tokens: int) -> list[tuple[int, int]]:
    """The windows behind `split`, as token indexes start ≤ token < end; at least one token."""
    cutter = _Cutter(text, spans, max_tokens)
    overlap = min(overlap_tokens, max_tokens // 2)
    start, end = 0, cutter.end(0, 0)
    found = [(start, end)]
    while end < len(spans):
        start = cutter.start(end, overlap)
        end = cutter.end(start, end)
        found.append((start, end))
    return found


class _Cutter:
    """Where windows may begin and end in one text; positions are token indexes, and a window is start ≤ token < end."""

    def __init__(self, text: str, spans: Sequence[tuple[int, int]], max_tokens: int) -> None:
        self.text = text
        self.spans = spans
        self.max_tokens = max_tokens

    def end(self, start: int, previous: int) -> int:
        """The best end of the window that begins at `start`; always behind the `previous` window's end."""
        limit = start + self.max_tokens
        if limit >= len(self.spans):
            return len(self.spans)
        last_quarter = max(previous + 1, limit - self.max_tokens // 4)
        # max() keeps the first of equals: the latest of the strongest pauses.
        best = max(range(limit, last_quarter - 1, -1), key=self.pause)
        if self.pause(best) > _SPACE:
            return best
        between_words = (at for at in range(limit, max(previous, start), -1) if self.pause(at))
        return next(between_words, limit)

    def start(self, end: int, overlap: int) -> int:
        """Where the window after `end` begins: up to `overlap` tokens before it, at a word, and with room for the next word whole."""
        if not self.pause(end):  # inside a word longer than a window
            return end - overlap
        horizon = min(end + self.max_tokens, len(self.spans))
        next_pause = next((at for at in range(end + 1, horizon) if self.pause(at)), horizon)
        earliest = max(end - overlap, next_pause - self.max_tokens)
        return next(at for at in range(earliest, end + 1) if self.pause(at))

    def pause(self, at: int) -> int:
        """How good a place to cut it is between token `at - 1` and token `at`."""
        left, right = self.spans[at - 1][1], self.spans[at][0]
        # Some tokenizers count the white space around a word as part of its token.
        while left > 0 and self.text[left - 1].isspace():
            left -= 1
        while right < len(self.text) and self.text[right].isspace():
            right += 1
        gap = self.text[left:right]
        space = next((left + n for n, character in enumerate(gap) if character.isspace()), None)
        if space is None:
            return _NONE
        if _BLANK_LINE.search(gap):
            return _PARAGRAPH
        return _SENTENCE if _SENTENCE_END.search(self.text[max(space - _CLOSERS, 0) : space]) else _SPACE
