"""What to sync: `sources.yaml` as frozen, validated models, and the names of tables. No environment, no I/O: `sources_file.py` reads it.

A `TableRef` is the identity of a table; its `key` is the Dagster partition key and the start of every path. A `TableSpec` is what
sources.yaml says of it. Patterns stay patterns here: `Sources.spec_for` answers for one concrete table.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import quote, unquote

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from vector_assets.catalogs import Catalog
from vector_assets.checks.catalog import CHECKS
from vector_assets.checks.expressions import columns_of
from vector_assets.checks.judge import VERSIONS, WARM_UP, Bounds, Thresholds
from vector_assets.errors import ConfigurationError
from vector_assets.fingerprint import version_of
from vector_assets.frozen import Frozen
from vector_assets.redaction import RedactionPolicy

MAX_PATH_PART_BYTES = 100


class TableRef(NamedTuple):
    """catalog (its name in sources.yaml), schema and table, as the source spells them."""

    catalog: str
    schema: str
    table: str

    @property
    def key(self) -> str:
        """The partition key: parts percent-encoded (a dot in a name too), joined by dots."""
        return ".".join(map(encode_part, self))

    @property
    def path(self) -> str:
        """Where this table lives below a storage root: encoded parts, long ones shortened to a prefix and a hash."""
        return "/".join(_path_part(encode_part(part)) for part in self)

    @classmethod
    def parse(cls, key: str) -> TableRef:
        """The table of a partition key, or of a plain `catalog.schema.table`."""
        parts = key.split(".")
        if len(parts) != 3 or not all(parts):
            raise ConfigurationError(f"{key!r} is not a table: write catalog.schema.table, with a dot inside a name as %2E")
        return cls(*map(unquote, parts))


def encode_part(name: str) -> str:
    """One name, safe in a partition key and in a path: percent-encoded, dots too."""
    return quote(name, safe="").replace(".", "%2E").replace("~", "%7E")


def _path_part(encoded: str) -> str:
    if len(encoded) <= MAX_PATH_PART_BYTES:
        return encoded
    return f"{encoded[:60]}~{version_of('path', name=encoded)}"


# --- collections -----------------------------------------------------------------------------------------------------------------------


class HnswSpec(Frozen):
    """Knobs of Weaviate's vector index; None: the server's default. The embedded index has none of them."""

    ef: int | None = Field(default=None, ge=-1)
    ef_construction: int | None = Field(default=None, ge=4)
    max_connections: int | None = Field(default=None, ge=4)


class CollectionSpec(Frozen):
    """How a collection's vectors are compared and indexed, and (in Weaviate) replicated; part of the generation."""

    distance: Literal["cosine", "dot", "l2-squared"] = "cosine"
    quantization: Literal["none", "rq", "pq", "sq", "bq"] = "none"
    hnsw: HnswSpec = HnswSpec()
    replication: int = Field(default=1, ge=1)

    @property
    def declared(self) -> dict[str, object]:
        """What names a generation. Knobs that came later count only where they are set, so that they renamed nobody's collections."""
        later: dict[str, object] = self.model_dump(mode="json", include={"hnsw", "replication"}, exclude_defaults=True)
        return {"distance": self.distance, "quantization": self.quantization, **later}


# --- tables ----------------------------------------------------------------------------------------------------------------------------

PropertyPolicy = Literal["keep", "redact", "hash", "drop"]
PropertyType = Literal["text", "int", "number", "boolean", "timestamp"]


class PropertySpec(Frozen):
    """What becomes of a column beside the text. `type` fixes the type in the collection (else it follows the first table's column)."""

    policy: PropertyPolicy
    type: PropertyType | None = None


ColumnType = Literal["integer", "number", "string", "boolean", "date", "timestamp", "time", "binary", "list", "struct"]


class ColumnRules(Frozen):
    """Quality rules of one column; a row that breaks one is rejected with the rule's name, never with the value. Two are not of single
    rows: a column of another `type` stops the table, and so do values of a `unique` column that occur twice."""

    type: ColumnType | None = None
    unique: bool = False
    nullable: bool = True
    min: float | None = Field(default=None, allow_inf_nan=False)
    max: float | None = Field(default=None, allow_inf_nan=False)
    isin: tuple[str | int | float | bool, ...] | None = None
    regex: str | None = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=0)

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
        return value


class CheckLimits(Frozen):
    """Thresholds of one check for one table, in the check's own measure; None: never."""

    warn: float | None = Field(default=None, ge=0)
    block: float | None = Field(default=None, ge=0)


class HistorySpec(Frozen):
    """How many published versions a new one is compared with, and how many it takes until anything is said."""

    versions: int = Field(default=VERSIONS, ge=2, le=100)
    warm_up: int = Field(default=WARM_UP, ge=1, le=100)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.warm_up > self.versions:
            raise ValueError(f"warm_up ({self.warm_up}) is more than the versions that are kept ({self.versions})")
        return self


class PassageRule(Frozen):
    """How a text becomes passages; part of the embedding generation. `max_tokens` None: the model's own limit."""

    max_tokens: int | None = Field(default=None, ge=16)
    overlap_tokens: int = Field(default=32, ge=0)


