"""What keeps a Lance collection quick and its past short: compaction, indices, retention. Cost follows the change, not the collection.

- Rows written since the last time (*fresh* fragments) are put together, then indexed as a new segment; segments merge like the levels of an
  LSM tree, so that a row is indexed again O(log n) times and there are O(log n) segments to ask. Unindexed rows are found all the while.
- Fragments that are indexed already are left alone (rewriting them means rewriting index entries), until many small ones have piled up.
- Replaced and deleted rows are rewritten away once per retention; versions go when no reader can still be reading them.

Every step may lose against a concurrent writer; it is then left for the next time.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vector_assets.indexed.index import CollectionSchema
from vector_assets.indexed.lance.query import METRICS, ROWS_PER_PARTITION

if TYPE_CHECKING:
    from lance import LanceDataset

ID_INDEX, TEXT_INDEX, VECTOR_INDEX = "id", "text", "vector"
_UPKEPT_AT = "vector_assets.upkept_at"
_PURGED_AT = "vector_assets.purged_at"
_TRAINED_ROWS = "vector_assets.trained_rows"
_GROWTH = 4
_FRESH_PART = 20  # a twentieth of a collection may wait to be indexed: a first load of 1 M rows spends 12 s on its indices, not 20
_SEGMENT_ROWS = 1 << 17  # merging segments takes memory by their size (450 MB more at 1 M rows): larger ones are left as they are


@dataclass(frozen=True)
class Upkeep:
    """When to do what. The defaults were measured on 2 cores with 384 dimensions."""

    retention: dt.timedelta = dt.timedelta(days=7)
    """Deleted and replaced rows are unreadable after this long, if the collection is visited (each `ensure` and `delete` is a visit)."""
    reader_grace: dt.timedelta = dt.timedelta(minutes=10)
    """A version stays readable for this long after it was superseded."""
    fresh_fragments: int = 16
    fresh_rows: int = 10_000
    """Keyword search reads unindexed rows one by one: 10,000 cost about 50 ms."""
    fragment_rows: int = 65_536
    small_fragments: int = 64
    vector_index_rows: int = 100_000
    """From here on there is a vector index: comparing 100,000 vectors one by one takes 40–90 ms, with the index 15."""


def create_indices(dataset: LanceDataset) -> None:
    """Ids and words, both wanted from the first row on: so that unindexed words are split the same way. Idempotent."""
    there = {index.name for index in dataset.describe_indices()}
    if ID_INDEX not in there:
        dataset.create_scalar_index("id", "BTREE", name=ID_INDEX)
    if TEXT_INDEX not in there:
        # No stems and no stop words: they are English, texts may not be.
        dataset.create_scalar_index(
            "text", "INVERTED", name=TEXT_INDEX, with_position=False, stem=False, remove_stop_words=False, ascii_folding=True
        )


def trained_partitions(dataset: LanceDataset) -> int:
    """Partitions of the vector index; 0 where there is none."""
    return _partitions(int(dataset.config().get(_TRAINED_ROWS, 0)))


def _partitions(rows: int) -> int:
    return 0 if rows == 0 else max(1, rows // ROWS_PER_PARTITION)


def keep_up(dataset: LanceDataset, schema: CollectionSchema, *, upkeep: Upkeep, now: dt.datetime) -> None:
    """Do what is due. A call with nothing due costs less than a millisecond."""
    fresh = _fresh(dataset)
    rows = sum(fragment.rows for fragment in fresh)
    if rows >= max(upkeep.fresh_rows, dataset.count_rows() // _FRESH_PART):
        with yielding():
            _compact(dataset, upkeep)
            for name in (ID_INDEX, TEXT_INDEX, VECTOR_INDEX):
                _extend_index(dataset, name)
            _train(dataset, schema, upkeep)
    elif len(fresh) >= upkeep.fresh_fragments:
        with yielding():
            _compact(dataset, upkeep)
    if now - _moment(dataset, _UPKEPT_AT) >= upkeep.reader_grace:
        with yielding():
            dataset.update_config({_UPKEPT_AT: now.isoformat()})  # first: of two visitors that find it due, one loses here and goes
            _drop_versions(dataset, before=now - upkeep.reader_grace)
            _purge(dataset, upkeep, now)


@dataclass
class Yielded:
    """Whether another writer was quicker."""

    yielded: bool = False


@contextlib.contextmanager
def yielding() -> Iterator[Yielded]:
    """A commit that may lose against another writer's; nothing was written then, and the result says so."""
    result = Yielded()
    try:
        yield result
    except OSError as error:
        # Most conflicts come as CommitConflictError, those of compaction and of config updates as a plain OSError.
        if not re.search(r"commit conflict|incompatible transaction|concurrent writers", str(error), re.IGNORECASE):
            raise
        result.yielded = True


# --- fragments and index segments ------------------------------------------------------------------------------------------------------


class _Fragment(NamedTuple):
    id: int
    rows: int


