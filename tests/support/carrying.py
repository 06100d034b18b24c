"""An engine that goes on with the clients of another one, as the process's next image does."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dorrit.engine import Connection
from dorrit.process.exec.memfd import nameless_file
from dorrit.protocol.handshake import Request
from tests.support.harness import Harness

Resumed = tuple[Connection, Request, bytes | None, str | bytes | None]


class CarryingHarness(Harness):
    """A `Harness` whose connections outlive it.

    Attributes:
        resumed: What `on_resume` was called with, in order.
        resume_callback: What to do besides, and what to return.
        carried: How many connections were carried in, and how many lost.
    """

    def __init__(self, **settings: Any) -> None:
        self.resumed: list[Resumed] = []
        self.resume_callback: Callable[..., object] | None = None
        self.carried = (0, 0)
        super().__init__(**{"carries": True, "on_resume": self._on_resume} | settings)

    def _on_resume(
        self, conn: Connection, request: Request, state: bytes | None, begun: str | bytes | None
    ) -> object:
        self.resumed.append((conn, request, state, begun))
        if self.resume_callback is not None:
            return self.resume_callback(conn, request, state, begun)
        return None

    def next(
        self, damage: Callable[[int], object] | None = None, **settings: Any
    ) -> "CarryingHarness":
        """Return the one that goes on with the clients; it has had no turn yet.

        Args:
            damage: Is called with the ledger's descriptor in between.
            **settings: Its settings, which need not be the same.
        """
        with ledger() as file:
            self.engine.carry_out(file)
            if damage is not None:
                damage(file)
            successor = CarryingHarness(**settings)
            successor.carried = successor.engine.carry_in(file)
        successor.clients, self.clients = self.clients, []
        for client in successor.clients:
            client.harness = successor
        return successor


@contextmanager
def ledger() -> Iterator[int]:
    """The descriptor of an empty file in memory."""
    file = nameless_file("ledger")
    try:
        yield file
    finally:
        os.close(file)


def is_open(descriptor: int) -> bool:
    """Whether a descriptor is a socket that has a peer."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as found:
            found.getpeername()
    except OSError:
        return False
    return True
