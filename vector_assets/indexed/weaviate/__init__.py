"""Weaviate as the index. `index.py` is what the pipeline sees."""
