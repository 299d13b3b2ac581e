"""Which values Weaviate's filter index mistakes. That every condition is answered right is in `live/test_weaviate_query.py`."""

from __future__ import annotations

import datetime as dt

from hypothesis import example, given
from hypothesis import strategies as st

from vector_assets.indexed.weaviate.filters import EARLIEST, LATEST, marks

MICROSECOND = dt.timedelta(microseconds=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
WHITE = "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
"""What Go's `unicode.IsSpace` takes off, which is what Weaviate does to a text."""


@given(st.datetimes(timezones=st.just(dt.UTC)))
@example(EARLIEST)
@example(LATEST)
@example(EARLIEST - MICROSECOND)
@example(LATEST + MICROSECOND)
def test_timestamps_are_marked_where_their_nanoseconds_do_not_fit(moment: dt.datetime) -> None:
    nanoseconds = (moment - EPOCH) // MICROSECOND * 1000
    expected = ["at<"] if nanoseconds < -(2**63) else ["at>"] if nanoseconds >= 2**63 else []
    assert marks({"status": "open", "at": moment, "votes": 1}) == expected


@given(st.text(st.sampled_from(WHITE + "ab\0é"), max_size=4))
def test_texts_that_the_index_trims_are_marked(text: str) -> None:
    assert marks({"status": text}) == (["status~"] if text.strip(WHITE) != text else [])


def test_nothing_else_is_marked() -> None:
    assert marks({"votes": 2**53, "price": -0.0, "open": True, "none": None}) == []
