"""Real servers on this machine, without containers: for tests, for `make demo LIVE=1`, and to try things.

`install.py` fetches them once below a cache folder; `lakehouse.py` (Trino with PostgreSQL and an S3 server) and `weaviate.py` start them on
free ports of the loopback interface, with passwords of their own; `process.py` sees to it that nothing of them stays. None of this is
meant for production.
"""
