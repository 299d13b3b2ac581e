import math
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vector_assets.errors import SourceError, SourceUnavailable
from vector_assets.fingerprint import encode_column
from vector_assets.raw import batches
from vector_assets.raw.duckdb.source import DuckDBSource
from vector_assets.tables import TableRef

T = TableRef("sample", "main", "t")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sample.duckdb"


def write(path, *statements, **tables):
    with closing(duckdb.connect(str(path))) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        for statement in statements:
            connection.execute(statement)


def source(path, **settings):
    return DuckDBSource("sample", path, **settings)


def collect(stream):
    found = list(stream)
    return pa.Table.from_batches(found) if found else None


def digests(path, *columns, table=T):
    with source(path).open(table, columns, columns[:1]) as read:
        return collect(read.digests()).column("digest").to_pylist()


def values(path, *columns, table=T):
    with source(path).open(table, columns, columns[:1]) as read:
        return collect(read.rows()).column("values").to_pylist()


def keys_of(read):
    return pa.concat_arrays([batch.column("key") for batch in read.digests()])


# --- digests -----------------------------------------------------------------------------------------------------------------------------

TEXT = st.none() | st.text("ab:;[0n1é\0", max_size=3)
SMALL = st.none() | st.sampled_from([-1, 0, 1, 10, 11])
MIXED = pa.schema(
    [
        ("a", pa.string()),
        ("b", pa.string()),
        ("i", pa.int64()),
        ("j", pa.int32()),
        ("x", pa.float64()),
        ("n", pa.decimal128(9, 2)),
        ("ok", pa.bool_()),
        ("bin", pa.binary()),
        ("at", pa.timestamp("us")),
        ("l", pa.list_(pa.string())),
        ("ll", pa.list_(pa.list_(pa.int32()))),
        ("s", pa.struct([("p", pa.string()), ("q", pa.int32())])),
        ("m", pa.map_(pa.string(), pa.int32())),
    ]
)
VALUES = {
    "a": TEXT,
    "b": TEXT,
    "i": SMALL,
    "j": SMALL,
    "x": st.none() | st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf]) | st.floats(),
    "n": st.none() | st.decimals(-11, 11, places=2),
    "ok": st.none() | st.booleans(),
    "bin": st.none() | st.binary(max_size=2),
    "at": SMALL,
    "l": st.none() | st.lists(TEXT, max_size=2),
    "ll": st.none() | st.lists(st.none() | st.lists(SMALL, max_size=2), max_size=2),
    "s": st.none() | st.builds(lambda p, q: {"p": p, "q": q}, TEXT, SMALL),
    "m": st.none() | st.dictionaries(st.text("ab:", max_size=2), SMALL, max_size=2).map(lambda d: list(d.items())),
}


def same(value):
    # Python tells 0.0 from -0.0 when it prints them, and nan from nan when it compares; DuckDB does neither.
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value + 0.0
    return value + 0 if isinstance(value, Decimal) else value


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_digests_are_equal_exactly_where_values_are(data):
    names = data.draw(st.lists(st.sampled_from(MIXED.names), min_size=1, max_size=3, unique=True))
    rows = data.draw(st.lists(st.fixed_dictionaries({name: VALUES[name] for name in names}), min_size=2, max_size=60))
    schema = pa.schema([MIXED.field(name) for name in names])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.duckdb")
        write(path, "CREATE TABLE t AS SELECT 0 AS id, * FROM rows", rows=pa.Table.from_pylist(rows, schema=schema))
        found = digests(path, "id", *names)
    expected = [repr([same(row[name]) for name in names]) for row in rows]
    assert len(set(found)) == len(set(expected)) == len(set(zip(found, expected, strict=True)))


