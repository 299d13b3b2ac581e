"""What a check is, and how checks follow one another."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")

SERVER_SECONDS = 10.0  # how long doctor waits for a server that does not answer; a sync is more patient
MAX_SKEW_SECONDS = 5.0


class Remark(str):
    """Found, usable, and worth a look."""

    __slots__ = ()


class Check(NamedTuple):
    """One question. `look` answers with what it found, or raises VectorAssetsError with the remedy."""

    name: str
    look: Callable[[], str]


Checks: TypeAlias = Generator[Check, bool, T]
"""Checks in their order. Each is answered with whether it passed, before the next one is asked for."""


def skew(theirs: float, asked: float, answered: float, *, where: str) -> str:
    """What to say of a clock that read `theirs` between `asked` and `answered` of ours, all in seconds since 1970."""
    apart = max(asked - theirs, theirs - answered, 0.0)
    if apart <= MAX_SKEW_SECONDS:
        return "agrees with ours"
    behind = "behind" if theirs < asked else "ahead of"
    return Remark(
        f"{where} is {apart:,.0f} s {behind} this machine: times in its tables and in ours do not fit; set one of the clocks right"
    )


def now() -> float:
    """This machine's clock, seconds since 1970."""
    return time.time()
