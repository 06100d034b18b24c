"""Named values that may stand there more than once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorrit.protocol.fields import Fields, Headers, Query

PAIRS = st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)))


def test_names_of_headers_are_the_same_in_any_case() -> None:
    headers = Headers([("Host", "a"), ("X-Y", "1"), ("x-y", "2")])
    assert headers["HOST"] == "a"
    assert "hOST" in headers
    assert headers.get("x-z") is None
    assert headers.get_all("X-y") == ["1", "2"]
    assert list(headers) == ["Host", "X-Y"]
    assert len(headers) == 2
    assert dict(headers) == {"Host": "a", "X-Y": "1, 2"}
    with pytest.raises(KeyError, match="x-z"):
        headers["x-z"]


def test_lines_of_cookies_are_joined_as_cookies_are() -> None:
    assert Headers([("Cookie", "a=1"), ("cookie", "b=2")])["Cookie"] == "a=1; b=2"


def test_names_in_a_query_are_compared_exactly_and_the_first_value_counts() -> None:
    query = Query.parse("room=7&Room=8&room=9&empty=&bare&a%20b=%C3%A9+x&bad=%ff")
    assert query["room"] == "7"
    assert query["Room"] == "8"
    assert query.get_all("room") == ["7", "9"]
    assert query["empty"] == query["bare"] == ""
    assert query["a b"] == "\xe9 x"
    assert query["bad"] == "\ufffd"
    assert query.get_all("none") == []


def test_what_is_got_may_be_changed_without_harm() -> None:
    headers = Headers([("a", "1")])
    headers.get_all("a").append("2")
    assert headers["a"] == "1"
    with pytest.raises(AttributeError):
        headers.other = 1  # type: ignore[attr-defined]


def test_values_are_not_shown_since_they_may_be_secrets() -> None:
    assert repr(Headers([("Cookie", "secret"), ("Host", "a")])) == "<Headers Cookie, Host>"
    assert repr(Query([("token", "secret")])) == "<Query token>"


def test_fields_are_equal_with_the_same_pairs_in_the_same_order() -> None:
    assert Headers([("a", "1")]) == Headers([("a", "1")])
    assert hash(Headers([("a", "1")])) == hash(Headers([("a", "1")]))
    assert Headers([("a", "1")]) != Headers([("A", "1")])
    assert Headers() != Query()


@given(PAIRS)
def test_nothing_is_lost(pairs: list[tuple[str, str]]) -> None:
    for kind in (Fields, Headers, Query):
        fields = kind(pairs)
        assert fields.pairs == tuple(pairs)
        assert sum(len(fields.get_all(name)) for name in fields) == len(pairs)
        assert len(fields) == len(list(fields))
        assert all(fields[name] == fields.get(name) for name in fields)


@given(st.text())
def test_a_query_of_any_text_is_read(text: str) -> None:
    query = Query.parse(text)
    assert all(isinstance(value, str) for _, value in query.pairs)
