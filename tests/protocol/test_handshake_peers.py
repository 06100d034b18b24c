"""Any bytes at all, and what another implementation of RFC 6455 makes of the same ones (R2)."""

import re
from http import HTTPStatus

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.server import ServerProtocol

from dorrit.protocol.handshake import Refusal, Request, accept_response, parse_request

VALID = [
    b"GET /chat HTTP/1.1",
    b"Host: server.example.com",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
]


def joined(lines: list[bytes]) -> bytes:
    """Return the head of these lines."""
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def changed(place: int, line: bytes) -> bytes:
    """Return the valid head with another line at this place."""
    return joined([*VALID[:place], line, *VALID[place + 1 :]])


def more(*lines: bytes) -> bytes:
    """Return the valid head with more lines."""
    return joined([*VALID, *lines])


def ours(head: bytes) -> int:
    """Return the status that we answer with, and check that every outcome is a lawful one."""
    try:
        request = parse_request(head)
    except Refusal as refusal:
        read_refusal(refusal)
        return refusal.status
    assert isinstance(request, Request)
    assert accept_response(request).startswith(b"HTTP/1.1 101 ")
    assert accept_response(request).count(b"\r\n\r\n") == 1
    # What was accepted holds nothing that could be taken for a line end or a second field.
    for name, value in request.headers.pairs:
        assert re.fullmatch(r"[!#-'*+\-.0-9A-Z^-z|~]+", name)
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)
        assert value == value.strip(" \t")
    assert joined(
        [
            f"{request.method} {request.target} HTTP/1.1".encode(),
            *(f"{name}: {value}".encode("latin-1") for name, value in request.headers.pairs),
        ]
    ) == respaced(head)
    return 101


def respaced(head: bytes) -> bytes:
    """Return an accepted head in version 1.1, with one space around each value, no line before."""
    first, *fields = head[:-4].removeprefix(b"\r\n").split(b"\r\n")
    pairs = (field.split(b":", 1) for field in fields)
    return joined(
        [first[:-1] + b"1", *(name + b": " + value.strip(b" \t") for name, value in pairs)]
    )


def read_refusal(refusal: Refusal) -> None:
    """Check that h11 reads the answer and the log gets one line of it."""
    client = h11.Connection(h11.CLIENT)
    method = "GET" if refusal.send_content else "HEAD"
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(refusal.response())
    client.receive_data(b"")
    events = []
    while not isinstance(event := client.next_event(), h11.ConnectionClosed):
        events.append(event)
    assert isinstance(events[0], h11.Response)
    assert events[0].status_code == refusal.status
    assert isinstance(events[-1], h11.EndOfMessage)
    assert refusal.status in (400, 405, 414, 426, 431, 505)
    for line in (refusal.reason, refusal.hint):
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 300


def theirs(head: bytes) -> int:
    """Return the status that websockets answers with."""
    server = ServerProtocol()
    server.receive_data(head)
    server.receive_eof()
    events = server.events_received()
    if not events:
        # It could not parse the request, and its servers answer that with a 400.
        assert server.handshake_exc is not None
        return int(HTTPStatus.BAD_REQUEST)
    (request,) = events
    return int(server.accept(request).status_code)  # type: ignore[arg-type]


# Every difference that we know of, and why. The property below holds for all heads but these.
DIFFERENCES = {
    # We accept what they refuse.
    "they take no list in Upgrade; RFC 6455 4.2.1 has it contain websocket": (
        changed(2, b"Upgrade: h2c, websocket"),
        101,
        426,
    ),
    "they take lines of 8 KiB; some cookies are longer": (
        more(b"Cookie: " + b"c" * 9000),
        101,
        400,
    ),
    "they take 1.1 only; RFC 6455 4.2.1 says 1.1 or higher": (
        changed(0, b"GET / HTTP/1.2"),
        101,
        400,
    ),
    "they skip no empty line; RFC 9112 2.2 has one skipped": (
        b"\r\n" + joined(VALID),
        101,
        400,
    ),
    "they take no empty list; RFC 9110 5.6.1 allows one": (more(b"Connection:"), 101, 400),
    # We refuse what they accept.
    "they do not look at Host; RFC 9112 3.2 asks for one": (
        joined([VALID[0], *VALID[2:]]),
        400,
        101,
    ),
    "nor whether there are two": (more(b"Host: server.example.com"), 400, 101),
    "nor at its value": (changed(1, b"Host: a b"), 400, 101),
    "they take any target": (changed(0, b"GET chat HTTP/1.1"), 400, 101),
    "they take a fragment, which RFC 6455 3 forbids": (changed(0, b"GET /a#b HTTP/1.1"), 400, 101),
    "they do not mind two Content-Length that agree": (
        more(b"Content-Length: 0", b"Content-Length: 0"),
        400,
        101,
    ),
    # Both refuse, with another status.
    "they answer 505 to 1.0; its major version is ours, so that 426 says more": (
        changed(0, b"GET / HTTP/1.0"),
        426,
        505,
    ),
    "they answer 400 to another version; RFC 6455 4.2.2 suggests 426": (
        changed(5, b"Sec-WebSocket-Version: 8"),
        426,
        400,
    ),
    "they do not tell a long line from a wrong one": (
        changed(0, b"GET /" + b"a" * 40000 + b" HTTP/1.1"),
        414,
        400,
    ),
    "nor many fields": (more(*[b"X: a"] * 200), 431, 400),
    "they know no HTTP/2": (b"PRI * HTTP/2.0\r\n\r\n", 505, 400),
}


