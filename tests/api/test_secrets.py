"""What clients say stands in no log record: a secret goes through every place of a request.

Nor is it repeated to the client, who hears in a line what is malformed.

docs/security.md: "The log has no secrets of clients". Only origin, host and path may be there.
"""

import itertools
import logging
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dorrit
from dorrit.engine import reports
from dorrit.process.log import layout
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from tests.support.harness import LogRecords

TIMEOUT = 30.0
SECRET = "s3cr3tT0ken"

BASE = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Origin": "https://server.example.com",
    "X-Forwarded-For": "203.0.113.7",
}

FIELDS = (
    *BASE,
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Cookie",
    "Authorization",
    "Proxy-Authorization",
    "X-Real-IP",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "Forwarded",
    "Content-Length",
    "Content-Type",
    "Transfer-Encoding",
    "Expect",
    "TE",
    "Trailer",
    "Referer",
    "User-Agent",
    "Date",
    "X-Unknown",
)

VALUES = (
    "{}", "{}==", "bearer, {}", "bearer, {}==", "{};", "{}; a={}", 'a; b="{}"', 'a; b="{}',
    "a={}", "a {}", "\t{} a", "{}/{}/{}", "{}\x00", "{}\x1b[2J", "{}\x7f", "{}\xe9", "{}:80:80",
    "user:{}@a", "https://u:{}@a", "https://a/{}", "https://a?{}", "https://{}.a b", "[{}",
    "{}\r\n {}", "\n{}", "{}\r", "{}" * 50, "13, {}", "websocket, {}", "upgrade, {} {}", "for={}",
    "for={};for={}", "203.0.113.7, {}",
)  # fmt: skip

REQUEST_LINES = (
    "{} / HTTP/1.1", "{} {} HTTP/1.1", "GET /?{} HTTP/1.1", "GET /#{} HTTP/1.1", "GET {} HTTP/1.1",
    "GET *{} HTTP/1.1", "GET ?{} HTTP/1.1", "GET /a?b {} HTTP/1.1", "GET / {}", "GET / HTTP/{}",
    "GET / HTTP/1.1{}", "GET / HTTP/1.1 {}", "GET /?{}", "GET  /?{} HTTP/1.1",
    "GET /?{}\x00 HTTP/1.1",
    "GET http://u:{}@a/ HTTP/1.1", "GET http://a\\{}/ HTTP/1.1", "GET ftp://{}/ HTTP/1.1",
    "POST /?{} HTTP/1.1", "HEAD /?{} HTTP/1.0", "GET /?{} HTTP/1.0", "GET /?{} HTTP/2.0",
    "PRI {} HTTP/2.0", "{}", " {}", "\x16\x03{}", "PROXY TCP4 {}", "\r\n\r\n\x00\r\nQUIT\n{}",
    "\r\nGET /?{} HTTP/9.9", "\x01\x01{}", "GET /?{}\n", "{}\n",
)  # fmt: skip

LINES = (
    "{}", "{} a: b", "{}\x00: a", "{}: a", " {}: a", "{} : a", ": {}", "X: a\r\n {}", "{}(: a",
    "{}\xe9: a", "X: a\n{}: b", "{}: {}\x00",
)  # fmt: skip