@given(st.lists(st.floats(), min_size=2, max_size=200))
@settings(max_examples=20, deadline=None)
def test_every_double_has_its_own_digest(floats):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.duckdb")
        write(path, "CREATE TABLE t AS SELECT * FROM rows", rows=pa.table({"x": pa.array(floats, pa.float64())}))
        assert len(set(digests(path, "x"))) == len({same(value) for value in floats})


WIDENED = {
    "integer": ["5::TINYINT", "5::INTEGER", "5::UBIGINT", "5::HUGEINT", "5::DECIMAL(4,0)", "5::DECIMAL(9,3)", "5::UHUGEINT"],
    "hundred": ["100::INTEGER", "100::DECIMAL(9,3)"],
    "fraction": ["0.5::DECIMAL(2,1)", "0.5::DECIMAL(9,4)"],
    "negative": ["(-1)::SMALLINT", "(-1)::DECIMAL(9,1)"],
    "float": ["0.1::FLOAT", "0.1::FLOAT::DOUBLE"],
    "not a number": ["'nan'::FLOAT", "'nan'::DOUBLE", "-('nan'::DOUBLE)"],
    "text": ["'a'", "'a'::ENUM('a', 'b')", "'a' COLLATE NOCASE"],
    "json": ["'[1]'::JSON", "'[1]'"],
    "timestamp": ["TIMESTAMP_S '2020-01-01 00:00:00'", "TIMESTAMP '2020-01-01'", "TIMESTAMP_NS '2020-01-01 00:00:00'"],
    "instant": ["TIMESTAMPTZ '2020-01-01 02:00:00+02'", "TIMESTAMPTZ '2020-01-01 00:00:00+00'"],
    "list": ["[1, NULL]::INTEGER[]", "[1, NULL]::BIGINT[]", "[1, NULL]::INTEGER[2]"],
    "struct": ["{'a': 1::INTEGER}", "{'a': 1::BIGINT}"],
}


@pytest.mark.parametrize("family", WIDENED)
def test_a_wider_type_keeps_its_digests(path, family):
    write(path, *(f"CREATE TABLE t{i} AS SELECT 0 AS id, {value} AS v" for i, value in enumerate(WIDENED[family])))
    found = {value: digests(path, "id", "v", table=T._replace(table=f"t{i}"))[0] for i, value in enumerate(WIDENED[family])}
    assert len(set(found.values())) == 1, found


def test_families_have_different_digests(path):
    alike = [
        "1",
        "1.0::DOUBLE",
        "'1'",
        "'1'::BLOB",
        "true",
        "NULL::INTEGER",
        "NULL::VARCHAR",
        "'NULL'",
        "''",
        "[1]",
        "{'a': 1}",
        "{'b': 1}",
    ]
    write(path, *(f"CREATE TABLE t{i} AS SELECT 0 AS id, {value} AS v" for i, value in enumerate(alike)))
    found = [digests(path, "id", "v", table=T._replace(table=f"t{i}"))[0] for i in range(len(alike))]
    assert len(set(found)) == len(alike)


def test_digests_are_pinned(path):
    """Another rendering is another digest for every row of every user, who would fetch whole tables again."""
    write(
        path,
        "CREATE TABLE t AS SELECT 7 AS id, 'Grüße' AS body, 1.50::DECIMAL(9, 2) AS price, -0.0::DOUBLE AS x, NULL::VARCHAR AS none,"
        " TIMESTAMPTZ '2020-01-01 00:00:00.5+01' AS at, DATE '2020-02-29' AS day, 'ab'::BLOB AS bin, true AS ok,"
        " [{'a': 1, 'b': ['x', NULL]}] AS nested, MAP {'k': 1} AS map",
    )
    columns = ["id", "body", "price", "x", "none", "at", "day", "bin", "ok", "nested", "map"]
    assert [digest.hex() for digest in digests(path, *columns)] == ["8d580841589c1700eb56d061979c14fc"]


