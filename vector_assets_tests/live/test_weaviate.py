"""What is Weaviate's own: getting in, several writers, what somebody else did there, and servers that are slow, full, or gone."""

from __future__ import annotations

import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import SecretStr
from weaviate import WeaviateClient
from weaviate.classes.config import DataType, Reconfigure
from weaviate.classes.config import Property as WeaviateProperty

from vector_assets.demo.servers.certificates import certificate
from vector_assets.demo.servers.install import Installed
from vector_assets.demo.servers.process import free_ports
from vector_assets.demo.servers.weaviate import RunningWeaviate
from vector_assets.demo.servers.weaviate import weaviate as running
from vector_assets.errors import ConfigurationError, IndexConflict, IndexUnavailable, VectorAssetsError
from vector_assets.indexed.index import CollectionSchema, Property, Query
from vector_assets.indexed.weaviate.index import WeaviateIndex
from vector_assets.indexed.weaviate.server import Endpoint, Server, parse_endpoint
from vector_assets.tables import CollectionSpec, HnswSpec
from vector_assets_tests.indexed.conftest import TidyIndex, ids_named, objects_named
from vector_assets_tests.live.fixtures import Weaviate
from vector_assets_tests.live.proxy import Cut, proxy

EAST = [1, 0, 0, 0]
SECRET = "very secret words"


def server_at(place: RunningWeaviate, **more: Any) -> Server:
    settings: dict[str, Any] = {"api_key": SecretStr(place.api_key) if place.api_key else None, **more}
    return Server(parse_endpoint("WEAVIATE_URL", place.url), parse_endpoint("WEAVIATE_GRPC_URL", place.grpc_url), **settings)


@contextmanager
def opened(server: Server) -> Iterator[WeaviateIndex]:
    index = WeaviateIndex(server)
    try:
        yield index
    finally:
        index.close()


def client_of(index: WeaviateIndex) -> WeaviateClient:
    """Somebody else, who does what we would not."""
    return index._client


def stored_ids(index: WeaviateIndex, name: str) -> set[bytes]:
    return {value for batch in index.stored(name, "c.s.t") for value in batch.column("id").to_pylist()}


def run_all(actions: list[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(actions)) as pool:
        for future in [pool.submit(action) for action in actions]:
            future.result()


# --- getting in ------------------------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_before_it_is_needed() -> None:
    nowhere = Endpoint("127.0.0.1", 1, False)
    WeaviateIndex(Server(nowhere, nowhere, SecretStr("hunter2"))).close()


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (lambda server, _: replace(server, api_key=SecretStr("hunter2")), ConfigurationError, "WEAVIATE_API_KEY"),
        (lambda server, port: replace(server, rest=server.rest._replace(port=port)), IndexUnavailable, "WEAVIATE_URL.*nobody"),
        (lambda server, port: replace(server, grpc=server.grpc._replace(port=port)), IndexUnavailable, "WEAVIATE_GRPC_URL"),
        (lambda server, _: replace(server, grpc=server.rest._replace(host="localhost")), IndexUnavailable, "WEAVIATE_GRPC_URL"),
        (lambda server, _: replace(server, rest=server.grpc, grpc=server.rest), IndexUnavailable, "WEAVIATE_URL"),
        (lambda server, _: replace(server, rest=server.rest._replace(secure=True)), ConfigurationError, "WEAVIATE_URL.*http://"),
        (lambda server, _: replace(server, grpc=server.grpc._replace(secure=True)), ConfigurationError, "WEAVIATE_GRPC_URL.*http://"),
    ],
)
def test_what_is_wrong_is_named(
    server_of_tests: Server, wrong: Callable[[Server, int], Server], kind: type[VectorAssetsError], words: str
) -> None:
    with opened(wrong(server_of_tests, free_ports(1)[0])) as index, pytest.raises(kind, match=words) as caught:
        index.collections()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_tls_and_anonymous_access(servers: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_schema: Any) -> None:
    paper = certificate(tmp_path)
    with running(servers, tmp_path / "server", anonymous=True, tls=paper) as place:
        server = server_at(place, allow_anonymous=True)
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with opened(server) as index, pytest.raises(ConfigurationError, match=r"WEAVIATE_URL.*SSL_CERT_FILE"):
            index.collections()
        monkeypatch.setenv("SSL_CERT_FILE", str(paper.certificate))
        with opened(server) as index:
            schema = make_schema()
            index.ensure(schema)
            assert index.upsert(schema.name, objects_named(["a"], [EAST])) == {}
            assert [hit.key for hit in index.search(schema.name, Query(np.ones(4, np.float32)))] == ["a"]
        for refused, words in (
            (replace(server, allow_anonymous=False, api_key=SecretStr("hunter2")), "WEAVIATE_ALLOW_ANONYMOUS"),
            (replace(server, api_key=SecretStr("hunter2")), "WEAVIATE_API_KEY"),
            (replace(server, rest=server.rest._replace(secure=False)), "WEAVIATE_URL.*https://"),
        ):
            with opened(refused) as index, pytest.raises(ConfigurationError, match=words):
                index.collections()
        plain = replace(server, grpc=server.grpc._replace(secure=False))
        with opened(plain) as index, pytest.raises(IndexUnavailable, match=r"WEAVIATE_GRPC_URL.*https://"):
            index.collections()


