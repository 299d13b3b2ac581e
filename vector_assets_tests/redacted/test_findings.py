"""Replacing, cutting, and when scores do not matter."""

from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from vector_assets.redacted.findings import PART_CHARACTERS, PART_OVERLAP, Candidate, Finding, is_settled, parts
from vector_assets.redacted.operators import Replacer

TEXT = "abcdefghijklmnopqrst"
SCORES = (0.05, 0.4, 0.5, 0.75, 0.85, 1.0)
THRESHOLD = {"PERSON": 0.35, "URL": 0.45}


def threshold_of(entity: str) -> float:
    return THRESHOLD.get(entity, 0.35)


def without(text: str, found: list[Finding]) -> str:
    return Replacer({}, None).without(text, found)


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int, str]:
    start = draw(st.integers(0, len(TEXT) - 1))
    return start, draw(st.integers(start + 1, len(TEXT))), draw(st.sampled_from(["PERSON", "URL", "PHONE"]))


FINDINGS = st.lists(st.builds(lambda span, score: Finding(*span, score), spans(), st.sampled_from(SCORES)), max_size=6)


def test_the_best_names_what_overlaps() -> None:
    found = [
        Finding(0, 4, "PERSON", 0.85),
        Finding(2, 8, "URL", 0.5),
        Finding(8, 9, "PHONE", 0.4),
        Finding(12, 14, "B", 0.5),
        Finding(12, 14, "A", 0.5),
    ]
    assert without(TEXT, found) == "<PERSON><PHONE>jkl<A>opqrst"
    assert without(TEXT, []) == TEXT


@given(FINDINGS, st.randoms())
def test_no_order_matters_and_nothing_found_stays(found: list[Finding], random: object) -> None:
    redacted = without(TEXT, found)
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert without(TEXT, shuffled) == redacted
    covered = {place for finding in found for place in range(finding.start, finding.end)}
    left = "".join(character for place, character in enumerate(TEXT) if place not in covered)
    for name in ("PERSON", "URL", "PHONE"):
        redacted = redacted.replace(f"<{name}>", "")
    assert redacted == left


class Choice(NamedTuple):
    candidate: Candidate
    raised: bool


def as_presidio_keeps(choices: list[Choice]) -> list[Finding]:
    """Threshold, then duplicates: of one kind, what lies inside another one of no lower score."""
    found = [Finding(c.start, c.end, c.entity, c.high if raised else c.low) for c, raised in choices]
    found = sorted({f for f in found if f.score >= threshold_of(f.entity)}, key=lambda f: (f.entity, f.start, f.start - f.end, -f.score))
    kept: list[Finding] = []
    for f in found:
        if not any(k.entity == f.entity and k.start <= f.start and f.end <= k.end and f.score <= k.score for k in kept):
            kept.append(f)
    return kept


CANDIDATES = st.builds(
    lambda span, low, context: Candidate(*span, low, min(1.0, max(low + 0.35, 0.4)) if context else low),
    spans(),
    st.sampled_from(SCORES),
    st.booleans(),
)


@given(st.lists(CANDIDATES, max_size=6), st.data())
def test_settled_means_no_score_changes_the_text(candidates: list[Candidate], data: st.DataObject) -> None:
    if not is_settled(candidates, threshold_of):
        return
    texts = {
        without(TEXT, as_presidio_keeps([Choice(c, data.draw(st.booleans())) for c in candidates])),
        without(TEXT, as_presidio_keeps([Choice(c, False) for c in candidates])),
        without(TEXT, as_presidio_keeps([Choice(c, True) for c in candidates])),
    }
    assert len(texts) == 1


def test_what_is_settled() -> None:
    mail, host = Candidate(0, 9, "EMAIL", 1.0, 1.0), Candidate(3, 9, "URL", 0.5, 0.85)
    weak, sure = Candidate(0, 9, "SSN", 0.05, 0.4), Candidate(0, 9, "SSN", 0.5, 0.85)
    assert is_settled([mail, host], threshold_of)
    assert is_settled([weak, sure], threshold_of)
    assert not is_settled([weak], threshold_of)
    assert not is_settled([host, Candidate(3, 6, "PERSON", 0.85, 0.85)], threshold_of)
    assert is_settled([host, Candidate(9, 10, "PERSON", 0.85, 0.85)], threshold_of)


@given(st.integers(0, 5), st.sampled_from(["word ", "x", "a" * 400 + " ", " ", "é\n"]), st.integers(0, 7))
def test_parts_cover_overlap_and_are_bounded(size: int, unit: str, more: int) -> None:
    text = unit * (size * PART_CHARACTERS // len(unit) + more)
    spans = parts(text)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    for (start, end), (following, _) in pairwise(spans):
        assert end - start <= PART_CHARACTERS
        assert end - following >= PART_OVERLAP
        assert following > start
        if " " in unit:
            assert text[end - 1].isspace()
            assert text[following - 1].isspace()


def test_cut_where_a_sentence_ends_if_one_does() -> None:
    sentence = "A. Smith of 3.5 met somebody, as e.g. J. R. Doe does. "
    text = sentence * (2 * PART_CHARACTERS // len(sentence))
    for start, end in parts(text)[:-1]:
        assert text[:end].endswith("does. ")
        assert start == 0 or text[:start].endswith("does. ")
    for stop in ("\u3002", "!) ", ".\u201d ", "?\n", "\n\n"):
        [(_, end), *_] = parts(("x" * 99 + stop) * 250)
        assert end % (99 + len(stop)) == 0
    [(_, end), *_] = parts("one two, three A. four " * 1_000)
    assert text[end - 1] == " "


@given(st.text(st.sampled_from("ab. \n"), max_size=300), st.sampled_from([(12, 6), (20, 4), (30, 20)]))
def test_small_parts_cover_and_overlap_too(text: str, sizes: tuple[int, int]) -> None:
    characters, overlap = sizes
    spans = parts(text, characters=characters, overlap=overlap)
    assert (spans[0][0], spans[-1][1]) == (0, len(text))
    assert all(end - start <= characters for start, end in spans)
    assert all(end - following >= overlap and following > start for (start, end), (following, _) in pairwise(spans))
