"""`python -m vector_assets.demo`, which is what `make demo` runs."""

from __future__ import annotations

import os
import sys

from vector_assets.cli.console import complain, note, quiet_libraries, stdout
from vector_assets.errors import VectorAssetsError


def main() -> int:
    """Run the guided demo; the exit status."""
    quiet_libraries(debug=False)
    from vector_assets.demo import guide
    from vector_assets.pipeline import Pipeline
    from vector_assets.settings import load_settings

    os.environ["VECTOR_ASSETS_SOURCES"] = str(guide.SOURCES)  # whatever loads settings in this process means the demo's tables
    try:
        pipeline = Pipeline(load_settings())
        try:
            failed = guide.run(pipeline, stdout())
        finally:
            pipeline.close()
    except VectorAssetsError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        note("stopped; run it again to go on from here")
        return 130
    for reason in failed:
        complain(reason)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