def test_the_machines_time_zone_does_not_matter(path):
    write(
        path,
        "CREATE TABLE t AS SELECT TIMESTAMPTZ '2020-01-01 00:00:00+00' AS at, TIMESTAMP '2020-01-01' AS plain, TIMETZ '10:00:00+05' AS z",
    )
    code = (
        "import sys; from pathlib import Path; from vector_assets.raw.duckdb.source import DuckDBSource\n"
        "from vector_assets.tables import TableRef\n"
        "with DuckDBSource('sample', Path(sys.argv[1])).open(TableRef('sample', 'main', 't'), ['at', 'plain', 'z'], ['at']) as read:\n"
        "    for batch in read.rows(): print(batch.to_pydict(), read.schema)"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)], env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=True
        ).stdout
        for zone in ("UTC", "Asia/Tokyo", "America/New_York")
    }
    assert len(seen) == 1
    assert "timestamp[us, tz=UTC]" in seen.pop()


# --- types -------------------------------------------------------------------------------------------------------------------------------

D = pa.decimal128
TYPES = {
    "true": (pa.bool_(), True),
    "1::TINYINT": (pa.int8(), 1),
    "18446744073709551615::UBIGINT": (pa.uint64(), 2**64 - 1),
    "9007199254740993": (pa.int64(), 9007199254740993),
    "99999999999999999999999999999999999999::HUGEINT": (D(38, 0), 10**38 - 1),
    "123456789012345678901234567890123456789012345::BIGNUM": (pa.string(), "123456789012345678901234567890123456789012345"),
    "1.5::FLOAT": (pa.float32(), 1.5),
    "1.5::DOUBLE": (pa.float64(), 1.5),
    "'🙂 \u202e אב'": (pa.string(), "🙂 \u202e אב"),
    "'\\x00\\xFF'::BLOB": (pa.binary(), b"\x00\xff"),
    "'0101'::BIT": (pa.string(), "0101"),
    "TIMETZ '10:00:00+02'": (pa.string(), "10:00:00+02"),
    "INTERVAL '14 months -3 days'": (pa.string(), "1 year 2 months -3 days"),
    "'00000000-0000-0000-0000-00000000000a'::UUID": (pa.string(), "00000000-0000-0000-0000-00000000000a"),
    """'{"a":  1}'::JSON""": (pa.string(), '{"a":  1}'),
    "'b'::ENUM('a', 'b')": (pa.string(), "b"),
    "['a', NULL]": (pa.list_(pa.string()), ["a", None]),
    "[1, 2]::INTEGER[2]": (pa.list_(pa.int32()), [1, 2]),
    "['00000000-0000-0000-0000-00000000000a'::UUID]": (pa.list_(pa.string()), ["00000000-0000-0000-0000-00000000000a"]),
    """{'a"b': 'x'::ENUM('x'), 'n': [5::HUGEINT]}""": (
        pa.struct([('a"b', pa.string()), ("n", pa.list_(D(38, 0)))]),
        {'a"b': "x", "n": [5]},
    ),
    "MAP {'k': '1'::JSON}": (pa.map_(pa.string(), pa.string()), [("k", "1")]),
}


@pytest.mark.parametrize("value", TYPES)
def test_a_type_is_read_as_arrow_can_hold_it(path, value):
    write(path, f"CREATE TABLE t AS SELECT 1 AS id, {value} AS v", "INSERT INTO t VALUES (2, NULL)")
    kind, expected = TYPES[value]
    with source(path).open(T, ["id", "v"], ["id"]) as read:
        assert read.schema.field("v").type == kind
        table = collect(read.rows())
    table.validate(full=True)
    column = pc.struct_field(table.column("values"), "v")
    assert column.type == kind
    assert column.to_pylist() == [expected, None]
    assert len(set(encode_column(column))) == 2


