"""One writer per table: among threads, processes and hosts, and whatever happens to the one that holds the lease."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from vector_assets.errors import LeaseHeldError, LeaseLostError, StorageError
from vector_assets.reconcile.lease import HEARTBEAT_SECONDS, STALE_SECONDS, Lease, lease
from vector_assets.tables import TableRef

REF = TableRef("lake", "s", "t")


class Clock:
    """A clock that only sleeping moves; `during` runs at each sleep."""

    def __init__(self, during: Callable[[], None] = lambda: None) -> None:
        self.now, self.slept, self.during = 0.0, 0, during

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1
        self.during()


def hold(root: Path, run: str = "two", *, table: TableRef = REF, wait_seconds: float = 0, clock: Clock | None = None) -> object:
    clock = clock or Clock()
    return lease(str(root), table, run, wait_seconds=wait_seconds, sleep=clock.sleep, clock=clock)


def records(root: Path, table: TableRef = REF) -> dict[int, dict[str, object]]:
    paths = [path for path in (root / "leases" / table.path).glob("*.json") if path.stem.isdigit()]
    return {int(path.stem): json.loads(path.read_text()) for path in sorted(paths)}


def rewrite(root: Path, **changes: object) -> None:
    """Edit the record of the newest epoch, as another host or another life of this one would have left it."""
    epoch, record = max(records(root).items())
    path = next(path for path in (root / "leases" / REF.path).glob("*.json") if path.stem.isdigit() and int(path.stem) == epoch)
    path.write_text(json.dumps(record | changes))


@contextmanager
def forgotten(root: Path, **changes: object) -> Iterator[Lease]:
    """A lease that is held, with a record of somebody else's."""
    with lease(str(root), REF, "one") as held:
        rewrite(root, **changes)
        yield held


# --- holding ---------------------------------------------------------------------------------------------------------------------------


def test_the_holder_is_named(tmp_path: Path) -> None:
    with lease(str(tmp_path), REF, "run-one"), pytest.raises(LeaseHeldError) as caught, hold(tmp_path):
        pass
    message = str(caught.value)
    assert all(part in message for part in (REF.key, "run-one", str(os.getpid()), socket.gethostname()))


def test_tables_do_not_wait_for_each_other(tmp_path: Path) -> None:
    others = [TableRef("lake", "s", name) for name in ("t2", "T", "t.u", "t/u", "ü" * 200, "ü" * 201, "x" * 101, "x" * 102)]
    with lease(str(tmp_path), REF, "one") as first:
        for other in others:
            with hold(tmp_path, table=other), pytest.raises(LeaseHeldError), hold(tmp_path, table=other):
                pass
        first.ensure()


def test_epochs_grow_also_across_a_wiped_root(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        with lease(str(tmp_path), REF, "run") as held:
            epochs.append(held.epoch)
    shutil.rmtree(tmp_path / "leases")
    with lease(str(tmp_path), REF, "run") as held:
        epochs.append(held.epoch)
    assert epochs == sorted(set(epochs))
    assert len(records(tmp_path)) == 1, "old records do not pile up"


def test_an_error_frees_the_lease(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), lease(str(tmp_path), REF, "one"):
        raise KeyboardInterrupt
    with hold(tmp_path):
        pass


def test_waiting_ends_when_the_lease_is_free(tmp_path: Path) -> None:
    with lease(str(tmp_path), REF, "one") as first:
        clock = Clock(lambda: first.release() if clock.slept == 5 else None)
        with hold(tmp_path, wait_seconds=600, clock=clock) as second:  # type: ignore[attr-defined]
            assert clock.slept == 5
            assert second.epoch == first.epoch + 1


def test_waiting_ends_when_patience_does(tmp_path: Path) -> None:
    clock = Clock()
    with lease(str(tmp_path), REF, "one"), pytest.raises(LeaseHeldError), hold(tmp_path, wait_seconds=600, clock=clock):
        pass
    assert 600 <= clock.now <= 601


def test_threads_take_turns(tmp_path: Path) -> None:
    inside, most, epochs = [0], [0], []

    def work(number: int) -> None:
        with lease(str(tmp_path), REF, f"run {number}", wait_seconds=60, sleep=lambda _: time.sleep(0.001)) as held:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            epochs.append(held.epoch)
            held.ensure()
            inside[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(24)))
    assert most == [1]
    assert epochs == sorted(set(epochs))
    assert len(epochs) == 24


def test_contenders_for_the_first_lease_agree(tmp_path: Path) -> None:
    for number in range(10):
        root, start, held = tmp_path / str(number), threading.Barrier(4), []

        def work(run: int, root: Path = root, start: threading.Barrier = start, held: list[int] = held) -> None:
            start.wait()
            try:
                with lease(str(root), REF, str(run), sleep=lambda _: time.sleep(0.001)):
                    held.append(run)
                    start.wait()  # nobody lets go before everybody has tried
            except LeaseHeldError:
                start.wait()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert len(held) == 1