def _policy(value: object) -> object:
    return {"policy": value} if isinstance(value, str) else value


class TableSpec(Frozen):
    """One entry under `tables:`; `table` may be a pattern (`lake.support.*`)."""

    table: str
    key: tuple[str, ...] = Field(min_length=1)
    text: str
    collection: str = Field(pattern=r"^[A-Z][_0-9A-Za-z]{0,200}$")
    properties: dict[str, Annotated[PropertySpec, BeforeValidator(_policy)]] = Field(default_factory=dict)
    html: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    redaction: str = "default"
    quality: dict[str, ColumnRules] = Field(default_factory=dict)
    rules: dict[str, str] = Field(default_factory=dict)
    on_reject: Literal["keep_last", "drop"] = "keep_last"
    private: Literal["purge", "keep"] = "purge"
    passages: PassageRule = PassageRule()
    checks: dict[str, CheckLimits] = Field(default_factory=dict)
    history: HistorySpec = HistorySpec()

    @field_validator("rules")
    @classmethod
    def _expressions(cls, value: dict[str, str]) -> dict[str, str]:
        for name, expression in value.items():
            if re.fullmatch(r"\w{1,100}", name) is None:
                raise ValueError(f"{name!r} is not a name: letters, digits and underscores, at most 100")
            try:
                columns_of(expression)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return value

    @field_validator("checks", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        # `row_count: off`: YAML 1.1 reads a bare off as false
        return {name: {} if limits in (False, "off") else limits for name, limits in value.items()} if isinstance(value, dict) else value

    @field_validator("checks")
    @classmethod
    def _known(cls, value: dict[str, CheckLimits]) -> dict[str, CheckLimits]:
        known = {check.name: check.measure for check in CHECKS if check.accept != "cannot be"}
        for name, limits in value.items():
            if known.get(name) in ("share", "count") and 0 in (limits.warn, limits.block):
                raise ValueError(f"{name}: none at all reaches 0, too: write the smallest {known[name]} that is to fail, or `off`")
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                raise ValueError(
                    f"there is no check {name!r}" + (f": did you mean {close[0]}?" if close else f" (there are: {', '.join(known)})")
                )
        return value

    @property
    def thresholds(self) -> Thresholds:
        """Thresholds of the checks of this table."""
        overrides = {name: Bounds(limits.warn, limits.block) for name, limits in self.checks.items()}
        return Thresholds(overrides, self.history.versions, self.history.warm_up)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.key)) != len(self.key):
            raise ValueError(f"key names a column twice: {', '.join(self.key)}")
        if not self.text_columns:
            raise ValueError("text names no column: write {column} where its value goes")
        without = [column for column in self.key if column not in self.properties]
        if without:
            raise ValueError(f"key column {without[0]!r} needs a policy under properties: keep, hash, redact or drop")
        shown = [column for column in self.known if column in self.properties and self.properties[column].policy == "keep"]
        if shown:
            raise ValueError(f"known names {shown[0]!r}, whose policy is keep: what must not be read cannot be shown")
        if len(self.table.split(".")) != 3:
            raise ValueError(f"{self.table!r} is not catalog.schema.table")
        return self

    @property
    def template(self) -> tuple[tuple[str, str | None], ...]:
        """The text template as (literal, column) pairs; a column of None ends it."""
        return parse_template(self.text)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns of the template, each once, in order of appearance."""
        return tuple(dict.fromkeys(column for _, column in self.template if column is not None))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the pipeline reads, each once: key, text, properties that are not dropped, known values, quality, rules."""
        ruled = (column for expression in self.rules.values() for column in columns_of(expression))
        return tuple(dict.fromkeys((*self.key, *self.text_columns, *self.shown, *self.known, *self.quality, *ruled)))

    @property
    def shown(self) -> tuple[str, ...]:
        """Columns that become properties, in any form."""
        return tuple(name for name, spec in self.properties.items() if spec.policy != "drop")

    @property
    def personal(self) -> tuple[str, ...]:
        """Columns whose values must not be read in the text or the redacted properties of their row: `known`, and those that are hashed,
        redacted or dropped. A dropped one is not read for this alone, and one that is in the text is dropped only from the properties."""
        policies = {column: self.properties[column].policy for column in self.columns if column in self.properties}
        declared = {column for column, policy in policies.items() if policy in ("hash", "redact")}
        dropped = {column for column, policy in policies.items() if policy == "drop"} - {*self.text_columns}
        return tuple(sorted({*declared, *dropped, *self.known}))

    @property
    def declared(self) -> str:
        """A hash of the declared properties: what was redacted under others must not reach a collection of these."""
        return version_of("declared", properties={name: spec.model_dump(mode="json") for name, spec in self.properties.items()})

    def matches(self, ref: TableRef) -> bool:
        """Whether this entry speaks of that table; `*`, `?` and `[…]` match within one part."""
        patterns = [*map(unquote, self.table.split("."))]
        if not self.is_pattern:  # a name may hold an encoded `[`, which fnmatch would take for more
            return [*ref] == patterns
        return all(fnmatch.fnmatchcase(name, pattern) for name, pattern in zip(ref, patterns, strict=True))

    @property
    def is_pattern(self) -> bool:
        """Whether `table` names many tables."""
        return any(character in self.table for character in "*?[")


