"""The rules of the opening handshake, one by one: R2, R9, and what other servers tripped over."""

import base64
import hashlib
import importlib
import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import h11
import httptools
import pytest
import websockets.client
import websockets.uri
import wsproto
import wsproto.events

from dorrit.protocol import handshake, refusal
from dorrit.protocol.handshake import (
    MAX_FIELDS,
    MAX_HEAD,
    MAX_LINE,
    Refusal,
    Request,
    accept_response,
    request_again,
)

if TYPE_CHECKING:
    from _typeshed import TraceFunction


def parse_request(head: bytes) -> Request:
    """Parse it, and see that whoever reads it again finds the same, whatever it is."""
    request = handshake.parse_request(head)
    again = request_again(head)
    assert [getattr(again, name) for name in PARTS] == [getattr(request, name) for name in PARTS]
    return request


PARTS = ("method", "target", "headers", "key")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
FIELDS = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def head(
    *lines: str | bytes, request_line: str | bytes | None = None, **replaced: str | None
) -> bytes:
    """Return a valid head with more field lines, and some of its fields replaced or left out."""
    named = {name.replace("_", "-").lower(): value for name, value in replaced.items()}
    fields = [
        f"{name}: {named.get(name.lower(), value)}"
        for name, value in FIELDS.items()
        if named.get(name.lower(), value) is not None
    ]
    first = "GET /chat HTTP/1.1" if request_line is None else request_line
    every = [first, *fields, *lines]
    return (
        b"".join(
            (line.encode("latin-1") if isinstance(line, str) else line) + b"\r\n" for line in every
        )
        + b"\r\n"
    )


def refused(data: bytes) -> Refusal:
    """Return the refusal of a head that must be refused."""
    with pytest.raises(Refusal) as caught:
        parse_request(data)
    return caught.value


# What is accepted.


def test_R2_the_example_of_RFC_6455_is_accepted_with_its_accept_value() -> None:
    request = parse_request(
        head(
            "Origin: http://example.com",
            "Sec-WebSocket-Protocol: chat, superchat",
        )
    )
    assert (request.method, request.target, request.key) == ("GET", "/chat", KEY)
    response = accept_response(request)
    assert response == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"\r\n"
    )


def test_R2_headers_keep_their_order_and_names_and_lose_the_white_space_around_values() -> None:
    request = parse_request(head("x-A:  \t1 2\t ", "X-a:", "X-B: \xe9\xff"))
    assert request.headers.pairs == (
        *FIELDS.items(),
        ("x-A", "1 2"),
        ("X-a", ""),
        ("X-B", "\xe9\xff"),
    )
    assert request.get_all("X-A") == ["1 2", ""]
    assert request.get_all("x-b") == ["\xe9\xff"]
    assert request.get_all("X-C") == []


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"connection": "keep-alive, Upgrade"}, id="a list"),
        pytest.param({"connection": "close, upgrade"}, id="lighttpd closes and upgrades"),
        pytest.param({"connection": ",, keep-alive ,\tUPGRADE , "}, id="empty elements"),
        pytest.param({"upgrade": "WebSocket"}, id="as IANA spells it"),
        pytest.param({"upgrade": "h2c, websocket"}, id="a list of protocols"),
        pytest.param({"upgrade": "IRC/6.9, websocket"}, id="a protocol with a version"),
        pytest.param({"host": ""}, id="an empty host"),
        pytest.param({"host": "a_b.example:8080"}, id="a port"),
        pytest.param({"host": "[2001:db8::1]:8080"}, id="an IPv6 address"),
        pytest.param({"host": "caf%C3%A9.example:"}, id="percent-encoded"),
        pytest.param({"host": "[v1.fe80::a+en1]:80"}, id="an address of a later version of IP"),
        pytest.param({"upgrade": "WEBSOCKET"}, id="any case"),
        pytest.param({"sec_websocket_version": "\t 13 "}, id="white space around a value"),
        pytest.param({"sec_websocket_key": f"  {KEY}\t"}, id="white space around the key"),
    ],
)
def test_R2_other_ways_to_ask_for_the_same_are_accepted(changed: dict[str, str]) -> None:
    assert parse_request(head(**changed)).key == KEY


