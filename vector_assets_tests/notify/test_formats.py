"""Each format against what its receiver documents, for messages of any text."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from vector_assets.notify.board import KINDS, Cause, Message
from vector_assets.notify.formats import FORMATS, body, link
from vector_assets.tables import TableRef

UI = "https://dagster.example/base/"
NAMES = st.text(min_size=1, max_size=90)
CAUSES = st.builds(
    Cause,
    kind=st.sampled_from(KINDS),
    table=st.builds(lambda *names: TableRef(*names).key, NAMES, NAMES, NAMES),
    began=st.floats(1.7e9, 1.9e9),
    reason=st.text("a<&>é\n", max_size=4_000),
    remedy=st.text(max_size=300),
    stage=st.sampled_from(["", "embeddings"]),
    run_id=st.sampled_from(["", "1b2c"]),
    ended=st.floats(1.7e9, 1.9e9),
)
MESSAGES = st.builds(lambda cause, over: Message(cause, over, cause.began), CAUSES, st.booleans())
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")  # RFC 3339


def made(form: str, message: Message, **more: str) -> Any:
    """What is posted, through JSON."""
    return json.loads(json.dumps(body(form, message, ui_url=UI, **more)))  # type: ignore[arg-type]


@given(MESSAGES)
def test_json_has_everything(message: Message) -> None:
    told = made("json", message)
    assert set(told) == {
        *("id", "incident", "status", "cause", "table", "stage", "title", "reason", "remedy", "run_id", "url", "began_at", "ended_at")
    }
    assert re.fullmatch("[0-9a-f]{32}", told["id"])
    assert told["status"] == ("over" if message.over else "begun")
    assert TIME.fullmatch(told["began_at"])
    assert (told["ended_at"] is not None) is message.over


@given(MESSAGES)
def test_slack_keeps_its_limits(message: Message) -> None:
    """Block Kit: at most 50 blocks; header text plain and of 150 characters; section text of 3,000; context of 10 elements."""
    told = made("slack", message)
    assert set(told) == {"text", "blocks"}
    assert 0 < len(told["text"]) <= 3_000
    header, *sections, context = told["blocks"]
    assert header["type"] == "header"
    assert header["text"]["type"] == "plain_text"
    assert 0 < len(header["text"]["text"]) <= 150
    for section in sections:
        assert (section["type"], section["text"]["type"]) == ("section", "mrkdwn")
        text = section["text"]["text"]
        assert 0 < len(text) <= 3_000
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", text)  # else a text could mention a channel
    assert context["type"] == "context"
    assert 1 <= len(context["elements"]) <= 10


@given(MESSAGES)
def test_alertmanager_takes_it(message: Message) -> None:
    """postableAlert of api/v2/openapi.yaml: labels and annotations map strings to strings, times are date-times, generatorURL is a URI."""
    (alert,) = made("alertmanager", message)
    assert set(alert) <= {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
    for name, value in (*alert["labels"].items(), *alert["annotations"].items()):
        assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name)
        assert isinstance(value, str)
    assert all(alert["labels"].values())  # an empty label is no label
    assert TIME.fullmatch(alert["startsAt"])
    assert TIME.fullmatch(alert["endsAt"])
    starts, ends = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
    if not message.over:
        assert ends - starts > timedelta(days=300)
    assert urlsplit(alert["generatorURL"]).netloc == "dagster.example"


@given(CAUSES)
def test_alertmanager_and_pagerduty_know_it_again(cause: Cause) -> None:
    begun, over = Message(cause, over=False, began=cause.began), Message(cause, over=True, began=cause.began)
    assert made("alertmanager", begun)[0]["labels"] == made("alertmanager", over)[0]["labels"]
    assert made("pagerduty", begun)["dedup_key"] == made("pagerduty", over)["dedup_key"]


@given(MESSAGES)
def test_pagerduty_takes_it(message: Message) -> None:
    """Events API v2: routing_key, event_action, dedup_key of 255; a trigger has summary (1,024), source and severity."""
    told = made("pagerduty", message, key="R0UT1NG")
    assert told["routing_key"] == "R0UT1NG"
    assert told["event_action"] == ("resolve" if message.over else "trigger")
    assert 0 < len(told["dedup_key"]) <= 255
    if message.over:
        assert set(told) == {"routing_key", "event_action", "dedup_key"}
        return
    assert set(told) == {"routing_key", "event_action", "dedup_key", "payload", "client", "links"}
    payload = told["payload"]
    assert set(payload) <= {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}
    assert 0 < len(payload["summary"]) <= 1_024
    assert payload["source"]
    assert payload["severity"] in {"critical", "error", "warning", "info"}
    assert TIME.fullmatch(payload["timestamp"])
    assert told["links"][0]["href"].startswith("https://")


def test_links_lead_to_the_run_or_to_the_table() -> None:
    run = Message(Cause("failed_run", "lake.s.t", 1.0, run_id="abc"), over=False, began=1.0)
    stale = Message(Cause("stale_table", "lake.s.a%2Eb", 1.0), over=False, began=1.0)
    assert link(UI, run) == "https://dagster.example/base/runs/abc"
    assert link(UI, stale) == "https://dagster.example/base/assets/weaviate_collections?partition=lake.s.a%252Eb"
    assert link("", run) == ""
    for form in FORMATS:
        assert "http" not in json.dumps(body(form, run))
