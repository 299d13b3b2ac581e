"""A sample of rows that stays the same while its rows stay, whatever else comes and goes."""

from __future__ import annotations

import numpy as np

from vector_assets.fingerprint import Hashes
from vector_assets.reconcile.plan import Positions


def smallest(ids: Hashes, count: int) -> Positions:
    """Positions of the smallest ids, ascending; ids are hashes, so they are a fair sample. Linear in the number of ids."""
    first = ids[:, 0]
    few = np.arange(len(first))
    if len(first) > count:
        few = np.flatnonzero(first <= np.partition(first, count)[count])
    ordered: Positions = few[np.lexsort((ids[few, 1], first[few]))][:count]
    return ordered
