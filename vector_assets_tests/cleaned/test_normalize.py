"""What becomes of texts, the hostile ones above all."""

import time
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.cleaned.markup import html_to_text
from vector_assets.cleaned.normalize import normalize_column, normalize_text

# Characters that interact: accents, joiners, selectors, tags, marks of several classes, spaces, breaks, surrogates.
INTERESTING = st.sampled_from(
    list("aeE K1#\t\n\r ")
    + list("\u0301\u0302\u0323\u0338\u200b\u200c\u200d\ufe0f\ufe0e\u212a\u1eb9\xad\xa0\u2028\x85\x00\x1c\x0b")
    + list("\u0628\u064b\u0650\u05d0\u0915\u094d\u4e2d\u1100\u1161\u2adc\u2329\u202e\u2066\ufeff\ud83d\udc68\udfff")
    + ["\U0001f469", "\U0001f4bb", "\U0001f3f4", "\U000e0067", "\U000e007f", "\U000e0101"]
)
ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
TEXTS = st.one_of(st.text(INTERESTING, max_size=24), st.text(st.characters(exclude_categories=()), max_size=24))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain", "plain"),
        ("  a  b \r\n\r\n\r\n\r\nc\t \n d ", "a b\n\nc\n d"),
        ("e\u0301", "é"),
        ("a\x00b\x07c\u200bd\ufeffe\xadf", "abcdef"),
        ("a\tb", "a\tb"),
        ("a\xa0\u3000b", "a b"),
        ("a\u2028b\x85c\x0cd", "a\nb\nc\nd"),
        ("J\u200do\u200chn\ufe0f", "John"),  # hidden from a detector of names
        ("e\u200d\u0301", "é"),
        ("👩\u200d💻 ❤\ufe0f\u200d🔥 1\ufe0f\u20e3 👍🏽", "👩\u200d💻 ❤\ufe0f\u200d🔥 1\ufe0f\u20e3 👍🏽"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian: the joiner is part of the word
        ("क्\u200dष", "क्\u200dष"),
        ("\u202bשלום\u202c \u200fעולם\u2069", "שלום עולם"),
        (
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        ),
        ("hi\U000e0068\U000e0069", "hi"),  # smuggled text
        ("\ud83d\udc68 \ud800x", "👨 \ufffdx"),
        (" \u200b\n", ""),
    ],
)
def test_text(text: str, clean: str) -> None:
    assert normalize_text(text) == clean


@given(TEXTS)
def test_idempotent_tidy_and_valid(text: str) -> None:
    clean = normalize_text(text)
    assert normalize_text(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)
    assert clean == clean.strip()
    assert "\n\n\n" not in clean
    assert "  " not in clean
    assert all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") for c in clean)


@given(st.lists(st.one_of(st.none(), st.text(INTERESTING, max_size=12)), max_size=8))
def test_column_is_the_text_function_row_by_row(texts: list[str | None]) -> None:
    raw = pa.array([None if t is None else t.encode("utf-8", "surrogatepass") for t in texts], pa.binary())
    column = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers(), raw.null_count)
    assert normalize_column(column).to_pylist() == [None if t is None else normalize_text(t) for t in texts]


def test_broken_bytes_become_replacement_characters() -> None:
    raw = pa.array([b"ok", b"a\xed\xa0\x80b", b"\xff\xfe!", None], pa.binary())
    column = pa.Array.from_buffers(pa.string(), 4, raw.buffers(), raw.null_count)
    cleaned = normalize_column(column)
    cleaned.validate(full=True)
    assert cleaned.to_pylist() == ["ok", "a\ufffdb", "\ufffd\ufffd!", None]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_type_slices_and_nulls_survive(kind: pa.DataType) -> None:
    column = pa.array(["x", " a ", None, "b\u200b", "c"], kind).slice(1, 3)
    cleaned = normalize_column(column)
    assert cleaned.type == kind
    assert cleaned.to_pylist() == ["a", None, "b"]
    assert normalize_column(pa.array([], kind)).to_pylist() == []
    assert normalize_column(pa.array([None, None], kind)).to_pylist() == [None, None]


def test_clean_ascii_is_not_copied() -> None:
    column = pa.array(["plain text, as most is.\nSecond line.", None])
    assert normalize_column(column) is column


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>One &amp; two</p><p>three</p>", "One & two\n\nthree"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("x<script>alert('<p>')</script>y<STYLE>p{}</STYLE >z<!-- <b> -->!", "xyz!"),
        ("<ul><li>one</li><li>two</li></ul>", "one\n\ntwo"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ("<pre>a\n  b</pre>", "a\n b"),
        ("line\none &lt;b&gt; &#xD800; &#0;", "line one <b> \ufffd \ufffd"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ('<a title="x>y" href=z>link</a>', "link"),
        ("<b>bold</b>face", "boldface"),
        ("unclosed <script>secret", "unclosed"),
        ("unclosed <!-- secret", "unclosed"),
        ("<!DOCTYPE html><html><head><title>T</title></head><body>B</body></html>", "T\n\nB"),
    ],
)
def test_html(source: str, text: str) -> None:
    assert normalize_text(source, html=True) == text


@given(st.text(st.sampled_from(list("<>/!-ab \"'&;=p\n")), max_size=60))
def test_html_scanner_ends_and_keeps_no_whole_tag(source: str) -> None:
    text = html_to_text(source)
    assert len(text) <= 2 * len(source) + 2


HOSTILE = ["<", "<a", "<a ", '<a b="', "<!--", "</", "<?", "<a/ ", "<a b=c ", "<script>", "<pre>", "<div>", "&", "&#x", "<a '\"", "<!--->"]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_html_is_linear(unit: str) -> None:
    def seconds(size: int) -> float:
        source = unit * (size // len(unit))
        start = time.process_time()
        normalize_text(source, html=True)
        return time.process_time() - start

    # 50 times the input: linear is 50 times the time; quadratic would be 2,500 times.
    assert seconds(1_000_000) < 0.5 + 250 * seconds(20_000)


@pytest.mark.parametrize("unit", ["word ", " ", "\t", "\t\t x", "é \u200b", "\n", "e\u200d\u0301", "👩\u200d", "\u200d", " \n\t"])
def test_five_megabytes(unit: str) -> None:
    text = unit * (5_000_000 // len(unit.encode()))
    start = time.process_time()
    [clean] = normalize_column(pa.array([text])).to_pylist()
    assert time.process_time() - start < 20
    assert len(clean) <= len(text)
