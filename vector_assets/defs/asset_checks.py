"""Checks in Dagster: what there is to see of each asset, and a result of ours as Dagster's. What is checked: `vector_assets.checks`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import dagster as dg

from vector_assets.checks.catalog import Check, checks_of
from vector_assets.checks.result import CheckResult
from vector_assets.defs.partitions import TABLES

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
