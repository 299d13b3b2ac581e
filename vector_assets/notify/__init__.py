"""Telling people elsewhere that something is wrong, once, and that it is over: causes, what each receiver was told, formats, posting.

No Dagster: where causes come from is in `defs/notifications.py`.
"""
