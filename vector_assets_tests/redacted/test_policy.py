"""Properties by policy: types, order, NULLs, errors, the secret."""

import decimal
import hashlib
import hmac
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.errors import ConfigurationError
from vector_assets.fingerprint import encode_value
from vector_assets.redacted.policy import apply_policies, output_schema, policy_version
from vector_assets.tables import PropertyPolicy, PropertySpec

SECRET = b"0123456789abcdef"


class Shouting:
    """A redactor: upper case; refuses what says so."""

    version = "shouting"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def redact(self, texts: Sequence[str]) -> list[str | Exception]:
        self.calls.append(list(texts))
        return [ValueError(text) if text.startswith("refuse") else text.upper() for text in texts]


def no_secret() -> bytes:
    raise AssertionError("nobody needs the secret here")


def specs(**policies: PropertyPolicy) -> dict[str, PropertySpec]:
    return {name: PropertySpec(policy=policy) for name, policy in policies.items()}


def test_every_policy() -> None:
    values = pa.array(
        [{"k": 1, "r": "ada", "h": "x", "d": "gone", "other": 1}, {"k": None, "r": None, "h": None, "d": None, "other": 2}],
        pa.struct([("k", pa.int16()), ("r", pa.string()), ("h", pa.string()), ("d", pa.string()), ("other", pa.int64())]),
    )
    properties = specs(r="redact", k="keep", h="hash", d="drop")
    applied = apply_policies(values, properties, redactor=Shouting(), secret=lambda: SECRET)
    digest = hmac.new(SECRET, encode_value("x"), hashlib.sha256).hexdigest()[:32]
    assert applied.values.to_pylist() == [{"h": digest, "k": 1, "r": "ADA"}, {"h": None, "k": None, "r": None}]
    assert applied.errors == [None, None]
    assert (
        applied.values.type
        == output_schema(values.type, properties)
        == pa.struct([("h", pa.string()), ("k", pa.int16()), ("r", pa.string())])
    )


def test_one_call_for_all_columns_and_errors_by_row() -> None:
    redactor = Shouting()
    values = pa.array([{"a": "refuse 1", "b": 5}, {"a": "x", "b": None}, {"a": None, "b": 7}])
    applied = apply_policies(values, specs(a="redact", b="redact"), redactor=redactor, secret=no_secret)
    assert redactor.calls == [["refuse 1", "x", "5", "7"]]
    assert applied.values.to_pylist() == [{"a": None, "b": "5"}, {"a": "X", "b": None}, {"a": None, "b": "7"}]
    assert [type(error) for error in applied.errors] == [ValueError, type(None), type(None)]


def test_nothing_kept_keeps_the_length() -> None:
    values = pa.array([{"a": 1}, {"a": 2}, None])
    for properties in ({}, specs(a="drop")):
        applied = apply_policies(values, properties, redactor=Shouting(), secret=no_secret)
        assert applied.values.to_pylist() == [{}, {}, {}]
        assert len(applied.errors) == 3


def test_unknown_property() -> None:
    with pytest.raises(ConfigurationError, match=r"properties: there is no column 'b' \(there are: a\)"):
        apply_policies(pa.array([{"a": 1}]), specs(b="keep"), redactor=Shouting(), secret=no_secret)
    with pytest.raises(ConfigurationError, match="'b'"):
        output_schema(pa.struct([("a", pa.int8())]), specs(b="hash"))


def test_the_version_names_what_can_change_the_output() -> None:
    def version(secret: bytes = SECRET, redactor: str = "r", **policies: PropertyPolicy) -> str:
        shouting = Shouting()
        shouting.version = redactor
        return policy_version(specs(**policies), redactor=shouting, secret=lambda: secret)

    base = version(a="keep", b="redact", c="hash")
    assert base == version(c="hash", b="redact", a="keep", d="drop")
    others = [
        version(a="keep", b="redact", c="hash", secret=b"another secret of 16"),
        version(a="keep", b="redact", c="hash", redactor="s"),
        version(a="redact", b="redact", c="hash"),
        version(a="keep", b="redact"),
    ]
    assert len({base, *others}) == 5
    assert version(a="keep", redactor="r") == version(a="keep", redactor="s", secret=b"")
    assert SECRET.hex() not in base


@given(st.lists(st.integers(-5, 5)))
def test_hashes_follow_values_not_types(numbers: list[int]) -> None:
    columns = [pa.array(numbers, pa.int32()), pa.array([decimal.Decimal(n) for n in numbers], pa.decimal128(20, 3))]
    hashed = [
        apply_policies(
            pa.StructArray.from_arrays([column], names=["a"]), specs(a="hash"), redactor=Shouting(), secret=lambda: SECRET
        ).values
        for column in columns
    ]
    assert hashed[0] == hashed[1]
    assert len(set(hashed[0].field("a").to_pylist())) == len(set(numbers))
