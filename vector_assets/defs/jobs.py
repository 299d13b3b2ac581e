"""Jobs: selections of assets that a person or a sensor launches by name."""

from __future__ import annotations

import dagster as dg

from vector_assets.defs.run_tags import REPLAY, REPLAY_JOB
from vector_assets.pipeline import STAGES
from vector_assets.quarantine import ALL

SYNC_TABLES = dg.define_asset_job(
    "sync_tables",
    selection=dg.AssetSelection.assets(*STAGES),
    description="All five stages of a table: pick its partition, or several for a backfill. What did not change is not touched.",
)

REPLAY_QUARANTINE = dg.define_asset_job(
    REPLAY_JOB,
    selection=dg.AssetSelection.assets(*STAGES),
    tags={REPLAY: ALL},
    description=f"""Tries rejected rows again although neither they nor a rule changed; values that were purged are fetched again.

A row or a rule that is mended needs no replay: any run tries it again. For some rows only, set the run tag `{REPLAY}` to their ids.""",
)