# --- a server of our own: classes made up as objects come, quantized unless told otherwise, and a key that may only read ----------------


@pytest.fixture(scope="module")
def loose(servers: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWeaviate]:
    more = {
        "AUTOSCHEMA_ENABLED": "true",
        "DEFAULT_QUANTIZATION": "rq-8",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": "writer-key,reader-key",
        "AUTHENTICATION_APIKEY_USERS": "writer,reader",
        "AUTHORIZATION_ADMINLIST_ENABLED": "true",
        "AUTHORIZATION_ADMINLIST_USERS": "writer",
        "AUTHORIZATION_ADMINLIST_READONLY_USERS": "reader",
    }
    with running(servers, tmp_path_factory.mktemp("loose"), more=more) as place:
        yield place._replace(api_key="writer-key")


@pytest.fixture
def loose_index(loose: RunningWeaviate) -> Iterator[WeaviateIndex]:
    with opened(server_at(loose, patience_seconds=1)) as index:
        yield index


def test_a_key_that_may_not_is_named(loose: RunningWeaviate, loose_index: WeaviateIndex, make_schema: Any) -> None:
    schema, objects = make_schema(), objects_named(["a"], [EAST])
    loose_index.ensure(schema)
    loose_index.upsert(schema.name, objects)
    loose_index.point(f"Alias_{schema.name}", schema.name)
    with opened(server_at(loose._replace(api_key="reader-key"))) as reader:
        assert reader.describe(schema.name) == schema
        assert reader.resolve(f"Alias_{schema.name}") == schema.name
        assert len(reader.search(schema.name, Query(np.ones(4, np.float32)))) == 1
        for act in (
            lambda: reader.ensure(make_schema()),
            lambda: reader.ensure(replace(schema, properties=(Property("more", "int"),))),
            lambda: reader.upsert(schema.name, objects),
            lambda: reader.delete(schema.name, ids_named(objects)),
            lambda: reader.point("Other", schema.name),
        ):
            with pytest.raises(ConfigurationError, match="WEAVIATE_API_KEY"):
                act()
    assert stored_ids(loose_index, schema.name) == set(objects.column("id").to_pylist())


def test_a_removed_collection_is_not_made_up_again(loose_index: WeaviateIndex, make_schema: Any) -> None:
    schema, objects = make_schema(), objects_named([f"n{i}" for i in range(20)], [EAST] * 20)
    loose_index.ensure(schema)
    send = loose_index._writer.send  # as in the middle of an upsert, after it looked
    client_of(loose_index).collections.delete(schema.name)
    with pytest.raises(IndexConflict, match=schema.name):
        send(schema.name, objects)
    assert not client_of(loose_index).collections.exists(schema.name)


