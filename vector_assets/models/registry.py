"""Which model: MLflow's model registry, the only place that names one. Alias `champion` serves, `challenger` is compared.

A version's content is named by its digest and kept once, under HOME/models/<digest>; the manifest beside it is checked against the digest
in the registry, and the files against the manifest, so that a change to either shows. MLflow is imported on first need; finding an alias
in a local SQLite registry, which every run does, needs only sqlite3.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sqlite3
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from vector_assets.errors import ModelError, StorageError
from vector_assets.models import artifact, store
from vector_assets.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

CHAMPION = "champion"

_DIGEST, _DIMENSION, _QUERY_PROMPT = "vector_assets.digest", "vector_assets.dimension", "vector_assets.query_prompt"
_AWAY = frozenset({"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"})


@dataclass(frozen=True)
class ModelVersion:
    """One registered version. `version` is only a label; `digest` (64 hex digits) says what it is. `dimension`: length of a vector."""

    version: str
    digest: str
    uri: str
    dimension: int
    query_prompt: str | None = None
    description: str = ""
    aliases: tuple[str, ...] = ()


class Registry:
    """The versions of the model that `settings.model` names. Every method raises StorageError where the registry does not answer."""

    def __init__(self, settings: Settings) -> None:
        self.model = settings.model
        self.tracking_uri = settings.mlflow_tracking_uri
        self.artifacts = settings.home.absolute() / "models"

    def register(self, path: Path, *, description: str = "") -> ModelVersion:
        """Copy an artifact into the store and make it a version; what is registered already stays the version it is.

        Raises ModelError for an artifact that is unsafe or no model, StorageError where it cannot be copied.
        """
        entries, facts = artifact.manifest(path), artifact.facts(path)
        with store.locked(self.artifacts):
            folder = store.put(path, entries, store=self.artifacts)
            registered = next((version for version in self.versions() if version.digest == folder.name), None)
            if registered is not None:
                return registered
            tags = {_DIGEST: folder.name, _DIMENSION: str(facts.dimension)} | (
                {_QUERY_PROMPT: facts.query_prompt} if facts.query_prompt else {}
            )
            with self._answering() as client:
                _create_model(client, self.model)
                made = client.create_model_version(self.model, source=folder.as_uri(), tags=tags, description=description)
        return _version(made, ())

    def versions(self) -> list[ModelVersion]:
        """All versions that `register` made, newest first."""
        with self._answering() as client:
            aliases = self._aliases(client)
            made = [version for version in client.search_model_versions(f"name='{self.model}'") if _DIGEST in version.tags]
        ordered = sorted(made, key=lambda version: -int(version.version))
        return [_version(one, tuple(sorted(alias for alias, label in aliases.items() if label == str(one.version)))) for one in ordered]

    def alias(self, name: str) -> ModelVersion | None:
        """The version an alias points to; None where there is no such alias. Raises ModelError for one that `register` did not make."""
        if (database := self._database()) is not None:
            try:
                return _read_alias(database, self.model, name) if database.exists() else None
            except sqlite3.Error:
                pass  # another layout than this release knows: MLflow itself can tell
        with self._answering() as client:
            label = self._aliases(client).get(name)
            return None if label is None else _version(client.get_model_version(self.model, label), (name,))

    def champion(self) -> ModelVersion:
        """The version that serves. Raises ModelError where there is none."""
        version = self.alias(CHAMPION)
        if version is None:
            raise ModelError(
                f"model {self.model!r} has no champion: choose a version with `vector-assets models promote VERSION`"
                " (`models list` shows them, `models register PATH` adds one)"
            )
        return version

    def promote(self, version: str, alias: str = CHAMPION) -> ModelVersion:
        """Point an alias to a version. Raises ModelError for a version that is not there, naming those that are."""
        known = {one.version: one for one in self.versions()}
        if version not in known:
            there = f"there are: {', '.join(known)}" if known else "there are none: `vector-assets models register PATH` adds one"
            raise ModelError(f"model {self.model!r} has no version {version!r} ({there})")
        with self._answering() as client:
            client.set_registered_model_alias(self.model, alias, version)
        promoted = self.alias(alias)
        assert promoted is not None
        return promoted

    def materialize(self, version: ModelVersion) -> Path:
        """A local directory of the version's artifact, compared with its manifest once per process.

        Raises ModelError where it is missing or is not what was registered.
        """
        registered_at = Path(unquote(urlsplit(version.uri).path))
        folder = next((place for place in (self.artifacts / version.digest, registered_at) if place.is_dir()), None)
        if folder is None:
            raise ModelError(
                f"version {version.version} of model {self.model!r} is not at {registered_at}: register it again with "
                "`vector-assets models register`, or set VECTOR_ASSETS_HOME to where its artifact is"
            )
        _verified(folder, version.digest)
        return folder

    # --- MLflow ------------------------------------------------------------------------------------------------------------------------

    def _aliases(self, client: MlflowClient) -> dict[str, str]:
        """Version labels by alias; none where the model was never registered."""
        from mlflow.exceptions import MlflowException

        try:
            found = client.get_registered_model(self.model).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        return {alias: str(label) for alias, label in found.items()}

    @contextmanager
    def _answering(self) -> Iterator[MlflowClient]:
        """MLflow's client; its errors become ours."""
        if (database := self._database()) is not None:
            database.parent.mkdir(parents=True, exist_ok=True)
        client_class = _import_client(database=not self.tracking_uri.startswith("http"))
        from mlflow.exceptions import MlflowException

        try:
            yield client_class(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
        except MlflowException as error:
            where = f"the model registry at {_without_secrets(self.tracking_uri)}"
            if error.error_code in _AWAY:
                raise StorageError(f"{where} does not answer ({error.error_code}): check that it runs and MLFLOW_TRACKING_URI") from error
            raise ModelError(f"{where} refuses ({error.error_code}): {error.message}; check VECTOR_ASSETS_MODEL and the alias") from error

    def _database(self) -> Path | None:
        """The file of a plain SQLite registry."""
        prefix, _, file = self.tracking_uri.partition("sqlite:///")
        return Path(file) if file and not prefix and "?" not in file else None


_importing = threading.Lock()


def _import_client(*, database: bool) -> type[MlflowClient]:
    """MLflow's client class, imported without telemetry, log lines about its tables, or warnings that only its authors can act on."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    with _importing, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # SQLAlchemy's, about MLflow's tables
        from mlflow import MlflowClient

        if database:
            from mlflow.store.model_registry import sqlalchemy_store  # noqa: F401
            from mlflow.store.tracking import sqlalchemy_store as _  # noqa: F401
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    client: type[MlflowClient] = MlflowClient
    return client


def _create_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version(made: MlflowVersion, aliases: tuple[str, ...]) -> ModelVersion:
    return _from_tags(str(made.version), made.source or "", made.description or "", tags=made.tags, aliases=aliases)


def _from_tags(label: str, uri: str, description: str, *, tags: Mapping[str, str], aliases: tuple[str, ...]) -> ModelVersion:
    if not {_DIGEST, _DIMENSION} <= tags.keys():
        raise ModelError(
            f"version {label} was not made by `vector-assets models register`: register its directory, and promote that version"
        )
    return ModelVersion(label, tags[_DIGEST], uri, int(tags[_DIMENSION]), tags.get(_QUERY_PROMPT), description, aliases)


_ALIAS_QUERY = """
    SELECT version.version, version.source, version.description, tag.key, tag.value
    FROM registered_model_aliases AS alias
    JOIN model_versions AS version USING (workspace, name, version)
    LEFT JOIN model_version_tags AS tag USING (workspace, name, version)
    WHERE alias.workspace = 'default' AND alias.name = ? AND alias.alias = ?
"""


def _read_alias(database: Path, model: str, alias: str) -> ModelVersion | None:
    """What `MlflowClient` answers, 100 times sooner than it is imported (a test compares them). Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(_ALIAS_QUERY, (model, alias)).fetchall()
    if not rows:
        return None
    label, source, description = rows[0][:3]
    tags = {key: value for *_, key, value in rows if key is not None}
    return _from_tags(str(label), source or "", description or "", tags=tags, aliases=(alias,))


def _without_secrets(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


@functools.cache
def _verified(folder: Path, digest: str) -> None:
    """Raise ModelError where a stored artifact is not what its digest names. Remembers success."""
    file = store.manifest_file(folder)
    try:
        entries: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        intact = artifact.digest(entries) == digest
    except (OSError, ValueError, AttributeError):
        intact = False
    if not intact:
        raise ModelError(
            f"{file} is missing or was changed: register the original again with `vector-assets models register`, which restores it"
        )
    artifact.check(folder, entries)
