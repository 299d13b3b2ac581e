"""Checks of a Weaviate: who gets in, its nodes and clock, and whether collections, objects and aliases can be made, by making some.

What is made has a name that nobody else has, begins with the name of a collection of sources.yaml (a role may allow nothing else), and is
removed whatever happens.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from vector_assets.cli.doctor.checks import SERVER_SECONDS, Check, Checks, Remark, now, skew
from vector_assets.errors import ConfigurationError, IndexConflict, VectorAssetsError
from vector_assets.fingerprint import from_bytes
from vector_assets.indexed.index import OBJECT_COLUMNS, CollectionSchema, Query
from vector_assets.indexed.weaviate.errors import boundary
from vector_assets.indexed.weaviate.index import WeaviateIndex
from vector_assets.indexed.weaviate.server import Connection, Server, connect, server_of
from vector_assets.tables import CollectionSpec, Sources

if TYPE_CHECKING:
    from vector_assets.settings import Settings

MAX_TRIED = 5
_DIMENSION = 8
_ID, _TABLE = uuid.UUID(int=1).bytes, "doctor"
_OBJECT: dict[str, object] = {
    "id": _ID,
    "row_id": bytes(16),
    "ordinal": 0,
    "source_table": _TABLE,
    "source_key": "1",
    "text": "one plain object",
    "fingerprint": bytes(16),
    "generation": "doctor",
}


def checks(settings: Settings, sources: Sources | None) -> Checks[None]:
    """The server, then what can be done in it with the collections of sources.yaml."""
    with ExitStack() as closed_after:
        servers: list[tuple[Server, Connection]] = []

        def look() -> str:
            server = server_of(settings)
            server = replace(server, timeout_seconds=min(server.timeout_seconds, SERVER_SECONDS))
            servers.append((server, closed_after.enter_context(closing(connect(server)))))
            return _greet(*servers[0])

        if not (yield Check("index", look)):
            return
        server, connection = servers[0]
        asked = _asked(sources)
        yield Check("nodes of the index", lambda: _nodes(server, connection, asked))
        yield Check("clock of the index", lambda: _clock(server))
        yield Check("writing to the index", lambda: _try_all(server, connection, asked))


def _asked(sources: Sources | None) -> dict[str, CollectionSpec]:
    """Collections of sources.yaml with their settings; where there are none yet, one of our own."""
    names = {spec.collection for spec in sources.tables} if sources is not None else set()
    return {name: sources.collection(name) if sources else CollectionSpec() for name in sorted(names)} or {"VectorAssets": CollectionSpec()}


def _greet(server: Server, connection: Connection) -> str:
    with closing(WeaviateIndex(server)) as index:
        names = index.collections()
    version = ".".join(map(str, connection.version))
    said = f"Weaviate {version} at {server.rest.url}, gRPC at {server.grpc.url}, {len(names)} collections of ours"
    if server.api_key is None:
        return Remark(f"{said}; it lets anybody in, as WEAVIATE_ALLOW_ANONYMOUS allows")
    return f"{said}; it takes our key" + ("" if server.allow_anonymous else ", and nobody without one")


def _nodes(server: Server, connection: Connection, asked: dict[str, CollectionSpec]) -> str:
    try:
        with boundary("list nodes", server.rest.url):
            nodes = connection.client.cluster.nodes()
    except ConfigurationError:
        return "not for this key to see (read_nodes), which is fine"
    most, collection = max((spec.replication, name) for name, spec in asked.items())
    if most > len(nodes):
        raise ConfigurationError(
            f"collections.{collection}.replication in sources.yaml is {most}, and there are {len(nodes)} nodes: lower it, or add some"
        )
    ill = [f"{node.name} is {node.status}" for node in nodes if node.status != "HEALTHY"]
    said = f"{len(nodes)}, replication {most}"
    return Remark(f"{said}; {', '.join(ill)}") if ill else said


def _clock(server: Server) -> str:
    import httpx

    asked = now()
    with boundary("ask the time", server.rest.url):
        answer = httpx.get(f"{server.rest.url}/v1/.well-known/live", timeout=server.timeout_seconds)
    answered = now()
    if "date" not in answer.headers:
        return "not told"
    theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()  # whole seconds
    return skew(theirs, asked - 1, answered, where=f"the clock of Weaviate at {server.rest.host}")


# --- trying it -------------------------------------------------------------------------------------------------------------------------


def _try_all(server: Server, connection: Connection, asked: dict[str, CollectionSpec]) -> str:
    tried = list(asked)[:MAX_TRIED]
    remarks: list[str] = []
    with closing(WeaviateIndex(server)) as index:
        for name in tried:
            remarks += _try(index, connection, f"{name}_doctor_{secrets.token_hex(6)}", asked[name], server=server)
    said = f"a collection like {', '.join(tried)}, an object, search and an alias were made, tried and removed"
    if len(asked) > len(tried):
        said += f" ({len(asked) - len(tried)} collections of sources.yaml were not tried)"
    return Remark("; ".join([said, *dict.fromkeys(remarks)])) if remarks else said


def _try(index: WeaviateIndex, connection: Connection, name: str, spec: CollectionSpec, *, server: Server) -> list[str]:
    """Make, use and remove one collection; returns what is worth a remark. Raises what the index does."""
    kept = _not_removable(connection, server, name)
    if "delete_collections" in kept:
        return [f"nothing like {name} was made: this key may not delete_collections, and it would have stayed"]
    alias, remarks = f"{name}_alias", []
    schema = CollectionSchema(name=name, dimension=_DIMENSION, spec=spec, properties=(), stamp={"generation": "doctor"})
    with _removed(connection, server, collection=name, alias=alias):
        index.ensure(schema)
        _try_objects(index, name, server)
        if _makes_up_properties(connection, name):
            remarks.append("auto-schema is on there: AUTOSCHEMA_ENABLED=false keeps objects of others from adding properties")
        if "delete_aliases" in kept:
            return [*remarks, "no alias was made: this key may not delete_aliases, and it would have stayed"]
        index.point(alias, name)
        index.point(alias, name)  # once made, once moved: two permissions
        if index.resolve(alias) != name:
            raise IndexConflict(f"an alias that was just made in {server.rest.url} is not there: are there several servers behind it?")
    return remarks


def _try_objects(index: WeaviateIndex, name: str, server: Server) -> None:
    refused = index.upsert(name, _object())
    if refused:
        raise IndexConflict(f"{server.rest.url} does not take a plain object: {next(iter(refused.values()))}")
    found = index.search(name, Query(np.ones(_DIMENSION, np.float32)))
    if len(found) != 1 or [len(batch) for batch in index.stored(name, _TABLE)] != [1]:
        raise IndexConflict(f"{server.rest.url} acknowledged an object and does not find it: look at its logs and at its replicas")
    index.delete(name, from_bytes([_ID]))


def _object() -> pa.Table:
    columns = {field.name: pa.array([_OBJECT[field.name]], field.type) for field in OBJECT_COLUMNS}
    vector = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(_DIMENSION, np.float16)), _DIMENSION)
    return pa.table({**columns, "vector": vector, "properties": pa.array([{}], pa.struct([]))})


def _makes_up_properties(connection: Connection, name: str) -> bool:
    """Whether an object with a property that nobody declared adds it (auto-schema)."""
    from weaviate.exceptions import UnexpectedStatusCodeError

    try:
        connection.client.collections.use(name).data.insert({"undeclared": "x"}, vector=[1.0] * _DIMENSION)
    except UnexpectedStatusCodeError:
        return False
    return True


def _not_removable(connection: Connection, server: Server, name: str) -> set[str]:
    """What the roles of this key, where there are roles, do not let it remove again. (Removing what is not there proves nothing: an alias
    that is not there is 404 for everybody.)"""
    from weaviate.rbac.models import AliasAction, CollectionsAction

    if server.api_key is None:
        return set()  # nobody has no roles, and may not even ask
    with boundary("look at our own roles", server.rest.url):
        roles = connection.client.users.get_my_user().roles.values()
    if not roles:
        return set()
    collections = [each for role in roles for each in role.collections_permissions if fnmatchcase(name, each.collection)]
    aliases = [each for role in roles for each in role.alias_permissions if fnmatchcase(f"{name}_alias", each.alias)]
    aliases = [each for each in aliases if fnmatchcase(name, each.collection)]
    kept = set()
    if not any({CollectionsAction.DELETE, CollectionsAction.MANAGE} & each.actions for each in collections):
        kept.add("delete_collections")
    if not any(AliasAction.DELETE in each.actions for each in aliases):
        kept.add("delete_aliases")
    return kept


@contextmanager
def _removed(connection: Connection, server: Server, *, collection: str, alias: str) -> Iterator[None]:
    """Neither the collection nor the alias stays, whatever happens meanwhile; what cannot be removed is named in the error."""
    failed: VectorAssetsError | None = None
    try:
        yield
    except VectorAssetsError as error:
        failed = error
    finally:
        left = [name for name, remove in _removals(connection, collection, alias) if not _is_removed(remove, server)]
    if left:
        why = f"; before that: {failed}" if failed else ""
        raise IndexConflict(f"{' and '.join(left)} stay in {server.rest.url}, remove them by hand: they could not be removed again{why}")
    if failed is not None:
        raise failed


def _removals(connection: Connection, collection: str, alias: str) -> list[tuple[str, Callable[[], object]]]:
    client = connection.client
    return [
        (f"alias {alias}", lambda: client.alias.delete(alias_name=alias)),  # first: Weaviate would leave it pointing to nothing
        (f"collection {collection}", lambda: client.collections.delete(collection)),
    ]


def _is_removed(remove: Callable[[], object], server: Server) -> bool:
    try:
        with boundary("remove what doctor made", server.rest.url):
            remove()
    except VectorAssetsError:
        return False
    return True
