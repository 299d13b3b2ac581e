"""What `vector-assets init` makes: a commented sources.yaml, a local secret, and a first champion. Nothing that is there is touched.

A team that has a secret store, a tracking server and its own models needs none of this; each part is made only where it is missing.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from vector_assets.errors import StorageError
from vector_assets.models.registry import ModelVersion, Registry
from vector_assets.settings import Settings

SECRET_MODE = 0o600
_SECRET_BYTES = 32


def template() -> str:
    """The commented sources.yaml."""
    return files("vector_assets").joinpath("sources.template.yaml").read_text(encoding="utf-8")


def make_home(home: Path) -> None:
    """The folder of everything local, ignored by git as a whole. Raises StorageError."""
    with _writing(home):
        home.mkdir(parents=True, exist_ok=True)
        _make(home / ".gitignore", b"# made by vector-assets: secrets and data stay out of git\n*\n")


def make_sources(path: Path) -> bool:
    """Write the commented sources.yaml; False where there is one already. Raises StorageError."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return _make(path, template().encode())


def make_secret(settings: Settings) -> Path | None:
    """Make HOME/secret, readable by its owner alone; None where a secret is given already. Raises StorageError."""
    if settings.secret is not None or settings.secret_file is not None:
        return None
    path = settings.home / "secret"
    with _writing(path):
        return path if _make(path, secrets.token_urlsafe(_SECRET_BYTES).encode(), mode=SECRET_MODE) else None


def make_champion(registry: Registry) -> ModelVersion | None:
    """Register the packaged model and let it serve, where no model is registered at all; else None. Raises ModelError, StorageError."""
    if registry.versions():
        return None
    from vector_assets.demo.model import DESCRIPTION, packaged_model

    return registry.promote(registry.register(packaged_model(), description=DESCRIPTION).version)


def _make(path: Path, content: bytes, *, mode: int = 0o666) -> bool:
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(content)
    except OSError:
        path.unlink()  # a part of a secret would pass for one
        raise
    return True


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror}): free some space, or check who owns that folder") from error
