"""A row's own values: which are looked for, where they are found, that they go and leave the rest alone."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.redacted.known import KnownValues, Value, find, redacted, survivors
from vector_assets.redacted.layout import IDENTIFIER, NAME
from vector_assets.tables import TableSpec


def spec(known: tuple[str, ...] = (), text: str = "{body}", **properties: str) -> TableSpec:
    return TableSpec.model_validate(
        {"table": "a.b.c", "key": ["id"], "text": text, "collection": "C", "properties": {"id": "keep", **properties}, "known": known}
    )


def known(value: object, *, policy: str = "hash", text: str = "{body}", kind: pa.DataType | None = None) -> tuple[Value, ...]:
    values = pa.StructArray.from_arrays([pa.array([value], kind)], names=["owner"])
    return KnownValues(spec(owner=policy, text=text), values.type).rows(values)[0]


@pytest.mark.parametrize(
    ("value", "text", "left"),
    [
        ("ada@example.com", "write to Ada@Example.com!", "write to <KNOWN_VALUE>!"),
        ("ada@example.com", "ada\u200b@exam\xadple.com", "<KNOWN_VALUE>"),
        ("ada@example.com", "not xada@example.com", "not xada@example.com"),
        ("ada@example.com", "ada and example.com", "ada and example.com"),
        ("+49 171 2345678", "call (+49) 171/234-56-78 now", "call (+<KNOWN_VALUE> now"),
        ("DE-4711-0815-99", "DE4711081599, de 4711 0815 99", "<KNOWN_VALUE>, <KNOWN_VALUE>"),
        ("10023456", "account 10023456, not 100234567 or 910023456", "account <KNOWN_VALUE>, not 100234567 or 910023456"),
        (10023456, "account 10023456", "account <KNOWN_VALUE>"),
        ("12345", "too short: 12345", "too short: 12345"),
        ("Ada Okafor", "ada OKAFOR's printer", "<KNOWN_VALUE>'s printer"),
        ("Ada Okafor", "Ada\n  Okafor and Ada_Okafor", "<KNOWN_VALUE> and <KNOWN_VALUE>"),
        ("Ada Okafor", "Nevada Okafors", "Nevada Okafors"),
        ("Ada Okafor", "Ada alone", "Ada alone"),
        ("José García", "JOSE GARCIA called", "<KNOWN_VALUE> called"),
        ("Jose Garcia", "José Garci\u0301a called", "<KNOWN_VALUE> called"),
        ("Ada", "one word is any word: Ada", "one word is any word: Ada"),
        ("A b", "too short: A b", "too short: A b"),
        ("x " * 60, "x " * 60, "x " * 60),
        ("", "nothing", "nothing"),
        (None, "nothing", "nothing"),
        ("C++ (Ltd.) [x]", "at c++ (ltd.) [x]?", "at <KNOWN_VALUE>?"),
        ("a.b+c c.d", "a.b+c c.d and aXb+c c.d", "<KNOWN_VALUE> and aXb+c c.d"),
    ],
)
def test_redacted(value: object, text: str, left: str) -> None:
    values = known(value)
    assert redacted(text, values) == left
    assert survivors(left, values) == 0
    changed = IDENTIFIER if isinstance(value, int) or (value and ("@" in value or any(map(str.isdigit, value)))) else NAME
    assert survivors(text, values) == (0 if text == left else changed)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("Ada Okafor", NAME),
        ("ADA B. O'KAFOR-SMITH", NAME),
        ("please call back", 0),  # a sentence in a redacted column is no name
        ("In Progress Since 2024", 0),
        ("Call +49 171 2345678 about order 12345678", 0),
        ("+49 171 2345678", IDENTIFIER),
        ("ada@example.com", IDENTIFIER),
    ],
)
def test_columns_that_may_hold_sentences(value: str, found: int) -> None:
    for policy in ("redact", "drop"):
        values = known(value, policy=policy, text="{owner} {body}" if policy == "redact" else "{body}")
        if policy == "redact":  # in the text and in its own property a name is no news, an identifier is
            assert survivors(f"see {value}.", values, place="owner") == found & IDENTIFIER
            assert survivors(f"see {value}.", values) == found & IDENTIFIER
            assert survivors(f"see {value}.", values, place="another") == found
            assert survivors(f"see {value}.", known(value, policy=policy)) == found
    assert known(value, policy="keep") == ()


def test_a_dropped_column_counts_where_it_is_read() -> None:
    of = spec(text="{title} {body}", title="drop", internal="drop", owner="hash").model_copy(update={"key": ("id", "internal")})
    assert of.personal == ("internal", "owner")  # the title is in the text: only not a property
    assert spec(internal="drop").personal == ()
    assert spec(known=("internal",), internal="drop").personal == ("internal",)
    assert "internal" in spec(known=("internal",)).columns


def test_what_is_shown_cannot_be_known() -> None:
    with pytest.raises(ValueError, match="known names 'status', whose policy is keep"):
        spec(known=("status",), status="keep")


def test_dates_and_amounts_are_not_looked_for() -> None:
    for value in (pa.array([20240102.5]), pa.array([1_700_000_000], pa.timestamp("s")), pa.array([True]), pa.array([[1, 2]])):
        values = pa.StructArray.from_arrays([value], names=["owner"])
        assert KnownValues(spec(owner="hash"), values.type).rows(values) == [()]


def test_fingerprints_follow_known_columns_only() -> None:
    def of(owner: str, body: str, policy: str) -> bytes:
        values = pa.StructArray.from_arrays([pa.array([owner]), pa.array([body])], names=["owner", "body"])
        return KnownValues(spec(owner=policy), values.type).fingerprints(values).tobytes()

    assert of("a", "x", "hash") == of("a", "y", "hash") != of("b", "x", "hash")
    assert of("a", "x", "keep") == of("b", "y", "keep") == bytes(16)


@given(
    st.lists(st.from_regex(r"\w{1,8}( \w{1,8}){0,2}|\w{1,5}@\w{1,5}|[0-9 -]{5,12}", fullmatch=True), max_size=4),
    st.text(max_size=60),
    st.data(),
)
def test_nothing_known_is_left_and_nothing_else_goes(owners: list[str], noise: str, data: st.DataObject) -> None:
    values = [value for owner in owners for value in known(owner)]
    pieces = data.draw(st.lists(st.sampled_from([noise, " ", *owners]), max_size=6))
    text = " ".join(pieces)
    spans = [(found.start, found.end) for found in find(text, values)]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    left = redacted(text, values)
    kept = "".join(each for at, each in enumerate(text) if not any(start <= at < end for start, end in spans))
    assert left.replace("<KNOWN_VALUE>", "") == kept.replace("<KNOWN_VALUE>", "")
    if not spans:
        assert left == text


def test_time_grows_with_the_length() -> None:
    values = (*known("+1 111 111 1111"), *known("aa aa"), *known("a@a.aa"))
    for unit in ("1", "1-", "a", "aa ", "a@", "1 1", "\u200b1"):
        assert redacted(unit * 50_000, values)  # pytest's own time limit is the judge
