"""Errors of the core as Dagster's verdicts: retry the step later, or stop and say why. Which error is which is decided in errors.py.

Only the message of an error is shown, never what caused it: a database's own words may quote a row. Of anything that is not a
`VectorAssetsError`, and so a bug, only type and frames are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from vector_assets.defs.run_tags import ACCEPT, APPROVE_DELETES
from vector_assets.errors import (
    AuditError,
    DeleteBrakeError,
    InputPurgedError,
    LeaseHeldError,
    LeaseLostError,
    TransientError,
    UnexpectedError,
    VectorAssetsError,
)

STEP_RETRIES = 3
FIRST_WAIT_SECONDS = 10.0
_WAIT_GROWS = 3  # 10 s, 30 s, 90 s

# Transient, but not for this step: another run has the table, or the table has to begin with raw_tables again.
_NOT_BY_RETRYING = (InputPurgedError, LeaseHeldError, LeaseLostError)


class StageFailure(dg.Failure):
    """A stage stopped for a known reason, which is kept for whoever runs Dagster in-process."""

    def __init__(self, error: VectorAssetsError) -> None:
        shown = {"error": type(error).__name__}
        if isinstance(error, DeleteBrakeError):
            shown["to_approve"] = f"launch this table again with the run tag {APPROVE_DELETES} set to what stands behind --approve-deletes"
        if isinstance(error, UnexpectedError):
            shown["traceback"] = error.traceback
        if isinstance(error, AuditError):
            shown["to_accept"] = (
                f"launch this table again with the run tag {ACCEPT} set to what stands behind --accept, with your name and why"
            )
        super().__init__(description=str(error), metadata=shown, allow_retries=False)
        self.error = error


@contextmanager
def as_verdicts(context: dg.AssetExecutionContext | dg.OpExecutionContext, *, retries: int = STEP_RETRIES) -> Iterator[None]:
    """Turn an error into RetryRequested, where retrying this step up to `retries` times may help, or StageFailure. Dagster's own pass."""
    try:
        yield
    except VectorAssetsError as error:
        if isinstance(error, TransientError) and not isinstance(error, _NOT_BY_RETRYING) and context.retry_number < retries:
            wait = FIRST_WAIT_SECONDS * _WAIT_GROWS**context.retry_number
            context.log.warning("%s (trying again in %.0f s)", error, wait)
            raise dg.RetryRequested(max_retries=retries, seconds_to_wait=wait) from type(error)(str(error))
        raise StageFailure(error) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] == "dagster":
            raise
        raise StageFailure(UnexpectedError(error)) from None
