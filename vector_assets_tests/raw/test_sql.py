import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.errors import ConfigurationError, SourceError
from vector_assets.raw.sql import matching, qualified, quoted, require
from vector_assets.tables import TableRef


@pytest.mark.parametrize(
    ("name", "sql"),
    [("body", '"body"'), ('a"b', '"a""b"'), ('x";--', '"x"";--"'), ("ü" * 200, f'"{"ü" * 200}"'), ("select", '"select"'), ("a.b", '"a.b"')],
)
def test_a_name_stays_one_name(name, sql):
    assert quoted(name) == sql


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_quoting_is_undone_by_halving_the_quotes(name):
    inner = quoted(name)[1:-1]
    assert inner.replace('""', '"') == name
    assert '"' not in inner.replace('""', "")


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_names_that_no_engine_can_hold_are_refused(name):
    with pytest.raises(SourceError, match="NUL"):
        quoted(name)


def test_qualified_quotes_each_part():
    assert qualified("lake", "a.b", 'c"') == '"lake"."a.b"."c"""'


def test_require_offers_close_names_first_and_not_all_of_a_thousand():
    there = [f"column_{i}" for i in range(1000)] + ["body"]
    require(["body", "column_7"], there, "column in t")
    with pytest.raises(SourceError, match=r"no column in t called 'Bdy'; there is: 'body', .* and 991 more$"):
        require(["Bdy"], there, "column in t")
    with pytest.raises(SourceError, match="there is none at all"):
        require(["body"], [], "column in t")


def test_matching_decodes_each_part_and_heeds_case():
    refs = [TableRef("lake", "support", name) for name in ("tickets", "Tickets", "a.b")] + [TableRef("lake", "crm", "tickets")]
    assert matching("lake.support.t*", refs) == [refs[0]]
    assert matching("lake.*.tickets", refs) == [refs[3], refs[0]]
    assert matching("lake.support.a%2Eb", refs) == [refs[2]]
    assert matching("lake.support.[Tt]ickets", refs) == [refs[1], refs[0]]
    assert matching("other.*.*", refs) == []
    with pytest.raises(ConfigurationError, match=r"catalog\.schema\.table"):
        matching("lake.support", refs)
