"""The object store at a storage root: a local folder or any URI that obstore knows (s3://, gs://, az://); and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vector_assets.errors import StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore
    from pydantic import SecretStr

PRIVATE_MODE = 0o700


class Access(NamedTuple):
    """How tables below a root are reached. `credentials` are asked for whenever a table is opened, and go to nobody but the store."""

    credentials: Callable[[], Mapping[str, SecretStr]] = dict
    private_folder: Path | None = None  # a local root for its owner alone, made where it is missing

    def options(self) -> dict[str, str] | None:
        """Options as Lance and obstore take them; None: the ambient credentials. Raises what `credentials` raises."""
        options = {name: value.get_secret_value() for name, value in self.credentials().items()}
        if {"aws_access_key_id", "access_key_id"} & options.keys() and not {"aws_session_token", "session_token"} & options.keys():
            options["aws_session_token"] = ""  # Lance fills in what is missing from the environment: another account's token
        return options or None

    def prepare(self) -> None:
        """Make the private folder. Raises StorageError."""
        folder = self.private_folder
        if folder is not None and not folder.is_dir():
            with store_errors(str(folder)):
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.mkdir(PRIVATE_MODE, exist_ok=True)  # an umask can only take away from this mode


def private_access(root: str, credentials: Callable[[], Mapping[str, SecretStr]]) -> Access:
    """How tables that hold unmasked values are reached: a local folder of mode 0700, or an object store with credentials of its own."""
    local = root.removeprefix("file://")
    return Access(credentials) if "://" in local else Access(private_folder=Path(local))


def open_store(root: str, access: Access = Access()) -> ObjectStore:  # noqa: B008  # it is immutable
    """The store at a root; a local folder is made where it is missing. Raises StorageError, and what the credentials raise."""
    from obstore.store import LocalStore, from_url

    options = access.options() or {}
    access.prepare()
    # Lance takes what is about the connection among the others; obstore 0.12 panics there.
    plain = any(options.pop(name, "false").lower() == "true" for name in ("aws_allow_http", "allow_http"))
    with store_errors(root):
        if "://" not in root:
            return LocalStore(root, mkdir=True)
        store: ObjectStore = from_url(
            root,
            config=options or None,  # type: ignore[arg-type]  # typed by store; the URL says which it is
            client_options={"allow_http": True} if plain else None,
        )
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
