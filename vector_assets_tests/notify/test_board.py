"""What receivers are told: once, in order, collapsed, whatever comes in between."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.notify.board import KINDS, LONGEST_WAIT_SECONDS, MOST_OPEN, Board, Cause, Delay, Kind

TABLES = ("lake.s.a", "lake.s.b")


def cause(kind: Kind = "failed_run", table: str = TABLES[0], began: float = 100.0, **more: str) -> Cause:
    return Cause(kind, table, began, **more)  # type: ignore[arg-type]


def shown(board: Board, receiver: str = "ops") -> list[tuple[str, bool, float]]:
    return [(message.cause.key, message.over, message.began) for message in board.pending(receiver)]


def take_all(board: Board, receiver: str = "ops") -> None:
    for message in board.pending(receiver):
        board.tell(receiver, message)
    board.settle()


def test_a_cause_is_told_once_and_its_end_once() -> None:
    board = Board()
    board.only(["ops"])
    board.begin(cause())
    board.begin(cause(began=200.0, reason="again"))
    assert shown(board) == [("failed_run:lake.s.a", False, 100.0)]
    take_all(board)
    assert shown(board) == []
    board.end("failed_run:lake.s.a", 300.0)
    assert shown(board) == [("failed_run:lake.s.a", True, 100.0)]
    take_all(board)
    assert (shown(board), board.causes) == ([], {})


def test_what_began_and_ended_while_a_receiver_was_away_is_not_told() -> None:
    board = Board()
    board.only(["ops", "chat"])
    board.begin(cause())
    take_all(board, "chat")
    board.end(cause().key, 200.0)
    board.begin(cause("stale_table", began=150.0))
    assert shown(board) == [("stale_table:lake.s.a", False, 150.0)]
    assert shown(board, "chat") == [("stale_table:lake.s.a", False, 150.0), ("failed_run:lake.s.a", True, 100.0)]


def test_what_ended_and_began_again_is_still_open() -> None:
    board = Board()
    board.only(["ops"])
    board.begin(cause())
    take_all(board)
    board.end(cause().key, 200.0)
    board.begin(cause(began=300.0))
    assert shown(board) == []
    board.end(cause().key, 400.0)
    assert shown(board) == [("failed_run:lake.s.a", True, 100.0)]  # the one that it was told of


def test_ids_are_the_same_whenever_it_is_told() -> None:
    board = Board()
    board.only(["ops", "chat"])
    board.begin(cause(reason="one"))
    first = board.pending("ops")[0].id
    again = Board.of_json(json.loads(json.dumps(board.as_json())))
    assert again.pending("chat")[0].id == first
    take_all(board)
    board.end(cause().key, 200.0)
    assert board.pending("ops")[0].id != first


EVENTS = st.lists(
    st.tuples(st.sampled_from(["begin", "end", "tell_ops", "tell_chat", "restart"]), st.sampled_from(KINDS), st.sampled_from(TABLES)),
    max_size=40,
)


@given(EVENTS)
def test_told_in_the_end_is_what_is_open(events: list[tuple[str, Kind, str]]) -> None:
    """A receiver's own book of begun and over agrees with what is open, and never hears a thing twice."""
    board, heard, open_now = Board(), {"ops": set[str](), "chat": set[str]()}, set[str]()
    board.only(["ops", "chat"])

    def tell(receiver: str) -> None:
        for message in board.pending(receiver)[:1]:
            assert (message.cause.key in heard[receiver]) is message.over
            heard[receiver] ^= {message.cause.key}
            board.tell(receiver, message)
        board.settle()

    for at, (what, kind, table) in enumerate(events):
        key = cause(kind, table).key
        if what == "begin":
            board.begin(cause(kind, table, float(at)))
            open_now.add(key)
        elif what == "end":
            board.end(key, float(at))
            open_now.discard(key)
        elif what == "restart":
            board = Board.of_json(json.loads(json.dumps(board.as_json())))
        else:
            tell(what.removeprefix("tell_"))
    for receiver, known in heard.items():
        while board.pending(receiver):
            tell(receiver)
        assert known == open_now
    assert {each.key for each in board.open()} == open_now


def test_order_is_that_of_what_happened() -> None:
    board = Board()
    board.only(["ops"])
    for began, kind in ((3.0, "failed_run"), (1.0, "stale_table"), (2.0, "delete_brake")):
        board.begin(cause(kind, began=began))  # type: ignore[arg-type]
    assert [message.at for message in board.pending("ops")] == [1.0, 2.0, 3.0]


def test_it_stays_bounded() -> None:
    board = Board()
    board.only(["ops"])
    taken = [board.begin(cause(table=f"lake.s.t{number}", reason="r" * 9_000, remedy="m" * 9_000)) for number in range(MOST_OPEN + 5)]
    assert taken.count(False) == 5
    take_all(board)
    assert len(json.dumps(board.as_json())) < 400_000


def test_receivers_that_are_no_more_are_forgotten() -> None:
    board = Board()
    board.only(["ops", "chat"])
    board.begin(cause())
    take_all(board, "chat")
    board.end(cause().key, 200.0)
    board.only(["ops"])
    board.settle()
    assert board.causes == {}


def test_delays_grow_and_end() -> None:
    delay, waits = Delay(), []
    for _ in range(8):
        delay = delay.longer(0.0, answered=True)
        waits.append(delay.until)
    assert waits == [30, 60, 120, 240, 480, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS]
    assert delay.answers == 8
    assert delay.longer(0.0, answered=False).answers == 0


@pytest.mark.parametrize("stored", [{}, {"causes": [], "told": {}}, {"causes": [{"x": 1}], "told": {}, "delays": {}}])
def test_what_is_none_of_ours_is_refused(stored: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        Board.of_json(stored)
