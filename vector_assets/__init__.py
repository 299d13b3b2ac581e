"""Keeps vector collections in step with SQL tables, in five reconciling stages.

    raw_tables      what the source table says now: new and changed rows, found by digest       (raw/)
    cleaned_frames  normalized text, validated against the table's declared quality rules       (cleaned/)
    redacted_text   one text per row, free of personal data, and the allow-listed properties    (redacted/)
    embeddings      passages within the model's limit, and their vectors                        (embedded/)
    weaviate_collections   the objects that search sees, one collection per generation          (indexed/)

Each stage compares (row_id, fingerprint) of what it should hold with what it holds and computes only the difference (reconcile/).
`pipeline.py` puts the stages together for one table; `defs/` shows them to Dagster; `cli.py` is `vector-assets`.
Importing this package imports nothing else.
"""