TEMPORAL = {
    "DATE '2020-02-29'": pa.date32(),
    "TIME '10:00:00.5'": pa.time64("us"),
    "TIME_NS '10:00:00.123456789'": pa.time64("ns"),
    "TIMESTAMP '2020-01-01 10:00:00.5'": pa.timestamp("us"),
    "TIMESTAMP_S '2020-01-01 10:00:00'": pa.timestamp("s"),
    "TIMESTAMP_MS '2020-01-01 10:00:00.5'": pa.timestamp("ms"),
    "TIMESTAMP_NS '2020-01-01 10:00:00.123456789'": pa.timestamp("ns"),
    "TIMESTAMPTZ '2020-01-01 10:00:00+01'": pa.timestamp("us", "UTC"),
    "DECIMAL '12345.678'": D(18, 3),
}
SCALARS = [value for value, (kind, _) in TYPES.items() if not pa.types.is_nested(kind)] + list(TEMPORAL)


@pytest.mark.parametrize("value", TEMPORAL)
def test_dates_and_times_keep_their_unit(path, value):
    write(path, f"CREATE TABLE t AS SELECT {value} AS v")
    with source(path).open(T, ["v"], ["v"]) as read:
        column = collect(read.rows()).column("key")
    assert pc.struct_field(column, "v").type == TEMPORAL[value]
    assert len(encode_column(pc.struct_field(column, "v"))) == 1


@pytest.mark.parametrize(
    "kind", ["UNION(a INTEGER, b VARCHAR)", "UNION(a INTEGER)[]", "STRUCT(x MAP(VARCHAR, UNION(a INTEGER)))", "VARIANT"]
)
def test_a_type_that_cannot_be_read_is_named(path, kind):
    write(path, f"CREATE TABLE t (id INTEGER, odd {kind})")
    with pytest.raises(SourceError, match=r"column 'odd' of sample\.main\.t has type .*view that casts it"):
        digests(path, "id", "odd")
    with source(path).open(T, ["id"], ["id"]) as read:
        assert list(read.digests()) == []


def test_a_number_beyond_38_digits_is_an_error_that_does_not_quote_it(path):
    write(path, "CREATE TABLE t AS SELECT 1 AS id, 170141183460469231731687303715884105727::HUGEINT AS n")
    with source(path).open(T, ["id", "n"], ["id"]) as read:
        assert len(list(read.digests())) == 1
        with pytest.raises(SourceError, match="more than 38 digits") as caught:
            list(read.rows())
    assert "17014118" not in str(caught.value)
    assert caught.value.__cause__ is None


# --- names -------------------------------------------------------------------------------------------------------------------------------

HOSTILE = ['a"b', 'x";--', "n" * 200, "名" * 200, "select", "a.b", "' OR 1=1", "key", "digest", "c0", "k", "k0", "position", "__row", " "]


@pytest.mark.parametrize("name", [*HOSTILE, "__vector_assets_keys", "%"])
def test_hostile_names_are_only_names(path, name):
    q = '"' + name.replace('"', '""') + '"'
    write(
        path, f"CREATE SCHEMA {q}", f"CREATE TABLE {q}.{q} ({q} INTEGER, other VARCHAR)", f"INSERT INTO {q}.{q} VALUES (1, 'x'), (2, NULL)"
    )
    ref = TableRef("sample", name, name)
    assert source(path).tables("sample.*.*") == [ref]
    assert source(path).version(ref) == source(path).version(ref)
    with source(path).open(ref, ["other", name], [name]) as read:
        assert read.schema.names == ["other", name]
        rows = collect(read.rows())
        keys = keys_of(read)
        assert read.present(keys).to_pylist() == [True, True]
        assert collect(read.fetch(keys)).sort_by("digest") == rows.sort_by("digest")
    assert rows.column("key").to_pylist() == [{name: 1}, {name: 2}]
    assert rows.column("values").to_pylist() == [{"other": "x", name: 1}, {"other": None, name: 2}]


