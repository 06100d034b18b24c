"""Attacks by many at once, of which each sends more for one read than a turn handles.

They run under sanitizers and with the invariants of the engine checked as well
(`tests/test_variants.py`): what is written beyond an end need not be seen otherwise.
"""

import select
import time

import pytest

from tests.attacks.arena import Attackers, serve
from tests.support.frames import TEXT, frame
from tests.support.servers import TIMEOUT, Client, Run, Servers

AT_ONCE = """
import dorrit
app = dorrit.Server("attacked", event_loop="asyncio")

@app.on_message
async def said(conn, message):
    conn.send(message)
"""
"""Handlers that are `async` and wait for nothing."""

WAITING = """
import asyncio
import dorrit
app = dorrit.Server("attacked", event_loop="asyncio")

@app.on_message
async def said(conn, message):
    await asyncio.sleep(0)
    conn.send(message)
    await conn.drain()
"""
"""Each message is answered in a turn of its own, and the client may be slow to read: what the
kernel and the queue have no room for would be refused."""

COUNTS = (1, 3, 10, 16, 43, 80, 150)
"""Clients: around the numbers at which what holds them grows."""

FRAMES_OF_ALL = 12_000
FRAMES_MAX = 4000


@pytest.mark.parametrize(
    "kind",
    [
        "five",
        "object",
        pytest.param(WAITING, id="async"),
        pytest.param(AT_ONCE, id="async, at once"),
    ],
)
def test_any_number_of_clients_may_say_more_than_a_turn_handles(
    servers: Servers, kind: str
) -> None:
    run = serve(servers, kind)
    for count in COUNTS:
        number = min(FRAMES_MAX, FRAMES_OF_ALL // count)
        clients = [servers.connect() for _ in range(count)]
        for client in clients:
            client.socket.sendall(frame(TEXT, b"x") * number)
        expect(clients, b"\x81\x01x" * number)
        for client in clients:
            client.socket.close()
    check_end(servers, run)


@pytest.mark.parametrize("kind", ["object", "async"])
def test_a_server_under_several_attacks_at_once_has_no_fault(servers: Servers, kind: str) -> None:
    run = serve(servers, kind, "--deflate")
    names = ("tiny messages", "a million fragments", "broken frames", "half-open closes")
    attackers = Attackers(servers.path, *names, seconds=1)
    try:
        assert attackers.finish()["websockets"] > 40
    finally:
        attackers.kill()
    assert servers.connect().ask("still there?") == "still there?"
    check_end(servers, run)


def expect(clients: list[Client], echoes: bytes) -> None:
    """Read from all at the same time, until each has got its echoes."""
    got = {client.socket.fileno(): b"" for client in clients}
    sockets = {client.socket.fileno(): client.socket for client in clients}
    poller = select.poll()
    for number in sockets:
        poller.register(number, select.POLLIN)
    end = time.monotonic() + TIMEOUT
    while sockets:
        assert time.monotonic() < end, "the echoes do not come"
        for number, _ in poller.poll(100):
            data = sockets[number].recv(1 << 16)
            assert data, "the server has closed the connection"
            got[number] += data
            if len(got[number]) >= len(echoes):
                poller.unregister(number)
                del sockets[number]
    assert set(got.values()) == {echoes}


def check_end(servers: Servers, run: Run) -> None:
    assert servers.stop(run) == 0, run.err
    assert "Traceback" not in run.err
    assert "a fault in dorrit" not in run.err
    assert "Sanitizer" not in run.err
