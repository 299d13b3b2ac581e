"""Another model in a real Weaviate: its generation is filled beside the one that serves, and searches see the old one or the new, whole.

Readers go on all the while, as an application's do: through the alias, on connections of their own.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from vector_assets.cli.models import settle_aliases
from vector_assets.cli.search import searcher
from vector_assets.indexed.aliases import AliasMove
from vector_assets_tests.fakes import model_version
from vector_assets_tests.live.counted import LiveEngines, Models
from vector_assets_tests.live.fixtures import Trino, Weaviate
from vector_assets_tests.live.lakes import Did, RealLake, Table, comments, entry, real_lake
from vector_assets_tests.live.promises import Stored

FIRST, SECOND = model_version("d1", 8), model_version("d2", 12)  # of other lengths: a query meets the right collection, or an error
ASKED = "words that only one row has"
ROWS = 60
PAUSE_SECONDS = 0.02  # between a reader's questions: the machine is not its own


@pytest.fixture
def lake(tmp_path: Path, trino: Trino, weaviate: Weaviate) -> Iterator[RealLake]:
    with real_lake(tmp_path / "home", trino, weaviate, Models(model=FIRST)) as made:
        yield made


def two_tables(lake: RealLake, **settings: object) -> tuple[Table, Table]:
    """Tables of an Iceberg and a PostgreSQL catalog that share the collection Notes, and are synced with the model of now."""
    tables = comments(lake, "lake", "notes", rows=ROWS), comments(lake, "shop", "notes", rows=ROWS)
    for table in tables:
        lake.run(f"INSERT INTO {table.sql} VALUES (9001, '{ASKED}', 'NEW', 1.5, NULL)")
    lake.declare(*(entry(lake, table, "Notes") for table in tables), **settings)
    lake.sync(*tables)
    return tables


def settled(lake: RealLake) -> AliasMove:
    """What `vector-assets models promote` makes of the one alias, after it has told the registry."""
    assert lake.pipeline is not None
    (move,) = settle_aliases(lake.pipeline)
    return move


def generation(lake: RealLake, table: Table, model: object = FIRST) -> str:
    """The name of the collection of a model."""
    assert lake.pipeline is not None
    names = lake.pipeline.generations(lake.pipeline.settings.tables.spec_for(table.ref), model)  # type: ignore[arg-type]
    return f"{lake.collection('Notes')}_{names.collection}"


# --- readers ----------------------------------------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """What a search found: the model that it was encoded for, and the key of the best hit of each table."""

    model: str
    best: tuple[str, ...]


@dataclass
class Read:
    """What a reader saw, without repetitions, and how often it asked."""

    seen: list[object] = field(default_factory=list)
    asked: int = 0


@contextmanager
def reading(*questions: Callable[[], object]) -> Iterator[Sequence[Read]]:
    """Ask each question over and over, beside what is done meanwhile: at least once before it, and once after."""
    reads, done = [Read() for _ in questions], threading.Event()
    begun = threading.Barrier(len(questions) + 1)

    def ask(question: Callable[[], object], read: Read) -> None:
        last = False
        while not last:
            last = done.is_set()
            answer = question()
            if read.seen[-1:] != [answer]:
                read.seen.append(answer)
            read.asked += 1
            if read.asked == 1:
                begun.wait()
            done.wait(PAUSE_SECONDS)

    with ThreadPoolExecutor(len(questions)) as pool:
        asking = [pool.submit(ask, question, read) for question, read in zip(questions, reads, strict=True)]
        try:
            begun.wait(30)
            yield reads
        finally:
            done.set()
            for each in asking:
                each.result()


def once_more(reads: Sequence[Read]) -> None:
    """Wait until each reader has asked again, from now on."""
    before, deadline = [read.asked for read in reads], time.monotonic() + 30
    while not all(read.asked > asked + 1 for read, asked in zip(reads, before, strict=True)):
        assert time.monotonic() < deadline, "a reader has stopped"
        time.sleep(PAUSE_SECONDS)


@contextmanager
def application(lake: RealLake, *tables: Table) -> Iterator[tuple[Callable[[], dict[str, set[Stored]]], Callable[[], Found]]]:
    """Two questions to the alias: all of its objects, in one request of the plain client; the best hits of a search in each table."""
    assert lake.pipeline is not None
    name, properties = lake.collection("Notes"), ["source_table", "fingerprint", "generation"]
    with ExitStack() as stack:
        client = stack.enter_context(lake.client())
        engines = LiveEngines(lake.pipeline.settings, lake.models)
        stack.callback(engines.close)
        asked = searcher(engines)

        def everything() -> dict[str, set[Stored]]:
            found: dict[str, set[Stored]] = {}
            for thing in client.collections.use(name).query.fetch_objects(limit=10_000, return_properties=properties).objects:
                said = {key: str(value) for key, value in thing.properties.items()}
                found.setdefault(said["source_table"], set()).add(Stored(str(thing.uuid), said["fingerprint"], said["generation"]))
            return found

        def best() -> Found:
            hits = [hit for table in tables for hit in asked.search(name, ASKED, table=table.ref.key, limit=1)]
            assert all(hit.score > 0.99 for hit in hits)  # a query of another model meets no text of its own
            return Found(asked.resolve(name).model_digest, tuple(f"{hit.table}/{hit.key}" for hit in hits))

        yield everything, best


# --- a change of model ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 2])
def test_readers_see_the_old_generation_or_the_new_one(lake: RealLake, at_once: int) -> None:
    tables = two_tables(lake, tables_at_once=at_once)
    name = lake.collection("Notes")
    old = lake.stored(name)
    first, second = generation(lake, tables[0]), generation(lake, tables[0], SECOND)
    with application(lake, *tables) as questions, reading(*questions) as reads:
        lake.models.model = SECOND
        assert settled(lake) == AliasMove(name, first, first, tuple(sorted(table.ref.key for table in tables)))
        did = synced(lake, tables, at_once)
        assert [(one.fetched, one.redacted) for one in did] == [(0, 0)] * len(did)
        lake.assert_level(name, *tables)
        new = lake.stored(name)
        assert lake.pointed(name) == second
        assert settled(lake) == AliasMove(name, second, second, ())
        once_more(reads)

        lake.models.model = FIRST
        assert settled(lake) == AliasMove(name, second, first, ())  # the old one is still there, whole
        encoded = lake.models.encoded
        for table in tables:
            did_nothing(lake.sync(table))
        assert lake.models.encoded == encoded
    whole, best = reads
    assert whole.seen == [old, new, old]
    keys = tuple(f"{table.ref.key}/9001" for table in tables)
    assert [found for found in best.seen if found.best != keys] == []
    assert [found.model for found in best.seen] == ["d1", "d2", "d1"]
    assert min(whole.asked, best.asked) > 10
    encoders = lake.models.encoders
    assert sorted(encoders["d1"].seen) == sorted(encoders["d2"].seen)  # each text once with each model
    assert lake.stored(second) == new


def synced(lake: RealLake, tables: Sequence[Table], at_once: int) -> list[Did]:
    """Sync tables, beside each other or one after the other; the alias is not to move before the last one is there."""
    name = lake.collection("Notes")
    if at_once > 1:
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(lake.sync, tables))
    did = []
    for table in tables:
        before = lake.pointed(name)
        assert before == generation(lake, tables[0])
        did.append(lake.sync(table))
        assert did[-1].encoded
    return did


def did_nothing(did: Did) -> None:
    assert did[1:] == (0, 0, 0)
    assert {outcome.planned for outcome in did.outcomes.values()} == {0}


def test_deletes_reach_the_generation_that_does_not_serve_and_a_rollback_fetches_the_rest(lake: RealLake) -> None:
    tables = two_tables(lake)
    name, first = lake.collection("Notes"), generation(lake, tables[0])
    old = lake.stored(first)
    lake.models.model = SECOND
    lake.sync(*tables)

    lake.run(f"DELETE FROM {tables[0].sql} WHERE id <= 5")
    lake.run(f"UPDATE {tables[1].sql} SET body = 'entirely new' WHERE id IN (6, 7)")
    lake.sync(*tables)
    lake.assert_level(name, *tables)
    left = lake.stored(first)
    assert left == {table.ref.key: lake.promised(table, FIRST) for table in tables}
    assert left[tables[0].ref.key] < old[tables[0].ref.key]
    assert left[tables[1].ref.key] == old[tables[1].ref.key]  # the change waits until this model serves again

    lake.models.model = FIRST
    did_nothing(lake.sync(tables[0]))
    did = lake.sync(tables[1])
    assert did[1:] == (0, 0, 1)
    assert [did.outcomes[stage].planned for stage in ("redacted_text", "embeddings", "weaviate_collections")] == [0, 2, 2]
    assert lake.pointed(name) == first
    lake.assert_level(name, *tables)


def test_a_rollback_to_a_dropped_generation_is_filled_without_the_encoder(lake: RealLake) -> None:
    tables = two_tables(lake)
    name, first = lake.collection("Notes"), generation(lake, tables[0])
    old = lake.stored(name)
    lake.models.model = SECOND
    lake.sync(*tables)
    new = lake.stored(name)
    with lake.client() as client:
        client.collections.delete(first)

    lake.models.model = FIRST
    with application(lake, *tables) as questions, reading(*questions) as (whole, best):
        move = settled(lake)
        assert (move.moved, len(move.waiting)) == (False, 2)
        for table in tables:
            assert lake.pointed(name) != first
            assert lake.sync(table)[1:] == (0, 0, 0)
        assert lake.pointed(name) == first
    assert whole.seen == [new, old]
    assert [found.model for found in best.seen] == ["d2", "d1"]


def test_a_table_that_fails_holds_the_alias_back(lake: RealLake) -> None:
    tables = two_tables(lake, delete_rows=10)
    name = lake.collection("Notes")
    first, old = lake.pointed(name), lake.stored(name)
    lake.models.model = SECOND
    lake.run(f"DELETE FROM {tables[1].sql} WHERE id < 9001")
    with application(lake, *tables) as questions, reading(*questions) as (whole, best):
        lake.sync(tables[0])
        assert "--approve-deletes" in lake.failure(tables[1])
        assert settled(lake).waiting == (tables[1].ref.key,)
    assert whole.seen == [old]
    assert [found.model for found in best.seen] == ["d1"]
    assert lake.pointed(name) == first


# --- a registry -------------------------------------------------------------------------------------------------------------------------


def test_the_registry_says_which_model_serves(tmp_path: Path, trino: Trino, weaviate: Weaviate) -> None:
    with real_lake(tmp_path / "home", trino, weaviate, Models(model=None)) as lake:
        table = comments(lake, "lake", "notes", rows=20)
        registry = lake.declare(entry(lake, table, "Notes")).engines.registry()
        made = [registry.register(artifact(tmp_path / f"model{size}", size)) for size in (3, 5)]
        name, pointed = lake.collection("Notes"), []
        for version in (made[0], made[1], made[0], made[1]):
            registry.promote(version.version)
            settled(lake)
            encoded = lake.sync(table).encoded
            assert bool(encoded) == (version.version not in [label for label, _ in pointed])
            lake.assert_level(name, table)
            pointed.append((version.version, lake.pointed(name)))
            answers = lake.searcher().resolve(name)
            assert (answers.model_digest, answers.dimension) == (version.digest, version.dimension)
        assert pointed[:2] == pointed[2:]
        assert pointed[0] != pointed[1]


def artifact(folder: Path, size: int) -> Path:
    """The files of a model whose vectors have `size` numbers; they are never loaded."""
    files: Mapping[str, object] = {
        "config.json": {"hidden_size": size},
        "model.safetensors": "weights",
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": size, "pooling_mode_mean_tokens": True},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder
