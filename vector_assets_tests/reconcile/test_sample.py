"""The sample of rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vector_assets.reconcile.sample import smallest
from vector_assets_tests.fakes import hashes


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(0, 2**127), st.integers(0, 99)), unique=True, max_size=30), st.integers(0, 10))
def test_the_smallest_ids_in_their_order(values: list[int], count: int) -> None:
    ids = hashes(*values)
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    assert (ids[smallest(ids, count)] == ids[order[:count]]).all()


@settings(deadline=None)
@given(st.sets(st.integers(0, 2**127), min_size=10, max_size=30), st.sets(st.integers(0, 2**127), max_size=10))
def test_it_stays_while_its_rows_stay(values: set[int], others: set[int]) -> None:
    ids = hashes(*values)
    kept = {tuple(each) for each in ids[smallest(ids, 5)].tolist()}
    more = hashes(*values, *(others - values))
    now = {tuple(each) for each in more[smallest(more, 5)].tolist()}
    known = {tuple(each) for each in ids.tolist()}
    assert now & known <= kept
