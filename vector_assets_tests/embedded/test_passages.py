from __future__ import annotations

import re
import time
from collections import Counter
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from vector_assets.embedded.passages import split, windows


def spans_of(text: str) -> list[tuple[int, int]]:
    """Words cut into pieces of at most four characters, punctuation alone: shaped like WordPiece."""
    return [match.span() for match in re.finditer(r"\w{1,4}|[^\w\s]", text)]


pieces = st.sampled_from(
    ["a", "be", "fox", "jumps", "overlong", "antidisestablishmentarianism" * 3, "x.y.z", "done.", "really?", "(ok.)", "漢字", "🎉"]
)
gaps = st.sampled_from([" ", " ", " ", "  ", "\n", "\n\n", "\n \n", "\t", ""])
texts = st.lists(st.tuples(pieces, gaps), max_size=120).map(lambda parts: "".join(piece + gap for piece, gap in parts))
sizes = st.integers(1, 24)
overlaps = st.integers(0, 30)


@given(texts, sizes, overlaps)
def test_windows_cover_every_token_get_further_and_fit(text: str, size: int, overlap: int) -> None:
    spans = spans_of(text)
    assume(spans)
    cuts = windows(text, spans, max_tokens=size, overlap_tokens=overlap)
    assert cuts[0][0] == 0
    assert cuts[-1][1] == len(spans)
    assert all(0 < end - start <= size for start, end in cuts)
    for (start, end), (following, further) in pairwise(cuts):
        assert start < following <= end < further
        assert end - following <= min(overlap, size // 2)


@given(texts, sizes, overlaps)
def test_a_word_is_cut_only_when_it_is_longer_than_the_window(text: str, size: int, overlap: int) -> None:
    spans = spans_of(text)
    assume(spans)
    word_of = [len(text[:start].split()) - (start > 0 and not text[start - 1].isspace()) for start, _ in spans]
    length = Counter(word_of)
    for start, end in windows(text, spans, max_tokens=size, overlap_tokens=overlap):
        for at in (start, end):
            inside = 0 < at < len(spans) and word_of[at - 1] == word_of[at]
            assert not inside or length[word_of[at]] > size


@given(texts, sizes, overlaps)
def test_passages_are_the_windows_of_a_text_that_does_not_fit(text: str, size: int, overlap: int) -> None:
    spans = spans_of(text)
    passages = split(text, spans, max_tokens=size, overlap_tokens=overlap)
    assert passages == split(text, spans, max_tokens=size, overlap_tokens=overlap)
    assert all(len(spans_of(passage)) <= size for passage in passages)
    if len(spans) <= size:
        assert passages == ([text] if spans else [])


def test_nothing_to_say_makes_no_passage() -> None:
    assert split("", [], max_tokens=8, overlap_tokens=2) == []
    assert split(" \n\t", [(0, 1)], max_tokens=8, overlap_tokens=2) == []  # some tokenizers make tokens of white space
    assert split("\u200b", [], max_tokens=8, overlap_tokens=2) == []


def test_a_text_that_fits_is_its_own_passage() -> None:
    assert split("  one two ", [(2, 5), (6, 9)], max_tokens=2, overlap_tokens=1) == ["  one two "]


def test_a_window_ends_at_a_paragraph_then_a_sentence_then_a_word() -> None:
    words = [f"w{n:02}" for n in range(40)]
    for mark, expected in {"\n\n": 14, ". ": 13, " ": 16}.items():
        text = (
            " ".join(words[:13]) + (". " if mark != " " else " ") + words[13] + ("\n\n" if mark == "\n\n" else " ") + " ".join(words[14:])
        )
        spans = [match.span() for match in re.finditer(r"\w+", text)]
        first, second = split(text, spans, max_tokens=16, overlap_tokens=3)[:2]
        assert first.split()[-1].strip(".") == words[expected - 1]
        assert second.split()[0] == words[expected - 3]


def test_editing_the_end_keeps_the_first_passages() -> None:
    text = " ".join(f"Sentence number {n} says something." for n in range(400))
    before = split(text, spans_of(text), max_tokens=64, overlap_tokens=8)
    edited = text[: -len(text) // 10] + "and then it ended differently"
    after = split(edited, spans_of(edited), max_tokens=64, overlap_tokens=8)
    same = sum(one == other for one, other in zip(before, after, strict=False))
    assert same >= 0.85 * len(before)


def test_time_grows_with_the_text_whatever_it_looks_like() -> None:
    # Words that nearly fill a window make the shortest windows; long runs of white space are scanned again and again by a careless cutter.
    worst = ["tiny " + "x" * 60 + " ", "word ", "x", "a. ", "漢"]

    def seconds(pattern: str, size: int) -> float:
        text = (pattern * (size // len(pattern) + 1))[:size]
        spans = spans_of(text)
        start = time.process_time()
        passages = split(text, spans, max_tokens=16, overlap_tokens=8)
        assert len(passages) <= len(spans) / 3
        return time.process_time() - start

    for pattern in worst:
        assert seconds(pattern, 400_000) < 12 * max(seconds(pattern, 100_000), 0.05)
