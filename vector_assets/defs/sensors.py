"""Sensors: one per catalog, which adds a partition for every table that sources.yaml speaks of and looks at the versions of those it knows.

They launch nothing and remove nothing. What is made of versions is in freshness.py.
"""

from __future__ import annotations

import re
import time
from functools import partial

import dagster as dg

from vector_assets.defs.freshness import BUDGET_SECONDS, look, record, standings
from vector_assets.defs.partitions import TABLES
from vector_assets.defs.resources import Platform
from vector_assets.errors import ConfigurationError, TransientError
from vector_assets.fingerprint import version_of
from vector_assets.freshness import Memory
from vector_assets.settings import Settings

INTERVAL_SECONDS = 30
_SHOWN = 10


def catalog_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """A sensor per catalog of sources.yaml; one for all of them where that file cannot be read, so that the location loads and says why."""
    try:
        catalogs = sorted(settings.model_copy().tables.catalogs)
    except ConfigurationError:
        return [_sensor("catalogs", None)]
    return [_sensor(sensor_name(catalog), catalog) for catalog in catalogs]


def sensor_name(catalog: str) -> str:
    """A name that Dagster takes; two catalogs never share one."""
    safe = re.sub(r"[^A-Za-z0-9_]", "_", catalog)
    return f"catalog_{safe}" if safe == catalog else f"catalog_{safe}_{version_of('sensor', catalog=catalog)[:6]}"


def _sensor(name: str, catalog: str | None) -> dg.SensorDefinition:
    of = f"catalog {catalog!r}" if catalog is not None else "every catalog (sources.yaml could not be read when this location was loaded)"

    @dg.sensor(
        name=name,
        description=f"Adds a partition for each table of {of} that sources.yaml speaks of, observes versions, and evaluates freshness. "
        "It launches no runs and removes no partitions.",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def discover(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult | dg.SkipReason:
        pipeline, started = platform.pipeline, time.monotonic()
        try:
            found = pipeline.discover([catalog] if catalog is not None else pipeline.settings.tables.catalogs)
        except TransientError as error:
            return dg.SkipReason(f"{error}; looking again in {INTERVAL_SECONDS} s")
        known = set(context.instance.get_dynamic_partitions(str(TABLES.name)))
        new = [ref.key for ref in found if ref.key not in known]
        memory = Memory.of_cursor(context.cursor)
        tick = look(
            pipeline,
            [ref for ref in found if ref.key in known],
            memory,
            deadline=started + BUDGET_SECONDS,
            standings=partial(standings, context.instance),
        )
        for run_id, evaluation in tick.evaluations:
            record(context.instance, run_id, evaluation)
        for where, problem in tick.problems.items():
            context.log.warning("%s: %s", where, problem)
        shown = f"{len(new)} of them new: {', '.join(new[:_SHOWN])}{', …' if len(new) > _SHOWN else ''}" if new else "all known"
        return dg.SensorResult(
            asset_events=tick.observations,
            cursor=memory.cursor(),
            dynamic_partitions_requests=[TABLES.build_add_request(new)] if new else [],
            skip_reason=dg.SkipReason(f"{len(found)} tables, {shown}; {tick.said}"),
        )

    return discover
