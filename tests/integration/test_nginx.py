"""nginx with the shipped configuration: what it passes on, and its coming and going."""

import signal
import socket
from pathlib import Path

import pytest

from tests.integration.clients import exchange_by_websockets
from tests.integration.dorrit_server import EXAMPLES, SERVERS, dorrit_serve
from tests.integration.nginx import Nginx, nginx_in_front_of, replace_line
from tests.integration.processes import DEADLINE, service_directory, wait_until
from tests.integration.raw_client import (
    FIN,
    TEXT,
    UPGRADE_FIELDS,
    Fields,
    RawClient,
    frame,
)

pytestmark = pytest.mark.timeout(300)

ECHO = EXAMPLES / "echo.py"
COOKIE = SERVERS / "cookie.py"

VERSION = "proxy_http_version 1.1;"
UPGRADE = "proxy_set_header Upgrade $http_upgrade;"
CONNECTION = "proxy_set_header Connection $connection_upgrade;"


def echoes(client: RawClient) -> bool:
    """Have the server repeat something."""
    client.send(frame(FIN | TEXT, b"hello"))
    return client.receive_frame() == (FIN | TEXT, b"hello")


def test_R1_nginx_finds_nothing_to_say_about_the_configuration(directory: Path) -> None:
    with service_directory() as prefix:
        said = Nginx(prefix, directory / "echo.socket").check()

    lines = said.splitlines()
    assert len(lines) == 2, said
    assert lines[0].endswith("syntax is ok")
    assert lines[1].endswith("test is successful")


def request_as_forwarded(directory: Path, fields: Fields) -> tuple[int, list[str]]:
    """Return nginx's port, and the lines of the request that it makes of one with ``fields``."""
    socket_path = directory / "listener.socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(DEADLINE)
        listener.bind(str(socket_path))
        socket_path.chmod(0o777)
        listener.listen()
        with nginx_in_front_of(socket_path) as nginx, RawClient(nginx.url) as client:
            client.send_request(fields)
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(DEADLINE)
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            assert client.receive_status() == 403
            return nginx.port, head.decode().split("\r\n")


def test_R1_nginx_tells_the_server_where_the_client_is_and_what_it_wanted(directory: Path) -> None:
    fields = (*UPGRADE_FIELDS, ("X-Forwarded-For", "192.0.2.1"))

    port, lines = request_as_forwarded(directory, fields)

    assert lines[0] == "GET /websocket HTTP/1.1"
    for line in (
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: upgrade",
        "X-Forwarded-For: 192.0.2.1, 127.0.0.1",
        f"X-Forwarded-Host: 127.0.0.1:{port}",
        "X-Forwarded-Proto: http",
    ):
        assert line in lines


def test_R1_nginx_asks_for_no_upgrade_if_the_client_does_not(directory: Path) -> None:
    _, lines = request_as_forwarded(directory, ())

    assert "Connection: close" in lines
    assert not any(line.startswith("Upgrade:") for line in lines)


@pytest.mark.parametrize(
    ("fields", "cookie"),
    [
        pytest.param([], "", id="none"),
        pytest.param([("Cookie", "a=1")], "a=1", id="one"),
        pytest.param([("Cookie", "a=1"), ("Cookie", "b=2; c=3")], "a=1; b=2; c=3", id="two-lines"),
        pytest.param([("Cookie", "a=" + "x" * 16_382)], "a=" + "x" * 16_382, id="16-KiB"),
        pytest.param([("Cookie", "a=" + "x" * 32_000)], "a=" + "x" * 32_000, id="32-kB"),
    ],
)
def test_R9_cookie_arrives_through_nginx(directory: Path, fields: Fields, cookie: str) -> None:
    socket_path = directory / "cookie.socket"
    with (
        dorrit_serve(COOKIE, socket_path),
        nginx_in_front_of(socket_path) as nginx,
        RawClient(nginx.url) as client,
    ):
        assert client.request([*UPGRADE_FIELDS, *fields]) == 101
        assert client.receive_frame() == (FIN | TEXT, f"cookie: {cookie}".encode())


@pytest.mark.parametrize(
    "missing",
    [(VERSION, UPGRADE, CONNECTION), (VERSION,), (UPGRADE, CONNECTION)],
    ids=["all", "version", "headers"],
)
def test_R2_log_names_what_is_missing_in_the_configuration_of_nginx(
    directory: Path, missing: tuple[str, ...]
) -> None:
    def take_out(configuration: str) -> str:
        for line in missing:
            configuration = replace_line(configuration, line, "")
        return configuration

    socket_path = directory / "echo.socket"
    with (
        dorrit_serve(ECHO, socket_path) as server,
        nginx_in_front_of(socket_path, edit=take_out) as nginx,
    ):
        with RawClient(nginx.url) as client:
            assert client.request() == 426

        advised = [line for line in (VERSION, UPGRADE) if line in missing]
        not_advised = [line for line in (VERSION, UPGRADE) if line not in missing]
        assert all(line in server.output for line in advised), server.output
        assert not any(line in server.output for line in not_advised), server.output


def test_R27_nginx_answers_502_while_the_server_is_stopped_and_finds_it_again(
    directory: Path,
) -> None:
    socket_path = directory / "echo.socket"
    with nginx_in_front_of(socket_path) as nginx:
        for _ in range(2):
            with RawClient(nginx.url) as client:
                assert client.request() == 502
            with dorrit_serve(ECHO, socket_path):
                assert exchange_by_websockets(nginx.url, ["hello"]) == ["hello"]


def test_R11_clients_have_gone_when_nginx_is_stopped_and_the_server_goes_on(
    directory: Path,
) -> None:
    socket_path = directory / "cookie.socket"
    with dorrit_serve(COOKIE, socket_path) as server, nginx_in_front_of(socket_path) as nginx:
        with RawClient(nginx.url) as one, RawClient(nginx.url) as other:
            assert one.request() == 101
            assert other.request() == 101
            for client in (one, other):
                client.receive_frame()

            nginx.stop()

            one.receive_end()
            other.receive_end()
        server.wait_until(
            lambda: server.output.count("a client has gone") == 2, "both close callbacks have run"
        )

        nginx.start()
        with RawClient(nginx.url) as client:
            assert client.request() == 101
            client.receive_frame()
            assert echoes(client)


def test_R1_connections_survive_a_reload_of_nginx(directory: Path) -> None:
    socket_path = directory / "echo.socket"
    with (
        dorrit_serve(ECHO, socket_path),
        nginx_in_front_of(socket_path) as nginx,
        RawClient(nginx.url) as old,
    ):
        assert old.request() == 101
        assert echoes(old)

        nginx.reload()

        assert echoes(old)
        with RawClient(nginx.url) as new:
            assert new.request() == 101
            assert echoes(new)
        assert echoes(old)


def test_R1_nginx_that_quits_lets_its_last_client_finish(directory: Path) -> None:
    socket_path = directory / "echo.socket"
    with dorrit_serve(ECHO, socket_path), nginx_in_front_of(socket_path) as nginx:
        process = nginx.process
        with RawClient(nginx.url) as client:
            assert client.request() == 101

            process.send_signal(signal.SIGQUIT)
            wait_until(lambda: not nginx.accepts(), "nginx accepts no more")

            assert echoes(client)
            assert process.is_running
        nginx.wait()
