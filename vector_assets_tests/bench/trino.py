"""Trino → Arrow: `tpch.sf1.orders`, all 9 columns, 1.5 M rows, against the rate at which the same answer can be fetched and thrown away.

Each way runs in turn, `ROUNDS` times round (those that are far behind once); the best of each counts. "Thrown away" means: pages and
segments asked for as `TrinoClient` asks for them, as many at a time, and not parsed. Trino is on the same cores: what our CPU takes beside
it is said too, and hardly depends on what else the machine does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from vector_assets.raw.trino.client import ENCODING
from vector_assets.raw.trino.pages import PAGE_BYTES, SEGMENTS_AHEAD
from vector_assets.raw.trino.source import TrinoRead, TrinoSource
from vector_assets.tables import TableRef
from vector_assets_tests.bench import servers
from vector_assets_tests.bench.report import Figure

TABLE = TableRef("bench", "sf1", "orders")
ROWS = 1_500_000
ROUNDS = 3
ONCE = ("direct: usual loop", "direct: DB-API", "spooled: DB-API")
FETCH_ROWS = 10_000
PLAIN = "SELECT * FROM tpch.sf1.orders"

Way = Callable[[], int]
"""Fetches everything; returns how many rows came, or ROWS where nobody looked."""


def measure(_: Path) -> list[Figure]:
    with servers.trino() as address:
        best = _best(_ways(address))
    rates = {name: ROWS / taken.wall for name, taken in best.items()}
    return [figure for kind in ("direct", "spooled") for figure in (*_figures(rates, kind), _cpu_figure(best, kind))]


def _ways(address: servers.Address) -> dict[str, Way]:
    ways: dict[str, Way] = {"direct: usual loop": lambda: _usual(address)}
    for kind in ("direct", "spooled"):
        source = TrinoSource("bench", address.catalog("tpch", spooling=kind == "spooled"))
        for digest in (False, True):
            sql = _statement_of(source, digest=digest)
            ways[f"{kind}: thrown away, digest={digest}"] = lambda sql=sql, kind=kind: _thrown_away(address, sql, spooled=kind == "spooled")  # type: ignore[misc]
            ways[f"{kind}: ours, digest={digest}"] = lambda source=source, digest=digest: _ours(source, digest=digest)  # type: ignore[misc]
        ways[f"{kind}: thrown away, plain"] = lambda kind=kind: _thrown_away(address, PLAIN, spooled=kind == "spooled")  # type: ignore[misc]
        ways[f"{kind}: DB-API"] = lambda kind=kind: _db_api(address, spooled=kind == "spooled")  # type: ignore[misc]
    return ways


class Taken(NamedTuple):
    """Seconds: on the clock, and of this process's CPU."""

    wall: float
    cpu: float


