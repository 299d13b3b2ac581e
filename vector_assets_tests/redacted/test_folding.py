"""The plainer view of a text, and the way back."""

import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vector_assets.redacted.folding import fold

TRICKY = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("aB1 -.@\u200b\u00ad\ufeff\u0336\u0301аеорсОορν–—‑·•ｊ＠１٣𝐀ﬁ①²™\u00a0\u2009\x00é\U000e0041"),
    ),
    max_size=40,
)


@given(TRICKY)
@example("е\u0301а a–1")
@example("5 –— 6")
def test_folding_again_changes_nothing(text: str) -> None:
    folded = fold(text).text
    assert fold(folded).text == folded


@given(TRICKY, st.data())
def test_spans_lead_back(text: str, data: st.DataObject) -> None:
    folded = fold(text)
    if not folded.text:
        return
    start = data.draw(st.integers(0, len(folded.text) - 1))
    end = data.draw(st.integers(start + 1, len(folded.text)))
    first, last = folded.span(start, end)
    assert 0 <= first < last <= len(text)
    # What the span leaves out on either side is all there is to see there.
    assert folded.text.startswith(fold(text[:first]).text[: max(0, start - 3)])
    assert folded.span(0, len(folded.text))[1] == len(text)
    for middle in range(start + 1, end):
        left, right = folded.span(start, middle), folded.span(middle, end)
        assert first == left[0]
        assert right[1] == last
        assert left[1] >= right[0]  # nothing falls between two neighbours


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_ascii_is_left_alone(text: str) -> None:
    assert fold(text) == (text, None)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("j\u200bohn@exa\u00admple.com", "john@example.com"),
        ("ｊｏｈｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", "john@example.com"),
        ("jоhn.smіth@example.com", "john.smith@example.com"),  # Cyrillic о and і
        ("Αnna Smith, Jοhn", "Anna Smith, John"),  # the Greek capital stands in a word that is Latin otherwise
        ("𝐉𝐨𝐡𝐧 𝟐𝟏𝟐", "John 212"),
        ("٠١٢-३४५ ５６７", "012-345 567"),
        ("212\u2011555\u20130123, 212 — 555", "212-555-0123, 212 - 555"),
        ("4111\u00a01111\u20091111\u202f1111", "4111 1111 1111 1111"),
        ("ﬁle ①② x²", "file 12 x2"),
        ("j̶o̶h̶n̶", "john"),
        ("a\x00b\x1bc\td\n", "abc\td\n"),
        ("192。168。1。1", "192.168.1.1"),
        ("‒‒BEGIN KEY‒‒", "--BEGIN KEY--"),
        ("+1·212•555 · 0147, a·b", "+1.212.555 . 0147, a·b"),
    ],
)
def test_what_looks_alike_is_alike(text: str, plain: str) -> None:
    assert fold(text).text == plain


@pytest.mark.parametrize(
    "text",
    [
        "Привет, мир! Оно само росло.",
        "Καλημέρα κόσμε, ο Νίκος",
        "José Müller – naïve café, ½ l, Acme™ № 5",
        "Paris — London … “quoted” ‘text’",
        "日本語のテキスト、한국어, שלום, مرحبا",
        "Отчёт за март.docx",  # a word of another script beside a Latin one
    ],
)
def test_genuine_writing_stays(text: str) -> None:
    assert fold(unicodedata.normalize("NFC", text)).text == text


def test_hidden_characters_go_with_what_hides_them() -> None:
    text = "mail j\u200bo\u00adhn@example.com\u200b now"
    folded = fold(text)
    start = folded.text.index("john")
    first, last = folded.span(start, start + len("john@example.com"))
    assert text[:first] + text[last:] == "mail  now"


@pytest.mark.parametrize("unit", ["a\u200b", "é", "а", "аa ", "–1", "a\u0336", "ｊ", " \u00a0", "aа"])
def test_time_is_linear(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    started = time.process_time()
    fold(text)
    assert time.process_time() - started < 1