def test_R2_names_of_headers_are_accepted_in_any_case() -> None:
    assert parse_request(head().replace(b"Sec-WebSocket-Key", b"sec-websocket-KEY")).key == KEY
    swapped = re.sub(rb"(?m)^([\w-]+):", lambda m: m[0].swapcase(), head())
    assert swapped != head()
    assert parse_request(swapped).key == KEY


def test_R2_several_connection_and_upgrade_lines_are_one_list() -> None:
    lines = ("Connection: keep-alive", "Connection: upgrade", "Upgrade: h2c", "Upgrade: websocket")
    assert parse_request(head(*lines, connection=None, upgrade=None)).key == KEY


def test_R2_a_content_length_of_0_is_accepted_as_apache_sends_it_from_http_2() -> None:
    assert parse_request(head("Content-Length: 0")).key == KEY
    # RFC 9110 section 8.6: Content-Length = 1*DIGIT
    assert parse_request(head("Content-Length: 000")).key == KEY


def test_R2_the_same_key_each_time_is_accepted_as_lighttpd_sends_it() -> None:
    key = "MDAwMDAwMDAwMDAwMDAwMA=="
    for _ in range(2):
        assert parse_request(head(sec_websocket_key=key)).key == key


@pytest.mark.parametrize(
    "target",
    [
        "/",
        '/chat?a=b|c^{d}&e=%zz\\"`[]',
        "//x",
        "http://server.example.com/chat",
        "HTTPS://server.example.com:8443?a",
        "http://[::1]",
    ],
)
def test_R2_a_path_and_an_absolute_address_are_targets_and_are_kept_as_sent(target: str) -> None:
    assert parse_request(head(request_line=f"GET {target} HTTP/1.1")).target == target


def test_R2_a_later_minor_version_of_http_1_is_accepted() -> None:
    assert parse_request(head(request_line="GET / HTTP/1.2")).key == KEY


@pytest.mark.parametrize("number", [0, 1, 2**64, 2**128 - 1])
def test_R2_the_base64_form_of_any_16_bytes_is_a_key(number: int) -> None:
    key = base64.b64encode(number.to_bytes(16, "big")).decode()
    assert parse_request(head(sec_websocket_key=key)).key == key


@pytest.mark.parametrize("last", "gQABZaz09+/")
def test_R2_a_key_whose_unused_bits_are_not_zero_is_accepted(last: str) -> None:
    # RFC 6455 section 4.1: "if the randomly selected value was the sequence of octets 0x01 0x02
    # 0x03 [...] 0x10, the value of the header field would be "AQIDBAUGBwgJCgsMDQ4PEC=="". RFC 4648
    # section 3.5 lets decoders take it.
    for key in ("AQIDBAUGBwgJCgsMDQ4PEC==", f"{KEY[:-3]}{last}=="):
        assert len(base64.b64decode(key)) == 16
        request = parse_request(head(sec_websocket_key=key))
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        assert base64.b64encode(digest) in accept_response(request)


def test_R9_cookie_is_empty_without_a_cookie_header() -> None:
    assert parse_request(head()).cookie == ""


def test_R9_two_cookie_lines_are_joined() -> None:
    assert parse_request(head("Cookie: a=1", "cookie: b=\xe9; c=3")).cookie == "a=1; b=\xe9; c=3"


# What is refused: the request line.


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "CONNECT", "get", "FROB"])
def test_R2_a_method_other_than_get_is_answered_405_with_allow(method: str) -> None:
    error = refused(head(request_line=f"{method} * HTTP/1.1"))
    assert error.status == 405
    assert ("Allow", "GET") in error.headers
    assert error.send_content is (method != "HEAD")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /chat",
        b"GET  /chat HTTP/1.1",
        b"GET\t/chat HTTP/1.1",
        b"GET /chat  HTTP/1.1",
        b"GET /chat HTTP/1.1 ",
        b"GET /ch at HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /chat http/1.1",
        b"GET /chat HTTP/1.10",
        b"GET /chat HTTP/1",
        b"GET /chat HTTPS/1.1",
        b"GET /chat RTSP/1.0",
        b"SOURCE /chat ICE/1.0",
        b"G(T /chat HTTP/1.1",
    ],
)
def test_R2_a_malformed_request_line_is_answered_400(line: bytes) -> None:
    error = refused(head(request_line=line))
    assert error.status == 400
    assert "request line" in error.reason


