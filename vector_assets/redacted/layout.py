"""Columns of redacted_text that more than one module speaks of."""

TEXT, PROPERTIES, TEXT_FINGERPRINT = "text", "properties", "text_fingerprint"
CHARACTERS, LANGUAGE, ENTITIES, SIGNALS = "characters", "language", "entities", "signals"

IDENTIFIER, NAME, STUFFED = 1, 2, 4
"""Bits of `signals`: the row still holds an identifier, or a name, that a personal column of its own gives away; its text repeats a few
words over and over. They say that, and not which."""
