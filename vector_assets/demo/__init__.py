"""The sample lakehouse and the guided demo: all of it made up, or part of Python itself.

`lakehouse.py` makes the tables (sentences come from tickets.yaml), `sources.yaml` says how they are synced. Nothing outside this folder
knows the demo's tables, its model or its texts.
"""
