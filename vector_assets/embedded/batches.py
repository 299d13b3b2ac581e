"""Texts of unequal length become batches of about equal work, with little padding."""

from __future__ import annotations

from collections.abc import Sequence


def token_batches(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Group the indexes of `lengths` (in tokens) so that a padded batch, longest × count, stays within `budget` tokens.

    Longest first, so that the last batches to finish are the cheap ones; an item longer than the budget is a batch of its own. Every index
    is in exactly one batch.
    """
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if room == 0:
            batches.append([])
            room = max(1, budget // max(1, lengths[index]))
        batches[-1].append(index)
        room -= 1
    return batches