_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")


def parse_template(template: str) -> tuple[tuple[str, str | None], ...]:
    r"""Split `"{subject}\n\n{body}"` into (literal, column) pairs. Whatever stands between braces is a column's plain name: there are no
    attributes, indexes or format specs to evaluate. `{{` and `}}` are literal braces.

    Raises ValueError for a lone brace or an empty placeholder.
    """
    parts: list[tuple[str, str | None]] = []
    literal, position = "", 0
    for match in _PLACEHOLDER.finditer(template):
        literal += template[position : match.start()]
        position = match.end()
        if match.group() in ("{{", "}}"):
            literal += match.group()[0]
        elif match.group(1) is None:
            raise ValueError(f"text has a lone {match.group()!r} at character {match.start()}: double it to mean the character itself")
        else:
            parts.append((literal, match.group(1)))
            literal = ""
    parts.append((literal + template[position:], None))
    return tuple(parts)


MessageFormat = Literal["json", "slack", "alertmanager", "pagerduty"]


class ReceiverSpec(Frozen):
    """Somebody who is told what goes wrong. Address and routing key are secrets: `${VAR}`, or a file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    format: MessageFormat = "json"
    url: SecretStr | None = None
    url_file: Path | None = None
    key: SecretStr | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.format != "pagerduty" and self.url is None and self.url_file is None:
            raise ValueError(f"{self.name}: url or url_file says where to post")
        if self.format == "pagerduty" and self.key is None and self.key_file is None:
            raise ValueError(f"{self.name}: key or key_file holds PagerDuty's routing key")
        return self


class Sources(Frozen):
    """The whole of sources.yaml."""

    catalogs: dict[str, Catalog]
    tables: tuple[TableSpec, ...]
    collections: dict[str, CollectionSpec] = Field(default_factory=dict)
    redaction: dict[str, RedactionPolicy] = Field(default_factory=dict, validate_default=True)
    notifications: tuple[ReceiverSpec, ...] = Field(default=(), max_length=8)  # each may cost a sensor's tick 5 s

    @field_validator("redaction")
    @classmethod
    def _with_default(cls, policies: dict[str, RedactionPolicy]) -> dict[str, RedactionPolicy]:
        return {"default": RedactionPolicy(), **policies}

    @field_validator("notifications")
    @classmethod
    def _named_apart(cls, receivers: tuple[ReceiverSpec, ...]) -> tuple[ReceiverSpec, ...]:
        names = [receiver.name for receiver in receivers]
        if len(set(names)) != len(names) or "webhook" in names:
            raise ValueError("every receiver needs a name of its own, and `webhook` is that of VECTOR_ASSETS_WEBHOOK_URL")
        return receivers

    @model_validator(mode="after")
    def _references(self) -> Self:
        for spec in self.tables:
            catalog = unquote(spec.table.split(".")[0])
            if not any(fnmatch.fnmatchcase(name, catalog) for name in self.catalogs):
                raise ValueError(f"table {spec.table!r}: there is no catalog {catalog!r} (there are: {', '.join(self.catalogs) or 'none'})")
            if spec.redaction not in self.redaction:
                raise ValueError(f"table {spec.table!r}: there is no redaction policy {spec.redaction!r}")
        for name in {spec.collection for spec in self.tables}:
            self._agree(name)
        return self

    def _agree(self, collection: str) -> None:
        first, *others = self.tables_of(collection)
        for other in others:
            if other.passages != first.passages:
                raise ValueError(f"{first.table!r} and {other.table!r} share collection {collection} and must agree on passages:")
            for name in {*first.shown} & {*other.shown}:
                if first.properties[name] != other.properties[name]:
                    raise ValueError(
                        f"{first.table!r} and {other.table!r} share collection {collection} and must agree on property {name!r}"
                    )

    def find(self, ref: TableRef) -> TableSpec | None:
        """The entry for a table: the one that names it, else the first pattern that matches; None where there is none."""
        return min((spec for spec in self.tables if spec.matches(ref)), key=lambda spec: spec.is_pattern, default=None)

    def spec_for(self, ref: TableRef) -> TableSpec:
        """The entry for a table. Raises ConfigurationError where there is none."""
        spec = self.find(ref)
        if spec is None:
            raise ConfigurationError(f"no entry under tables: matches {ref.key}; add one, or check the spelling")
        return spec

    def collection(self, name: str) -> CollectionSpec:
        """Settings of a collection; defaults where sources.yaml says nothing."""
        return self.collections.get(name, CollectionSpec())

    def properties_of(self, collection: str) -> dict[str, PropertySpec]:
        """Declared properties of a collection: those of all tables that feed it."""
        return {name: spec.properties[name] for spec in self.tables_of(collection) for name in spec.shown}

    def tables_of(self, collection: str) -> tuple[TableSpec, ...]:
        """Entries that feed a collection."""
        return tuple(spec for spec in self.tables if spec.collection == collection)
