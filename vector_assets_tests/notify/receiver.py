"""A webhook receiver at a port of this machine, with real sockets: it takes messages, refuses, stalls, resets and recovers as told."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Mood = Literal["well", "stalls", "trickles", "resets", "redirects"] | int


class LocalReceiver:
    """`mood`: a status to answer with, or how to misbehave. `minds` may choose another mood for a message."""

    def __init__(self) -> None:
        self.taken: list[Any] = []  # bodies that were answered with 2xx
        self.asked: list[Any] = []  # all of them
        self.mood: Mood = "well"
        self.minds: Callable[[Any], Mood | None] = lambda _body: None
        self.over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.asked.append(body)
                receiver._answer(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook/T0K3N"

    def _answer(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        mood = self.minds(body) or self.mood
        handler.close_connection = True
        if mood == "stalls":
            self.over.wait(30)
        elif mood == "trickles":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.over.wait(0.05):
                handler.wfile.write(b"a")
                handler.wfile.flush()
        elif mood == "resets":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
        else:
            status = 200 if mood == "well" else 302 if mood == "redirects" else mood
            if status < 300:
                self.taken.append(body)
            handler.send_response(int(status))
            if mood == "redirects":
                handler.send_header("Location", f"{self.url}/elsewhere")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    @contextmanager
    def running(self) -> Iterator[LocalReceiver]:
        """Until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever hangs up is no news here
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()
