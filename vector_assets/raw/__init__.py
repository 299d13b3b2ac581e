"""raw_tables: what a source table says now, as rows with a digest each."""
