"""As many connections as a process may have descriptors, but for some: all outlive it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.server import HERE, crash, reload, serving
from tests.support.descriptors import descriptors
from tests.support.servers import Client, Run

DESCRIPTORS = 20_000
CLIENTS = 18_500


@contextlib.contextmanager
def many_clients(path: Path) -> Iterator[list[Client]]:
    """Clients of a server, which are gone at the end of the block."""
    clients: list[Client] = []
    try:
        for _ in range(CLIENTS):
            clients.append(Client(path))
            assert clients[-1].status == 101
        yield clients
    finally:
        for client in clients:
            client.socket.close()


def ask_all(clients: list[Client], time: int) -> None:
    """Have all say something at once, each something else, for that many a time."""
    for number, client in enumerate(clients):
        client.send(f"{number}")
    for number, client in enumerate(clients):
        assert client.text() == f"{time}: {number}"


@pytest.mark.root
def test_L1_L3_a_reload_and_a_crash_keep_as_many_clients_as_there_are_descriptors(
    directory: Path,
) -> None:
    server = f"{HERE / 'crashing_counter.py'}:app"
    restarts: dict[str, Callable[[Run], object]] = {
        f"reloaded: {CLIENTS} connections were carried over": reload,
        f"{CLIENTS} connections go on after the crash": lambda run: crash(run.path, 0),
    }
    with (
        descriptors(DESCRIPTORS),
        serving(directory, server, "--max-connections", f"{CLIENTS + 100}") as run,
        many_clients(run.path) as clients,
    ):
        ask_all(clients, 1)
        for time, (logged, restart) in enumerate(restarts.items(), 2):
            restart(run)
            run.until_logged(logged)
            ask_all(clients, time)
        newcomer = Client(run.path)
        assert newcomer.ask("one") == "1: one"
        newcomer.socket.close()
