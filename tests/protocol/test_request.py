"""What handlers see of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorrit.protocol.fields import Headers
from dorrit.protocol.handshake import MAX_FIELDS, MAX_LINE, parse_request
from dorrit.protocol.request import Request


def request(target: str = "/", *headers: tuple[str, str]) -> Request:
    return Request("GET", target, Headers(headers), "key")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/chat", "/chat"),
        ("/chat?room=/7", "/chat"),
        ("/caf%C3%A9/%2e", "/caf\xe9/."),
        ("/%ff%00", "/\ufffd\x00"),
        ("http://example.org", "/"),
        ("http://example.org?x", "/"),
        ("https://example.org/a%20b?x", "/a b"),
        ("//host/x", "//host/x"),
        ("/100%", "/100%"),
    ],
)
def test_the_path_is_decoded_and_without_the_query(target: str, path: str) -> None:
    assert request(target).path == path


def test_the_query_is_decoded() -> None:
    asked = request("/chat?room=a%26b&room=c")
    assert asked.query.get_all("room") == ["a&b", "c"]
    assert asked.query is asked.query  # decoded once
    assert len(request("/chat").query) == 0
    assert request("http://a/?x=1?2").query["x"] == "1?2"


@pytest.mark.parametrize(
    ("line", "cookies"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1; b=2;c=3", {"a": "1", "b": "2", "c": "3"}),
        ('a="1 2"; b="', {"a": "1 2", "b": '"'}),
        ("a=b=c; =x; y; ;", {"a": "b=c"}),
        ("a=long path; a=short", {"a": "long path"}),
        ("a=%20; b=", {"a": "%20", "b": ""}),
    ],
)
def test_cookies_are_read_as_browsers_write_them(line: str, cookies: dict[str, str]) -> None:
    assert request("/", ("Cookie", line)).cookies == cookies


def test_cookies_of_several_lines_are_one_list() -> None:
    asked = request("/", ("cookie", "a=1"), ("Cookie", "b=2"))
    assert asked.cookie == "a=1; b=2"
    assert asked.cookies == {"a": "1", "b": "2"}
    assert request().cookie == ""


@given(st.text())
def test_cookies_of_any_text_are_read(line: str) -> None:
    cookies = request("/", ("Cookie", line)).cookies
    assert all(name and ";" not in name + value for name, value in cookies.items())


def test_the_servers_preference_decides_about_the_subprotocol() -> None:
    asked = request("/", ("Sec-WebSocket-Protocol", "a, b,,a"), ("sec-websocket-protocol", "c , b"))
    assert asked.subprotocols == ("a", "b", "c")
    assert asked.select("x", "c", "a") == asked.subprotocol == "c"
    assert asked.select("A") is None
    assert asked.subprotocol is None


def test_a_subprotocol_can_not_be_chosen_when_the_answer_is_made() -> None:
    asked = request("/", ("Sec-WebSocket-Protocol", "a"))
    asked.answered()
    with pytest.raises(RuntimeError, match="open handler"):
        asked.select("a")


def test_no_header_is_trusted_until_the_server_says_so() -> None:
    asked = request("/", ("X-Real-IP", "192.0.2.1"), ("X-Forwarded-For", "192.0.2.2"))
    assert asked.client is None
    asked.trust("X-Real-IP")
    assert asked.client == "192.0.2.1"
    asked.trust("Forwarded")
    assert asked.client is None


def test_the_query_is_not_shown_since_it_may_hold_secrets() -> None:
    assert repr(request("/chat?token=secret", ("Cookie", "secret"))) == "<Request GET /chat>"


@pytest.mark.parametrize(
    "target", ["http://b:1/chat?x", "https://b:1", "http://b:1?x=http://c/", "HTTP://b:1/"]
)
def test_the_host_of_a_whole_address_goes_before_the_host_field(target: str) -> None:
    assert Request("GET", target, Headers([("Host", "a")]), "").host == "b:1"


def test_origin_and_host() -> None:
    asked = request("/", ("Host", "a:8080"), ("Origin", "https://b"))
    assert (asked.host, asked.origin) == ("a:8080", "https://b")
    assert request().origin is None


@pytest.mark.parametrize("name", ["subprotocol", "extensions"])
def test_what_the_response_repeats_of_a_request_can_not_be_set(name: str) -> None:
    asked = request("/", ("Sec-WebSocket-Protocol", "a"))
    with pytest.raises(AttributeError):
        setattr(asked, name, "a\r\nSet-Cookie: evil=1")
    asked.select("a")
    assert (asked.subprotocol, asked.extensions) == ("a", "")
    asked.agree("permessage-deflate")
    assert asked.extensions == "permessage-deflate"


NEEDED = (
    b"Host: a",
    b"Upgrade: websocket",
    b"Connection:upgrade",
    b"Sec-WebSocket-Version:13",
    b"Sec-WebSocket-Key:\t dGhlIHNhbXBsZSBub25jZQ== \t",
)
"""What each request has."""

VALUES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
    | st.just("\t"),
    max_size=30,
)


def parts(asked: Request) -> tuple[object, ...]:
    return asked.method, asked.target, asked.headers.pairs, asked.key


@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#")),
    st.lists(
        st.tuples(st.from_regex("X-[!$&*a-zA-Z0-9_~]{0,9}", fullmatch=True), VALUES), max_size=9
    ),
    st.sampled_from(["", "\r\n"]),
    st.sampled_from("139"),
)
def test_a_request_is_made_a_head_again_that_is_read_as_the_same_one(
    target: str, fields: list[tuple[str, str]], before: str, minor: str
) -> None:
    lines = [f"{before}GET /{target} HTTP/1.{minor}".encode(), *NEEDED]
    lines += [f"{name}:  {value}\t".encode("latin-1") for name, value in fields]
    head = b"\r\n".join([*lines, b"", b""])
    asked = parse_request(head)
    assert len(asked.head()) <= len(head)
    assert parts(parse_request(asked.head())) == parts(asked)
    assert parse_request(asked.head()).head() == asked.head()


def test_a_head_of_the_longest_lines_and_the_most_fields_is_read_again() -> None:
    lines = [b"GET /" + b"t" * (MAX_LINE - 14) + b" HTTP/1.1", *NEEDED]
    lines += [b"a:b"] * (MAX_FIELDS - 6)
    lines += [b"c:" + b"d" * (MAX_LINE - 2 - sum(map(len, lines[1:])) - 2 * len(lines) - 5)]
    asked = parse_request(b"\r\n".join([*lines, b"", b""]))
    assert len(asked.headers.pairs) == MAX_FIELDS
    assert parts(parse_request(asked.head())) == parts(asked)


def test_after_a_reload_the_subprotocol_is_the_one_that_was_chosen_before() -> None:
    asked = request("/", ("Sec-WebSocket-Protocol", "v1, v2"))
    asked.resumed("v1")
    assert asked.subprotocol == "v1"
    assert asked.select("v2", "v1") == "v1"
    # The client speaks it, whatever this server would.
    assert asked.select("v2") is None
    assert asked.subprotocol == "v1"
    asked.answered()
    assert asked.select("v1") == "v1"


def test_after_a_reload_no_subprotocol_stays_none() -> None:
    asked = request("/", ("Sec-WebSocket-Protocol", "v1"))
    asked.resumed(None)
    assert asked.select("v1") is None
    assert asked.subprotocol is None
