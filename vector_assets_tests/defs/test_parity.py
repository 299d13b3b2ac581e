"""The jobs that look for damage in the index and mend it, and the check that they leave."""

from __future__ import annotations

import dagster as dg
import pytest

from vector_assets.defs.parity import CHECK_PARITY, REPAIR_PARITY
from vector_assets.defs.resources import Platform
from vector_assets_tests.defs.conftest import Materialize, failure
from vector_assets_tests.scripted import REF, Lake


def evaluation(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (event,) = [event for event in result.all_events if event.event_type_value == "ASSET_CHECK_EVALUATION"]
    assert isinstance(event.event_specific_data, dg.AssetCheckEvaluation)
    return event.event_specific_data


def run(job: dg.JobDefinition, lake: Lake, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    resources = {"platform": Platform(lake.pipeline)}
    return job.execute_in_process(instance=instance, partition_key=REF.key, resources=resources, raise_on_error=False)


def test_damage_is_seen_by_one_job_and_mended_by_the_other(lake: Lake, instance: dg.DagsterInstance, materialize: Materialize) -> None:
    assert materialize().success
    (collection,) = lake.index.made.values()
    whole = dict(collection.objects)
    collection.objects.pop(next(iter(whole)))
    seen = evaluation(run(CHECK_PARITY, lake, instance))
    assert (seen.check_name, seen.partition, seen.passed) == ("parity", REF.key, False)
    assert "1 missing" in str(seen.description)
    assert len(collection.objects) == len(whole) - 1, "looking changes nothing"
    before = lake.index.upserts
    assert evaluation(run(REPAIR_PARITY, lake, instance)).passed
    assert (collection.objects.keys(), lake.index.upserts - before) == (whole.keys(), 1)
    assert evaluation(run(CHECK_PARITY, lake, instance)).passed


def test_an_unknown_table_is_a_clear_failure(lake: Lake, instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tables", ["lake.s.other"])
    resources = {"platform": Platform(lake.pipeline)}
    result = CHECK_PARITY.execute_in_process(instance=instance, partition_key="lake.s.other", resources=resources, raise_on_error=False)
    assert "no entry under tables: matches lake.s.other" in failure(result)


@pytest.mark.parametrize("job", [CHECK_PARITY, REPAIR_PARITY], ids=lambda job: job.name)
def test_jobs_are_of_a_table_and_say_what_they_do(job: dg.JobDefinition) -> None:
    assert job.partitions_def is not None
    assert job.description