def test_nothing_is_quantized_unasked(loose_index: WeaviateIndex, make_schema: Any) -> None:
    schema = make_schema()
    loose_index.ensure(schema)
    loose_index.ensure(schema)  # looks at what the server made of it


# --- several writers -------------------------------------------------------------------------------------------------------------------


def test_ensure_at_once_makes_one_collection_with_all_properties(
    weaviate_index: TidyIndex, server_of_tests: Server, make_schema: Any
) -> None:
    schema: CollectionSchema = make_schema(properties=())
    weaviate_index.made.add(schema.name)
    incarnations: list[str] = []

    def ensure(number: int) -> None:
        wanted = replace(schema, properties=(Property("shared", "int"), Property(f"p{number}", "text")))
        with opened(server_of_tests) as index:
            incarnations.append(index.ensure(wanted))

    run_all([lambda number=number: ensure(number) for number in range(5)])  # type: ignore[misc]
    assert len(incarnations) == 5
    assert len(set(incarnations)) == 1
    described = weaviate_index.describe(schema.name)
    assert described is not None
    assert {prop.name for prop in described.properties} == {"shared", *(f"p{n}" for n in range(5))}


def test_threads_share_an_index(weaviate_index: WeaviateIndex, make_schema: Any) -> None:
    schema = make_schema()
    weaviate_index.ensure(schema)

    def write(writer: int) -> None:
        for step in range(2):
            names = [f"{writer}-{step}-{i}" for i in range(300)]
            objects = objects_named(names, np.random.default_rng((writer, step)).standard_normal((300, 4)))
            assert weaviate_index.upsert(schema.name, objects) == {}
            weaviate_index.delete(schema.name, ids_named(objects)[200:])

    run_all([lambda writer=writer: write(writer) for writer in range(4)])  # type: ignore[misc]
    expected = objects_named([f"{writer}-{step}-{i}" for writer in range(4) for step in range(2) for i in range(200)], [EAST] * 1600)
    assert stored_ids(weaviate_index, schema.name) == set(expected.column("id").to_pylist())


def test_a_handle_meets_a_collection_wiped_and_remade_by_another(
    weaviate_index: WeaviateIndex, server_of_tests: Server, make_schema: Any
) -> None:
    schema = make_schema()
    first = weaviate_index.ensure(schema)
    weaviate_index.upsert(schema.name, objects_named(["a"], [EAST]))
    with opened(server_of_tests) as other:
        other.drop(schema.name)
        assert weaviate_index.incarnation(schema.name) is None
        other.ensure(schema)
        other.upsert(schema.name, objects_named(["b"], [EAST]))
    assert weaviate_index.incarnation(schema.name) not in (None, first)
    assert [hit.key for hit in weaviate_index.search(schema.name, Query(np.ones(4, np.float32)))] == ["b"]


def test_an_alias_is_never_without_a_collection_while_it_moves(
    weaviate_index: WeaviateIndex, server_of_tests: Server, make_schema: Any
) -> None:
    schemas = [make_schema(), make_schema()]
    for schema in schemas:
        weaviate_index.ensure(schema)
    alias = f"Alias{uuid.uuid4().hex[:12]}"
    weaviate_index.point(alias, schemas[0].name)
    done = threading.Event()
    seen: set[str | None] = set()

    def read() -> None:
        with opened(server_of_tests) as reader:
            while not done.is_set():
                seen.add(reader.resolve(alias))

    def move() -> None:
        try:
            for step in range(30):
                weaviate_index.point(alias, schemas[step % 2].name)
        finally:
            done.set()

    run_all([read, move])
    assert seen
    assert seen <= {schema.name for schema in schemas}


