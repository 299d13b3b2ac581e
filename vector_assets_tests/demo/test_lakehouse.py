"""The sample is the same for the same seed, says truly where its personal data is, and can be edited again and again."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from vector_assets.demo import guide
from vector_assets.demo import sample as content
from vector_assets.demo.lakehouse import DuckDBLakehouse
from vector_assets.demo.phrases import ENTITIES, PhraseBook, fill
from vector_assets.demo.sample import Edits
from vector_assets.errors import SourceError, SourceUnavailable, StorageError
from vector_assets.sources_file import load_sources
from vector_assets.tables import TableRef

TABLES = ("docs.topics", "support.tickets", "support.ticket_labels", "crm.notes")


def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def _everything(path: Path) -> list[list[tuple[object, ...]]]:
    return [_rows(path, f"FROM {table} ORDER BY ALL") for table in TABLES]


def _wrong_labels(path: Path) -> list[tuple[object, ...]]:
    """Labels whose span is not inside its text, or an e-mail address or phone number that is not one."""
    return _rows(
        path,
        """
        WITH texts AS (UNPIVOT (SELECT ticket_id, subject, body, notes FROM support.tickets)
                       ON subject, body, notes INTO NAME field VALUE text),
        spans AS (SELECT l.*, substring(text, "start" + 1, "end" - "start") AS found, length(text) AS size
                  FROM support.ticket_labels l LEFT JOIN texts USING (ticket_id, field))
        SELECT ticket_id, field, entity FROM spans
        WHERE coalesce("end" > size OR "start" < 0 OR "start" >= "end", true)
           OR (entity = 'EMAIL_ADDRESS') <> (found LIKE '%@%')
           OR (entity = 'PHONE_NUMBER') <> regexp_full_match(found, '[-+(). 0-9]+555[-. ]01[0-9]{2}')
        """,
    )


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lake") / "home" / "sample.duckdb"
    DuckDBLakehouse(path).build()
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "sample.duckdb"
    DuckDBLakehouse(path).build(tickets=40)
    return path


def test_tables_hold_what_the_demo_needs(sample: Path) -> None:
    counts = [rows[0][0] for rows in (_rows(sample, f"SELECT count(*) FROM {table}") for table in TABLES)]
    topics, tickets, labels, notes = counts
    assert topics > 70
    assert tickets == 2000
    assert labels > tickets
    assert notes == content.ACCOUNTS * content.NOTES_PER_ACCOUNT + len(content.ODD_NOTES)
    assert _rows(sample, "SELECT count(*) FROM docs.topics WHERE title IS NULL OR length(body) < 100 OR title LIKE '%***%'") == [(0,)]
    assert _rows(sample, "SELECT count(DISTINCT subject || body) > 1950 FROM support.tickets") == [(True,)]
    assert _rows(sample, "SELECT count(*) > 100 FROM support.tickets GROUP BY topic") == [(True,)] * 13
    assert list(sample.parent.iterdir()) == [sample]


def test_every_kind_of_personal_data_is_labelled_where_it_stands(sample: Path) -> None:
    assert {entity for (entity,) in _rows(sample, "SELECT DISTINCT entity FROM support.ticket_labels")} == set(ENTITIES.values())
    assert _wrong_labels(sample) == []


def test_no_placeholder_is_left(sample: Path) -> None:
    assert _rows(sample, "SELECT ticket_id FROM support.tickets WHERE regexp_matches(concat(subject, body, notes), '[{}]')") == []


def test_odd_notes_are_there(sample: Path) -> None:
    assert _rows(sample, "SELECT count(*) FROM (SELECT account, note_no FROM crm.notes GROUP BY ALL HAVING count(*) > 1)") == [(1,)]
    assert _rows(sample, "SELECT count(*) FROM crm.notes WHERE note_no IS NULL") == [(1,)]
    assert _rows(sample, "SELECT count(*) FROM crm.notes WHERE note IS NULL") == [(1,)]


def test_same_seed_same_rows_and_other_seed_other_rows(small: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again.duckdb", tmp_path / "other.duckdb"
    DuckDBLakehouse(again).build(tickets=40)
    DuckDBLakehouse(other).build(tickets=40, seed=8)
    assert _everything(again) == _everything(small)
    assert _everything(other)[1] != _everything(small)[1]


def test_a_longer_table_starts_like_a_shorter_one(small: Path, sample: Path) -> None:
    assert _rows(sample, "FROM support.tickets ORDER BY ticket_id LIMIT 40") == _rows(small, "FROM support.tickets ORDER BY ticket_id")


def test_build_leaves_an_existing_file_alone(small: Path) -> None:
    before = small.stat()
    DuckDBLakehouse(small).build(tickets=50)
    assert small.stat() == before


def test_build_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="VECTOR_ASSETS_HOME"):
        DuckDBLakehouse(tmp_path / "file" / "sample.duckdb").build()


def test_edits_touch_what_they_say_and_differ_every_time(small: Path) -> None:
    seen: list[Edits] = []
    for _ in range(3):
        before = dict(_rows(small, "SELECT ticket_id, t FROM support.tickets t"))
        edits = DuckDBLakehouse(small).edit()
        after = dict(_rows(small, "SELECT ticket_id, t FROM support.tickets t"))
        assert [len(keys) for keys in edits] == [3, 1, 2]
        assert before.keys() - after.keys() == set(edits.deleted)
        assert after.keys() - before.keys() == set(edits.added)
        assert {key for key in before.keys() & after.keys() if before[key] != after[key]} == set(edits.changed)
        assert _wrong_labels(small) == []
        seen.append(edits)
    assert len(set(seen)) == 3


def test_the_same_file_is_edited_in_the_same_way(small: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin.duckdb"
    DuckDBLakehouse(twin).build(tickets=40)
    assert DuckDBLakehouse(twin).edit() == DuckDBLakehouse(small).edit()
    assert _everything(twin) == _everything(small)


def test_edit_needs_a_sample(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="make demo"):
        DuckDBLakehouse(tmp_path / "none.duckdb").edit()
    assert list(tmp_path.iterdir()) == []


def test_edit_says_that_another_process_has_the_file(small: Path) -> None:
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, str(small)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(SourceUnavailable, match="another process"):
            DuckDBLakehouse(small).edit()
        assert holder.stdin is not None
        holder.stdin.close()


def test_fill_labels_every_occurrence() -> None:
    text, spans = fill("{PERSON} and {product}, {PERSON}", {"PERSON": "Ann", "product": "Quill"})
    assert text == "Ann and Quill, Ann"
    assert [(span.entity, text[span.start : span.end]) for span in spans] == [("PERSON", "Ann"), ("PERSON", "Ann")]


def test_texts_do_not_depend_on_what_was_written_before() -> None:
    book = PhraseBook(7)
    book.accounts(3)
    assert book.ticket(5) == PhraseBook(7).ticket(5)


def test_sources_describe_the_sample(sample: Path) -> None:
    sources = load_sources(guide.SOURCES, {"VECTOR_ASSETS_HOME": str(sample.parent)})
    assert sources.catalogs["sample"].path == sample
    for spec in sources.tables:
        ref = TableRef.parse(spec.table)
        assert sources.spec_for(ref) is spec
        present = {name for (name,) in _rows(sample, f"SELECT column_name FROM (DESCRIBE {ref.schema}.{ref.table})")}
        assert {*spec.columns, *spec.properties, *spec.html} == present, ref
    assert {spec.table for spec in sources.tables} == {f"sample.{table}" for table in TABLES} - {"sample.support.ticket_labels"}
    assert sources.tables[2].html == ("note",)
