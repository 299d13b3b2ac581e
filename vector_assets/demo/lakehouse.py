"""The sample lakehouse: a DuckDB file with real texts, made-up people and a few rows that real tables have and samples leave out.

docs.topics            the help texts that ship with this Python
support.tickets        seeded tickets full of personal data
support.ticket_labels  where that data stands (field, entity, characters start to end); never synced, it is what recall is measured with
crm.notes              HTML notes with a composite key (account, note_no); odd rows among them, see `ODD_NOTES`
"""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from vector_assets.demo.phrases import PhraseBook, Span, Ticket
from vector_assets.errors import SourceError, SourceUnavailable, StorageError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ACCOUNTS = 40
NOTES_PER_ACCOUNT = 8
CHANGED_PER_EDIT, DELETED_PER_EDIT, ADDED_PER_EDIT = 3, 1, 2

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


def build(path: Path, *, seed: int = 7, tickets: int = 2000) -> None:
    """Make the sample file, the same for the same seed (and Python), unless it is there already; whole or not at all.

    Raises StorageError where the file cannot be written.
    """
    import duckdb

    if path.exists():
        return
    book = PhraseBook(seed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as folder:
            unfinished = Path(folder) / path.name
            with closing(duckdb.connect(str(unfinished))) as connection:
                _create(connection, "docs.topics", _topics())
                _create(connection, "crm.notes", _notes(book))
                written = [book.ticket(number) for number in range(1, tickets + 1)]
                _create(connection, "support.tickets", _ticket_rows(written))
                _create(connection, "support.ticket_labels", _label_rows(written))
            unfinished.replace(path)
    except (OSError, duckdb.IOException) as error:
        raise StorageError(
            f"the sample {path} cannot be written: {error}; free some space, or set VECTOR_ASSETS_HOME to another place"
        ) from error


def edit(path: Path) -> Edits:
    """Change 3 tickets, delete 1 and add 2, in one transaction; other ones at every call, the same ones for the same file. Labels follow.

    Raises SourceError where there is no such file, SourceUnavailable while another process has it open.
    """
    with _opened(path) as connection:
        ids = [number for (number,) in connection.execute("SELECT ticket_id FROM support.tickets ORDER BY ticket_id").fetchall()]
        newest = ids[-1]  # grows with every edit, and so makes each one different
        book = PhraseBook(newest)
        changed = book.choose(ids, CHANGED_PER_EDIT + DELETED_PER_EDIT)
        deleted = changed.pop()
        added = [book.ticket(newest + 1 + i) for i in range(ADDED_PER_EDIT)]
        connection.begin()
        for number in changed:
            _append_followup(connection, book, number)
        connection.execute("DELETE FROM support.tickets WHERE ticket_id = ?", [deleted])
        connection.execute("DELETE FROM support.ticket_labels WHERE ticket_id = ?", [deleted])
        _insert(connection, "support.tickets", _ticket_rows(added))
        _insert(connection, "support.ticket_labels", _label_rows(added))
        connection.commit()
    return Edits(changed=tuple(sorted(changed)), deleted=(deleted,), added=tuple(ticket.ticket_id for ticket in added))


# --- DuckDB ----------------------------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[DuckDBPyConnection]:
    import duckdb

    if not path.exists():  # connecting would make an empty one
        raise SourceError(f"there is no sample at {path}: `make demo` builds it")
    try:
        connection = duckdb.connect(str(path))
    except duckdb.IOException as error:
        raise SourceUnavailable(f"the sample {path} is open in another process; close that one, or try again when it is done") from error
    with closing(connection):
        yield connection


def _create(connection: DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name.split('.', maxsplit=1)[0]}")
    connection.register("rows_in", rows)
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM rows_in")  # noqa: S608 - names are this module's own
    connection.unregister("rows_in")


def _insert(connection: DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("rows_in", rows)
    connection.execute(f"INSERT INTO {name} SELECT * FROM rows_in")  # noqa: S608 - names are this module's own
    connection.unregister("rows_in")


def _append_followup(connection: DuckDBPyConnection, book: PhraseBook, number: int) -> None:
    row = connection.execute("SELECT body FROM support.tickets WHERE ticket_id = ?", [number]).fetchone()
    assert row is not None  # it was among the ids read in this transaction
    longer = book.followup(number, row[0])
    connection.execute("UPDATE support.tickets SET body = ? WHERE ticket_id = ?", [longer.text, number])
    _insert(connection, "support.ticket_labels", _labels([(number, "body", span) for span in longer.spans]))


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
