"""The labelled set: templates filled with made-up values, some of them disguised, the same for everybody who asks for as many.

It is made without a look at how anything is recognized, so that what it measures is not itself.
"""

from __future__ import annotations

import random
import re
import string
import uuid
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from vector_assets.evaluation.disguises import DISGUISES, suits
from vector_assets.evaluation.labelled import Labelled, Piece, assembled
from vector_assets.evaluation.people import People
from vector_assets.evaluation.templates import TEMPLATES

SEED = 20_260
SET_VERSION: int = 1
"""Raise it whenever the texts change: evaluations of another set are not compared with."""

_DISGUISED_SHARE = 0.4
_SLOT = re.compile(r"\{\{|\}\}|\{(\w+)\}")


def labelled_set(size: int, seed: int = SEED) -> list[Labelled]:
    """`size` texts; a smaller set is the beginning of a larger one. Needs Faker; 2,000 texts take about 2 s."""
    return list(islice(_texts(seed), size))


def _texts(seed: int) -> Iterator[Labelled]:
    chance, people = random.Random(seed), People(seed)  # noqa: S311  made-up data
    plain = _Plain(chance)
    templates = [(kind, template) for kind, several in TEMPLATES.items() for template in several]
    while True:
        chance.shuffle(templates)
        for kind, template in templates:
            pieces = list(_filled(template, people, plain))
            disguise = ""
            if chance.random() < _DISGUISED_SHARE and (suited := [name for name in DISGUISES if suits(name, pieces)]):
                disguise = chance.choice(suited)
                pieces = DISGUISES[disguise](pieces, chance)
            yield assembled(pieces, kind, disguise)


def _filled(template: str, people: People, plain: _Plain) -> Iterator[Piece]:
    place = 0
    for slot in _SLOT.finditer(template):
        yield Piece(template[place : slot.start()])
        place = slot.end()
        name = slot[1]
        if name is None:
            yield Piece(slot.group()[0])
        elif name.islower():
            yield Piece(plain.drawn(name))
        else:
            yield from people.drawn(name)
    yield Piece(template[place:])


class _Plain:
    """Draws what looks like personal data and is none."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._makers: Mapping[str, Callable[[], str]] = {
            "order": lambda: chance.choice(
                [f"{chance.randrange(10**7):07}", f"A-{chance.randrange(10**6):06}", f"#{chance.randrange(10**5)}"]
            ),
            "version": lambda: ".".join(str(chance.randrange(30)) for _ in range(chance.choice([2, 3, 3]))),
            "date": lambda: chance.choice(["2025-03-{:02}", "{:02}.03.2025", "03/{:02}/2025", "March {}, 2025"]).format(
                chance.randint(1, 28)
            ),
            "time": lambda: f"{chance.randrange(24):02}:{chance.randrange(60):02}",
            "price": lambda: chance.choice(["${:,}.99", "{} EUR", "€ {},50"]).format(chance.randrange(10 ** chance.randint(1, 6))),
            "count": lambda: str(chance.randrange(10 ** chance.randint(1, 7))),
            "isbn": lambda: f"978-{chance.randrange(10)}-{chance.randrange(100, 999)}-{chance.randrange(10**5):05}-{chance.randrange(10)}",
            "uuid": lambda: str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "git": lambda: "".join(chance.choices(string.digits + "abcdef", k=chance.choice([7, 12, 40]))),
        }

    def drawn(self, placeholder: str) -> str:
        return self._makers[placeholder]()
