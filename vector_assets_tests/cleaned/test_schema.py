"""Row rules: which rows are refused, in which words, and which rules are refused themselves."""

import datetime as dt
import decimal
import re
import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.cleaned.schema import RowRules
from vector_assets.errors import ConfigurationError
from vector_assets.tables import ColumnRules


def check(values: dict[str, pa.Array], **rules: ColumnRules) -> list[str | None]:
    struct = pa.StructArray.from_arrays(list(values.values()), names=list(values))
    return RowRules(rules, pa.schema(list(struct.type))).check(struct).to_pylist()


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
