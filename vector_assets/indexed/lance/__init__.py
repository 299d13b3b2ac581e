"""Lance as the index: embedded, no server. `index.py` is what the pipeline sees."""
