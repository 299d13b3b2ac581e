"""`doctor` on a real Trino and a real Weaviate: what it says where all is well, and of whatever a person may get wrong."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from weaviate.classes.rbac import Permissions
from weaviate.rbac.models import PermissionsCreateType

from vector_assets.demo.servers.install import Installed
from vector_assets.demo.servers.lakehouse import READER
from vector_assets.demo.servers.process import free_ports
from vector_assets.demo.servers.weaviate import weaviate as running
from vector_assets_tests.cli.conftest import Answer, Project
from vector_assets_tests.clients import run_in_trino, weaviate_client
from vector_assets_tests.live.fixtures import Trino, Weaviate

OWNER = "alice"


class Said(NamedTuple):
    """What doctor printed: lines by check, and all of it."""

    status: int
    lines: Mapping[str, str]
    text: str

    @property
    def failed(self) -> set[str]:
        return {name for name, line in self.lines.items() if line.startswith("✗")}

    @property
    def remarked(self) -> set[str]:
        return {name for name, line in self.lines.items() if line.startswith("!")}


class Place:
    """A project, with a schema's name of our own in Trino, a collection's name of our own in Weaviate, and a DuckDB file."""

    def __init__(self, project: Project, trino: Trino, weaviate: Weaviate, patch: pytest.MonkeyPatch) -> None:
        self.project, self.trino, self._patch = project, trino, patch
        self.name = f"doctor_{uuid.uuid4().hex[:10]}"
        self.collection = f"Tickets_{self.name}"
        self.use(weaviate)

    def run(self, *statements: str) -> None:
        for statement in statements:
            run_in_trino(self.trino.url, statement, user=OWNER)

    def use(self, weaviate: Weaviate, **variables: str) -> None:
        """Point the environment to a Weaviate; `variables` by the rest of their names, empty ones unset."""
        named = {"URL": weaviate.url, "GRPC_URL": weaviate.grpc_url, "API_KEY": weaviate.api_key} | variables
        for name, value in named.items():
            if value:
                self._patch.setenv(f"WEAVIATE_{name}", value)
            else:
                self._patch.delenv(f"WEAVIATE_{name}", raising=False)

    def write(
        self,
        *,
        lake: Mapping[str, object] | None = None,
        table: Mapping[str, object] | None = None,
        collection: Mapping[str, object] | None = None,
        catalogs: Sequence[str] = ("iceberg", "postgres"),
    ) -> None:
        """sources.yaml: the plain one, but for some settings of the catalog, the table and the collection; None leaves one out."""
        place = urlsplit(self.trino.url)
        plain = {"engine": "trino", "host": place.hostname, "port": place.port, "user": READER}
        entry = {"key": ["id"], "text": "{body}", "properties": {"id": "keep"}, "collection": self.collection}
        tickets = {**entry, "table": f"lake.{self.name}.tickets", **(table or {})}
        changed = {name: value for name, value in {**plain, "catalog": "iceberg", **(lake or {})}.items() if value is not None}
        sources = {
            "catalogs": {"lake": changed, **({"shop": {**plain, "catalog": "postgres"}} if "postgres" in catalogs else {})},
            "tables": [tickets, *([{**entry, "table": f"shop.{self.name}.*"}] if "postgres" in catalogs else [])],
            "collections": {self.collection: collection or {}},
        }
        self.project.sources.write_text(json.dumps(sources))

    def write_embedded(self, collection: Mapping[str, object] | None = None) -> None:
        """sources.yaml without a Trino."""
        self.project.sql("CREATE SCHEMA s", "CREATE TABLE s.tickets AS SELECT 1 AS id, 'a body' AS body")
        entry = {"table": "lake.s.tickets", "key": ["id"], "text": "{body}", "properties": {"id": "keep"}, "collection": self.collection}
        sources = {"catalogs": {"lake": {"engine": "duckdb", "path": "lake.duckdb"}}, "tables": [entry]}
        self.project.sources.write_text(json.dumps({**sources, "collections": {self.collection: collection or {}}}))

    def doctor(self) -> Said:
        answer: Answer = self.project.run("doctor")
        assert "Traceback" not in answer.stdout + answer.stderr
        lines = {line[2:].partition(": ")[0]: line for line in answer.stdout.splitlines()}
        return Said(answer.status, lines, answer.stdout + answer.stderr)


@pytest.fixture
def bare(trino: Trino, weaviate: Weaviate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VECTOR_ASSETS_HOME", str(tmp_path / "home"))
    return Place(Project(tmp_path), trino, weaviate, monkeypatch)


@pytest.fixture
def place(bare: Place) -> Iterator[Place]:
    """With tickets in Iceberg and notes in PostgreSQL, both in sources.yaml."""
    tables = [f"iceberg.{bare.name}.tickets", f"postgres.{bare.name}.notes"]
    bare.run(*(f"CREATE SCHEMA {table.rpartition('.')[0]}" for table in tables))
    bare.run(*(f"CREATE TABLE {table} AS SELECT BIGINT '1' AS id, 'a body' AS body" for table in tables))
    bare.write()
    yield bare
    bare.run(*(f"DROP TABLE {table}" for table in tables), *(f"DROP SCHEMA {table.rpartition('.')[0]}" for table in tables))


def left_in(weaviate: Weaviate, prefix: str) -> list[str]:
    """Collections and aliases that begin so."""
    with weaviate_client(*weaviate) as client:
        return [name for name in (*client.collections.list_all(), *client.alias.list_all()) if name.startswith(prefix)]


# --- all is well -----------------------------------------------------------------------------------------------------------------------


def test_all_is_well_for_a_user_who_may_only_read(place: Place, weaviate: Weaviate) -> None:
    said = place.doctor()
    assert said.status == 0, said.text
    assert f"Trino 476 at {urlsplit(place.trino.url).netloc} knows us as 'reader' without TLS" in said.lines["catalog lake"]
    assert "'iceberg' is iceberg, 1 of its tables in sources.yaml" in said.lines["catalog lake"]
    assert "agrees with ours" in said.lines["clock of lake"]
    assert "2 tables, each with the columns" in said.lines["tables"]
    assert "exact for 1 of 1 tables" in said.lines["versions in lake"]
    assert f"exact for 0 of 1 tables; of {place.name}.notes every sync scans the digests" in said.lines["versions in shop"]
    assert said.lines["privileges in lake"] == "✓ privileges in lake: nothing that was tried may be written"
    assert weaviate.url in said.lines["index"]
    assert "it takes our key, and nobody without one" in said.lines["index"]
    assert said.lines["nodes of the index"].endswith(": 1, replication 1")
    assert "agrees with ours" in said.lines["clock of the index"]
    assert said.lines["writing to the index"].startswith(f"✓ writing to the index: a collection like {place.collection}, an object")
    assert said.failed | said.remarked == set()
    assert left_in(weaviate, place.collection) == []


def test_tls_a_password_and_spooling(place: Place) -> None:
    tls = urlsplit(place.trino.tls_url)
    password = unquote(tls.password or "")
    (place.project.folder / "password").write_text(password + "\n")
    lake = {"host": tls.hostname, "port": tls.port, "user": tls.username, "ca": str(place.trino.ca), "password_file": "password"}
    place.write(lake=lake)
    said = place.doctor()
    assert said.status == 0, said.text
    assert f"knows us as {tls.username!r} over TLS with a password" in said.lines["catalog lake"]
    assert said.lines["spooling of lake"].endswith("offered, and a segment came through")
    place.write(lake={**lake, "spooling": False})
    assert "not asked for (catalogs.lake.spooling" in place.doctor().lines["spooling of lake"]
    assert password not in said.text


def test_what_one_may_do_beyond_reading_is_remarked_upon(place: Place) -> None:
    place.write(lake={"user": OWNER})
    said = place.doctor()
    assert said.status == 0
    assert said.remarked == {"privileges in lake"}
    assert f"'{OWNER}' may change lake.{place.name}.tickets: SELECT is all that is needed" in said.lines["privileges in lake"]


def test_versions_that_one_may_not_read_are_remarked_upon(place: Place) -> None:
    place.write(lake={"user": "plain"}, catalogs=["iceberg"])
    said = place.doctor()
    if "exact for 1 of 1" in said.lines["versions in lake"]:
        pytest.skip("the Trino that LIVE_TRINO_URL names has no user `plain` who may not read $refs")
    assert said.status == 0
    assert said.remarked == {"versions in lake"}
    assert "User 'plain' may not read \"tickets$refs\"" in said.lines["versions in lake"]
    assert f"of {place.name}.tickets every sync scans the digests" in said.lines["versions in lake"]


# --- something is wrong ------------------------------------------------------------------------------------------------------------------


def _closed() -> int:
    (port,) = free_ports(1)
    return port


def test_one_server_that_is_away_hides_nothing_of_the_other(place: Place, weaviate: Weaviate) -> None:
    place.write(lake={"port": _closed(), "timeout_seconds": 1})
    said = place.doctor()
    assert (said.status, said.failed) == (1, {"catalog lake"})
    assert "host and port of catalogs.lake in sources.yaml" in said.lines["catalog lake"]
    assert said.lines["tables"].startswith("✓ tables: 1 table"), "those of the catalog that answers"
    assert said.lines["writing to the index"].startswith("✓")

    place.write()
    place.use(weaviate, URL=f"http://127.0.0.1:{_closed()}")
    started = time.monotonic()
    said = place.doctor()
    assert (said.status, said.failed) == (1, {"index"})
    assert "WEAVIATE_URL: nobody answers at" in said.lines["index"]
    assert said.lines["tables"].startswith("✓ tables: 2 tables")
    assert "writing to the index" not in said.lines
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("lake", "said"),
    [
        ({"host": "no-such-host.invalid"}, "there is no host 'no-such-host.invalid': check catalogs.lake.host"),
        ({"catalog": "icebreg"}, "has no catalog 'icebreg' for user 'reader' (it has: "),
        ({"roles": {"system": "no_such_role"}}, "Cannot set role no_such_role; check catalogs.lake.roles"),
        ({"session": {"iceberg.no_such": "hunter2"}}, "'iceberg.no_such' does not exist"),
        ({"session": {"query_max_run_time": "hunter2"}}, "check catalogs.lake.session"),
        ({"tls": True}, "does not speak TLS on that port: check catalogs.lake.port"),
        ({"ca": "nothing.pem"}, "there is no file nothing.pem: check catalogs.lake.ca"),
        ({"password_file": "nothing"}, "nothing cannot be read (FileNotFoundError): check catalogs.lake.password_file"),
        ({"password_file": "empty"}, "empty is empty: check catalogs.lake.password_file"),
        ({"password_file": "two"}, "two holds more than one line: check catalogs.lake.password_file"),
        ({"jwt_file": "empty"}, "empty is empty: check catalogs.lake.jwt_file"),
        ({"password": ""}, "catalogs.lake.password in sources.yaml is empty"),
    ],
)
def test_a_setting_of_the_catalog_is_named(bare: Place, lake: Mapping[str, object], said: str) -> None:
    (bare.project.folder / "empty").write_text("\n")
    (bare.project.folder / "two").write_text("hunter2\nhunter2\n")
    bare.write(lake=lake, catalogs=["iceberg"])
    found = bare.doctor()
    assert (found.status, found.failed) == (1, {"catalog lake"})
    assert said in found.lines["catalog lake"]
    assert "hunter2" not in found.text


@pytest.mark.parametrize(
    ("lake", "said"),
    [
        ({}, "it wants to know who it is, set password, password_file, jwt or jwt_file of catalogs.lake"),
        ({"password": "hunter2"}, "does not let user 'alice' in: the password is wrong for that user, check catalogs.lake.password"),
        ({"jwt": "hunter2"}, "the token is not valid for that user or has expired, check catalogs.lake.jwt"),
        ({"password": "hunter2", "ca": None}, "signed by nobody this machine knows: name the file that signs it, catalogs.lake.ca"),
        ({"password": "hunter2", "ca": "two"}, "two holds no certificate: check catalogs.lake.ca"),
        ({"tls": False, "ca": None}, "speaks TLS on that port: catalogs.lake.tls in sources.yaml must be true"),
    ],
)
def test_a_setting_of_tls_is_named(bare: Place, lake: Mapping[str, object], said: str) -> None:
    tls = urlsplit(bare.trino.tls_url)
    (bare.project.folder / "two").write_text("hunter2\nhunter2\n")
    bare.write(lake={"host": tls.hostname, "port": tls.port, "user": tls.username, "ca": str(bare.trino.ca), **lake}, catalogs=["iceberg"])
    found = bare.doctor()
    assert (found.status, found.failed) == (1, {"catalog lake"})
    assert said in found.lines["catalog lake"]
    assert "hunter2" not in found.text


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"table": "lake.{schema}.tikets"}, "there is no table that user 'reader' may see in Trino"),
        ({"table": "lake.{schema}x.tickets"}, ".tickets'"),
        ({"text": "{bdy}"}, "there is no column in lake.{schema}.tickets called 'bdy'; there is: 'body', 'id'"),
        ({"key": ["ident"], "properties": {"ident": "keep"}}, "called 'ident'; there is: 'body', 'id'"),
    ],
)
def test_a_name_that_is_not_there_is_named(place: Place, table: Mapping[str, object], said: str) -> None:
    named = {name: value.replace("{schema}", place.name) if isinstance(value, str) else value for name, value in table.items()}
    place.write(table=named, catalogs=["iceberg"])
    found = place.doctor()
    wanted = str(named.get("table", f"lake.{place.name}.tickets"))
    assert (found.status, found.failed) == (1, {"tables", f"table {wanted}"})
    assert "1 of 1 cannot be read" in found.lines["tables"]
    assert said.replace("{schema}", place.name) in found.lines[f"table {wanted}"]


def test_a_table_that_one_may_not_read_is_named(place: Place) -> None:
    place.write(lake={"user": "nobody"}, catalogs=["iceberg"])
    found = place.doctor()
    if found.status == 0:
        pytest.skip("the Trino that LIVE_TRINO_URL names has no user `nobody` who may read nothing")
    assert found.failed == {"tables", f"table lake.{place.name}.tickets"}
    assert "no table that user 'nobody' may see" in found.lines[f"table lake.{place.name}.tickets"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"API_KEY": "hunter2"}, "WEAVIATE_API_KEY: {url} does not take this key"),
        ({"API_KEY": ""}, "WEAVIATE_API_KEY is not set (or WEAVIATE_API_KEY_FILE)"),
        ({"API_KEY": "", "API_KEY_FILE": "nothing"}, "WEAVIATE_API_KEY_FILE: nothing cannot be read"),
        ({"API_KEY": "", "API_KEY_FILE": "empty"}, "WEAVIATE_API_KEY_FILE: empty is empty"),
        ({"API_KEY": "", "API_KEY_FILE": "two"}, "WEAVIATE_API_KEY_FILE: two holds what no HTTP header takes"),
        ({"API_KEY_FILE": "two"}, "WEAVIATE_API_KEY and WEAVIATE_API_KEY_FILE are both set"),
        ({"URL": "127.0.0.1:8080"}, "WEAVIATE_URL is not a URL: write http://host:port or https://host:port"),
        ({"URL": "{tls}"}, "does not speak TLS as asked: write http://"),
        ({"URL": "{trino}", "GRPC_URL": "http://127.0.0.1:1"}, "does not answer like a Weaviate"),
        ({"GRPC_URL": "{trino}"}, "WEAVIATE_GRPC_URL: no gRPC at {trino}"),
    ],
)
def test_a_setting_of_weaviate_is_named(bare: Place, weaviate: Weaviate, variables: Mapping[str, str], said: str) -> None:
    (bare.project.folder / "empty").write_text("\n")
    (bare.project.folder / "two").write_text("hunter2\nhunter2\n")
    known = {"{url}": weaviate.url, "{tls}": weaviate.url.replace("http:", "https:"), "{trino}": bare.trino.url}
    bare.write_embedded()
    bare.use(weaviate, **{name: known.get(value, value) for name, value in variables.items()})
    found = bare.doctor()
    assert (found.status, found.failed) == (1, {"index"})
    for name, value in known.items():
        said = said.replace(name, value)
    assert said in found.lines["index"]
    assert "hunter2" not in found.text


def test_more_copies_than_nodes(bare: Place, weaviate: Weaviate) -> None:
    bare.write_embedded({"replication": 3})
    found = bare.doctor()
    assert found.failed == {"nodes of the index", "writing to the index"}
    assert f"collections.{bare.collection}.replication in sources.yaml is 3" in found.lines["nodes of the index"]
    assert left_in(weaviate, bare.collection) == []


# --- a Weaviate with roles, and with auto-schema on --------------------------------------------------------------------------------------


class Roles(NamedTuple):
    """A server, and the two keys that it knows: `root` may do everything, `ours` what its role says."""

    root: Weaviate
    ours: Weaviate


LEAST = {f"{act}_{what}" for act in ("create", "read", "update", "delete") for what in ("collections", "data", "aliases")}


def _permissions(names: set[str], prefix: str) -> list[PermissionsCreateType]:
    def acts(what: str) -> set[str]:
        return {name.removesuffix(f"_{what}") for name in names if name.endswith(f"_{what}")}

    collections, data, aliases = acts("collections"), acts("data"), acts("aliases")
    return [
        Permissions.collections(
            collection=f"{prefix}*",
            create_collection="create" in collections,
            read_config="read" in collections,
            update_config="update" in collections,
            delete_collection="delete" in collections,
        ),
        Permissions.data(collection=f"{prefix}*", **dict.fromkeys(data, True)),
        Permissions.alias(alias=f"{prefix}*", collection=f"{prefix}*", **dict.fromkeys(aliases, True)),
        *([Permissions.Nodes.minimal(read=True)] if "read_nodes" in names else []),
    ]


@pytest.fixture(scope="module")
def roles(servers: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    root, ours = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    more = {
        "AUTOSCHEMA_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": f"{root},{ours}",
        "AUTHENTICATION_APIKEY_USERS": "root,ours",
        "AUTHORIZATION_RBAC_ENABLED": "true",
        "AUTHORIZATION_RBAC_ROOT_USERS": "root",
    }
    with running(servers, tmp_path_factory.mktemp("roles"), more=more) as there:
        yield Roles(*(Weaviate(there.url, there.grpc_url, key) for key in (root, ours)))


@contextmanager
def role(roles: Roles, names: set[str], prefix: str) -> Iterator[None]:
    """The role of our key, for the length of a `with`."""
    with weaviate_client(*roles.root) as client:
        client.roles.create(role_name=prefix, permissions=_permissions(names, prefix))
        client.users.db.assign_roles(user_id="ours", role_names=prefix)
        try:
            yield
        finally:
            client.roles.delete(prefix)


@pytest.mark.parametrize("missing", [None, *sorted(LEAST)])
def test_a_permission_that_is_missing_is_named(bare: Place, roles: Roles, missing: str | None) -> None:
    bare.write_embedded()
    bare.use(roles.ours)
    with role(roles, LEAST - {missing}, bare.collection):
        found = bare.doctor()
    line = found.lines["writing to the index"]
    assert left_in(roles.root, bare.collection) == []
    assert found.lines["nodes of the index"].endswith("not for this key to see (read_nodes), which is fine")
    if missing is None:
        assert found.status == 0, found.text
        assert "auto-schema is on there" in line
    elif missing in ("delete_collections", "delete_aliases"):
        assert found.status == 0, found.text
        assert f"this key may not {missing}, and it would have stayed" in line
    elif missing == "update_collections":
        assert found.status == 0, "the trial adds no property"
        assert "auto-schema" not in line
    else:
        assert found.failed == {"writing to the index"}
        assert f"this key may not {missing}, see README" in line


def test_a_server_that_lets_anybody_in(bare: Place, servers: Installed, tmp_path: Path) -> None:
    with running(servers, tmp_path / "server", anonymous=True) as there:
        bare.write_embedded()
        open_to_all = Weaviate(there.url, there.grpc_url, "")
        bare.use(open_to_all, API_KEY="hunter2")
        found = bare.doctor()
        assert found.failed == {"index"}
        assert "lets anybody in without a key" in found.lines["index"]
        bare.use(open_to_all, ALLOW_ANONYMOUS="1")
        found = bare.doctor()
        assert found.status == 0, found.text
        assert found.remarked == {"index"}
        assert left_in(open_to_all, "") == []
