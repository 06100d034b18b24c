"""`--health`: a load balancer asks a real server how it is (O5)."""

import os
import signal
import socket
from pathlib import Path

import pytest

import dorrit
from tests.support.frames import REQUEST
from tests.support.harness import LogRecords
from tests.support.servers import TIMEOUT, Client, Servers, until

GET = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


def everything(client: Client) -> bytes:
    """What it has got, to the end of the connection."""
    received = client.head + b"\r\n\r\n" + client._rest
    while data := client.socket.recv(65536):
        received += data
    return received


@pytest.mark.parametrize(
    "request_",
    [GET, b"GET /health HTTP/1.0\r\n\r\n", b"HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n"],
)
def test_O5_it_is_answered_200_and_the_log_has_nothing_of_it(
    servers: Servers, request_: bytes
) -> None:
    run = servers.serve("", "--health", "/health", "--log-level", "debug")
    before = run.err
    for _ in range(20):
        answer = everything(servers.connect(request_))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
        assert answer.endswith(b"\r\n\r\n" if request_.startswith(b"HEAD") else b"\r\n\r\nok\n")
    assert servers.connect(REQUEST.replace(b"/chat", b"/health")).status == 101
    assert run.err == before


def test_O5_without_the_option_it_is_refused_with_a_hint(servers: Servers) -> None:
    run = servers.serve("")
    assert servers.connect(GET).status == 426
    run.until_logged("for the health check of a load balancer there is --health")


def test_O5_while_it_stops_it_says_503_to_whom_it_has_accepted_but_not_answered(
    servers: Servers,
) -> None:
    run = servers.serve(
        """
        def ws_read_callback(conn, binary, data):
            say("busy")
            with open("go") as gate:
                gate.read()
        """,
        "--health",
        "/health",
        "--stop-timeout",
        "60",
        "--max-handshakes",
        "3",
    )
    os.mkfifo(servers.directory / "go")
    # The first one is turned away for the fourth, which is thereby known to be accepted, and the
    # second one for the client that keeps the server busy.
    silent = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for client in silent:
        client.settimeout(TIMEOUT)
        client.connect(os.fspath(servers.path))
    assert silent[0].recv(65536).startswith(b"HTTP/1.1 503 ")
    servers.connect().send("be busy")
    run.until_said("busy")
    silent[2].sendall(GET)
    silent[3].sendall(REQUEST)
    run.process.send_signal(signal.SIGTERM)
    Path(servers.directory, "go").write_text("go")
    received = b""
    while data := silent[2].recv(65536):
        received += data
    assert received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert received.endswith(b"\r\n\r\nstopping\n")
    assert silent[3].recv(65536).startswith(b"HTTP/1.1 503 ")
    for client in silent:
        client.close()
    for opened in servers.clients:
        opened.socket.close()
    assert run.wait() == 0
    assert run.err.count("handshake refused, 503: the server stops") == 1


def test_O5_a_server_that_is_full_says_so_without_a_record(servers: Servers) -> None:
    run = servers.serve("", "--health", "/health", "-m", "2")
    clients = [servers.connect() for _ in range(2)]
    before = run.err
    for _ in range(20):
        answer = everything(servers.connect(GET))
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n")
        assert answer.endswith(b"\r\n\r\nfull\n")
    assert run.err == before
    assert servers.connect().status == 503
    run.until_logged("handshake refused, 503: ")
    clients[0].close()
    assert everything(servers.connect(GET)).endswith(b"\r\n\r\nok\n")
    assert servers.connect().status == 101
    assert run.err.count("handshake refused") == 1


def test_O5_64_beyond_the_limit_are_heard_since_they_may_be_checks(servers: Servers) -> None:
    servers.serve("", "--health", "/health", "-m", "1")

    def silent() -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        servers.others.append(client)
        client.settimeout(TIMEOUT)
        client.connect(os.fspath(servers.path))
        return client

    assert servers.connect().status == 101
    for _ in range(63):
        silent()
    assert everything(servers.connect(GET)).endswith(b"\r\n\r\nfull\n")
    last, one_more = silent(), silent()
    assert one_more.recv(65536).startswith(b"HTTP/1.1 503 ")
    last.sendall(GET)
    assert last.recv(65536).endswith(b"\r\n\r\nfull\n")


def test_O5_a_guest_answers_as_well(directory: Path, log: LogRecords) -> None:
    with (
        dorrit.listen(directory / "socket", health="/health") as guest,
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.connect(guest.path)
        client.sendall(GET)
        client.setblocking(False)

        def answer() -> bytes:
            guest.poll()
            try:
                return client.recv(65536)
            except BlockingIOError:
                return b""

        received = b""

        def is_whole() -> bool:
            nonlocal received
            received += answer()
            return received.endswith(b"ok\n")

        until(is_whole)
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not log.records


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("health", "it must begin with /"),
        ("", "it must begin with /"),
        ("/health?a", "no query and no fragment"),
        ("/health#a", "no query and no fragment"),
        ("/he alth", "visible ASCII must be percent-encoded"),
        ("/é", "visible ASCII must be percent-encoded"),
    ],
)
def test_O5_what_is_no_path_is_said_at_the_start(path: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"health: .*{why}"):
        dorrit.Server(health=path)
