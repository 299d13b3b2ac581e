"""Conditions as filters of Weaviate, and where its filter index does not say what a value is.

A filter here finds *at least* the objects for which a condition holds: answers are checked again with `holds`. What the index has of a
value is not always the value (tried with Weaviate 1.37):

- a timestamp is int64 nanoseconds and wraps round outside 1677 to 2262: 9999-12-31, a usual "valid until", would sort below 1970;
- a text is trimmed: `!= open` would miss " open";
- -0.0 sorts below every number.

Weaviate stores and returns all of them exactly. So that none is missed, objects with such a timestamp or text say so in `OFF_INDEX`, a
text[] property that others do not have.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vector_assets.indexed.conditions import Checked
from vector_assets.indexed.index import Operator
from vector_assets.tables import PropertyType

if TYPE_CHECKING:
    from weaviate.collections.classes.filters import FilterReturn

OFF_INDEX = "off_index"
"""Property of marks: `name<` and `name>` for a timestamp before and after what the index can hold, `name~` for a text with space around."""

EARLIEST = dt.datetime(1677, 9, 21, 0, 12, 43, 145225, tzinfo=dt.UTC)
LATEST = dt.datetime(2262, 4, 11, 23, 47, 16, 854775, tzinfo=dt.UTC)

_COMPARE: Mapping[Operator, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_METHODS: Mapping[Operator, str] = {
    "=": "equal",
    "!=": "not_equal",
    "<": "less_than",
    "<=": "less_or_equal",
    ">": "greater_than",
    ">=": "greater_or_equal",
}


def marks(properties: Mapping[str, object]) -> list[str]:
    """What an object with these properties has in `OFF_INDEX`; mostly nothing."""
    return [name + mark for name, value in properties.items() if (mark := _mark(value))]


def _mark(value: object) -> str:
    match value:
        case str():
            return "~" if value != value.strip() else ""
        case dt.datetime():
            return "<" if value < EARLIEST else ">" if value > LATEST else ""
    return ""


def holds(condition: Checked, value: object) -> bool:
    """Whether a condition holds for a stored value; `!=` also does for none."""
    if value is None:
        return condition.operator == "!="
    return _COMPARE[condition.operator](value, condition.value)


def filters_of(conditions: Sequence[Checked]) -> Iterator[FilterReturn]:
    """A filter per condition, finding every object for which it holds and perhaps others; none where all objects have to be looked at."""
    for condition in conditions:
        make = _MAKERS.get(condition.property.type, _plain)
        if (made := make(condition)) is not None:
            yield made


def _plain(condition: Checked) -> FilterReturn:
    return _compared(condition, condition.value)


def _compared(condition: Checked, value: object) -> FilterReturn:
    from weaviate.classes.query import Filter

    made: FilterReturn = getattr(Filter.by_property(condition.property.name), _METHODS[condition.operator])(value)
    return made


def _marked(condition: Checked, mark: str) -> FilterReturn:
    from weaviate.classes.query import Filter

    return Filter.by_property(OFF_INDEX).equal(condition.property.name + mark)


def _text(condition: Checked) -> FilterReturn | None:
    from weaviate.classes.query import Filter

    if condition.operator == "=":
        return _plain(condition)  # both sides are trimmed: " open" is found with "open", never missed
    if not _mark(condition.value):
        return _plain(condition) | _marked(condition, "~")
    # The server would compare with another text. Every text is at least "" (`is_none` takes an empty one for none).
    return None if condition.operator == "!=" else Filter.by_property(condition.property.name).greater_or_equal("")


def _number(condition: Checked) -> FilterReturn:
    from weaviate.classes.query import Filter

    assert isinstance(condition.value, int | float)
    value = float(condition.value) + 0.0  # -0.0 becomes 0.0
    made = _compared(condition, value)
    negative_zero: FilterReturn = Filter.by_property(condition.property.name).equal(-0.0)
    return made | negative_zero if _COMPARE[condition.operator](0.0, value) else made


def _timestamp(condition: Checked) -> FilterReturn:
    from weaviate.classes.query import Filter

    assert isinstance(condition.value, dt.datetime)
    plain = _plain(condition)
    before, after = _marked(condition, "<"), _marked(condition, ">")
    side = _mark(condition.value)
    match condition.operator[0]:
        case "=":  # wraps round alike on both sides
            return plain
        case "!":
            return plain | before | after
        case "<" | ">" as towards if side == towards:  # before something early, or after something late
            return before if towards == "<" else after
        case "<" | ">" if side:
            return Filter.by_property(condition.property.name).is_none(False)
        case towards:
            there, beyond = (before, ">") if towards == "<" else (after, "<")
            wrapped = Filter.by_property(OFF_INDEX).not_equal(condition.property.name + beyond)
            return (plain & wrapped) | there


_MAKERS: Mapping[PropertyType, Callable[[Checked], FilterReturn | None]] = {"text": _text, "number": _number, "timestamp": _timestamp}
