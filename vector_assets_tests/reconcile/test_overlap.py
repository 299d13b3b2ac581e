"""Reading, computing and writing at once: in order, bounded, and honest about whatever goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vector_assets.pipeline import STAGES, Run
from vector_assets.reconcile.overlap import overlap
from vector_assets.tables import TableRef
from vector_assets_tests.scripted import Lake, sources


def no_threads_left() -> bool:
    return not {thread.name for thread in threading.enumerate()} & {"read", "write"}


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=30), st.integers(1, 4))
def test_everything_is_written_once_in_order(items: list[int], depth: int) -> None:
    written: list[int] = []
    overlap(items, lambda item: item * 2, written.append, depth=depth)
    assert written == [item * 2 for item in items]
    assert no_threads_left()


def test_computing_is_done_by_the_caller() -> None:
    threads: dict[str, set[threading.Thread]] = {"read": set(), "compute": set(), "write": set()}

    def here(side: str, item: int) -> int:
        threads[side].add(threading.current_thread())
        return item

    overlap((here("read", item) for item in range(5)), lambda item: here("compute", item), lambda item: here("write", item) and None)
    assert threads["compute"] == {threading.current_thread()}
    assert len(threads["read"] | threads["compute"] | threads["write"]) == 3


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_reading_ahead_is_bounded_where_computing_is_slow(depth: int) -> None:
    read, ahead = [0], [0]
    full = threading.Event()

    def items() -> Iterator[int]:
        for item in range(50):
            read[0] = item + 1
            if item == depth + 1:  # one in hand of the reader, `depth` queued, one being computed
                full.set()
            yield item

    def compute(item: int) -> int:
        if item == 0:
            assert full.wait(10)
        ahead[0] = max(ahead[0], read[0] - item)
        return item

    overlap(items(), compute, lambda _: None, depth=depth)
    assert ahead[0] == depth + 2


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_computing_ahead_is_bounded_where_writing_is_slow(depth: int) -> None:
    computed = [0]
    full = threading.Event()
    ahead = []

    def compute(item: int) -> int:
        computed[0] = item + 1
        if item == depth + 1:
            full.set()
        return item

    def write(item: int) -> None:
        if item == 0:
            assert full.wait(10)
        ahead.append(computed[0] - item)

    overlap(range(50), compute, write, depth=depth)
    assert max(ahead) == depth + 2


class Broken(Exception):
    pass


def failing(side: str, at: int, error: type[BaseException]) -> tuple[Iterator[int], Callable[[int], int], Callable[[int], None], list[int]]:
    written: list[int] = []

    def fail(here: str, item: int) -> None:
        if here == side and item == at:
            raise error

    def items() -> Iterator[int]:
        for item in range(100):
            fail("read", item)
            yield item
        fail("read", 100)

    def compute(item: int) -> int:
        fail("compute", item)
        return item

    def write(item: int) -> None:
        fail("write", item)
        written.append(item)

    return items(), compute, write, written


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("at", [0, 1, 50, 99])
@pytest.mark.parametrize("side", ["read", "compute", "write"])
def test_an_error_of_any_side_stops_all_and_is_raised(side: str, at: int, error: type[BaseException]) -> None:
    read, compute, write, written = failing(side, at, error)
    with pytest.raises(error):
        overlap(read, compute, write)
    assert written == list(range(len(written)))
    assert len(written) <= at
    assert no_threads_left()


def test_a_read_that_fails_at_its_end_is_a_failed_read() -> None:
    read, compute, write, _ = failing("read", 100, Broken)
    with pytest.raises(Broken):
        overlap(read, compute, write)


def test_the_first_error_counts() -> None:
    computing, failed = threading.Event(), threading.Event()

    def compute(item: int) -> int:
        if item == 1:
            computing.set()
            assert failed.wait(10)
            raise Broken("computing, and later")
        return item

    def write(_: int) -> None:
        assert computing.wait(10)
        failed.set()
        raise OSError("writing")

    with pytest.raises((OSError, Broken)):
        overlap(range(5), compute, write)
    assert no_threads_left()


def test_a_reader_that_waits_for_ever_ahead_is_let_go() -> None:
    """The reader blocks on a full queue when computing fails; nobody waits for it."""
    started = time.monotonic()
    with pytest.raises(Broken):
        overlap(iter(range(10**9)), failing("compute", 3, Broken)[1], lambda _: None)
    assert time.monotonic() - started < 5


def test_waiting_and_computing_overlap() -> None:
    """Ten times 20 ms on each side: together they take little more than the slowest, not the sum."""
    spent = {"read": 0.0, "compute": 0.0, "write": 0.0}

    def slow(side: str, item: int) -> int:
        started = time.monotonic()
        time.sleep(0.02)
        spent[side] += time.monotonic() - started
        return item

    started = time.monotonic()
    overlap((slow("read", item) for item in range(10)), lambda item: slow("compute", item), lambda item: slow("write", item) and None)
    took = time.monotonic() - started
    assert max(spent.values()) <= took < 0.67 * sum(spent.values())


class Waits:
    """A slow outside world: how long it kept whoever asked, all in all."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.total = seconds, 0.0
        self._lock = threading.Lock()

    def __call__(self, *_: object) -> None:
        started = time.monotonic()
        time.sleep(self.seconds)
        with self._lock:
            self.total += time.monotonic() - started


def sync_four_tables(home: Path, *, waiting: Waits, computing: Waits) -> float:
    refs = [TableRef("lake", "s", name) for name in "abcd"]
    lake = Lake(home, compute_slots=1)
    object.__setattr__(lake.settings, "tables", sources(table="lake.s.*"))
    lake.source.data = {ref: [{"id": n, "body": f"{ref.table} {n}", "status": "open"} for n in range(6)] for ref in refs}
    lake.source.on_read, lake.index.on_write = waiting, waiting
    redact, encode = lake.engines.stub_redactor.redact, lake.engines.stub_encoder.encode
    lake.engines.stub_redactor.redact = lambda items: (computing(), redact(items))[1]  # type: ignore[method-assign]
    lake.engines.stub_encoder.encode = lambda items: (computing(), encode(items))[1]  # type: ignore[method-assign]
    started = time.monotonic()
    with ThreadPoolExecutor(len(refs)) as pool:
        list(pool.map(lambda ref: [lake.pipeline.sync(stage, ref, Run(ref.table)) for stage in STAGES], refs))
    took = time.monotonic() - started
    assert len(lake.index.made[lake.index.resolve("Things") or ""].objects) == 24
    return took


def test_tables_that_share_a_process_wait_and_compute_at_once(tmp_path: Path) -> None:
    """With one compute slot, four tables take little more than the larger of waiting and computing on top of the work itself."""
    idle = sync_four_tables(tmp_path / "idle", waiting=Waits(0), computing=Waits(0))
    waiting, computing = Waits(0.1), Waits(0.08)
    took = sync_four_tables(tmp_path / "slow", waiting=waiting, computing=computing)
    assert took > computing.total, "one slot: computing is one after the other"
    assert took - idle < 0.6 * (waiting.total + computing.total)
