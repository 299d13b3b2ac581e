"""Posting to a receiver that fails, stalls, resets and recovers: real sockets, and what each costs a tick."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from vector_assets.errors import ConfigurationError
from vector_assets.notify import deliver as delivering
from vector_assets.notify.board import Board, Cause, Message
from vector_assets.notify.deliver import deliver
from vector_assets.notify.post import Answer, checked_url, post
from vector_assets.notify.receivers import Found, Receiver, configured
from vector_assets.settings import Settings
from vector_assets_tests.notify.receiver import LocalReceiver, Mood

SECONDS = 0.4


class Tower:
    """A board, its receivers and a clock."""

    def __init__(self, **receivers: LocalReceiver) -> None:
        self.receivers = [Receiver(name, "json", SecretStr(local.url), SecretStr("")) for name, local in receivers.items()]
        self.board = Board()
        self.board.only([*receivers])
        self.now = 1_000.0

    def begin(self, *tables: str) -> None:
        for number, table in enumerate(tables):
            self.board.begin(Cause("failed_run", table, self.now + number / 100, "because"))

    def end(self, *tables: str) -> None:
        for table in tables:
            self.board.end(f"failed_run:{table}", self.now)

    def tick(self, seconds: float = 30.0) -> list[str]:
        self.now += seconds
        said = deliver(self.board, self.receivers, send=lambda url, body: post(url, body, seconds=SECONDS), now=lambda: self.now)
        self.board.settle()
        return said


def told(receiver: LocalReceiver) -> list[tuple[str, str]]:
    return [(body["table"], body["status"]) for body in receiver.taken]


def test_each_thing_is_posted_once(receiver: LocalReceiver) -> None:
    tower = Tower(ops=receiver)
    tower.begin("a", "b")
    assert tower.tick() == ["ops: 2 posted"]
    assert tower.tick() == []
    tower.end("a")
    tower.tick()
    assert told(receiver) == [("a", "begun"), ("b", "begun"), ("a", "over")]
    assert len({body["id"] for body in receiver.taken}) == 3


@pytest.mark.parametrize("mood", [503, 500, 429, 404, 401, "stalls", "trickles", "resets", "redirects"])
def test_a_receiver_that_recovers_is_told_what_it_missed_in_order(receiver: LocalReceiver, mood: Mood) -> None:
    tower = Tower(ops=receiver)
    tower.begin("a", "b", "c")
    receiver.mood = mood
    started = time.monotonic()
    (said,) = tower.tick()
    assert time.monotonic() - started < SECONDS + 1.5
    assert "3 messages wait, again in 30 s" in said
    assert "T0K3N" not in said
    assert (len(receiver.asked), receiver.taken) == (1, [])
    assert tower.tick(29) == []  # it is left alone meanwhile
    tower.end("b")
    tower.begin("d")
    receiver.mood = "well"
    receiver.over.set()
    assert tower.tick(2) == ["ops: 3 posted"]
    assert told(receiver) == [("a", "begun"), ("c", "begun"), ("d", "begun")]
    assert all("elsewhere" not in str(body) for body in receiver.asked)


def test_a_receiver_that_is_not_there_costs_nothing(receiver: LocalReceiver) -> None:
    tower = Tower(ops=receiver)
    tower.receivers = [Receiver("ops", "json", SecretStr("http://127.0.0.1:9/T0K3N"), SecretStr(""))]
    tower.begin("a")
    waits = [float(said.rpartition(" in ")[2].split()[0]) for _ in range(4) if (said := "".join(tower.tick(1_000)))]
    assert waits == [30, 60, 120, 240]
    assert "Connection refused" in "".join(tower.tick(1_000))


def test_one_that_stalls_keeps_no_other_waiting(receiver: LocalReceiver) -> None:
    with LocalReceiver().running() as chat:
        tower = Tower(ops=receiver, chat=chat)
        receiver.mood = "stalls"
        tower.begin("a")
        said = tower.tick()
        assert told(chat) == [("a", "begun")]
        assert [sentence.partition(":")[0] for sentence in said] == ["ops", "chat"]
        receiver.over.set()


def test_a_message_that_is_refused_is_dropped(receiver: LocalReceiver) -> None:
    tower = Tower(ops=receiver)
    receiver.minds = lambda body: 400 if body["table"] == "a" else None
    tower.begin("a", "b")
    assert tower.tick() == ["ops: 1 posted, 1 refused as they are and dropped"]
    assert told(receiver) == [("b", "begun")]


def test_a_message_that_a_receiver_chokes_on_does_not_keep_the_others_for_ever(receiver: LocalReceiver) -> None:
    tower = Tower(ops=receiver)
    receiver.minds = lambda body: 500 if body["table"] == "a" else None
    tower.begin("a", "b", "c")
    for _ in range(delivering._PATIENCE):
        tower.tick(1_000)
    assert told(receiver) == []
    tower.tick(1_000)
    assert told(receiver) == [("b", "begun"), ("c", "begun")]
    assert [message.cause.table for message in tower.board.pending("ops")] == ["a"]


def test_a_slow_receiver_gets_a_few_seconds_of_a_tick(receiver: LocalReceiver) -> None:
    tower = Tower(ops=receiver)
    tower.begin(*"abcdefgh")

    def slow(url: str, body: object) -> Answer:
        tower.now += 2
        return post(url, body)

    deliver(tower.board, tower.receivers, send=slow, now=lambda: tower.now)
    assert len(receiver.taken) == 3
    tower.tick()
    assert [table for table, _ in told(receiver)] == [*"abcdefgh"]


# --- who is told -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["", "ftp://x/y", "file:///etc/passwd", "https://", "//host", "http://a b/", "http://[", "http://h/\r\nX: y"]
)
def test_only_web_addresses_are_posted_to(url: str) -> None:
    with pytest.raises(ConfigurationError, match="that setting") as raised:
        checked_url(url, "that setting")
    assert "passwd" not in str(raised.value)


def of_sources(home: Settings, text: str) -> Found:
    home.sources.write_text(f"catalogs: {{}}\ntables: []\nnotifications:\n{text}")
    return configured(home, home.tables)


def test_receivers_come_from_sources_and_files(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_URL", "https://chat.example/T0K3N")
    (home.sources.parent / "key").write_text("R0UT1NG\n")
    entries = '  - {name: chat, format: slack, url: "${CHAT_URL}"}\n  - {name: pager, format: pagerduty, key_file: key}\n'
    (chat, pager), names, problems = of_sources(home, entries)
    assert chat.url.get_secret_value() == "https://chat.example/T0K3N"
    assert pager.url.get_secret_value().startswith("https://events.pagerduty.com/")
    assert pager.key.get_secret_value() == "R0UT1NG"
    assert (names, problems) == (["chat", "pager"], [])
    assert "T0K3N" not in repr((chat, home.tables))
    assert "R0UT1NG" not in repr(pager)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{name: a}", "url or url_file"),
        ("{name: a, format: pagerduty}", "key or key_file"),
        ("{name: A b, url: 'https://T0K3N'}", "name"),
        ("{name: webhook, url: 'https://T0K3N'}", "name of its own"),
        ("{name: ops, url: 'https://T0K3N'}", "name of its own"),
    ],
)
def test_what_cannot_be_meant_is_refused(home: Settings, entry: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        of_sources(home, f"  - {entry}\n  - {{name: ops, url: 'https://ops.example'}}\n")
    assert "T0K3N" not in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{name: a, url: 'gopher://T0K3N'}", "notifications.a.url is not an address"),
        ("{name: a, url_file: nowhere}", "nowhere cannot be read"),
        ("{name: a, format: pagerduty, key_file: nowhere}", "notifications.a.key"),
    ],
)
def test_a_receiver_that_cannot_be_posted_to_keeps_no_other_from_it(home: Settings, entry: str, message: str) -> None:
    receivers, names, (problem,) = of_sources(home, f"  - {entry}\n  - {{name: ops, url: 'https://ops.example'}}\n")
    assert [receiver.name for receiver in receivers] == ["ops"]
    assert names == ["a", "ops"]
    assert message in problem
    assert "T0K3N" not in problem


def test_the_environment_names_one_receiver(tmp_path: Path) -> None:
    assert configured(Settings(home=tmp_path), None) == ([], [], [])
    (tmp_path / "url").write_text("https://ops.example/T0K3N")
    ((one,), _, _) = configured(Settings(home=tmp_path, webhook_url_file=tmp_path / "url", webhook_format="slack"), None)
    assert (one.name, one.format, one.url.get_secret_value()) == ("webhook", "slack", "https://ops.example/T0K3N")
    ((pager,), _, _) = configured(Settings(home=tmp_path, webhook_format="pagerduty", webhook_key=SecretStr("k")), None)
    assert pager.url.get_secret_value().startswith("https://events.pagerduty.com")
    (_, names, (problem,)) = configured(Settings(home=tmp_path, webhook_format="pagerduty", webhook_url=SecretStr("https://x")), None)
    assert names == ["webhook"]
    assert "routing key" in problem


def test_messages_are_told_apart_by_episode() -> None:
    cause = Cause("failed_run", "a", 1.0)
    assert Message(cause, over=False, began=1.0).id != Message(cause, over=False, began=2.0).id
