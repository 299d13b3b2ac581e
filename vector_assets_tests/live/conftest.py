"""Index tests against a real Weaviate use the objects and the index of the contract tests."""

from vector_assets_tests.indexed.conftest import ids_of, make_objects, make_schema, server_of_tests, weaviate_index

__all__ = ["ids_of", "make_objects", "make_schema", "server_of_tests", "weaviate_index"]
