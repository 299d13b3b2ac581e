"""Several tables at once in this process, and Ctrl-C: the first asks the tables to stop at their next batch, the second does not wait."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from vector_assets.cli.console import note

T = TypeVar("T")
_INTERRUPTED = 130


class Stop:
    """Whether somebody pressed Ctrl-C. Work that calls `check` between its batches ends there."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        """Ask all work to end."""
        self._asked.set()

    def check(self) -> None:
        """Raise KeyboardInterrupt, as it would be in the main thread, once somebody asked."""
        if self._asked.is_set():
            raise KeyboardInterrupt


def each(items: Sequence[T], work: Callable[[T], None], *, at_once: int, stop: Stop) -> None:
    """Do the work for each item, in threads. Raises KeyboardInterrupt when stopped, and what `work` raises."""
    with ThreadPoolExecutor(max(1, min(at_once, len(items))), thread_name_prefix="table") as pool:
        waiting = [pool.submit(_checked, work, item, stop) for item in items]
        try:
            done = wait(waiting, return_when=FIRST_EXCEPTION).done
        except KeyboardInterrupt:
            _end(waiting, stop)
            raise
        if any(future.exception() for future in done):
            _end(waiting, stop)
        for future in done:
            future.result()


def _checked(work: Callable[[T], None], item: T, stop: Stop) -> None:
    stop.check()
    work(item)


def _end(waiting: Sequence[Future[None]], stop: Stop) -> None:
    stop.ask()
    for future in waiting:
        future.cancel()
    running = [future for future in waiting if future.running()]
    if running:
        note("stopping after the batches under way; Ctrl-C again stops at once (what is committed stays either way)")
    try:
        wait(running)
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)  # threads and worker processes are not waited for; their leases are free as soon as this process is gone
