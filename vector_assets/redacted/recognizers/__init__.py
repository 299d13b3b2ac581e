"""Recognizers of formatted identifiers, written from their standards; they join Presidio's own in the worker processes.

One module per kind, each with pure finders (text in, spans out) that know nothing of Presidio; `presidio.py` makes recognizers of them.
They expect folded text (see `folding`): no hidden characters, ASCII digits, plain dashes and spaces.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from vector_assets.redacted.recognizers.crypto import CRYPTO
from vector_assets.redacted.recognizers.keys import API_KEY
from vector_assets.redacted.recognizers.mail import EMAIL
from vector_assets.redacted.recognizers.match import Finder
from vector_assets.redacted.recognizers.national import US_SSN
from vector_assets.redacted.recognizers.network import IP, URL_CREDENTIALS
from vector_assets.redacted.recognizers.payment import CARD, IBAN
from vector_assets.redacted.recognizers.phone import PHONE

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

FINDERS: tuple[Finder, ...] = (API_KEY, CARD, CRYPTO, EMAIL, IBAN, IP, PHONE, URL_CREDENTIALS, US_SSN)


class Policy(Protocol):
    """What is read of a redaction policy."""

    @property
    def entities(self) -> Collection[str]:
        """Names of what counts as personal data."""


def build(policy: Policy, language: str) -> list[EntityRecognizer]:
    """Presidio recognizers for those entities of a policy that have a finder; one per finder, under Presidio's names of entities.

    Only for worker processes: imports Presidio.
    """
    from vector_assets.redacted.recognizers.presidio import FinderRecognizer

    return [FinderRecognizer(finder, language) for finder in FINDERS if finder.entity in policy.entities]
