"""A lake of stand-ins, and a run of assets on it in an instance of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest

from vector_assets.defs import failures
from vector_assets.defs.assets import ASSETS
from vector_assets.defs.partitions import TABLES
from vector_assets.defs.resources import Platform
from vector_assets_tests.scripted import REF, Lake

Materialize = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    rows = [{"id": n, "body": f"body {n} secret", "status": "open"} for n in range(6)]
    return Lake(tmp_path, rows, delete_share=0.3, delete_rows=0)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        ephemeral.add_dynamic_partitions(str(TABLES.name), [REF.key])
        yield ephemeral


@pytest.fixture
def materialize(lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Materialize:
    monkeypatch.setattr(failures, "FIRST_WAIT_SECONDS", 0.0)

    def run(*stages: str, tags: Mapping[str, str] | None = None, platform: Platform | None = None) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            ASSETS,
            instance=instance,
            partition_key=REF.key,
            selection=list(stages) or None,
            resources={"platform": platform or Platform(lake.pipeline)},
            tags=dict(tags or {}),
            raise_on_error=False,
        )

    return run


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The one failed step's message, as a user sees it."""
    (event,) = result.get_step_failure_events()
    data = event.step_failure_data
    return (data.user_failure_data.description if data.user_failure_data else None) or data.error_display_string
