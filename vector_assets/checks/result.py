"""What a check came to, and a person's word that it may be so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from vector_assets.errors import ConfigurationError

Figure = int | float | str

_ACCEPTANCE = re.compile(r"\s*(?P<checks>\w+(?:\s*,\s*\w+)*)\s+by\s+(?P<who>[^:]+?)\s*:\s*(?P<why>\S.*?)\s*", re.DOTALL)


class Acceptance(NamedTuple):
    """A person's word that some checks may fail in one run; it is recorded with who and why."""

    checks: frozenset[str]
    who: str
    why: str

    @classmethod
    def parse(cls, text: str) -> Acceptance:
        """`row_count, null_shares by ana@example.com: a whole year was loaded`. Raises ConfigurationError for anything else."""
        match = _ACCEPTANCE.fullmatch(text)
        if match is None:
            raise ConfigurationError(f"{text!r} is not CHECK[, CHECK…] by WHO: WHY")
        return cls(frozenset(re.split(r"\s*,\s*", match["checks"])), match["who"], match["why"])

    def __str__(self) -> str:
        return f"{', '.join(sorted(self.checks))} by {self.who}: {self.why}"


@dataclass(frozen=True)
class CheckResult:
    """What a check of one version came to. Nothing in it holds a value of a row: `said` is a sentence with figures and the limit, `figures`
    are numbers, names of columns and rules, and row ids."""

    name: str
    passed: bool
    said: str
    blocks: bool = False  # failing, it keeps the version from being published
    figures: Mapping[str, Figure] = field(default_factory=dict)
    history: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # of the numbers compared, the oldest first, this version last
    accepted: str = ""  # by whom, and why

    @property
    def stops(self) -> bool:
        """Whether it keeps the version from being published."""
        return self.blocks and not self.passed and not self.accepted

    def under(self, acceptance: Acceptance | None) -> CheckResult:
        """This result where somebody may have accepted it."""
        if self.passed or not self.blocks or acceptance is None or self.name not in acceptance.checks:
            return self
        return replace(self, accepted=f"{acceptance.who}: {acceptance.why}")
