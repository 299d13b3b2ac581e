"""`make demo LIVE=1`: the same tour from a real Trino (Iceberg and PostgreSQL) into a real Weaviate, started for it on free ports.

Below `home` stay the Iceberg tables, Weaviate's data and all that is ours, so that another run goes on from there. PostgreSQL runs as a
user of its own where we are root, and that one may not look into `home`: its notes, which the tour never edits, are made anew, the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from vector_assets import initial
from vector_assets.demo.guide import Scene, near
from vector_assets.demo.servers.lakehouse import USER
from vector_assets.demo.servers.process import serving
from vector_assets.demo.trino_lakehouse import TrinoLakehouse
from vector_assets.errors import ConfigurationError, StorageError

SOURCES = Path(str(files("vector_assets.demo").joinpath("live.yaml")))
_OTHER_ACCESS = ("WEAVIATE_API_KEY_FILE", "WEAVIATE_ALLOW_ANONYMOUS")


@contextmanager
def live(home: Path) -> Iterator[Scene]:
    """Servers for the length of a `with`. This process's environment names them, and so does a file for other terminals.

    Raises ConfigurationError where they are not installed or run already, SourceUnavailable where one does not start, StorageError.
    """
    initial.make_home(home)
    with _alone(home), tempfile.TemporaryDirectory(prefix="vector-assets-live-") as folder:
        into, log = Path(folder) / "servers.json", Path(folder) / "servers.log"
        hold = [sys.executable, "-m", "vector_assets.demo.servers", "hold", "lakehouse", "weaviate"]
        hold += ["--owner", str(os.getpid()), "--into", str(into), "--keep", str(home.absolute() / "servers")]
        with serving(hold, log=log, ready=into.exists, servers=4):
            where = json.loads(into.read_text())
            variables = _variables(home, where)
            for name in _OTHER_ACCESS:
                os.environ.pop(name, None)
            os.environ.update(variables)
            with _exported(home / "live.env", variables) as file:
                yield Scene(TrinoLakehouse(where["trino"]["url"], user=USER), [f"source {near(file)}"], [])


def wait_for_enter() -> None:
    """Leave the servers up for as long as a person at a terminal wants them."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        with contextlib.suppress(KeyboardInterrupt, EOFError):
            input("\nTrino and Weaviate stay up for another terminal; press Enter here to end them. ")


def _variables(home: Path, where: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        "VECTOR_ASSETS_HOME": str(home.absolute()),
        "VECTOR_ASSETS_SOURCES": str(SOURCES),
        "DEMO_TRINO_PORT": str(urlsplit(where["trino"]["url"]).port),
        "WEAVIATE_URL": where["weaviate"]["url"],
        "WEAVIATE_GRPC_URL": where["weaviate"]["grpc_url"],
        "WEAVIATE_API_KEY": where["weaviate"]["api_key"],
    }


@contextmanager
def _exported(path: Path, variables: Mapping[str, str]) -> Iterator[Path]:
    """A file to `source`, for its owner alone, while the servers run."""
    lines = [f"unset {' '.join(_OTHER_ACCESS)}", *(f"export {name}={shlex.quote(value)}" for name, value in variables.items())]
    try:
        path.unlink(missing_ok=True)  # an older one would keep its mode
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n")
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror}): free some space") from error
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Two servers on the same data would spoil it. Raises ConfigurationError where another demo runs."""
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"the live demo runs already on {home}: end it, or set VECTOR_ASSETS_HOME to another place") from None
        yield
