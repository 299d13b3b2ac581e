"""Jobs: selections of assets that a person or a sensor launches by name."""

from __future__ import annotations

import dagster as dg

from vector_assets.pipeline import STAGES

SYNC_TABLES = dg.define_asset_job(
    "sync_tables",
    selection=dg.AssetSelection.assets(*STAGES),
    description="All five stages of a table: pick its partition, or several for a backfill. What did not change is not touched.",
)
