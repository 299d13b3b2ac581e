"""Filters on properties: read from `status=open`, checked against a collection's types. How an index asks is its own affair."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from vector_assets.errors import ConfigurationError
from vector_assets.indexed.index import CollectionSchema, Condition, Operator, Property
from vector_assets.indexed.mapping import parse_timestamp, property_name
from vector_assets.tables import PropertyType

SOURCE_TABLE = Property("source_table", "text")
"""The one object column that a condition may name."""

_EXPRESSION = re.compile(r"\s*(?P<column>.+?)\s*(?P<operator>!=|<=|>=|=|<|>)\s*(?P<value>.*?)\s*", re.DOTALL)


class Checked(NamedTuple):
    """A condition whose value is of its property's type; a timestamp is an aware datetime in UTC."""

    property: Property
    operator: Operator
    value: str | int | float | bool | dt.datetime


def parse_condition(expression: str, schema: CollectionSchema) -> Condition:
    """`status=open` as a condition: a source column, one of `= != < <= > >=`, a value (spaces around them do not count).

    Raises ConfigurationError for an expression of another form, an unknown property (naming those there are) or a value that is not of the
    property's type.
    """
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise ConfigurationError(f"{expression!r} is not a condition: write COLUMN=VALUE, or with != < <= > >=")
    column, operator, value = match["column"], match["operator"], match["value"]
    prop = _property(schema, property_name(column))
    try:
        typed = _READERS[prop.type](value)
    except ValueError:
        raise ConfigurationError(f"property {prop.name!r} is {prop.type}, and the value in {expression!r} is not") from None
    condition = Condition(prop.name, operator, typed)  # type: ignore[arg-type]  # the expression allows these operators only
    check_condition(condition, schema)
    return condition


def check_condition(condition: Condition, schema: CollectionSchema) -> Checked:
    """A condition, sure to fit the collection. Raises ConfigurationError, naming property and type."""
    prop = _property(schema, condition.property)
    value: object = condition.value
    fits = _FITS[prop.type](value)
    if fits and prop.type == "timestamp":
        try:
            value = parse_timestamp(str(value))
        except ValueError:
            fits = False
    if not fits:
        raise ConfigurationError(
            f"property {prop.name!r} is {prop.type}: it cannot be compared with a {type(condition.value).__name__} like this"
        )
    if prop.type == "boolean" and condition.operator not in ("=", "!="):
        raise ConfigurationError(f"property {prop.name!r} is boolean: it knows = and !=, not {condition.operator}")
    return Checked(prop, condition.operator, value)  # type: ignore[arg-type]  # `fits` has seen to it


def _property(schema: CollectionSchema, name: str) -> Property:
    there = {prop.name: prop for prop in (*schema.properties, SOURCE_TABLE)}
    if name not in there:
        raise ConfigurationError(f"collection {schema.name} has no property {name!r}; it has: {', '.join(sorted(there))}")
    return there[name]


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("not a boolean")
    return text.lower() == "true"


_READERS: Mapping[PropertyType, Callable[[str], str | int | float | bool]] = {
    "text": str,
    "int": int,
    "number": float,
    "boolean": _boolean,
    "timestamp": str,
}
_INT64 = range(-(2**63), 2**63)
_FITS: Mapping[PropertyType, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool) and value in _INT64,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    "boolean": lambda value: isinstance(value, bool),
    "timestamp": lambda value: isinstance(value, str),
}
