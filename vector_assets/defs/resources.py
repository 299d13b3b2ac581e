"""The one resource: what a step works with. It only builds and closes the core's `Pipeline`, which loads heavy libraries on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from vector_assets.checks.result import CheckResult
from vector_assets.defs.failures import STEP_RETRIES
from vector_assets.pipeline import Pipeline, StageName
from vector_assets.reconcile.run import Outcome, Progress
from vector_assets.settings import Settings


@dataclass(frozen=True)
class Platform:
    """What a step works with, and who watches. The callbacks are called in the step's thread; what they raise ends the step."""

    pipeline: Pipeline
    progress: Callable[[Progress], None] = lambda _: None
    finished: Callable[[Outcome], None] = lambda _: None
    step_retries: int = STEP_RETRIES
    checked: Callable[[StageName, Sequence[CheckResult]], None] = lambda _stage, _results: None


def platform_resource(settings: Settings) -> dg.ResourceDefinition:
    """A pipeline per run, shared by its steps, and per sensor tick; each reads sources.yaml anew."""

    @dg.resource(description="The five stages as settings describe them: sources, redactor, models, index and storage.")
    def platform(_: dg.InitResourceContext) -> Iterator[Platform]:
        pipeline = Pipeline(settings.model_copy())
        try:
            yield Platform(pipeline)
        finally:
            pipeline.close()

    return platform
