"""Several tables at once in this process, and Ctrl-C: the first asks the tables to stop at their next batch, the second does not wait."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from vector_assets.cli.console import note

T = TypeVar("T")
_INTERRUPTED = 130


class Stop:
    """Whether somebody pressed Ctrl-C. Work that calls `check` between its batches ends there."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        """Ask all work to end; asked twice, end the process at once.

        Nothing is waited for then: what is committed stays, and leases of a process that is gone are free.
        """
        if self._asked.is_set():
            os._exit(_INTERRUPTED)
        self._asked.set()
        note("stopping after the batches under way; Ctrl-C again stops at once (what is committed stays either way)")

    def check(self) -> None:
        """Raise KeyboardInterrupt, as it would be in the main thread, once somebody asked."""
        if self._asked.is_set():
            raise KeyboardInterrupt

    def sleep(self, seconds: float) -> None:
        """Wait, and raise KeyboardInterrupt as soon as somebody asks."""
        self._asked.wait(seconds)
        self.check()


def each(items: Sequence[T], work: Callable[[T], None], *, at_once: int, stop: Stop) -> None:
    """Do the work for each item, in threads, and wait for all of it. Raises KeyboardInterrupt when stopped, and what `work` raises."""

    def checked(item: T) -> None:
        stop.check()
        work(item)

    with _ctrl_c(stop), ThreadPoolExecutor(max(1, min(at_once, len(items))), thread_name_prefix="table") as pool:
        futures = [pool.submit(checked, item) for item in items]
        wait(futures)
    stop.check()
    for future in futures:
        future.result()


@contextmanager
def _ctrl_c(stop: Stop) -> Iterator[None]:
    # A KeyboardInterrupt could hit the main thread anywhere, also where it hands out work; a handler of our own cannot.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _signal, _frame: stop.ask())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
