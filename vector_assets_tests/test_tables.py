"""sources.yaml: names that survive every encoding, and one clear sentence for what cannot be meant."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from vector_assets.catalogs import DuckDBCatalog, TrinoCatalog
from vector_assets.errors import ConfigurationError
from vector_assets.sources_file import load_sources
from vector_assets.tables import CollectionSpec, HnswSpec, Sources, TableRef, TableSpec, encode_part, parse_template

# --- names -----------------------------------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
REFS = st.builds(TableRef, NAMES, NAMES, NAMES)
HOSTILE = ['a"b', 'x";--', "a.b", "..", "/", "a/b", "%2E", "a[b]", "a|b", "a,b", "~", "*", "ü" * 200, "x" * 200, " ", "\n"]


@given(REFS)
@example(TableRef("lake", "a.b", "c"))
def test_a_key_is_a_partition_key_and_says_which_table(ref: TableRef) -> None:
    assert TableRef.parse(ref.key) == ref
    assert not re.search(r"[,|\[\]\s/]|\.\.\.", ref.key)
    assert ref.key.isascii()


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_a_path(name: str, tmp_path: Path) -> None:
    ref = TableRef("lake", "s", name)
    assert TableRef.parse(ref.key) == ref
    path = tmp_path / f"{ref.path}.lance@work.json"
    path.parent.mkdir(parents=True)
    path.write_text("")
    assert path.parent == tmp_path / "lake" / "s"


@given(REFS, REFS)
@example(TableRef("l", "s", "ü" * 200), TableRef("l", "s", "ü" * 201))
@example(TableRef("l", "s", "x" * 101), TableRef("l", "s", "x" * 100 + "y"))
@example(TableRef("l", "a.b", "c"), TableRef("l.a", "b", "c"))
def test_tables_never_share_a_path(one: TableRef, other: TableRef) -> None:
    assert (one.path == other.path) == (one == other)
    assert all(len(part) <= 100 for part in one.path.split("/"))


@pytest.mark.parametrize("key", ["", "lake", "lake.s", "lake.s.t.u", "lake..t", "."])
def test_what_is_no_table(key: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(repr(key))):
        TableRef.parse(key)


# --- specs -----------------------------------------------------------------------------------------------------------------------------


def spec(**changes: object) -> TableSpec:
    plain = {"table": "lake.s.t", "key": ["id"], "text": "{body}", "properties": {"id": "keep"}, "collection": "Things"}
    return TableSpec.model_validate(plain | changes)


def test_columns_are_read_once_each() -> None:
    table = spec(text="{body} {id}", properties={"id": "keep", "status": "hash", "secret": "drop"}, quality={"n": {"min": 1}})
    assert table.columns == ("id", "body", "status", "n")
    assert table.shown == ("id", "status")
    assert table.properties["id"].policy == "keep"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": []}, "key"),
        ({"key": ["id", "id"]}, "names a column twice: id"),
        ({"key": ["id", "day"]}, "key column 'day' needs a policy"),
        ({"text": "plain"}, "names no column"),
        ({"text": "{body"}, "lone '{' at character 0"),
        ({"text": "body}"}, "lone '}' at character 4"),
        ({"text": "{}"}, "lone '{'"),
        ({"table": "lake.t"}, "not catalog.schema.table"),
        ({"collection": "things"}, "collection"),
        ({"on_reject": "ignore"}, "on_reject"),
        ({"quality": {"body": {"regex": "("}}}, "not a regular expression"),
        ({"quality": {"body": {"max": float("nan")}}}, "quality.body.max"),
        ({"quality": {"body": {"min": float("-inf")}}}, "quality.body.min"),
        ({"properties": {"id": "encrypt"}}, "properties.id"),
        ({"tetx": "{body}"}, "tetx"),
        ({"checks": {"row_cuont": {"warn": 1}}}, "did you mean row_count"),
        ({"checks": {"row_states": "off"}}, "there is no check 'row_states'"),
        ({"checks": {"rejected_rows": {"block": 0}}}, "none at all reaches 0, too: write the smallest share that is to fail, or `off`"),
    ],
)
def test_what_cannot_be_meant(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        spec(**changes)


LITERALS = st.text("ab {}\n.:!", max_size=4)
COLUMNS = st.text("ab.[0]!: ", min_size=1, max_size=6)


@given(st.lists(st.tuples(LITERALS, COLUMNS), max_size=3), LITERALS)
@example([("", "body.__class__"), ("{", "x[0]!r:>10")], "}")
def test_a_template_is_literals_and_plain_names(parts: list[tuple[str, str]], end: str) -> None:
    def doubled(literal: str) -> str:
        return literal.replace("{", "{{").replace("}", "}}")

    template = "".join(f"{doubled(literal)}{{{column}}}" for literal, column in parts) + doubled(end)
    assert parse_template(template) == (*parts, (end, None))


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("lake.s.t", ["lake.s.t"], ["lake.s.T", "lake.s.tt", "lakes.s.t"]),
        ("lake.s.*", ["lake.s.t", "lake.s.a%2Eb"], ["lake.s2.t"]),
        ("lake.*.t?", ["lake.x.t1"], ["lake.x.t", "lake.x.t12"]),
        ("*.s.[ab]", ["one.s.a", "two.s.b"], ["one.s.c"]),
        ("lake.s.a%5Bb%5D", ["lake.s.a%5Bb%5D"], ["lake.s.ab", "lake.s.a"]),
        ("lake.s.%2A", ["lake.s.%2A"], ["lake.s.t"]),
    ],
)
def test_entries_match_tables(pattern: str, matching: list[str], others: list[str]) -> None:
    entry = spec(table=pattern)
    assert all(entry.matches(TableRef.parse(key)) for key in matching)
    assert not any(entry.matches(TableRef.parse(key)) for key in others)


@pytest.mark.parametrize("name", HOSTILE)
def test_an_encoded_name_matches_itself(name: str) -> None:
    ref = TableRef("lake", "s", name)
    entry = spec(table=f"lake.s.{encode_part(name)}")
    assert not entry.is_pattern
    assert entry.matches(ref)


# --- Trino catalogs and collections ----------------------------------------------------------------------------------------------------


def trino(**changes: object) -> TrinoCatalog:
    return TrinoCatalog.model_validate({"engine": "trino", "host": "h", "user": "u", "catalog": "c", **changes})


@pytest.mark.parametrize(
    ("changes", "encrypted"),
    [
        ({}, False),
        ({"port": 443}, True),
        ({"port": 8443}, True),
        ({"port": 8443, "tls": False}, False),
        ({"tls": True}, True),
        ({"password": "p"}, True),
        ({"password_file": "p"}, True),
        ({"jwt": "t"}, True),
        ({"jwt_file": "t"}, True),
        ({"ca": "ca.pem"}, True),
    ],
)
def test_tls_is_spoken_where_something_calls_for_it(changes: dict[str, object], encrypted: bool) -> None:
    assert trino(**changes).encrypted is encrypted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "https://h"}, "not a host alone: the port is a setting of its own, and `tls` says what https:// would"),
        ({"host": "h:8443"}, "not a host alone"),
        ({"host": "u@h"}, "not a host alone"),
        ({"host": ""}, "host"),
        ({"port": 0}, "port"),
        ({"user": ""}, "user"),
        ({"password": "hunter2", "jwt": "hunter2"}, "password and jwt are both given"),
        ({"jwt": "hunter2", "jwt_file": "f"}, "jwt and jwt_file are both given"),
        ({"tls": False, "password": "hunter2"}, "password would travel in the clear"),
        ({"tls": False, "jwt_file": "f"}, "jwt_file would travel in the clear"),
        ({"tls": False, "ca": "ca.pem"}, "ca is given, and tls is off"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"roles": ["hunter2"]}, "roles"),
        ({"session": {"query_max_run_time": {"hunter2": 1}}}, "session"),
    ],
)
def test_a_trino_that_cannot_be_meant(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)) as caught:
        trino(**changes)
    assert "hunter2" not in str(caught.value)


def test_an_address_of_ipv6_is_a_host() -> None:
    assert trino(host="[::1]").host == trino(host="::1").host == "::1"


def test_secrets_of_a_trino_are_not_shown() -> None:
    assert "hunter2" not in repr(trino(password="hunter2")) + repr(trino(jwt="hunter2"))


@pytest.mark.parametrize(
    "changes",
    [{"hnsw": {"ef_construction": 3}}, {"hnsw": {"max_connections": 0}}, {"hnsw": {"m": 8}}, {"replication": 0}, {"quantization": "int8"}],
)
def test_a_collection_that_cannot_be_meant(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="|".join(changes)):
        CollectionSpec.model_validate(changes)


def test_knobs_that_came_later_name_a_generation_only_where_they_are_set() -> None:
    plain = CollectionSpec()
    assert plain.declared == {"distance": "cosine", "quantization": "none"}
    assert CollectionSpec(hnsw=HnswSpec(), replication=1).declared == plain.declared
    tuned = CollectionSpec(hnsw=HnswSpec(ef_construction=256), replication=3)
    assert tuned.declared == {**plain.declared, "hnsw": {"ef_construction": 256}, "replication": 3}


@given(
    st.builds(
        CollectionSpec,
        distance=st.sampled_from(["cosine", "dot"]),
        hnsw=st.builds(HnswSpec, ef=st.none() | st.integers(-1, 3), max_connections=st.none() | st.integers(4, 6)),
        replication=st.integers(1, 3),
    )
)
def test_what_a_generation_is_named_after_says_all_of_a_collection(collection: CollectionSpec) -> None:
    assert CollectionSpec.model_validate(collection.declared) == collection


# --- the whole file --------------------------------------------------------------------------------------------------------------------

YAML = """
catalogs:
  lake: {engine: trino, host: h, user: u, catalog: iceberg, password: "${PASSWORD}"}
  sample: {engine: duckdb, path: "${PLACE}/sample.duckdb"}
