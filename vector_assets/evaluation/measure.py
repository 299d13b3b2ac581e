"""A redactor put to the labelled set."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from vector_assets.evaluation.labelled import Labelled
from vector_assets.evaluation.scoring import Score, scored
from vector_assets.redacted.findings import Failure, Finding


@runtime_checkable
class Finds(Protocol):
    """A redactor that says what it finds."""

    @property
    def version(self) -> str:
        """Names all that can change a finding."""

    def find(self, texts: Sequence[str]) -> list[list[Finding] | Failure]:
        """Findings of each text, in order."""


class Report(NamedTuple):
    """Scores by entity, by kind of text, and by disguise ("none": as it was written); only of the entities that were asked for."""

    entities: Mapping[str, Score]
    kinds: Mapping[str, Score]
    disguises: Mapping[str, Score]

    def json(self) -> dict[str, dict[str, dict[str, float]]]:
        """All of it."""
        return {part: {name: score.json() for name, score in scores.items()} for part, scores in self._asdict().items()}


def measured(redactor: Finds, entities: Collection[str], texts: Sequence[Labelled]) -> Report:
    """What a redactor finds of some entities in labelled texts. A text that cannot be searched counts as one where nothing was found."""
    found = [[] if isinstance(answer, Failure) else answer for answer in redactor.find([text.text for text in texts])]
    by_entity = scored(texts, found)
    asked = [text._replace(labels=tuple(label for label in text.labels if label.entity in entities)) for text in texts]
    return Report(
        {entity: score for entity, score in by_entity.items() if entity in entities},
        _grouped([text.kind for text in asked], asked, found),
        _grouped([text.disguise or "none" for text in asked], asked, found),
    )


def _grouped(names: Sequence[str], texts: Sequence[Labelled], found: Sequence[list[Finding]]) -> dict[str, Score]:
    groups: dict[str, tuple[list[Labelled], list[list[Finding]]]] = {}
    for name, text, findings in zip(names, texts, found, strict=True):
        group = groups.setdefault(name, ([], []))
        group[0].append(text)
        group[1].append(findings)
    return {name: sum(scored(*group).values(), Score()) for name, group in sorted(groups.items())}
