"""DuckDB as a source. `source.py` is what the pipeline sees."""
