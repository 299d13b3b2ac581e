"""What workspace.yaml names. Nothing else belongs here; defs/build.py puts it together."""

from __future__ import annotations

from vector_assets.arenas import bound_arenas
from vector_assets.defs.build import build_defs
from vector_assets.settings import load_settings

bound_arenas()
defs = build_defs(load_settings())
