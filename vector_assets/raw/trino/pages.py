"""One statement on its way through Trino's protocol: pages, spooled segments, the end, and the cancel where the end is not wanted.

While one block of rows is used, the next page and a few segments are under way. A page's address is found before the page is parsed, so
that Trino writes the next one meanwhile (it does so only when asked).
"""

from __future__ import annotations

import base64
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol, Self, TypedDict, TypeVar, cast

import orjson
import pyarrow as pa

from vector_assets.errors import SourceUnavailable
from vector_assets.raw.trino.errors import Address, QueryError, failed
from vector_assets.raw.trino.rows import Block, apart, blocks

PAGE_BYTES = 16 << 20  # asked for; Trino's own default of 1 MB halves the rate (310 k to 690 k rows/s), 64 MB adds 2 %
SEGMENTS_AHEAD = 3  # a segment is 8 to 16 MB of rows

_KEY = re.compile(rb'"(nextUri|columns|data|stats)":"?([^"]*)')
"""Whichever comes first. No text of a row can look like it: quotes inside texts are escaped."""

T = TypeVar("T")


class _Segment(TypedDict, total=False):
    type: str
    data: str
    uri: str
    ackUri: str
    headers: dict[str, list[str]]
    metadata: dict[str, int]


class _Spooled(TypedDict):
    encoding: str
    segments: list[_Segment]


class _Page(TypedDict, total=False):
    id: str
    nextUri: str
    columns: list[dict[str, Any]]
    data: Block | _Spooled
    stats: dict[str, Any]
    error: dict[str, object]


class Wire(Protocol):
    """Who sends the requests: `TrinoClient`. Each raises SourceUnavailable once `stopped` is set."""

    address: Address

    def begin(self, sql: str, headers: Mapping[str, str], stopped: threading.Event) -> bytes:
        """The first page of a new statement."""

    def page(self, url: str, stopped: threading.Event) -> bytes:
        """A following page."""

    def segment(self, url: str, headers: Mapping[str, str], stopped: threading.Event) -> bytes:
        """A spooled segment; or, at its other address, the note that it was read."""

    def cancel(self, url: str) -> None:
        """End a query. Never raises."""


class Read(NamedTuple):
    """What a statement has made Trino read so far: rows and bytes after decoding, and bytes of files."""

    rows: int = 0
    decoded_bytes: int = 0
    file_bytes: int = 0


