"""Columns of embeddings, by name."""

TEXT, PROPERTIES = "text", "properties"
TEXT_FINGERPRINT, PROPERTIES_FINGERPRINT = "text_fingerprint", "properties_fingerprint"
PASSAGES, PASSAGE_COUNT, TOKENS = "passages", "passage_count", "tokens"
CUT = "cut"
"""How many passages of the row are longer than what the model takes, so that it does not see their ends. Texts are split to fit, by the
tokens of the whole text; a passage on its own may have some more where a tokenizer looks across its borders."""
VECTOR_DTYPE = "float16"
