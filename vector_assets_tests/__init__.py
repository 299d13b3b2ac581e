"""Tests mirror the package; `fakes.py` and `scripted.py` stand in for the outside world; `bench/` measures."""
