"""Checks of a version before it is published: what is measured, how it is compared with history, and what a check came to. Pure."""
