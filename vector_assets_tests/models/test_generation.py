from vector_assets.models.generation import collection_name, embedding_generation, generation
from vector_assets.tables import CollectionSpec, PassageRule

DIGEST = "ab" * 32


def embeddings(digest: str = DIGEST, rule: PassageRule = PassageRule(), dtype: str = "float16", version: int = 1) -> str:  # noqa: B008
    return embedding_generation(digest, rule, dtype=dtype, passages_version=version)


def test_golden_values() -> None:
    # Changing them would re-embed, or re-index, every user's data.
    assert embeddings() == "9b899de0d4b4"
    assert generation("0123456789ab", CollectionSpec(), properties={"status": {"policy": "keep", "type": "text"}}) == "515adcf533bd"


def test_all_that_decides_a_vector_names_the_embedding_generation() -> None:
    others = [
        embeddings(digest="cd" * 32),
        embeddings(rule=PassageRule(max_tokens=128)),
        embeddings(rule=PassageRule(overlap_tokens=16)),
        embeddings(dtype="float32"),
        embeddings(version=2),
    ]
    assert len({embeddings(), *others}) == 6


def test_settings_and_schema_name_the_generation() -> None:
    names = {
        generation("0123456789ab", CollectionSpec(), properties={}),
        generation("ba9876543210", CollectionSpec(), properties={}),
        generation("0123456789ab", CollectionSpec(distance="dot"), properties={}),
        generation("0123456789ab", CollectionSpec(), properties={"status": "text"}),
    }
    assert len(names) == 4
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert generation("", CollectionSpec(), properties=one) == generation("", CollectionSpec(), properties=other)


def test_a_collection_is_named_by_its_generation() -> None:
    assert collection_name("SupportTickets", "3f2a00000000") == "SupportTickets_3f2a00000000"
    assert len(collection_name("S" * 201, "3f2a00000000")) <= 255
