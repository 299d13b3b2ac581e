"""The seam to a detector of personal data, and Presidio behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Redactor(Protocol):
    """Texts in, texts without personal data out. Deterministic: same text and policy, same output, in any process and order."""

    @property
    def version(self) -> str:
        """Names all that can change the output: the policy, Presidio, spaCy, the NLP model, our own rules."""

    def redact(self, texts: Sequence[str]) -> list[str | Exception]:
        """One answer per text, in order: the redacted text, or the exception that kept this one text from being redacted."""
