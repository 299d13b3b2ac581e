"""Probes: rows are found by what they say first, and a generation in which they are not gets no alias."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.checks.judge import Bounds, Judge, Thresholds
from vector_assets.checks.result import CheckResult
from vector_assets.checks.statistics import Statistics
from vector_assets.errors import AuditError
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.indexed.probes import LEAST_CHARACTERS, Probe, judged, opening
from vector_assets.pipeline import STAGES, Run
from vector_assets_tests.fakes import MemoryIndex, Row, StubEncoder
from vector_assets_tests.scripted import Lake

RUN = Run("test")


class Deaf(StubEncoder):
    """Passages are encoded well, queries are not."""

    def encode_query(self, query: str) -> np.ndarray:
        return -self._vector(query) if "nan" not in query else np.full(self.dimension, np.nan, np.float32)


def rows(count: int, text: str = "what row {} says at some length") -> list[Row]:
    return [{"id": key, "body": text.format(key), "status": "open"} for key in range(count)]


def lake_of(path: Path, count: int = 40, **checks: object) -> Lake:
    return Lake(path, rows(count), table={"quality": {}, "checks": checks}, batch_rows=64, commit_rows=64)


def checked(lake: Lake) -> dict[str, CheckResult]:
    """Sync; results of weaviate_collections by name."""
    found: dict[str, CheckResult] = {}
    run = Run("test", checked=lambda stage, results: found.update({each.name: each for each in results} if stage == STAGES[-1] else {}))
    lake.sync(run)
    return found


# --- what is asked ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "probe"),
    [
        ("", None),
        ("too short", None),
        ("A title of a ticket, long enough\n\nand its body", "A title of a ticket, long enough"),
        ("Dear all, it does not work. Please help me. Now!", "Dear all, it does not work."),
        ("Hi. It broke yesterday at noon. Please help.", "Hi. It broke yesterday at noon."),
        ("see version 1.2.3 of the manual for all of it", "see version 1.2.3 of the manual for all of it"),
        ("「これは二十文字以上の最初の文章ですから大丈夫です。」二番目", "「これは二十文字以上の最初の文章ですから大丈夫です。"),
        ("x" * 300, "x" * 200),
    ],
)
def test_the_opening_of_a_text(text: str, probe: str | None) -> None:
    assert opening(text) == probe


@given(st.text())
def test_an_opening_is_how_the_text_begins(text: str) -> None:
    probe = opening(text)
    assert (probe is None) == (len(text.strip()) < LEAST_CHARACTERS)
    if probe is not None:
        assert text.strip().startswith(probe)
        assert 0 < len(probe) <= 200


# --- what it comes to ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "lance"])
def test_rows_that_are_found_pass_and_rows_that_are_not_warn(tmp_path: Path, kind: str) -> None:
    lake = lake_of(tmp_path / "home")
    lake.engines.memory_index = LanceIndex(str(tmp_path / "index")) if kind == "lance" else MemoryIndex()
    found = checked(lake)["probe_recall"]
    assert (found.passed, found.figures["value"], found.figures["probes"]) == (True, 1.0, 32)
    lake.engines.stub_encoder = Deaf()
    lake.rows.append({"id": 77, "body": "one more row that says something", "status": "open"})
    found = checked(lake)["probe_recall"]
    assert (found.passed, found.blocks) == (False, False)
    assert float(found.figures["value"]) < 0.5
    assert len(str(found.figures["missed rows"]).split(", ")) == 5


def test_an_idle_sync_asks_nothing(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    lake.sync()
    asked = lake.index.searched
    assert asked == 32
    lake.sync()
    assert lake.index.searched == asked


def test_small_tables_and_equal_texts_are_found(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    lake.rows[:] = [{"id": key, "body": "Returned item, no refund yet\n" * (key % 2) + f"{key}", "status": "open"} for key in range(60)]
    found = checked(lake)["probe_recall"]  # thirty rows begin alike; no other is long enough
    assert found.passed, found.said
    assert checked(lake_of(tmp_path / "short", 5, probe_recall={"warn": 0.9, "block": 0.9}))["probe_recall"].passed
    nothing = lake_of(tmp_path / "none")
    nothing.rows[:] = rows(5, "{}")
    assert checked(nothing)["probe_recall"].said == "no text of 20 characters to ask for"


def test_a_query_that_is_not_finite_finds_nothing(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    lake.engines.stub_encoder = Deaf()
    lake.rows[:] = rows(40, "nan {} is what this row says, at some length")
    assert checked(lake)["probe_recall"].figures["value"] == 0.0


def outcome(recall: float, bounds: Bounds, history: tuple[float, ...]) -> CheckResult:
    judge = Judge(Thresholds({"probe_recall": bounds}, warm_up=3), [Statistics({"probe_recall": past}) for past in history])
    probes = [Probe(bytes([at]) * 16, frozenset(), "") for at in range(20)]
    return judged(judge, probes, [probe.row_id for probe in probes[: round(20 * (1 - recall))]])


@pytest.mark.parametrize(
    ("recall", "bounds", "history", "passed", "stops"),
    [
        (0.9, Bounds(0.9, None), (), True, False),
        (0.85, Bounds(0.9, None), (), False, False),
        (0.85, Bounds(0.5, None), (1.0, 1.0), True, False),  # warming up
        (0.85, Bounds(0.5, None), (1.0, 1.0, 1.0), False, False),  # a tenth below what it was
        (0.85, Bounds(0.5, None), (0.9, 0.95, 0.9), True, False),
        (1.0, Bounds(0.5, None), (0.6, 0.6, 0.6), True, False),  # it may always be better
        (0.5, Bounds(0.9, 0.6), (), False, True),
        (0.0, Bounds(None, None), (1.0, 1.0, 1.0), True, False),
    ],
)
def test_the_judgement(recall: float, bounds: Bounds, history: tuple[float, ...], passed: bool, stops: bool) -> None:
    result = outcome(recall, bounds, history)
    assert (result.passed, result.stops) == (passed, stops)
    assert result.figures["value"] == recall


# --- a new generation ------------------------------------------------------------------------------------------------------------------


def test_a_generation_whose_rows_are_not_found_gets_no_alias(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, probe_recall={"warn": 0.9, "block": 0.8})
    lake.sync()
    serving = lake.index.resolve("Things")
    lake.model("d2")
    sound, lake.engines.stub_encoder = lake.engines.stub_encoder, Deaf()
    with pytest.raises(AuditError, match=r"probe_recall: \d+ of 32 probes"):
        lake.sync()
    assert lake.index.resolve("Things") == serving
    lake.pipeline.settle_alias("Things")
    assert lake.index.resolve("Things") == serving, "whoever looks at it, and when"
    del lake.rows[0]
    with pytest.raises(AuditError):
        lake.sync()
    assert lake.index.resolve("Things") == serving, "deletes are published on their own, and move nothing"
    assert len(lake.index.made[str(serving)].objects) == 39
    lake.engines.stub_encoder = sound
    lake.sync()
    assert lake.index.resolve("Things") != serving


@pytest.mark.parametrize("broken", ["nan", "zero", "scaled", "constant"])
def test_a_model_that_makes_nothing_but_bad_vectors_publishes_nothing(tmp_path: Path, broken: str) -> None:
    class Bad(StubEncoder):
        def _vector(self, text: str) -> np.ndarray:
            vector = super()._vector(text)
            made = {"nan": vector * np.nan, "zero": vector * 0, "scaled": vector * 10, "constant": np.full_like(vector, 8**-0.5)}
            return made[broken].astype(np.float32)

    lake = lake_of(tmp_path, 12)
    lake.sync()
    serving = lake.index.resolve("Things")
    lake.model("d2")
    lake.engines.stub_encoder = Bad()
    with pytest.raises(AuditError, match="rejected_rows: 12 of 12 rows are rejected"):
        lake.sync()
    assert (lake.index.resolve("Things"), lake.index.collections()) == (serving, [serving])
    lake.model("d3")
    lake.engines.stub_encoder = StubEncoder()
    lake.sync()
    assert lake.index.resolve("Things") not in (None, serving)
