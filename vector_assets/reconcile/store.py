"""The object store at a storage root: a local folder or any URI that obstore knows (s3://, gs://, az://); and what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vector_assets.errors import StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore


def open_store(root: str) -> ObjectStore:
    """The store at a root; a local folder is made where it is missing. Raises StorageError."""
    from obstore.store import LocalStore, from_url

    with store_errors(root):
        store: ObjectStore = from_url(root) if "://" in root else LocalStore(root, mkdir=True)
    return store


def children(store: ObjectStore, folder: str) -> list[str]:
    """Names of the folders right below a folder; none where it does not exist."""
    import obstore

    with store_errors(folder):
        listing = obstore.list_with_delimiter(store, folder)
    return sorted(prefix.rstrip("/").rsplit("/", 1)[-1] for prefix in listing["common_prefixes"])


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Errors of the store as StorageError."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        raise StorageError(
            f"cannot use {what}: {str(error).splitlines()[0][:300]}; check the storage root, its space and its credentials"
        ) from error


@contextmanager
def storage_errors(doing: str, uri: str) -> Iterator[None]:
    """What Lance says of files and stores as StorageError: what was done, where, and the remedy; its text names files, never rows."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) and "LanceError(IO)" not in str(error):
            raise
        full = "No space left" in str(error)
        remedy = "free some space; what was published is untouched" if full else "check the storage root and its credentials"
        raise StorageError(f"cannot {doing} {uri}: {'the disk is full' if full else str(error).splitlines()[0][:300]}; {remedy}") from error
