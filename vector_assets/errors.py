"""Every error this package raises on purpose: one tree, with two questions answered once, at the boundary where the error is met.

*Is it worth trying again?* `TransientError` says yes (a lock, an outage), `PermanentError` says no (a person has to change something).
Anything else that surfaces is a bug; at the surface (Dagster, the command line) it becomes an `UnexpectedError`.

A message names what, where and the remedy. It never contains row text, key values or secrets. A row that cannot be processed is not an
exception: it is a row state with a reason (see `reconcile.stage_table`).
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parent


class VectorAssetsError(Exception):
    """The root of the tree."""


class TransientError(VectorAssetsError):
    """Trying again later may succeed without anybody changing anything."""


class PermanentError(VectorAssetsError):
    """Trying again fails the same way until somebody changes something; the message says what."""


class ConfigurationError(PermanentError):
    """sources.yaml, an environment variable or a command line says something that cannot be meant."""


class SourceError(PermanentError):
    """The source answered, and what it has does not fit: an unknown table, a missing column, a type that cannot be read."""


class SourceUnavailable(TransientError):
    """The source did not answer, or stopped half-way; nothing is deleted on the strength of such a read."""


class IndexConflict(PermanentError):
    """The index answered, and refuses: a schema that disagrees, a vector of the wrong length."""


class IndexUnavailable(TransientError):
    """The index did not answer, or acknowledged only a part of a batch."""


class StorageError(TransientError):
    """Stage storage could not be read or written: a full disk, a store that is away."""


class ModelError(PermanentError):
    """The model registry has no such model or champion, or an artifact is not what was registered."""


class DeleteBrakeError(PermanentError):
    """A plan would delete more of a published table than is allowed without an approval."""


class AuditError(PermanentError):
    """A blocking check refused the newest version of a stage table; what was published stays published."""


class LeaseHeldError(TransientError):
    """Another run is writing this table."""


class LeaseLostError(TransientError):
    """This run was taken for dead and another one took over; it must not write any more."""


class InputPurgedError(TransientError):
    """A stage needs source values that were purged; the rows are marked, and the next run fetches them again."""


class UnexpectedError(PermanentError):
    """What nobody foresaw: a bug, or a library's own error, whose words may quote a row ("could not convert 'Ada' to int"). So its type
    and place are told, and `traceback` has the frames of it and of its causes, oldest first, without a word of what they say."""

    def __init__(self, error: BaseException) -> None:
        chain = list(_causes(error))[::-1]
        self.traceback = "\n".join(f"{_frames(each)}{type(each).__qualname__}" for each in chain)
        super().__init__(
            f"unexpected {type(error).__qualname__} {_place(error)}: a bug, please report it with its traceback; "
            "what it says may quote a row and is left out"
        )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def _frames(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(f"  {frame.filename}:{frame.lineno} in {frame.name}\n" for frame in frames)


def _place(error: BaseException) -> str:
    """The innermost line of ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _PACKAGE in Path(frame.filename).parents]
    return f"at {Path(frames[-1].filename).relative_to(_PACKAGE.parent)}:{frames[-1].lineno}" if frames else "outside this package"