@pytest.mark.parametrize(
    "target",
    [
        "chat",
        "*",
        "server.example.com:80",
        "?a",
        "/chat#part",
        "ftp://server.example.com/",
        "ws://server.example.com/",
        "http:/chat",
        "http://",
        "http:///chat",
        "http://:80/chat",
        "http://user:password@server.example.com/",
        "http://server.example.com\\chat",
        "http://server.example.com:80x/",
        "http://[::1/",
    ],
)
def test_R2_a_target_that_is_no_path_and_no_http_address_is_answered_400(target: str) -> None:
    error = refused(head(request_line=f"GET {target} HTTP/1.1"))
    assert error.status == 400
    assert "target" in error.reason


def test_R2_an_empty_line_before_the_request_is_ignored_and_more_are_answered_400() -> None:
    # RFC 9112 section 2.2: "SHOULD ignore at least one empty line (CRLF)".
    assert parse_request(b"\r\n" + head()).key == KEY
    for before in (b"\r\n\r\n", b"\n", b"\r", b" \r\n", b"\r\n "):
        error = refused(before + head())
        assert error.status == 400
        assert error.hint or error.advice
    assert "more than one empty line" in refused(b"\r\n\r\n" + head()).reason


@pytest.mark.parametrize("version", ["0.9", "2.0", "3.0"])
def test_R2_another_major_version_is_answered_505(version: str) -> None:
    assert refused(head(request_line=f"GET / HTTP/{version}")).status == 505


def test_R2_the_preface_of_http_2_is_answered_505_with_a_hint() -> None:
    error = refused(b"PRI * HTTP/2.0\r\n\r\n")
    assert error.status == 505
    assert "HTTP/1.1" in error.hint


# What is refused: the field lines.


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X: a\r\n b", id="line folding with a space"),
        pytest.param(b"X: a\r\n\tb", id="line folding with a tab"),
        pytest.param(b"X:\r\n b", id="line folding after nothing"),
        pytest.param(b" X: a", id="white space before the name"),
        pytest.param(b"X : a", id="space before the colon"),
        pytest.param(b"X\t: a", id="tab before the colon"),
        pytest.param(b": a", id="empty name"),
        pytest.param(b"X", id="no colon"),
        pytest.param(b"X(y): a", id="name that is not a token"),
        pytest.param(b"X y: a", id="space in the name"),
        pytest.param(b"X\xe9: a", id="name beyond ASCII"),
        pytest.param(b"X\x00: a", id="NUL in the name"),
        pytest.param(b"X: a\nY: b", id="bare LF"),
        pytest.param(b"X: a\n", id="LF CR LF"),
        pytest.param(b"X: a\rY: b", id="bare CR"),
        pytest.param(b"X: a\r", id="CR CR LF"),
        pytest.param(b"X: a\n\rb", id="LF CR"),
    ],
)
def test_R2_a_malformed_field_line_is_answered_400(line: bytes) -> None:
    assert refused(head(line)).status == 400
    # In the first place as well: parsers treat the line after the request line on its own.
    assert refused(head().replace(b"Host:", line + b"\r\nHost:", 1)).status == 400


@pytest.mark.parametrize("code", [*range(0x09), *range(0x0A, 0x20), 0x7F])
def test_R2_a_control_character_is_answered_400_wherever_it_is(code: int) -> None:
    control = bytes([code])
    for line in (b"X: a" + control + b"b", b"X: " + control, b"X:" + control + b"b"):
        assert refused(head(line)).status == 400
    assert refused(head(b"X" + control + b"y: a")).status == 400
    assert refused(head(request_line=b"GET /" + control + b" HTTP/1.1")).status == 400


def test_R2_a_bare_lf_after_the_request_line_is_answered_400() -> None:
    assert refused(head().replace(b"\r\n", b"\n", 1)).status == 400


@pytest.mark.parametrize("line", [b"X: a\nY: b", b"X: a\rY: b", b"X: a\r", b"X: a\n"])
def test_R2_a_cr_or_lf_on_its_own_is_named_as_the_reason(line: bytes) -> None:
    assert "not part of a CRLF" in refused(head(line)).reason


def test_R2_line_folding_is_answered_400_even_if_the_parser_came_to_allow_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Lenient(httptools.HttpRequestParser):
        def __init__(self, protocol: object) -> None:
            super().__init__(protocol)
            self.set_dangerous_leniencies(lenient_headers=True)

    monkeypatch.setattr(handshake, "HttpRequestParser", Lenient)
    assert parse_request(head()).key == KEY
    assert refused(head("X: a\r\n b")).status == 400
    assert refused(head("X:\r\n\tb")).status == 400


