"""The code location put together. No I/O but reading sources.yaml for the names of catalogs, and no heavy import."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from vector_assets.defs.assets import ASSETS
from vector_assets.defs.freshness import SOURCE_TABLES
from vector_assets.defs.jobs import REPLAY_QUARANTINE, SYNC_TABLES
from vector_assets.defs.notifications import notifications_sensor
from vector_assets.defs.parity import CHECK_PARITY, REPAIR_PARITY
from vector_assets.defs.resources import platform_resource
from vector_assets.defs.sensors import catalog_sensors
from vector_assets.settings import Settings


def build_defs(settings: Settings, *, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """Fresh definitions; `resources` replace those of the same name (`platform`)."""
    return dg.Definitions(
        assets=[*ASSETS, SOURCE_TABLES],
        jobs=[SYNC_TABLES, REPLAY_QUARANTINE, CHECK_PARITY, REPAIR_PARITY],
        sensors=[*catalog_sensors(settings), notifications_sensor(settings)],
        resources={"platform": platform_resource(settings), **(resources or {})},
        executor=dg.in_process_executor,  # a run is one table; its steps share the loaded model and the redaction workers
    )
