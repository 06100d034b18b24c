"""The HTTP front of `dorrit dev`: the page, the directory, who is let in, and upgrades."""

import base64
import contextlib
import http.client
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from dorrit.dev import front as front_module
from dorrit.dev.front import HEAD_LIMIT, Front, FrontSettings
from dorrit.protocol.display import quoted
from tests.dev.conftest import EchoServer, Running, StartFront

TIMEOUT = 60.0
KEY = base64.b64encode(bytes(16)).decode()


def get(
    front: Running, target: str = "/", *, host: str | None = "", method: str = "GET"
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send one request with this target as it stands; ``host`` None sends no such header."""
    connection = http.client.HTTPConnection("127.0.0.1", front.front.port, timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_host=True)
        if host is not None:
            connection.putheader("Host", host or front.authority)
        connection.endheaders()
        response = connection.getresponse()
        return response, response.read()


def upgrade_request(front: Running, *headers: str) -> bytes:
    lines = [
        "GET /chat?room=1 HTTP/1.1",
        f"Host: {front.authority}",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read_until(end: socket.socket, mark: bytes) -> bytes:
    received = bytearray()
    while mark not in received:
        data = end.recv(65536)
        assert data, f"ended after {received!r}"
        received += data
    return bytes(received)


@contextlib.contextmanager
def raw_client(front: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", front.front.port), timeout=TIMEOUT) as client:
        yield client


@contextlib.contextmanager
def raw_server(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(TIMEOUT)
        yield listener


# The page


@pytest.mark.parametrize(
    ("path", "media_type", "content"),
    [
        ("/", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/?from=bookmark", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/page.css", "text/css; charset=utf-8", b"color-scheme"),
        ("/page.js", "text/javascript; charset=utf-8", b"new WebSocket"),
    ],
)
def test_the_test_page_is_served(
    start_front: StartFront, path: str, media_type: str, content: bytes
) -> None:
    response, body = get(start_front(), path)
    assert response.status == 200
    assert response.headers["Content-Type"] == media_type
    assert content in body


def test_the_test_page_may_load_and_connect_to_nothing_but_its_front(
    start_front: StartFront,
) -> None:
    front = start_front()
    response, body = get(front)
    policy = dict(
        part.strip().split(" ", 1)
        for part in response.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    port = front.front.port
    assert policy["connect-src"] == f"'self' ws://127.0.0.1:{port} ws://localhost:{port}"
    assert b"http://" not in body
    assert b"https://" not in body
    assert response.headers["Cache-Control"] == "no-store"


def test_a_path_that_the_test_page_does_not_have_is_answered_404(start_front: StartFront) -> None:
    front = start_front()
    response, body = get(front, "/../front.py")
    assert response.status == 404
    assert body == b"404 Not Found: the test page is at /\n"
    assert front.said == ["GET /../front.py refused: 404 the test page is at /"]


def test_head_has_the_headers_and_no_body(start_front: StartFront) -> None:
    front = start_front()
    response, body = get(front, method="HEAD")
    assert (response.status, body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0
    response, body = get(front, "/nothing", method="HEAD")
    assert (response.status, body) == (404, b"")


def test_other_methods_are_answered_405(start_front: StartFront) -> None:
    response, _body = get(start_front(), method="POST")
    assert response.status == 405


# A directory


@pytest.fixture
def site(tmp_path: Path) -> Path:
    directory = tmp_path / "site"
    (directory / "sub").mkdir(parents=True)
    (directory / "app.js").write_text("let version = 1;")
    (directory / "sub" / "note.txt").write_text("a note")
    (tmp_path / "secret.txt").write_text("secret")
    return directory


def test_static_serves_the_files_of_the_directory_afresh(
    start_front: StartFront, site: Path
) -> None:
    front = start_front(static=site)
    response, body = get(front, "/app.js")
    assert (response.status, body) == (200, b"let version = 1;")
    assert response.headers["Content-Type"].startswith(
        ("text/javascript", "application/javascript")
    )
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    (site / "app.js").write_text("let version = 2;")
    assert get(front, "/app.js")[1] == b"let version = 2;"
    assert get(front, "/sub/note.txt")[1] == b"a note"
    assert get(front, "/app.js", method="HEAD")[1] == b""


def test_static_lists_a_directory_without_an_index(start_front: StartFront, site: Path) -> None:
    front = start_front(static=site)
    assert b"app.js" in get(front)[1]
    (site / "index.html").write_text("the index")
    assert get(front)[1] == b"the index"


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/sub/%2e%2e%2f%2e%2e%2fsecret.txt",
        "//../secret.txt",
        "/..\\secret.txt",
        "/sub/.../../../secret.txt",
        "/app.js%00.txt",
        "/missing",
    ],
)
def test_static_serves_nothing_outside_the_directory(
    start_front: StartFront, site: Path, target: str
) -> None:
    response, body = get(start_front(static=site), target)
    assert response.status == 404
    assert b"secret" not in body.replace(target.encode(), b"")


def test_static_has_no_test_page(start_front: StartFront, site: Path) -> None:
    assert get(start_front(static=site), "/page.js")[0].status == 404


# Who is let in


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_the_front_is_served_by_its_own_names(start_front: StartFront, name: str) -> None:
    front = start_front()
    assert get(front, host=f"{name}:{front.front.port}")[0].status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "127.0.0.1:{port}\r\nHost: evil.example",
        "evil.example\r\nHost: 127.0.0.1:{port}",
    ],
)
def test_a_host_header_that_names_another_site_is_refused(
    start_front: StartFront, host: str
) -> None:
    front = start_front()
    request = f"GET / HTTP/1.1\r\nHost: {host.format(port=front.front.port)}\r\n\r\n"
    with raw_client(front) as client:
        client.sendall(request.encode())
        answer = read_until(client, b"http://NAME:PORT\n")
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"the Host header is another, and only 127.0.0.1:" in answer
    assert b"for another name, give its pages: dorrit dev ... --origin" in answer
    assert len(front.said) == 1
    assert "GET / refused: 403 the Host header is another" in front.said[0]
    assert quoted("host", host.format(port=front.front.port).partition("\r")[0]) in front.said[0]


def test_a_request_without_a_host_header_is_refused(start_front: StartFront) -> None:
    response, body = get(start_front(), host=None)
    assert response.status == 403
    assert b"the Host header is missing" in body


def test_the_host_header_of_an_upgrade_is_checked_too(front: Running) -> None:
    request = upgrade_request(front).replace(front.authority.encode(), b"evil.example")
    with raw_client(front) as client:
        client.sendall(request)
        assert read_until(client, b"\r\n").startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_an_upgrade_of_the_fronts_own_page_passes(front: Running, name: str) -> None:
    with connect(front.url, origin=Origin(f"http://{name}:{front.front.port}")) as client:
        client.send("hello")
        assert client.recv(TIMEOUT) == "hello"


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://127.0.0.1:{port}.evil.example",
        "http://evil.example:{port}",
        "null",
        "",
    ],
)
def test_an_upgrade_that_another_sites_page_asks_for_is_refused(
    front: Running, origin: str
) -> None:
    origin = origin.format(port=front.front.port)
    with raw_client(front) as client:
        client.sendall(upgrade_request(front, f"Origin: {origin}"))
        answer = read_until(client, b"localhost:5173\n")
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"to let others, name them: dorrit dev ... --origin http://localhost:5173" in answer
    assert len(front.said) == 1
    assert "GET /chat refused: 403 a page of another origin asked for the upgrade" in front.said[0]
    assert quoted("origin", origin) in front.said[0]


@pytest.mark.parametrize(
    ("accepted", "origin"),
    [
        (["http://localhost:5173"], "http://localhost:5173"),
        (["http://localhost:*"], "http://localhost:3000"),
        (["https://a.example", "null"], "null"),
        (["https://a.example", "same"], "http://127.0.0.1:{port}"),
    ],
)
def test_an_upgrade_of_an_origin_that_the_server_was_told_passes(
    start_front: StartFront,
    start_echo: Callable[[], EchoServer],
    accepted: list[str],
    origin: str,
) -> None:
    start_echo()
    front = start_front(origins=accepted)
    with connect(front.url, origin=Origin(origin.format(port=front.front.port))) as client:
        client.send("hello")
        assert client.recv(TIMEOUT) == "hello"
    with raw_client(front) as other:
        other.sendall(upgrade_request(front, "Origin: http://evil.example"))
        assert read_until(other, b"\r\n").startswith(b"HTTP/1.1 403 ")


def test_the_hosts_of_these_origins_are_served_on_any_port_and_no_others(
    start_front: StartFront,
) -> None:
    # Who can make one of these names resolve to 127.0.0.1 was let in by the option.
    front = start_front(origins=["https://myapp.test", "http://*.dev.test:*", "https://*", "same"])
    for host in ("myapp.test", f"MYAPP.test:{front.front.port}", "a.dev.test:1"):
        assert get(front, host=host)[0].status == 200
    for host in ("evil.example", "dev.test", "myapp.test.evil.example", "x.myapp.test", "*", "a b"):
        assert get(front, host=host)[0].status == 403


def test_what_checks_the_servers_health_gets_its_answer(start_front: StartFront) -> None:
    front = start_front(health="/health")
    with raw_server(front.socket_path) as listener, raw_client(front) as client:
        client.sendall(f"GET /health HTTP/1.1\r\nHost: {front.authority}\r\n\r\n".encode())
        server, _address = listener.accept()
        with server:
            assert read_until(server, b"\r\n\r\n").startswith(b"GET /health HTTP/1.1\r\n")
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
        assert read_until(client, b"\r\n\r\nok\n")


def test_a_head_that_takes_longer_than_the_server_allows_is_answered_408(
    start_front: StartFront,
) -> None:
    front = start_front(head_timeout=0.05)
    with raw_client(front) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert read_until(client, b"\r\n").startswith(b"HTTP/1.1 408 ")


SECRET = "s3cr3tT0ken"


@pytest.mark.parametrize(
    "said",
    [
        f"GET /x?{SECRET} HTTP/1.1\r\nHost: {{}}",
        f"GET /?{SECRET} HTTP/1.1\r\nHost: evil.example",
        f"GET /?{SECRET} HTTP/1.1\r\nHost: a {SECRET}",
        f"GET /?{SECRET} {SECRET} HTTP/1.1\r\nHost: {{}}",
        f"GET /?{SECRET} HTTP/{SECRET}\r\nHost: {{}}",
        f"GET /?{SECRET} HTTP/3.0\r\nHost: {{}}",
        f"{SECRET}",
        f"{SECRET} / HTTP/1.1\r\nHost: {{}}",
        f"POST /?{SECRET} HTTP/1.1\r\nHost: {{}}\r\nCookie: {SECRET}",
        f"GET / HTTP/1.1\r\nHost: {{}}\r\nUpgrade: websocket\r\nOrigin: https://u:{SECRET}@a",
        f"GET / HTTP/1.1\r\nHost: {{}}\r\nUpgrade: websocket\r\nOrigin: https://a/{SECRET}",
        f"GET /y HTTP/1.1\r\nHost: {{}}\r\n{SECRET}: {SECRET}\r\nAuthorization: {SECRET}",
        f"GET /y HTTP/1.1\r\nHost: {{}}\r\n{SECRET}",
        f"GET / HTTP/1.1\r\nHost: {{}}\r\nX: {SECRET * 7000}",
    ],
)
def test_no_secret_of_a_client_is_said_nor_repeated(start_front: StartFront, said: str) -> None:
    front = start_front()
    with raw_client(front) as client:
        client.sendall(said.format(front.authority).encode() + b"\r\n\r\n")
        answer = b""
        while data := client.recv(65536):
            answer += data
    assert b" 200 " in answer or b" 4" in answer or b" 5" in answer
    assert SECRET.encode() not in answer
    assert SECRET not in "\n".join(front.said)


def test_of_two_origins_both_must_be_the_fronts(front: Running) -> None:
    headers = [f"Origin: http://{front.authority}", "Origin: http://evil.example"]
    with raw_client(front) as client:
        client.sendall(upgrade_request(front, *headers))
        assert read_until(client, b"\r\n").startswith(b"HTTP/1.1 403 ")


def test_it_listens_on_loopback_only(start_front: StartFront) -> None:
    front = start_front()
    with pytest.raises(ConnectionRefusedError):
        # The whole of 127.0.0.0/8 is this machine: a socket on 0.0.0.0 would answer here.
        socket.create_connection(("127.0.0.2", front.front.port), timeout=TIMEOUT)


def test_a_port_in_use_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            Front(port, FrontSettings(socket_path=tmp_path / "socket", say=print))


def test_a_head_that_does_not_end_is_answered_431(start_front: StartFront) -> None:
    front = start_front()
    with raw_client(front) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: ".ljust(HEAD_LIMIT + 1, b"x"))
        assert read_until(client, b"\r\n").startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("request_line", "status"), [("GET / HTTP/2.0", 505), ("GET", 400), ("GET / x HTTP/1.1", 400)]
)
def test_a_request_that_is_none_is_refused(
    start_front: StartFront, request_line: str, status: int
) -> None:
    with raw_client(start_front()) as client:
        client.sendall(request_line.encode() + b"\r\n\r\n")
        assert read_until(client, b"\r\n").startswith(f"HTTP/1.1 {status} ".encode())


# Upgrades


def test_R1_the_request_is_forwarded_as_it_came_with_the_address_added(
    start_front: StartFront,
) -> None:
    front = start_front()
    odd = ["cOOKie:  a=\xe9; b=2 ", "X-Odd:", "Sec-WebSocket-Extensions: permessage-deflate"]
    forged = [
        "X-Forwarded-For: 203.0.113.7",
        "x-FORWARDED-proto:https",
        "X-Real-IP: 203.0.113.7",
        "forwarded: for=203.0.113.7",
    ]
    with raw_server(front.socket_path) as listener, raw_client(front) as client:
        client.sendall(upgrade_request(front, *forged, *odd))
        server, _address = listener.accept()
        with server:
            server.settimeout(TIMEOUT)
            received = read_until(server, b"\r\n\r\n")
    added = [
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1;proto=http",
    ]
    assert received == upgrade_request(front, *odd, *added)


def test_R1_what_the_client_sent_behind_its_head_is_not_lost(front: Running) -> None:
    masked_hello = b"\x81\x85\0\0\0\0hello"
    with raw_client(front) as client:
        client.sendall(upgrade_request(front) + masked_hello)
        answer = read_until(client, b"\x81\x05hello")
    assert answer.startswith(b"HTTP/1.1 101 ")


def test_R1_a_request_in_single_bytes_passes(front: Running) -> None:
    with raw_client(front) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in upgrade_request(front):
            client.sendall(bytes([byte]))
        assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")


def test_R1_the_servers_refusal_reaches_the_client_whole(front: Running) -> None:
    request = upgrade_request(front).replace(b"Version: 13", b"Version: 12")
    with raw_client(front) as client:
        client.sendall(request)
        response = http.client.HTTPResponse(client)
        with contextlib.closing(response):
            response.begin()
            assert response.status == 400
            assert len(response.read()) == int(response.headers["Content-Length"]) > 0
        assert client.recv(1) == b""


def test_upgrades_to_other_protocols_are_plain_requests(front: Running) -> None:
    with raw_client(front) as client:
        client.sendall(upgrade_request(front).replace(b": websocket", b": h2c"))
        assert read_until(client, b"\r\n").startswith(b"HTTP/1.1 404 ")


def test_R1_upgrades_pass_beside_a_static_directory(
    start_front: StartFront, start_echo: Callable[[], EchoServer], tmp_path: Path
) -> None:
    start_echo()
    front = start_front(static=tmp_path)
    with connect(front.url) as client:
        client.send("hello")
        assert client.recv(TIMEOUT) == "hello"


def test_R1_large_messages_pass_to_a_reader_that_is_slow(front: Running) -> None:
    size = 1_000_000
    messages = [bytes([number]) * size for number in range(30)]
    # Binary, final, 64-bit length; the masking key is zero.
    head = b"\x82\xff" + size.to_bytes(8, "big") + bytes(4)
    echoed = b"\x82\x7f" + size.to_bytes(8, "big")
    with raw_client(front) as client:
        client.sendall(upgrade_request(front))
        assert read_until(client, b"\r\n\r\n").endswith(b"\r\n\r\n")
        writer = threading.Thread(
            target=client.sendall, args=(b"".join(head + message for message in messages),)
        )
        writer.start()
        # Nothing is read until all the buffers on the way are full and the writer is held up.
        writer.join(0.5)
        assert writer.is_alive()
        with client.makefile("rb") as stream:
            for message in messages:
                assert stream.read(len(echoed)) == echoed
                assert stream.read(size) == message
        writer.join()


def test_R1_the_close_code_and_reason_pass(front: Running) -> None:
    with connect(front.url) as client:
        client.close(4321, "enough")
        assert client.protocol.close_rcvd is not None
        assert (client.protocol.close_rcvd.code, client.protocol.close_rcvd.reason) == (
            4321,
            "enough",
        )


def test_a_server_that_nobody_expects_is_answered_for_with_503_at_once(
    start_front: StartFront,
) -> None:
    front = start_front(is_server_expected=lambda: False, server_wait=3600)
    with pytest.raises(InvalidStatus) as refusal, connect(front.url):
        pass
    assert refusal.value.response.status_code == 503
    assert b"the server does not answer on its socket" in refusal.value.response.body
    assert "503" in front.said[0]


def test_a_server_that_stays_away_is_waited_for_no_longer_than_told(
    start_front: StartFront,
) -> None:
    front = start_front(server_wait=0.2)
    with pytest.raises(InvalidStatus) as refusal, connect(front.url):
        pass
    assert refusal.value.response.status_code == 503


def test_an_upgrade_waits_for_a_server_that_is_being_started(
    start_front: StartFront, start_echo: Callable[[], EchoServer]
) -> None:
    asked = threading.Event()

    def is_expected() -> bool:
        asked.set()  # the front has found no server, and will look again
        return True

    front = start_front(is_server_expected=is_expected, server_wait=TIMEOUT)

    def start_late() -> None:
        asked.wait(TIMEOUT)
        start_echo()

    starter = threading.Thread(target=start_late)
    starter.start()
    with connect(front.url) as client:
        client.send("hello")
        assert client.recv(TIMEOUT) == "hello"
    starter.join()


def test_a_server_that_closes_without_an_answer_is_answered_for_with_502(
    start_front: StartFront,
) -> None:
    front = start_front()
    with raw_server(front.socket_path) as listener, raw_client(front) as client:
        client.sendall(upgrade_request(front))
        server, _address = listener.accept()
        server.close()
        answer = read_until(client, b"without an answer\n")
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")


def test_a_small_frame_does_not_wait_for_the_one_before(front: Running) -> None:
    with connect(front.url) as client:
        client.send("x")
        client.recv(TIMEOUT)
        # The front's end of this connection is the process's own: TCP_NODELAY can be read there.
        assert _nodelay_of_peer(client.socket)


def _nodelay_of_peer(end: socket.socket) -> bool:
    """Return TCP_NODELAY of the other end of a connection that this process has with itself."""
    for descriptor in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as other:
            if other.getsockname() == end.getpeername() and other.getpeername() == (
                end.getsockname()
            ):
                return bool(other.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    raise AssertionError("the other end is not in this process")


def test_a_client_that_says_nothing_is_not_waited_for_for_ever(
    front: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_module._Handler, "timeout", 0.05)
    with raw_client(front) as client:
        assert client.recv(1) == b""


def test_a_client_that_leaves_in_the_middle_of_its_head_gets_no_answer(front: Running) -> None:
    with raw_client(front) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost:")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_a_fault_of_the_front_is_shown_and_a_client_that_went_away_is_not(
    front: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as request:
        for error in (ConnectionResetError(), ValueError("a fault")):
            try:
                raise error
            except type(error):
                front.front._server.handle_error(request, ("127.0.0.1", 1))
    shown = capsys.readouterr().err
    assert "ValueError: a fault" in shown
    assert "ConnectionResetError" not in shown


def test_a_front_serves_within_a_context_and_its_port_is_free_then(tmp_path: Path) -> None:
    settings = FrontSettings(socket_path=tmp_path / "socket", say=print)
    with Front(0, settings) as front:
        get(Running(front, tmp_path / "socket"))
        port = front.port
    again = Front(port, settings)
    again.close()  # it was never started
