"""A TCP proxy in front of a server, for faults of the network: a test sees what the client sends, and says what becomes of it.

With `http`, a rule sees whole requests, head and body; without (gRPC), whatever arrives at a time. A rule runs in a thread of its own
connection and may take its time: a client that waits for an answer is where a test stops a run to change the world under it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

_CHUNK_BYTES = 1 << 16
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """These bytes instead of the server's answer; the server sees nothing."""

    body: bytes


@dataclass(frozen=True)
class Cut:
    """The request goes on, and the connection ends after so many bytes of the answer; None: the request does not even go on."""

    after: int | None = None


Deed = Answer | Cut | None
"""None: as if there were no proxy."""

Rule = Callable[[bytes], Deed]


def answer(status: str, body: bytes = b"", *, kind: str = "application/json", length: int | None = None) -> Answer:
    """An HTTP answer. `length`: what it says of its body, where that is not true."""
    said = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {said}\r\nConnection: close\r\n\r\n"
    return Answer(head.encode() + body)


class Proxy:
    """Made by `proxy`. `rule` may be changed at any time; `url` is what takes the place of the server's."""

    def __init__(self, url: str, *, http: bool) -> None:
        place = urlsplit(url)
        self.target, self.http = (str(place.hostname), place.port or 0), http
        self.rule: Rule = lambda _: None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{place.scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[_Connection] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self) -> None:
        """Cut every connection; new ones may be made."""
        for each in list(self._open):
            each.cut()

    def close(self) -> None:
        """Cut every connection and take no more. Rules that still run must come to an end by themselves."""
        _shut(self._listener)
        self._threads[0].join()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was shut
            while True:
                client, _ = self._listener.accept()
                connection = _Connection(self, client)
                self._open.add(connection)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: _Connection) -> None:
        try:
            connection.serve()
        finally:
            self._open.discard(connection)


class _Connection:
    """A client's connection, and the one to the server, which is made for the first request that goes on."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy, self._client = proxy, client
        self._server: socket.socket | None = None
        self._left: int | None = None  # bytes of answers until the cut
        self._back = threading.Thread(target=self._return)

    def serve(self) -> None:
        """Until either side, or a rule, ends it."""
        try:
            with contextlib.suppress(OSError):  # a side that goes away is what the proxy is for
                for request in self._requests():
                    if not self._on(request, self._proxy.rule(request)):
                        break
        finally:
            self.cut()
            if self._server is not None:
                self._back.join()
                self._server.close()
            self._client.close()

    def cut(self) -> None:
        """End both connections."""
        for each in (self._client, self._server):
            if each is not None:
                _shut(each)

    def _on(self, request: bytes, deed: Deed) -> bool:
        """Do what a rule says; whether there may be more requests."""
        match deed:
            case Answer(body):
                self._client.sendall(body)
                return False
            case Cut(None):
                return False
            case Cut(after):
                self._left = after
        if self._server is None:
            self._server = socket.create_connection(self._proxy.target)
            self._back.start()
        self._server.sendall(request)
        return True

    def _return(self) -> None:
        assert self._server is not None
        with contextlib.suppress(OSError):
            while chunk := self._server.recv(_CHUNK_BYTES):
                self._client.sendall(chunk if self._left is None else chunk[: self._left])
                if self._left is not None and (left := self._left - len(chunk)) <= 0:
                    break
                self._left = None if self._left is None else left
        self.cut()

    def _requests(self) -> Iterator[bytes]:
        held = b""
        while chunk := self._client.recv(_CHUNK_BYTES):
            held += chunk
            while held and (size := _size(held) if self._proxy.http else len(held)) <= len(held):
                yield held[:size]
                held = held[size:]


@contextmanager
def proxy(url: str, *, http: bool = True) -> Iterator[Proxy]:
    """A proxy for the length of a `with`."""
    made = Proxy(url, http=http)
    try:
        yield made
    finally:
        made.close()


def _size(data: bytes) -> int:
    """Bytes of the HTTP request that data begins with; more than there are where its head is not whole."""
    head, end, _ = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return len(head) + len(end) + (int(length[1]) if length else 0) if end else len(data) + 1


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is shut already
        one.shutdown(socket.SHUT_RDWR)
