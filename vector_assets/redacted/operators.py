"""What stands in a text for what was found there: a type tag, a keyed pseudonym, or a mask. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vector_assets.redacted.findings import Finding, groups
from vector_assets.redacted.folding import fold
from vector_assets.redaction import Mask, Operator, Pseudonym

PSEUDONYM_DIGITS = 16  # 64 bits: among a million values, two share a pseudonym with a chance of 3e-8
_KEY_DIGITS = 6


class Key(NamedTuple):
    """Makes pseudonyms. `id` names the secret and tells nothing of it."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.id})"

    @classmethod
    def of(cls, secret: bytes) -> Key:
        """The key that a secret stands for: a key of its own for this one purpose."""
        return cls(
            hmac.digest(secret, b"vector_assets pseudonym key id", "sha256").hex()[:_KEY_DIGITS],
            hmac.digest(secret, b"vector_assets pseudonyms", "sha256"),
        )

    def pseudonym(self, entity: str, value: str) -> str:
        """`<ENTITY:KEY:DIGITS>`: HMAC-SHA256 over the value without regard to case, runs of whitespace, and what a reader cannot see."""
        normal = " ".join(fold(value).text.casefold().split())
        digest = hmac.digest(self.secret, f"{entity}\0{normal}".encode(), "sha256")
        return f"<{entity}:{self.id}:{digest.hex()[:PSEUDONYM_DIGITS]}>"


class Replacer:
    """Replaces findings by the operators of a policy."""

    def __init__(self, operators: Mapping[str, Operator], key: Key | None) -> None:
        """`key`: needed where an operator is a pseudonym."""
        self._operators, self._key = operators, key

    def without(self, text: str, findings: Iterable[Finding]) -> str:
        """The text with every found character replaced. Findings that overlap become one, replaced as the best of them (highest score,
        then longest, then by name); the order of the findings does not matter."""
        pieces, position = [], 0
        for group in groups(findings):
            end = max(found.end for found in group)
            pieces += [text[position : group[0].start], self._replacement(text, group, end)]
            position = end
        return "".join([*pieces, text[position:]])

    def _replacement(self, text: str, group: list[Finding], end: int) -> str:
        best = min(group, key=lambda found: (-found.score, found.start - found.end, found.entity))
        match self._operators.get(best.entity):
            case Pseudonym() if self._key is not None:
                return self._key.pseudonym(best.entity, text[best.start : best.end])
            # A mask lets characters through: only where all that was found is part of it, as a domain is of an e-mail address.
            case Mask() as mask if (best.start, best.end) == (group[0].start, end):
                return _masked(text[best.start : end], mask)
        return f"<{best.entity}>"


def _masked(value: str, mask: Mask) -> str:
    plain = fold(value).text
    kept = mask.keep_last if len(plain) >= 2 * mask.keep_last else 0
    return mask.char * (len(plain) - kept) + plain[len(plain) - kept :]
