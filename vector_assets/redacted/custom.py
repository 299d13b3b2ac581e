"""A policy's own recognizers and checksums, as Presidio recognizers. Imported only by worker processes."""

from __future__ import annotations

import regex
from presidio_analyzer import Pattern, PatternRecognizer

from vector_assets.redacted.folding import fold
from vector_assets.redacted.recognizers.payment import alphanumeric, is_account, luhn, mod97
from vector_assets.redaction import Checksum, CustomRecognizer

_SURE = 1.0


class CustomPattern(PatternRecognizer):  # type: ignore[misc]
    """A regular expression or a list of words, with a checksum where one is asked for. Searched in folded text."""

    def __init__(self, spec: CustomRecognizer, language: str) -> None:
        self._checksum: Checksum = spec.checksum
        pattern = Pattern("words", _any_of(spec.words), _SURE) if spec.regex is None else Pattern("regex", spec.regex, spec.score)
        super().__init__(
            supported_entity=spec.entity,
            name=f"Custom_{spec.entity}",
            supported_language=language,
            patterns=[pattern],
            context=list(spec.context),
        )

    def validate_result(self, pattern_text: str) -> bool | None:
        """True: sure; False: no match; None: nobody knows."""
        match self._checksum:
            case "none":
                return None
            case "luhn":
                digits = "".join(filter(str.isdecimal, pattern_text))
                return len(digits) > 1 and luhn(digits)
            case "mod97" | "iban":
                plain = alphanumeric(pattern_text)
                return len(plain) > 2 and (is_account(plain) if self._checksum == "iban" else mod97(plain))


def _any_of(words: tuple[str, ...]) -> str:
    # The longest first: of "Ann" and "Ann Lee", the one that leaves nothing.
    plain = sorted({" ".join(fold(word).text.split()) for word in words}, key=lambda word: (-len(word), word))
    phrases = [r"\s+".join(map(regex.escape, word.split())) for word in plain]
    return rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)"