def _fragments(dataset: LanceDataset) -> list[_Fragment]:
    return [_Fragment(fragment.fragment_id, fragment.physical_rows) for fragment in dataset.get_fragments()]


def _indexed(dataset: LanceDataset, name: str) -> list[set[int]]:
    """Fragments of each segment of an index, oldest segment first."""
    for index in dataset.describe_indices():
        if index.name == name:
            return [set(segment.fragment_ids) for segment in sorted(index.segments, key=lambda s: s.dataset_version_at_last_update)]
    return []


def _fresh(dataset: LanceDataset) -> list[_Fragment]:
    covered = set[int]().union(*_indexed(dataset, TEXT_INDEX))
    return [fragment for fragment in _fragments(dataset) if fragment.id not in covered]


def _compact(dataset: LanceDataset, upkeep: Upkeep) -> None:
    fresh = {fragment.id for fragment in _fresh(dataset)}
    indexed = [fragment for fragment in _fragments(dataset) if fragment.id not in fresh]
    small = sum(fragment.rows < upkeep.fragment_rows for fragment in indexed)
    left_alone = [] if small >= upkeep.small_fragments else [fragment.id for fragment in indexed]
    dataset.optimize.compact_files(target_rows_per_fragment=upkeep.fragment_rows, excluded_fragment_ids=left_alone)


def _extend_index(dataset: LanceDataset, name: str) -> None:
    segments = _indexed(dataset, name)
    rows = {fragment.id: fragment.rows for fragment in _fragments(dataset)}
    unindexed = sum(rows.values()) - sum(rows.get(fragment, 0) for segment in segments for fragment in segment)
    if segments and unindexed:
        sizes = [sum(rows.get(fragment, 0) for fragment in segment) for segment in segments]
        dataset.optimize.optimize_indices(index_names=[name], num_indices_to_merge=segments_to_merge(sizes, unindexed))


def segments_to_merge(sizes: Sequence[int], added: int) -> int:
    """How many of the newest segments to merge with what is added: those not much larger than all that comes behind, up to a size."""
    total, count = added, 0
    for size in reversed(sizes):
        if size > 2 * total or total + size > _SEGMENT_ROWS:
            break
        total += size
        count += 1
    return count


def _train(dataset: LanceDataset, schema: CollectionSchema, upkeep: Upkeep) -> None:
    """Make the vector index once it pays, and again whenever the collection has grown fourfold: its partitions would grow with it."""
    rows = dataset.count_rows()
    trained = int(dataset.config().get(_TRAINED_ROWS, 0))
    if rows < upkeep.vector_index_rows or rows < _GROWTH * trained:
        return
    dataset.create_index(
        "vector",
        _index_type(schema),
        name=VECTOR_INDEX,
        metric=METRICS[schema.spec.distance],
        replace=True,
        num_partitions=_partitions(rows),
        **({"num_sub_vectors": schema.dimension // 16} if schema.spec.quantization == "pq" else {}),
    )
    dataset.update_config({_TRAINED_ROWS: str(rows)})


def _index_type(schema: CollectionSchema) -> str:
    # Product quantization wants a dimension that divides, binary codes whole bytes; others keep their vectors as they are.
    if schema.dimension % 16:
        return {"sq": "IVF_SQ"}.get(schema.spec.quantization, "IVF_FLAT")
    return {"none": "IVF_FLAT", "sq": "IVF_SQ", "pq": "IVF_PQ", "rq": "IVF_RQ", "bq": "IVF_RQ"}[schema.spec.quantization]


# --- the past --------------------------------------------------------------------------------------------------------------------------


def _moment(dataset: LanceDataset, key: str) -> dt.datetime:
    text = dataset.config().get(key)
    return dt.datetime.fromisoformat(text) if text else dt.datetime.min.replace(tzinfo=dt.UTC)


def _purge(dataset: LanceDataset, upkeep: Upkeep, now: dt.datetime) -> None:
    # A row deleted just after a purge waits for the next one, and then for its version to go: both fit into the retention.
    if now - _moment(dataset, _PURGED_AT) < upkeep.retention - 3 * upkeep.reader_grace:
        return
    if any(fragment.num_deletions for fragment in dataset.get_fragments()):
        dataset.optimize.compact_files(target_rows_per_fragment=upkeep.fragment_rows, materialize_deletions_threshold=0.0)
    dataset.update_config({_PURGED_AT: now.isoformat()})


def _drop_versions(dataset: LanceDataset, *, before: dt.datetime) -> None:
    """Remove versions superseded before a moment. Lance's own `older_than` asks when a version was made: it would take away one that was
    current a second ago."""
    pairs = itertools.pairwise(dataset.versions())
    superseded = [old["version"] for old, new in pairs if new["timestamp"].astimezone(dt.UTC) < before]
    if superseded:
        dataset.cleanup_old_versions(versions=superseded, error_if_tagged_old_versions=False)