def _best(ways: Mapping[str, Way]) -> dict[str, Taken]:
    seconds: dict[str, list[Taken]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name, way in ways.items():
            if number and name in ONCE:
                continue
            started, cpu = time.perf_counter(), time.process_time()
            rows = way()
            seconds[name].append(Taken(time.perf_counter() - started, time.process_time() - cpu))
            assert rows == ROWS, (name, rows)
    return {name: Taken(*map(min, zip(*taken, strict=True))) for name, taken in seconds.items()}


def _cpu_figure(best: Mapping[str, Taken], kind: str) -> Figure:
    ours, thrown, theirs = (best[f"{kind}: {way}"].cpu for way in ("ours, digest=True", "thrown away, digest=True", "DB-API"))
    return Figure(f"{kind}: our CPU, with digests", f"{ours:.1f} s; thrown away {thrown:.1f} s, DB-API {theirs:.1f} s")


def _figures(rates: Mapping[str, float], kind: str) -> Iterator[Figure]:
    def ratio(ours: str, other: str) -> float:
        return rates[f"{kind}: {ours}"] / rates[f"{kind}: {other}"]

    for name, rate in rates.items():
        if name.startswith(f"{kind}: ") and "ours" not in name:
            yield Figure(name, f"{rate / 1000:,.0f} k rows/s")
    for digest, what in ((False, "to Arrow"), (True, "to Arrow with digests")):
        ours = f"ours, digest={digest}"
        of_same, of_plain = ratio(ours, f"thrown away, digest={digest}"), ratio(ours, "thrown away, plain")
        measured = f"{rates[f'{kind}: {ours}'] / 1000:,.0f} k rows/s"
        yield Figure(f"{kind}: {what}", f"{measured}: {of_same:.2f} of the same query, {of_plain:.2f} of SELECT *", "≥ 0.9")
        usual = rates[f"{kind}: {ours}"] / rates["direct: usual loop"]
        yield Figure(f"{kind}: {what}, against bytes of the usual loop", f"{usual:.1f}×", "≥ 0.9×")
        yield Figure(f"{kind}: {what}, against DB-API", f"{ratio(ours, 'DB-API'):.1f}×", "≥ 1.6×")


# --- ways ------------------------------------------------------------------------------------------------------------------------------


def _stream(source: TrinoSource, *, digest: bool) -> Iterator[list[pa.Array] | pa.RecordBatch]:
    """What the pipeline reads; without digests, which is never wanted there, the same one level below."""
    with source.open(TABLE, _columns(), ["orderkey"]) as read:
        yield from read.rows() if digest else _undigested(read)


def _undigested(read: TrinoRead) -> Iterator[list[pa.Array]]:
    return read._stream(read.schema.names, digest=False)


def _columns() -> list[str]:
    return ["orderkey", "custkey", "orderstatus", "totalprice", "orderdate", "orderpriority", "clerk", "shippriority", "comment"]


def _ours(source: TrinoSource, *, digest: bool) -> int:
    return sum(len(part) if isinstance(part, pa.RecordBatch) else len(part[0]) for part in _stream(source, digest=digest))


def _statement_of(source: TrinoSource, *, digest: bool) -> str:
    """The statement that reads the rows: the last one that was begun."""
    texts: list[str] = []
    begin = source.client.statement
    source.client.statement = lambda sql, *rest, **more: texts.append(sql) or begin(sql, *rest, **more)  # type: ignore[method-assign, func-returns-value]
    try:
        next(_stream(source, digest=digest))
    finally:
        source.client.statement = begin  # type: ignore[method-assign]
    return texts[-1]


_KEY = re.compile(rb'"(nextUri|data|stats)":"?([^"]*)')


def _thrown_away(address: servers.Address, sql: str, *, spooled: bool) -> int:
    import orjson
    import requests

    headers = {"X-Trino-User": servers.USER, "Accept-Encoding": "identity"}
    headers |= {"X-Trino-Query-Data-Encoding": ENCODING} if spooled else {}
    rows = 0
    with requests.Session() as session, requests.Session() as store, ThreadPoolExecutor(SEGMENTS_AHEAD) as pool:
        body = session.post(f"http://{address.host}:{address.port}/v1/statement", data=sql, headers=headers).content
        segments = []
        while True:
            following = _KEY.search(body)
            if spooled:
                page = orjson.loads(body)
                for segment in page.get("data", {}).get("segments", []):
                    rows += segment["metadata"]["rowsCount"]
                    if segment["type"] == "spooled":
                        segments.append(pool.submit(_fetch_segment, store, segment))
            if following is None or following[1] != b"nextUri":
                break
            body = session.get(f"{following[2].decode()}?targetResultSize={PAGE_BYTES}B", headers={"Accept-Encoding": "identity"}).content
        for segment in segments:
            segment.result()
    assert b'"FINISHED"' in body
    return rows if spooled else ROWS


def _fetch_segment(store, segment) -> None:  # type: ignore[no-untyped-def]
    headers = {name: ",".join(values) for name, values in segment.get("headers", {}).items()}
    store.get(segment["uri"], headers=headers).raise_for_status()
    store.get(segment["ackUri"], headers=headers).raise_for_status()


def _usual(address: servers.Address) -> int:
    """What a loop over `nextUri` does that asks for nothing special, as most clients do."""
    import requests

    with requests.Session() as session:
        page = session.post(f"http://{address.host}:{address.port}/v1/statement", data=PLAIN, headers={"X-Trino-User": servers.USER})
        while found := re.search(rb'"nextUri":"([^"]+)"', page.content):
            page = session.get(found[1].decode())
    return ROWS


def _db_api(address: servers.Address, *, spooled: bool) -> int:
    import trino

    connection = trino.dbapi.connect(host=address.host, port=address.port, user=servers.USER, encoding=ENCODING if spooled else None)
    cursor = connection.cursor()
    cursor.execute(PLAIN)
    rows = 0
    while fetched := cursor.fetchmany(FETCH_ROWS):
        rows += len(fetched)
    return rows
