"""What counts as found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.evaluation.labelled import Label, Labelled, Piece, assembled
from vector_assets.evaluation.measure import measured
from vector_assets.evaluation.scoring import Score, missed, scored
from vector_assets.redacted.findings import Failure, Finding

TEXT = assembled([Piece("call "), Piece("(212) 555-0123", "PHONE_NUMBER"), Piece(" or "), Piece("Ann Lee", "PERSON"), Piece(".")], "ticket")
PHONE, PERSON = TEXT.labels


def found(start: int, end: int, entity: str) -> Finding:
    return Finding(start, end, entity, 0.9)


def test_every_letter_and_digit_has_to_be_covered() -> None:
    inside = found(PHONE.start + 1, PHONE.end, "PHONE_NUMBER")  # not the bracket
    halves = [found(PERSON.start, PERSON.start + 3, "PERSON"), found(PERSON.start + 4, PERSON.end, "LOCATION")]
    assert missed(TEXT, [inside, *halves]) == []
    assert missed(TEXT, [found(PHONE.start, PHONE.end - 1, "PHONE_NUMBER"), halves[0]]) == [PHONE, PERSON]


def test_what_is_covered_under_another_name_is_told_apart() -> None:
    scores = scored([TEXT], [[found(PERSON.start, PERSON.end, "LOCATION"), found(PHONE.start, PHONE.end, "PHONE_NUMBER")]])
    assert scores == {
        "LOCATION": Score(findings=1, right=1),
        "PERSON": Score(labels=1, found=1, mislabelled=1),
        "PHONE_NUMBER": Score(labels=1, found=1, findings=1, right=1),
    }


def test_what_touches_no_label_is_wrong() -> None:
    scores = scored([TEXT, TEXT], [[found(0, 4, "PERSON"), found(PERSON.start, PERSON.end, "PERSON")], []])
    assert (scores["PERSON"].recall, scores["PERSON"].precision) == (0.5, 0.5)
    assert scores["PERSON"].f2 == pytest.approx(0.5)
    assert scores["PHONE_NUMBER"].recall == 0.0
    assert scores["PHONE_NUMBER"].f2 == 0.0


SCORES = st.builds(Score, *[st.integers(0, 50)] * 5)


@given(SCORES, SCORES)
def test_scores_add_up(one: Score, other: Score) -> None:
    both = one + other
    assert both.labels == one.labels + other.labels
    assert both.right == one.right + other.right
    assert one + Score() == one


@given(st.integers(1, 50), st.data())
def test_f2_lies_between_recall_and_precision(labels: int, data: st.DataObject) -> None:
    score = Score(labels, data.draw(st.integers(1, labels)), 0, labels, data.draw(st.integers(1, labels)))
    low, high = sorted([score.recall, score.precision])
    assert low - 1e-12 <= score.f2 <= high + 1e-12
    if score.recall < score.precision:
        assert score.f2 <= 2 * score.recall * score.precision / (score.recall + score.precision) + 1e-12  # F1: recall weighs more


class Scripted:
    """Finds what it is told to find."""

    version = "scripted"

    def __init__(self, answers: list[list[Finding] | Failure]) -> None:
        self._answers = answers

    def find(self, texts: list[str]) -> list[list[Finding] | Failure]:
        return self._answers


def test_a_report_speaks_of_the_entities_asked_for() -> None:
    texts = [TEXT, TEXT._replace(disguise="upper case"), Labelled("x", (Label(0, 1, "PERSON"),), "log")]
    answers: list[list[Finding] | Failure] = [[found(PHONE.start, PHONE.end, "PHONE_NUMBER")], [], Failure("why")]
    report = measured(Scripted(answers), {"PHONE_NUMBER"}, texts)  # type: ignore[arg-type]
    assert report.entities == {"PHONE_NUMBER": Score(labels=2, found=1, findings=1, right=1)}
    assert {name: (score.labels, score.found) for name, score in report.kinds.items()} == {"log": (0, 0), "ticket": (2, 1)}
    assert {name: score.found for name, score in report.disguises.items()} == {"none": 1, "upper case": 0}
    assert report.json()["entities"]["PHONE_NUMBER"]["recall"] == 0.5