# --- collections -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantization", ["none", "rq", "pq", "sq", "bq"])
def test_settings_are_kept_and_compared(weaviate_index: WeaviateIndex, make_schema: Any, quantization: str) -> None:
    knobs = HnswSpec(ef=77, ef_construction=99, max_connections=16)
    schema = make_schema(spec=CollectionSpec(distance="dot", quantization=quantization, hnsw=knobs))
    assert weaviate_index.ensure(schema) == weaviate_index.ensure(schema)
    assert weaviate_index.describe(schema.name) == schema
    for other in (replace(schema, spec=schema.spec.model_copy(update={"hnsw": HnswSpec()})), replace(schema, spec=CollectionSpec())):
        with pytest.raises(IndexConflict, match=schema.name):
            weaviate_index.ensure(other)
    weaviate_index.upsert(schema.name, objects_named(["a", "b"], [EAST, [0, 1, 0, 0]]))
    assert [hit.key for hit in weaviate_index.search(schema.name, Query(np.array(EAST, np.float32)))] == ["a", "b"]


def test_more_replicas_than_nodes(weaviate_index: WeaviateIndex, make_schema: Any) -> None:
    with pytest.raises(IndexConflict, match="nodes"):
        weaviate_index.ensure(make_schema(spec=CollectionSpec(replication=3)))


def test_names_are_just_names(weaviate_index: WeaviateIndex, make_schema: Any) -> None:
    """Weaviate itself would take other spellings, and aliases."""
    schema = make_schema()
    weaviate_index.ensure(schema)
    alias = f"Alias{uuid.uuid4().hex[:12]}"
    weaviate_index.point(alias, schema.name)
    for name in (alias, schema.name[0].lower() + schema.name[1:]):
        assert weaviate_index.describe(name) is None
        assert weaviate_index.incarnation(name) is None
        weaviate_index.drop(name)
        with pytest.raises(IndexConflict):
            weaviate_index.upsert(name, objects_named(["a"], [EAST]))
        with pytest.raises(IndexConflict):
            weaviate_index.ensure(replace(schema, name=name))
    with pytest.raises(IndexConflict, match="similar"):
        weaviate_index.ensure(replace(schema, name=schema.name.upper()))
    assert schema.name in weaviate_index.collections()
    assert alias not in weaviate_index.collections()


def test_collections_of_others_are_left_alone(weaviate_index: TidyIndex, make_schema: Any) -> None:
    schema = make_schema()
    weaviate_index.made.add(schema.name)
    client_of(weaviate_index).collections.create(schema.name)
    assert schema.name not in weaviate_index.collections()
    for act in (
        lambda: weaviate_index.ensure(schema),
        lambda: weaviate_index.describe(schema.name),
        lambda: weaviate_index.incarnation(schema.name),
        lambda: weaviate_index.upsert(schema.name, objects_named(["a"], [EAST])),
        lambda: weaviate_index.delete(schema.name, ids_named(objects_named(["a"], [EAST]))),
        lambda: weaviate_index.point("Other", schema.name),
        lambda: weaviate_index.drop(schema.name),
    ):
        with pytest.raises(IndexConflict, match="not made by vector_assets"):
            act()
    assert client_of(weaviate_index).collections.exists(schema.name)


def test_what_others_add_is_no_harm_until_it_is_wanted(weaviate_index: WeaviateIndex, make_schema: Any) -> None:
    schema = make_schema(properties=())
    weaviate_index.ensure(schema)
    config = client_of(weaviate_index).collections.use(schema.name).config
    config.add_property(WeaviateProperty(name="words", data_type=DataType.TEXT))
    config.add_property(WeaviateProperty(name="many", data_type=DataType.TEXT_ARRAY))
    weaviate_index.ensure(schema)
    assert weaviate_index.upsert(schema.name, objects_named(["a"], [EAST], schema=())) == {}
    for name in ("words", "many"):
        with pytest.raises(IndexConflict, match=name):
            weaviate_index.ensure(replace(schema, properties=(Property(name, "text"),)))


