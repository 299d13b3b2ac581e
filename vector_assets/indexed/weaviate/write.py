"""Sending objects to Weaviate, and taking them away: bounded requests, some at a time, with an account of every object.

Requests go straight to the gRPC method `BatchObjects`: 1.1 to 1.25 times as fast as the client's best mode, with 0.4 to 0.7 of its CPU
(`make bench`; 10,000 objects of 384 dimensions on 2 cores with the server).

Sending is idempotent, so what failed on the way is sent again, a bounded number of times. Nothing counts as stored that Weaviate did not
acknowledge.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, wait
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.errors import IndexUnavailable
from vector_assets.indexed.weaviate.errors import UNKNOWN, Failure, boundary, failure_of, raised, rpc_failure
from vector_assets.indexed.weaviate.layout import messages
from vector_assets.indexed.weaviate.server import Connection, Server, metadata, pause

if TYPE_CHECKING:
    from uuid import UUID

    from weaviate.collections import Collection
    from weaviate.collections.classes.filters import FilterReturn
    from weaviate.proto.v1 import batch_pb2

BATCH_OBJECTS = 256  # 128 to 512 are alike; a batch of 2,048 rows leaves no rest, for which the other requests' threads would wait
BATCH_BYTES = 8 << 20
DELETED_AT_ONCE = 2_000
_ROOM_BYTES = 64 << 10  # for what is around one object in a message
_BACKOFF_SECONDS = 0.5  # doubled each time


@dataclass(frozen=True)
class Writer:
    """Sends objects to one server. `pool` has as many threads as requests may be under way."""

    server: Server
    connection: Connection
    pool: Executor

    def send(self, name: str, objects: pa.Table) -> dict[bytes, str]:
        """Write objects of distinct ids; returns the ids of those that are refused, with the reason.

        Raises IndexUnavailable where some were not acknowledged and may be later, IndexConflict where the collection is gone.
        """
        sizes = sizes_of(objects)
        too_large = sizes > self.connection.message_bytes - _ROOM_BYTES
        reasons = dict.fromkeys(objects.column("id").filter(pa.array(too_large)).to_pylist(), "it is too large for Weaviate")
        if reasons:
            objects, sizes = objects.filter(pa.array(~too_large)), sizes[~too_large]
        running = [self.pool.submit(self._send, name, objects.slice(start, length)) for start, length in parts(sizes)]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            for future in running:
                future.cancel()
            wait(running)  # none is under way when we return, whatever happened
        for future in running:
            if not future.cancelled():
                reasons |= future.result()
        return reasons

    def _send(self, name: str, objects: pa.Table) -> dict[bytes, str]:
        """One request, and again what did not get through."""
        ids = objects.column("id").to_pylist()
        waiting = list(enumerate(messages(objects, name)))
        reasons: dict[bytes, str] = {}
        last = UNKNOWN
        for attempt in attempts(self.server, self.connection):
            failures = self._call(name, [message for _, message in waiting])
            again = []
            for at, failure in sorted(failures.items()):
                if failure.kind == "object" or (failure is UNKNOWN and attempt):
                    reasons[ids[waiting[at][0]]] = failure.words
                else:
                    again.append(waiting[at])
                    last = failure
            waiting = again
            if not waiting:
                return reasons
        raise IndexUnavailable(
            f"cannot write to collection {name} in {self.server.grpc.url}: {last.words}; {len(waiting)} objects of a batch were not "
            "acknowledged, and are sent again by the next run"
        )

    def _call(self, name: str, sent: Sequence[batch_pb2.BatchObject]) -> dict[int, Failure]:
        """Send messages; returns what failed, by position. Raises what is no use to try again."""
        import grpc  # type: ignore[import-untyped]
        from weaviate.proto.v1 import base_pb2, batch_pb2, weaviate_pb2_grpc

        level = getattr(base_pb2, f"CONSISTENCY_LEVEL_{self.server.consistency}")
        request = batch_pb2.BatchObjectsRequest(objects=sent, consistency_level=level)
        call = weaviate_pb2_grpc.WeaviateStub(self.connection.channel).BatchObjects  # type: ignore[no-untyped-call]
        try:
            answer = call(request, timeout=self.server.timeout_seconds, metadata=metadata(self.server))
            failures = {error.index: failure_of(error.error) for error in answer.errors}
        except grpc.RpcError as error:
            failures = dict.fromkeys(range(len(sent)), rpc_failure(error))
        for failure in failures.values():
            if failure.kind in ("stopped", "gone", "changed", "access"):
                raise raised(failure, f"write to collection {name}", self.server.grpc.url) from None
        return failures


def sizes_of(objects: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """About how many bytes each object is as a message, shape (n,)."""
    properties = objects.column("properties").combine_chunks()
    texts = [objects.column(name) for name in ("text", "source_key", "source_table")]
    texts += [properties.field(field.name) for field in properties.type if pa.types.is_string(field.type)]
    vector = 4 * objects.schema.field("vector").type.list_size
    fixed = vector + 600 + sum(60 + 2 * len(field.name) for field in properties.type)  # twice: a mark may name it again
    sizes = np.full(objects.num_rows, fixed, dtype=np.int64)
    for text in texts:
        sizes += pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
    return sizes


def parts(
    sizes: np.ndarray[tuple[int], np.dtype[np.int64]], *, most: int = BATCH_OBJECTS, most_bytes: int = BATCH_BYTES
) -> Iterator[tuple[int, int]]:
    """(start, length) of consecutive parts that hold at most so many objects and bytes; one object that is larger is a part of its own."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start] - sizes[start]
        end = int(np.searchsorted(ends, before + most_bytes, side="right"))
        end = min(max(end, start + 1), start + most)
        yield start, end - start
        start = end


