"""What people and programs do to text: case, invisible characters, letters of other alphabets, digits apart. Labels move along."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from vector_assets.evaluation.labelled import Piece

_CASED = {"API_KEY", "CRYPTO", "URL_CREDENTIALS"}  # another case is another value
_DIGITS = {"CREDIT_CARD", "PHONE_NUMBER", "US_SSN"}
_GROUPED = {"CREDIT_CARD"}
_HIDDEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_LOOKALIKES = dict(zip("aceopxyiABCEHKMOPTX", "асеорхуіАВСЕНКМОРТХ", strict=True))
_DASHES = "\u2010\u2011\u2012\u2013\u2212"
_SPACES = "\u00a0\u2007\u2009\u202f"

Disguise = Callable[[list[Piece], random.Random], list[Piece]]


def suits(disguise: str, pieces: Sequence[Piece]) -> bool:
    """Whether a disguise leaves these pieces what they are, and has something to do."""
    entities = {piece.entity for piece in pieces if piece.entity is not None}
    if disguise in ("upper case", "lower case"):
        return bool(entities) and not entities & _CASED
    if disguise in ("spaced digits", "punctuated digits"):
        return bool(entities & (_DIGITS if disguise == "spaced digits" else _GROUPED))
    if disguise == "exotic spaces and dashes":
        return any(piece.entity is not None and ("-" in piece.text or " " in piece.text) for piece in pieces)
    return bool(entities)


def _each_value(change: Callable[[str, random.Random], str], only: set[str] | None = None) -> Disguise:
    def disguise(pieces: list[Piece], chance: random.Random) -> list[Piece]:
        return [
            piece._replace(text=change(piece.text, chance))
            if piece.entity is not None and (only is None or piece.entity in only)
            else piece
            for piece in pieces
        ]

    return disguise


def _zero_width(value: str, chance: random.Random) -> str:
    at = chance.randrange(1, max(2, len(value)))
    return value[:at] + chance.choice(_HIDDEN) + value[at:]


def _lookalikes(value: str, chance: random.Random) -> str:
    places = [place for place, character in enumerate(value) if character in _LOOKALIKES]
    # One or two in a word that stays Latin otherwise: that is how it is done where it should not be seen.
    for place in chance.sample(places, min(len(places), 2)) if len(places) < sum(map(str.isalpha, value)) else []:
        value = value[:place] + _LOOKALIKES[value[place]] + value[place + 1 :]
    return value


def _fullwidth(value: str, _: random.Random) -> str:
    return "".join(chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character for character in value)


def _mathematical(value: str, _: random.Random) -> str:
    bold = {**{chr(65 + n): chr(0x1D400 + n) for n in range(26)}, **{chr(97 + n): chr(0x1D41A + n) for n in range(26)}}
    return "".join(bold.get(character, character) for character in value)


def _exotic(value: str, chance: random.Random) -> str:
    return value.replace("-", chance.choice(_DASHES)).replace(" ", chance.choice(_SPACES))


def _spaced(value: str, _: random.Random) -> str:
    """Every digit on its own."""
    return " ".join(value.replace(" ", "")) if value.replace(" ", "").isdigit() else value


def _punctuated(value: str, chance: random.Random) -> str:
    digits, sign = [character for character in value if character.isdigit()], chance.choice("./_")
    return sign.join("".join(digits[at : at + 4]) for at in range(0, len(digits), 4))


DISGUISES: Mapping[str, Disguise] = {
    "upper case": lambda pieces, _: [piece._replace(text=piece.text.upper()) for piece in pieces],
    "lower case": lambda pieces, _: [piece._replace(text=piece.text.lower()) for piece in pieces],
    "zero-width characters": _each_value(_zero_width),
    "lookalike letters": _each_value(_lookalikes),
    "fullwidth characters": _each_value(_fullwidth),
    "mathematical letters": _each_value(_mathematical, {"PERSON", "LOCATION", "ORGANIZATION", "EMAIL_ADDRESS"}),
    "exotic spaces and dashes": _each_value(_exotic),
    "spaced digits": _each_value(_spaced, _DIGITS),
    "punctuated digits": _each_value(_punctuated, _GROUPED),
}
