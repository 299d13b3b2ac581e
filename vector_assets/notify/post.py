"""One HTTP POST of JSON that takes a bounded time, whatever the other side does. No redirects are followed.

The standard library alone: `requests` and `httpx` bound each read, so that a receiver which sends a byte now and then would hold a sensor
for ever. Here the connection is ended from outside. Nothing that is said of a failure holds the address, which may be a secret.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from vector_assets.errors import ConfigurationError

SECONDS = 3.0


class Answer(NamedTuple):
    """How a receiver took a message. `status` is 0 where it did not answer; `said` is a sentence without its address."""

    status: int
    said: str = ""

    @property
    def taken(self) -> bool:
        """Whether it is done."""
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether this very message is what it will not have: sent again, it would be refused again."""
        return self.status in (400, 413, 422)


def checked_url(url: str, where: str) -> str:
    """An address that may be posted to. Raises ConfigurationError, which does not quote it: `where` says which one it is."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or any(character.isspace() or ord(character) < 32 for character in url):
        raise ConfigurationError(f"{where} is not an address that begins with https:// or http:// and names a host: check it")
    return url


def post(url: str, body: object, *, seconds: float = SECONDS) -> Answer:
    """Post JSON. Comes back within `seconds`."""
    parts, content = urlsplit(url), json.dumps(body).encode()
    connection = _connection(parts, seconds)
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(_exchange(connection, parts, content)), daemon=True, name="notification")
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        _cut(connection)  # ends the thread too, unless it still waits for a name server; what it then takes for an answer is none
        return Answer(0, "it did not answer in time")
    return answers[0]


def _exchange(connection: http.client.HTTPConnection, parts: SplitResult, content: bytes) -> Answer:
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, content, {"Content-Type": "application/json", "User-Agent": "vector_assets"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(0, f"it did not answer ({_named(error)})")
    except Exception as error:  # noqa: BLE001  # in a thread of its own, a bug would be a silence
        return Answer(0, f"it could not be asked ({type(error).__name__})")
    finally:
        connection.close()
    return Answer(status, "" if 200 <= status < 300 else f"it answered {status}")


def _connection(parts: SplitResult, seconds: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, parts.port, timeout=seconds)


def _cut(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)


def _named(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return (error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__)[:100]
