"""How much of the personal data in a text a redaction policy finds, measured on texts whose personal data is known."""
