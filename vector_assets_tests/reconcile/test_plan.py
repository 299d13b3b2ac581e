"""The plan against a dictionary that does the same by hand; ids from a small space, so that first lanes tie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.fingerprint import Hashes, empty_hashes
from vector_assets.reconcile.plan import Lookup, RowSet, distinct, plan

Pair = tuple[int, int]
PAIRS = st.tuples(st.integers(0, 2), st.integers(0, 3))  # twelve ids, four to each first lane
EXTREMES = st.tuples(st.sampled_from([0, 2**64 - 1]), st.sampled_from([0, 1, 2**64 - 1]))
SETS = st.dictionaries(PAIRS | EXTREMES, PAIRS, max_size=14)
SCANS = st.lists(st.tuples(PAIRS, PAIRS), max_size=14)


def lanes(pairs: list[Pair]) -> Hashes:
    return np.array(pairs, dtype=np.uint64) if pairs else empty_hashes()


def rows(content: dict[Pair, Pair]) -> RowSet:
    return RowSet(lanes(list(content)), lanes(list(content.values())))


@given(SETS, SETS)
def test_plan_is_what_a_dictionary_says(desired: dict[Pair, Pair], observed: dict[Pair, Pair]) -> None:
    made = plan(rows(desired), rows(observed))
    wanted, there = list(desired), list(observed)
    assert made.inserts.tolist() == [i for i, key in enumerate(wanted) if key not in observed]
    assert made.changes.tolist() == [i for i, key in enumerate(wanted) if key in observed and observed[key] != desired[key]]
    assert [there[i] for i in made.previous] == [wanted[i] for i in made.changes]
    assert made.deletes.tolist() == [i for i, key in enumerate(there) if key not in desired]
    assert made.unchanged == sum(observed.get(key) == value for key, value in desired.items())
    assert made.upserts == len(made.inserts) + len(made.changes)


@given(SETS, SETS)
def test_carrying_out_a_plan_leaves_nothing_to_do(desired: dict[Pair, Pair], observed: dict[Pair, Pair]) -> None:
    made, wanted, there = plan(rows(desired), rows(observed)), list(desired), list(observed)
    after = {key: value for i, (key, value) in enumerate(observed.items()) if i not in made.deletes}
    after |= {wanted[i]: desired[wanted[i]] for i in (*made.inserts, *made.changes)}
    again = plan(rows(desired), rows(after))
    assert again.upserts == len(again.deletes) == 0
    assert again.unchanged == len(desired)
    assert len(made.inserts) + len(made.changes) + made.unchanged == len(desired)
    assert len(there) - len(made.deletes) == len(made.changes) + made.unchanged


@given(SETS.filter(bool), SETS, st.booleans(), st.data())
def test_an_id_that_occurs_twice_is_an_error(content: dict[Pair, Pair], other: dict[Pair, Pair], left: bool, data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(list(content)))
    twice = RowSet(lanes([*content, again]), lanes([*content.values(), (9, 9)]))
    with pytest.raises(ValueError, match="twice"):
        plan(*((twice, rows(other)) if left else (rows(other), twice)))


def test_an_id_that_occurs_twice_among_many_is_an_error_wherever_sorting_puts_it() -> None:
    ids = np.random.default_rng(0).integers(0, 2**63, (5_000, 2)).astype(np.uint64)
    once = RowSet(ids, ids)
    for at in range(0, len(ids), 100):  # large sorts are not stable: left, right, left made two good pairs of a third of these
        twice = RowSet(np.concatenate([ids, ids[at : at + 1]]), np.concatenate([ids, ids[at : at + 1]]))
        for sides in ((twice, once), (once, twice)):
            with pytest.raises(ValueError, match="twice"):
                plan(*sides)


def test_many_rows_and_a_few_differences() -> None:
    random = np.random.default_rng(1)
    ids = random.integers(0, 2**64, (50_000, 2), dtype=np.uint64)
    observed = RowSet(ids[:49_000], ids[:49_000])
    fingerprints = ids.copy()
    fingerprints[2_000:2_010] += np.uint64(1)
    kept = random.permutation(np.arange(1_000, 50_000))
    made = plan(RowSet(ids[kept], fingerprints[kept]), observed)
    assert sorted(kept[made.inserts]) == list(range(49_000, 50_000))
    assert sorted(kept[made.changes]) == list(range(2_000, 2_010))
    assert (made.previous == kept[made.changes]).all()
    assert made.deletes.tolist() == list(range(1_000))
    assert made.unchanged == 48_000 - 10


@given(SETS, st.lists(PAIRS | EXTREMES, max_size=20))
def test_lookup_finds_what_is_there(content: dict[Pair, Pair], asked: list[Pair]) -> None:
    there = list(content)
    found = Lookup(lanes(there)).find(lanes(asked))
    assert found.tolist() == [there.index(key) if key in content else -1 for key in asked]


@given(SCANS)
def test_distinct_collapses_and_remembers(scan: list[tuple[Pair, Pair]]) -> None:
    made = distinct(RowSet(lanes([key for key, _ in scan]), lanes([value for _, value in scan])))
    groups: dict[Pair, list[Pair]] = {}
    for key, value in scan:
        groups.setdefault(key, []).append(value)
    keys = [key for key, _ in scan]
    assert made.positions.tolist() == [keys.index(key) for key in groups]
    assert made.repeated.tolist() == [len(values) > 1 for values in groups.values()]
    for combined, values in zip(made.fingerprints, groups.values(), strict=True):
        alone = {tuple(map(int, combined)) == value for value in values}
        assert alone == {len(values) == 1}


@given(SCANS, st.randoms(use_true_random=False))
def test_distinct_does_not_mind_the_order(scan: list[tuple[Pair, Pair]], random: object) -> None:
    def combined(part: list[tuple[Pair, Pair]]) -> dict[Pair, tuple[int, ...]]:
        made = distinct(RowSet(lanes([key for key, _ in part]), lanes([value for _, value in part])))
        return {part[at][0]: tuple(map(int, fp)) for at, fp in zip(made.positions, made.fingerprints, strict=True)}

    shuffled = list(scan)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert combined(shuffled) == combined(scan)
