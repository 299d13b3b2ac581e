"""Worker processes that find personal data: started when there is work for them, kept, replaced when they die.

A batch whose worker died is not lost: its texts are tried again one by one, and a text that was there when two workers died is answered
with a failure.
"""

from __future__ import annotations

import math
import os
import subprocess
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait

from vector_assets.errors import TransientError
from vector_assets.redacted.findings import Failure, Finding
from vector_assets.redacted.worker import Ready

BATCH_TEXTS = 64
BATCH_CHARACTERS = 20_000
GROW_CHARACTERS = 60_000  # another process takes 3 CPU-s to start; this is about as much work
START_SECONDS = 600.0  # a large model from a slow disk
ANSWER_SECONDS = 600.0  # Presidio gives up on a pattern after 5
POLL_SECONDS = 5.0
MAX_DEATHS = 2  # of workers: with the same text, or in a row while starting


Started = tuple[subprocess.Popen[bytes], Connection]


class WorkerPool:
    """Finds personal data with up to `size` processes; 0: one per core that this process may use. Safe to share between threads."""

    def __init__(self, start: Callable[[], Started], *, size: int = 0) -> None:
        """`start` starts one process, see `worker.start`."""
        self._start = start
        self._size = size or len(os.sched_getaffinity(0))
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, _end_all, self._workers)

    def find(self, texts: Sequence[str]) -> list[list[Finding] | Failure]:
        """One answer per text, in their order.

        Raises:
            ConfigurationError: the policy asks for what the detector does not have.
            TransientError: workers die while they start (out of memory, most likely).
        """
        with self._lock:
            work = _Work(texts, self._size)
            try:
                while work.left:
                    self._grow(work)
                    self._give(work)
                    self._take(work)
            except BaseException:
                _end_all(self._workers)  # one that still computes would answer the next caller with this one's findings
                raise
            return [answer for answer in work.answers if answer is not None]

    def close(self) -> None:
        """End all workers; the next `find` starts new ones."""
        with self._lock:
            _end_all(self._workers)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that were started and not yet missed."""
        return [worker.process.pid for worker in self._workers]

    def _grow(self, work: _Work) -> None:
        wanted = min(self._size, 1 + work.waiting_characters // GROW_CHARACTERS)
        while len(self._workers) < wanted:
            self._workers.append(_Worker(*self._start()))

    def _give(self, work: _Work) -> None:
        for worker in [worker for worker in self._workers if worker.ready and not worker.batch]:
            if worker.process.poll() is not None:
                self._bury(worker, work)
            elif work.queue:
                try:
                    worker.give(work.next_batch(), work.texts)
                except OSError:
                    self._bury(worker, work)

    def _take(self, work: _Work) -> None:
        busy = {worker.connection: worker for worker in self._workers if worker.batch or not worker.ready}
        for connection in wait(list(busy), POLL_SECONDS) if busy else ():
            worker = busy[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                self._bury(worker, work)
                continue
            if isinstance(message, Ready):
                if message.error is not None:
                    raise message.error
                worker.ready, self._failed_starts = True, 0
            else:
                work.answer(worker.take(), message)
        for worker in [worker for worker in busy.values() if worker in self._workers and worker.overdue]:
            self._bury(worker, work)

    def _bury(self, worker: _Worker, work: _Work) -> None:
        self._workers.remove(worker)
        worker.end()
        work.retry(worker.batch)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_DEATHS:
                self._failed_starts = 0
                raise TransientError(
                    f"redaction workers die while they start (exit status {worker.process.returncode}):"
                    " each needs about 500 MB of memory; lower VECTOR_ASSETS_REDACTION_WORKERS or give more"
                )


class _Worker:
    """One process, and the places of the texts that it is working on."""

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self.process, self.connection = process, connection
        self.ready = False
        self.batch: list[int] = []
        self._since = time.monotonic()

    @property
    def overdue(self) -> bool:
        return time.monotonic() - self._since > (ANSWER_SECONDS if self.ready else START_SECONDS)

    def give(self, batch: list[int], texts: Sequence[str]) -> None:
        self.batch, self._since = batch, time.monotonic()
        self.connection.send([texts[place] for place in batch])

    def take(self) -> list[int]:
        batch, self.batch = self.batch, []
        return batch

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


class _Work:
    """Texts on their way to answers."""

    def __init__(self, texts: Sequence[str], workers: int) -> None:
        self.texts = texts
        self.answers: list[list[Finding] | Failure | None] = [None] * len(texts)
        self.left = len(texts)
        self.queue = deque(_batches(texts, workers))
        self.waiting_characters = sum(map(len, texts))
        self._deaths: Counter[int] = Counter()

    def next_batch(self) -> list[int]:
        batch = self.queue.popleft()
        self.waiting_characters -= sum(len(self.texts[place]) for place in batch)
        return batch

    def answer(self, batch: list[int], answers: Sequence[list[Finding] | Failure]) -> None:
        for place, answer in zip(batch, answers, strict=True):
            self.answers[place] = answer
        self.left -= len(batch)

    def retry(self, batch: list[int]) -> None:
        """After their worker's death: each text alone, so that only the one to blame dies twice."""
        for place in batch:
            self._deaths[place] += 1
            if self._deaths[place] >= MAX_DEATHS:
                self.answer([place], [Failure("its worker process died, twice")])
            else:
                self.queue.appendleft([place])
                self.waiting_characters += len(self.texts[place])


def _batches(texts: Sequence[str], workers: int) -> list[list[int]]:
    """Places of texts, the longest first: texts of like length compute best together, and short batches at the end keep all
    workers busy."""
    limit = max(1, min(BATCH_TEXTS, math.ceil(len(texts) / workers)))
    batches: list[list[int]] = []
    characters = 0
    for place in sorted(range(len(texts)), key=lambda place: -len(texts[place])):
        characters += len(texts[place])
        if not batches or len(batches[-1]) >= limit or characters > BATCH_CHARACTERS:
            batches.append([])
            characters = len(texts[place])
        batches[-1].append(place)
    return batches


def _end_all(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().end()