def test_an_index_that_somebody_changed_is_seen(weaviate_index: WeaviateIndex, make_schema: Any) -> None:
    schema = make_schema()
    weaviate_index.ensure(schema)
    quantized = Reconfigure.VectorIndex.hnsw(quantizer=Reconfigure.VectorIndex.Quantizer.bq())
    changed = Reconfigure.Vectors.update(name="default", vector_index_config=quantized)
    client_of(weaviate_index).collections.use(schema.name).config.update(vector_config=changed)
    with pytest.raises(IndexConflict, match=r"quantization is bq, and none"):
        weaviate_index.ensure(schema)


def test_an_alias_whose_collection_somebody_removed_can_be_pointed_again(weaviate_index: WeaviateIndex, make_schema: Any) -> None:
    first, second = make_schema(), make_schema()
    weaviate_index.ensure(first)
    weaviate_index.ensure(second)
    alias = f"Alias{uuid.uuid4().hex[:12]}"
    weaviate_index.point(alias, first.name)
    client_of(weaviate_index).collections.delete(first.name)
    assert weaviate_index.resolve(alias) == first.name
    weaviate_index.point(alias, second.name)
    assert weaviate_index.resolve(alias) == second.name


# --- objects ---------------------------------------------------------------------------------------------------------------------------


def test_a_vector_of_another_length_behind_our_back(weaviate_index: WeaviateIndex, make_schema: Any) -> None:
    schema = make_schema()
    weaviate_index.ensure(schema)
    client_of(weaviate_index).collections.use(schema.name).data.insert(properties={}, vector={"default": [1.0, 2.0, 3.0]})
    with pytest.raises(IndexConflict, match="another length"):
        weaviate_index.upsert(schema.name, objects_named(["a"], [EAST]))


def test_an_object_too_large_for_a_message_is_refused_alone(weaviate_index: WeaviateIndex, make_schema: Any) -> None:
    schema = make_schema()
    weaviate_index.ensure(schema)
    writer = weaviate_index._writer
    tight = replace(writer, connection=replace(writer.connection, message_bytes=100_000))
    objects = objects_named(["a", "big", "c"], [EAST] * 3, texts=["a", SECRET * 10_000, "c"])
    ids = objects.column("id").to_pylist()
    assert tight.send(schema.name, objects) == {ids[1]: "it is too large for Weaviate"}
    assert stored_ids(weaviate_index, schema.name) == {ids[0], ids[2]}


