"""Attacks on a collection, each caught by the check that is named for it; and a clean corpus, which raises none of them.

Every attack goes through the stages from the source on, against a history of published versions. One section per kind of attack, each with
its own functions.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from pydoc_data import topics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.checks.catalog import CHECKS
from vector_assets.checks.judge import Judge
from vector_assets.checks.result import CheckResult
from vector_assets.checks.statistics import Statistics
from vector_assets.errors import AuditError
from vector_assets.pipeline import Run, StageName
from vector_assets.quarantine import rejected_rows
from vector_assets.redacted import gates
from vector_assets_tests.fakes import Row, StubEncoder, StubRedactor
from vector_assets_tests.scripted import REF, Lake

WARM_UP = 2
PREPARE: tuple[StageName, ...] = ("raw_tables", "cleaned_frames", "redacted_text")


@cache
def paragraphs() -> tuple[str, ...]:
    """Paragraphs of Python's help texts, each once: prose, grammar, tables and code, as they come."""
    pieces = (" ".join(piece.split()) for text in topics.topics.values() for piece in text.split("\n\n"))
    return tuple(sorted({piece for piece in pieces if len(piece) > 60}))


def clean_rows(count: int) -> list[Row]:
    """Rows with a text of their own each, the same ones for the same count."""
    bodies = random.Random(count).sample(paragraphs(), count)
    return [{"id": key, "body": body, "status": "open"} for key, body in enumerate(bodies)]


class Watched:
    """A lake of clean rows with a little history; remembers what every check said of the last sync. Only checks of `stage` are on, so that
    an attack is not stopped on its way there."""

    def __init__(self, home: Path, stage: StageName, rows: list[Row], **settings: object) -> None:
        others = {check.name: "off" for check in CHECKS if check.stage != stage and check.accept != "cannot be"}
        table = {"quality": {}, "checks": others, "history": {"warm_up": WARM_UP, "versions": 5}, "private": "keep"}
        self.lake = Lake(home, rows, table=table, batch_rows=2048, commit_rows=8192, **settings)
        self.lake.source.batch_rows = 4096
        self.stage = stage
        self.results: dict[str, CheckResult] = {}

    @property
    def rows(self) -> list[Row]:
        return self.lake.rows

    def sync(self) -> None:
        """Up to the stage. Raises AuditError."""
        self.results = {}
        stages = [*PREPARE, "embeddings", "weaviate_collections"]
        self.lake.sync(Run("test", approval=self.lake.approval(), checked=self._note), *stages[: stages.index(self.stage) + 1])

    def age(self, versions: int = WARM_UP + 1) -> None:
        """Publish so many versions of everyday edits; none of them may raise anything."""
        for version in range(versions):
            self.rows[version] = {**self.rows[version], "body": f"{self.rows[version]['body']} Edited {version}."}
            self.sync()
            assert self.raised() == set()

    def raised(self) -> set[str]:
        return {name for name, result in self.results.items() if not result.passed}

    def attack(self) -> set[str]:
        """What the checks raise of a version that may be stopped."""
        with suppress(AuditError):
            self.sync()
        return self.raised()

    def _note(self, stage: str, results: Sequence[CheckResult]) -> None:
        if stage == self.stage:
            self.results = {result.name: result for result in results}


# --- texts -----------------------------------------------------------------------------------------------------------------------------

KEYWORDS = ("cheap", "pills", "online", "pharmacy", "discount", "order", "best", "price")


def flooding(rows: list[Row]) -> None:
    """5,000 copies of one text."""
    body = "This product is recommended by everybody who has ever tried it, at any price."
    rows += [{"id": 10**6 + copy, "body": body, "status": "open"} for copy in range(5_000)]


def stuffing(rows: list[Row]) -> None:
    """Keywords all over 50 rows, in another order in each."""
    for at in range(50):
        body = " ".join(random.Random(at).choices(KEYWORDS, k=150))
        rows[at] = {**rows[at], "body": f"{rows[at]['body']} {body}"}


