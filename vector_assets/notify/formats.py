"""Messages as receivers want them. Pure.

`json`: our own, see README. `slack`: an incoming webhook (header of at most 150 characters, sections of 3,000; & < > escaped).
`alertmanager`: POST /api/v2/alerts. It takes an alert without an end for resolved after five minutes, so an open one ends far away.
`pagerduty`: Events API v2 (dedup_key of at most 255 characters, summary of 1,024).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from urllib.parse import quote

from vector_assets.fingerprint import version_of
from vector_assets.notify.board import Kind, Message
from vector_assets.tables import MessageFormat

FORMATS: tuple[MessageFormat, ...] = get_args(MessageFormat)
PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
_SOURCE = "vector_assets"
_NEVER = timedelta(days=365)
_SAID: Mapping[Kind, str] = {
    "blocked_check": "a check keeps a new version from being published",
    "failed_run": "a run failed",
    "stale_table": "searches do not see the table as it is",
    "delete_brake": "the delete brake stopped a run",
}
_SEVERITY: Mapping[Kind, Literal["critical", "error", "warning", "info"]] = {
    "blocked_check": "error",
    "failed_run": "error",
    "stale_table": "warning",
    "delete_brake": "error",
}


def link(ui_url: str, message: Message) -> str:
    """Where the run is shown, or the table where there is no run; "" without the webserver's address."""
    if not ui_url:
        return ""
    root, cause = ui_url.rstrip("/"), message.cause
    return f"{root}/runs/{cause.run_id}" if cause.run_id else f"{root}/assets/weaviate_collections?partition={quote(cause.table, safe='')}"


def body(form: MessageFormat, message: Message, *, ui_url: str = "", key: str = "") -> object:
    """The JSON to post. `key` is PagerDuty's routing key."""
    writers: Mapping[MessageFormat, Callable[[Message, str], object]] = {"json": _json, "slack": _slack, "alertmanager": _alertmanager}
    to = link(ui_url, message)
    return _pagerduty(message, to, key) if form == "pagerduty" else writers[form](message, to)


def title(message: Message) -> str:
    """A line: the table and what is wrong with it, or that it is over."""
    said = _SAID[message.cause.kind]
    return f"{message.cause.table}: over: {said}" if message.over else f"{message.cause.table}: {said}"


def _json(message: Message, to: str) -> object:
    cause = message.cause
    return {
        "id": message.id,
        "incident": cause.key,
        "status": "over" if message.over else "begun",
        "cause": cause.kind,
        "table": cause.table,
        "stage": cause.stage,
        "title": title(message),
        "reason": cause.reason,
        "remedy": cause.remedy,
        "run_id": cause.run_id,
        "url": to,
        "began_at": _time(message.began),
        "ended_at": _time(cause.ended) if message.over else None,
    }


def _slack(message: Message, to: str) -> object:
    mark = "✅" if message.over else "🔴"
    said = [] if message.over else [text for text in (message.cause.reason, message.cause.remedy) if text]
    header = {"type": "header", "text": {"type": "plain_text", "text": f"{mark} {title(message)}"[:150]}}
    sections = [{"type": "section", "text": {"type": "mrkdwn", "text": _escaped(text, 3_000)}} for text in said]
    foot = [_time(message.at), *([f"<{to}|open in Dagster>"] if to else [])]
    context = {"type": "context", "elements": [{"type": "mrkdwn", "text": each} for each in foot]}
    return {"text": _escaped(f"{mark} {title(message)}", 3_000), "blocks": [header, *sections, context]}


def _alertmanager(message: Message, to: str) -> object:
    cause = message.cause
    name = "".join(word.capitalize() for word in cause.kind.split("_"))
    began = datetime.fromtimestamp(message.began, UTC)
    return [
        {
            "labels": {"alertname": f"VectorAssets{name}", "table": cause.table, "service": _SOURCE, "severity": _SEVERITY[cause.kind]},
            "annotations": {"summary": title(message), "description": cause.reason, "remedy": cause.remedy},
            "startsAt": began.isoformat(),
            "endsAt": _time(cause.ended) if message.over else (began + _NEVER).isoformat(),
            **({"generatorURL": to} if to else {}),
        }
    ]


def _pagerduty(message: Message, to: str, key: str) -> object:
    cause = message.cause
    incident = f"{_SOURCE}/{cause.key}"
    event: dict[str, object] = {
        "routing_key": key,
        "event_action": "resolve" if message.over else "trigger",
        "dedup_key": incident if len(incident) <= 255 else f"{incident[:222]}/{version_of('incident', key=cause.key)}",
    }
    if message.over:
        return event
    details = {"reason": cause.reason, "remedy": cause.remedy, "run_id": cause.run_id}
    return {
        **event,
        "payload": {
            "summary": title(message)[:1024],
            "source": _SOURCE,
            "severity": _SEVERITY[cause.kind],
            "timestamp": _time(message.began),
            "component": cause.table[:1024],
            "class": cause.kind,
            "custom_details": details,
        },
        "client": _SOURCE,
        **({"links": [{"href": to, "text": "open in Dagster"}]} if to else {}),
    }


def _escaped(text: str, most: int) -> str:
    """Slack reads &, < and > as its own; what is cut is cut before that, so that no entity is halved."""
    while len(escaped := text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")) > most:
        text = text[: len(text) - (len(escaped) - most + 4) // 5 - 1]
    return escaped


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
