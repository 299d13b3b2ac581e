"""The one partitions definition: a partition is a source table. What finds tables is in sensors.py; how keys are spelt is in tables.py."""

from __future__ import annotations

import dagster as dg

TABLES = dg.DynamicPartitionsDefinition(name="tables")
"""Partition keys are `TableRef.key`: catalog.schema.table, each part percent-encoded."""