def test_unknown_names_are_errors_that_offer_what_is_there(path):
    write(path, "CREATE TABLE t (id INTEGER, body VARCHAR)")
    with pytest.raises(SourceError, match=r"no table in DuckDB file .* called 'sample\.main\.tt'; there is: 'sample\.main\.t'"):
        source(path).version(T._replace(table="tt"))
    with pytest.raises(SourceError, match=r"called 'other\.main\.t'"), source(path).open(T._replace(catalog="other"), ["id"], ["id"]):
        pass
    with pytest.raises(SourceError, match=r"no column in sample\.main\.t called 'Body'; there is: 'body', 'id'"):
        digests(path, "id", "Body")
    with pytest.raises(SourceError, match=r"called .x' OR 1=1"):
        digests(path, "id", "x' OR 1=1")


def test_tables_and_views_are_listed_without_those_of_the_system(path):
    write(path, "CREATE TABLE t AS SELECT 1 AS id", "CREATE SCHEMA crm", "CREATE VIEW crm.v AS SELECT id + 1 AS id FROM main.t")
    assert source(path).tables("sample.*.*") == [TableRef("sample", "crm", "v"), T]
    assert source(path).tables("sample.main.*") == [T]
    assert source(path).tables("other.*.*") == []
    assert values(path, "id", table=TableRef("sample", "crm", "v")) == [{"id": 2}]


def test_a_broken_view_breaks_nothing_else(path):
    write(
        path,
        "CREATE TABLE gone AS SELECT 1 AS id",
        "CREATE VIEW v AS SELECT * FROM gone",
        "DROP TABLE gone",
        "CREATE TABLE t AS SELECT 1 AS id",
    )
    assert values(path, "id") == [{"id": 1}]
    with pytest.raises(SourceError, match=r"sample\.main\.v cannot be read: .*Catalog error"):
        digests(path, "id", table=T._replace(table="v"))


# --- keys --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", SCALARS)
def test_rows_are_found_by_composite_keys_of_any_scalar_type(path, value):
    write(
        path,
        f"CREATE TABLE t AS SELECT {value} AS a, i AS b, 'body ' || i AS body FROM range(3) r(i)",
        "INSERT INTO t VALUES (NULL, 0, 'x'), (NULL, NULL, 'y'), (NULL, NULL, 'z')",
        f"INSERT INTO t VALUES ({value}, NULL, 'w')",
    )
    with source(path).open(T, ["body", "a", "b"], ["a", "b"]) as read:
        rows = collect(read.rows())
        keys = keys_of(read)
        assert read.present(keys).to_pylist() == [True] * 7
        assert collect(read.fetch(keys)).sort_by("digest") == rows.sort_by("digest")
        assert collect(read.fetch(keys[:2])).num_rows == 2
        # Two rows share the key (NULL, NULL); asking twice does not return them twice.
        null_keys = keys.filter(pc.and_(pc.is_null(pc.struct_field(keys, "a")), pc.is_null(pc.struct_field(keys, "b"))))
        assert len(null_keys) == 2
        assert sorted(row["body"] for row in collect(read.fetch(null_keys)).column("values").to_pylist()) == ["y", "z"]


def key_array(**columns):
    return pa.StructArray.from_arrays([pa.array(values) for values in columns.values()], list(columns))


def test_present_keeps_order_and_length(path):
    write(
        path, "CREATE TABLE t AS SELECT i AS id, i::VARCHAR AS name FROM range(100000) r(i)", "INSERT INTO t VALUES (5, '5'), (NULL, 'n')"
    )
    with source(path).open(T, ["id"], ["id"]) as read:
        assert read.present(key_array(id=[99999, -1, 5, 5, None, 100000])).to_pylist() == [True, False, True, True, True, False]
        empty = pa.StructArray.from_arrays([pa.array([], pa.int64())], ["id"])
        assert read.present(empty) == pa.array([], pa.bool_())
        assert list(read.fetch(empty)) == []
        assert read.present(key_array(id=[None])).to_pylist() == [True]
        assert collect(read.fetch(key_array(id=[5, 5, -1]))).num_rows == 2
        sliced = key_array(id=[1, 2, -3])[1:]
        assert read.present(sliced).to_pylist() == [True, False]
        assert sum(read.present(key_array(id=list(range(-100000, 100000)))).to_pylist()) == 100000


