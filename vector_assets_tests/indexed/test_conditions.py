"""Filters as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.errors import ConfigurationError
from vector_assets.indexed.conditions import check_condition, parse_condition
from vector_assets.indexed.index import CollectionSchema, Condition, Property
from vector_assets.indexed.mapping import property_name
from vector_assets.tables import CollectionSpec

SCHEMA = CollectionSchema(
    "Things_1",
    4,
    CollectionSpec(),
    (
        Property("status", "text"),
        Property("votes", "int"),
        Property("price", "number"),
        Property("open", "boolean"),
        Property("at", "timestamp"),
        Property("source_id", "int"),
        Property(property_name("order-id"), "text"),
    ),
)


@pytest.mark.parametrize(
    ("expression", "condition"),
    [
        ("status=open", Condition("status", "=", "open")),
        (" status = still open ", Condition("status", "=", "still open")),
        ("Status!=a=b", Condition("status", "!=", "a=b")),
        ("status=", Condition("status", "=", "")),
        ("votes>=3", Condition("votes", ">=", 3)),
        ("votes<-3", Condition("votes", "<", -3)),
        ("price<=1e-3", Condition("price", "<=", 0.001)),
        ("open=TRUE", Condition("open", "=", True)),
        ("open!=false", Condition("open", "!=", False)),
        ("at>2024-01-01", Condition("at", ">", "2024-01-01")),
        ("id=7", Condition("source_id", "=", 7)),
        ("order-id=x", Condition("order_id_dc8ec7", "=", "x")),
    ],
)
def test_expressions(expression: str, condition: Condition) -> None:
    parsed = parse_condition(expression, SCHEMA)
    assert parsed == condition
    assert type(parsed.value) is type(condition.value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("status", ["COLUMN=VALUE"]),
        ("=open", ["COLUMN=VALUE"]),
        ("", ["COLUMN=VALUE"]),
        ("nothing=1", ["nothing", "status", "votes"]),
        ("votes=many", ["votes", "int"]),
        ("votes=1.5", ["votes", "int"]),
        ("votes=99999999999999999999", ["votes", "int"]),
        ("price=nan", ["price", "number"]),
        ("open=yes", ["open", "boolean"]),
        ("open>true", ["open", "boolean"]),
        ("at=yesterday", ["at", "timestamp"]),
    ],
)
def test_what_cannot_be_meant(expression: str, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_condition(expression, SCHEMA)
    assert all(word in str(caught.value) for word in words)


@given(st.text(), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]))
def test_any_text_is_a_value(value: str, operator: Any) -> None:
    if value != value.strip() or value[:1] == "=":
        return
    parsed = parse_condition(f"status{operator}{value}", SCHEMA)
    assert parsed == Condition("status", operator, value)
    assert check_condition(parsed, SCHEMA).value == value
