"""R2: how the engine answers requests: what is on the wire, when, and what then."""

import random
from http.client import HTTPResponse
from io import BytesIO
from itertools import pairwise

import pytest

from dorrit.engine import Connection, queue_message
from dorrit.protocol.handshake import Request
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, Refusal, refusal
from tests.support.examples import pieces
from tests.support.frames import KEY, REQUEST, TEXT, Received, close_frame, frame, in_pieces
from tests.support.harness import Client, Harness, LogRecords

HEAD_MAX = 65536


def changed(old: bytes, new: bytes) -> bytes:
    """The request with one thing changed."""
    assert REQUEST.count(old) == 1
    return REQUEST.replace(old, new)


def with_field(field: bytes) -> bytes:
    return REQUEST[:-2] + field + b"\r\n\r\n"


REFUSED: dict[str, tuple[int, bytes]] = {
    "no HTTP": (400, b"\x16\x03\x01\x02\r\n\r\n"),
    "a frame": (400, frame(TEXT, b"hello\r\n\r\n", mask=bytes(4))),
    "an empty head": (400, b"\r\n\r\n\r\n"),
    "two empty lines before it": (400, b"\r\n\r\n" + REQUEST),
    "the PROXY protocol": (400, b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\r\n" + REQUEST),
    "the preface of HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "no Host": (400, changed(b"Host: server.example.com\r\n", b"")),
    "two keys": (400, with_field(b"Sec-WebSocket-Key: " + KEY)),
    "two versions": (400, with_field(b"Sec-WebSocket-Version: 13")),
    "no key": (400, changed(b"Sec-WebSocket-Key: " + KEY + b"\r\n", b"")),
    "a folded line": (400, with_field(b"X: a\r\n b")),
    "a NUL": (400, with_field(b"X: a\0b")),
    "a bare LF": (400, with_field(b"X: a\nY: b")),
    "a body": (400, with_field(b"Content-Length: 5") + b"hello"),
    "a chunked body": (400, with_field(b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    "POST": (405, changed(b"GET", b"POST")),
    "a page": (426, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "HTTP/1.0": (426, changed(b"HTTP/1.1", b"HTTP/1.0")),
    "version 8": (426, changed(b"Version: 13", b"Version: 8")),
    "a long line": (431, with_field(b"Cookie: " + b"c" * 32768)),
    "a long target": (414, changed(b"/chat", b"/" + b"c" * 32768)),
    "a large head": (431, with_field(b"\r\n".join([b"Cookie: " + b"c" * 30000] * 3))),
    "HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
}

PHRASES = {
    400: b"Bad Request",
    403: b"Forbidden",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    414: b"Request-URI Too Long",
    426: b"Upgrade Required",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}

FIELDS = {
    405: [b"Allow: GET"],
    426: [b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"],
}


def assert_refused(harness: Harness, client: Client, status: int) -> None:
    """The exact answer, then the end without a reset; no close callback."""
    harness.until(lambda: client.ended, client)
    assert not client.reset
    line, *fields = client.head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert line == b"HTTP/1.1 %d %s" % (status, PHRASES[status])
    assert fields == [
        b"Connection: close, upgrade" if status == 426 else b"Connection: close",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(client.body),
        *FIELDS.get(status, []),
    ]
    assert client.body.startswith(b"%d %s\n" % (status, PHRASES[status]))
    client.close()
    harness.until(lambda: harness.engine.connections == 0)
    assert harness.closed == []
    assert harness.messages == []


@pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=REFUSED)
def test_R2_a_refusal_is_the_whole_answer_and_then_the_end(
    harness: Harness, log: LogRecords, status: int, request_: bytes
) -> None:
    client = harness.connect()
    client.send(request_)
    assert_refused(harness, client, status)
    assert harness.opened == []
    assert len(log.records) == 1
    assert f"{status}" in log.text


@pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=REFUSED)
def test_R2_a_refusal_is_the_same_byte_by_byte(
    harness: Harness, status: int, request_: bytes
) -> None:
    client = harness.connect()
    client.send_pieces(in_pieces(request_, 1 if len(request_) < 1000 else 997))
    assert_refused(harness, client, status)


@pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=REFUSED)
def test_R2_trap_a_refused_client_with_more_to_send_still_reads_the_answer(
    harness: Harness, status: int, request_: bytes
) -> None:
    client = harness.connect()
    client.send(request_ + b"body " * 200_000)
    assert_refused(harness, client, status)


def test_R2_trap_a_second_request_after_a_refusal_is_not_answered(harness: Harness) -> None:
    client = harness.connect()
    client.send(changed(b"Version: 13", b"Version: 8") + REQUEST)
    client.send_pieces([REQUEST, REQUEST])
    assert_refused(harness, client, 426)
    assert harness.opened == []


def test_R9_an_open_callback_that_refuses_is_answered_with_its_refusal(harness: Harness) -> None:
    def refuse(conn: Connection, _request: Request) -> Refusal:
        queue_message(conn, False, "never sent")
        return refusal(*OPEN_CALLBACK_REFUSED)

    harness.open_callback = refuse
    client = harness.connect()
    client.send(REQUEST + frame(TEXT, b"never heard"))
    assert_refused(harness, client, 403)
    assert not harness.opened[0][0].is_open


def test_R9_a_refusal_can_have_fields_of_its_own(harness: Harness) -> None:
    harness.open_callback = lambda _conn, _request: refusal(
        401, "who are you", headers=(("WWW-Authenticate", 'Basic realm="x"'),)
    )
    client = harness.connect()
    client.send(REQUEST)
    harness.until(lambda: client.ended)
    assert client.head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b'\r\nWWW-Authenticate: Basic realm="x"\r\n' in client.head


def test_R2_an_accepted_request_is_answered_101_with_the_key_of_the_rfc(harness: Harness) -> None:
    client = harness.open()
    assert client.head == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"\r\n"
    )
    assert len(harness.opened) == 1
    assert harness.opened[0][0].is_open


def test_R9_what_the_open_callback_writes_follows_the_101(harness: Harness) -> None:
    def welcome(conn: Connection, _request: Request) -> None:
        queue_message(conn, False, "welcome")
        conn.close(1000)

    harness.open_callback = welcome
    client = harness.connect()
    client.send(REQUEST)
    harness.until(lambda: len(client.frames) == 2)
    assert client.status == 101
    assert client.frames[0] == Received(TEXT, b"welcome")
    assert client.frames[1].code == 1000
    client.send(close_frame(1000))
    harness.until(lambda: client.ended)
    assert len(harness.closed) == 1


def test_R32_one_connection_too_many_is_answered_503_before_its_request() -> None:
    with Harness(max_connections=2) as harness:
        first, _ = harness.open(), harness.open()
        third = harness.connect()
        third.send(REQUEST + b"x" * 500_000)
        harness.until(lambda: third.ended)
        assert not third.reset
        answer = HTTPResponse(_Reader(third.head + third.body))  # type: ignore[arg-type]
        answer.begin()
        assert answer.status == 503
        assert answer.getheader("Connection") == "close"
        assert answer.read().startswith(b"503 ")
        assert len(harness.opened) == 2
        third.close()
        first.send(close_frame(1000))
        harness.until(lambda: harness.engine.connections == 1)
        harness.open()


class _Reader(BytesIO):
    """What HTTPResponse takes for a socket."""

    def makefile(self, _mode: str) -> BytesIO:
        return self


# How large a head may be


def head_of(size: int) -> bytes:
    """A valid request of `size` bytes, in lines that are not too long."""
    start = REQUEST[:-2]
    rest = size - len(start) - 2
    lines = [b"Cookie: " + b"c" * 29990 + b"\r\n"] * (rest // 30000)
    rest -= 30000 * len(lines)
    assert rest > 4
    return start + b"".join(lines) + b"X: " + b"y" * (rest - 5) + b"\r\n\r\n"


def cuts_of(head: bytes, kind: str) -> list[bytes]:
    if kind == "random":
        source = random.Random(len(head))
        cuts = [0, *sorted(source.randrange(len(head)) for _ in range(20)), len(head)]
        return [head[start:end] for start, end in pairwise(cuts)]
    sizes = {"whole": len(head), "1": pieces(1)}
    return in_pieces(head, sizes.get(kind) or int(kind))


KINDS = ["whole", "1", "511", "512", "32768", "65534", "65535", "65536", "random"]


@pytest.mark.parametrize("kind", KINDS)
def test_R2_a_head_of_64_KiB_is_accepted_at_any_cut(harness: Harness, kind: str) -> None:
    head = head_of(HEAD_MAX)
    assert len(head) == HEAD_MAX
    client = harness.connect()
    client.send_pieces(cuts_of(head + frame(TEXT, b"behind"), kind))
    harness.settle()
    assert client.status == 101
    assert [payload for _, _, payload in harness.messages] == [b"behind"]


@pytest.mark.parametrize("kind", KINDS)
def test_R2_a_head_of_one_byte_more_is_answered_431_at_any_cut(harness: Harness, kind: str) -> None:
    head = head_of(HEAD_MAX + 1)
    assert len(head) == HEAD_MAX + 1
    client = harness.connect()
    client.send_pieces(cuts_of(head + frame(TEXT, b"behind"), kind))
    assert_refused(harness, client, 431)
    assert harness.opened == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [65536, 65537, 65600, 65601, 150_000])
def test_R2_a_head_without_an_end_is_answered_431_at_any_cut(
    harness: Harness, kind: str, size: int
) -> None:
    client = harness.connect()
    client.send_pieces(cuts_of(REQUEST[:-2] + b"X: " + b"y" * (size - len(REQUEST) - 1), kind))
    assert_refused(harness, client, 431)


def test_R2_a_head_without_an_end_is_not_answered_before_64_KiB(harness: Harness) -> None:
    client = harness.connect()
    client.send(b"GET / HTTP/1.1\r\nX: ".ljust(HEAD_MAX - 1, b"y"))
    harness.settle()
    assert client.head == b""
    client.send(b"y")
    assert_refused(harness, client, 431)


# How long a handshake may take


@pytest.mark.parametrize(
    "sent", [b"", b"G", REQUEST[:-1], b"GET / HTTP/1.1\r\n".ljust(60000, b"y")]
)
def test_R2_trap_a_handshake_that_does_not_end_is_answered_408(sent: bytes) -> None:
    with Harness(handshake_timeout=0.01) as harness:
        client = harness.connect()
        client.send(sent)
        assert_refused(harness, client, 408)
        assert harness.opened == []


def test_R2_trap_each_byte_of_a_handshake_does_not_prolong_it() -> None:
    with Harness(handshake_timeout=0.01) as harness:
        client = harness.connect()
        more = iter(in_pieces(b"GET / HTTP/1.1\r\nX: ".ljust(60000, b"y")))

        def another_byte_or_the_end() -> bool:
            if not client.ended:
                client.send(next(more))
            return client.ended

        harness.until(another_byte_or_the_end)
        assert_refused(harness, client, 408)


def test_R2_trap_a_client_that_stays_after_its_408_is_cut_off() -> None:
    with Harness(handshake_timeout=0.01, linger_timeout=0.01) as harness:
        client = harness.connect()
        client.send(b"GET / HT")
        harness.until(lambda: harness.engine.connections == 0)
        client.receive()
        assert client.status == 408
        assert not client.reset


def test_R2_the_deadline_of_the_handshake_ends_with_it() -> None:
    with Harness(handshake_timeout=0.01) as harness:
        client = harness.open()
        late = harness.connect()
        harness.until(lambda: late.ended)
        assert late.status == 408
        assert not client.ended
        client.send(frame(TEXT, b"still here"))
        harness.until(lambda: harness.messages)


# What is no HTTP is known by its first bytes, though no empty line comes.

PROXY_2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc0\x00\x02\x01\xc3\x50\x01\xbb"


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (PROXY_2, "PROXY protocol"),
        (PROXY_2 + REQUEST, "PROXY protocol"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\r\n", "PROXY protocol"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), "TLS"),
        (b"\x01\x01\x00\x01\x00\x08\x00\x00", "FastCGI"),
        (b"GET /\r\n", "HTTP/0.9"),
        (b"GET / HTTP/1.1\nHost: a\n\n", "not part of a CRLF"),
        (b"\x00\xff\xfe", "bytes that no HTTP request has"),
    ],
)
def test_what_is_no_http_is_told_so_at_once_and_so_is_the_log(
    harness: Harness, log: LogRecords, said: bytes, what: str
) -> None:
    client = harness.connect()
    client.send(said)
    assert_refused(harness, client, 400)
    assert what in log.text


def test_what_comes_byte_by_byte_is_told_when_its_time_is_over(log: LogRecords) -> None:
    with Harness(handshake_timeout=0.5) as harness:
        client = harness.connect()
        assert client.send_pieces(in_pieces(PROXY_2, 1))
        assert_refused(harness, client, 400)
    assert "PROXY protocol" in log.text


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_an_empty_line_before_the_request_is_ignored_however_it_comes(
    harness: Harness, size: int
) -> None:
    client = harness.connect()
    client.send_pieces(in_pieces(b"\r\n" + REQUEST, size))
    harness.until(lambda: client.status == 101)
