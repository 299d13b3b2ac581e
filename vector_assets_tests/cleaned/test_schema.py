"""Row rules: which rows are refused, in which words, and which rules are refused themselves."""

import datetime as dt
import decimal
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vector_assets.cleaned.schema import RowRules
from vector_assets.errors import ConfigurationError
from vector_assets.tables import ColumnRules, ColumnType, Sources, TableSpec


def check(values: dict[str, pa.Array], expressions: dict[str, str] | None = None, **rules: ColumnRules) -> list[str | None]:
    struct = pa.StructArray.from_arrays(list(values.values()), names=list(values))
    return RowRules(rules, pa.schema(list(struct.type)), expressions).check(struct).to_pylist()


def test_reasons_name_rules_and_limits_never_values() -> None:
    assert check(
        {"body": pa.array(["long enough", "short", None]), "status": pa.array(["open", "SECRET", "open"])},
        body=ColumnRules(min_length=10, nullable=False),
        status=ColumnRules(isin=("open", "closed"), regex="[a-z]+"),
    ) == [
        None,
        "body: shorter than 10 characters; status: not one of the allowed values; status: does not match [a-z]+",
        "body: is NULL",
    ]


@pytest.mark.parametrize(
    ("column", "rules", "passes"),
    [
        (pa.array([1, 2, 3, None], pa.int8()), ColumnRules(min=1.5, max=2.5), [False, True, False, True]),
        (pa.array([2**53, 2**53 + 1]), ColumnRules(max=2.0**53), [True, False]),
        (pa.array([2**64 - 1, 0], pa.uint64()), ColumnRules(min=-1, max=1e30), [True, True]),
        (pa.array([-(2**63)]), ColumnRules(min=-1e30, max=1e30), [True]),
        (pa.array([0.1, float("nan"), float("inf"), None]), ColumnRules(max=1), [True, True, False, True]),
        (pa.array([0.1, float("nan"), None]), ColumnRules(nullable=False), [True, False, False]),
        (pa.array([decimal.Decimal("0.10"), None], pa.decimal128(38, 10)), ColumnRules(min=0.1, isin=(0.1,)), [True, True]),
        (pa.array([1, 2], pa.int32()), ColumnRules(isin=(1.0, 2.5, 10**30)), [True, False]),
        (pa.array([True, False, None]), ColumnRules(isin=(True,)), [True, False, True]),
        (pa.array(["ab", "abc", "ab\n", "", None]), ColumnRules(regex="a.|"), [True, False, False, True, True]),
        (pa.array(["é👩", "a"]), ColumnRules(min_length=2, max_length=2), [True, False]),
        (pa.array(["x", None], pa.large_string()), ColumnRules(nullable=False), [True, False]),
        (pa.array([dt.date(2024, 1, 1), None]), ColumnRules(nullable=False), [True, False]),
        (pa.array([[1], None], pa.list_(pa.int8())), ColumnRules(nullable=False), [True, False]),
        (pa.array([None, None], pa.null()), ColumnRules(), [True, True]),
        (pa.array(["x"]), ColumnRules(isin=()), [False]),
    ],
)
def test_rules(column: pa.Array, rules: ColumnRules, passes: list[bool]) -> None:
    assert [reason is None for reason in check({"c": column}, c=rules)] == passes


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        (pa.int64(), ColumnRules(regex="a")),
        (pa.int64(), ColumnRules(min_length=1)),
        (pa.string(), ColumnRules(min=1)),
        (pa.timestamp("us"), ColumnRules(max=1)),
        (pa.bool_(), ColumnRules(min=0)),
        (pa.string(), ColumnRules(isin=(1,))),
        (pa.int64(), ColumnRules(isin=("1",))),
        (pa.int64(), ColumnRules(isin=(True,))),
        (pa.bool_(), ColumnRules(isin=(1,))),
        (pa.date32(), ColumnRules(isin=("2024-01-01",))),
    ],
)
def test_a_rule_that_cannot_fit_is_refused_at_once(kind: pa.DataType, rules: ColumnRules) -> None:
    with pytest.raises(ConfigurationError, match="'c'"):
        RowRules({"c": rules}, pa.schema([("c", kind)]))


def test_unknown_column_lists_what_is_there() -> None:
    with pytest.raises(ConfigurationError, match=r"'bodi'.*body, status"):
        RowRules({"bodi": ColumnRules()}, pa.schema([("body", pa.string()), ("status", pa.string())]))


def test_hostile_column_names_and_sliced_structs() -> None:
    names = ['a"b', "index", "column", "c0", "x" * 200, "ünï"]
    struct = pa.StructArray.from_arrays([pa.array(["ok", "no", "ok"])] * len(names), names=names)
    rules = RowRules({name: ColumnRules(isin=("ok",)) for name in names}, pa.schema(list(struct.type)))
    assert rules.check(struct.slice(1)).to_pylist() == ["; ".join(f"{name}: not one of the allowed values" for name in names), None]


