"""The pool, with a scripted program instead of Presidio: deaths, order, laziness, ends."""

import os
import signal
import threading
from functools import partial

import psutil
import pytest

from vector_assets.errors import ConfigurationError, PermanentError, TransientError
from vector_assets.redacted import workers
from vector_assets.redacted.findings import Failure, Finding
from vector_assets.redacted.languages import Model
from vector_assets.redacted.worker import start
from vector_assets.redacted.workers import WorkerPool
from vector_assets.redaction import RedactionPolicy

# Finds the whole text; dies of "die", and of "once" unless the file that it names exists.
PROGRAM = """
import os, sys
from multiprocessing.connection import Connection
from vector_assets.redacted.findings import Finding
from vector_assets.redacted.worker import Ready
connection = Connection(int(sys.argv[1]))
policy, model = connection.recv()
connection.send(Ready(None))
try:
    while True:
        texts = connection.recv()
        for text in texts:
            if text == "die":
                os._exit(9)
            if text.startswith("once ") and not os.path.exists(text[5:]):
                open(text[5:], "w").close()
                os._exit(9)
            if text == "hang":
                sys.stdin.close()
                import signal
                signal.pause()
        connection.send([[Finding(0, len(text), str(os.getpid()), 1.0)] for text in texts])
except EOFError:
    pass
"""


def pool(size: int = 2, program: str = PROGRAM) -> WorkerPool:
    return WorkerPool(partial(start, RedactionPolicy(), {}, program=program), size=size)


def lengths(answers: list[list[Finding] | Failure]) -> list[int | str]:
    return [answer.reason if isinstance(answer, Failure) else answer[0].end for answer in answers]


def test_answers_keep_their_order() -> None:
    texts = ["x" * (1 + (7 * n) % 500) for n in range(1000)]
    crowd = pool()
    assert lengths(crowd.find(texts)) == [len(text) for text in texts]
    assert crowd.find([]) == []
    crowd.close()


def test_one_text_starts_one_worker_and_many_start_more() -> None:
    crowd = pool(size=2)
    crowd.find(["one"])
    first = crowd.pids
    assert len(first) == 1
    crowd.find(["x" * 1000] * 200)
    assert len(crowd.pids) == 2
    assert crowd.pids[0] == first[0]
    crowd.close()
    assert crowd.pids == []
    assert not any(psutil.pid_exists(pid) for pid in first)
    assert lengths(crowd.find(["again"])) == [5]
    crowd.close()


def test_a_text_that_kills_twice_fails_alone() -> None:
    crowd = pool()
    texts = ["a", "die", "bb", *["ccc"] * 100]
    assert lengths(crowd.find(texts)) == [1, "its worker process died, twice", 2, *[3] * 100]
    crowd.close()


def test_a_worker_that_dies_once_costs_nothing(tmp_path: object) -> None:
    crowd = pool()
    text = f"once {tmp_path}/mark"
    assert lengths(crowd.find(["a", text, "bb"])) == [1, len(text), 2]
    crowd.close()


def test_a_worker_killed_between_batches_is_replaced() -> None:
    crowd = pool(size=1)
    crowd.find(["a"])
    [pid] = crowd.pids
    os.kill(pid, signal.SIGKILL)
    assert lengths(crowd.find(["bb"])) == [2]
    assert crowd.pids != [pid]
    crowd.close()


def test_a_worker_that_hangs_counts_as_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.1)
    crowd = pool(size=1)
    crowd.find(["a"])  # started, so that only answering is measured
    assert lengths(crowd.find(["hang"])) == ["its worker process died, twice"]
    crowd.close()


def test_workers_that_cannot_start_say_so() -> None:
    with pytest.raises(TransientError, match=r"die while they start \(exit status 7\)"):
        pool(program="import os; os._exit(7)").find(["a"])
    refusing = PROGRAM.replace("Ready(None)", "Ready(__import__('vector_assets.errors').errors.ConfigurationError('no such entity'))")
    with pytest.raises(ConfigurationError, match="no such entity"):
        pool(program=refusing).find(["a"])


def test_the_real_program_tells_why_it_cannot_start() -> None:
    with pytest.raises(PermanentError, match="no_such_model"):
        WorkerPool(partial(start, RedactionPolicy(), {"en": Model("spacy", "no_such_model", {}, packaged=True)}), size=1).find(["a"])


def test_threads_share_a_pool() -> None:
    crowd = pool()
    answers: dict[int, list[int | str]] = {}

    def ask(n: int) -> None:
        answers[n] = lengths(crowd.find(["x" * n] * 50))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: [n] * 50 for n in range(1, 6)}
    crowd.close()


def test_a_dropped_pool_ends_its_workers() -> None:
    crowd = pool(size=1)
    crowd.find(["a"])
    [pid] = crowd.pids
    del crowd
    assert not psutil.pid_exists(pid)