def test_R2_bare_lfs_throughout_are_answered_400() -> None:
    assert refused(head().replace(b"\r\n", b"\n")).status == 400


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", head()[:-2], head() + b"\x81\x80abcd"])
def test_R2_what_does_not_end_with_its_only_empty_line_is_answered_400(data: bytes) -> None:
    assert refused(data).status == 400


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Origin", *list(FIELDS)[3:]])
def test_R2_a_duplicate_of_a_field_that_has_one_value_is_answered_400(name: str) -> None:
    value = FIELDS.get(name, "0")
    lines = () if name in FIELDS else (f"{name}: {value}",)
    parse_request(head(*lines))
    assert refused(head(*lines, f"{name.lower()}: {value}")).status == 400


@pytest.mark.parametrize("name", ["Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_R2_a_missing_field_is_answered_400_and_named(name: str) -> None:
    error = refused(head(**{name.replace("-", "_"): None}))
    assert error.status == 400
    assert name in error.reason


@pytest.mark.parametrize(
    "host",
    [
        "[v1]",
        "[v.a]",
        "[v1.]",
        "a/b",
        "a b",
        "a, b",
        "user@a",
        "a:80:81",
        "a:b",
        "[::1",
        "[]",
        "::1",
        "a%4",
        "\xe9",
    ],
)
def test_R2_a_malformed_host_is_answered_400(host: str) -> None:
    error = refused(head(host=host))
    assert error.status == 400
    assert "Host" in error.reason


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 1",),
        ("Content-Length: +0",),
        ("Content-Length: -0",),
        ("Content-Length: 0, 0",),
        ("Content-Length: 0x0",),
        ("Content-Length:",),
        ("Content-Length: 99999999999999999999999999",),
        ("Transfer-Encoding: chunked",),
        ("Transfer-Encoding: identity",),
        ("Transfer-Encoding:",),
        ("Content-Length: 0", "Transfer-Encoding: chunked"),
        ("transfer-encoding: chunked", "content-length: 0"),
    ],
)
def test_R2_a_request_with_content_is_answered_400(lines: tuple[str, ...]) -> None:
    assert refused(head(*lines)).status == 400


# What is refused: the upgrade.


def test_R2_a_plain_get_is_answered_426() -> None:
    error = refused(head(upgrade=None, connection="keep-alive", sec_websocket_key=None))
    assert error.status == 426
    assert ("Upgrade", "websocket") in error.headers
    assert ("Sec-WebSocket-Version", "13") in error.headers
    assert error.hint == "for the health check of a load balancer there is --health"


@pytest.mark.parametrize(
    "changed",
    [
        {"upgrade": None},
        {"upgrade": ""},
        {"upgrade": "h2c"},
        {"upgrade": "websocket/13"},
        {"upgrade": "websockets"},
        {"connection": None},
        {"connection": "close"},
        {"connection": "upgraded"},
    ],
)
def test_R2_a_key_without_the_upgrade_is_answered_426_with_the_directives_for_web_servers(
    changed: dict[str, str | None],
) -> None:
    error = refused(head(**changed))
    assert error.status == 426
    assert "proxy_set_header Upgrade $http_upgrade;" in error.hint
    assert 'proxy_set_header Connection "upgrade";' in error.hint
    assert "proxy_http_version" not in error.hint
    assert "Apache: ProxyPass ... upgrade=websocket;" in error.hint
    assert 'lighttpd: proxy.header = ("upgrade" => "enable");' in error.hint
    assert "HAProxy, Caddy: no rule that deletes Upgrade or Connection" in error.hint
    assert b"A proxy on the way has to pass it on." in error.response()


def test_R2_http_1_0_without_upgrade_but_with_a_key_is_answered_426_with_both_directives() -> None:
    error = refused(
        head(request_line="GET /chat HTTP/1.0", host="localhost", connection="close", upgrade=None)
    )
    assert error.status == 426
    assert error.hint.startswith(
        "nginx: proxy_http_version 1.1; "
        'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; Apache: '
    )


