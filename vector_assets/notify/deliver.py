"""Telling receivers what they do not know yet: in order, a few seconds for each, and again later where one does not take it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from vector_assets.notify.board import Board, Delay
from vector_assets.notify.formats import body
from vector_assets.notify.post import Answer, post
from vector_assets.notify.receivers import Receiver

SECONDS_EACH = 5.0  # of a tick
_PATIENCE = 5  # times that a receiver answers and will not take a message, before the ones behind it are tried

Post = Callable[[str, object], Answer]


def deliver(
    board: Board, receivers: Sequence[Receiver], *, ui_url: str = "", send: Post = post, now: Callable[[], float] = time.time
) -> list[str]:
    """Post what is pending, and note on the board what was taken. Says what happened, a sentence each, without addresses."""
    return [said for receiver in receivers if (said := _tell(board, receiver, ui_url=ui_url, send=send, now=now))]


def _tell(board: Board, receiver: Receiver, *, ui_url: str, send: Post, now: Callable[[], float]) -> str:
    delay = board.delays.get(receiver.name, Delay())
    if now() < delay.until:
        return ""
    deadline, posted, refused = now() + SECONDS_EACH, 0, 0
    # One that makes the receiver fail again and again must not keep the others for ever.
    at = delay.answers // _PATIENCE % max(1, len(board.pending(receiver.name)))
    while at < len(pending := board.pending(receiver.name)) and now() < deadline:
        message = pending[at]
        content = body(receiver.format, message, ui_url=ui_url, key=receiver.key.get_secret_value())
        answer = send(receiver.url.get_secret_value(), content)
        if not answer.taken and not answer.refused:
            board.delays[receiver.name] = delay.longer(now(), answered=answer.status > 0)
            wait = board.delays[receiver.name].until - now()
            return f"{receiver.name}: {answer.said}; {len(pending)} messages wait, again in {wait:.0f} s"
        board.tell(receiver.name, message)
        board.delays.pop(receiver.name, None)
        delay = Delay()
        posted, refused = posted + answer.taken, refused + answer.refused
    said = [f"{posted} posted"] if posted else []
    said += [f"{refused} refused as they are and dropped"] if refused else []
    return f"{receiver.name}: {', '.join(said)}" if said else ""
