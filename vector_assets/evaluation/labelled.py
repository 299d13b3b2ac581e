"""A text and the personal data in it, put together from pieces, so that nobody has to search for what the labels say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Piece(NamedTuple):
    """A part of a text. `entity`: what it is, if it is personal data."""

    text: str
    entity: str | None = None


class Label(NamedTuple):
    """Personal data at text[start:end]."""

    start: int
    end: int
    entity: str


class Labelled(NamedTuple):
    """A text with all of its personal data labelled. `kind`: what sort of text; `disguise`: what was done to it, "" for nothing."""

    text: str
    labels: tuple[Label, ...]
    kind: str
    disguise: str = ""


def assembled(pieces: Iterable[Piece], kind: str, disguise: str = "") -> Labelled:
    """The pieces in a row."""
    texts, labels, place = [], [], 0
    for piece in pieces:
        if piece.entity is not None and piece.text:
            labels.append(Label(place, place + len(piece.text), piece.entity))
        texts.append(piece.text)
        place += len(piece.text)
    return Labelled("".join(texts), tuple(labels), kind, disguise)