def test_a_null_struct_is_a_row_of_nulls() -> None:
    struct = pa.array([{"a": 1}, None], pa.struct([("a", pa.int64())]))
    assert RowRules({"a": ColumnRules(nullable=False)}, pa.schema(list(struct.type))).check(struct).to_pylist() == [None, "a: is NULL"]


@settings(deadline=None)  # the first imports pandera, and each makes a schema
@given(st.lists(st.one_of(st.none(), st.text("ab\n", max_size=3))), st.sampled_from(["a+", "a|b", "", "(a.)*", "^a$"]), st.integers(0, 3))
def test_as_a_row_by_row_reading_says(texts: list[str | None], regex: str, low: int) -> None:
    reasons = check({"t": pa.array(texts, pa.string())}, t=ColumnRules(regex=regex, min_length=low))
    for text, reason in zip(texts, reasons, strict=True):
        assert (reason is None) == (text is None or (re.fullmatch(regex, text) is not None and len(text) >= low))


def test_an_environment_variable_does_not_switch_quality_off() -> None:
    code = (
        "import pyarrow as pa; from vector_assets.cleaned.schema import RowRules; from vector_assets.tables import ColumnRules;"
        "s = pa.array([{'a': 1}]); print(RowRules({'a': ColumnRules(max=0)}, pa.schema(list(s.type))).check(s))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PANDERA_VALIDATION_ENABLED": "False"}, capture_output=True, text=True, check=True
    )
    assert "above the maximum of 0" in run.stdout


def test_pandera_is_imported_only_where_there_is_something_to_check() -> None:
    code = (
        "import sys, pyarrow as pa; from vector_assets.cleaned.schema import RowRules; from vector_assets.tables import ColumnRules;"
        "s = pa.array([{'a': 1}]); RowRules({'a': ColumnRules()}, pa.schema(list(s.type))); RowRules({}, pa.schema([])).check(s);"
        "assert 'pandera' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- types ------------------------------------------------------------------------------------------------------------------------------

TYPES = {
    "integer": [pa.int8(), pa.uint64()],
    "number": [pa.float32(), pa.decimal128(9, 2), pa.int64()],
    "string": [pa.string(), pa.large_string()],
    "boolean": [pa.bool_()],
    "date": [pa.date32()],
    "timestamp": [pa.timestamp("us"), pa.timestamp("us", "UTC")],
    "time": [pa.time64("us")],
    "binary": [pa.binary(), pa.binary(16)],
    "list": [pa.list_(pa.int8())],
    "struct": [pa.struct([("a", pa.int8())])],
}


@pytest.mark.parametrize("wanted", get_args(ColumnType))
def test_a_column_is_of_the_family_that_is_asked_for(wanted: ColumnType) -> None:
    for name, kinds in TYPES.items():
        for kind in kinds:
            schema, rules = pa.schema([("c", kind)]), {"c": ColumnRules(type=wanted)}
            if name == wanted or (wanted == "number" and pa.types.is_integer(kind)):
                RowRules(rules, schema)
            elif not (wanted == "integer" and pa.types.is_integer(kind)):
                with pytest.raises(ConfigurationError, match=f"'c' should be of type {wanted}, and the source has {re.escape(str(kind))}"):
                    RowRules(rules, schema)


# --- rules of more than one column ------------------------------------------------------------------------------------------------------


def test_expressions_reject_rows_in_their_own_words() -> None:
    values = {"a": pa.array([1, 5, None, 3]), "b": pa.array([2, 3, 4, 0]), "s": pa.array(["1", "SECRET", "3", "1"])}
    expressions = {"a_below_b": "a < b", "divides": "10 // b > 0 AND CAST(s AS INTEGER) > 0"}
    assert check(values, expressions, a=ColumnRules(max=4, nullable=False)) == [
        None,
        "a: above the maximum of 4; a_below_b: does not hold; divides: cannot be evaluated on this row",
        "a: is NULL",  # NULL passes, as in CHECK
        "a_below_b: does not hold; divides: cannot be evaluated on this row",
    ]


def test_expressions_need_no_other_rule() -> None:
    assert check({"a": pa.array([1, 2])}, {"even": "a % 2 = 0"}) == ["even: does not hold", None]
    assert check({"a": pa.array([], pa.int64())}, {"even": "a % 2 = 0"}) == []


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(-5, 5)), st.one_of(st.none(), st.integers(-5, 5))), min_size=1, max_size=40))
def test_expressions_judge_each_row_by_itself(rows: list[tuple[int | None, int | None]]) -> None:
    values = {"a": pa.array([a for a, _ in rows], pa.int64()), "b": pa.array([b for _, b in rows], pa.int64())}
    expected = []
    for a, b in rows:
        if a is None or b is None:
            expected.append(None)
        elif b == 0:
            expected.append("half: cannot be evaluated on this row")
        else:
            expected.append(None if a % b == 0 else "half: does not hold")
    assert check(values, {"half": "a % b = 0"}) == expected


