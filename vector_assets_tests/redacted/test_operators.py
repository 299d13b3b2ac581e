"""What stands for what was found: nothing of it but what a mask lets through, the same for the same, nothing else touched."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from vector_assets.redacted.findings import Finding
from vector_assets.redacted.operators import Key, Replacer
from vector_assets.redaction import Mask, Operator, Pseudonym, Replace

KEY = Key.of(b"a secret for tests, 32 bytes long")
PSEUDONYM = Pseudonym(operator="pseudonym")
LETTERS = "αβγδεζηθικλμνξοπρστυφχψω"  # each once: what is left of a finding can be told
OPERATORS: st.SearchStrategy[Operator] = st.sampled_from(
    [Replace(), PSEUDONYM, Mask(operator="mask", keep_last=0), Mask(operator="mask", keep_last=3, char="#")]
)


@st.composite
def findings(draw: st.DrawFn) -> list[Finding]:
    starts = draw(st.lists(st.integers(0, len(LETTERS) - 1), max_size=5))
    kinds = st.sampled_from(["PERSON", "URL", "CARD"])
    return [
        Finding(start, draw(st.integers(start + 1, len(LETTERS))), draw(kinds), draw(st.sampled_from([0.4, 0.85, 1.0]))) for start in starts
    ]


@given(findings(), st.dictionaries(st.sampled_from(["PERSON", "URL", "CARD"]), OPERATORS), st.randoms())
@example([Finding(0, 9, "CARD", 1.0), Finding(7, 12, "URL", 0.4)], {"CARD": Mask(operator="mask")}, None)
def test_nothing_found_stays_but_the_tail_of_a_mask(found: list[Finding], operators: dict[str, Operator], random: object) -> None:
    replacer = Replacer(operators, KEY)
    redacted = replacer.without(LETTERS, found)
    if random is not None:
        shuffled = list(found)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert replacer.without(LETTERS, shuffled) == redacted
    covered = {place for one in found for place in range(one.start, one.end)}
    left = {place for place, letter in enumerate(LETTERS) if letter in redacted}
    assert {*range(len(LETTERS))} - covered <= left, "what nobody found stays"
    for place in covered & left:
        masks = [one for one in found if one.start <= place < one.end and isinstance(operators.get(one.entity), Mask)]
        assert any(one.end - place <= 3 and one.end - one.start >= 6 for one in masks)
    outside = sorted(left - covered)
    assert all(redacted.index(LETTERS[a]) < redacted.index(LETTERS[b]) for a, b in pairwise(outside))


def test_a_pseudonym_is_the_same_for_the_same() -> None:
    same = ["Ada Lovelace", "ADA LOVELACE", "ada\n  lovelace ", "Ada\u200b Lovelace", "\uff21da Lovelace"]
    made = {KEY.pseudonym("PERSON", value) for value in same}
    assert len(made) == 1
    assert re.fullmatch(r"<PERSON:[0-9a-f]{6}:[0-9a-f]{16}>", made.pop())
    others = {KEY.pseudonym("PERSON", "Ada Byron"), KEY.pseudonym("NAME", "Ada Lovelace"), Key.of(b"x" * 32).pseudonym("PERSON", same[0])}
    assert len(others | {KEY.pseudonym("PERSON", same[0])}) == 4


def test_pseudonyms_are_what_they_always_were() -> None:
    assert KEY.pseudonym("PERSON", "Ada Lovelace") == "<PERSON:2ab9db:dd3b068dd27100b4>", "rows would lose sight of each other"


def test_a_key_shows_no_secret() -> None:
    assert repr(KEY) == f"Key({KEY.id})"
    assert "tests" not in f"{KEY!r} {KEY!s}"
    assert KEY.id not in KEY.secret.hex()


def test_the_best_of_what_overlaps_names_the_pseudonym() -> None:
    text = "met Mr Ada Lovelace today"
    replacer = Replacer({"PERSON": PSEUDONYM}, KEY)
    redacted = replacer.without(text, [Finding(7, 19, "PERSON", 0.85), Finding(4, 10, "TITLE", 0.4)])
    assert redacted == f"met {KEY.pseudonym('PERSON', 'Ada Lovelace')} today"


def test_masks() -> None:
    def masked(text: str, **mask: object) -> str:
        return Replacer({"CARD": Mask.model_validate({"operator": "mask", **mask})}, None).without(
            text, [Finding(0, len(text), "CARD", 1.0)]
        )

    assert masked("4111 1111 1111 1111") == "*" * 15 + "1111"
    assert masked("4111 1111 1111 1111", keep_last=0, char="#") == "#" * 19
    assert masked("1234567") == "*******", "half of a short value is too much"
    assert masked("12345678") == "****5678"
    assert masked("4111\u200b1111\u200b2222") == "*" * 8 + "2222"
    within = [Finding(0, 19, "CARD", 1.0), Finding(5, 19, "PHONE", 0.4)]
    across = [Finding(0, 19, "CARD", 1.0), Finding(15, 23, "PHONE", 0.4)]
    replacer = Replacer({"CARD": Mask(operator="mask")}, None)
    assert replacer.without("4111 1111 1111 1111 222", within) == "*" * 15 + "1111 222"
    assert replacer.without("4111 1111 1111 1111 222", across) == "<CARD>"
