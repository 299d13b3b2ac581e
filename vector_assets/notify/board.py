"""What is wrong now, and what each receiver was told of it. Pure, apart from JSON.

There is no queue of messages: what a receiver is to be told is the difference between the causes that are open and those that it knows of.
So whoever was away is told what still matters, in order; what began and ended meanwhile is not told, and nothing grows while a receiver is
down. Telling comes before noting that it was told: a crash in between repeats a message, with the same id.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, NamedTuple, get_args

from vector_assets.fingerprint import version_of

Kind = Literal["blocked_check", "failed_run", "stale_table", "delete_brake"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_OPEN = 1_000
_FEW = 100  # causes whose reasons are kept in full
_REASON_CHARACTERS, _SHORT_CHARACTERS = 1_500, 120
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 30.0, 900.0


@dataclass(frozen=True)
class Cause:
    """Something that is wrong with a table, or was until `ended` (0: it is not over). Times are seconds since 1970.

    `stage` is the one to succeed for it to end; "": all of them. `reason` and `remedy` are our own sentences: no value of a row.
    """

    kind: Kind
    table: str
    began: float
    reason: str = ""
    remedy: str = ""
    stage: str = ""
    run_id: str = ""
    ended: float = 0.0

    @property
    def key(self) -> str:
        """One per table and kind."""
        return f"{self.kind}:{self.table}"


class Message(NamedTuple):
    """That a cause began, or that it is over. `began` is what the receiver was told, or is."""

    cause: Cause
    over: bool
    began: float

    @property
    def id(self) -> str:
        """The same whenever this is told again: 32 hex digits."""
        return version_of("notification", key=self.cause.key, began=int(self.began), over=self.over)

    @property
    def at(self) -> float:
        """When that was."""
        return self.cause.ended if self.over else self.began


@dataclass(frozen=True)
class Delay:
    """A receiver that did not take a message: how often in a row, how often of those it answered, and when it is asked again."""

    failures: int = 0
    answers: int = 0
    until: float = 0.0

    def longer(self, now: float, *, answered: bool) -> Delay:
        """After one more failure: 30 s, doubled each time, 15 minutes at most."""
        wait = min(FIRST_WAIT_SECONDS * 2 ** min(self.failures, 10), LONGEST_WAIT_SECONDS)
        return Delay(self.failures + 1, self.answers + 1 if answered else 0, now + wait)


@dataclass
class Board:
    """Causes by key; what each receiver was told (key → when it began); receivers that are waited for."""

    causes: dict[str, Cause] = field(default_factory=dict)
    told: dict[str, dict[str, float]] = field(default_factory=dict)
    delays: dict[str, Delay] = field(default_factory=dict)

    def begin(self, cause: Cause) -> bool:
        """Something is wrong. What is open already stays as it began; False where there is no room for more."""
        known = self.causes.get(cause.key)
        if known is not None and not known.ended:
            return True
        if known is None and len(self.causes) >= MOST_OPEN:
            return False
        self.causes[cause.key] = replace(cause, reason=_cut(cause.reason), remedy=_cut(cause.remedy))
        return True

    def end(self, key: str, now: float) -> None:
        """It is over. Nothing where it is not open."""
        cause = self.causes.get(key)
        if cause is not None and not cause.ended:
            self.causes[key] = replace(cause, ended=now)

    def open(self) -> Iterator[Cause]:
        """Causes that are not over."""
        yield from [cause for cause in self.causes.values() if not cause.ended]

    def only(self, receivers: Collection[str]) -> None:
        """Forget receivers that are no more."""
        self.told = {name: self.told.get(name, {}) for name in receivers}
        self.delays = {name: delay for name, delay in self.delays.items() if name in receivers}

    def pending(self, receiver: str) -> list[Message]:
        """What a receiver is to be told, in the order in which it happened."""
        told = self.told.get(receiver, {})
        begun = [Message(cause, over=False, began=cause.began) for cause in self.open() if cause.key not in told]
        over = [Message(cause, over=True, began=told[key]) for key, cause in self.causes.items() if cause.ended and key in told]
        return sorted([*begun, *over], key=lambda message: (message.at, message.cause.key))

    def tell(self, receiver: str, message: Message) -> None:
        """A receiver took a message."""
        told = self.told.setdefault(receiver, {})
        if message.over:
            told.pop(message.cause.key, None)
        else:
            told[message.cause.key] = message.began

    def settle(self) -> None:
        """Forget causes that are over and that nobody has to be told of."""
        owed = {key for told in self.told.values() for key in told}
        self.causes = {key: cause for key, cause in self.causes.items() if not cause.ended or key in owed}

    # --- JSON ---

    def as_json(self) -> dict[str, object]:
        """What a cursor holds; below 400 KB in any case, and about 500 bytes for each open cause."""
        full = len(self.causes) <= _FEW
        causes = [cause if full else replace(cause, reason=cause.reason[:_SHORT_CHARACTERS], remedy="") for cause in self.causes.values()]
        return {
            "causes": [asdict(cause) for cause in causes],
            "told": self.told,
            "delays": {name: asdict(delay) for name, delay in self.delays.items()},
        }

    @classmethod
    def of_json(cls, stored: dict[str, object]) -> Board:
        """The inverse. Raises KeyError, TypeError for what is none of ours."""
        content = json.loads(json.dumps(stored))
        causes = [Cause(**cause) for cause in content["causes"]]
        return cls(
            {cause.key: cause for cause in causes}, content["told"], {name: Delay(**delay) for name, delay in content["delays"].items()}
        )


def _cut(text: str) -> str:
    return text if len(text) <= _REASON_CHARACTERS else f"{text[: _REASON_CHARACTERS - 1]}…"
