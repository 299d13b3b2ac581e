"""Real servers for tests: those that the environment names, else ones of our own on free ports, else a skip that says why.

Servers of our own are started once per test run, by the first worker that needs them, and shared by all. They end with the run, however it
ends: each is held by a process that watches pytest's. `REQUIRE_LIVE=1` turns a skip into a failure; `.ci/run` sets it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from vector_assets.demo.servers.install import Installed, installed
from vector_assets.errors import ConfigurationError
from vector_assets.settings import Settings

FOLDER, OWNER = "LIVE_SERVERS_FOLDER", "LIVE_SERVERS_OWNER"
REQUIRE = "REQUIRE_LIVE"
CACHE = Settings().servers.expanduser()  # read now: what the environment says is gone by the time a test runs
START_SECONDS = 240
STOP_SECONDS = 60


class Trino(NamedTuple):
    """A Trino to test with, with catalogs iceberg, delta, memory, tpch and postgres. `url`: plain HTTP, any user name; `tls_url`: HTTPS,
    with user and password in it, trusted through the file `ca`; `jwt_key`: an RSA private key that signs tokens it accepts (RS256)."""

    url: str
    tls_url: str
    ca: Path
    jwt_key: Path


class Weaviate(NamedTuple):
    """A Weaviate to test with: REST, gRPC, and a key that may do everything."""

    url: str
    grpc_url: str
    api_key: str


class S3(NamedTuple):
    """An S3 server to test with. A bucket is a folder in `folder`."""

    url: str
    access_key: str
    secret_key: str
    region: str
    folder: Path


@pytest.fixture(scope="session")
def servers() -> Installed:
    """Servers to start by oneself, for tests that wipe or kill them."""
    try:
        return installed(CACHE)
    except ConfigurationError as error:
        _unavailable(str(error))


@pytest.fixture(scope="session")
def trino() -> Trino:
    if "LIVE_TRINO_URL" in os.environ:
        names = {name: os.environ[f"LIVE_TRINO_{name.upper()}"] for name in Trino._fields}
        return Trino(names["url"], names["tls_url"], Path(names["ca"]), Path(names["jwt_key"]))
    there = _held("lakehouse")["trino"]
    return Trino(there["url"], there["tls_url"], Path(there["ca"]), Path(there["token_key"]))


@pytest.fixture(scope="session")
def weaviate() -> Weaviate:
    if "LIVE_WEAVIATE_URL" in os.environ:
        return Weaviate(*(os.environ[f"LIVE_WEAVIATE_{name.upper()}"] for name in Weaviate._fields))
    there = _held("weaviate")["weaviate"]
    return Weaviate(there["url"], there["grpc_url"], there["api_key"])


@pytest.fixture(scope="session")
def s3() -> S3:
    there = _held("lakehouse")["s3"]
    return S3(**{**there, "folder": Path(there["folder"])})  # type: ignore[arg-type]


# --- one of each per test run ----------------------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # workers of xdist inherit it
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="vector-assets-tests-")
        os.environ[OWNER] = str(os.getpid())


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        folder = Path(os.environ.pop(FOLDER))
        for path in folder.glob("*.pid"):
            _end(int(path.read_text()))
        shutil.rmtree(folder)


def _held(server: str) -> Mapping[str, Mapping[str, str]]:
    """Where a server of this test run is; starts it where nobody did yet."""
    folder = Path(os.environ[FOLDER])
    where, failure = folder / f"{server}.json", folder / f"{server}.failed"
    with _locked(folder / f"{server}.lock"):
        if not where.exists() and not failure.exists():
            _start(server, folder, where, failure)
    if failure.exists():
        _unavailable(failure.read_text())
    found: Mapping[str, Mapping[str, str]] = json.loads(where.read_text())
    return found


def _start(server: str, folder: Path, where: Path, failure: Path) -> None:
    log = folder / f"{server}.log"
    command = [sys.executable, "-m", "vector_assets.demo.servers", "hold", server, "--owner", os.environ[OWNER], "--into", str(where)]
    environment = {**os.environ, "VECTOR_ASSETS_SERVERS": str(CACHE)}
    with log.open("wb") as output:
        child = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    (folder / f"{server}.pid").write_text(str(child.pid))
    deadline = time.monotonic() + START_SECONDS
    while not where.exists():
        if child.poll() is not None or time.monotonic() > deadline:
            failure.write_text(f"{server} does not start: {log.read_text(errors='replace').strip()}")
            return
        time.sleep(0.1)
    child.returncode = 0  # it outlives this worker on purpose; without a code, its object complains when it is collected


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _end(pid: int) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):  # a child of a worker is not ours
                os.waitpid(pid, os.WNOHANG)
            os.kill(pid, 0)
            time.sleep(0.1)


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get(REQUIRE, "0") not in ("", "0"):
        pytest.fail(f"{REQUIRE} is set, and {reason}", pytrace=False)
    pytest.skip(reason)
