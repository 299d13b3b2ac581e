"""redacted_text: one text per row without personal data, and the properties that policy lets through."""
