"""`python -m vector_assets.demo`, which is what `make demo` runs; with `--live`, `make demo LIVE=1`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from vector_assets.cli.console import complain, note, quiet_libraries, stdout
from vector_assets.errors import VectorAssetsError

if TYPE_CHECKING:
    from vector_assets.demo.guide import Scene
    from vector_assets.settings import Settings


def main() -> int:
    """Run the guided demo; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vector_assets.demo", description="The guided tour.")
    parser.add_argument("--live", action="store_true", help="from a real Trino into a real Weaviate (make servers installs them)")
    parser.add_argument("--tickets", type=int, default=2000, help="how many the sample gets when it is made")
    arguments = parser.parse_args()
    quiet_libraries(debug=False)
    try:
        failed = _live(arguments.tickets) if arguments.live else _embedded(arguments.tickets)
    except VectorAssetsError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        note("stopped; run it again to go on from here")
        return 130
    for reason in failed:
        complain(reason)
    return 1 if failed else 0


def _embedded(tickets: int) -> list[str]:
    from vector_assets.demo import guide
    from vector_assets.settings import load_settings

    os.environ["VECTOR_ASSETS_SOURCES"] = str(guide.SOURCES)  # whatever loads settings in this process means the demo's tables
    elsewhere = os.environ.pop("WEAVIATE_URL", None)  # this demo needs no server, and writes to nobody's
    settings = load_settings()
    scene = guide.embedded(settings)
    if elsewhere:
        scene.before.append("unset WEAVIATE_URL   # this index is a folder")
    return _tour(settings, scene, tickets)


def _live(tickets: int) -> list[str]:
    from vector_assets.demo.live import live, wait_for_enter
    from vector_assets.settings import load_settings

    note("Trino, PostgreSQL and Weaviate start; this takes half a minute")
    with live(load_settings().home / "live") as scene:
        failed = _tour(load_settings(), scene, tickets)
        if not failed:
            wait_for_enter()
    return failed


def _tour(settings: Settings, scene: Scene, tickets: int) -> list[str]:
    from vector_assets.demo import guide
    from vector_assets.pipeline import Pipeline

    pipeline = Pipeline(settings)
    try:
        return guide.run(pipeline, stdout(), scene, tickets=tickets)
    finally:
        pipeline.close()


if __name__ == "__main__":
    sys.exit(main())
