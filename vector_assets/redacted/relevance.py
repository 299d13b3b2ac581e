"""Which of Presidio's recognizers could find anything in a text at all. Imported only by worker processes.

Each of these follows from the recognizer's own pattern; a recognizer that is not named here, or whose patterns are not those of its class,
always runs. The finders of formatted identifiers (`recognizers/`) know by themselves. A phone number has at least four digits: the shortest
that the metadata of Presidio's regions allows; numbers from abroad have more, with the code of their country.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import regex
from presidio_analyzer import EntityRecognizer
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    CryptoRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    MedicalLicenseRecognizer,
    PhoneRecognizer,
    UrlRecognizer,
    UsSsnRecognizer,
)

_DIGIT = re.compile(r"\d")
_DOMAIN = regex.compile(r"\.[a-z]{2}", regex.IGNORECASE)  # as UrlRecognizer's: it thinks that U+017F is an s, and U+212A a k


class Traits(NamedTuple):
    """What recognizers need. `digits`: how many decimal digits, of any script."""

    text: str
    digits: int

    @classmethod
    def of(cls, text: str) -> Traits:
        """Looked at once per text."""
        return cls(text, len(_DIGIT.findall(text)))


Needs = Callable[[Traits], bool]
_NEEDS: Mapping[type[EntityRecognizer], Needs] = {
    CreditCardRecognizer: lambda traits: traits.digits >= 13,
    CryptoRecognizer: lambda traits: traits.digits >= 1,
    EmailRecognizer: lambda traits: "@" in traits.text,
    IbanRecognizer: lambda traits: traits.digits >= 2,
    IpRecognizer: lambda traits: "::" in traits.text or traits.text.count(":") >= 6 or (traits.digits >= 4 and traits.text.count(".") >= 3),
    MedicalLicenseRecognizer: lambda traits: traits.digits >= 7,
    PhoneRecognizer: lambda traits: traits.digits >= 4,
    UrlRecognizer: lambda traits: _DOMAIN.search(traits.text) is not None,
    UsSsnRecognizer: lambda traits: traits.digits >= 9,
}


def needs_of(recognizer: EntityRecognizer) -> Needs | None:
    """What a text must have for this recognizer to find anything; None: nobody knows."""
    kind = type(recognizer)
    if getattr(recognizer, "patterns", None) != getattr(kind, "PATTERNS", None):
        return None
    return _NEEDS.get(kind)
