"""The header field Sec-WebSocket-Extensions (RFC 6455 section 9.1)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorrit.protocol.extensions import Extension, parse_extensions


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("foo", [("foo", ())]),
        ("foo, bar", [("foo", ()), ("bar", ())]),
        ("foo,bar", [("foo", ()), ("bar", ())]),
        ("foo; a", [("foo", (("a", None),))]),
        ("foo;a=1", [("foo", (("a", "1"),))]),
        ("foo ;\ta\t=  1 ,\tbar", [("foo", (("a", "1"),)), ("bar", ())]),
        ('foo; a="1"', [("foo", (("a", "1"),))]),
        ('foo; a="\\1\\0"', [("foo", (("a", "10"),))]),
        ("foo; a; a=2; b", [("foo", (("a", None), ("a", "2"), ("b", None)))]),
        # RFC 6455 section 9.1 has these as examples.
        ("deflate-stream", [("deflate-stream", ())]),
        ("mux; max-channels=4; flow-control, deflate-stream",
         [("mux", (("max-channels", "4"), ("flow-control", None))), ("deflate-stream", ())]),
        ("private-extension", [("private-extension", ())]),
        # RFC 9110 section 5.6.1.2: empty elements of a list.
        ("", []),
        (" \t", []),
        (",", []),
        (" , ,foo,, bar ,", [("foo", ()), ("bar", ())]),
    ],
)  # fmt: skip
def test_offers_are_read_in_order_with_their_parameters(
    line: str, expected: list[tuple[str, tuple[tuple[str, str | None], ...]]]
) -> None:
    assert parse_extensions([line]) == [Extension(*one) for one in expected]


def test_several_lines_are_one_list() -> None:
    lines = ["foo; a=1, bar", "", "baz"]
    assert [extension.name for extension in parse_extensions(lines)] == ["foo", "bar", "baz"]
    assert parse_extensions(lines) == parse_extensions([", ".join(lines)])
    assert parse_extensions([]) == []


@pytest.mark.parametrize(
    "line",
    [
        "foo bar",
        "foo;",
        "foo; ",
        "foo;;a",
        "foo; a=",
        "foo; a==1",
        "foo; =1",
        "foo; a=1 b",
        "foo; a b",
        "=1",
        ";",
        "foo=1",
        "foo/1",
        '"foo"',
        'foo; a="1',
        'foo; a=1"',
        'foo; a="1"2',
        'foo; a="',
        'foo; a="1\\',
        "foo; a=1/2",
        "foo; é=1",
        "foo\x00",
        "foo\n",
        "foo\v",
        "foo; a=\u00a01",
    ],
)
def test_what_is_malformed_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="Sec-WebSocket-Extensions field is malformed"):
        parse_extensions([line])
    with pytest.raises(ValueError, match="Sec-WebSocket-Extensions field is malformed"):
        parse_extensions(["good", line])


@pytest.mark.parametrize("value", ["", " ", "1 ", "a/b", "é", "a,b", 'a\\"b', "a;b"])
def test_a_quoted_value_must_be_a_token(value: str) -> None:
    with pytest.raises(ValueError, match="a quoted value that is not a token"):
        parse_extensions([f'foo; a="{value}"'])


tokens = st.text(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1
)
extensions = st.builds(
    Extension,
    tokens,
    st.lists(st.tuples(tokens, st.none() | tokens), max_size=4).map(tuple),
)
spaces = st.text(" \t", max_size=3)


@given(st.lists(extensions, max_size=4), st.data())
def test_whatever_is_written_is_read_again(offers: list[Extension], data: st.DataObject) -> None:
    def around(separator: str) -> str:
        return data.draw(spaces) + separator + data.draw(spaces)

    def written(name: str, value: str | None) -> str:
        if value is None:
            return name
        quoted = data.draw(st.booleans())
        escaped = "".join(data.draw(st.sampled_from([c, "\\" + c])) for c in value)
        return name + around("=") + (f'"{escaped}"' if quoted else value)

    line = around(",").join(
        around(";").join([offer.name, *(written(*parameter) for parameter in offer.parameters)])
        for offer in offers
    )
    assert parse_extensions([data.draw(spaces) + line + data.draw(spaces)]) == offers


@given(st.lists(st.text(' \t,;="\\ab1/é\x00\n', max_size=30), max_size=3))
def test_anything_else_is_a_value_error_and_nothing_worse(lines: list[str]) -> None:
    try:
        offers = parse_extensions(lines)
    except ValueError:
        return
    for offer in offers:
        assert offer.name
        assert all(name and value != "" for name, value in offer.parameters)


def test_a_long_line_takes_no_longer_than_its_length() -> None:
    """Sixty thousand bytes of what could backtrack; pytest-timeout ends a test that does."""
    for unit in (" ", "\t ", "a ", "; a", '; a="', '\\"', "a=", ",", ";"):
        line = unit * (60_000 // len(unit))
        for wrong in (line, "foo; a=" + line, 'foo; a="' + line, line + "\x00"):
            with contextlib.suppress(ValueError):
                parse_extensions([wrong])
