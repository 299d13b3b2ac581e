"""Which expressions may be rules, and which columns they name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vector_assets.checks.expressions import columns_of


@pytest.mark.parametrize(
    ("expression", "columns"),
    [
        ("closed_at IS NULL OR closed_at >= opened_at", ("closed_at", "opened_at")),
        ("a BETWEEN b AND B", ("a", "b", "B")),
        ('"we""ird name" = 1 AND "Größe" > 0', ('we"ird name', "Größe")),
        ("address.city <> 'x' -- a comment, and it ends here", ("address",)),
        ("len(list_filter(items, lambda item, place: item.price > minimum AND place < 9)) = 0", ("items", "minimum")),
        ("len([item for item in items if item > a]) = 0", ("items", "a")),
        ("list_filter(a, lambda b: b > 0) = [] OR b > 0", ("a", "b")),
        ("CASE WHEN a THEN b IN (1, c) ELSE CAST(d AS INTEGER) > 0 END", ("a", "b", "c", "d")),
        ("json_extract_string(a, '$.b') = 'c' AND e ->> 'f' = 'g'", ("a", "e")),
        ("regexp_matches(a, '^[a-z]+$') AND b LIKE 'x%' ESCAPE '!'", ("a", "b")),
        ("age(closed, opened) < INTERVAL 1 YEAR", ("closed", "opened")),
    ],
)
def test_columns_are_those_that_duckdb_sees(expression: str, columns: tuple[str, ...]) -> None:
    assert columns_of(expression) == columns


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("a > (SELECT max(b) FROM t)", "a subquery"),
        ("EXISTS (FROM read_csv('/etc/passwd'))", "a subquery"),
        ("sum(a) OVER () > 1", "a window function"),
        ("COLUMNS(*) > 1", r"\*"),
        ("a = $1", "a parameter"),
        ("a < now()", r"now\(\)"),
        ("a < today()", r"today\(\)"),
        ("age(a) > b", r"age\(\)"),
        ("ago(a) > b", r"ago\(\)"),
        ("random() < a", r"random\(\)"),
        ("a = current_setting('threads')", r"current_setting\(\)"),
        ("a -> 'b' = 'c'", "two things"),
        ("list_filter(a, x -> x > 1) = []", "two things"),
        ("1 = 1", "no column"),
        ("", "no column"),
        ("/* a */", "no column"),
        ("a >", "not an expression"),
        ("a AS b", "not an expression"),
        ("a; DROP TABLE b", "not an expression"),
        ("a) UNION SELECT 1 FROM _batch WHERE (a", "more than one"),
        ("a) ORDER BY (b", "more than one"),
        ("a) LIMIT (1", "more than one"),
        ("a) GROUP BY (b", "more than one"),
        ("a) QUALIFY (b", "more than one"),
        ("a) USING SAMPLE (1", "more than one"),
    ],
)
def test_what_is_no_condition_of_one_row_is_refused(expression: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        columns_of(expression)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab1 ()'\"-;,*+<>=.$?{}[]:/\\\n", max_size=20))
def test_anything_else_is_refused_in_words_without_literals(expression: str) -> None:
    said, columns = "", ("a",)
    try:
        columns = columns_of(f"a = 'SECRET' AND {expression}")
    except ValueError as error:
        said = str(error)
    assert "SECRET" not in said
    assert "a" in columns
