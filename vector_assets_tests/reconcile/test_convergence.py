"""Whatever happens, in whatever order, and wherever a run dies: the published state is that of a from-scratch run, and no row is computed
again without cause."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vector_assets.pipeline import STAGES, Run
from vector_assets.reconcile import lease
from vector_assets_tests.scripted import Crash, Lake, crash_after, sources

BODIES = ("", "plain text", "a secret here", "another secret there", "one two three four five six seven eight nine ten", "x" * 50)
KEYS = st.sampled_from([0, 1, 2, 3, 4, None])

EDIT = st.one_of(
    st.tuples(st.just("put"), KEYS, st.sampled_from(BODIES), st.sampled_from(("open", "closed"))),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("repeat"), KEYS),
    st.tuples(st.just("policy"), st.sampled_from("12")),
    st.tuples(st.just("model"), st.sampled_from(("d1", "d2"))),
    st.tuples(st.just("sync")),
    st.tuples(st.just("race")),
    st.tuples(st.just("part"), st.integers(1, 4)),
    st.tuples(st.just("crash"), st.integers(1, 40)),
)


def edit(lake: Lake, step: tuple) -> None:
    match step:
        case ("put", key, body, status):
            lake.rows[:] = [row for row in lake.rows if row["id"] != key] + [{"id": key, "body": body, "status": status}]
        case ("delete", key):
            lake.rows[:] = [row for row in lake.rows if row["id"] != key]
        case ("repeat", key):
            lake.rows[:] = lake.rows + [row for row in lake.rows if row["id"] == key][:1]
        case ("policy", version):
            lake.engines.stub_redactor.version = version
        case ("model", digest):
            lake.model(digest)


@contextmanager
def lakes(*, on_reject: str = "drop") -> Iterator[tuple[Lake, Lake]]:
    with tempfile.TemporaryDirectory() as folder:
        table = {"on_reject": on_reject}
        yield Lake(Path(folder, "a"), table=table), Lake(Path(folder, "b"), table=table)


def race(lake: Lake) -> None:
    """Two writers at once; each stage has one of them wait for the other."""
    run = Run("race", wait_seconds=60, approval=lake.approval())
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(lease, "_POLL_SECONDS", 0.01)
        for writer in [pool.submit(lake.sync, run) for _ in range(2)]:
            writer.result()


def run_script(script: list[tuple]) -> None:
    with lakes() as (lake, fresh):
        for step in script:
            match step:
                case ("sync",):
                    lake.sync()
                case ("race",):
                    race(lake)
                case ("part", count):
                    lake.sync(None, *STAGES[:count])
                case ("crash", commits):
                    with suppress(Crash), crash_after(commits):
                        lake.sync()
                case _:
                    edit(lake, step)
        lake.sync()
        before = len(lake.engines.stub_redactor.seen), len(lake.engines.stub_encoder.seen), lake.index.upserts
        again = lake.sync()
        assert [outcome.planned for outcome in again.values()] == [0] * 5
        assert before == (len(lake.engines.stub_redactor.seen), len(lake.engines.stub_encoder.seen), lake.index.upserts)
        fresh.rows[:] = lake.rows
        fresh.engines.stub_redactor.version = lake.engines.stub_redactor.version
        fresh.engines.model = lake.engines.model
        fresh.sync()
        assert lake.snapshot() == fresh.snapshot()
        for collection in lake.index.made.values():  # deletes reach every generation
            live = {row["row_id"] for row in fresh.snapshot()["redacted_text"]}  # type: ignore[attr-defined]
            assert {row["row_id"] for row in collection.objects.values()} <= live


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EDIT, min_size=1, max_size=14))
@example([("put", 0, "a secret here", "open"), ("race",), ("put", 1, "plain text", "open"), ("delete", 0), ("crash", 9), ("race",)])
def test_any_script_converges(script: list[tuple]) -> None:
    run_script(script)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EDIT, min_size=5, max_size=25))
def test_any_long_script_converges(script: list[tuple]) -> None:
    run_script(script)


WHOLE = st.one_of(EDIT.filter(lambda step: step[0] in ("put", "delete", "policy", "model")), st.tuples(st.just("sync")))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WHOLE, min_size=1, max_size=14))
def test_unchanged_rows_are_never_computed_again(script: list[tuple]) -> None:
    with lakes() as (lake, _):
        redactor, encoder = lake.engines.stub_redactor, lake.engines.stub_encoder
        redacted: dict[object, object] = {}  # by key: (body, policy) of the last sync
        encoded: dict[str, set[str]] = {"d1": set(), "d2": set()}  # by model: passages in its table
        for step in [*script, ("sync",)]:
            if step != ("sync",):
                edit(lake, step)
                continue
            redactor.seen.clear()
            encoder.seen.clear()
            lake.sync()
            good = {row["id"]: row["body"] for row in lake.rows if row["id"] is not None and len(row["body"]) <= 40}
            now = {key: (body, redactor.version) for key, body in good.items()}
            assert set(redactor.seen) == {body for key, (body, version) in now.items() if redacted.get(key) != (body, version)}
            texts = {text for row in lake.snapshot()["embeddings"] for _, text in row["texts"]}  # type: ignore[attr-defined]
            digest = lake.engines.model.digest
            assert set(encoder.seen) <= texts
            assert not texts - encoded[digest] - set(encoder.seen)
            redacted, encoded[digest] = now, texts


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_a_crash_costs_at_most_a_commit_and_the_queues(crashes: list[int]) -> None:
    with lakes() as (lake, _):
        lake.rows[:] = [{"id": key, "body": f"text {key}", "status": "open"} for key in range(40)]
        for commits in crashes:
            with suppress(Crash), crash_after(commits):
                lake.sync()
        lake.sync()
        at_risk = 2 + 2 * (2 + 2 + 1)  # commit_rows, and two queues of two batches of two rows, and one in hand each side
        assert len(lake.engines.stub_redactor.seen) <= 40 + len(crashes) * at_risk
        assert len(lake.engines.stub_encoder.seen) <= 40 + len(crashes) * at_risk


def test_a_reverted_policy_computes_nothing() -> None:
    with lakes() as (lake, _):
        lake.rows[:] = [{"id": key, "body": f"secret {key}", "status": "open"} for key in range(6)]
        lake.sync()
        before = lake.snapshot()
        lake.engines.stub_redactor.version = "2"
        lake.sync(None, "raw_tables", "cleaned_frames")
        with suppress(Crash), crash_after(3):
            lake.sync(None, "redacted_text")
        lake.engines.stub_redactor.version = "1"
        lake.engines.stub_redactor.seen.clear()
        lake.engines.stub_encoder.seen.clear()
        lake.sync()
        assert not lake.engines.stub_redactor.seen
        assert not lake.engines.stub_encoder.seen
        assert lake.snapshot() == before


def test_a_rejected_row_is_not_retried_without_cause_and_keeps_its_last_content() -> None:
    with lakes(on_reject="keep_last") as (lake, _):
        lake.rows[:] = [{"id": 1, "body": "good", "status": "open"}]
        lake.sync()
        lake.rows[0] = {"id": 1, "body": "x" * 50, "status": "open"}
        outcome = lake.sync()["cleaned_frames"]
        assert (outcome.planned, outcome.rejected, outcome.state.stale) == (1, 1, 1)
        assert [row["text"] for row in lake.snapshot()["objects"]] == ["good"]  # type: ignore[attr-defined]
        assert lake.sync()["cleaned_frames"].planned == 0
        lake.engines.stub_redactor.version = "2"  # what is stale was never redacted by this policy, and its values are gone
        assert lake.sync()["redacted_text"].rejected == 1
        assert lake.snapshot()["objects"] == []
        lake.rows[0] = {"id": 1, "body": "good again", "status": "open"}
        assert lake.sync()["redacted_text"].rejected == 0
        assert [row["text"] for row in lake.snapshot()["objects"]] == ["good again"]  # type: ignore[attr-defined]


def test_last_good_content_goes_when_it_is_not_to_be_kept_any_more() -> None:
    with lakes(on_reject="keep_last") as (lake, _):
        lake.rows[:] = [{"id": 1, "body": "good", "status": "open"}, {"id": 2, "body": "fine", "status": "open"}]
        lake.sync()
        lake.rows[0] = {"id": 1, "body": "x" * 50, "status": "open"}
        lake.sync()
        object.__setattr__(lake.settings, "tables", sources(on_reject="drop"))
        lake.engines.stub_encoder.seen.clear()
        lake.sync()
        assert [row["text"] for row in lake.snapshot()["objects"]] == ["fine"]  # type: ignore[attr-defined]
        assert not lake.engines.stub_encoder.seen
        assert [outcome.planned for outcome in lake.sync().values()] == [0] * 5
