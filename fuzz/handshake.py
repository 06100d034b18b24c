"""The opening handshake: any bytes as a request, and as each of the fields that are looked into.

The only outcomes allowed:

- `parse_request` returns a `Request` or raises a `Refusal` with one of `STATUSES`; what it accepts,
  h11 accepts as well and reads in the same way;
- nothing that is asked of a `Request` raises anything;
- `parse_extensions` and `read_origin` raise nothing but ValueError; `negotiate`, `client_address`,
  `Query.parse`, `Origins.allows`, `printable` and `target_for_log` nothing at all;
- the engine gives the same answer, whole, and ends the connection unless it is a 101; without the
  end of a head it gives none, but 431 if the head is too large.
"""

import contextlib
import re
import socket
from base64 import b64decode
from typing import Final

import h11

from dorrit.engine import Engine
from dorrit.engine.connection import Connection
from dorrit.engine.limits import Limits
from dorrit.engine.reports import Reports
from dorrit.protocol.deflate import NAME, Policy
from dorrit.protocol.diagnosis import diagnose
from dorrit.protocol.display import printable, target_for_log
from dorrit.protocol.extensions import parse_extensions
from dorrit.protocol.fields import Query
from dorrit.protocol.forwarded import TRUSTABLE, client_address
from dorrit.protocol.handshake import MAX_HEAD, Refusal, Request, accept_response, parse_request
from dorrit.protocol.origin import Origins, read_origin

STATUSES: Final = {400, 405, 414, 426, 431, 505}
END: Final = b"\r\n\r\n"
DIAGNOSED: Final = 1024
"""Bytes by which the engine tells what a head that is incomplete can't be."""
ORIGINS: Final = Origins(
    ["same", "none", "https://example.org", "http://*.example.org:*", "https://*"]
)
POLICIES: Final = (
    Policy(),
    Policy(server_takeover=True, client_takeover=True),
    Policy(window_bits=9),
)
RESPONSE: Final = re.compile(
    r"HTTP/1\.1 ([1-5][0-9]{2}) [A-Za-z \-]*\r\n((?:[A-Za-z\-]+: [\x20-\x7e]*\r\n)+)\r\n"
)


def is_printable(text: str) -> bool:
    """Whether a text can stand in a line of a log."""
    return text.isascii() and text.isprintable()


def judge_refusal(refusal: Refusal) -> None:
    """Look at what is answered and logged."""
    assert refusal.status in STATUSES, refusal
    assert is_printable(str(refusal)), refusal
    assert is_printable(refusal.hint), refusal


def judge_extensions(lines: list[str]) -> bool:
    """Look at what is offered and agreed on; return whether it is well-formed."""
    try:
        offers = parse_extensions(lines)
    except ValueError:
        return False
    for policy in POLICIES:
        terms = policy.negotiate(offers)
        if terms is None:
            continue
        ((name, parameters),) = parse_extensions([terms.response])
        said = dict(parameters)
        asked = [dict(offer.parameters) for offer in offers if offer.name == NAME]
        assert name == NAME
        assert 9 <= terms.server_max_window_bits <= policy.window_bits
        assert terms.server_takeover <= policy.server_takeover
        assert terms.client_takeover <= policy.client_takeover
        assert ("server_no_context_takeover" in said) != terms.server_takeover
        assert ("client_no_context_takeover" in said) != terms.client_takeover
        assert asked, "nothing is agreed on that was not offered"
        assert any(
            int(offer.get("server_max_window_bits") or 15) >= terms.server_max_window_bits
            for offer in asked
            if (offer.get("server_max_window_bits") or "15").isdigit()
        )
        # The client must be told of a window that is smaller than it expects.
        assert terms.server_max_window_bits == 15 or "server_max_window_bits" in said
    return True


def judge_text(text: str) -> None:
    """Look at any text as the value of each field."""
    lines = text.split("\n")
    judge_extensions(lines)
    for header in TRUSTABLE:
        address = client_address(lines, header)
        assert address is None or re.fullmatch(r"[0-9a-f.:]+", address), address
    for name, value in Query.parse(text).pairs:
        assert isinstance(name + value, str)
    with contextlib.suppress(ValueError):
        assert read_origin(text) == text
        assert Origins([text]).allows(None, None) == (text == "none")
    ORIGINS.allows(text, lines[0])
    ORIGINS.allows(lines[0], text)
    assert is_printable(printable(text))
    assert is_printable(target_for_log(text))


