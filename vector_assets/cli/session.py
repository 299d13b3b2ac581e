"""What every command opens first: settings from the environment, and the pipeline over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import typer

if TYPE_CHECKING:
    from vector_assets.engines import Engines
    from vector_assets.pipeline import Pipeline
    from vector_assets.settings import Settings

    MakeEngines = Callable[[Settings], Engines]


@contextmanager
def opened(context: typer.Context) -> Iterator[Pipeline]:
    """The pipeline, closed afterwards. The context's object, where there is one, makes the engines: the seam for tests."""
    from vector_assets.engines import Engines
    from vector_assets.pipeline import Pipeline
    from vector_assets.settings import load_settings

    settings = load_settings()
    make = cast("MakeEngines", context.obj or Engines)
    pipeline = Pipeline(settings, make(settings))
    try:
        yield pipeline
    finally:
        pipeline.close()
