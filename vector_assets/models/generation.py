"""Names of what is computed alike. A *generation* names a collection; its *embedding generation* names embeddings tables.

An embedding generation is all that decides a vector: the model's content, how texts are cut, the stored type. A generation adds the
collection's settings and schema, so a change of those makes a new collection and re-embeds nothing. Golden tests pin both: changing them
silently would re-embed every user's data.
"""

from __future__ import annotations

from collections.abc import Mapping

from vector_assets.fingerprint import version_of
from vector_assets.tables import CollectionSpec, PassageRule

GENERATION_DIGITS = 12


def embedding_generation(model_digest: str, rule: PassageRule, *, dtype: str, passages_version: int) -> str:
    """12 hex digits. `dtype` is the stored vectors' (`float16`); `passages_version` is `embedded.passages.PASSAGES_VERSION`."""
    version = version_of(
        "embedding_generation", model=model_digest, rule=rule.model_dump(mode="json"), dtype=dtype, passages_version=passages_version
    )
    return version[:GENERATION_DIGITS]


def generation(embeddings: str, collection: CollectionSpec, *, properties: Mapping[str, object]) -> str:
    """12 hex digits over an embedding generation, a collection's settings and its properties (JSON values by name)."""
    version = version_of("generation", embeddings=embeddings, collection=collection.declared, properties=dict(properties))
    return version[:GENERATION_DIGITS]


def collection_name(collection: str, generation: str) -> str:
    """The name of a collection's generation: a valid class name for Weaviate where `collection` is one (it leaves 55 characters)."""
    return f"{collection}_{generation}"
