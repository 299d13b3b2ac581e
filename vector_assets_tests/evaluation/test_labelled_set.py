"""The labelled set: the same for everybody, labelled where it should be, and of every sort that it promises."""

import random
import re
import subprocess
import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from vector_assets.evaluation.disguises import DISGUISES, suits
from vector_assets.evaluation.identifiers import Identifiers
from vector_assets.evaluation.labelled import Piece, assembled
from vector_assets.evaluation.labelled_set import labelled_set
from vector_assets.evaluation.templates import TEMPLATES
from vector_assets.redacted.folding import fold
from vector_assets.redacted.recognizers import FINDERS

SET = labelled_set(400)
PIECES = st.lists(st.builds(Piece, st.text(max_size=8), st.sampled_from([None, "PERSON", "PHONE_NUMBER", "API_KEY"])), max_size=8)


def test_it_is_the_same_in_every_process_and_a_smaller_one_is_its_beginning() -> None:
    assert labelled_set(40) == SET[:40]
    code = "from vector_assets.evaluation.labelled_set import labelled_set; print(ascii(labelled_set(400)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"})
    assert run.stdout.strip() == ascii(SET)


def test_it_has_every_kind_disguise_and_entity() -> None:
    assert {text.kind for text in SET} == set(TEMPLATES)
    assert {text.disguise for text in SET} == {"", *DISGUISES}
    labels = Counter(label.entity for text in SET for label in text.labels)
    assert set(labels) == {finder.entity for finder in FINDERS} | {"PERSON", "LOCATION", "ORGANIZATION"}
    assert min(labels.values()) >= 15


def test_labels_hold_values_and_only_those() -> None:
    for text in SET:
        assert all(text.text[label.start : label.end].strip() for label in text.labels)
        assert all(one.end <= other.start for one, other in zip(text.labels, text.labels[1:], strict=False))
        assert (text.kind == "none") == (not text.labels)
        assert not re.search(r"\{[A-Z]", text.text), "a placeholder was left"


def test_mail_addresses_are_where_their_labels_say() -> None:
    for text in SET:
        for label in text.labels:
            if label.entity == "EMAIL_ADDRESS":
                value = fold(text.text[label.start : label.end]).text
                assert re.search(r"@|\bat\b|AT", value), value


@given(PIECES)
def test_assembling_puts_pieces_in_a_row(pieces: list[Piece]) -> None:
    text = assembled(pieces, "sentence")
    assert text.text == "".join(piece.text for piece in pieces)
    assert [text.text[a:b] for a, b, _ in text.labels] == [piece.text for piece in pieces if piece.entity and piece.text]


@given(PIECES, st.sampled_from(sorted(DISGUISES)), st.integers())
def test_disguises_keep_pieces_in_order(pieces: list[Piece], disguise: str, seed: int) -> None:
    after = DISGUISES[disguise](pieces, random.Random(seed))
    assert [piece.entity for piece in after] == [piece.entity for piece in pieces]
    if not any(piece.entity for piece in pieces):
        assert not suits(disguise, pieces)


@given(st.integers())
def test_card_numbers_have_their_check_digit(seed: int) -> None:
    digits = [int(digit) for digit in Identifiers(random.Random(seed)).card()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    assert (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


@given(st.integers())
def test_coins_pass_the_checks_of_presidio(seed: int) -> None:
    coin = Identifiers(random.Random(seed)).coin()
    [crypto] = [finder for finder in FINDERS if finder.entity == "CRYPTO"]
    assert [coin[match.start : match.end] for match in crypto.matches(coin)] == [coin]
