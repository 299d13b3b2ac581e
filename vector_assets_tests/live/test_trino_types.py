"""Values made in a real Trino: what a column of each type becomes in Arrow, its digests, its literals and renderings."""

import datetime as dt
import math
import struct
import uuid
from decimal import Context, Decimal
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from trino.dbapi import connect

from vector_assets.errors import SourceError
from vector_assets.fingerprint import encode_column
from vector_assets.raw.sql import quoted
from vector_assets.raw.trino.decode import varbinary
from vector_assets.raw.trino.types import column, digest_of, literals, renderings

FEW = settings(deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""Many values in each of a few statements; shrinking would ask the server a thousand times."""


@pytest.fixture(scope="module")
def query(trino):
    place = urlsplit(trino.url)
    connection = connect(host=place.hostname, port=place.port, user="types", timezone="Asia/Tokyo")

    def run(statement):
        cursor = connection.cursor(legacy_primitive_types=True)  # JSON values as they came
        rows = cursor.execute(statement).fetchall()
        return [(name, kind) for name, kind, *_ in cursor.description or ()], rows

    yield run
    connection.close()


@pytest.fixture(scope="module")
def make(query):
    """Makes a table of a query and tells its name. (Of constants alone, Trino's planner takes 10 times as long: it folds them.)"""
    schema = f"memory.types_{uuid.uuid4().hex}"
    query(f"CREATE SCHEMA {schema}")
    made = []

    def table(source):
        made.append(f"{schema}.t{len(made)}")
        query(f"CREATE TABLE {made[-1]} AS {source}")
        return made[-1]

    yield table
    for each in made:
        query(f"DROP TABLE IF EXISTS {each}")
    query(f"DROP SCHEMA {schema}")


def values_table(make, values):
    """A table of values (SQL texts, of one type) `v`, counted by `i`."""
    return make(f"SELECT * FROM (VALUES {', '.join(f'({i}, {value})' for i, value in enumerate(values))}) AS t (i, v)")


def columns_of(query, table, *names):
    described, _ = query(f"SELECT {', '.join(names) or '*'} FROM {table} LIMIT 0")
    return [column(name, kind, where="a.b.t") for name, kind in described]


def read(query, table, *names):
    """Columns of a table as Arrow arrays, in the order of its column i."""
    columns = columns_of(query, table, *names)
    _, rows = query(f"SELECT {', '.join(each.value for each in columns)} FROM {table} ORDER BY i")
    arrays = [each.decode(part) for each, part in zip(columns, zip(*rows, strict=True), strict=True)]
    for each, array in zip(columns, arrays, strict=True):
        array.validate(full=True)
        assert array.type == each.arrow
    return arrays


def digests(query, table, *names):
    """Digests of the columns of a table, in the order of its column i."""
    _, rows = query(f"SELECT {digest_of(columns_of(query, table, *names))} FROM {table} ORDER BY i")
    found = varbinary([row[0] for row in rows])
    assert {len(digest) for digest in found.to_pylist()} <= {16}
    return found.to_pylist()


D = pa.decimal128
UTC = dt.UTC
TYPES = {
    "true": (pa.bool_(), True),
    "TINYINT '-128'": (pa.int8(), -128),
    "SMALLINT '32767'": (pa.int16(), 32767),
    "INTEGER '-2147483648'": (pa.int32(), -(2**31)),
    "BIGINT '9223372036854775807'": (pa.int64(), 2**63 - 1),
    "REAL '0.1'": (pa.float32(), 0.10000000149011612),
    "REAL '3.4028235E38'": (pa.float32(), 3.4028234663852886e38),
    "REAL '1.4E-45'": (pa.float32(), 1.401298464324817e-45),
    "CAST(-infinity() AS real)": (pa.float32(), -math.inf),
    "DOUBLE '0.1'": (pa.float64(), 0.1),
    "DOUBLE '5E-324'": (pa.float64(), 5e-324),
    "infinity()": (pa.float64(), math.inf),
    "DECIMAL '1.50'": (D(3, 2), Decimal("1.50")),
    "DECIMAL '99999999999999999999999999999999999999'": (D(38, 0), 10**38 - 1),
    "DECIMAL '-.00000000000000000000000000000000000001'": (D(38, 38), Decimal("-1e-38")),
    "'🙂 \u202e אב\n\"\\'": (pa.string(), '🙂 \u202e אב\n"\\'),
    "CAST('é ' AS varchar(5))": (pa.string(), "é "),
    "''": (pa.string(), ""),
    "CAST('ab\t' AS char(5))": (pa.string(), "ab\t"),
    "CAST('' AS char(5))": (pa.string(), ""),
    "X'00FF'": (pa.binary(), b"\x00\xff"),
    "X''": (pa.binary(), b""),
    "JSON '{\"a\":  1.0}'": (pa.string(), '{"a":1.0}'),
    "JSON 'null'": (pa.string(), "null"),
    "DATE '0001-01-01'": (pa.date32(), dt.date(1, 1, 1)),
    "DATE '9999-12-31'": (pa.date32(), dt.date(9999, 12, 31)),
    "DATE '1969-12-31'": (pa.date32(), dt.date(1969, 12, 31)),
    "TIME '23:59:59'": (pa.time64("us"), dt.time(23, 59, 59)),
    "TIME '10:00:00.5'": (pa.time64("us"), dt.time(10, 0, 0, 500000)),
    "TIME '10:00:00.123456'": (pa.time64("us"), dt.time(10, 0, 0, 123456)),
    "TIME '10:00:00.123456789012'": (pa.string(), "10:00:00.123456789012"),
    "TIME '10:00:00.5 +02:00'": (pa.string(), "10:00:00.5+02:00"),
    "TIMESTAMP '2020-01-01 10:00:00'": (pa.timestamp("s"), dt.datetime(2020, 1, 1, 10)),
    "TIMESTAMP '1969-12-31 23:59:59.9'": (pa.timestamp("ms"), dt.datetime(1969, 12, 31, 23, 59, 59, 900000)),
    "TIMESTAMP '0001-01-01 00:00:00.001'": (pa.timestamp("ms"), dt.datetime(1, 1, 1, 0, 0, 0, 1000)),
    "TIMESTAMP '9999-12-31 23:59:59.999999'": (pa.timestamp("us"), dt.datetime.max),
    "TIMESTAMP '0001-01-01 00:00:00.000001'": (pa.timestamp("us"), dt.datetime(1, 1, 1, 0, 0, 0, 1)),
    "TIMESTAMP '2020-01-01 10:00:00.1234567890'": (pa.string(), "2020-01-01 10:00:00.1234567890"),
    "TIMESTAMP '9999-12-31 23:59:59.999999999999'": (pa.string(), "9999-12-31 23:59:59.999999999999"),
    "TIMESTAMP '2020-01-01 01:00:00 +01:00'": (pa.timestamp("s", "UTC"), dt.datetime(2020, 1, 1, tzinfo=UTC)),
    "TIMESTAMP '2020-07-01 02:00:00.5 Europe/Vienna'": (pa.timestamp("ms", "UTC"), dt.datetime(2020, 7, 1, 0, 0, 0, 500000, UTC)),
    "TIMESTAMP '1969-12-31 18:59:59.999999 America/New_York'": (
        pa.timestamp("us", "UTC"),
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
    ),
    "TIMESTAMP '2020-01-01 00:00:00.123456789012 +05:30'": (pa.string(), "2019-12-31 18:30:00.123456789012 UTC"),
    "UUID '00000000-0000-0000-0000-00000000000A'": (pa.string(), "00000000-0000-0000-0000-00000000000a"),
    "IPADDRESS '::ffff:10.0.0.1'": (pa.string(), "10.0.0.1"),
    "IPADDRESS '2001:DB8:0:0:0::1'": (pa.string(), "2001:db8::1"),
    "INTERVAL '3' MONTH": (pa.string(), "0-3"),
    "- INTERVAL '3 04:05:06.789' DAY TO SECOND": (pa.string(), "-3 04:05:06.789"),
}
NESTED = {
    "ARRAY['a', NULL]": (pa.list_(pa.string()), ["a", None]),
    "CAST(ARRAY[] AS array(date))": (pa.list_(pa.date32()), []),
    "ARRAY[nan(), NULL, 1e0, -infinity()]": (pa.list_(pa.float64()), ["nan", None, 1.0, -math.inf]),
    "ARRAY[ARRAY[X'00FF', NULL], NULL, ARRAY[]]": (pa.list_(pa.list_(pa.binary())), [[b"\0\xff", None], None, []]),
    "ARRAY[DATE '2020-01-01', NULL]": (pa.list_(pa.date32()), [dt.date(2020, 1, 1), None]),
    "ARRAY[CAST('a' AS char(3)), NULL]": (pa.list_(pa.string()), ["a", None]),
    "ARRAY[CAST(NULL AS row(a integer)), CAST(ROW(NULL) AS row(a integer))]": (
        pa.list_(pa.struct([("a", pa.int32())])),
        [None, {"a": None}],
    ),
    "ARRAY[UUID '00000000-0000-0000-0000-00000000000a']": (pa.list_(pa.string()), ["00000000-0000-0000-0000-00000000000a"]),
    "MAP(ARRAY['k', 'l'], ARRAY[JSON '1', NULL])": (pa.map_(pa.string(), pa.string()), [("k", "1"), ("l", None)]),
    "MAP(ARRAY[1.5e0, nan()], ARRAY[1, 2])": (pa.map_(pa.float64(), pa.int32()), [(1.5, 1), ("nan", 2)]),
    "MAP(ARRAY[ROW(1, DATE '2020-01-01')], ARRAY[ARRAY[TIMESTAMP '2020-01-01 00:00:00.5']])": (
        pa.map_(pa.struct([("field0", pa.int32()), ("field1", pa.date32())]), pa.list_(pa.timestamp("ms"))),
        [({"field0": 1, "field1": dt.date(2020, 1, 1)}, [dt.datetime(2020, 1, 1, 0, 0, 0, 500000)])],
    ),
    "CAST(MAP() AS map(varchar, integer))": (pa.map_(pa.string(), pa.int32()), []),
    "ARRAY[MAP(ARRAY[1], ARRAY[MAP(ARRAY[DATE '1969-12-31'], ARRAY[X'01'])]), NULL]": (
        pa.list_(pa.map_(pa.int32(), pa.map_(pa.date32(), pa.binary()))),
        [[(1, [(dt.date(1969, 12, 31), b"\1")])], None],
    ),
    'CAST(ROW(1, 2, 3, 4) AS row(a integer, "a" integer, integer, field2 integer))': (
        pa.struct([(name, pa.int32()) for name in ("a", "a_2", "field2_2", "field2")]),
        {"a": 1, "a_2": 2, "field2_2": 3, "field2": 4},
    ),
    'CAST(ROW(1, ROW(\'x\', NULL)) AS row("a""b, c) " integer, "Grün" row(varchar, time(3))))': (
        pa.struct([('a"b, c) ', pa.int32()), ("Grün", pa.struct([("field0", pa.string()), ("field1", pa.time64("us"))]))]),
        {'a"b, c) ': 1, "Grün": {"field0": "x", "field1": None}},
    ),
    "ROW(MAP(ARRAY[1], ARRAY[TIMESTAMP '2020-01-01 00:00:00.123456 UTC']), NULL)": (
        pa.struct([("field0", pa.map_(pa.int32(), pa.timestamp("us", "UTC"))), ("field1", pa.string())]),
        {"field0": [(1, dt.datetime(2020, 1, 1, 0, 0, 0, 123456, UTC))], "field1": None},
    ),
}


def plain(value):
    """NaN as a text, since it is not equal to itself."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value


def test_every_type_is_read_as_arrow_can_hold_it(query, make):
    everything = {**TYPES, **NESTED}
    names = [f"c{i}" for i in range(len(everything))]
    rows = f"(1, {', '.join(everything)}), (2, {', '.join(['NULL'] * len(everything))})"
    table = make(f"SELECT * FROM (VALUES {rows}) AS t (i, {', '.join(names)})")
    for (value, (kind, expected)), array in zip(everything.items(), read(query, table, *names), strict=True):
        assert (array.type, plain(array.to_pylist())) == (kind, [expected, None]), value
        assert len(set(encode_column(array))) == 2, value


FRACTION = "123456789987"


@pytest.mark.parametrize("kind", ["time", "timestamp", "timestamp with time zone"])
def test_no_digit_of_a_second_is_lost_at_any_precision(query, make, kind):
    written = {p: "10:00:00" + (f".{FRACTION[:p]}" if p else "") for p in range(13)}
    day, word = ("", "TIME") if kind == "time" else ("1969-12-31 ", "TIMESTAMP")
    zone = " +02:00" if "zone" in kind else ""
    values = [f"{word} '{day}{text}{zone}'" for text in written.values()]
    table = make(f"SELECT * FROM (VALUES (1, {', '.join(values)})) AS t (i, {', '.join(f'p{p}' for p in written)})")
    for (p, text), array in zip(written.items(), read(query, table, *(f"p{p}" for p in written)), strict=True):
        local = text.replace("10:", "08:") if zone else text
        if p > 9:
            assert array.to_pylist() == [f"{day}{local}{' UTC' if zone else ''}"]
            continue
        unit = ("s", "ms", "us", "ns")[-(-p // 3)] if day else ("us" if p <= 6 else "ns")
        assert array.type == (pa.timestamp(unit, "UTC" if zone else None) if day else pa.time64(unit))
        expected = np.datetime64(f"{day or '1970-01-01 '}{local}", unit).astype(np.int64)
        assert array.cast(pa.int64()).to_pylist() == [expected]


FAR = {
    "DATE '-4712-01-01'": "-4712-01-01",
    "DATE '+12345-01-01'": "12345-01-01",
    "DATE '-200000-03-01'": "-200000-03-01",
    "TIMESTAMP '-0001-12-31 23:59:59.999'": "-001-12-31T23:59:59.999",
    "TIMESTAMP '+12345-01-01 00:00:00.000001'": "12345-01-01T00:00:00.000001",
    "TIMESTAMP '-200000-01-01 00:00:00.000001'": "-200000-01-01T00:00:00.000001",
    "TIMESTAMP '+200000-01-01 00:00:00'": "200000-01-01T00:00:00",
    "TIMESTAMP '+12345-01-01 00:00:00.000001 UTC'": "12345-01-01T00:00:00.000001",
    "TIMESTAMP '-0400-01-01 00:00:00.1 UTC'": "-400-01-01T00:00:00.1",
}


def test_years_that_python_has_not_are_read_exactly(query, make):
    names = [f"c{i}" for i in range(len(FAR))]
    table = make(f"SELECT * FROM (VALUES (1, {', '.join(FAR)})) AS t (i, {', '.join(names)})")
    for text, array in zip(FAR.values(), read(query, table, *names), strict=True):
        unit = "D" if pa.types.is_date(array.type) else array.type.unit
        integers = array.cast(pa.int32() if unit == "D" else pa.int64()).to_pylist()
        assert integers == [np.datetime64(text, unit).astype(np.int64)]
        assert len(encode_column(array)) == 1


@pytest.mark.parametrize("kind", ["timestamp(9)", "timestamp(7) with time zone"])
def test_a_year_beyond_nanoseconds_is_an_error_that_names_the_column_only(query, make, kind):
    table = values_table(make, [f"CAST(TIMESTAMP '{year}-12-31 00:00:00 UTC' AS {kind})" for year in (2020, 9876)])
    with pytest.raises(SourceError, match=r"column 'v' of a\.b\.t has type timestamp.* to timestamp\(6\) or varchar") as caught:
        read(query, table, "v")
    assert "9876" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert len(set(digests(query, table, "v"))) == 2


def test_not_a_number_and_zeros_are_read_as_they_are(query, make):
    for kind in ("double", "real"):
        array = read(query, values_table(make, [f"CAST({v} AS {kind})" for v in ("nan()", "0e0 * -1", "0e0", "1e0")]), "v")[0]
        assert [str(v) for v in array.to_pylist()] == ["nan", "-0.0", "0.0", "1.0"]


@pytest.mark.parametrize("value", ["approx_set(1)", "qdigest_agg(1)", "tdigest_agg(1)", "ARRAY[approx_set(1)]", "ROW(approx_set(1))"])
def test_a_type_that_cannot_be_read_is_named(query, value):
    with pytest.raises(SourceError, match=r"column 'odd' of a\.b\.t has type .*(HyperLogLog|digest).*view that casts it"):
        columns_of(query, f"(SELECT {value} AS odd FROM (VALUES 1) AS t (i))", "odd")


def test_a_column_of_nothing_is_text(query):
    table = "(SELECT 1 AS i, NULL AS v, ARRAY[NULL] AS w, ARRAY[] AS x)"
    assert [array.to_pylist() for array in read(query, table, "v", "w", "x")] == [[None], [[None]], [[]]]
    assert len(digests(query, table, "v", "w", "x")) == 1


# --- digests -----------------------------------------------------------------------------------------------------------------------------


def text_sql(value):
    return f"from_utf8(X'{value.encode().hex()}')"


def array_sql(item, kind):
    return lambda values: f"CAST(ARRAY[{', '.join(map(nullable(item), values))}] AS array({kind}))"


def nullable(write):
    return lambda value: "NULL" if value is None else write(value)


TEXT = st.none() | st.text("ab:;[0n1é\0 ", max_size=3)
SMALL = st.none() | st.sampled_from([-1, 0, 1, 10, 11])
FLOATS = st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf]) | st.floats()
MICROS = st.sampled_from([-1, 0, 1, 10, 100_000, 1_000_000])


def double_sql(value):
    return f"from_ieee754_64(X'{struct.pack('>d', value).hex()}')"


def micros_sql(value):
    return f"CAST(from_unixtime_nanos(DECIMAL '{value * 1000}') AT TIME ZONE 'UTC' AS timestamp(6))"


MIXED = {
    "a": ("varchar", TEXT, text_sql),
    "b": ("varchar", TEXT, text_sql),
    "c": ("char(3)", TEXT.map(lambda t: t and t.rstrip(" ")), text_sql),
    "d": ("bigint", SMALL, str),
    "e": ("integer", SMALL, str),
    "x": ("double", st.none() | FLOATS, double_sql),
    "n": ("decimal(9, 2)", st.none() | st.decimals(-11, 11, places=2), lambda v: f"DECIMAL '{v:f}'"),
    "ok": ("boolean", st.none() | st.booleans(), str),
    "bin": ("varbinary", st.none() | st.binary(max_size=2), lambda v: f"X'{v.hex()}'"),
    "at": ("timestamp(6)", st.none() | MICROS, micros_sql),
    "l": ("array(varchar)", st.none() | st.lists(TEXT, max_size=2), array_sql(text_sql, "varchar")),
    "ll": (
        "array(array(integer))",
        st.none() | st.lists(st.none() | st.lists(SMALL, max_size=2), max_size=2),
        array_sql(array_sql(str, "integer"), "array(integer)"),
    ),
    "s": (
        "row(p varchar, q integer)",
        st.none() | st.tuples(TEXT, SMALL),
        lambda v: f"ROW({nullable(text_sql)(v[0])}, {nullable(str)(v[1])})",
    ),
    "m": (
        "map(varchar, integer)",
        st.none() | st.dictionaries(st.text("ab:", max_size=2), SMALL, max_size=2),
        lambda v: f"MAP({array_sql(text_sql, 'varchar')(v)}, {array_sql(str, 'integer')(v.values())})",
    ),
}


def same(value):
    """Equal values as equal texts: one NaN, one zero, maps in any order."""
    if isinstance(value, dict):
        return sorted((key, same(item)) for key, item in value.items())
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value + 0.0
    return value + 0 if isinstance(value, Decimal) else value


@settings(FEW, max_examples=8)
@given(data=st.data())
def test_digests_are_equal_exactly_where_values_are(query, make, data):
    names = data.draw(st.lists(st.sampled_from(list(MIXED)), min_size=1, max_size=3, unique=True))
    rows = data.draw(st.lists(st.fixed_dictionaries({name: MIXED[name][1] for name in names}), min_size=30, max_size=80))
    values = [", ".join(f"CAST({nullable(MIXED[n][2])(row[n])} AS {MIXED[n][0]})" for n in names) for row in rows]
    table = make(f"SELECT * FROM (VALUES {', '.join(f'({i}, {row})' for i, row in enumerate(values))}) AS t (i, {', '.join(names)})")
    found = digests(query, table, *names)
    expected = [repr([same(row[name]) for name in names]) for row in rows]
    assert len(set(found)) == len(set(expected)) == len(set(zip(found, expected, strict=True))), names


WIDENED = {
    "integer": ["TINYINT '5'", "SMALLINT '5'", "5", "BIGINT '5'", "DECIMAL '5'", "CAST(5 AS decimal(38, 3))"],
    "hundred": ["100", "CAST(100 AS decimal(9, 3))"],
    "zero": ["0", "CAST(0 AS decimal(9, 3))"],
    "fraction": ["DECIMAL '0.5'", "CAST(0.5 AS decimal(9, 4))"],
    "negative": ["SMALLINT '-1'", "CAST(-1 AS decimal(9, 1))"],
    "float": ["REAL '0.1'", "CAST(REAL '0.1' AS double)"],
    "float zero": ["REAL '-0.0'", "0e0", "-0e0"],
    "not a number": ["CAST(nan() AS real)", "nan()", "from_ieee754_64(X'FFF8000000000001')"],
    "text": ["CAST('ab' AS varchar(2))", "CAST('ab' AS varchar)", "CAST('ab' AS char(2))", "CAST('ab' AS char(9))"],
    "json": ["JSON '[ 1]'", "'[1]'"],
    "uuid": ["UUID '00000000-0000-0000-0000-00000000000A'", "'00000000-0000-0000-0000-00000000000a'"],
    "time": [f"CAST(TIME '10:00:00.1' AS time({p}))" for p in (1, 3, 6, 12)],
    "whole time": [f"CAST(TIME '10:00:00' AS time({p}))" for p in (0, 1, 12)],
    "timestamp": [f"CAST(TIMESTAMP '2020-01-01 00:00:00.1' AS timestamp({p}))" for p in (1, 3, 6, 9, 12)],
    "whole timestamp": [f"CAST(TIMESTAMP '2020-01-01 00:00:00' AS timestamp({p}))" for p in (0, 6)],
    "instant": ["TIMESTAMP '2020-01-01 02:00:00.000 +02:00'", "TIMESTAMP '2020-01-01 00:00:00.000000000000 UTC'"],
    "array": ["CAST(ARRAY[1, NULL] AS array(tinyint))", "CAST(ARRAY[1, NULL] AS array(decimal(5, 2)))"],
    "row": ["CAST(ROW(1, 'a') AS row(a integer, b varchar(3)))", "CAST(ROW(1, 'a') AS row(a bigint, b varchar))"],
    "map": ["MAP(ARRAY['a', 'b'], ARRAY[1, 2])", "MAP(ARRAY['b', 'a'], ARRAY[BIGINT '2', 1])"],
    "map of maps": [
        "MAP(ARRAY[1], ARRAY[MAP(ARRAY[ROW(1, 'x'), ROW(2, 'y')], ARRAY[ARRAY[], ARRAY[nan()]])])",
        "MAP(ARRAY[1], ARRAY[MAP(ARRAY[ROW(2, 'y'), ROW(1, 'x')], ARRAY[ARRAY[nan()], ARRAY[]])])",
    ],
}


def each_alone(query, make, values):
    """The digest of each value as a row of its own."""
    names = [f"c{i}" for i in range(len(values))]
    table = make(f"SELECT {', '.join(f'{value} AS {name}' for name, value in zip(names, values, strict=True))}")
    _, rows = query(f"SELECT {', '.join(digest_of([each]) for each in columns_of(query, table))} FROM {table}")
    return dict(zip(values, varbinary(rows[0]).to_pylist(), strict=True))


def test_a_wider_type_keeps_its_digests(query, make):
    found = each_alone(query, make, [value for values in WIDENED.values() for value in values])
    for family, values in WIDENED.items():
        assert len({found[value] for value in values}) == 1, family
    assert len(set(found.values())) == len(WIDENED)


def test_families_have_different_digests(query, make):
    alike = ["1", "1e0", "'1'", "X'31'", "true", "CAST(NULL AS integer)", "CAST(NULL AS varchar)", "'NULL'", "''", "X''", "ARRAY[1]"]
    alike += ["CAST(ROW(1) AS row(a integer))", "CAST(ROW(1) AS row(b integer))", "ROW(1)", "CAST(NULL AS row(a integer))"]
    alike += ["CAST(ROW(NULL) AS row(a integer))", "CAST(NULL AS array(integer))", "CAST(ARRAY[] AS array(integer))"]
    alike += [
        "CAST(ARRAY[NULL] AS array(integer))",
        "CAST(MAP() AS map(integer, integer))",
        "CAST(NULL AS map(integer, integer))",
        "CAST(NULL AS varbinary)",
    ]
    alike += ["DATE '1970-01-02'", "TIMESTAMP '1970-01-02 00:00:00'", "TIMESTAMP '1970-01-02 00:00:00 UTC'", "TIME '00:00:01'"]
    alike += ["CAST(ROW('ab', 'c') AS row(varchar, varchar))", "CAST(ROW('a', 'bc') AS row(varchar, varchar))"]
    alike += ["TIME '10:00:00 +02:00'", "TIME '08:00:00 +00:00'"]  # equal in SQL, but not the same
    assert len(set(each_alone(query, make, alike).values())) == len(alike)


PINNED = {
    "id": "7",
    "body": "'Grüße'",
    "code": "CAST('ab' AS char(5))",
    "price": "CAST(1.50 AS decimal(9, 2))",
    "x": "-0e0",
    "none": "CAST(NULL AS varchar)",
    "at": "TIMESTAMP '2020-01-01 00:00:00.500 +01:00'",
    "local": "TIMESTAMP '2020-01-01 00:00:00.120'",
    "clock": "TIME '10:00:00.0'",
    "day": "DATE '2020-02-29'",
    "bin": "X'6162'",
    "ok": "true",
    "key": "UUID '00000000-0000-0000-0000-00000000000A'",
    "doc": "JSON '{\"a\": [1]}'",
    "nested": "ARRAY[CAST(ROW(1, ARRAY['x', NULL]) AS row(a integer, b array(varchar)))]",
    "map": "MAP(ARRAY['l', 'k'], ARRAY[2, NULL])",
}


def test_digests_are_pinned(query, make):
    """Another rendering is another digest for every row of every user, who would fetch whole tables again."""
    table = make(f"SELECT 1 AS i, {', '.join(f'{value} AS {quoted(name)}' for name, value in PINNED.items())}")
    assert [digest.hex() for digest in digests(query, table, *map(quoted, PINNED))] == ["f0d15cd3388d5c6d3464b10f486fa8aa"]


def test_a_row_of_many_columns_has_a_digest(query, make):
    names = [f"c{i}" for i in range(130)]
    table = make(f"SELECT 1 AS i, {', '.join(f'{i} AS {name}' for i, name in enumerate(names))}")
    assert len(set(digests(query, table, *names) + digests(query, table, *reversed(names)))) == 2


# --- keys --------------------------------------------------------------------------------------------------------------------------------

UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.text("'\"\\\n\r\t\0\u0301🙂%_ -;/*", max_size=6)


def cast_sql(kind):
    return lambda value: f"CAST('{value}' AS {kind})"


SCALARS = {
    "tinyint": (st.integers(-128, 127), cast_sql("tinyint")),
    "bigint": (st.integers(-(2**63), 2**63 - 1), cast_sql("bigint")),
    "decimal(5, 2)": (st.decimals(-999, 999, places=2), cast_sql("decimal(5, 2)")),
    "decimal(38, 10)": (st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(n).scaleb(-10, Context(60))), None),
    "boolean": (st.booleans(), str),
    "double": (st.floats(allow_nan=False), double_sql),
    "real": (st.floats(width=32, allow_nan=False), lambda v: f"from_ieee754_32(X'{struct.pack('>f', v).hex()}')"),
    "varchar": (UNICODE, text_sql),
    "varchar(9)": (UNICODE, text_sql),
    "char(6)": (UNICODE.map(lambda text: text.rstrip(" ")), text_sql),
    "varbinary": (st.binary(max_size=20), lambda v: f"X'{v.hex()}'"),
    "uuid": (st.uuids().map(str), cast_sql("uuid")),
    "ipaddress": (st.ip_addresses().map(lambda a: getattr(a, "ipv4_mapped", None) or a).map(str), cast_sql("ipaddress")),
    "date": (st.integers(-1_000_000, 8_000_000), lambda v: f"date_add('day', {v}, DATE '1970-01-01')"),
    "timestamp(6)": (st.integers(-(2**55), 2**58), micros_sql),
    "timestamp(3)": (st.integers(-(2**46), 2**48), lambda v: micros_sql(v * 1000)),
    "timestamp(9)": (
        st.integers(-(2**62), 2**62),
        lambda v: f"CAST(from_unixtime_nanos(DECIMAL '{v}') AT TIME ZONE 'UTC' AS timestamp(9))",
    ),
    "timestamp(6) with time zone": (
        st.integers(-(2**55), 2**58),
        lambda v: f"from_unixtime_nanos(DECIMAL '{v * 1000}') AT TIME ZONE 'Asia/Tokyo'",
    ),
    "time(6)": (st.times().map(lambda t: t.isoformat()), cast_sql("time(6)")),
}
SCALARS["decimal(38, 10)"] = (SCALARS["decimal(38, 10)"][0], lambda v: f"CAST('{v:f}' AS decimal(38, 10))")


@pytest.mark.parametrize("kind", SCALARS)
@settings(FEW, max_examples=3)
@given(data=st.data())
def test_a_literal_finds_exactly_its_value_and_renderings_are_the_servers(query, make, kind, data):
    strategy, write = SCALARS[kind]
    drawn = data.draw(st.lists(strategy, min_size=2 if kind == "boolean" else 20, max_size=40, unique_by=same))
    finds_exactly(query, make, [f"CAST({write(value)} AS {kind})" for value in drawn])


PRINTED = {
    "json": ['JSON \'{"b": 1, "a": "it\'\'s"}\'', "JSON 'null'", "JSON '1'", "JSON '1.0'"],
    "time tz": ["TIME '10:00:00.5 +02:00'", "TIME '09:00:00.0 -14:00'", "TIME '00:00:00.0 +00:00'"],
    "day to second": ["INTERVAL '3 04:05:06.789' DAY TO SECOND", "- INTERVAL '3' DAY", "INTERVAL '0' SECOND"],
    "year to month": ["INTERVAL '3' MONTH", "- INTERVAL '13' MONTH"],
    "time(12)": ["TIME '10:00:00.123456789012'", "TIME '10:00:00.500000000000'"],
    "timestamp(12)": ["TIMESTAMP '2020-02-29 10:00:00.123456789012'", "TIMESTAMP '+12345-01-01 00:00:00.000000000000'"],
    "timestamp(10) tz": ["TIMESTAMP '2020-01-01 10:00:00.1234567890 +05:30'", "TIMESTAMP '-0400-01-01 10:00:00.1234500000 UTC'"],
    "infinite": ["infinity()", "-infinity()", "0e0"],
}


@pytest.mark.parametrize("kind", PRINTED)
def test_so_it_is_for_types_that_are_read_as_text(query, make, kind):
    finds_exactly(query, make, PRINTED[kind])


def finds_exactly(query, make, values):
    table = values_table(make, [*values, "NULL"])
    each, keys = columns_of(query, table, "v")[0], read(query, table, "v")[0]
    found = literals(keys, each)
    _, rows = query(f"SELECT {each.digest}, {', '.join(f'v IN ({literal})' for literal in found)} FROM {table} ORDER BY i")
    assert renderings(keys, each) == [row[0] for row in rows]
    matches = [[bool(cell) for cell in row[1:]] for row in rows]
    assert matches == [[i == j < len(values) for j in range(len(rows))] for i in range(len(rows))]


def test_not_a_number_is_found_by_is_not_distinct_from(query, make):
    table = values_table(make, ["nan()", "1e0", "NULL"])
    each, keys = columns_of(query, table, "v")[0], read(query, table, "v")[0]
    nan, _, null = literals(keys, each)
    _, rows = query(f"SELECT i, v IS NOT DISTINCT FROM {nan}, v IS NOT DISTINCT FROM {null}, v IN ({nan}) FROM {table} ORDER BY i")
    assert [row[1:] for row in rows] == [[True, False, False], [False, False, False], [False, True, None]]
    assert renderings(keys, each)[0] == "7FF8000000000000;"


HOSTILE = [
    "x",
    "1",
    " ",
    "'",
    "' OR 1=1 --",
    "2020-13-99 00:00:00.0000000000",
    "2020-01-01 00:00:00.0000000000",
    "a" * 40,
    "::FFFF:1.2.3.4",
    "{",
    "NaN",
    "[1",
    "-",
]


def test_a_text_that_cannot_be_in_the_column_finds_nothing_and_fails_nothing(query, make):
    kinds = {
        "uuid": "UUID '00000000-0000-0000-0000-00000000000A'",
        "ipaddress": "IPADDRESS '1.2.3.4'",
        "char": "CAST('y' AS char(3))",
        "json": "JSON '{}'",
        "day": "INTERVAL '3' DAY",
        "month": "INTERVAL '3' MONTH",
        "timetz": "TIME '10:00:00.5 +02:00'",
        "time": "TIME '10:00:00.123456789012'",
        "ts": "TIMESTAMP '2020-02-29 10:00:00.123456789012'",
        "tstz": "TIMESTAMP '2020-02-29 10:00:00.123456789012 UTC'",
    }
    table = make(f"SELECT {', '.join(f'{value} AS {quoted(name)}' for name, value in kinds.items())}")
    for each in columns_of(query, table):
        found = literals(pa.array(HOSTILE), each)
        _, rows = query(f"SELECT count(*) FROM {table} WHERE {quoted(each.name)} IN ({', '.join(found)})")
        assert rows == [[0]], each.name