collections:
  Things: {distance: dot}
tables:
  - {table: "sample.s.*", key: [id], text: "{body}", properties: {id: keep}, collection: Things}
  - {table: sample.s.special, key: [id], text: "{title}", properties: {id: keep}, collection: Things}
"""
VARIABLES = {"PASSWORD": "hunter2", "PLACE": "data"}


def load(tmp_path: Path, text: str = YAML, variables: dict[str, str] = VARIABLES) -> Sources:
    path = tmp_path / "sources.yaml"
    path.write_text(text)
    return load_sources(path, variables)


def test_a_file_is_read(tmp_path: Path) -> None:
    sources = load(tmp_path)
    catalog = sources.catalogs["sample"]
    assert isinstance(catalog, DuckDBCatalog)
    assert catalog.path == tmp_path / "data" / "sample.duckdb"
    assert sources.spec_for(TableRef("sample", "s", "special")).text == "{title}", "a name comes before a pattern"
    assert sources.spec_for(TableRef("sample", "s", "t")).text == "{body}"
    assert sources.collection("Things").distance == "dot"
    assert sources.collection("Others").distance == "cosine"
    assert "hunter2" not in repr(sources)
    with pytest.raises(ConfigurationError, match=r"sample\.other\.t"):
        sources.spec_for(TableRef("sample", "other", "t"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("${PASSWORD}", "${PASSWROD}"), r"\$\{PASSWROD\}, which is not set"),
        (("collection: Things}", "colection: Things}"), r"tables\.0\.colection: no such setting; check the spelling"),
        (("text:", "tetx: x, text:"), r"tables\.0\.tetx: no such setting; check the spelling"),
        (("sample.s.*", "simple.s.*"), r"there is no catalog 'simple' \(there are: lake, sample\)"),
        (("engine: duckdb", "engine: sqlite"), r"catalogs\.sample"),
        (("path:", "port: hunter2, path:"), r"catalogs\.sample\.port: no such setting"),
        (("host: h", "host: h, port: hunter2"), r"catalogs\.lake\.port: .*integer"),
        (('text: "{title}"', 'text: "{title}", passages: {max_tokens: 64}'), "must agree on passages"),
        (('text: "{title}"', 'text: "{title}", redaction: strict'), "no redaction policy 'strict'"),
        (("{id: keep}, collection: Things}\n  - ", "{id: hash}, collection: Things}\n  - "), "must agree on property 'id'"),
        (("catalogs:", "catalogs: ["), "cannot be read as YAML"),
        ((YAML, ""), "valid dictionary"),
        ((YAML, "- 1"), "valid dictionary"),
    ],
)
def test_a_file_that_cannot_be_meant(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load(tmp_path, YAML.replace(*change))
    assert str(caught.value).startswith(str(tmp_path / "sources.yaml"))
    assert "hunter2" not in str(caught.value)


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    changed = YAML.replace('password: "${PASSWORD}"', "password_file: secrets/trino, ca: /etc/ca.pem")
    catalog = load(tmp_path / "deep", changed).catalogs["lake"]
    assert isinstance(catalog, TrinoCatalog)
    assert (catalog.password_file, catalog.ca) == (tmp_path / "deep" / "secrets" / "trino", Path("/etc/ca.pem"))
    assert catalog.jwt_file is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="vector-assets init"):
        load_sources(tmp_path / "nothing.yaml", {})
