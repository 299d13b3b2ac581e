"""One writer per table: a lease in the storage root, so that it holds across processes and machines.

A lease is a small object per epoch, `leases/<table>/<epoch>.json`, made with put-if-absent: only one contender gets the next epoch. The
holder rewrites it every 10 s; whoever finds it released, or untouched for 60 s, or its process dead on this very host, may take the next
epoch. Whoever sees a higher epoch than its own has lost and must not write. No store needs more than put-if-absent and list.

Epochs count up from the time of the first lease, in milliseconds: they are kept with what was published, also below other roots, and a
wiped storage root must not begin below them.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from vector_assets.errors import LeaseHeldError, LeaseLostError, StorageError
from vector_assets.reconcile.store import open_store, store_errors
from vector_assets.tables import TableRef

if TYPE_CHECKING:
    from obstore.store import ObjectStore

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
_POLL_SECONDS = 0.5
_RACES = 20  # times in a row that others may be quicker; more means that a record is broken

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Record:
    run: str
    host: str
    pid: int
    started: float  # of the process, so that a recycled pid is not mistaken for it
    heartbeat: float  # seconds since the epoch, by the holder's clock
    released: bool = False

    def is_free(self, now: float) -> bool:
        if self.released or now - self.heartbeat > STALE_SECONDS:
            return True
        return self.host == socket.gethostname() and _process_started(self.pid) != self.started


def _process_started(pid: int) -> float | None:
    import psutil

    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:  # killed, and its parent has not looked yet
            return float(process.create_time())
    return None


class Lease:
    """A held lease. `epoch` only ever grows for a table."""

    def __init__(self, store: ObjectStore, folder: str, epoch: int, record: _Record) -> None:
        self.epoch = epoch
        self._store, self._folder, self._record = store, folder, record
        self._lost = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {folder}", daemon=True)
        self._thread.start()

    def ensure(self) -> None:
        """Raise LeaseLostError unless this run is still the writer. Called before every commit."""
        # The clock that others judge by, and one that goes on while a machine sleeps: the thread may not have noticed yet.
        if abs(time.time() - self._record.heartbeat) > HEARTBEAT_SECONDS * 1.5:
            self._confirm()
        if self._lost.is_set():
            raise LeaseLostError(
                f"another run took over {self._folder.removeprefix('leases/')}; this one stops, and loses nothing that it committed"
            )

    def release(self) -> None:
        """Let the next writer in. A store that is away then is no error: what was done is done, and the lease goes stale by itself."""
        self._done.set()
        self._thread.join()
        if not self._lost.is_set():
            try:
                self._put(replace(self._record, released=True))
            except StorageError as error:
                _log.warning("%s is free only in %.0f s: %s", self._folder, STALE_SECONDS, error)

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT_SECONDS) and not self._lost.is_set():
            try:
                self._confirm()
            except StorageError as error:  # the store may come back before the lease is stale; `ensure` decides
                _log.warning("heartbeat of %s: %s", self._folder, error)

    def _confirm(self) -> None:
        if _highest(self._store, self._folder) != self.epoch:
            self._lost.set()
            return
        record = replace(self._record, heartbeat=time.time())
        self._put(record)
        self._record = record

    def _put(self, record: _Record) -> None:
        _put(self._store, _path(self._folder, self.epoch), record)


@contextmanager
def lease(
    root: str,
    table: TableRef,
    run: str,
    *,
    wait_seconds: float = 0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Lease]:
    """Hold the lease of a table. Raises LeaseHeldError, naming the holder, where it is not free within `wait_seconds`."""
    store, folder = open_store(root), f"leases/{table.path}"
    deadline = clock() + wait_seconds
    races = 0
    while not isinstance(held := _try(store, folder, run), Lease):
        races = races + 1 if held is None else 0
        if races > _RACES:
            raise StorageError(f"{folder} has a lease that cannot be read; where nobody writes {table.key}, remove that folder")
        if held is not None and clock() >= deadline:
            raise LeaseHeldError(
                f"{table.key} is being written by run {held.run} (process {held.pid} on {held.host}); wait for it, or stop that run"
            )
        sleep(_POLL_SECONDS)
    try:
        yield held
    finally:
        held.release()


def _try(store: ObjectStore, folder: str, run: str) -> Lease | _Record | None:
    """The lease, or who holds it, or None where somebody else was quicker just now."""
    highest = _highest(store, folder)
    if highest is not None:
        holder = _get(store, _path(folder, highest))
        if holder is None:
            return None
        if not holder.is_free(time.time()):
            return holder
    epoch = (_origin(store, folder) if highest is None else highest) + 1
    pid = os.getpid()
    record = _Record(run, socket.gethostname(), pid, _process_started(pid) or 0.0, time.time())
    if not _put(store, _path(folder, epoch), record, create=True):
        return None
    epochs = _epochs(store, folder)
    for old in epochs[:-1]:
        _delete(store, _path(folder, old))
    # Since we looked, others may have taken this very epoch, let go of it and deleted it: then a higher one is there.
    return Lease(store, folder, epoch, record) if epochs[-1:] == [epoch] else None


# --- records in the store ----------------------------------------------------------------------------------------------------------------


def _path(folder: str, epoch: int) -> str:
    return f"{folder}/{epoch:015d}.json"


def _epochs(store: ObjectStore, folder: str) -> list[int]:
    import obstore

    with store_errors(folder):
        entries = obstore.list(store, folder + "/").collect()
    return sorted(int(name) for entry in entries if (name := str(entry["path"]).rsplit("/", 1)[-1].removesuffix(".json")).isdigit())


def _origin(store: ObjectStore, folder: str) -> int:
    """Where the epochs of a table begin. Put if absent: contenders for the first lease must agree on its number."""
    import obstore
    from obstore.exceptions import AlreadyExistsError

    path = f"{folder}/origin.json"
    with store_errors(path):
        with suppress(AlreadyExistsError, FileExistsError):
            obstore.put(store, path, json.dumps(time.time_ns() // 1_000_000).encode(), mode="create")
        return int(json.loads(bytes(obstore.get(store, path).bytes())))


def _highest(store: ObjectStore, folder: str) -> int | None:
    return max(_epochs(store, folder), default=None)


def _get(store: ObjectStore, path: str) -> _Record | None:
    import obstore
    from obstore.exceptions import NotFoundError

    with store_errors(path):
        try:
            return _Record(**json.loads(bytes(obstore.get(store, path).bytes())))
        except (NotFoundError, FileNotFoundError):
            return None


def _put(store: ObjectStore, path: str, record: _Record, *, create: bool = False) -> bool:
    import obstore
    from obstore.exceptions import AlreadyExistsError

    with store_errors(path):
        try:
            obstore.put(store, path, json.dumps(asdict(record)).encode(), mode="create" if create else "overwrite")
        except (AlreadyExistsError, FileExistsError):
            return False
    return True


def _delete(store: ObjectStore, path: str) -> None:
    import obstore

    with store_errors(path), suppress(FileNotFoundError):
        obstore.delete(store, path)
