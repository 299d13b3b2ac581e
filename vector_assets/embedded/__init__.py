"""embeddings: a redacted text as passages within the model's limit, and their vectors."""