def judge_request(request: Request, head: bytes) -> None:
    """Ask a request everything."""
    assert request.method == "GET"
    assert is_printable(request.target)
    assert request.path.startswith("/")
    assert len(b64decode(request.key, validate=True)) == 16
    assert all(isinstance(name + value, str) for name, value in request.query.pairs)
    assert all(isinstance(name + value, str) for name, value in request.cookies.items())
    assert is_printable(repr(request))
    assert set(request.headers) >= {name for name, _ in request.headers.pairs} - {
        name for name, _ in request.headers.pairs if name.lower() in map(str.lower, request.headers)
    }
    assert len(request.headers) == len(list(request.headers)) > 0
    for name in request.headers:
        assert request.headers[name.swapcase()] == request.headers[name]
        assert request.get_all(name.upper())
    assert request.headers == type(request.headers)(request.headers.pairs)
    assert request.origin == request.headers.get("origin")
    if request.target.startswith("/"):
        assert request.host == request.headers.get("host")
    else:
        assert request.host
        assert f"://{request.host}" in request.target
    ORIGINS.allows(request.origin, request.host)
    for header in TRUSTABLE:
        request.trust(header)
        client = request.client
        assert client is None or is_printable(client)
    offered = request.subprotocols
    assert request.select("chat", *offered) == (
        "chat" if "chat" in offered else request.select(*offered)
    )
    judge_extensions(request.get_all("Sec-WebSocket-Extensions"))
    response = RESPONSE.fullmatch(accept_response(request).decode())
    assert response
    assert response[1] == "101"
    # Somebody else's parser sees the same request.
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * MAX_HEAD)
    parser.receive_data(head)
    event = parser.next_event()
    assert isinstance(event, h11.Request), event
    assert (event.method, event.target) == (b"GET", request.target.encode())
    assert [
        (name.lower().encode(), value.encode("latin-1")) for name, value in request.headers.pairs
    ] == [(name, value) for name, value in event.headers]


class Strict(Reports):
    """Takes a fault of the engine for what it is, and writes nothing."""

    def _write(self, *_arguments: object, **_named: object) -> None:
        pass

    def engine_failed(self, error: BaseException, connection: Connection | None = None) -> None:
        """Raise it."""
        raise AssertionError(f"a fault in the engine, {connection!r}") from error


def ask_engine(data: bytes, *, deflate: bool) -> tuple[bytes, bool]:
    """Return what the engine answers, and whether the connection is over then."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        ours.setblocking(False)
        accepted: list[Connection] = []
        engine = Engine(
            on_open=lambda connection, _: accepted.append(connection),
            on_message=lambda *_: None,
            on_close=lambda *_: None,
            reports=Strict(),
            limits=Limits(deflate=deflate, rfc=deflate),
        )
        try:
            engine.adopt(ours.detach())
            received, ended = b"", False
            for piece in (data[: len(data) // 2], data[len(data) // 2 :], b""):
                if piece:
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        assert theirs.send(piece) == len(piece)
                for _ in range(2):
                    engine.poll()
            try:
                while chunk := theirs.recv(1 << 16):
                    received += chunk
                ended = True
            except BlockingIOError:
                pass
            except ConnectionResetError:
                ended = True
            return received, ended
        finally:
            engine.close()


def judge_answer(data: bytes, expected: int | None, *, deflate: bool) -> None:
    """Look whether the engine answers a head, and what follows it, as it should."""
    answer, ended = ask_engine(data, deflate=deflate)
    if expected is None:
        assert (answer, ended) == (b"", False)
        return
    head, end, content = answer.partition(END)
    response = RESPONSE.fullmatch((head + end).decode())
    assert response, answer
    assert int(response[1]) == expected, (answer, expected)
    if expected == 101:
        return
    assert ended, "a connection that was refused is over"
    fields = dict(line.split(": ", 1) for line in response[2].splitlines())
    assert "close" in fields["Connection"]
    is_whole = len(content) == int(fields["Content-Length"])
    assert is_whole or (content == b"" and data.startswith(b"HEAD "))


def fuzz_one(data: bytes) -> None:
    """Judge one input."""
    status = 101
    request = None
    try:
        request = parse_request(data)
    except Refusal as refusal:
        status = refusal.status
        judge_refusal(refusal)
    if request is not None:
        judge_request(request, data)
    judge_text(data.decode("latin-1"))
    if request is None:
        judge_text(data.decode("utf-8", "replace"))

    # An empty line may stand before the request.
    end = data.find(END, 2 if data.startswith(b"\r\n") else 0)
    head = data[:end]
    if diagnose((data[: len(data) // 2] or data)[:DIAGNOSED]) is not None:
        judge_answer(data, 400, deflate=False)  # by what comes first
        return
    if request is None or end < 0:
        if end < 0:
            judge_answer(data, 431 if len(data) >= MAX_HEAD else None, deflate=False)
            return
        try:
            request = parse_request(head + END)
            status = 101
        except Refusal as refusal:
            status = refusal.status
    if status == 101 and request is not None:
        if len(data) == len(head + END):
            judge_answer(data, status, deflate=False)
        if not judge_extensions(request.get_all("Sec-WebSocket-Extensions")):
            status = 400
        data = head + END
    judge_answer(data, status, deflate=True)