def test_every_object_is_accounted_for_and_none_is_logged(
    weaviate_index: WeaviateIndex, make_schema: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A property whose type somebody changed meanwhile is refused per object; the client would log such objects whole."""
    schema = make_schema(properties=())
    weaviate_index.ensure(schema)
    client_of(weaviate_index).collections.use(schema.name).config.add_property(WeaviateProperty(name="votes", data_type=DataType.INT))
    kind = (Property("votes", "text"),)
    votes = [SECRET if i % 10 == 3 else None for i in range(1200)]
    objects = objects_named([f"n{i}" for i in range(1200)], [EAST] * 1200, schema=kind, properties={"votes": votes})
    with caplog.at_level(logging.DEBUG):
        refused = weaviate_index._writer.send(schema.name, objects)
    ids = objects.column("id").to_pylist()
    assert set(refused) == {ids[i] for i in range(1200) if i % 10 == 3}
    assert stored_ids(weaviate_index, schema.name) == set(ids) - set(refused)
    captured = capfd.readouterr()
    assert all(SECRET not in place for place in (str(refused), caplog.text, captured.out, captured.err))


@pytest.mark.parametrize("consistency", ["ONE", "QUORUM", "ALL"])
def test_consistency_levels(server_of_tests: Server, weaviate_index: TidyIndex, make_schema: Any, consistency: Any) -> None:
    schema, objects = make_schema(), objects_named(["a", "b"], [EAST] * 2)
    weaviate_index.ensure(schema)
    with opened(replace(server_of_tests, consistency=consistency)) as index:
        index.upsert(schema.name, objects)
        index.delete(schema.name, ids_named(objects)[:1])
        assert [hit.key for hit in index.search(schema.name, Query(np.ones(4, np.float32), text="text"))] == ["b"]


# --- faults ----------------------------------------------------------------------------------------------------------------------------


def test_a_read_only_collection_is_unavailable(server_of_tests: Server, weaviate_index: TidyIndex, make_schema: Any) -> None:
    schema, objects = make_schema(), objects_named(["a"], [EAST], texts=[SECRET])
    weaviate_index.ensure(schema)
    weaviate_index.upsert(schema.name, objects)
    config = client_of(weaviate_index).collections.use(schema.name).config
    config.update_shards(status="READONLY")
    with opened(replace(server_of_tests, patience_seconds=0)) as index:
        for act in (lambda: index.upsert(schema.name, objects), lambda: index.delete(schema.name, ids_named(objects))):
            with pytest.raises(IndexUnavailable, match="read-only") as caught:
                act()
            assert SECRET not in str(caught.value)
        assert len(index.search(schema.name, Query(np.ones(4, np.float32)))) == 1
        config.update_shards(status="READY")
        index.delete(schema.name, ids_named(objects))
    assert stored_ids(weaviate_index, schema.name) == set()


def many(count: int) -> pa.Table:
    return objects_named([f"n{i}" for i in range(count)], np.random.default_rng(0).standard_normal((count, 4)), texts=[SECRET] * count)


def test_a_server_that_pauses_and_dies(servers: Installed, tmp_path: Path, make_schema: Any) -> None:
    """What was slow is sent again and all is there; what died is not said to be stored, and the next index goes on."""
    schema, objects = make_schema(), many(3000)
    with running(servers, tmp_path) as place:
        with opened(server_at(place, timeout_seconds=1, patience_seconds=20)) as index:
            incarnation = index.ensure(schema)
            os.kill(place.pid, signal.SIGSTOP)
            threading.Timer(2.5, os.kill, (place.pid, signal.SIGCONT)).start()
            assert index._writer.send(schema.name, objects) == {}  # several requests ran out of time
            assert stored_ids(index, schema.name) == set(objects.column("id").to_pylist())
        with opened(server_at(place, patience_seconds=1)) as index:
            send = index._writer.send
            os.kill(place.pid, signal.SIGKILL)
            with pytest.raises(IndexUnavailable, match="not acknowledged") as caught:
                send(schema.name, objects)
            assert SECRET not in str(caught.value)
            for act in (lambda: index.describe(schema.name), lambda: index.upsert(schema.name, objects), index.collections):
                with pytest.raises(IndexUnavailable):
                    act()
    with running(servers, tmp_path) as place, opened(server_at(place)) as index:
        assert index.incarnation(schema.name) == incarnation
        assert stored_ids(index, schema.name) == set(objects.column("id").to_pylist())  # what was acknowledged, no more and no less


def test_the_first_search_after_an_outage_finds(weaviate: Weaviate, weaviate_index: TidyIndex, make_schema: Any) -> None:
    """gRPC's channel is asleep then, however long the server has been back."""
    schema = make_schema()
    weaviate_index.ensure(schema)
    weaviate_index.upsert(schema.name, objects_named(["a"], [EAST]))
    query = Query(np.ones(4, np.float32))
    with proxy(weaviate.grpc_url, http=False) as grpc:
        server = replace(weaviate_index._server, grpc=parse_endpoint("WEAVIATE_GRPC_URL", grpc.url), patience_seconds=1)
        with opened(server) as index:
            assert len(index.search(schema.name, query)) == 1
            grpc.rule = lambda _: Cut()
            grpc.cut()
            with pytest.raises(IndexUnavailable, match=rf"cannot search collection {schema.name} in {grpc.url}"):
                index.search(schema.name, query)
            grpc.rule = lambda _: None
            assert [hit.key for hit in index.search(schema.name, query)] == ["a"]
            grpc.cut()
            assert stored_ids(index, schema.name)
