"""The program of one redaction worker process: `main` loads the detector once, then answers batch after batch until its pipe closes.

A program of its own and no `multiprocessing` child: it imports nothing of its parent's `__main__`, and works below daemonic processes.
Texts come and findings go through one socket, pickled; nothing is printed, since what libraries print may hold row text.
"""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import NamedTuple

from vector_assets.errors import PermanentError, VectorAssetsError
from vector_assets.redacted.languages import Model
from vector_assets.redaction import RedactionPolicy

_PROGRAM = "from vector_assets.redacted.worker import main; main()"
_BLOCKED = ("torch", "transformers")
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # one process per core; more threads would only contend
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PRESIDIO_DEVICE": "cpu",
    "TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS": "",
    "HF_HUB_OFFLINE": "1",
    # Presidio's limit for one pattern and one text. A part of a text takes milliseconds; all 64 texts of a batch may take this long within
    # the time that a worker has to answer.
    "REGEX_TIMEOUT_SECONDS": "5",
}


class Ready(NamedTuple):
    """Sent once, when the detector is loaded. `error`: why it cannot be."""

    error: Exception | None


def start(policy: RedactionPolicy, models: Mapping[str, Model], *, program: str = _PROGRAM) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start a worker; it sends `Ready` after some seconds, then one list of answers per list of texts. `program`: its Python source."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: S603  our own interpreter, our own program
            [sys.executable, "-P", "-c", program, str(theirs.fileno())],
            env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C is the parent's to handle; the worker ends when its pipe does
        )
    connection = Connection(ours.detach())
    connection.send((policy, models))
    return process, connection


def main() -> None:
    """Load, say so, answer; ends when the parent does."""
    connection = Connection(int(sys.argv[1]))
    try:
        policy, models = connection.recv()
        _block(models)
        try:
            from vector_assets.redacted.detector import Detector

            detector = Detector(policy, models)
        except VectorAssetsError as error:
            connection.send(Ready(error))
            return
        except Exception as error:  # noqa: BLE001  a library that is missing or a model that does not load: the parent has to know why
            connection.send(Ready(PermanentError(f"redaction workers cannot start: {type(error).__name__}: {error}")))
            return
        gc.freeze()
        connection.send(Ready(None))
        while True:
            connection.send(detector.find(connection.recv()))
            # spaCy's documents are cycles of few objects that hold much memory, which Python's counting of objects does not see: after 1 MB
            # of text 290 MB were waiting. With what was loaded frozen it takes 2 ms.
            gc.collect()
    except (EOFError, ConnectionError):
        pass  # the parent is gone, or done with us


def _block(models: Mapping[str, Model]) -> None:
    """Keep torch and transformers out, which spaCy and Presidio import where they are installed: 17 CPU-s and 700 MB per process, for
    nothing unless a model is a transformer."""
    if not any(model.transforms for model in models.values()):
        for name in _BLOCKED:
            sys.modules[name] = None  # type: ignore[assignment]