@pytest.mark.parametrize("why", DIFFERENCES)
def test_R2_where_we_differ_from_websockets_it_is_for_a_reason(why: str) -> None:
    head, our_status, their_status = DIFFERENCES[why]
    assert (ours(head), theirs(head)) == (our_status, their_status)


# Lines that are right, nearly right, and wrong in one way each.
LINES = [
    *VALID[1:],
    b"connection: keep-alive",
    b"Connection: close, upgrade",
    b"Connection: keep-alive,Upgrade",
    b"CONNECTION: UPGRADE",
    b"Connection:",
    b"Connection: a b",
    b"upgrade: WebSocket",
    b"Upgrade: h2c",
    b"Upgrade:",
    b"Upgrade: websocket/13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    b"Sec-WebSocket-Version: 8",
    b"Sec-WebSocket-Version: 13, 8",
    b"Content-Length: 0",
    b"Content-Length: 1",
    b"Transfer-Encoding: chunked",
    b"Host: a:80",
    b"Origin: https://server.example.com",
    b"Cookie: a=b; c=\xff",
    b"X-Empty:",
    b"X:  a\t",
    b"X : a",
    b" X: a",
    b": a",
    b"X",
    b"X: \x00",
    b"X: a\x1b",
    b"Sec-WebSocket-Protocol: a, b",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
]
REQUEST_LINES = [
    VALID[0],
    b"GET / HTTP/1.1",
    b"GET http://server.example.com/chat?a HTTP/1.1",
    b"POST / HTTP/1.1",
    b"HEAD / HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET / HTTP/2.0",
    b"GET / HTTP/1.1 ",
    b"GET  / HTTP/1.1",
    b"GET /",
    b"",
]


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Draw heads of which a good share is valid."""
    lines = list(VALID[1:])
    if draw(st.booleans()):
        lines.pop(draw(st.integers(0, len(lines) - 1)))
    for line in draw(st.lists(st.sampled_from(LINES), max_size=3)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    request_line = VALID[0] if draw(st.booleans()) else draw(st.sampled_from(REQUEST_LINES))
    return joined([request_line, *draw(st.permutations(lines))])


@st.composite
def damaged_heads(draw: st.DrawFn) -> bytes:
    """Draw valid heads of which a few bytes were replaced, left out or put in."""
    head = bytearray(more(b"Cookie: a=b", b"Connection: keep-alive"))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(head) - 4))
        piece = draw(
            st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b",", b"\0", b"\xff"])
        )
        head[start : start + draw(st.integers(0, 2))] = (
            piece if draw(st.booleans()) else draw(st.binary(max_size=2))
        )
    return bytes(head)


@given(st.binary(max_size=300))
@example(b"")
def test_R2_any_bytes_are_a_request_or_a_refusal(data: bytes) -> None:
    ours(data)
    ours(data + b"\r\n\r\n")


@given(st.binary(max_size=300))
def test_R2_any_bytes_behind_a_request_line_are_a_request_or_a_refusal(data: bytes) -> None:
    ours(VALID[0] + b"\r\n" + data + b"\r\n\r\n")
    ours(joined(VALID)[:-2] + data + b"\r\n\r\n")


@settings(max_examples=500)
@given(damaged_heads())
def test_R2_a_damaged_head_is_a_request_or_a_refusal(head: bytes) -> None:
    ours(head)


@settings(max_examples=500)
@given(heads())
@example(joined(VALID))
def test_R2_websockets_agrees_on_every_other_request(head: bytes) -> None:
    us, them = ours(head), theirs(head)
    names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:-2]]
    if us == 101 and them != 101:
        empty_or_several = names.count(b"upgrade") > 1 or re.search(rb"(?m)^[\w-]+:\r$", head)
        assert empty_or_several, head
    if them == 101 and us != 101:
        assert us == 400
        assert names.count(b"host") != 1 or names.count(b"content-length") > 1, head