def test_a_key_of_another_family_is_another_identity(path):
    write(path, "CREATE TABLE t AS SELECT '5' AS id")
    with source(path).open(T, ["id"], ["id"]) as read:
        assert read.present(key_array(id=[5])).to_pylist() == [False]
        assert list(read.fetch(key_array(id=[5.0]))) == []
        assert read.present(key_array(id=["5"]).cast(pa.struct([("id", pa.large_string())]))).to_pylist() == [True]


def test_a_narrower_or_wider_key_is_the_same_identity(path):
    write(path, "CREATE TABLE t AS SELECT 5::INTEGER AS id, 5::DECIMAL(9, 2) AS price")
    with source(path).open(T, ["id", "price"], ["id", "price"]) as read:
        assert read.present(key_array(id=[2**40, 5], price=[5, 5])).to_pylist() == [False, True]


def test_texts_compare_byte_by_byte_whatever_the_collation(path):
    write(path, "CREATE TABLE t (id VARCHAR COLLATE NOCASE)", "INSERT INTO t VALUES ('a'), ('a\0b')")
    with source(path).open(T, ["id"], ["id"]) as read:
        assert read.present(key_array(id=["A", "a", "a\0b", "a\0B", "a\0"])).to_pylist() == [False, True, True, False, False]
        assert read.present(key_array(id=["A", None])).to_pylist() == [False, False]


def test_floats_compare_as_their_digests_do(path):
    write(path, "CREATE TABLE t AS SELECT unnest(['nan'::DOUBLE, 0.0, 'inf'])::DOUBLE AS id")
    with source(path).open(T, ["id"], ["id"]) as read:
        assert read.present(key_array(id=[math.nan, -0.0, math.inf, -math.inf, 1.0])).to_pylist() == [True, True, True, False, False]


def test_a_nested_key_is_refused(path):
    write(path, "CREATE TABLE t AS SELECT {'a': 1} AS id")
    with pytest.raises(SourceError, match=r"key column 'id' of sample\.main\.t has type STRUCT.*scalars"):
        digests(path, "id")


