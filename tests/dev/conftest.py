"""A front with something behind it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, unix_serve

from dorrit.dev.front import Front, FrontSettings


@dataclass
class Running:
    """A front that answers, and the lines that it said."""

    front: Front
    socket_path: Path
    said: list[str] = field(default_factory=list)

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.front.port}"

    @property
    def url(self) -> str:
        return f"ws://{self.authority}/"


StartFront = Callable[..., Running]


@pytest.fixture
def start_front(tmp_path: Path) -> Iterator[StartFront]:
    """Starts fronts for the socket ``server.socket`` of the test's directory."""
    fronts: list[Front] = []

    def start(**settings: Any) -> Running:
        socket_path = tmp_path / "server.socket"
        said: list[str] = []
        front = Front(0, FrontSettings(socket_path=socket_path, say=said.append, **settings))
        fronts.append(front)
        front.start()
        return Running(front, socket_path, said)

    yield start
    for front in fronts:
        front.close()


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


class EchoServer:
    """An echo server of another make on a UNIX socket, in a thread."""

    def __init__(self, path: Path) -> None:
        self._server = unix_serve(echo, str(path), max_size=None, compression=None)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()


@pytest.fixture
def start_echo(tmp_path: Path) -> Iterator[Callable[[], EchoServer]]:
    """Starts the echo server behind the fronts of the test."""
    servers: list[EchoServer] = []

    def start() -> EchoServer:
        servers.append(EchoServer(tmp_path / "server.socket"))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def front(start_front: StartFront, start_echo: Callable[[], EchoServer]) -> Running:
    """A front with the echo server behind it."""
    start_echo()
    return start_front()