def test_R2_http_1_0_with_upgrade_is_answered_426_with_the_directive_that_is_missing() -> None:
    error = refused(head(request_line="GET /chat HTTP/1.0"))
    assert error.status == 426
    assert error.hint == "nginx: proxy_http_version 1.1;"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [("GET / HTTP/1.0", 426), ("OPTIONS / HTTP/1.0", 405), ("HEAD / HTTP/1.0", 405)],
)
def test_what_load_balancers_ask_is_refused_with_the_name_of_the_option_for_them(
    request_line: str, status: int
) -> None:
    error = refused(f"{request_line}\r\n\r\n".encode())
    assert error.status == status
    assert error.hint == "for the health check of a load balancer there is --health"


@pytest.mark.parametrize("name", ["connection", "upgrade"])
@pytest.mark.parametrize("value", ["upgrade websocket", '"upgrade"', "a,b/c/d", "a;b", "/", "\xe9"])
def test_R2_a_malformed_list_is_answered_400(name: str, value: str) -> None:
    error = refused(head(f"{name}: {value}"))
    assert error.status == 400
    assert name.capitalize() in error.reason


@pytest.mark.parametrize("version", ["8", "0", "14", "013", "13.0", "13, 8", "", "thirteen", "+13"])
def test_R2_another_version_is_answered_426_with_the_version_that_is_spoken(version: str) -> None:
    error = refused(head(sec_websocket_version=version))
    assert error.status == 426
    assert ("Sec-WebSocket-Version", "13") in error.headers
    assert ("Upgrade", "websocket") in error.headers


def test_R2_another_version_is_answered_426_even_if_its_key_is_unlike_ours() -> None:
    assert refused(head(sec_websocket_version="0", sec_websocket_key=None)).status == 426


@pytest.mark.parametrize(
    "key",
    [
        "",
        "=",
        KEY[:-1],
        KEY[:-2],
        KEY + "=",
        KEY.replace("d", "-", 1),
        KEY.replace("d", "_", 1),
        KEY[:5] + " " + KEY[5:],
        KEY[:5] + "\t" + KEY[6:],
        KEY[:5] + "\xe9" + KEY[6:],
        f"{KEY}, {KEY}",
        base64.b64encode(bytes(15)).decode(),
        base64.b64encode(bytes(17)).decode(),
        base64.b64encode(bytes(18)).decode(),
    ],
)
def test_R2_a_key_that_is_not_16_bytes_in_base64_is_answered_400(key: str) -> None:
    error = refused(head(sec_websocket_key=key))
    assert error.status == 400
    assert "Sec-WebSocket-Key" in error.reason


# Sizes.


def cookie_of(line: int) -> str:
    """Return a Cookie line of this many bytes, without its CRLF."""
    return "Cookie: " + "c" * (line - len("Cookie: "))


def filled_to(size: int) -> bytes:
    """Return a valid head of this many bytes, in lines that are not too long."""
    start = head(cookie_of(MAX_LINE - 8))
    return head(cookie_of(MAX_LINE - 8), "X: " + "x" * (size - len(start) - len("X: \r\n")))


def test_R2_a_cookie_line_of_32_kib_is_accepted_and_one_byte_more_answered_431() -> None:
    assert len(parse_request(head(cookie_of(MAX_LINE))).cookie) == MAX_LINE - len("Cookie: ")
    error = refused(head(cookie_of(MAX_LINE + 1)))
    assert error.status == 431
    assert MAX_LINE == 32768
    assert "32769 bytes, of at most 32768" in error.reason


def test_R2_a_head_of_64_kib_is_accepted_and_one_byte_more_answered_431() -> None:
    assert len(filled_to(MAX_HEAD)) == MAX_HEAD == 65536
    parse_request(filled_to(MAX_HEAD))
    assert refused(filled_to(MAX_HEAD + 1)).status == 431


def test_R2_a_request_line_of_32_kib_is_accepted_and_one_byte_more_answered_414() -> None:
    around = len("GET / HTTP/1.1")
    for more, status in ((0, None), (1, 414), (MAX_HEAD, 414)):
        data = head(request_line=f"GET /{'a' * (MAX_LINE - around + more)} HTTP/1.1")
        if status is None:
            parse_request(data)
        else:
            assert refused(data).status == status


