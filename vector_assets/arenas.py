"""Memory that glibc keeps: fewer arenas, so that a large table needs little more of it than a small one.

glibc gives each thread an arena and hands little of it back. Lance, DuckDB and Arrow bring dozens of threads: a first sync of 1 M rows
peaked at 1,142 MB, and at 758 MB with two arenas, at the same speed (`make bench`). Processes
call this first: glibc fixes the number once threads have made eight.
"""

from __future__ import annotations

import ctypes
import platform

_M_ARENA_MAX = -8  # mallopt(3)
_ARENAS = 2


def bound_arenas() -> None:
    """Keep this process to two arenas. Does nothing where the C library is not glibc."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
