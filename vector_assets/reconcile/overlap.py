"""Read ahead, compute, write behind: three things at once with bounded queues between them.

Reading and writing wait for disks and networks, in a thread each; computing happens in the caller's thread (it holds a compute slot,
owns CUDA, and receives the interrupt). Memory is bounded by the depth of the queues times the size of a batch.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

_POLL_SECONDS = 0.1  # how late a blocked thread sees that the others have stopped


class _Stopped(Exception):  # not an error: the other side asked to stop
    pass


class _End:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Channel(Generic[T]):
    """A bounded queue that both sides can leave."""

    def __init__(self, depth: int, stop: threading.Event) -> None:
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._stop = stop

    def put(self, item: T | _End) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
        raise _Stopped

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                item = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if self._stop.is_set():
                    raise _Stopped from None
                continue
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return


def overlap(read: Iterable[T], compute: Callable[[T], U], write: Callable[[U], None], *, depth: int = 2) -> None:
    """Run `write(compute(item))` for each item of `read`, in order, with `depth` items waiting between each two of them.

    The first error of any of the three stops all and is raised here; items computed before it may or may not have been written.
    """
    stop = threading.Event()
    inputs: _Channel[T] = _Channel(depth, stop)
    outputs: _Channel[U] = _Channel(depth, stop)
    failures: list[BaseException] = []
    threads = [
        threading.Thread(target=_read, args=(read, inputs), name="read", daemon=True),
        threading.Thread(target=_write, args=(outputs, write, failures, stop), name="write", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        with suppress(_Stopped):
            for item in inputs:
                outputs.put(compute(item))
            outputs.put(_End())
            threads[1].join()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def _read(items: Iterable[T], inputs: _Channel[T]) -> None:
    with suppress(_Stopped):
        try:
            for item in items:
                inputs.put(item)
        except _Stopped:
            raise
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
            inputs.put(_End(error))
        else:
            inputs.put(_End())


def _write(outputs: _Channel[U], write: Callable[[U], None], failures: list[BaseException], stop: threading.Event) -> None:
    try:
        for item in outputs:
            write(item)
    except _Stopped:
        pass
    except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
        failures.append(error)
        stop.set()
