"""The outside world as settings describe it: sources, redactors, models and the index, each made on first use and kept.

Every method here may be replaced by a test or a deployment; the rest of the package sees only the Protocols.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Protocol, TypeVar

from vector_assets.catalogs import TrinoCatalog
from vector_assets.embedded.encoder import Encoder
from vector_assets.errors import ConfigurationError, ModelError
from vector_assets.indexed.index import VectorIndex
from vector_assets.models.registry import ModelVersion, Registry
from vector_assets.raw.source import Source
from vector_assets.redacted.analyzer import Redactor
from vector_assets.settings import Settings

T = TypeVar("T")


class _Closing(Protocol):
    def close(self) -> None: ...


Closes = TypeVar("Closes", bound=_Closing)


class Engines:
    """What the pipeline works with. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._made: dict[tuple[str, str], object] = {}
        self._closing = ExitStack()

    def close(self) -> None:
        """End worker processes and connections; what was made before is not usable any more."""
        with self._lock:
            self._made.clear()
            self._closing.close()

    def source(self, catalog: str) -> Source:
        """The source behind a catalog of sources.yaml. Raises ConfigurationError for an unknown one."""
        known = self._settings.tables.catalogs
        if catalog not in known:
            raise ConfigurationError(
                f"there is no catalog {catalog!r} in {self._settings.sources} (there are: {', '.join(known) or 'none'})"
            )
        spec = known[catalog]

        def make() -> Source:
            if isinstance(spec, TrinoCatalog):
                from vector_assets.raw.trino.source import TrinoSource

                return self._closed_with_us(TrinoSource(catalog, spec, batch_rows=self._settings.batch_rows))
            from vector_assets.raw.duckdb.source import DuckDBSource

            return DuckDBSource(catalog, spec.path, batch_rows=self._settings.batch_rows)

        return self._once("source", catalog, make)

    def redactor(self, policy: str) -> Redactor:
        """The redactor for a policy of sources.yaml."""

        def make() -> Redactor:
            from vector_assets.redacted.analyzer import PresidioRedactor

            settings = self._settings
            return self._closed_with_us(
                PresidioRedactor(settings.tables.redaction[policy], workers=settings.redaction_workers, secret=settings.secret_bytes)
            )

        return self._once("redactor", policy, make)

    def registry(self) -> Registry:
        """The model registry."""
        return self._once("registry", "", lambda: Registry(self._settings))

    def champion(self) -> ModelVersion:
        """The model that serves, read now. Raises ModelError where there is none."""
        return self.registry().champion()

    def champion_or_none(self) -> ModelVersion | None:
        """The model that serves, if there is one."""
        try:
            return self.champion()
        except ModelError:
            return None

    def encoder(self, model: ModelVersion) -> Encoder:
        """The encoder of a model version, whose artifact is checked against its manifest. Raises ModelError."""

        def make() -> Encoder:
            from vector_assets.embedded.encoder import SentenceTransformerEncoder

            return SentenceTransformerEncoder(
                self.registry().materialize(model), device=self._settings.device, query_prompt=model.query_prompt
            )

        return self._once("encoder", model.digest, make)

    def index(self) -> VectorIndex:
        """The vector index: Weaviate where WEAVIATE_URL is set, else the embedded one."""

        def make() -> VectorIndex:
            if self._settings.weaviate_url:
                from vector_assets.indexed.weaviate.index import WeaviateIndex
                from vector_assets.indexed.weaviate.server import server_of

                return self._closed_with_us(WeaviateIndex(server_of(self._settings)))
            from vector_assets.indexed.lance.index import LanceIndex
            from vector_assets.indexed.lance.upkeep import Upkeep

            return LanceIndex(self._settings.index, upkeep=Upkeep(retention=timedelta(hours=self._settings.retention_hours)))

        return self._once("index", "", make)

    def _closed_with_us(self, made: Closes) -> Closes:
        self._closing.callback(made.close)
        return made

    def _once(self, kind: str, name: str, make: Callable[[], T]) -> T:
        with self._lock:
            if (kind, name) not in self._made:
                self._made[kind, name] = make()
            made: T = self._made[kind, name]  # type: ignore[assignment]
            return made
