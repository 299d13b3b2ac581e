"""The five assets, and what a user reads about them. No logic: what a step does is in steps.py, what a stage does in its own package."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
import warnings
from collections.abc import Iterator, Sequence

import dagster as dg

from vector_assets.cleaned.normalize import NORMALIZE_VERSION
from vector_assets.cleaned.stage import CLEANED_VERSION
from vector_assets.defs.asset_checks import check_specs
from vector_assets.defs.partitions import TABLES
from vector_assets.defs.resources import Platform
from vector_assets.defs.steps import sync_stage
from vector_assets.embedded.passages import PASSAGES_VERSION
from vector_assets.embedded.stage import EMBEDDED_VERSION
from vector_assets.indexed.stage import INDEXED_VERSION
from vector_assets.pipeline import STAGES, StageName
from vector_assets.raw.stage import RAW_VERSION
from vector_assets.redacted.stage import REDACTED_VERSION

GROUP = "vector_assets"
OWNERS = ("team:data-platform",)


def _asset(stage: StageName, *, kinds: set[str], code_version: str, description: str, pool: str | None = None) -> dg.AssetsDefinition:
    at = STAGES.index(stage)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # backfill_policy; tests launch backfills on the version that is locked

        # Of one asset, but `can_subset` makes its checks optional: a run with nothing to do judges nothing, and one that a check
        # blocks yields its results and no materialization.
        @dg.multi_asset(
            name=stage,
            specs=[
                dg.AssetSpec(
                    stage,
                    deps=STAGES[max(at - 1, 0) : at],
                    description=description,
                    group_name=GROUP,
                    owners=OWNERS,
                    kinds=kinds,
                    code_version=code_version,
                    partitions_def=TABLES,
                )
            ],
            check_specs=check_specs(stage),
            can_subset=True,
            backfill_policy=dg.BackfillPolicy.multi_run(1),  # checks, data versions and failures stay per table
            pool=pool,
        )
        def stage_of_table(
            context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
        ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
            yield from sync_stage(context, platform, stage)

    return stage_of_table


ASSETS: Sequence[dg.AssetsDefinition] = [
    _asset(
        "raw_tables",
        kinds={"trino", "duckdb", "lance"},
        code_version=str(RAW_VERSION),
        description="""The rows of a source table as they are now, with a digest each.

The source computes a digest per row; only rows whose digest is new are fetched. Rows with a NULL or a repeated key are rejected.
These values are unmasked: they live under the private root and are removed once `redacted_text` is published (unless `private: keep`).""",
    ),
    _asset(
        "cleaned_frames",
        kinds={"pandera", "lance"},
        code_version=f"{CLEANED_VERSION}.{NORMALIZE_VERSION}",
        description="""Normalised text (Unicode, whitespace, HTML where declared), each row checked against the table's `quality:` rules.

A row that breaks a rule is rejected with the rule's name and keeps its last good content. A row that cleans to what it was stops here:
such an edit costs no redaction and no embedding.""",
    ),
    _asset(
        "redacted_text",
        kinds={"presidio", "spacy", "lance"},
        code_version=str(REDACTED_VERSION),
        description="""One text per row and its properties, without personal data; from here on nothing is.

The text columns become one text by the table's template, and every property follows its policy (keep, redact, hash, drop).
`tokens_waiting` estimates what `embeddings` has to encode.""",
    ),
    _asset(
        "embeddings",
        kinds={"pytorch", "huggingface", "lance"},
        code_version=f"{EMBEDDED_VERSION}.{PASSAGES_VERSION}",
        description="""Passages within the model's limit, and their vectors, made by the champion of the model registry.

Vectors of passages that did not change are reused. A run keeps the model that it began with (see its tags). Pool `gpu` marks this step for
a GPU; it also runs on a CPU.""",
        pool="gpu",
    ),
    _asset(
        "weaviate_collections",
        kinds={"weaviate", "lancedb"},
        code_version=str(INDEXED_VERSION),
        description="""The objects that search sees, in one collection per generation (model, passage rule, collection settings).

Only objects that differ are sent, and deletes reach every generation. A collection's alias moves to the champion's generation once all of
its tables are published there.""",
    ),
]
