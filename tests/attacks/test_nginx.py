"""Attacks on nginx with the shipped configuration: little of them comes through to the server."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.arena import SECONDS, Attackers, memory_of_pid
from tests.attacks.attackers import WEB_PATH
from tests.attacks.honest import Figures, Honest
from tests.integration.dorrit_server import EXAMPLES, dorrit_serve
from tests.integration.nginx import Nginx, nginx_in_front_of, replace_line
from tests.integration.processes import Process, service_directory
from tests.support.frames import REQUEST
from tests.support.proc import descriptors
from tests.support.servers import Client, until

ON_THE_WEB = REQUEST.replace(b"/chat", WEB_PATH)


def with_timeout(text: str) -> str:
    """The configuration, with a shorter timeout for requests than nginx's minute."""
    return text.replace("server_name localhost;", "server_name localhost; client_header_timeout 1;")


@contextlib.contextmanager
def site() -> Iterator[tuple[Process, Nginx, Honest]]:
    """The echo server behind nginx, and an honest client of nginx's."""
    with service_directory() as directory:
        socket_path: Path = directory / "echo.socket"
        with (
            dorrit_serve(EXAMPLES / "echo.py", socket_path) as server,
            nginx_in_front_of(socket_path, edit=with_timeout) as nginx,
        ):
            honest = Honest(nginx.port, request=ON_THE_WEB, newcomers=False)
            try:
                honest.go_on_for(0.1)
                yield server, nginx, honest
            finally:
                honest.close()


def attacked(
    nginx: Nginx, honest: Honest, name: str, **least: int
) -> tuple[dict[str, Any], Figures]:
    attackers = Attackers(f"127.0.0.1:{nginx.port}", name, seconds=SECONDS, least=least)

    def over(figures: Figures) -> bool:
        if honest.has_its_part(figures):
            attackers.tell_enough()
        return attackers.are_over()

    try:
        figures = honest.go_on_until(over)
        return attackers.finish(), figures
    finally:
        attackers.kill()


def test_of_slowloris_the_server_sees_nothing() -> None:
    with site() as (server, nginx, honest):
        before = len(descriptors(server.pid))
        said = server.output
        did, figures = attacked(nginx, honest, "a few slow requests", connections=101, closed=1)
        assert did["connections"] > 100
        assert did["closed"] > 0, "by client_header_timeout"
        assert len(figures.messages) >= 20
        assert len(descriptors(server.pid)) == before
        assert server.output == said


@pytest.mark.parametrize(
    "name", ["half-open closes", "65,535 bytes, echoes not read", "pings", "broken frames"]
)
def test_the_server_is_rid_of_clients_that_misbehave_through_nginx(name: str) -> None:
    with site() as (server, nginx, honest):
        before = len(descriptors(server.pid))
        memory = memory_of_pid(server.pid)
        did, figures = attacked(nginx, honest, name, websockets=4)
        assert did["websockets"] >= 4
        assert len(figures.messages) >= 20
        until(lambda: len(descriptors(server.pid)) <= before, "the end of the connections")
        honest.go_on_for(0.1)
        assert memory_of_pid(server.pid) - memory < 64 << 20
        assert len(server.output) < 32 << 10


def with_the_pages_directives(text: str) -> str:
    """The shipped configuration with all that docs/security.md adds to it."""
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    http, server, location = re.findall(r"^```nginx\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    text = replace_line(
        text, "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;", location
    )
    text = replace_line(text, "server_name localhost;", f"server_name localhost;\n{server}")
    return f"{http}\n{text}"


def test_with_the_directives_of_the_page_one_address_has_20_connections() -> None:
    with service_directory() as directory:
        socket_path: Path = directory / "echo.socket"
        with (
            dorrit_serve(EXAMPLES / "echo.py", socket_path),
            nginx_in_front_of(socket_path, edit=with_the_pages_directives) as nginx,
            contextlib.ExitStack() as stack,
        ):
            assert "syntax is ok" in nginx.check()
            statuses = []
            for _ in range(30):
                client = Client(nginx.port, ON_THE_WEB)
                stack.enter_context(contextlib.closing(client.socket))
                statuses.append(client.status)
            assert statuses == [101] * 20 + [429] * 10
