"""Clients for whom the kernel keeps only some KB, and child processes for tests that starve."""

import inspect
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dorrit.engine import Connection
from tests.support.harness import Client, Harness

ROOT = Path(__file__).parents[2]


# A frame that the kernel does not take at once.
STUFFING = bytes(60_000)


class NarrowHarness(Harness):
    """Its clients' sockets hold little, so that queues fill and frames are written in part."""

    def connect(self) -> Client:
        ours, theirs = socket.socketpair()
        # socket(7): the kernel makes the least it allows of this, 4.5 KB on Linux.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        ours.setblocking(False)
        self.engine.adopt(ours.detach())
        client = Client(self, theirs)
        self.clients.append(client)
        return client


def opened(harness: Harness, count: int) -> tuple[list[Client], list[Connection]]:
    """So many new clients, and the server's side of each."""
    clients = [harness.open() for _ in range(count)]
    return clients, [conn for conn, _ in harness.opened[-count:]]


def stuffed(harness: NarrowHarness, count: int) -> tuple[list[Client], list[Connection]]:
    """So many new clients that don't read; of one message for each, the kernel takes only a part.

    All that is queued for them from now on waits, behind that message.
    """
    clients, conns = opened(harness, count)
    for conn in conns:
        assert conn.send(STUFFING)
    harness.turn()
    assert all(conn.pending == 1 and conn.pending_bytes < len(STUFFING) for conn in conns)
    return clients, conns


def in_child(function: Callable[[], None]) -> None:
    """Run a function of a test module in a process of its own, which fails if the function does."""
    path = Path(inspect.getfile(function)).relative_to(ROOT).with_suffix("")
    call = f"from {'.'.join(path.parts)} import {function.__name__} as run; run()"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", call],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
