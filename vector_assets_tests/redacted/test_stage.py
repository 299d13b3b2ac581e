"""redacted_text as a stage: its gates on what is not published, a row's own values, statistics, and tables of its first version."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vector_assets.checks.judge import Judge
from vector_assets.checks.result import Acceptance, CheckResult
from vector_assets.errors import AuditError
from vector_assets.fingerprint import from_arrow
from vector_assets.pipeline import Run
from vector_assets.reconcile.audit import Candidate
from vector_assets.reconcile.view import ROW_ID
from vector_assets.redacted import gates, stage
from vector_assets.redacted.layout import CHARACTERS, ENTITIES, IDENTIFIER, LANGUAGE, NAME, SIGNALS, STUFFED, TEXT
from vector_assets.redacted.net import NAMED, Net
from vector_assets.redacted.texts import UNDETERMINED
from vector_assets.redaction import RedactionPolicy
from vector_assets_tests.fakes import Row
from vector_assets_tests.scripted import REF, Lake, sources

PRIVATE = "ada.okafor@example.com"
STAGES = ("raw_tables", "cleaned_frames", "redacted_text")
SCHEMA = pa.schema([(name, pa.string() if name != "id" else pa.int64()) for name in ("id", "body", "status", "owner", "notes")])
PROPERTIES = {"id": "keep", "status": "keep", "owner": "hash", "notes": "redact"}


def row(key: int, body: str | None = "nothing special", **others: str | None) -> Row:
    return {"id": key, "body": body, "status": "open", "owner": None, "notes": None, **others}


def lake_of(tmp_path: Path, rows: Sequence[Row], *, policy: RedactionPolicy | None = None, **table: object) -> Lake:
    lake = Lake(tmp_path / "home", [*rows], table={"quality": {}, "properties": PROPERTIES, **table}, batch_rows=64, commit_rows=64)
    (tmp_path / "home").mkdir(parents=True, exist_ok=True)
    (tmp_path / "home" / "secret").write_text("a secret for tests, 32 bytes long")
    lake.source.schema, lake.source.batch_rows = SCHEMA, 64
    if policy is not None:
        declare(lake, policy=policy)
    return lake


def declare(lake: Lake, *, policy: RedactionPolicy | None = None, **table: object) -> None:
    tables = sources(**{"quality": {}, "properties": PROPERTIES, **table})
    object.__setattr__(lake.settings, "tables", tables.model_copy(update={"redaction": {"default": policy or RedactionPolicy()}}))


def synced(lake: Lake, *, accept: str | None = None) -> dict[str, CheckResult]:
    """Sync up to redacted_text; its checks by name. Raises AuditError."""
    results: dict[str, CheckResult] = {}
    run = Run(
        "test",
        approval=lake.approval(),
        acceptance=Acceptance.parse(accept) if accept else None,
        checked=lambda name, checked: results.update({each.name: each for each in checked}) if name == STAGES[-1] else None,
    )
    lake.sync(run, *STAGES)  # type: ignore[arg-type]
    return results


def refused(lake: Lake) -> str:
    with pytest.raises(AuditError) as caught:
        synced(lake)
    return str(caught.value)


def texts(lake: Lake) -> dict[int, str | None]:
    view = lake.pipeline.published("redacted_text", REF)
    assert view is not None
    return {each["properties"]["id"]: each["text"] for each in view.take(np.arange(view.count())).to_pylist()}


# --- second net ------------------------------------------------------------------------------------------------------------------------


def test_what_a_redactor_overlooks_is_not_published(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, [row(1), row(2, "a secret")])
    assert synced(lake)["second_net"].passed
    lake.rows[:] = [row(1, f"write to {PRIVATE} today"), row(2, "a secret"), row(3, notes="please pay to DE89 3704 0044 0532 0130 00")]
    said = refused(lake)
    assert "second_net: 2 of 2 rows" in said
    assert "EMAIL_ADDRESS in 1, IBAN_CODE in 1" in said
    assert PRIVATE not in said
    assert texts(lake) == {1: "nothing special", 2: "a <1>"}
    lake.rows[:] = [row(1, "write to a secret today"), row(2, "a secret")]
    assert synced(lake)["second_net"].passed
    assert texts(lake) == {1: "write to a <1> today", 2: "a <1>"}


def test_figures_name_rows_and_nothing_of_theirs(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, [row(key, f"{PRIVATE} {key}") for key in range(30)])
    results = synced(lake, accept="second_net by ana: these are ours")
    found = results["second_net"]
    assert found.accepted == "ana: these are ours"
    assert found.figures["EMAIL_ADDRESS"] == found.figures["value"] == 30
    ids = str(found.figures["row_ids"]).split(", ")
    view = lake.pipeline.published("redacted_text", REF)
    assert view is not None
    assert len(ids) == 20
    assert {*ids} <= {each.hex() for each in view.take(np.arange(30)).column(ROW_ID).to_pylist()}
    assert not any(PRIVATE in str(result) for result in results.values())


def test_what_was_accepted_is_not_asked_again_until_the_net_or_the_policy_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_of(tmp_path, [row(1, PRIVATE), row(2)])
    synced(lake, accept="second_net by ana: this is ours")
    lake.rows[:] = [row(1, PRIVATE), row(2, "changed")]
    assert synced(lake)["second_net"].figures["rows"] == 1
    with monkeypatch.context() as patch:
        patch.setattr(stage, "NET_VERSION", stage.NET_VERSION + 1)
        assert "second_net: 1 of 2 rows" in refused(lake)
    assert synced(lake) == {}  # level again: nothing to audit
    lake.engines.stub_redactor.version = "2"  # nothing comes out differently, and yet everything is looked through
    assert "second_net: 1 of 2 rows" in refused(lake)
    declare(lake, policy=RedactionPolicy(allow=(PRIVATE,)))
    assert synced(lake)["second_net"].passed


def test_the_policy_says_what_is_looked_for(tmp_path: Path) -> None:
    rows = [row(1, PRIVATE, status=PRIVATE)]
    assert synced(lake_of(tmp_path / "a", rows, policy=RedactionPolicy(entities=("PERSON", "US_SSN"))))["second_net"].passed
    allowed = RedactionPolicy(allow=(PRIVATE.upper(),))
    assert synced(lake_of(tmp_path / "b", rows, policy=allowed))["second_net"].passed
    kept = [row(1, status=f"asked by {PRIVATE}")]  # a kept column is what the operator let through
    assert synced(lake_of(tmp_path / "c", kept))["second_net"].passed
    assert "second_net" in refused(lake_of(tmp_path / "d", kept, properties={"id": "keep", "status": "redact"}))


def test_memory_is_bounded_by_rows_and_characters() -> None:
    widths = np.array([0, 5, 20_000_000, 3, 16_000_000, 1] + [0] * 20_000)
    chunks = [*gates._chunks(np.arange(len(widths)), widths)]
    assert np.array_equal(np.concatenate(chunks), np.arange(len(widths)))
    assert [len(chunk) for chunk in chunks[:3]] == [2, 1, 1]
    assert max(map(len, chunks)) <= 8192
    assert all(widths[chunk].sum() <= 16_000_000 or len(chunk) == 1 for chunk in chunks)


# --- a row's own values ----------------------------------------------------------------------------------------------------------------


def test_a_rows_own_values_leave_its_text_and_properties(tmp_path: Path) -> None:
    rows = [
        row(1, "Ada Okafor of account 100-234-56 called", owner="ada okafor", notes="she is ADA OKAFOR"),
        row(2, "Ada Okafor called, too", owner="Ben Carter", notes="100 234 56"),
        row(3, "account 10023456", owner="10023456", notes="Zoë Müller"),
    ]
    lake = lake_of(tmp_path, rows)
    results = synced(lake)
    assert texts(lake) == {
        1: "<KNOWN_VALUE> of account 100-234-56 called",
        2: "Ada Okafor called, too",  # of another row: only the redactor can know
        3: "account <KNOWN_VALUE>",
    }
    view = lake.pipeline.published("redacted_text", REF)
    assert view is not None
    notes = {each["id"]: each["notes"] for each in view.take(np.arange(3)).column("properties").to_pylist()}
    assert notes == {1: "she is <KNOWN_VALUE>", 2: "<KNOWN_VALUE>", 3: "Zoë Müller"}
    assert results["known_values"].passed
    assert results["known_names"].passed


def test_a_text_is_redone_when_a_value_becomes_known(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, [row(1, "of 10023456 or 20034567", owner="10023456"), row(2, "of 10023456", owner="1")])
    synced(lake)
    assert texts(lake)[1] == "of <KNOWN_VALUE> or 20034567"
    lake.engines.stub_redactor.seen.clear()
    lake.rows[:] = [row(1, "of 10023456 or 20034567", owner="20034567"), row(2, "of 10023456", owner="1")]
    synced(lake)
    assert texts(lake)[1] == "of 10023456 or <KNOWN_VALUE>"
    assert lake.engines.stub_redactor.seen == ["of 10023456 or 20034567"]


def test_known_names_columns_that_are_read_for_this_alone(tmp_path: Path) -> None:
    rows = [row(1, "Ada Okafor called", status="Ada Okafor"), row(2, "Ada Okafor called")]
    shown = {"id": "keep"}
    lake = lake_of(tmp_path, rows, properties=shown)
    synced(lake)
    assert texts(lake) == {1: "Ada Okafor called", 2: "Ada Okafor called"}
    declare(lake, properties=shown, known=["status"])  # purged values are fetched again
    synced(lake)
    assert texts(lake) == {1: "<KNOWN_VALUE> called", 2: "Ada Okafor called"}
    lake.rows[1] = row(2, "Ada Okafor called", status="Ada Okafor")
    synced(lake)
    assert texts(lake) == {1: "<KNOWN_VALUE> called", 2: "<KNOWN_VALUE> called"}
    view = lake.pipeline.published("redacted_text", REF)
    assert view is not None
    assert "Ada Okafor" not in str(view.take(np.arange(2)).to_pylist())


def marked(lake: Lake, signals: str, where: str) -> Candidate:
    """A version that is not published, in which rows have these signals: what a bug in the replacement would leave."""
    table = lake.pipeline.table("redacted_text", REF)
    table.now()._dataset.update({SIGNALS: signals}, where=where)
    return Candidate(table.now(), table.published())


def judged(candidate: Candidate) -> dict[str, CheckResult]:
    audit = gates.judged(candidate, Judge(), net=Net(NAMED), everything=False, properties=["notes"], entities=[])
    return {each.name: each for each in audit.results}


def test_what_is_still_there_is_counted_without_knowing_it(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, [row(key, f"text {key}") for key in range(10)])
    synced(lake)
    found = judged(marked(lake, f"{IDENTIFIER | NAME}", "properties.id < 2"))
    assert found["known_values"].blocks
    assert found["known_values"].figures["value"] == 2
    assert len(str(found["known_values"].figures["row_ids"]).split(", ")) == 2
    assert (found["known_names"].passed, found["known_names"].blocks) == (False, False)
    assert found["known_names"].figures["value"] == 0.2
    published = lake.pipeline.published("redacted_text", REF)
    assert published is not None
    lake.pipeline.table("redacted_text", REF, epoch=published.state.epoch).publish(published.state)  # as if accepted
    found = judged(marked(lake, f"{IDENTIFIER}", "properties.id = 5"))
    assert found["known_values"].figures["value"] == 1  # the two before are published


# --- columns and versions --------------------------------------------------------------------------------------------------------------


def test_what_texts_are_like_is_kept_with_them(tmp_path: Path) -> None:
    stuffed = "buy cheap pills and order them online " * 20
    german = "Der Drucker im zweiten Stock antwortet seit heute Morgen nicht mehr."
    lake = lake_of(tmp_path, [row(1, german), row(2, None), row(3, stuffed)])
    synced(lake)
    view = lake.pipeline.published("redacted_text", REF)
    assert view is not None
    shown = view.take(np.arange(3), [TEXT, CHARACTERS, LANGUAGE, ENTITIES, SIGNALS]).to_pylist()
    assert {each[CHARACTERS]: (each[LANGUAGE], each[ENTITIES], each[SIGNALS]) for each in shown} == {
        len(german): ("de", "", 0),
        0: (UNDETERMINED, "", 0),
        len(stuffed) - 1: ("en", "", STUFFED),
    }


def test_a_table_of_the_first_version_is_reshaped_and_computed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(1, f"{PRIVATE} wrote", owner=PRIVATE), row(2, None), row(3, "Grüße aus dem zweiten Stock des Hauses")]
    lake = lake_of(tmp_path, rows)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "REDACTED_VERSION", 1)
        synced(lake)
    table = lake.pipeline.table("redacted_text", REF)
    published = table.published()
    assert published is not None
    table.now()._dataset.drop_columns([LANGUAGE, ENTITIES, SIGNALS])
    older = {name: value for name, value in published.state.desired.items() if name != "net"}
    table._tag(published.state.__class__(**{**published.state.__dict__, "desired": older, "history": []}))
    before = from_arrow(table.now().take(np.arange(3), [ROW_ID]).column(ROW_ID))
    results = synced(lake)
    assert all(result.passed for result in results.values())
    view = lake.pipeline.published("redacted_text", REF)
    assert view is not None
    assert SIGNALS in view.schema.names
    after = view.take(np.arange(3), [ROW_ID, LANGUAGE, SIGNALS])
    assert {*map(bytes, from_arrow(after.column(ROW_ID)))} == {*map(bytes, before)}
    assert after.column(LANGUAGE).null_count == after.column(SIGNALS).null_count == 0
    assert texts(lake)[1] == "<KNOWN_VALUE> wrote"
    assert synced(lake) == {}
