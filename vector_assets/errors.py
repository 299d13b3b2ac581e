"""Every error this package raises on purpose: one tree, with two questions answered once, at the boundary where the error is met.

*Is it worth trying again?* `TransientError` says yes (a lock, an outage), `PermanentError` says no (a person has to change something).
Anything else that surfaces is a bug and propagates as it is.

A message names what, where and the remedy. It never contains row text, key values or secrets. A row that cannot be processed is not an
exception: it is a row state with a reason (see `reconcile.stage_table`).
"""

from __future__ import annotations


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
