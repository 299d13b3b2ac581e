"""Every check there is: where it runs, what it measures, its default thresholds. README's table and Dagster's checks are made of this."""

from __future__ import annotations

from typing import Literal, NamedTuple

Measure = Literal["deviation", "stability index", "share", "count", "recall", "hours"]


class Check(NamedTuple):
    """One check. `warn` and `block` are the values of `measure` from which it fails; None: never. `floor`: see `statistics.deviation`."""

    name: str
    stage: str
    what: str
    measure: Measure
    warn: float | None = None
    block: float | None = None
    floor: float = 0.0
    accept: str = "run tag or --accept"


_Z_WARN, _Z_BLOCK = 3.5, 8.0  # Iglewicz and Hoaglin call 3.5 an outlier
_PSI_WARN, _PSI_BLOCK = 0.25, 0.5
_ATTACK_WARN, _ATTACK_BLOCK = 0.0001, 0.0003  # 50 rows in 100,000 are an attack; one row in 10,000 is somebody's paste

CHECKS: tuple[Check, ...] = (
    Check("row_states", "every stage", "rows whose state contradicts their content: a bug", "count", block=1, accept="cannot be"),
    Check("rejected_rows", "every stage", "rows that are rejected now, of all rows of the table", "share", warn=0.05, block=0.25),
    Check("row_count", "raw_tables", "rows, against history; the floor is 5 % of the median", "deviation", _Z_WARN, _Z_BLOCK, floor=0.05),
    Check(
        "change_shares",
        "raw_tables",
        "share of rows added, changed, deleted, against history",
        "deviation",
        _Z_WARN,
        floor=0.1,
    ),
    Check("null_shares", "cleaned_frames", "share of NULLs per column, against history", "deviation", _Z_WARN, _Z_BLOCK, floor=0.02),
    Check("text_lengths", "cleaned_frames", "lengths of each text, against history", "stability index", _PSI_WARN, _PSI_BLOCK),
    Check(
        "numeric_distributions",
        "cleaned_frames",
        "sizes of the numbers of each kept property, against history",
        "stability index",
        _PSI_WARN,
        _PSI_BLOCK,
    ),
    Check(
        "category_shares",
        "cleaned_frames",
        "shares of the values of each kept property, against history",
        "stability index",
        _PSI_WARN,
        _PSI_BLOCK,
    ),
    Check("unique_values", "cleaned_frames", "rows that share a value of a column declared unique", "count", block=1),
    Check(
        "hidden_characters",
        "cleaned_frames",
        "rows with characters that people do not see, more than before, of rows that are new or changed; fewer than 10 warn at most",
        "share",
        _ATTACK_WARN,
        _ATTACK_BLOCK,
    ),
    Check(
        "mixed_scripts",
        "cleaned_frames",
        "rows with words that look Latin and are not, more than before, of rows that are new or changed; fewer than 10 warn at most",
        "share",
        _ATTACK_WARN,
        _ATTACK_BLOCK,
    ),
    Check("second_net", "redacted_text", "new or changed rows that still hold an identifier of the policy", "count", block=1),
    Check("known_values", "redacted_text", "rows that newly hold an identifier of one of their own personal columns", "count", block=1),
    Check("known_names", "redacted_text", "rows that hold a name of one of their own personal columns", "share", warn=0.01),
    Check(
        "redaction_recall",
        "redacted_text",
        "share of a labelled set that the policy finds: of formatted identifiers, fails below; of any entity, 0.02 less than published",
        "recall",
        block=0.99,
    ),
    Check("redacted_lengths", "redacted_text", "characters per redacted text, against history", "stability index", _PSI_WARN, _PSI_BLOCK),
    Check(
        "duplicate_texts", "redacted_text", "copies of one text, and rows that are copies, above history", "deviation", _Z_WARN, _Z_BLOCK
    ),
    Check("language_shares", "redacted_text", "languages of the texts, against history", "stability index", _PSI_WARN, 1.0),
    Check(
        "entity_shares",
        "redacted_text",
        "share of texts in which each entity was redacted, in octaves, against history: a detector that stopped",
        "deviation",
        _Z_WARN,
        _Z_BLOCK,
        floor=0.25,
    ),
    Check("keyword_stuffing", "redacted_text", "texts that repeat a few words all over, above history", "deviation", _Z_WARN, _Z_BLOCK),
    Check(
        "vector_norms",
        "embeddings",
        "norms of the vectors in a sample: logarithm of the median, and spread, against history",
        "deviation",
        _Z_WARN,
        _Z_BLOCK,
        floor=0.05,
    ),
    Check(
        "centroid_drift",
        "embeddings",
        "cosine distance of the sample's mean direction to the published one, beyond what chance gives, against history",
        "deviation",
        _Z_WARN,
        _Z_BLOCK,
        floor=0.01,
    ),
    Check("duplicate_vectors", "embeddings", "different texts of a sample that have the same vector", "share", warn=0.05, block=0.25),
    Check("token_counts", "embeddings", "tokens per text, against history", "stability index", _PSI_WARN, _PSI_BLOCK),
    Check("truncated_share", "embeddings", "rows with a passage that the model does not see whole", "share", warn=0.01),
    Check(
        "probe_recall",
        "weaviate_collections",
        "rows of a sample that their own first sentence finds among the ten nearest; fails below",
        "recall",
        warn=0.9,
    ),
    Check(
        "parity",
        "weaviate_collections",
        "objects and rows that are missing, stale, altered or not ours; `vector-assets parity --repair` mends them",
        "count",
        warn=1,
        accept="repair it",
    ),
    Check(
        "freshness",
        "weaviate_collections",
        "hours since a version of the source was first seen that searches do not see; looked at by the sensor",
        "hours",
        warn=24,
        accept="sync it",
    ),
)
"""In the order in which they are shown."""


def checks_of(stage: str) -> tuple[Check, ...]:
    """Checks of one stage, with those of every stage."""
    return tuple(check for check in CHECKS if check.stage in (stage, "every stage"))


def check_named(name: str) -> Check:
    """A check by its name; KeyError where there is none."""
    return {check.name: check for check in CHECKS}[name]
