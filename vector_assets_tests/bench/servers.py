"""Servers to measure with: those that LIVE_* variables name, else ones of our own for the length of a benchmark."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from vector_assets.catalogs import TrinoCatalog
from vector_assets.demo.servers import lakehouse
from vector_assets.demo.servers.install import installed
from vector_assets.demo.servers.weaviate import weaviate as running_weaviate
from vector_assets.indexed.weaviate.server import Server, parse_endpoint
from vector_assets.settings import Settings
from vector_assets_tests import clients

if TYPE_CHECKING:
    from weaviate import WeaviateClient

USER = "bench"


class Address(NamedTuple):
    """Where a Trino is; anybody may log in without a password."""

    host: str
    port: int

    def catalog(self, name: str, *, spooling: bool = True) -> TrinoCatalog:
        """One of its catalogs, as sources.yaml would have it."""
        return TrinoCatalog(engine="trino", host=self.host, port=self.port, user=USER, catalog=name, spooling=spooling)

    def run(self, statement: str) -> None:
        """Run a statement to its end."""
        clients.run_in_trino(f"http://{self.host}:{self.port}", statement, user=USER)


@contextmanager
def trino() -> Iterator[Address]:
    """A Trino whose results may be spooled, with catalogs tpch and iceberg."""
    with ExitStack() as stack:
        url = os.environ.get("LIVE_TRINO_URL")
        if url is None:
            there, folder = installed(Settings().servers.expanduser()), _folder(stack)
            spool = stack.enter_context(lakehouse.s3(there, folder / "s3"))
            url = stack.enter_context(lakehouse.trino(there, folder / "trino", spool=spool)).url
        parts = urlsplit(url)
        yield Address(parts.hostname or "localhost", parts.port or 8080)


@contextmanager
def weaviate(more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """An empty Weaviate, with `more` environment variables of its own; or one that is somebody's, as it is."""
    with ExitStack() as stack:
        urls = [os.environ.get(f"LIVE_WEAVIATE_{name}", "") for name in ("URL", "GRPC_URL", "API_KEY")]
        if not urls[0]:
            there = installed(Settings().servers.expanduser())
            running = stack.enter_context(running_weaviate(there, _folder(stack), more=more))
            urls = [running.url, running.grpc_url, running.api_key]
        yield Server(parse_endpoint("WEAVIATE_URL", urls[0]), parse_endpoint("WEAVIATE_GRPC_URL", urls[1]), SecretStr(urls[2]))


def weaviate_client(server: Server) -> AbstractContextManager[WeaviateClient]:
    """Weaviate's own client."""
    assert server.api_key is not None
    return clients.weaviate_client(server.rest.url, server.grpc.url, server.api_key.get_secret_value())


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vector-assets-bench-")))
