"""One thread at a time inside Dagster, while others compute. Nothing here knows what they compute.

Several runs in threads of one process hang Dagster 1.13: each run starts with `logging.config.dictConfig`, which holds the logging lock
and waits for every handler, while a handler that writes an event waits for the storage lock, whose holder waits for the logging lock
(4 threads on SQLite stood still in each of 4 tries). So whoever runs Dagster in threads holds `DAGSTER`, and a step goes outside while it
works. `inside`: the bookkeeping, some 0.5 s a run that the GIL would serialise anyway; `outside`: everything that takes long.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turn:
    """A lock that a thread may lay down for a while, and that costs nothing where nobody took it up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread = threading.local()

    @property
    def is_mine(self) -> bool:
        """Whether this thread is inside."""
        return getattr(self._thread, "inside", False)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Wait for the turn, and hold it. May be nested."""
        if self.is_mine:
            yield
            return
        self._take()
        try:
            yield
        finally:
            self._give()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Let others in, where this thread is inside; wait for the turn again afterwards."""
        if not self.is_mine:
            yield
            return
        self._give()
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        self._lock.acquire()
        self._thread.inside = True

    def _give(self) -> None:
        self._thread.inside = False
        self._lock.release()


DAGSTER = Turn()
"""The turn of this process: what it protects, Python's logging configuration, is the process's too."""
