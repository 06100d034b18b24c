"""A real HAProxy in front: the configuration of the how-to, and what it must not do."""

import socket
from collections.abc import Iterator

import pytest

from tests.docs.snippets import snippets
from tests.support.frames import REQUEST
from tests.support.servers import Client, Run, Servers, until

START = """
defaults
    mode http
    timeout connect 30s
    timeout client 60s
    timeout server 60s
    timeout check 30s
    option log-health-checks

frontend front
    bind fd@{descriptor}
    default_backend chat

"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def haproxy(servers: Servers, listener: socket.socket, backend: str) -> Run:
    """Run HAProxy before the server."""
    configuration = servers.directory / "haproxy.cfg"
    backend = backend.replace("/run/chat/chat.socket", str(servers.path))
    configuration.write_text(START.format(descriptor=listener.fileno()) + backend)
    return servers.start("haproxy", "-db", "-f", configuration, pass_fds=[listener.fileno()])


def test_O5_with_the_configuration_of_the_how_to_it_is_up_and_the_log_is_empty(
    servers: Servers, listener: socket.socket
) -> None:
    run = servers.serve("", "--health", "/health")
    before = run.err
    (backend,) = snippets("docs/how-to.md", "haproxy")
    proxy = haproxy(servers, listener, backend.text)
    until(lambda: "check passed, code: 200" in proxy.err, "HAProxy's check")
    client = Client(listener.getsockname()[1])
    servers.clients.append(client)
    assert client.status == 101
    assert client.ask("hello") == "hello"
    assert "DOWN" not in proxy.err
    assert run.err == before


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_the_proxy_protocol_is_named_in_the_log_and_to_the_client(
    servers: Servers, listener: socket.socket, option: str
) -> None:
    run = servers.serve("")
    backend = f"backend chat\n    server dorrit unix@/run/chat/chat.socket {option}\n"
    haproxy(servers, listener, backend)
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received = b""
        while data := client.recv(65536):
            received += data
            if received.endswith(b"request.\n"):
                break
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"The connection begins with the PROXY protocol, not with an HTTP request." in received
    run.until_logged("turn it off for this socket: HAProxy: neither send-proxy nor send-proxy-v2")