def attempts(server: Server, connection: Connection) -> Iterator[int]:
    """Numbers of attempts, with longer and longer pauses between them; two at least, the last not long after the patience is over."""
    end = time.monotonic() + server.patience_seconds
    seconds = _BACKOFF_SECONDS
    for attempt in count():
        yield attempt
        if attempt and time.monotonic() + seconds > end:
            return
        pause(server, connection.channel, seconds)
        seconds *= 2


def delete(collection: Collection[Mapping[str, object], None], ids: Sequence[UUID], *, server: Server, connection: Connection) -> None:
    """Delete objects by id, those that there are. Raises IndexUnavailable where some stay, IndexConflict where the collection is gone."""
    from weaviate.classes.query import Filter

    for start in range(0, len(ids), DELETED_AT_ONCE):
        chosen = Filter.by_id().contains_any(ids[start : start + DELETED_AT_ONCE])
        problem: IndexUnavailable | None = None
        for _ in attempts(server, connection):
            problem = _delete(collection, chosen, server)
            if problem is None:
                break
        if problem is not None:
            raise problem


def _delete(collection: Collection[Mapping[str, object], None], chosen: FilterReturn, server: Server) -> IndexUnavailable | None:
    """One request; returns why some may have stayed, where another may help."""
    try:
        with boundary(f"remove objects of collection {collection.name}", server.rest.url, server.grpc.url):
            answer = collection.data.delete_many(where=chosen)
            if answer.failed == 0 and answer.successful == answer.matches:
                return None
            # It does not say why, and asked to be verbose it fails: an error of a whole shard has no object.
            read_only = any(shard.status == "READONLY" for shard in collection.config.get_shards())
    except IndexUnavailable as problem:
        return problem
    return IndexUnavailable(
        f"cannot remove objects of collection {collection.name} in {server.rest.url}: "
        f"{answer.matches - answer.successful} of {answer.matches} stayed, and are removed by the next run"
        f"{'; it is read-only (a full disk, or somebody set it so)' if read_only else ''}"
    )