@given(st.lists(st.tuples(TEXT, SMALL), max_size=20), st.lists(st.tuples(TEXT, SMALL), max_size=20))
@settings(max_examples=30, deadline=None)
def test_present_and_fetch_agree_with_sets(rows, wanted):
    schema = pa.schema([("a", pa.string()), ("i", pa.int32())])
    as_table = [dict(zip(schema.names, row, strict=True)) for row in rows]
    keys = pa.array([dict(zip(schema.names, row, strict=True)) for row in wanted], pa.struct(list(schema)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.duckdb")
        write(path, "CREATE TABLE t AS SELECT * FROM rows", rows=pa.Table.from_pylist(as_table, schema=schema))
        with source(path).open(T, ["a", "i"], ["a", "i"]) as read:
            present = read.present(keys).to_pylist()
            fetched = [tuple(key.values()) for batch in read.fetch(keys) for key in batch.column("key").to_pylist()]
    assert present == [key in rows for key in wanted]
    assert Counter(fetched) == Counter(row for row in rows if row in wanted)


# --- reads -------------------------------------------------------------------------------------------------------------------------------


def test_batches_have_the_shape_of_the_protocol(path):
    write(path, "CREATE TABLE t AS SELECT i AS id, 'x' AS body FROM range(1000) r(i)")
    with source(path, batch_rows=64).open(T, ["body", "id"], ["id"]) as read:
        assert read.schema == pa.schema([("body", pa.string()), ("id", pa.int64())])
        for stream, names in ((read.digests(), ["key", "digest"]), (read.rows(), ["key", "values", "digest"])):
            found = list(stream)
            assert [batch.num_rows for batch in found] == [64] * 15 + [40]
            assert all(batch.schema.names == names for batch in found)
            assert all(batch.schema.field("digest").type == pa.binary(16) for batch in found)
        assert collect(read.rows()).column("digest").to_pylist() == collect(read.digests()).column("digest").to_pylist()


def test_an_empty_table_has_no_batches(path):
    write(path, "CREATE TABLE t (id INTEGER)")
    with source(path).open(T, ["id"], ["id"]) as read:
        assert list(read.digests()) == list(read.rows()) == []


def test_long_texts_make_small_batches(path, monkeypatch):
    monkeypatch.setattr(batches, "BATCH_BYTES", 12 << 20)
    write(path, "CREATE TABLE t AS SELECT i AS id, CASE WHEN i < 7 THEN repeat('é', 2500000) ELSE 'x' END AS body FROM range(3000) r(i)")
    with source(path).open(T, ["id", "body"], ["id"]) as read:
        found = list(read.rows())
        assert max(batch.nbytes for batch in found) < 13 << 20
        assert [row["id"] for batch in found for row in batch.column("key").to_pylist()] == list(range(3000))
        assert len(found[0].column("values")[0]["body"].as_py()) == 2500000


def test_streams_of_one_read_do_not_disturb_each_other(path):
    write(path, "CREATE TABLE t AS SELECT i AS id FROM range(20000) r(i)")
    with source(path).open(T, ["id"], ["id"]) as read:
        first, second = read.digests(), read.rows()
        total = next(first).num_rows + next(second).num_rows
        assert read.present(key_array(id=[7])).to_pylist() == [True]
        counted = []
        thread = threading.Thread(target=lambda: counted.append(sum(batch.num_rows for batch in first)))
        thread.start()
        total += sum(batch.num_rows for batch in second)
        thread.join()
        assert total + counted[0] == 40000


def test_leaving_a_read_frees_the_file_though_a_stream_is_open(path):
    write(path, "CREATE TABLE t AS SELECT i AS id FROM range(200000) r(i)")
    with source(path).open(T, ["id"], ["id"]) as read:
        stream = read.digests()
        next(stream)
    write(path, "INSERT INTO t VALUES (-1)")
    with pytest.raises(SourceUnavailable, match="broke off"):
        list(stream)


def test_a_read_that_breaks_raises_and_quotes_no_value(path):
    write(
        path,
        "CREATE VIEW t AS SELECT i AS id, CASE WHEN i = 150000 THEN error('Ada, 7 Elm St') ELSE 'x' END AS body FROM range(200000) r(i)",
    )
    with source(path).open(T, ["id", "body"], ["id"]) as read:
        with pytest.raises(SourceError, match=r"sample\.main\.t cannot be read") as caught:
            list(read.rows())
        assert "Ada" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_a_damaged_file_is_no_short_table(path):
    write(path, "CREATE TABLE t AS SELECT i AS id, md5(i::VARCHAR) AS body FROM range(400000) r(i)")
    with source(path).open(T, ["id", "body"], ["id"]) as read:
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            file.write(b"\xff" * (1 << 20))
        with pytest.raises(SourceError, match="Data Corruption error"):
            list(read.rows())


def test_a_change_between_reads_is_seen(path):
    write(path, "CREATE TABLE t AS SELECT 1 AS id, 'a' AS body")
    watched = source(path)
    before = watched.version(T)
    assert not before.exact
    assert watched.version(T) == before
    write(path, "UPDATE t SET body = 'b'")
    after = watched.version(T)
    assert after != before
    with watched.open(T, ["id", "body"], ["id"]) as read:
        assert read.version == after
    write(path, "DROP TABLE t")
    with pytest.raises(SourceError, match="no table"):
        watched.version(T)


def test_the_rows_in_the_log_of_a_writer_that_died_count(path):
    write(path, "CREATE TABLE t AS SELECT 1 AS id")
    before = source(path).version(T)
    died = f"import duckdb, os; c = duckdb.connect({str(path)!r}); c.execute('INSERT INTO t VALUES (2)'); os._exit(0)"
    subprocess.run([sys.executable, "-c", died], check=True)
    assert path.with_name("sample.duckdb.wal").exists()
    assert source(path).version(T) != before
    assert values(path, "id") == [{"id": 1}, {"id": 2}]


# --- a file that others hold -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def held(path):
    """A real process that has the file open for writing until its input is closed."""
    write(path, "CREATE TABLE t AS SELECT 1 AS id")
    code = (
        f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('held', flush=True)\n"
        "sys.stdin.read(); c.execute('INSERT INTO t VALUES (2)')"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.communicate()


def test_a_read_waits_for_the_process_that_writes(path, held):
    waits = []

    def release_on_the_third_wait(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            held.communicate()

    with source(path, sleep=release_on_the_third_wait).open(T, ["id"], ["id"]) as read:
        assert collect(read.digests()).num_rows == 2
    assert waits == [0.05, 0.1, 0.2]


def test_a_file_that_is_never_released_is_unavailable(path, held):
    waits = [0.0]
    waiting = source(path, retry_seconds=30, sleep=waits.append, clock=lambda: sum(waits))
    for use in (lambda: waiting.tables("sample.*.*"), lambda: waiting.version(T), lambda: waiting.open(T, ["id"], ["id"]).__enter__()):
        waits[:] = [0.0]
        with pytest.raises(SourceUnavailable, match=rf"sample\.duckdb.* held by another process, .*PID {held.pid}.* 30 s: run again"):
            use()
        assert sum(waits) == 30
        assert max(waits) == 2


def test_a_connection_of_this_process_is_named(path):
    write(path, "CREATE TABLE t AS SELECT 1 AS id")
    with closing(duckdb.connect(str(path))), pytest.raises(SourceUnavailable, match="this same process"):
        source(path, retry_seconds=0).tables("sample.*.*")


def test_two_reads_at_once_share_the_file(path):
    write(path, "CREATE TABLE t AS SELECT 1 AS id", "CREATE VIEW v AS SELECT * FROM t")
    with source(path).open(T._replace(table="v"), ["id"], ["id"]) as one, source(path).open(T, ["id"], ["id"]) as two:
        assert collect(one.rows()) == collect(two.rows())


def test_files_that_are_none(path, tmp_path):
    with pytest.raises(SourceError, match=r"nowhere\.duckdb.*check its path under catalogs"):
        source(tmp_path / "nowhere.duckdb").version(T)
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(SourceError, match=r"cannot be opened: .*not a valid DuckDB database file"):
        source(path).tables("sample.*.*")
    with pytest.raises(SourceError, match="cannot be opened"), source(tmp_path).open(T, ["id"], ["id"]):
        pass


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(path):
    write(path, "CREATE TABLE t AS SELECT i AS id, repeat(md5(i::VARCHAR), 8) || i AS body FROM range(1500000) r(i)")
    write(path, "CREATE TABLE small AS SELECT * FROM t LIMIT 50000")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from vector_assets.raw.duckdb.source import DuckDBSource\n"
        "from vector_assets.tables import TableRef\n"
        "with DuckDBSource('sample', Path(sys.argv[1])).open(TableRef('sample', 'main', sys.argv[2]), ['id', 'body'], ['id']) as read:\n"
        "    for batch in read.rows(): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    small, large = (
        int(subprocess.run([sys.executable, "-c", code, str(path), table], capture_output=True, text=True, check=True).stdout)
        for table in ("small", "t")
    )
    assert large - small < 64 * 1024 * (1 + (os.cpu_count() or 1)) + 64 * 1024
