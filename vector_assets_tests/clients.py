"""The servers' own clients, for what a test does beside the product: make tables, edit them, look at what is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from weaviate import WeaviateClient


def run_in_trino(url: str, statement: str, *, user: str, **connection: Any) -> list[list[Any]]:
    """Run a statement to its end; its rows. `connection`: what `trino.dbapi.connect` takes beside."""
    import trino

    place = urlsplit(url)
    with trino.dbapi.connect(host=place.hostname, port=place.port, user=user, **connection) as connected:
        rows: list[list[Any]] = connected.cursor().execute(statement).fetchall()
        return rows


@contextmanager
def weaviate_client(url: str, grpc_url: str, api_key: str) -> Iterator[WeaviateClient]:
    """A client for the length of a `with`; an empty key is none."""
    import weaviate
    from weaviate.classes.init import Auth

    rest, grpc = urlsplit(url), urlsplit(grpc_url)
    with weaviate.connect_to_custom(
        http_host=str(rest.hostname),
        http_port=rest.port or 0,
        http_secure=rest.scheme == "https",
        grpc_host=str(grpc.hostname),
        grpc_port=grpc.port or 0,
        grpc_secure=grpc.scheme == "https",
        auth_credentials=Auth.api_key(api_key) if api_key else None,
        skip_init_checks=True,
    ) as client:
        yield client