class Statement:
    """Iterate it once for blocks of rows, or its `columns`. Ends only where Trino says that the query has finished; anything else raises.

    Raises ConfigurationError, SourceError (Trino refuses the statement; `error` has its name) or SourceUnavailable. Leaving early, by
    `close` or by dropping the iterator, cancels the query in Trino. `types` are those of its columns, as text; `read` is what it has cost.
    """

    def __init__(self, wire: Wire, sql: str, about: str, *, headers: Mapping[str, str]) -> None:
        self._wire, self._sql, self._about, self._headers = wire, sql, about, headers
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._next: str | None = None
        self._cut: Callable[[bytes], Iterator[Block | pa.Table]] = blocks
        self._pool = ThreadPoolExecutor(1 + SEGMENTS_AHEAD, thread_name_prefix="trino")
        self.error: QueryError | None = None
        self.read = Read()
        self.types: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block]:
        yield from cast("Iterator[Block]", self._read_all())

    def columns(self, wire: Sequence[pa.DataType] | None) -> Iterator[list[pa.Array | Sequence[object]]]:
        """Instead of iterating it: the columns of one block after the other, as JSON values, or as arrays of the types in `wire`
        (`decode.wire_types`)."""
        self._cut = partial(blocks, wire=wire)
        for block in self._read_all():
            if isinstance(block, pa.Table):
                yield [column.chunk(0) for column in block.columns]
            else:
                yield list(zip(*block, strict=True))

    def _read_all(self) -> Iterator[Block | pa.Table]:
        try:
            yield from self._blocks()
            self._pool.shutdown()
        finally:
            self.close()

    def close(self) -> None:
        """Cancel the query where it is still under way, from any thread; reading on raises SourceUnavailable."""
        with self._lock:
            self._stopped.set()
            under_way, self._next = self._next, None
            self._pool.shutdown(wait=False, cancel_futures=True)
        if under_way is not None:
            self._wire.cancel(under_way)

    # --- pages ---

    def _blocks(self) -> Iterator[Block | pa.Table]:
        coming: Future[bytes] | None = self._submit(self._wire.begin, self._sql, self._headers, self._stopped)
        todo: deque[tuple[str, _Segment]] = deque()
        flying: deque[tuple[_Segment, Future[bytes]]] = deque()
        while coming is not None or todo or flying:
            while todo and len(flying) < SEGMENTS_AHEAD:
                encoding, segment = todo.popleft()
                flying.append((segment, self._submit(self._fetched, segment, encoding)))
            if flying and (coming is None or todo or not coming.done()):
                yield from self._rows(*flying.popleft())
                continue
            assert coming is not None
            page, rows = apart(coming.result())
            coming = self._following(page)
            data = self._data(page)
            if isinstance(data, dict):
                todo.extend((data["encoding"], segment) for segment in data["segments"])
            elif data:
                yield data
            yield from self._parts(rows, "a page")

    def _submit(self, call: Callable[..., T], *arguments: object) -> Future[T]:
        with self._lock:
            if self._stopped.is_set():
                raise SourceUnavailable(f"the query for {self._about} was closed while it was read")
            return self._pool.submit(call, *arguments)

    def _following(self, body: bytes) -> Future[bytes] | None:
        """The page after this one, already under way."""
        found = _KEY.search(body)
        if found is not None and found[1] == b"nextUri":
            address: object = orjson.loads(b'"' + found[2] + b'"')
        else:  # the last page, or one whose parts come in another order than Trino's
            address = self._parsed(body).get("nextUri")
        self._next = following = str(address) if address else None
        if following is None:
            return None
        sized = f"{following}{'&' if '?' in following else '?'}targetResultSize={PAGE_BYTES}B"
        return self._submit(self._wire.page, sized, self._stopped)

    def _data(self, body: bytes) -> Block | _Spooled | None:
        """The rows of a page, or where they are. Raises what Trino says went wrong, and where the end is none."""
        page = self._parsed(body)
        stats = page.get("stats", {})
        self.read = Read(*(int(stats.get(name, 0)) for name in ("processedRows", "processedBytes", "physicalInputBytes")))
        self.types = self.types or [column["type"] for column in page.get("columns", [])]
        if page.get("error"):
            self.error = QueryError.of(page["error"], page.get("id", "?"))
            raise failed(self.error, self._about, self._wire.address)
        if "nextUri" not in page and stats.get("state") != "FINISHED":
            raise self._broken(f"the last page says {stats.get('state')}, and not FINISHED")
        return page.get("data")

    def _parts(self, rows: bytes, what: str) -> Iterator[Block | pa.Table]:
        try:
            yield from self._cut(rows)
        except orjson.JSONDecodeError:
            raise self._broken(f"{what} is no JSON") from None

    def _parsed(self, body: bytes) -> _Page:
        try:
            page = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise self._broken("a page is no JSON") from None
        if not isinstance(page, dict):
            raise self._broken("a page is none of Trino's")
        return cast("_Page", page)

    def _broken(self, how: str) -> SourceUnavailable:
        return SourceUnavailable(f"reading {self._about} from {self._wire.address} broke off: {how}; nothing of it is kept: run again")

    # --- segments ---

    def _fetched(self, segment: _Segment, encoding: str) -> bytes:
        """A segment's JSON."""
        if segment["type"] == "inline":
            data = base64.b64decode(segment["data"])
        else:
            data = self._wire.segment(segment["uri"], _single(segment.get("headers", {})), self._stopped)
        size = segment["metadata"].get("uncompressedSize")
        if size is None:  # too small to be worth compressing
            return data
        if not encoding.endswith("+zstd"):
            raise self._broken(f"a segment is encoded as {encoding}, which nobody asked for")
        import zstandard

        with suppress(zstandard.ZstdError):
            plain: bytes = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
            if len(plain) == size:
                return plain
        raise self._broken("a segment is damaged")

    def _rows(self, segment: _Segment, coming: Future[bytes]) -> Iterator[Block | pa.Table]:
        count = 0
        for block in self._parts(coming.result(), "a segment"):
            count += len(block)
            yield block
        if count != segment["metadata"].get("rowsCount", count):
            raise self._broken("a segment has not the rows it should have")
        if segment["type"] != "inline":
            self._submit(self._acknowledge, segment)

    def _acknowledge(self, segment: _Segment) -> None:
        # Lets Trino delete it now. Where that fails it is deleted when it expires, after some hours.
        with suppress(SourceUnavailable, KeyError):
            self._wire.segment(segment["ackUri"], _single(segment.get("headers", {})), self._stopped)


def _single(headers: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: ",".join(values) for name, values in headers.items()}
