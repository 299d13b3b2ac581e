"""The sample lakehouse and the guided demo: all of it made up, or part of Python itself.

`sample.py` says what the tables hold (sentences come from phrases.yaml). They are in a DuckDB file (`lakehouse.py`, `sources.yaml` says how
they are synced) or behind a real Trino (`trino_lakehouse.py`, `live.yaml`), and `guide.py` tells the tour of either; `live.py` runs the
servers for it. Nothing outside this folder knows the demo's tables, its model or its texts.
"""
