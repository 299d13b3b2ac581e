"""What becomes of the columns beside the text: `keep`, `redact`, `hash` or `drop`, each by its declared policy.

A column without a policy is dropped: properties are an allow-list.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from vector_assets.fingerprint import encode_column, version_of
from vector_assets.redacted.analyzer import Redactor
from vector_assets.redacted.redact import column_named, render_column, struct_columns
from vector_assets.tables import PropertySpec

POLICY_VERSION: int = 1
"""Part of the stage version of redacted_text: raise it whenever a property's output changes."""

HASH_DIGITS = 32


class Applied(NamedTuple):
    """`values`: n rows, one field per property that is not dropped, sorted by name. `errors`: n, None where every property of the row could
    be redacted (else that property is NULL)."""

    values: pa.StructArray
    errors: list[Exception | None]


def output_schema(values_type: pa.StructType, properties: Mapping[str, PropertySpec]) -> pa.StructType:
    """The type of `Applied.values`: `keep` keeps a column's type, `redact` and `hash` make strings.

    Raises ConfigurationError for a property that is no column.
    """
    types = {field.name: field.type for field in values_type}
    fields = []
    for name, policy in _declared(properties):
        kind = column_named(types, name, "properties")
        fields.append(pa.field(name, kind if policy == "keep" else pa.string()))
    return pa.struct(fields)


def policy_version(properties: Mapping[str, PropertySpec], *, redactor: Redactor, secret: Callable[[], bytes]) -> str:
    """32 hex digits over all that can change a property: the policies, the redactor and the key of hashes where they are used. The
    key itself cannot be had back from it. Raises what `secret` raises, if a policy needs it."""
    policies = dict(_declared(properties))
    return version_of(
        "properties",
        code=POLICY_VERSION,
        policies=policies,
        redactor=redactor.version if "redact" in policies.values() else None,
        hash_key=hmac.digest(secret(), b"vector_assets key id", "sha256").hex()[:16] if "hash" in policies.values() else None,
    )


def apply_policies(
    values: pa.StructArray, properties: Mapping[str, PropertySpec], *, redactor: Redactor, secret: Callable[[], bytes]
) -> Applied:
    """Columns to properties, row by row in their order; NULL stays NULL under every policy.

    Args:
        values: n rows.
        properties: policies by column name.
        redactor: called once, with the values of all `redact` columns.
        secret: asked for the key of hashes, only where a policy is `hash`.

    Raises:
        ConfigurationError: a property is no column, or the secret is missing.
    """
    columns = struct_columns(values)
    chosen = {name: (policy, column_named(columns, name, "properties")) for name, policy in _declared(properties)}
    errors: list[Exception | None] = [None] * len(values)
    redacted = _redact({name: column for name, (policy, column) in chosen.items() if policy == "redact"}, redactor, errors)
    key = secret() if any(policy == "hash" for policy, _ in chosen.values()) else b""
    out = {
        name: column if policy == "keep" else redacted[name] if policy == "redact" else _hash(column, key)
        for name, (policy, column) in chosen.items()
    }
    if not out:  # a struct of no columns has no length to take from them
        return Applied(pa.array([{}] * len(values), pa.struct([])), errors)
    return Applied(pa.StructArray.from_arrays(list(out.values()), fields=list(output_schema(values.type, properties))), errors)


def _declared(properties: Mapping[str, PropertySpec]) -> list[tuple[str, str]]:
    # By name, so that moving lines about in sources.yaml changes no schema.
    return sorted((name, spec.policy) for name, spec in properties.items() if spec.policy != "drop")


def _hash(column: pa.Array, key: bytes) -> pa.Array:
    """HMAC-SHA256 over typed values: equal values have equal hashes in every table, so they can still be joined and filtered by."""
    digests = [hmac.digest(key, encoded, "sha256").hex()[:HASH_DIGITS] for encoded in encode_column(column)]
    return pa.array(digests, pa.string(), mask=column.is_null().to_numpy(zero_copy_only=False))


def _redact(columns: Mapping[str, pa.Array], redactor: Redactor, errors: list[Exception | None]) -> dict[str, pa.Array]:
    """Redacted columns; notes the first error of each row in `errors`."""
    places: list[tuple[str, int]] = []
    texts: list[str] = []
    for name, column in columns.items():
        for row, text in enumerate(render_column(column).to_pylist()):
            if text is not None:
                places.append((name, row))
                texts.append(text)
    out: dict[str, list[str | None]] = {name: [None] * len(errors) for name in columns}
    answers: Sequence[str | Exception] = redactor.redact(texts) if texts else []
    for (name, row), answer in zip(places, answers, strict=True):
        if isinstance(answer, Exception):
            errors[row] = errors[row] or answer
        else:
            out[name][row] = answer
    return {name: pa.array(texts, pa.string()) for name, texts in out.items()}
