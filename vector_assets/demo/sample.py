"""What the sample lakehouse holds, whatever engine it is in: real texts, made-up people and a few rows that samples usually leave out.

docs.topics            the help texts that ship with this Python
support.tickets        seeded tickets full of personal data
support.ticket_labels  where that data stands (field, entity, characters start to end); never synced, it is what recall is measured with
crm.notes              HTML notes with a composite key (account, note_no); odd rows among them, see `ODD_NOTES`
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import pyarrow as pa

from vector_assets.demo.phrases import PhraseBook, Span, Ticket

ACCOUNTS = 40
NOTES_PER_ACCOUNT = 8
CHANGED_PER_EDIT, DELETED_PER_EDIT, ADDED_PER_EDIT = 3, 1, 2
TOPICS, TICKETS, LABELS, NOTES = "docs.topics", "support.tickets", "support.ticket_labels", "crm.notes"

# (account, note_no, note): what a sync has to survive. Two rows share a key and one has none: those are rejected, the others are not.
ODD_NOTES: tuple[tuple[str | None, int | None, str | None], ...] = (
    ("Null & Sons", 1, None),
    ("Null & Sons", 2, ""),
    ("Null & Sons", 3, " \t\n\u00a0 "),
    ("Twice GmbH", 1, "<p>This note and the next one have the same key.</p>"),
    ("Twice GmbH", 1, "<p>Which of the two is meant, nobody can tell.</p>"),
    ("Keyless Ltd", None, "<p>This note has no number.</p>"),
    ("شركة النور", 1, "<p dir='rtl'>اجتماع مع السيد أحمد حول تجديد العقد السنوي.</p>"),
    ("אור בע״מ", 1, "<p dir='rtl'>הלקוח מבקש הצעת מחיר חדשה לשנה הבאה.</p>"),
    ("東京商事", 1, "<p>来月から新しいプランに切り替える予定です。</p>"),
    ("Party Supplies 🎉", 1, "<p>Launch went well 🚀🎈 family 👩‍👩‍👧‍👦 flag 🇮🇸 thumbs 👍🏽</p>"),
    ("Café Zoë", 1, unicodedata.normalize("NFD", "<p>Crème brûlée für Zoë: accents as separate characters.</p>")),
    ("Invisible Inc.", 1, "<p>zero\u200bwidth, soft\u00adhyphen, bell\a, byte order mark\ufeff</p>"),
    ("a_b", 1, "<p>Joined with an underscore, this key and that of a_b's subsidiary would meet.</p>"),
    ("a", 1, "<p>The subsidiary.</p>"),
    ('x"; DROP TABLE notes; --', 1, "<p>An account's name is data, whatever it looks like.</p>"),
    ("100% / dotted.name", 1, "<p>Percent, slash and dot.</p>"),
    ("Braces {note} Ltd", 1, "<p>{note.__class__} {{}} is text, not a template.</p>"),
    ("Markup AG", 1, "<style>p{color:red}</style><p>5 &lt; 7 &amp;&amp; 7 &gt; 5</p><script>alert('never text')</script><!-- nor this -->"),
    ("Markup AG", 2, "<p>never <b>closed, and 1 < 2 <br> too &nbsp;&copy; &#x1F600;"),
    ("Long Story Co.", 1, "<p>" + "A sentence that goes on, as some account managers do. " * 300 + "</p>"),
)


class Edits(NamedTuple):
    """Keys of support.tickets that an edit touched."""

    changed: tuple[int, ...]
    deleted: tuple[int, ...]
    added: tuple[int, ...]


class Edition(NamedTuple):
    """An edit before it is made: which tickets, new bodies by ticket, and the rows that tickets and labels gain."""

    edits: Edits
    bodies: Mapping[int, str]
    tickets: pa.Table
    labels: pa.Table


class Sample:
    """The tables, the same for the same seed (and Python). Loads Faker."""

    def __init__(self, *, seed: int = 7, tickets: int = 2000) -> None:
        self._book = PhraseBook(seed)
        self._count = tickets

    def table(self, name: str) -> pa.Table:
        """All rows of TOPICS, TICKETS, LABELS or NOTES."""
        made: dict[str, Callable[[], pa.Table]] = {
            TOPICS: _topics,
            TICKETS: lambda: _ticket_rows(self._tickets),
            LABELS: lambda: _label_rows(self._tickets),
            NOTES: lambda: _notes(self._book),
        }
        return made[name]()

    @cached_property
    def _tickets(self) -> list[Ticket]:
        return [self._book.ticket(number) for number in range(1, self._count + 1)]


def next_edition(ids: Sequence[int], body: Callable[[int], str]) -> Edition:
    """The next edit of tickets with these ids, in order: 3 change, 1 goes, 2 come. `body` reads that of a ticket.

    Other ones at every edit, the same ones for the same tickets.
    """
    newest = ids[-1]  # grows with every edit, and so makes each one different
    book = PhraseBook(newest)
    changed = book.choose(list(ids), CHANGED_PER_EDIT + DELETED_PER_EDIT)
    deleted = changed.pop()
    added = [book.ticket(newest + 1 + i) for i in range(ADDED_PER_EDIT)]
    longer = {number: book.followup(number, body(number)) for number in changed}
    gained = [(number, "body", span) for number, text in longer.items() for span in text.spans]
    return Edition(
        Edits(changed=tuple(sorted(changed)), deleted=(deleted,), added=tuple(ticket.ticket_id for ticket in added)),
        {number: text.text for number, text in longer.items()},
        _ticket_rows(added),
        pa.concat_tables([_labels(gained), _label_rows(added)]),
    )


# --- rows ------------------------------------------------------------------------------------------------------------------------------


def _topics() -> pa.Table:
    from pydoc_data import topics

    rows = [{"topic": topic, "title": _title(body, topic), "body": body} for topic, body in sorted(topics.topics.items())]
    return pa.Table.from_pylist(rows, pa.schema({"topic": pa.string(), "title": pa.string(), "body": pa.string()}))


def _title(body: str, topic: str) -> str:
    # Every text of every Python so far starts with a heading, underlined; the topic's name is better than nothing.
    lines = body.strip().splitlines()
    return lines[0].strip() if lines else topic


def _ticket_rows(tickets: list[Ticket]) -> pa.Table:
    schema = pa.schema(
        {
            "ticket_id": pa.int64(),
            "topic": pa.string(),
            "subject": pa.string(),
            "body": pa.string(),
            "status": pa.string(),
            "priority": pa.int32(),
            "created_at": pa.timestamp("us"),
            "customer": pa.string(),
            "notes": pa.string(),
        }
    )
    rows = [
        ticket._asdict()
        | {"subject": ticket.subject.text, "body": ticket.body.text, "notes": ticket.notes.text if ticket.notes is not None else None}
        for ticket in tickets
    ]
    return pa.Table.from_pylist(rows, schema)


def _label_rows(tickets: list[Ticket]) -> pa.Table:
    return _labels(
        [
            (ticket.ticket_id, field, span)
            for ticket in tickets
            for field, text in (("subject", ticket.subject), ("body", ticket.body), ("notes", ticket.notes))
            if text is not None
            for span in text.spans
        ]
    )


def _labels(labels: list[tuple[int, str, Span]]) -> pa.Table:
    schema = pa.schema({"ticket_id": pa.int64(), "field": pa.string(), "entity": pa.string(), "start": pa.int32(), "end": pa.int32()})
    return pa.Table.from_pylist([{"ticket_id": number, "field": field, **span._asdict()} for number, field, span in labels], schema)


def _notes(book: PhraseBook) -> pa.Table:
    accounts = book.accounts(ACCOUNTS)
    rows: list[dict[str, str | int | bool | None]] = []
    for number in range(ACCOUNTS * NOTES_PER_ACCOUNT):
        note, author = book.account_note(number)
        account, note_no = accounts[number // NOTES_PER_ACCOUNT], number % NOTES_PER_ACCOUNT + 1
        rows.append({"account": account, "note_no": note_no, "note": note, "author": author, "internal": number % 3 == 0})
    for odd_account, odd_number, odd_note in ODD_NOTES:
        rows.append({"account": odd_account, "note_no": odd_number, "note": odd_note, "author": "Ada Okafor", "internal": False})
    schema = {"account": pa.string(), "note_no": pa.int32(), "note": pa.string(), "author": pa.string(), "internal": pa.bool_()}
    return pa.Table.from_pylist(rows, pa.schema(schema))