# --- other processes -------------------------------------------------------------------------------------------------------------------

HOLDER = """
import sys
from vector_assets.reconcile.lease import lease
from vector_assets.tables import TableRef
with lease(sys.argv[1], TableRef("lake", "s", "t"), "child") as held:
    print(held.epoch, flush=True)
    sys.stdin.readline()
"""


@contextmanager
def child(root: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds the lease until it is sent a line; with its epoch."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_a_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    with child(tmp_path) as (process, epoch):
        with pytest.raises(LeaseHeldError, match=f"run child .process {process.pid} on"), hold(tmp_path):
            pass
        process.communicate("\n")
        with hold(tmp_path) as held:  # type: ignore[attr-defined]
            assert held.epoch == epoch + 1


@pytest.mark.parametrize("reaped", [True, False])
def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path: Path, reaped: bool) -> None:
    with child(tmp_path) as (process, epoch):
        process.send_signal(signal.SIGKILL)
        if reaped:
            process.wait()
        else:  # its parent has not looked yet
            while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.001)
        clock = Clock()
        with hold(tmp_path, clock=clock) as held:  # type: ignore[attr-defined]
            assert held.epoch == epoch + 1
        assert clock.slept == 0


def test_a_recycled_process_id_is_not_its_former_owner(tmp_path: Path) -> None:
    with forgotten(tmp_path, started=1.0) as first, hold(tmp_path) as second:  # type: ignore[attr-defined]
        assert second.epoch == first.epoch + 1


# --- other hosts -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "free"), [(0, False), (STALE_SECONDS - 5, False), (STALE_SECONDS + 1, True)])
def test_another_host_is_dead_after_a_minute_of_silence(tmp_path: Path, age: float, free: bool) -> None:
    silent = {"host": "elsewhere", "pid": 1, "heartbeat": time.time() - age}
    with forgotten(tmp_path, **silent):
        if free:
            with hold(tmp_path) as second:  # type: ignore[attr-defined]
                second.ensure()
        else:
            with pytest.raises(LeaseHeldError, match="on elsewhere"), hold(tmp_path):
                pass


def test_the_loser_notices_and_leaves_the_winner_alone(tmp_path: Path) -> None:
    with forgotten(tmp_path, host="elsewhere", heartbeat=time.time() - 2 * STALE_SECONDS) as first, hold(tmp_path) as second:  # type: ignore[attr-defined]
        first._confirm()  # what the next heartbeat does
        with pytest.raises(LeaseLostError, match="loses nothing that it committed"):
            first.ensure()
        first.release()
        second.ensure()
        assert max(records(tmp_path).items())[0] == second.epoch
        assert not max(records(tmp_path).items())[1]["released"]


def test_a_machine_that_slept_asks_before_it_writes(tmp_path: Path) -> None:
    with forgotten(tmp_path, heartbeat=time.time() - 2 * STALE_SECONDS) as first, hold(tmp_path):
        first.ensure()  # confirmed a moment ago, as far as it knows
        object.__setattr__(first._record, "heartbeat", time.time() - 2 * HEARTBEAT_SECONDS)  # and now it has slept
        with pytest.raises(LeaseLostError):
            first.ensure()


# --- a store that is away --------------------------------------------------------------------------------------------------------------


def test_a_store_that_is_away_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="check the storage root"), hold(tmp_path / "file" / "root"):
        pass


def test_a_heartbeat_that_fails_is_made_up_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with lease(str(tmp_path), REF, "one") as held:
        record = next((tmp_path / "leases" / REF.path).glob(f"*{held.epoch}.json"))
        record.rename(tmp_path / "away")
        (record / record.name).mkdir(parents=True)
        (record / record.name / record.name).write_text("")  # seen, and cannot be written
        object.__setattr__(held._record, "heartbeat", time.time() - 2 * HEARTBEAT_SECONDS)
        with pytest.raises(StorageError):
            held.ensure()  # nobody knows whether it still holds: it must not write
        shutil.rmtree(record)
        (tmp_path / "away").rename(record)
        held.ensure()
        assert time.time() - float(str(records(tmp_path)[held.epoch]["heartbeat"])) < HEARTBEAT_SECONDS
    assert records(tmp_path)[held.epoch]["released"]


def test_a_store_that_is_away_at_the_end_hides_no_error_and_makes_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def interrupted() -> None:
        folder = tmp_path / "leases" / REF.path
        shutil.rmtree(folder)
        folder.write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), lease(str(tmp_path), REF, "one"):
        interrupted()
    assert "is free only in 60 s" in caplog.text
