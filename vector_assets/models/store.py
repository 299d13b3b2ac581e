"""Where artifacts are kept: one directory per digest and its manifest beside it, put there whole or not at all."""

from __future__ import annotations

import fcntl
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vector_assets.errors import ModelError, StorageError
from vector_assets.models import artifact


def manifest_file(folder: Path) -> Path:
    """The file that holds the manifest of a stored artifact."""
    return folder.with_name(f"{folder.name}.manifest.json")


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """One registration at a time in this store, among processes of this machine. Raises StorageError."""
    with _storing(store):
        store.mkdir(parents=True, exist_ok=True)
        file = (store / ".lock").open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file closes
        yield


def put(path: Path, entries: Mapping[str, str], *, store: Path) -> Path:
    """Copy an artifact with this manifest into the store, unless it is there intact; returns its folder. Call it under `locked`.

    Raises ModelError where the artifact changed under the copy, StorageError where it cannot be written.
    """
    folder = store / artifact.digest(entries)
    with _storing(store):
        if not _intact(folder, entries):
            copy = store / f".{uuid.uuid4().hex}"
            try:
                for name in entries:
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path / name, copy / name)
                artifact.check(copy, entries)
                if folder.exists():
                    folder.rename(store / f".{uuid.uuid4().hex}.damaged")
                copy.rename(folder)
            finally:
                shutil.rmtree(copy, ignore_errors=True)
        partial = manifest_file(store / f".{uuid.uuid4().hex}")
        partial.write_text(json.dumps(dict(entries), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        partial.replace(manifest_file(folder))
    return folder


def _intact(folder: Path, entries: Mapping[str, str]) -> bool:
    try:
        artifact.check(folder, entries)
    except ModelError:
        return False
    return True


@contextmanager
def _storing(store: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"the model store {store} cannot be written ({error.strerror}): make room, or set VECTOR_ASSETS_HOME") from error
