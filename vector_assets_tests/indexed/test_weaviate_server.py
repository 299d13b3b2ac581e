"""Which Weaviate is meant, and what is said of servers that are not one, or too old: answered by a stub."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from vector_assets.errors import ConfigurationError, IndexUnavailable, VectorAssetsError
from vector_assets.indexed.weaviate.server import Endpoint, Server, connect, default_grpc, parse_endpoint, server_of
from vector_assets.settings import load_settings

# --- settings --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "url", "endpoint"),
    [
        ("WEAVIATE_URL", "http://there:8080", Endpoint("there", 8080, False)),
        ("WEAVIATE_URL", "https://there", Endpoint("there", 443, True)),
        ("WEAVIATE_URL", " http://there/ ", Endpoint("there", 80, False)),
        ("WEAVIATE_URL", "https://[::1]:8443", Endpoint("::1", 8443, True)),
        ("WEAVIATE_GRPC_URL", "http://there", Endpoint("there", 50051, False)),
        ("WEAVIATE_GRPC_URL", "https://grpc.there", Endpoint("grpc.there", 443, True)),
    ],
)
def test_addresses(setting: str, url: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(setting, url) == endpoint
    assert parse_endpoint(setting, endpoint.url) == endpoint


@pytest.mark.parametrize(
    "url",
    ["", "there", "there:8080", "ftp://there", "http://", "http://:80", "http://there:x", "http://there:99999", "http://[::1", "http://a/v1",
     "http://a?b", "http://me:hunter2@there", "https://hunter2@there:80"],
)  # fmt: skip
def test_addresses_that_cannot_be_meant(url: str) -> None:
    with pytest.raises(ConfigurationError, match="WEAVIATE_URL") as caught:
        parse_endpoint("WEAVIATE_URL", url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "grpc"),
    [
        ("http://there:8080", "http://there:50051"),
        ("https://there", "https://there:50051"),
        ("https://abc.c0.europe-west3.gcp.weaviate.cloud", "https://grpc-abc.c0.europe-west3.gcp.weaviate.cloud:443"),
        ("https://abc.weaviate.network", "https://abc.grpc.weaviate.network:443"),
    ],
)
def test_where_grpc_is_unless_said(url: str, grpc: str) -> None:
    assert default_grpc(parse_endpoint("WEAVIATE_URL", url)).url == grpc


def made(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Server:
    monkeypatch.setenv("WEAVIATE_URL", "http://there:8080")
    for name, value in variables.items():
        monkeypatch.setenv(f"WEAVIATE_{name}", value)
    return server_of(load_settings())


def test_a_server_as_settings_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2\n")
    server = made(monkeypatch, GRPC_URL="https://g:1", API_KEY_FILE=str(tmp_path / "key"), CONSISTENCY="ALL", BATCHES="7")
    assert (server.rest.url, server.grpc.url) == ("http://there:8080", "https://g:1")
    assert (server.consistency, server.batches) == ("ALL", 7)
    assert server.api_key == SecretStr("hunter2")
    assert "hunter2" not in repr(server)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, ["WEAVIATE_API_KEY", "WEAVIATE_ALLOW_ANONYMOUS"]),
        ({"API_KEY": "  "}, ["WEAVIATE_API_KEY"]),
        ({"API_KEY": "hunter2\x07"}, ["WEAVIATE_API_KEY"]),
        ({"API_KEY": "hunter2", "API_KEY_FILE": "x"}, ["WEAVIATE_API_KEY_FILE", "both"]),
        ({"API_KEY_FILE": "/nowhere/key"}, ["WEAVIATE_API_KEY_FILE", "/nowhere/key"]),
        ({"API_KEY_FILE": "/dev/null"}, ["WEAVIATE_API_KEY_FILE", "/dev/null", "empty"]),
        ({"API_KEY": "hunter2", "GRPC_URL": "http://there:8080"}, ["WEAVIATE_GRPC_URL", "WEAVIATE_URL"]),
        ({"API_KEY": "hunter2", "GRPC_URL": "there:1"}, ["WEAVIATE_GRPC_URL"]),
    ],
)
def test_settings_that_cannot_be_meant(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made(monkeypatch, **variables)
    assert all(word in str(caught.value) for word in words)
    assert "hunter2" not in str(caught.value)


def test_no_key_where_anybody_may(monkeypatch: pytest.MonkeyPatch) -> None:
    assert made(monkeypatch, ALLOW_ANONYMOUS="1").api_key is None


# --- answers ---------------------------------------------------------------------------------------------------------------------------

Answer = tuple[int, dict[str, str], bytes]
Stub = Callable[[dict[str, Answer]], Server]


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A server that answers with what is given for a path, and 401 else."""
    answers: dict[str, Answer] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers.get(self.path, (401, {}, b"{}"))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def start(given: dict[str, Answer]) -> Server:
            answers.update(given)
            return Server(Endpoint("127.0.0.1", server.server_port, False), Endpoint("127.0.0.1", 1, False), SecretStr("hunter2"))

        yield start
        server.shutdown()
        thread.join()


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((200, JSON, json.dumps({"version": "1.32.4"}).encode()), ConfigurationError, ["1.32.4", "1.32.5"]),
        ((200, JSON, json.dumps({"version": "1.9.12"}).encode()), ConfigurationError, ["1.9.12", "1.32.5"]),
        ((200, JSON, json.dumps({"version": "1.32.5"}).encode()), IndexUnavailable, ["WEAVIATE_GRPC_URL"]),  # goes on to gRPC
        ((200, JSON, json.dumps({"version": "1.38.0-rc.1"}).encode()), IndexUnavailable, ["WEAVIATE_GRPC_URL"]),
        ((200, JSON, b"{}"), ConfigurationError, ["WEAVIATE_URL", "like a Weaviate"]),
        ((200, JSON, b"[1]"), ConfigurationError, ["WEAVIATE_URL", "like a Weaviate"]),
        ((200, {"Content-Type": "text/html"}, b"<html>"), ConfigurationError, ["WEAVIATE_URL", "like a Weaviate"]),
        ((404, JSON, b"{}"), ConfigurationError, ["WEAVIATE_URL", "like a Weaviate"]),
        ((401, JSON, b"{}"), ConfigurationError, ["WEAVIATE_API_KEY"]),
        ((403, JSON, b"{}"), ConfigurationError, ["WEAVIATE_API_KEY"]),
        ((308, {"Location": "https://elsewhere/"}, b""), ConfigurationError, ["WEAVIATE_URL", "redirects"]),
        ((400, {}, b"Client sent an HTTP request to an HTTPS server.\n"), ConfigurationError, ["WEAVIATE_URL", "https://"]),
        ((503, {}, b""), IndexUnavailable, ["WEAVIATE_URL", "503"]),
        ((429, {}, b""), IndexUnavailable, ["WEAVIATE_URL", "429"]),
    ],
)
def test_answers_of_other_servers(stub: Stub, answer: Answer, kind: type[VectorAssetsError], words: list[str]) -> None:
    server = stub({"/v1/meta": answer})
    with pytest.raises(kind) as caught:
        connect(server)
    assert all(word in str(caught.value) for word in words)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("status", "headers"), [(200, JSON), (404, JSON), (404, {})])
def test_a_door_that_is_open_is_refused(stub: Stub, status: int, headers: dict[str, str]) -> None:
    server = stub({"/v1/schema/Vector_assets_probe": (status, headers, b"")})
    with pytest.raises(ConfigurationError, match="WEAVIATE_ALLOW_ANONYMOUS"):
        connect(server)


def test_a_server_of_something_else_is_not_called_open(stub: Stub) -> None:
    server = stub({"/v1/schema/Vector_assets_probe": (404, {"Content-Type": "text/html"}, b"<html>")})
    with pytest.raises(ConfigurationError, match="like a Weaviate"):
        connect(server)
