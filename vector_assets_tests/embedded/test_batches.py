from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vector_assets.embedded.batches import token_batches


@given(st.lists(st.integers(0, 600), max_size=200), st.integers(1, 2048))
def test_batches_hold_every_index_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = token_batches(lengths, budget=budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[index] for index in batch) * len(batch) <= budget


@given(st.lists(st.integers(1, 600), min_size=1, max_size=200))
def test_little_is_padding(lengths: list[int]) -> None:
    order = [lengths[index] for batch in token_batches(lengths, budget=1024) for index in batch]
    assert order == sorted(lengths, reverse=True)


def test_no_lengths_no_batches() -> None:
    assert token_batches([], budget=10) == []
