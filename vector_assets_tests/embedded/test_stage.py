"""embeddings: what is encoded, what is reused, and what a row that cannot be encoded costs the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vector_assets.embedded.layout import CUT, PASSAGES, PROPERTIES, PROPERTIES_FINGERPRINT, TEXT, TEXT_FINGERPRINT, TOKENS
from vector_assets.embedded.stage import EmbeddedStage
from vector_assets.embedded.vectors import NOT_FINITE
from vector_assets.errors import ModelError
from vector_assets.fingerprint import from_bytes, text_fingerprint, to_arrow
from vector_assets.reconcile.stage import Computed
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.view import CONTENT
from vector_assets.tables import PassageRule
from vector_assets_tests.fakes import StubEncoder

PROPERTIES_TYPE = pa.struct([("status", pa.string())])
WORDS = [f"w{number}" for number in range(100)]


def stage_of(encoder: StubEncoder, generation: str = "g1", **how: object) -> EmbeddedStage:
    rule = PassageRule(max_tokens=16, overlap_tokens=0)
    return EmbeddedStage(encoder=encoder, dimension=8, rule=rule, generation=generation, properties_type=PROPERTIES_TYPE, **how)  # type: ignore[arg-type]


def rows(*texts: str, status: str = "open") -> pa.Table:
    def hashed(items: Sequence[str]) -> pa.Array:
        return to_arrow(from_bytes([text_fingerprint(item) for item in items]))

    return pa.table(
        {
            TEXT: pa.array(texts, pa.string()),
            PROPERTIES: pa.array([{"status": status}] * len(texts), PROPERTIES_TYPE),
            TEXT_FINGERPRINT: hashed(texts),
            PROPERTIES_FINGERPRINT: hashed([status] * len(texts)),
        }
    )


def nothing(stage: EmbeddedStage, count: int) -> pa.Table:
    schema = StageTable("", stage.own).schema
    return pa.table([pa.nulls(count, field.type) for field in schema], names=schema.names)


def stood(stage: EmbeddedStage, computed: Computed) -> pa.Table:
    """Computed rows as those that stand in the table before the next run."""
    count = len(computed.rows)
    schema = StageTable("", stage.own).schema
    known = dict(zip(computed.rows.column_names, computed.rows.columns, strict=True))
    return pa.table([known.get(field.name, pa.nulls(count, field.type)) for field in schema], names=schema.names)


def compute(stage: EmbeddedStage, new: pa.Table, before: pa.Table | None = None) -> Computed:
    return stage.compute(new, nothing(stage, len(new)) if before is None else before)


def passages(computed: Computed) -> list[list[str]]:
    return [[passage["text"] for passage in row] for row in computed.rows.column(PASSAGES).to_pylist()]


def vectors(computed: Computed) -> list[list[list[float]]]:
    return [[passage["vector"] for passage in row] for row in computed.rows.column(PASSAGES).to_pylist()]


# --- what a row becomes ------------------------------------------------------------------------------------------------------------------


def test_a_row_is_its_passages_with_vectors_and_its_properties() -> None:
    encoder = StubEncoder()
    stage = stage_of(encoder)
    computed = compute(stage, rows(" ".join(WORDS[:20]), "short"))
    assert computed.rows.select(stage.own.names).cast(stage.own).schema.equals(stage.own)
    assert passages(computed) == [[" ".join(WORDS[:16]), " ".join(WORDS[16:20])], ["short"]]
    made = computed.rows.column(PASSAGES).to_pylist()
    assert [[passage["ordinal"] for passage in row] for row in made] == [[0, 1], [0]]
    assert computed.rows.column("passage_count").to_pylist() == [2, 1]
    assert computed.rows.column(TOKENS).to_pylist() == [20, 1]
    np.testing.assert_allclose(vectors(computed)[1][0], encoder.encode(["short"])[0], atol=1e-3)
    assert computed.reasons == [None, None]
    assert computed.tally == {"encoded": 3, "reused": 0, "passages": 3, "tokens": 21}


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_an_empty_text_has_no_passages_and_is_no_error(text: str) -> None:
    encoder = StubEncoder()
    stage = stage_of(encoder)
    computed = compute(stage, rows(text, "other"))
    assert passages(computed) == [[], ["other"]]
    assert computed.reasons == [None, None]
    assert computed.rows.column(CONTENT).null_count == 0
    alone = compute(stage, rows(text))
    assert passages(alone) == [[]]
    assert encoder.seen == ["other"]
    assert passages(compute(stage, rows(text, status="closed"), stood(stage, alone))) == [[]]


def test_a_long_text_is_many_passages() -> None:
    words = " ".join(f"w{number}" for number in range(20_000))
    made = passages(compute(stage_of(StubEncoder()), rows(words)))[0]
    assert len(made) == 1250
    assert " ".join(made) == words


# --- what is encoded -------------------------------------------------------------------------------------------------------------------


def test_an_edit_encodes_only_the_passages_that_it_changed() -> None:
    encoder = StubEncoder()
    stage = stage_of(encoder)
    first = compute(stage, rows(" ".join(WORDS[:48])))
    encoder.seen.clear()
    edited = [*WORDS[:32], "new", *WORDS[33:48]]
    second = compute(stage, rows(" ".join(edited)), stood(stage, first))
    assert encoder.seen == [" ".join(edited[32:])]
    assert second.tally == {"encoded": 1, "reused": 2, "passages": 3, "tokens": 16}
    assert vectors(second)[0][:2] == vectors(first)[0][:2]


def test_a_shorter_text_has_fewer_passages() -> None:
    encoder = StubEncoder()
    stage = stage_of(encoder)
    first = compute(stage, rows(" ".join(WORDS[:48])))
    encoder.seen.clear()
    second = compute(stage, rows(" ".join(WORDS[:32])), stood(stage, first))
    assert passages(second) == [passages(first)[0][:2]]
    assert encoder.seen == []


def test_a_changed_property_encodes_nothing_and_is_another_content() -> None:
    encoder = StubEncoder()
    stage = stage_of(encoder)
    first = compute(stage, rows("one", " ".join(WORDS[:20])))
    encoder.seen.clear()
    second = compute(stage, rows("one", " ".join(WORDS[:20]), status="closed"), stood(stage, first))
    assert encoder.seen == []
    assert second.rows.column(PROPERTIES).to_pylist() == [{"status": "closed"}] * 2
    assert (vectors(second), passages(second)) == (vectors(first), passages(first))
    assert second.rows.column(TOKENS).to_pylist() == [1, 20]
    assert not set(second.rows.column(CONTENT).to_pylist()) & set(first.rows.column(CONTENT).to_pylist())


def test_equal_passages_of_a_batch_are_encoded_once() -> None:
    encoder = StubEncoder()
    repeated = " ".join(WORDS[:16])
    computed = compute(stage_of(encoder), rows(repeated, repeated, f"{repeated} {repeated}"))
    assert encoder.seen == [repeated]
    assert computed.tally == {"encoded": 1, "reused": 0, "passages": 4, "tokens": 16}
    assert {tuple(vector) for row in vectors(computed) for vector in row} == {tuple(vectors(computed)[0][0])}


TEXTS = st.lists(st.sampled_from(WORDS[:6]), max_size=40).map(" ".join)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, st.booleans()), min_size=1, max_size=5))
def test_going_on_makes_what_starting_anew_makes(edits: list[tuple[str, str, bool]]) -> None:
    encoder = StubEncoder()
    stage = stage_of(encoder)
    before = compute(stage, rows(*(old for old, _, _ in edits)))
    old = stood(stage, before).take(pa.array([None if new else at for at, (_, _, new) in enumerate(edits)], pa.int64()))
    encoder.seen.clear()
    after = compute(stage, rows(*(text for _, text, _ in edits)), old)
    seen = list(encoder.seen)
    assert after.rows.equals(compute(stage, rows(*(text for _, text, _ in edits))).rows)
    kept = {text for row, (_, _, new) in zip(passages(before), edits, strict=True) if not new for text in row}
    assert len(seen) == len(set(seen))
    assert set(seen) == {text for row in passages(after) for text in row} - kept
    assert after.tally["encoded"] == len(seen)
    assert after.tally["passages"] == sum(map(len, passages(after)))


# --- what goes wrong -------------------------------------------------------------------------------------------------------------------


def test_a_vector_that_is_not_finite_rejects_its_row_alone() -> None:
    encoder = StubEncoder()
    encoder.failing = "bad"
    stage = stage_of(encoder)
    computed = compute(stage, rows("good", "bad", "bad too and good", "fine"))
    assert computed.reasons == [None, NOT_FINITE, NOT_FINITE, None]
    assert stage.keep_last
    assert not stage_of(encoder, keep_last=False).keep_last


def test_a_vector_that_half_precision_cannot_hold_is_not_finite() -> None:
    class Large(StubEncoder):
        def _vector(self, text: str) -> np.ndarray:
            return super()._vector(text) * (1e6 if text == "large" else 1)

    assert compute(stage_of(Large()), rows("large", "small")).reasons == [NOT_FINITE, None]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda vectors: vectors[:, :7], r"float32 of \(1, 7\), and float32 of \(1, 8\)"),
        (lambda vectors: vectors[:0], r"float32 of \(0, 8\)"),
        (lambda vectors: vectors.astype(np.float64), r"float64 of \(1, 8\)"),
        (lambda vectors: vectors.tolist(), "the encoder gave list"),
        (lambda _: None, "the encoder gave NoneType"),
    ],
)
def test_an_encoder_that_gives_something_else_is_a_broken_model(broken: Callable[[np.ndarray], object], says: str) -> None:
    class Broken(StubEncoder):
        def encode(self, passages: Sequence[str], *, exact: bool = False) -> np.ndarray:
            return broken(super().encode(passages))  # type: ignore[return-value]

    with pytest.raises(ModelError, match=says):
        compute(stage_of(Broken()), rows("text"))


FLAWED = {
    "zero": lambda vector: vector * 0,
    "constant": lambda vector: np.full_like(vector, 8**-0.5),
    "norm": lambda vector: vector * 1.02,
    "finite": lambda vector: np.where(np.arange(8) == 3, np.inf, vector).astype(np.float32),
}


@pytest.mark.parametrize("flaw", FLAWED)
@pytest.mark.parametrize("recovers", [True, False])
def test_a_vector_that_is_not_as_it_must_be_is_tried_alone_and_then_rejects_its_row(flaw: str, recovers: bool) -> None:
    class Flawed(StubEncoder):
        def encode(self, passages: Sequence[str], *, exact: bool = False) -> np.ndarray:
            vectors = super().encode(passages, exact=exact)
            for at, text in enumerate(passages):
                if text == "bad" and not (exact and recovers):
                    vectors[at] = FLAWED[flaw](vectors[at])
            return vectors

    encoder = Flawed()
    computed = compute(stage_of(encoder), rows("good", "bad", "fine"))
    assert encoder.seen == ["good", "bad", "fine"]
    assert encoder.again == ["bad"]
    if recovers:
        assert computed.reasons == [None, None, None]
        np.testing.assert_allclose(vectors(computed)[1][0], StubEncoder().encode(["bad"])[0], atol=1e-3)
    else:
        assert [reason and reason.partition(":")[0] for reason in computed.reasons] == [None, flaw, None]


def test_a_flawed_vector_that_was_stored_before_is_not_reused() -> None:
    encoder = StubEncoder()
    stage = stage_of(encoder)
    first = compute(stage, rows("one", "two"))
    made = first.rows.column(PASSAGES).to_pylist()
    made[1][0]["vector"] = [2.0] * 8
    at = first.rows.column_names.index(PASSAGES)
    spoilt = first._replace(rows=first.rows.set_column(at, PASSAGES, pa.array(made, first.rows.column(PASSAGES).type)))
    encoder.seen.clear()
    second = compute(stage, rows("one", "two", status="closed"), stood(stage, spoilt))
    assert encoder.seen == ["two"]
    assert vectors(second) == vectors(first)


def test_passages_that_the_model_does_not_see_whole_are_counted() -> None:
    class Splitting(StubEncoder):
        def spans(self, text: str) -> list[tuple[int, int]]:
            """A word that begins a text is two tokens there: as tokenizers that look across borders have it."""
            (start, end), *others = super().spans(text) or [(0, 0)]
            return [(start, start + 1), (start + 1, end), *others] if text.startswith("w16") else [(start, end), *others]

    stage = stage_of(Splitting())
    computed = compute(stage, rows(" ".join(WORDS[:32]), "short"))
    assert computed.rows.column(CUT).to_pylist() == [1, 0]
    again = compute(stage, rows(" ".join(WORDS[:32]), "short", status="closed"), stood(stage, computed))
    assert again.rows.column(CUT).to_pylist() == [1, 0]
    older = stood(stage, computed)
    older = older.set_column(older.column_names.index(CUT), CUT, pa.nulls(2, pa.int32()))
    assert compute(stage, rows(" ".join(WORDS[:32]), "short"), older).rows.column(CUT).to_pylist() == [1, 0], "of a version that had none"


# --- what it is made with --------------------------------------------------------------------------------------------------------------


def test_content_and_version_follow_the_generation_and_never_the_vectors() -> None:
    class Other(StubEncoder):
        def _vector(self, text: str) -> np.ndarray:
            return -super()._vector(text)

    one, same, other = (
        compute(stage_of(encoder, name), rows("text")) for encoder, name in [(StubEncoder(), "g1"), (Other(), "g1"), (StubEncoder(), "g2")]
    )
    assert vectors(one) != vectors(same)
    assert one.rows.column(CONTENT).equals(same.rows.column(CONTENT))
    assert not one.rows.column(CONTENT).equals(other.rows.column(CONTENT))
    assert stage_of(StubEncoder(), "g1").version != stage_of(StubEncoder(), "g2").version
    assert stage_of(StubEncoder(), "g1").desired == {"embedding_generation": "g1", "declared": ""}


def test_the_smaller_limit_counts() -> None:
    text = " ".join(WORDS[:40])
    for limit, sizes in [(40, [40]), (20, [20, 20]), (16, [16, 16, 8])]:
        encoder = StubEncoder(max_tokens=limit)
        rule = PassageRule(max_tokens=20 if limit != 40 else None, overlap_tokens=0)
        stage = EmbeddedStage(encoder=encoder, dimension=8, rule=rule, generation="g", properties_type=PROPERTIES_TYPE)
        assert [len(passage.split()) for passage in passages(compute(stage, rows(text)))[0]] == sizes
