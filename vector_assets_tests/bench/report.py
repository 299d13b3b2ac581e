"""Figures as a table."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """What was measured, how much, and what was asked for ("" where nothing was)."""

    what: str
    measured: str
    asked: str = ""


def print_table(title: str, figures: list[Figure]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "measured", "asked", title=title, title_justify="left")
    for figure in figures:
        table.add_row(*figure)
    Console(width=120).print(table)


def peak_rss_mb() -> float:
    """Peak resident memory of this process, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