def test_R2_128_fields_are_accepted_and_one_more_answered_431() -> None:
    more = [f"X-{number}: a" for number in range(MAX_FIELDS - len(FIELDS))]
    assert len(parse_request(head(*more)).headers) == MAX_FIELDS == 128
    error = refused(head(*more, "Y: a"))
    assert error.status == 431
    assert "129 header fields, of at most 128" in error.reason


# Hostile heads.

LONG = MAX_LINE - 64

HOSTILE: dict[str, Callable[[int], bytes]] = {
    "one name without a colon": lambda size: head("a" * size),
    "one value of spaces": lambda size: head("X:" + " " * size),
    "spaces, then a letter, again and again": lambda size: head("X: " + "   \ta" * (size // 5)),
    "commas in Connection": lambda size: head("Connection: " + "," * size),
    "tokens in Connection": lambda size: head("Connection: " + "a," * (size // 2)),
    "different tokens in Upgrade": lambda size: head(
        "Upgrade: " + ",".join(f"{number:04x}" for number in range(size // 5))
    ),
    "slashes in Upgrade": lambda size: head("Upgrade: " + "a/" * (size // 2)),
    "percent signs in Host": lambda size: head(host="%41" * (size // 3) + "%"),
    "brackets and colons in Host": lambda size: head(host="[" + ":" * size),
    "digits of a port": lambda size: head(host="a:" + "1" * size + "x"),
    "an address without an end": lambda size: head(
        request_line=f"GET http://{'a' * size}@ HTTP/1.1"
    ),
    "a path with a fragment at its end": lambda size: head(
        request_line=f"GET /{'a' * size}# HTTP/1.1"
    ),
    "a method without an end": lambda size: head(request_line="G" * size),
    "spaces in the request line": lambda size: head(request_line="GET" + " " * size + "/ HTTP/1.1"),
    "a key without an end": lambda size: head(sec_websocket_key="A" * size),
    "CRs": lambda size: head("X: " + "\r" * size),
    "LFs": lambda size: head("X: " + "\n" * size),
    "empty fields": lambda size: head(*["a:"] * (size // 4)),
    "folded lines": lambda size: head(*["X: a\r\n "] * (size // 9)),
}


def lines_run(data: bytes) -> int:
    """Return how many lines of Python `parse_request` runs for this head."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> "TraceFunction":
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parse_request(data)
    except Refusal:
        pass
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", HOSTILE)
def test_R2_the_work_for_a_hostile_head_grows_no_faster_than_its_length(name: str) -> None:
    make = HOSTILE[name]
    small, large = make(LONG // 8), make(LONG)
    assert len(large) > 6 * len(small)
    assert lines_run(large) <= 8 * lines_run(small)


def repeats_that_backtrack(pattern: object) -> list[object]:
    """Return the unbounded quantifiers in a parsed pattern that can give back what they took."""
    parts = getattr(pattern, "data", pattern)
    if not isinstance(parts, list | tuple):
        return []
    found: list[object] = []
    if str(parts[:1]) in ("(MAX_REPEAT,)", "(MIN_REPEAT,)") and parts[1][1] > 32:
        found.append(parts)
    for part in parts:
        found += repeats_that_backtrack(part)
    return found


def test_R2_no_pattern_that_reads_a_head_can_backtrack() -> None:
    # Where no quantifier gives anything back, a match takes one pass, whatever the client sends.
    # The lines of Python that the test above counts do not show what happens within a match.
    parse: Callable[[str | bytes], object] = importlib.import_module("re._parser").parse
    patterns = [
        value
        for module in (handshake, refusal)
        for value in vars(module).values()
        if isinstance(value, re.Pattern)
    ]
    assert len(patterns) >= 7
    assert repeats_that_backtrack(parse("(?:x|(y[ab]*z)){2}"))  # It would be noticed.
    for pattern in patterns:
        assert not repeats_that_backtrack(parse(pattern.pattern)), pattern.pattern


# What the log gets.


@pytest.mark.parametrize(
    "data",
    [
        head(request_line="\x1b[2J\xff\x00 /?token=secret HTTP/1.1"),
        head(request_line="GET /?token=secret"),
        head(request_line="GET secret HTTP/1.1"),
        head(request_line="GET\x7f?token=secret HTTP/1.1"),
        head("Connection: \x80\"'\\"),
        head(host="\xe9" * 1000),
        head(sec_websocket_version="\x9b31m" * 1000),
        head(sec_websocket_key="secret"),
        head("Cookie: secret\x00"),
        head(request_line=f"{'Q' * 20000} / HTTP/1.1"),
        head(request_line="secret / HTTP/1.1"),
        head(request_line="GET / secret"),
        head("Sec-WebSocket-Protocol: bearer, secret=="),
        head("Connection: secret;"),
        head("Upgrade: secret;"),
        head(sec_websocket_version="secret"),
        head(host="secret?"),
        head("secret y: a"),
    ],
)
def test_R2_the_reason_is_one_short_line_of_printable_ascii_without_secrets(data: bytes) -> None:
    error = refused(data)
    line = str(error)
    assert error.reason in line
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 200
    assert "secret" not in line


# Subprotocols.


def test_R2_a_subprotocol_that_the_client_offers_is_named_in_the_101() -> None:
    request = parse_request(head("Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c"))
    for subprotocol in "abc":
        assert request.select("x", subprotocol) == subprotocol
        response = accept_response(request)
        assert response.endswith(f"\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n".encode())
        assert response.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("subprotocol", ["d", "A", "a, b", "", "a\r\nX: y"])
def test_R2_a_subprotocol_that_the_client_does_not_offer_is_not_chosen(subprotocol: str) -> None:
    request = parse_request(head("Sec-WebSocket-Protocol: a, b"))
    assert request.select(subprotocol) is None
    assert b"Sec-WebSocket-Protocol" not in accept_response(request)


def test_the_extension_that_was_agreed_on_is_in_the_answer() -> None:
    request = parse_request(head("Sec-WebSocket-Protocol: a"))
    request.select("a")
    request.agree("permessage-deflate; server_no_context_takeover")
    assert accept_response(request).endswith(
        b"\r\nSec-WebSocket-Protocol: a\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n"
    )


@pytest.mark.parametrize("offered", ["a b", "a, b;c", "a,\xe9", '"a"', "a/b", "[a]"])
def test_R2_a_subprotocol_that_is_no_token_is_refused(offered: str) -> None:
    error = refused(head(f"Sec-WebSocket-Protocol: {offered}"))
    assert error.status == 400
    assert "Sec-WebSocket-Protocol field has an element that is not a token" in error.reason


# Real clients.


def test_R2_the_client_of_websockets_opens() -> None:
    client = websockets.client.ClientProtocol(
        websockets.uri.parse_uri("ws://server.example.com/chat?room=1")
    )
    client.send_request(client.connect())
    request = parse_request(b"".join(client.data_to_send()))
    assert isinstance(request, Request)
    assert request.target == "/chat?room=1"
    client.receive_data(accept_response(request))
    assert client.handshake_exc is None
    assert client.state is websockets.protocol.State.OPEN


def test_R2_the_client_of_wsproto_opens() -> None:
    client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    request = parse_request(
        client.send(
            wsproto.events.Request(
                host="server.example.com", target="/chat", subprotocols=["a", "b"]
            )
        )
    )
    assert request.select("b") == "b"
    client.receive_data(accept_response(request))
    (event,) = client.events()
    assert isinstance(event, wsproto.events.AcceptConnection)
    assert event.subprotocol == "b"
    assert client.state is wsproto.connection.ConnectionState.OPEN


def test_R2_h11_reads_the_101_and_what_follows_it_is_left() -> None:
    client = h11.Connection(h11.CLIENT)
    data = client.send(h11.Request(method="GET", target="/chat", headers=list(FIELDS.items())))
    assert data is not None
    client.send(h11.EndOfMessage())
    client.receive_data(accept_response(parse_request(data)) + b"\x81\x00")
    event = client.next_event()
    assert isinstance(event, h11.InformationalResponse)
    assert event.status_code == 101
    assert client.next_event() is h11.PAUSED
    assert client.trailing_data == (b"\x81\x00", False)


def test_what_is_read_again_and_was_no_request_is_refused() -> None:
    valid = head()
    for wrong in (
        b"",
        b"\r\n\r\n",
        valid[:-2],
        valid[:-1],
        valid[5:],
        valid.replace(b"Key", b"Kex"),
        valid.replace(b"Upgrade: ", b"Upgrade "),
        valid.replace(b"GET ", b"GET  "),
        valid.replace(b"\r\n", b"\n"),
    ):
        with pytest.raises(Refusal):
            request_again(wrong)
