"""What is real of a lake's outside world and what is not: sources, index and registry are, models are stand-ins unless told otherwise.

Rows, texts and passages are counted on their way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from vector_assets.engines import Engines
from vector_assets.models.registry import ModelVersion
from vector_assets.raw.source import Source, SourceVersion, TableRead
from vector_assets.settings import Settings
from vector_assets.tables import TableRef
from vector_assets_tests.fakes import StubEncoder, StubRedactor, model_version

if TYPE_CHECKING:
    from vector_assets.embedded.encoder import Encoder
    from vector_assets.redacted.analyzer import Redactor

_WORDS_PER_PASSAGE = 8  # of stand-in models: most comments of TPC-H become several passages


@dataclass
class Models:
    """The stand-ins of a lake, which outlive its pipelines. `model` None: the registry's champion. `real`: Presidio and torch instead."""

    model: ModelVersion | None = field(default_factory=model_version)
    real: bool = False
    redactor: StubRedactor = field(default_factory=StubRedactor)
    encoders: dict[str, StubEncoder] = field(default_factory=dict)
    fetched: int = 0

    @property
    def encoded(self) -> int:
        return sum(len(encoder.seen) for encoder in self.encoders.values())


class LiveEngines(Engines):
    """Real sources, index and registry. Rows that are fetched are counted; models are stand-ins, one encoder per digest, or real."""

    def __init__(self, settings: Settings, models: Models) -> None:
        super().__init__(settings)
        self._models = models

    def source(self, catalog: str) -> Source:
        return CountedSource(super().source(catalog), self._models)

    def redactor(self, policy: str) -> Redactor:
        return super().redactor(policy) if self._models.real else self._models.redactor

    def champion(self) -> ModelVersion:
        return self._models.model or super().champion()

    def encoder(self, model: ModelVersion) -> Encoder:
        return super().encoder(model) if self._models.real else stub_encoder(self._models, model)


_making = threading.Lock()


def stub_encoder(models: Models, model: ModelVersion) -> StubEncoder:
    """The stand-in for a model; its vectors are as long as the model says."""
    with _making:
        if model.digest not in models.encoders:
            models.encoders[model.digest] = StubEncoder(model.dimension or 8, _WORDS_PER_PASSAGE)
        return models.encoders[model.digest]


class CountedSource:
    """A source whose reads count the rows that they hand out with their values."""

    def __init__(self, source: Source, models: Models) -> None:
        self._source, self._models = source, models

    def tables(self, pattern: str) -> list[TableRef]:
        return self._source.tables(pattern)

    def version(self, table: TableRef) -> SourceVersion:
        return self._source.version(table)

    def versions(self, tables: Sequence[TableRef]) -> Mapping[TableRef, SourceVersion]:
        return self._source.versions(tables)

    @contextmanager
    def open(self, table: TableRef, columns: Sequence[str], key: Sequence[str]) -> Iterator[CountedRead]:
        with self._source.open(table, columns, key) as read:
            yield CountedRead(read, self._models)


class CountedRead:
    """See `CountedSource`."""

    def __init__(self, read: TableRead, models: Models) -> None:
        self._read, self._models = read, models
        self.version, self.schema = read.version, read.schema
        self.digests, self.present = read.digests, read.present

    def rows(self) -> Iterator[pa.RecordBatch]:
        return self._counted(self._read.rows())

    def fetch(self, keys: pa.StructArray) -> Iterator[pa.RecordBatch]:
        return self._counted(self._read.fetch(keys))

    @property
    def facts(self) -> Mapping[str, int]:
        return self._read.facts

    def _counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._models.fetched += len(batch)
            yield batch
