"""Trino's types: their text, read into a tree. What becomes of them is said in types.py.

The text to read is the one of a statement's columns (`row("a b" integer, varchar)`). information_schema and DESCRIBE print the fields of
a row without quotes (`row(a b integer, varchar)`), which says too little: such a text is read where the names are plain words, and is
refused where it makes no sense otherwise.
"""

from __future__ import annotations

import re
from typing import NamedTuple

INTEGERS = {"tinyint": 8, "smallint": 16, "integer": 32, "bigint": 64}
"""Integer types, with their bits."""

INTERVALS = {"interval year to month", "interval day to second"}

_PLAIN = {*INTEGERS, *INTERVALS, "boolean", "real", "double", "varchar", "varbinary", "json", "date", "uuid", "ipaddress", "unknown"}
_SIZED = {"char": 1, "decimal": 2, "time": 1, "timestamp": 1, "time with time zone": 1, "timestamp with time zone": 1}
_PARTS = {"array": 1, "map": 2}

_INTERVAL = re.compile("|".join(INTERVALS), re.IGNORECASE)
_NAME = re.compile(rf"(?:{_INTERVAL.pattern})|[a-z_]\w*", re.IGNORECASE)
_SIZES = re.compile(r"\((\d+)(?:, ?(\d+))?\)")
_QUOTED_FIELD = re.compile(r'"((?:[^"]|"")*)" ')
_PLAIN_FIELD = re.compile(r'([^\s"(),]+) ')


class Field(NamedTuple):
    """A field of a row; one that has no name is called None."""

    name: str | None
    kind: Kind


class Kind(NamedTuple):
    """A type: its name in lower case, without sizes; digits and scale, length, or digits of the second; its parts.

    The parts of an array and a map (key, value) have no names.
    """

    name: str
    sizes: tuple[int, ...] = ()
    fields: tuple[Field, ...] = ()

    @property
    def nested(self) -> bool:
        """Whether it is an array, a map or a row."""
        return self.name in ("array", "map", "row")

    @property
    def parts(self) -> tuple[Kind, ...]:
        """The types of its parts, in their order."""
        return tuple(field.kind for field in self.fields)

    @property
    def sql(self) -> str:
        """A scalar type as SQL spells it in a cast."""
        if self.name == "unknown":
            return "varchar"
        word, _, zone = self.name.partition(" with ")
        sizes = f"({', '.join(map(str, self.sizes))})" if self.sizes else ""
        return word + sizes + (f" with {zone}" if zone else "")


class UnreadableTypeError(Exception):
    """A type, by name, that cannot be read."""


def parse(text: str) -> Kind:
    """The type that a text says. Raises UnreadableTypeError for a type that cannot be read, and for a text that is none."""
    kind, end = _kind(text, 0)
    if end != len(text):
        raise UnreadableTypeError("what follows its name")
    return kind


def _kind(text: str, at: int) -> tuple[Kind, int]:
    found = _NAME.match(text, at)
    if not found:
        raise UnreadableTypeError("a type without a name")
    name, at = found[0].lower(), found.end()
    if name == "row" and text.startswith("(", at):
        return _row(text, at + 1)
    if name in _PARTS and text.startswith("(", at):
        return _parts(text, at + 1, name)
    sizes: tuple[int, ...] = ()
    if given := _SIZES.match(text, at):
        sizes, at = tuple(int(number) for number in given.groups() if number), given.end()
    if name in ("time", "timestamp") and text.startswith(" with time zone", at):
        name, at = f"{name} with time zone", at + len(" with time zone")
    if name in _SIZED and len(sizes) == _SIZED[name]:
        return Kind(name, sizes), at
    if name in _PLAIN and (not sizes or name == "varchar"):
        return Kind(name), at
    raise UnreadableTypeError(found[0])


def _parts(text: str, at: int, name: str) -> tuple[Kind, int]:
    fields = []
    for ending in [", "] * (_PARTS[name] - 1) + [")"]:
        kind, at = _kind(text, at)
        if not text.startswith(ending, at):
            raise UnreadableTypeError(f"a {name} of something else")
        at += len(ending)
        fields.append(Field(None, kind))
    return Kind(name, fields=tuple(fields)), at


def _row(text: str, at: int) -> tuple[Kind, int]:
    fields = []
    while True:
        field, at = _field(text, at)
        fields.append(field)
        if text.startswith(")", at):
            return Kind("row", fields=tuple(fields)), at + 1
        if not text.startswith(", ", at):
            raise UnreadableTypeError("a row whose field names are not quoted")
        at += 2


def _field(text: str, at: int) -> tuple[Field, int]:
    if quoted := _QUOTED_FIELD.match(text, at):
        kind, at = _kind(text, quoted.end())
        return Field(quoted[1].replace('""', '"'), kind), at
    named = _PLAIN_FIELD.match(text, at)
    if named:
        try:
            kind, end = _kind(text, named.end())
            return Field(named[1], kind), end
        except UnreadableTypeError:
            if not _INTERVAL.match(text, at):  # the one type of several words that begins like a name
                raise
    kind, at = _kind(text, at)
    return Field(None, kind), at
