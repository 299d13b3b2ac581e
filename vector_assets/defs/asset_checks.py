"""Checks in Dagster: what there is to see of each asset, and a result of ours as Dagster's. What is checked: `vector_assets.checks`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from vector_assets.checks.catalog import Check, checks_of
from vector_assets.checks.result import CheckResult
from vector_assets.defs.partitions import TABLES
from vector_assets.freshness import CHECK as FRESHNESS

_LAST = 10  # results of a check that are looked through for one of a published version
_PLOTTED = 40  # characters of a sparkline
_BARS = "▁▂▃▄▅▆▇█"


def check_specs(stage: str) -> list[dg.AssetCheckSpec]:
    """The checks of one asset, per partition."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # partitions_def of a check; tests run it on the version that is locked
        return [
            dg.AssetCheckSpec(
                check.name,
                asset=dg.AssetKey(stage),
                description=description(check),
                blocking=check.block is not None,  # ours keep the version unpublished themselves, and fail the step; this tells the UI
                partitions_def=TABLES,
                metadata={"measure": check.measure, "warns_from": _bound(check.warn), "blocks_from": _bound(check.block)},
            )
            for check in checks_of(stage)
        ]


def description(check: Check) -> str:
    """What a check is, for the UI."""
    return f"{check.what[:1].upper()}{check.what[1:]}."


def as_dagster(stage: str, result: CheckResult) -> dg.AssetCheckResult:
    """A result as Dagster shows it: only what keeps a version unpublished is an error."""
    figures: dict[str, dg.MetadataValue] = {name: _figure(value) for name, value in result.figures.items()}
    if result.accepted:
        figures["accepted"] = dg.MetadataValue.text(result.accepted)
    if result.history:
        figures["history"] = dg.MetadataValue.md(_plot(result.history))
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(stage),
        check_name=result.name,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.ERROR if result.stops else dg.AssetCheckSeverity.WARN,
        description=result.said,
        metadata=figures,
    )


def standing(instance: dg.DagsterInstance, stage: str, partition: str) -> Iterator[dg.AssetCheckResult]:
    """The last result of each check of a stage, again, for a run that had nothing to do and so judged nothing.

    A run plans all checks of its asset; those that it leaves out stand as skipped, in front of what is true of the version that is
    published. A result that kept a version unpublished is not of that one. Freshness is the sensors'.
    """
    for check in checks_of(stage):
        if check.name == FRESHNESS:
            continue
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey(stage), check.name),
            limit=_LAST,
            status={AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED},
            partition_filter=PartitionKeyFilter(key=partition),
        )
        evaluations = (record.evaluation for record in records)
        last = next((each for each in evaluations if each and (each.passed or each.severity == dg.AssetCheckSeverity.WARN)), None)
        if last is not None:
            yield dg.AssetCheckResult(
                asset_key=last.asset_key,
                check_name=last.check_name,
                passed=last.passed,
                severity=last.severity,
                description=last.description,
                metadata=last.metadata,
            )


def as_evaluation(stage: str, result: CheckResult, partition: str) -> dg.AssetCheckEvaluation:
    """The same outside of the asset's own step."""
    shown = as_dagster(stage, result)
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(stage),
        check_name=result.name,
        passed=shown.passed,
        severity=shown.severity,
        description=shown.description,
        metadata=shown.metadata,
        partition=partition,
    )


def _bound(value: float | None) -> dg.MetadataValue:
    return dg.MetadataValue.text("never") if value is None else dg.MetadataValue.float(float(value))


def _figure(value: float | str) -> dg.MetadataValue:
    if isinstance(value, str):
        return dg.MetadataValue.text(value)
    return dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(value)


def _plot(history: Mapping[str, Sequence[float]]) -> str:
    """Published versions and this one, the oldest first, as a table with a sparkline per number."""
    lines = [f"| {name} | `{_sparkline(values)}` | {values[-1]:,.4g} |" for name, values in history.items()]
    return "\n".join(["| what | last versions, this one at the right | now |", "| --- | --- | --- |", *lines])


def _sparkline(values: Sequence[float]) -> str:
    shown = values[-_PLOTTED:]
    low, high = min(shown), max(shown)
    step = (high - low) / (len(_BARS) - 1)
    return "".join(_BARS[round((value - low) / step)] if step else _BARS[0] for value in shown)
