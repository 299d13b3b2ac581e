"""The text of a row: templates applied, values rendered."""

import datetime as dt
import decimal
import uuid

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.errors import ConfigurationError
from vector_assets.fingerprint import encode_column
from vector_assets.redacted.redact import compose, render_column
from vector_assets.tables import parse_template

BERLIN = dt.timezone(dt.timedelta(hours=2))


def struct(**columns: pa.Array) -> pa.StructArray:
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array(["a", None, ""]), ["a", None, ""]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([1, -2, None], pa.int8()), ["1", "-2", None]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([1.0, 1e20, 0.1, float("nan"), float("-inf"), -0.0]), ["1.0", "1e+20", "0.1", "nan", "-inf", "0.0"]),
        (
            pa.array([decimal.Decimal("5.10"), decimal.Decimal("-0.0000001"), decimal.Decimal(100)], pa.decimal128(38, 7)),
            ["5.1", "-0.0000001", "100"],
        ),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([dt.date(2024, 2, 29)]), ["2024-02-29"]),
        (
            pa.array([1_704_164_645_000_000, 120], pa.timestamp("us")),
            ["2024-01-02T03:04:05", "1970-01-01T00:00:00.00012"],
        ),
        (pa.array([dt.datetime(2024, 1, 2, 3, tzinfo=BERLIN)], pa.timestamp("ns", "Europe/Berlin")), ["2024-01-02T01:00:00Z"]),
        (pa.array([dt.time(1, 0, 0), dt.time(1, 2, 3, 500_000)]), ["01:00:00", "01:02:03.5"]),
        (pa.array([b"\x00\xff"]), ["00ff"]),
        (pa.array([[1, None], None]), ["[1, null]", None]),
        (pa.array([{"a": "é", "b": decimal.Decimal("1.50"), "c": dt.date(2024, 1, 1)}]), ['{"a": "é", "b": "1.5", "c": "2024-01-01"}']),
        (pa.array([None, None]), [None, None]),
        (pa.array([uuid.UUID(int=1).bytes], pa.uuid()), [str(uuid.UUID(int=1))]),
    ],
)
def test_rendering(column: pa.Array, texts: list[str | None]) -> None:
    assert render_column(column).to_pylist() == texts


@given(st.integers(-(10**9), 10**9), st.integers(0, 5))
def test_what_fingerprints_alike_renders_alike(number: int, scale: int) -> None:
    value = decimal.Decimal(number).scaleb(-scale)
    narrow, wide = (pa.array([value], pa.decimal128(38, digits)) for digits in (scale, scale + 7))
    assert encode_column(narrow) == encode_column(wide)
    assert render_column(narrow) == render_column(wide)
    seconds = [pa.array([number], pa.timestamp("s")).cast(pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")]
    assert len({render_column(column)[0].as_py() for column in seconds}) == 1


def test_compose() -> None:
    values = struct(subject=pa.array(["Hi", None, None]), body=pa.array(["there", " \n", "x"]), n=pa.array([1, None, 2]))
    assert compose(parse_template("{subject}\n\n{body}"), values) == ["Hi\n\nthere", "", "\n\nx"]
    assert compose(parse_template("{{{n}}} {n}"), values) == ["{1} 1", "{} ", "{2} 2"]


@pytest.mark.parametrize("template", ["{body.__class__}", "{0}", "{body!r}", "{body:>10}"])
def test_placeholders_are_plain_names(template: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no column"):
        compose(parse_template(template), struct(body=pa.array(["x"])))


def test_no_rows_and_null_rows() -> None:
    template = parse_template("a{s}")
    assert compose(template, struct(s=pa.array([], pa.string()))) == []
    assert compose(template, pa.array([None, {"s": "x"}], pa.struct([("s", pa.string())]))) == ["a", "ax"]
    assert compose(template, struct(s=pa.array(["u", "v", "w"])).slice(1, 1)) == ["av"]


@given(st.lists(st.tuples(st.one_of(st.none(), st.text()), st.one_of(st.none(), st.integers(-(2**40), 2**40)))), st.text(), st.text())
def test_compose_is_joining(rows: list[tuple[str | None, int | None]], before: str, between: str) -> None:
    values = struct(a=pa.array([a for a, _ in rows], pa.string()), b=pa.array([b for _, b in rows], pa.int64()))
    texts = [f"{before}{a or ''}{between}{'' if b is None else b}" for a, b in rows]
    assert compose(((before, "a"), (between, "b"), ("", None)), values) == [text if text.strip() else "" for text in texts]
