"""How findings compare with labels: recall, precision and F2 per entity. Pure.

*Found*: every letter and digit of a label is covered by findings, of whatever entity: what counts is that nothing is left to read. A label
that is covered, but by no finding of its own entity, is *mislabelled*, and told apart. *Right*: a finding that shares a character with a
label. F2 = 5PR / (4P + R) weighs recall twice as much as precision (van Rijsbergen 1979).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Self

from vector_assets.evaluation.labelled import Label, Labelled
from vector_assets.redacted.findings import Finding


@dataclass(frozen=True)
class Score:
    """Of one entity. `labels` there were, `found` of them, `mislabelled` of those; `findings` there were, `right` of them."""

    labels: int = 0
    found: int = 0
    mislabelled: int = 0
    findings: int = 0
    right: int = 0

    @property
    def recall(self) -> float:
        """Share of labels found; 1 without labels."""
        return self.found / self.labels if self.labels else 1.0

    @property
    def precision(self) -> float:
        """Share of findings that are right; 1 without findings."""
        return self.right / self.findings if self.findings else 1.0

    @property
    def f2(self) -> float:
        """See above."""
        weighed = 4 * self.precision + self.recall
        return 5 * self.precision * self.recall / weighed if weighed else 0.0

    def __add__(self, other: Self) -> Score:
        return Score(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def json(self) -> dict[str, float]:
        """Counts and rates."""
        rates = {"recall": self.recall, "precision": self.precision, "f2": self.f2}
        return {**asdict(self), **{name: round(rate, 4) for name, rate in rates.items()}}


def scored(texts: Sequence[Labelled], findings: Sequence[Iterable[Finding]]) -> dict[str, Score]:
    """Scores by entity, of texts and what was found in each of them; entities in alphabetical order."""
    scores: dict[str, Score] = {}
    for text, found in zip(texts, findings, strict=True):
        for entity, score in _of_text(text, list(found)):
            scores[entity] = scores.get(entity, Score()) + score
    return dict(sorted(scores.items()))


def missed(text: Labelled, findings: Iterable[Finding]) -> list[Label]:
    """Labels that are not found."""
    covered = _covered(findings)
    return [label for label in text.labels if not _is_found(text.text, label, covered)]


def _of_text(text: Labelled, findings: Sequence[Finding]) -> Iterable[tuple[str, Score]]:
    covered = _covered(findings)
    for label in text.labels:
        is_found = _is_found(text.text, label, covered)
        named = any(found.entity == label.entity and _touch(found, label) for found in findings)
        yield label.entity, Score(labels=1, found=int(is_found), mislabelled=int(is_found and not named))
    for found in findings:
        yield found.entity, Score(findings=1, right=int(any(_touch(found, label) for label in text.labels)))


def _covered(findings: Iterable[Finding]) -> set[int]:
    return {place for found in findings for place in range(found.start, found.end)}


def _is_found(text: str, label: Label, covered: set[int]) -> bool:
    return all(place in covered for place in range(label.start, label.end) if text[place].isalnum())


def _touch(found: Finding, label: Label) -> bool:
    return found.start < label.end and label.start < found.end