def foreign(rows: list[Row]) -> None:
    """A third of the table in a language that it never had."""
    for at in range(len(rows) // 3):
        rows[at] = {**rows[at], "body": f"Купите наши замечательные таблетки сегодня по самой низкой цене, предложение номер {at}."}


def personal(rows: list[Row]) -> None:
    """Addresses where there were none."""
    for at in range(40):
        rows[at] = {**rows[at], "body": f"{rows[at]['body']} Write to ada.{at}@example.com."}


def shortened(rows: list[Row]) -> None:
    """Most texts cut to their first words: an extract gone wrong."""
    for at, row in enumerate(rows[: len(rows) * 2 // 3]):
        rows[at] = {**row, "body": f"{str(row['body'])[:20]} {at}"}


@pytest.mark.parametrize(
    ("attack", "check", "blocks"),
    [
        (flooding, "duplicate_texts", True),
        (stuffing, "keyword_stuffing", True),
        (foreign, "language_shares", True),
        (personal, "second_net", True),
        (shortened, "redacted_lengths", True),
    ],
)
def test_attacks_on_texts(tmp_path: Path, attack: Callable[[list[Row]], None], check: str, blocks: bool) -> None:
    watched = Watched(tmp_path, "redacted_text", clean_rows(400))
    watched.age()
    published = watched.lake.pipeline.published("redacted_text", watched.lake.source.tables("*")[0])
    attack(watched.rows)
    assert check in watched.attack()
    assert watched.results[check].blocks == blocks
    after = watched.lake.pipeline.published("redacted_text", watched.lake.source.tables("*")[0])
    assert published is not None
    assert after is not None
    assert after.version == published.version  # nobody can search for it


def test_a_clean_corpus_raises_nothing(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "redacted_text", clean_rows(600))
    watched.age()
    del watched.rows[::20]
    watched.rows.extend({**row, "id": 5_000 + at} for at, row in enumerate(clean_rows(100)))
    watched.rows.extend({"id": 9_000 + at, "body": "Thank you!", "status": "open"} for at in range(8))  # people do say the same
    for at in range(100, 160):
        watched.rows[at] = {**watched.rows[at], "body": paragraphs()[at]}
    assert watched.attack() == set()


def test_a_few_odd_texts_are_no_attack(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "redacted_text", clean_rows(400))
    watched.age()
    for at in range(3):
        watched.rows[at] = {**watched.rows[at], "body": "order cheap pills online " * 40}
    assert watched.attack() == set()


class TaggingRedactor(StubRedactor):
    """Finds a person in every third text, until it stops."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = False

    def redact(self, texts: Sequence[str]) -> list[str | Exception]:
        return [text if self.stopped or len(text) % 3 else f"<PERSON>: {text}" for text in texts]


def test_a_detector_that_stops_is_seen(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "redacted_text", clean_rows(400))
    redactor = TaggingRedactor()
    watched.lake.engines.stub_redactor = redactor
    watched.age()
    redactor.stopped, redactor.version = True, "2"
    assert watched.attack() == {"entity_shares"}
    assert watched.results["entity_shares"].blocks
    assert "<PERSON> is in 0.00% of texts" in watched.results["entity_shares"].said


# --- how many copies are too many ------------------------------------------------------------------------------------------------------


def duplicates(history: Sequence[tuple[int, int, int]], now: tuple[int, int, int]) -> CheckResult:
    """What the check says of (texts, rows that are copies, the most frequent text), after such versions."""
    past = [
        Statistics({"texts": float(texts), "duplicates": float(copies), "largest_copy": float(most)}) for texts, copies, most in history
    ]
    texts, copies, most = now
    return gates._duplicates(gates._Copies(float(copies), float(most)), texts, Judge(history=past))


@given(st.integers(0, 10**8), st.integers(0, 300), st.integers(0, 8))
def test_five_thousand_copies_are_seen_in_a_table_of_any_size(texts: int, usual: int, versions: int) -> None:
    usual = min(usual, texts // 10)  # where more are copies already, they are what the table is
    result = duplicates([(texts, usual, usual)] * versions, (texts + 5_000, usual + 5_000, max(usual, 5_000)))
    assert not result.passed
    assert result.blocks == (versions >= 5)  # warming up, it only warns


@given(st.integers(1_000, 10**7), st.floats(0.01, 1), st.floats(0.5, 3), st.integers(5, 20))
def test_a_table_of_status_codes_may_grow(texts: int, share: float, growth: float, versions: int) -> None:
    most = int(texts * share)
    grown = int(texts * growth)
    assert duplicates([(texts, most, most)] * versions, (grown, int(grown * share), int(grown * share))).passed


def test_a_table_of_status_codes_is_not_blocked_for_ever() -> None:
    now = (100_000, 100_000, 60_000)
    for versions in range(20):
        result = duplicates([now] * versions, now)
        assert not result.blocks
        assert result.passed == (versions > 0)


# --- vectors ---------------------------------------------------------------------------------------------------------------------------


class Poisoned(StubEncoder):
    """A model that somebody changed without its name: what it makes of texts with the word `attack` is another vector."""

    def __init__(self, poison: Callable[[np.ndarray], np.ndarray], *, unit_length: bool = True) -> None:
        super().__init__()
        self.unit_length, self._poison = unit_length, poison

    def _vector(self, text: str) -> np.ndarray:
        vector = super()._vector(text)
        return self._poison(vector).astype(np.float32) if "attack" in text else vector


def embedded_attack(home: Path, poison: Callable[[np.ndarray], np.ndarray], *, share: float, unit_length: bool = True) -> Watched:
    """A lake of 300 clean rows with some history, to whose texts an attack is added: to so many of all."""
    watched = Watched(home, "embeddings", clean_rows(300))
    watched.lake.engines.stub_encoder = Poisoned(poison, unit_length=unit_length)
    watched.age()
    for at in range(10, 10 + round(share * 290)):
        words = str(watched.rows[at]["body"]).split()[:40]
        watched.rows[at] = {**watched.rows[at], "body": f"attack {' attack '.join(words)}"}
    return watched


def collapsed(_: np.ndarray) -> np.ndarray:
    return np.linspace(-1, 1, 8) / np.linalg.norm(np.linspace(-1, 1, 8))


@pytest.mark.parametrize(
    ("poison", "share", "unit_length", "check"),
    [
        (collapsed, 1.0, True, "duplicate_vectors"),
        (lambda vector: vector + 3 * collapsed(vector), 0.6, False, "centroid_drift"),
        (lambda vector: vector * 20, 0.05, False, "vector_norms"),
        (lambda vector: vector * 2, 1.0, False, "vector_norms"),
    ],
    ids=["a collapsed encoder", "drawn to one place", "a few scaled", "all scaled"],
)
def test_poisoned_vectors_are_caught(
    tmp_path: Path, poison: Callable[[np.ndarray], np.ndarray], share: float, unit_length: bool, check: str
) -> None:
    watched = embedded_attack(tmp_path, poison, share=share, unit_length=unit_length)
    assert check in watched.attack()
    assert watched.results[check].stops


@pytest.mark.parametrize(
    ("poison", "named"),
    [
        (lambda vector: vector * np.nan, "finite"),
        (lambda vector: vector * 0, "zero"),
        (lambda vector: vector * 1.5, "norm"),
        (lambda vector: np.full_like(vector, 8**-0.5), "constant"),
    ],
    ids=["not finite", "zeros", "scaled", "constant"],
)
def test_vectors_that_cannot_be_right_reject_their_rows(tmp_path: Path, poison: Callable[[np.ndarray], np.ndarray], named: str) -> None:
    watched = embedded_attack(tmp_path, poison, share=0.05)
    assert watched.attack() == set(), "the rest is published; `rejected_rows`, which is off here, counts them"
    model = watched.lake.engines.model
    rejected = [row for row in rejected_rows(watched.lake.pipeline, REF, model) if row.stage == "embeddings"]
    assert len(rejected) == round(0.05 * 290)
    assert {row.reason.partition(":")[0] for row in rejected} == {named}
