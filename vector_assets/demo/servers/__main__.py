"""`python -m vector_assets.demo.servers install`, which is what `make servers` runs, and `hold`, which tests and the demo run."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from vector_assets.demo.servers import lakehouse
from vector_assets.demo.servers.install import Installed, install, installed
from vector_assets.demo.servers.process import wait_for_end
from vector_assets.demo.servers.weaviate import weaviate
from vector_assets.errors import VectorAssetsError
from vector_assets.settings import load_settings


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m vector_assets.demo.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="fetch the servers that are not there yet")
    hold = commands.add_parser("hold", help="run some until their owner is gone")
    hold.add_argument("servers", nargs="+", choices=["lakehouse", "weaviate"])
    hold.add_argument("--owner", type=int, required=True, help="id of the process that it is for")
    hold.add_argument("--into", type=Path, required=True, help="file that will say where it is, once it answers")
    hold.add_argument("--keep", type=Path, help="folder for the data of Iceberg and Weaviate; default: gone with the servers")
    arguments = parser.parse_args()
    cache = load_settings().servers.expanduser()
    try:
        if arguments.command == "install":
            there = install(cache, say=lambda line: print(line, flush=True))
            print(f"servers are in {cache}, PostgreSQL in {there.postgres}")
        else:
            _hold(installed(cache), arguments.servers, arguments.owner, into=arguments.into, keep=arguments.keep)
    except VectorAssetsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _hold(there: Installed, servers: Sequence[str], owner: int, *, into: Path, keep: Path | None) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # while some still start, those that did must end
    # Not below the owner's folder: PostgreSQL runs as a user of its own, who must be able to reach it.
    folder = Path(tempfile.mkdtemp(prefix="vector-assets-servers-"))
    folder.chmod(0o755)
    where: dict[str, Mapping[str, object]] = {}
    try:
        with ExitStack() as stack:
            if "lakehouse" in servers:
                spool = stack.enter_context(lakehouse.s3(there, folder / "s3"))
                database = stack.enter_context(lakehouse.postgres(there, folder / "postgres"))
                tables = keep / "tables" if keep else None
                trino = stack.enter_context(lakehouse.trino(there, folder / "trino", tables=tables, spool=spool, database=database))
                where |= {"s3": spool._asdict(), "postgres": database._asdict(), "trino": trino._asdict()}
            if "weaviate" in servers:
                where["weaviate"] = stack.enter_context(weaviate(there, (keep or folder) / "weaviate"))._asdict()
            unfinished = into.with_suffix(".part")
            unfinished.touch(mode=0o600)  # it holds passwords
            unfinished.write_text(json.dumps(where, default=str))
            unfinished.replace(into)
            wait_for_end(owner)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
