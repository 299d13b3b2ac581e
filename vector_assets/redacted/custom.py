"""A policy's own recognizers and checksums, as Presidio recognizers. Imported only by worker processes."""

from __future__ import annotations

import regex
from presidio_analyzer import Pattern, PatternRecognizer

from vector_assets.redacted.folding import fold
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
                return luhn(pattern_text)
            case "mod97":
                return mod97(pattern_text)
            case "iban":
                plain = [character for character in pattern_text if character.isalnum()]
                return mod97("".join(plain[4:] + plain[:4]))


def luhn(text: str) -> bool:
    """Whether the digits of a text end in their check digit (ISO/IEC 7812-1, annex B)."""
    digits = [int(character) for character in text if character.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return len(digits) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def mod97(text: str) -> bool:
    """Whether the letters and digits of a text leave 1 (ISO/IEC 7064, MOD 97-10; A is 10, Z is 35)."""
    plain = [character for character in text.upper() if character.isalnum()]
    if len(plain) < 3 or not "".join(plain).isascii():
        return False
    return int("".join(str(int(character, 36)) for character in plain)) % 97 == 1


def _any_of(words: tuple[str, ...]) -> str:
    # The longest first: of "Ann" and "Ann Lee", the one that leaves nothing.
    plain = sorted({" ".join(fold(word).text.split()) for word in words}, key=lambda word: (-len(word), word))
    phrases = [r"\s+".join(map(regex.escape, word.split())) for word in plain]
    return rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)"
