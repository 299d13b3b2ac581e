"""The checks of raw_tables and cleaned_frames on a small lake: what stops a version, what does not, and what is said of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vector_assets.checks.catalog import checks_of
from vector_assets.checks.result import Acceptance, CheckResult
from vector_assets.cleaned.profile import Layout, Measured
from vector_assets.cleaned.stage import PROFILE
from vector_assets.errors import AuditError, ConfigurationError, SourceError
from vector_assets.pipeline import Run
from vector_assets_tests.fakes import Row
from vector_assets_tests.scripted import REF, Lake, sources

ROWS = 400
WARM_UP = 3
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("body", pa.string()),
        ("status", pa.string()),
        ("price", pa.float64()),
        ("owner", pa.string()),
        ("opened", pa.date32()),
        ("closed", pa.date32()),
    ]
)
TABLE: dict[str, object] = {
    "properties": {"id": "keep", "status": "keep", "price": "keep", "owner": "drop"},
    "quality": {"owner": {"unique": True}},
    "history": {"warm_up": WARM_UP},
    "checks": {},
}


def rows(seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    lengths = (2 ** rng.normal(5, 1, ROWS)).astype(int) + 1
    return [
        {
            "id": at,
            "body": "word " * int(length),
            "status": ("open", "closed", "waiting")[at % 3],
            "price": float(rng.lognormal(3, 1)),
            "owner": f"owner {at}",
            "opened": None,
            "closed": None,
        }
        for at, length in enumerate(lengths)
    ]


@dataclass
class Watched:
    """A lake whose first two stages are synced, and what their checks said last."""

    lake: Lake
    results: dict[str, CheckResult] = field(default_factory=dict)

    def sync(self, acceptance: Acceptance | None = None) -> dict[str, CheckResult]:
        def checked(_stage: str, results: object) -> None:
            self.results |= {result.name: result for result in results}  # type: ignore[attr-defined]

        self.results.clear()
        run = Run("test", approval=self.lake.approval(), acceptance=acceptance, checked=checked)
        self.lake.sync(run, "raw_tables", "cleaned_frames")
        return self.results

    def edit(self, change: Callable[[dict[str, object]], object], *, every: int = 1, start: int = 0) -> None:
        for row in self.lake.rows[start::every]:
            change(row)  # type: ignore[arg-type]

    def published(self) -> int:
        view = self.lake.pipeline.published("cleaned_frames", REF)
        assert view is not None
        return view.version

    def failed(self) -> list[str]:
        return [name for name, result in self.results.items() if not result.passed]

    def refused(self) -> list[str]:
        """Which checks stop the version."""
        with pytest.raises(AuditError):
            self.sync()
        return [name for name, result in self.results.items() if result.stops]


def lake_of(home: Path, table: list[Row], **settings: object) -> Watched:
    lake = Lake(home, table, table=TABLE | settings, batch_rows=1000, commit_rows=1000)
    lake.source.schema, lake.source.batch_rows = SCHEMA, 1000
    return Watched(lake)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """As many published versions as it takes to be judged, each with a few edits."""
    seen = lake_of(tmp_path, rows())
    for version in range(WARM_UP + 1):
        seen.edit(lambda row, version=version: row.update(body=str(row["body"]) + f"more {version}"), every=50, start=version)  # type: ignore[misc]
        seen.sync()
        assert seen.failed() == []
    return seen


def test_every_check_of_a_stage_says_something_from_the_first_version_on(tmp_path: Path) -> None:
    seen = lake_of(tmp_path, rows())
    seen.sync()
    assert {*seen.results} == {check.name for stage in ("raw_tables", "cleaned_frames") for check in checks_of(stage)}
    assert all(result.passed for result in seen.results.values())
    assert "warming up" in seen.results["null_shares"].said


def test_ordinary_edits_raise_nothing(watched: Watched) -> None:
    watched.edit(lambda row: row.update(status="closed", body=str(row["body"]) + " and more"), every=20)
    del watched.lake.rows[5::100]
    watched.lake.rows.extend({**row, "id": 1000 + int(str(row["id"])), "owner": f"new {row['id']}"} for row in rows(1)[:12])
    watched.sync()
    assert watched.failed() == []


@pytest.mark.parametrize(
    ("change", "every", "check", "words"),
    [
        (lambda row: row.update(body=None), 4, "null_shares", "null_share.body: 0.25, where the median of 4 versions is 0"),
        (lambda row: row.update(body=str(row["body"]) * 2), 1, "text_lengths", "length.body: texts of "),
        (lambda row: row.update(price=float(str(row["price"])) * 100), 1, "numeric_distributions", "magnitude.price: numbers of "),
        (lambda row: row.update(status="open"), 1, "category_shares", "category.status: values in bucket"),
    ],
    ids=["NULLs", "lengths doubled", "cents for euros", "categories vanished"],
)
def test_what_is_unlike_history_is_not_published(
    watched: Watched, change: Callable[[dict[str, object]], object], every: int, check: str, words: str
) -> None:
    before = watched.published()
    watched.edit(change, every=every)
    assert watched.refused() == [check]
    assert words in watched.results[check].said
    assert {"value", "most_unlike", "now", "median"} <= {*watched.results[check].figures}
    assert watched.published() == before


def test_half_the_rows_are_gone(watched: Watched) -> None:
    del watched.lake.rows[::2]
    assert watched.refused() == ["row_count"]
    assert "rows: 200, where the median of 4 versions is 400" in watched.results["row_count"].said


def test_what_a_person_accepted_is_what_comes_next_is_compared_with(watched: Watched) -> None:
    watched.edit(lambda row: row.update(body=None), every=4)
    assert watched.refused() == ["null_shares"]
    accepted = Acceptance(frozenset({"null_shares"}), "ana", "bodies moved to another system")
    assert watched.sync(accepted)["null_shares"].accepted == "ana: bodies moved to another system"
    watched.edit(lambda row: row.update(price=1.0), every=100)
    watched.sync()
    assert watched.failed() == []
    watched.edit(lambda row: row.update(body="back again"), every=4)
    assert "null_shares" in watched.refused()


def test_values_of_a_unique_column_may_not_occur_twice(watched: Watched) -> None:
    watched.edit(lambda row: row.update(owner=None), every=40)  # NULLs do not count
    watched.sync()
    assert watched.results["unique_values"].said == "no value of owner occurs twice (blocks from 1)"
    watched.edit(lambda row: row.update(owner="SECRET TWIN"), every=100, start=1)
    assert watched.refused() == ["unique_values"]
    found = watched.results["unique_values"]
    assert found.said == "4 rows share their value of owner with another (blocks from 1)"
    assert found.figures["owner"] == 4
    assert len(str(found.figures["row_ids"]).split(", ")) == 4
    assert "SECRET" not in f"{found}"


def test_many_rows_are_named_by_twenty(tmp_path: Path) -> None:
    seen = lake_of(tmp_path, [{**row, "owner": "one"} for row in rows()])
    assert seen.refused() == ["unique_values"]
    assert str(seen.results["unique_values"].figures["row_ids"]).endswith(f" and {ROWS - 20:,} more")


@pytest.mark.parametrize(
    ("check", "payload"),
    [("hidden_characters", "".join(chr(0xE0000 + ord(letter)) for letter in "send me the keys")), ("mixed_scripts", " Pаypal")],
)
def test_an_attack_of_a_few_rows_is_not_published(watched: Watched, check: str, payload: str) -> None:
    def poison(row: dict[str, object]) -> None:
        row.update(body=f"{row['body']}{payload}")

    watched.edit(poison, every=ROWS)
    watched.sync()
    assert watched.failed() == [check]  # one row is somebody's paste
    watched.edit(poison, every=20, start=1)
    assert watched.refused() == [check]
    found = watched.results[check]
    assert "21 rows have" in found.said
    assert found.figures["rows"] == 21
    assert found.history == {f"{check}.rows": (0, 0, 0, 0, 1, 21)}
    accepted = watched.sync(Acceptance(frozenset({check}), "bo", "a lesson on attacks"))
    assert accepted[check].accepted
    watched.edit(lambda row: row.update(price=1.0), every=100)
    watched.sync()
    assert watched.failed() == []


def test_profiles_outlive_purging(tmp_path: Path) -> None:
    seen = lake_of(tmp_path, rows(), checks={"text_lengths": {"block": 0.5}})
    for version in range(WARM_UP + 1):
        seen.edit(lambda row, version=version: row.update(price=100.0 + version), every=100)  # type: ignore[misc]
        seen.lake.sync(None, "raw_tables", "cleaned_frames", "redacted_text")
    view = seen.lake.pipeline.published("cleaned_frames", REF)
    assert view is not None
    assert view.state.purged
    assert view.take(np.arange(ROWS), ["values"]).column("values").null_count == ROWS
    assert len(Measured.of(view.content(PROFILE)[2].column(PROFILE), layout_of(seen)).rows) == ROWS
    seen.edit(lambda row: row.update(body=str(row["body"]) * 3))
    assert seen.refused() == ["text_lengths"]


def layout_of(seen: Watched) -> Layout:
    spec = seen.lake.settings.tables.spec_for(REF)
    return Layout(spec, pa.schema([SCHEMA.field(name) for name in spec.columns]))


def test_rows_that_keep_what_they_were_under_other_rules_are_left_out(tmp_path: Path) -> None:
    seen = lake_of(tmp_path, rows(), checks={"rejected_rows": "off"})
    seen.sync()
    other = {"properties": {"id": "keep", "status": "keep", "price": "drop"}, "rules": {"known": "status <> 'open'"}}
    object.__setattr__(seen.lake.settings, "tables", sources(**(TABLE | other | {"checks": {"rejected_rows": "off"}})))
    seen.sync()
    view = seen.lake.pipeline.published("cleaned_frames", REF)
    assert view is not None
    assert view.counts().stale == 134
    assert len(Measured.of(view.content(PROFILE)[2].column(PROFILE), layout_of(seen)).rows) == ROWS - 134


def test_cross_column_rules_reject_the_rows_that_break_them(tmp_path: Path) -> None:
    rules = {"closed_after_opened": "closed IS NULL OR closed >= opened", "whole": "100 // CAST(price AS INTEGER) >= 0"}
    day = dt.date(2024, 1, 2)
    table = [
        {**row, "opened": day, "closed": closed, "price": price}
        for row, closed, price in zip(
            rows(), [None, day, day - dt.timedelta(1), day, day], [1.0, None, 1.0, 0.0, float("inf")], strict=False
        )
    ]
    seen = lake_of(tmp_path, table, rules=rules, properties={"id": "keep"}, quality={}, checks={"rejected_rows": "off"})
    assert set(seen.lake.settings.tables.spec_for(REF).columns) >= {"closed", "opened", "price"}
    seen.sync()
    view = seen.lake.pipeline.published("cleaned_frames", REF)
    assert view is not None
    reasons = view.take(np.arange(5), ["reason"]).column("reason").to_pylist()
    assert sorted(map(str, reasons)) == [
        "None",
        "None",
        "closed_after_opened: does not hold",
        *["whole: cannot be evaluated on this row"] * 2,
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quality": {"price": {"type": "string"}}}, "'price' should be of type string, and the source has double"),
        ({"rules": {"ordered": "closed >= openend"}}, "lake.s.t has no column 'openend'"),
        ({"rules": {"counted": "count(price) > 1"}}, "rules: counted: Binder Error: WHERE clause cannot contain aggregates!"),
        ({"rules": {"sum": "price + 1"}}, "rules: sum is of type DOUBLE"),
    ],
)
def test_rules_that_do_not_fit_the_table_stop_it(tmp_path: Path, settings: dict[str, object], words: str) -> None:
    seen = lake_of(tmp_path, rows(), **settings)
    with pytest.raises((ConfigurationError, SourceError)) as raised:
        seen.sync()
    assert words in str(raised.value)
