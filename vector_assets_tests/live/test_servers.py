"""The servers that other tests use: they answer, have what is said of them, and refuse what they should."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from vector_assets_tests.clients import run_in_trino
from vector_assets_tests.live.fixtures import S3, Trino, Weaviate


def ask(trino: Trino, statement: str, user: str = "somebody") -> list[list[object]]:
    return run_in_trino(trino.url, statement, user=user)


def test_trino_has_the_catalogs(trino: Trino) -> None:
    catalogs = {str(row[0]) for row in ask(trino, "SHOW CATALOGS")}
    assert {"iceberg", "delta", "memory", "postgres", "tpch"} <= catalogs
    assert ask(trino, "SELECT 1 FROM postgres.information_schema.tables LIMIT 1") == [[1]]


def test_weaviate_wants_its_key(weaviate: Weaviate) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(f"{weaviate.url}/v1/schema"):
        pass
    refused.value.close()
    assert refused.value.code == 401
    request = urllib.request.Request(f"{weaviate.url}/v1/schema", headers={"Authorization": f"Bearer {weaviate.api_key}"})
    with urllib.request.urlopen(request) as response:
        assert response.status == 200


def test_s3_wants_its_key(s3: S3) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(f"{s3.url}/spool"):
        pass
    refused.value.close()
    assert refused.value.code == 403