@pytest.mark.parametrize(
    ("column", "expression"),
    [
        (pa.array([decimal.Decimal("1.50")], pa.decimal128(38, 2)), "c > 1"),
        (pa.array([dt.date(2024, 1, 2)]), "c > DATE '2024-01-01'"),
        (pa.array([1_704_153_600_000_000], pa.timestamp("us")), "c > TIMESTAMP '2024-01-01'"),
        (pa.array([dt.datetime(2024, 1, 2, tzinfo=dt.UTC)], pa.timestamp("us", "UTC")), "c > TIMESTAMPTZ '2024-01-01 00:00:00+00'"),
        (pa.array(["Größe"], pa.large_string()), "regexp_full_match(c, '\\p{L}+') AND length(c) = 5"),
        (pa.array([[1, 2]]), "len(list_filter(c, lambda each: each > 2)) = 0"),
        (pa.array([{"city": "Rome"}]), "c.city = 'Rome'"),
        (pa.array(['{"a": 1}']), "json_extract_string(c, '$.a') = '1'"),
        (pa.array([b"abc"]), "octet_length(c) = 3"),
        (pa.array([True]), "c"),
        (pa.array([18446744073709551615], pa.uint64()), "c > 0"),
    ],
)
def test_expressions_take_columns_of_any_type(column: pa.Array, expression: str) -> None:
    assert check({"c": column}, {"yes": expression, "no": f"NOT ({expression})"}) == ["no: does not hold"]


def test_expressions_take_columns_of_any_name() -> None:
    values = {name: pa.array([1]) for name in ['we"ird', "r0", "c0", "_batch", "select", "ünï" * 60]}
    rules = {f"r{at}": '"{}" = 1'.format(name.replace('"', '""')) for at, name in enumerate(values)}
    assert check(values, rules) == [None]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("a", "is of type BIGINT"),
        ("NULLIF(a, a)", "is of type BIGINT"),
        ("sum(a) > 1", "cannot contain aggregates"),
        ("nope = 1", "no column 'nope'"),
        ("A = 1", "no column 'A'"),
        ("upper(a) = 'SECRET'", "No function matches"),
        ("nope(a) = 'SECRET'", "does not exist"),
        ("a = 'SECRET'", "Conversion Error"),
        ("getenv('HOME') = s", "does not exist"),
    ],
)
def test_an_expression_that_cannot_fit_is_refused_at_once(expression: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"rules: rule:? .*{words}") as raised:
        RowRules({}, pa.schema([("a", pa.int64()), ("s", pa.string())]), {"rule": expression})
    assert "SECRET" not in str(raised.value)


def test_columns_that_duckdb_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="'a' and 'A' are one"):
        RowRules({}, pa.schema([("a", pa.int64()), ("A", pa.int64())]), {"rule": 'a < "A"'})


def test_threads_share_the_expressions_of_a_stage() -> None:
    schema = pa.schema([("a", pa.int64())])
    rules = RowRules({}, schema, {"even": "a % 2 = 0"})

    def reasons(start: int) -> list[str | None]:
        return rules.check(pa.array([{"a": start + at} for at in range(50)], pa.struct(list(schema)))).to_pylist()

    with ThreadPoolExecutor(4) as pool:
        for start, found in zip(range(40), pool.map(reasons, range(40)), strict=True):
            assert found == [None if (start + at) % 2 == 0 else "even: does not hold" for at in range(50)]


def spec(**settings: object) -> TableSpec:
    table = {"table": "lake.s.t", "key": ["id"], "text": "{body}", "collection": "Things", "properties": {"id": "keep"}}
    return Sources.model_validate({"catalogs": {"lake": {"engine": "duckdb", "path": "x"}}, "tables": [table | settings]}).tables[0]


def test_columns_of_rules_are_read() -> None:
    assert spec(rules={"a": "opened <= closed", "b": "id > 0 AND len(tags) < 9"}).columns == ("id", "body", "opened", "closed", "tags")


@pytest.mark.parametrize("rules", [{"a b": "id > 0"}, {"": "id > 0"}, {"a": "id > (SELECT 1)"}, {"a": "id >"}, {"a": "random() < id"}])
def test_rules_that_nobody_can_mean_are_refused_as_the_file_is_read(rules: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"tables\.0\.rules"):
        spec(rules=rules)
