"""What embeddings has to encode of one table, as far as one can tell before: published texts that the champion has not embedded yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from vector_assets.embedded import layout as embedded_layout
from vector_assets.redacted.layout import CHARACTERS, TEXT_FINGERPRINT
from vector_assets.tables import TableRef

if TYPE_CHECKING:
    from vector_assets.pipeline import Pipeline

CHARACTERS_PER_TOKEN = 3.2  # English through WordPiece: 137 characters made 44 tokens (package descriptions); an estimate, not a bound


class Waiting(NamedTuple):
    """Texts to encode, and about how many tokens they have."""

    texts: int
    tokens: int


def waiting(pipeline: Pipeline, ref: TableRef) -> Waiting:
    """Published redacted texts of a table that the champion has not embedded yet; all of them where there is no champion."""
    view = pipeline.published("redacted_text", ref)
    if view is None:
        return Waiting(0, 0)
    columns = view.content(CHARACTERS, TEXT_FINGERPRINT)[2]
    done = _embedded_texts(pipeline, ref)
    fresh = pa.array([text not in done for text in columns.column(TEXT_FINGERPRINT).to_pylist()], pa.bool_())
    characters = columns.column(CHARACTERS).filter(fresh).to_numpy()
    return Waiting(len(characters), round(int(characters.sum()) / CHARACTERS_PER_TOKEN))


def _embedded_texts(pipeline: Pipeline, ref: TableRef) -> set[bytes]:
    champion = pipeline.engines.champion_or_none()
    if champion is None:
        return set()
    names = pipeline.generations(pipeline.settings.tables.spec_for(ref), champion)
    view = pipeline.published("embeddings", ref, names.embeddings)
    return set(view.content(embedded_layout.TEXT_FINGERPRINT)[2].column(0).to_pylist()) if view is not None else set()
