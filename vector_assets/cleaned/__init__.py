"""cleaned_frames: normalized text, validated row by row against the table's declared rules."""
