"""Which model a run works with. The first step that finds a champion writes it down in the run's tags, and later steps read them, so that a
promotion half-way through a run cannot make one half of a table's objects by another model. Moving aliases is not done here.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from vector_assets.defs.run_tags import GENERATION, MODEL_DIGEST, MODEL_VERSION, PINNED_BY, RESUMED
from vector_assets.defs.turn import DAGSTER
from vector_assets.engines import Engines
from vector_assets.errors import ModelError, StorageError
from vector_assets.models.registry import ModelVersion
from vector_assets.pipeline import Pipeline
from vector_assets.tables import TableRef


def pinned_model(context: dg.AssetExecutionContext, pipeline: Pipeline, ref: TableRef, *, required: bool) -> ModelVersion | None:
    """The model of this run, pinned now where it was not. Where it is not `required`, None is an answer too.

    Raises ModelError where it is required and there is no champion, or the pinned version is not in the registry any more.
    """
    run_id = context.run.run_id
    run = context.instance.get_run_by_id(run_id)  # its tags now; the context has them as they were when the run began
    tags = run.tags if run is not None else {}
    if _is_pinned(tags, run_id):
        with DAGSTER.outside():
            return _version(pipeline.engines, tags) if required else None
    with DAGSTER.outside():
        model = pipeline.engines.champion() if required else _champion_if_any(context, pipeline.engines)
    if model is not None:
        names = pipeline.generations(pipeline.settings.tables.spec_for(ref), model)
        pin = {MODEL_VERSION: model.version, MODEL_DIGEST: model.digest, GENERATION: names.collection, PINNED_BY: run_id}
        context.instance.add_run_tags(run_id, pin)
    return model


def _is_pinned(tags: Mapping[str, str], run_id: str) -> bool:
    # Re-execution copies tags. Whoever goes on from a failed step goes on with its model; running everything again takes today's champion.
    return MODEL_VERSION in tags and (tags.get(PINNED_BY) == run_id or tags.get(RESUMED) == "true")


def _version(engines: Engines, tags: Mapping[str, str]) -> ModelVersion:
    label, digest = tags[MODEL_VERSION], tags.get(MODEL_DIGEST)
    champion = engines.champion_or_none()  # nearly always the one, and 100 times sooner found than a list of versions
    candidates = [champion] if champion is not None and champion.version == label else engines.registry().versions()
    found = next((one for one in candidates if one.version == label and one.digest == digest), None)
    if found is None:
        raise ModelError(
            f"this run began with version {label} of the model, which the registry does not have any more:"
            " launch a new run, which takes the champion"
        )
    return found


def _champion_if_any(context: dg.AssetExecutionContext, engines: Engines) -> ModelVersion | None:
    try:
        return engines.champion_or_none()
    except StorageError as error:  # stages before embeddings work without a registry
        context.log.warning("the model of this run is not settled yet: %s", error)
        return None
