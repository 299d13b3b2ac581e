"""Child processes that are servers: started on free ports, waited for until they answer, and ended, whatever happens to their parent."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from vector_assets.errors import SourceUnavailable

READY_SECONDS = 120
_STOP_SECONDS = 20
_POLL_SECONDS = 0.1
_PORTS = range(20_000, 32_000)  # below 32,768, where Linux takes ports for outgoing connections from
LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now, all different."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((LOOPBACK, port))
            found.append(port)
        if len(found) == count:
            return found
    raise SourceUnavailable(f"there are no {count} free ports from {_PORTS.start} to {_PORTS.stop}")


@contextmanager
def serving(
    command: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    servers: int = 1,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server for the length of a `with`, from when `ready` says so. `log` gets what it prints. A command that starts several `servers`
    gets as many times the time to start and to stop.

    Raises SourceUnavailable, with the end of the log, where it ends or is not ready after READY_SECONDS.
    """
    name = Path(command[0]).name
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is for us, who end it in order
            user=user,
        )
    try:
        deadline = time.monotonic() + servers * READY_SECONDS
        while not ready():
            if child.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                raise SourceUnavailable(f"{name} {'ended' if child.returncode is not None else 'is not ready'}; its log ends with:\n{said}")
            time.sleep(_POLL_SECONDS)
        yield child
    finally:
        stop(child, servers * _STOP_SECONDS)


def stop(child: subprocess.Popen[bytes], seconds: float = _STOP_SECONDS) -> None:
    """End a server: gently, and after so many seconds not."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


def answers(url: str) -> bool:
    """Whether a GET of a plain HTTP address succeeds."""
    import urllib.request

    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  # addresses of our own making
        return bool(response.status < 300)
    return False


def wait_for_end(owner: int) -> None:
    """Return when a signal asks this process to end, or process `owner` is gone."""
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: ended.append(received))
    while not ended:
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            return
        time.sleep(_POLL_SECONDS)
