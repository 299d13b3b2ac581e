"""Finders as Presidio recognizers. Imported only by worker processes, like `detector.py`."""

from __future__ import annotations

from presidio_analyzer import EntityRecognizer, RecognizerResult
from presidio_analyzer.nlp_engine import NlpArtifacts

from vector_assets.redacted.recognizers.match import Finder


class FinderRecognizer(EntityRecognizer):  # type: ignore[misc]
    """One finder. It has no context words of Presidio's kind: what a finder wants to know of its surroundings it reads itself."""

    def __init__(self, finder: Finder, language: str) -> None:
        self.finder = finder
        super().__init__(supported_entities=[finder.entity], name=f"Formatted_{finder.entity}", supported_language=language)

    def load(self) -> None:
        """Nothing."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None) -> list[RecognizerResult]:
        """Matches as results; reads the text alone."""
        known = {RecognizerResult.RECOGNIZER_NAME_KEY: self.name, RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: self.id}
        return [
            RecognizerResult(self.finder.entity, match.start, match.end, match.score, recognition_metadata=dict(known))
            for match in self.finder.matches(text)
        ]