def head(replaced: dict[str, str | None], *lines: str, first: str = "GET / HTTP/1.1") -> bytes:
    """Return the head of a request; a field that is replaced by None is left out."""
    fields = {**BASE, **replaced}
    every = [first, *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return "\r\n".join([*every, *lines, "", ""]).encode("latin-1")


def requests() -> Iterator[tuple[str, bytes]]:
    """Yield where the secret is, and the head with it there."""
    for line in REQUEST_LINES:
        yield "the request line", head({}, first=line.replace("{}", SECRET))
    for name, value in itertools.product(FIELDS, VALUES):
        said = value.replace("{}", SECRET)
        yield name, head({name: said})
        yield name, head({}, f"{name}: {said}")  # twice, of those that are there
        yield name, head({name: said, "Upgrade": None}) if name != "Upgrade" else head({name: said})
    for line in LINES:
        yield "a line", head({}, line.replace("{}", SECRET))
    for name in BASE:  # beside a secret in each place that has one by right
        yield (
            "others",
            head(
                {name: None},
                f"Cookie: a={SECRET}",
                f"Authorization: {SECRET}",
                first=f"GET /?{SECRET} HTTP/1.1",
            ),
        )
        yield "others", head({name: "\x01"}, f"Cookie: a={SECRET}", f"{SECRET}: {SECRET}")


FRAMES = (
    frame(CLOSE, b"\x03\xe8" + SECRET.encode()),
    frame(CLOSE, b"\x0f\xa0" + SECRET.encode()),
    frame(CLOSE, b"\x03\xed" + SECRET.encode()),
    frame(CLOSE, b"\x03\xe8" + SECRET.encode() + b"\xff"),
    frame(TEXT, SECRET.encode() + b"\xff"),
    frame(TEXT, SECRET.encode(), mask=None),
    frame(TEXT, SECRET.encode(), fin=False) + frame(TEXT, SECRET.encode()),
    frame(CONTINUATION, SECRET.encode()),
    frame(TEXT, SECRET.encode() * 1000),
    frame(BINARY, SECRET.encode() * 1000),
    frame(PING, SECRET.encode() * 20),
    frame(PING, SECRET.encode(), fin=False),
    frame(PONG, SECRET.encode(), reserved=4),
    frame(0x3, SECRET.encode()),
    frame(0xB, SECRET.encode()),
    frame(TEXT, SECRET.encode()),
    frame(BINARY, SECRET.encode()),
    frame(CLOSE, b"x"),
)

MAY_BE_SAID = {"Origin": "the origin ", "Host": "the request's Host, "}
"""Where a secret is allowed, if it looks like what belongs there, and what stands before it."""


class Everything(logging.Handler):
    """Collects all records of the process, in each form in which they leave it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        for lines_of in (layout.text_lines, layout.json_lines):
            self.lines += lines_of(record, True, 100_000)


@pytest.fixture
def everything(log: LogRecords, monkeypatch: pytest.MonkeyPatch) -> Iterator[Everything]:
    monkeypatch.setattr(reports, "BURST", 10**9)  # each of them is to be seen
    handler = Everything()
    root, own = logging.getLogger(), logging.getLogger("dorrit")
    level = root.level
    root.setLevel(logging.DEBUG)
    for logger in (root, own):
        logger.addHandler(handler)
    yield handler
    for logger in (root, own):
        logger.removeHandler(handler)
    root.setLevel(level)


def talk(guest: dorrit.Guest, said: bytes) -> bytes:
    """Say this to the server, and return what it answers until it closes or has no more to say."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(guest.path)
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        received = b""
        deadline = time.monotonic() + TIMEOUT
        client.setblocking(False)
        while time.monotonic() < deadline:
            guest.poll()
            try:
                data = client.recv(65536)
            except BlockingIOError:
                select.select([guest.fileno(), client], [], [], guest.timeout() or 0.25)
                continue
            except ConnectionResetError:
                return received
            if not data:
                return received
            received += data
    raise AssertionError("the server does not close")


def accept(conn: dorrit.Connection) -> bool | None:
    return None


def refuse(conn: dorrit.Connection) -> bool | None:
    return False


def fail(conn: dorrit.Connection) -> bool | None:
    raise ValueError("a fault of the server's own")


STRICT: dict[str, Any] = {
    "origin": ["same", "https://*.example.org"], "trust": "X-Forwarded-For", "max_per_client": 1,
    "deflate": True, "log_level": "debug", "max_message": 1000,
}  # fmt: skip


@pytest.mark.parametrize("on_open", [accept, refuse, fail])
@pytest.mark.parametrize("settings", [{}, STRICT], ids=["plain", "strict"])
def test_R23_no_secret_in_a_request_is_logged(
    directory: Path,
    everything: Everything,
    on_open: Callable[[dorrit.Connection], bool | None],
    settings: dict[str, Any],
) -> None:
    server = dorrit.Server(**settings)
    server.on_open(on_open)
    server.on_message(lambda conn, message: None)
    statuses = set()
    with dorrit.listen(directory / "socket", server) as guest:
        for place, said in requests():
            everything.lines.clear()
            answer = talk(guest, said)
            statuses.add(answer[9:12])
            if answer[9:10] == b"4" and not said.startswith(b"HEAD"):
                title, told, end = answer.partition(b"\r\n\r\n")[2].decode().split("\n")
                assert title.startswith(answer[9:12].decode())
                assert told.endswith("."), (said, answer)
                assert end == ""
            assert SECRET.encode() not in answer or b"101" in answer[:12], (said, answer)
            for line in everything.lines:
                rest = line
                if place in MAY_BE_SAID and settings:
                    rest = line.partition(MAY_BE_SAID[place])[0]
                assert "s3cr3t" not in rest.lower(), (said, line)
    expected = {accept: b"101", refuse: b"403", fail: b"500"}[on_open]
    assert {expected, b"400", b"405", b"426", b"505"} <= statuses


@pytest.mark.parametrize(
    "settings", [{}, {"rfc": False}, STRICT], ids=["rfc", "strict frames", "all"]
)
def test_R23_no_secret_in_a_frame_is_logged(
    directory: Path, everything: Everything, settings: dict[str, Any]
) -> None:
    server = dorrit.Server(**{**settings, "max_message": 1000})
    heard = []
    server.on_message(lambda conn, message: heard.append(message))
    server.on_close(lambda conn, code, reason: heard.append(reason))
    with dorrit.listen(directory / "socket", server) as guest:
        for said in FRAMES:
            talk(guest, head({}) + said)
    assert any(SECRET in str(what) for what in heard)
    assert any("client dropped" in line for line in everything.lines)
    assert "s3cr3t" not in "\n".join(everything.lines).lower()
