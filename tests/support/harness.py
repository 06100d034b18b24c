"""An engine and its clients in one thread: the test says when the loop turns.

A client is one end of a socket pair, the engine has the other. Only `turn` lets anything run: a
test sees each step and needs no sleep.
"""

import contextlib
import logging
import select
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import fields
from types import TracebackType
from typing import Any, Self

from dorrit.engine import Connection, Engine
from dorrit.engine.limits import Limits
from dorrit.protocol.handshake import Request
from dorrit.protocol.refusal import Refusal
from tests.support.frames import CLOSE, REQUEST, Received, close_frame, parse

DROPS = {1002, 1003, 1007, 1009, 1011}
"""The close codes of R5, and of a callback that raised."""

LIMITS = {field.name for field in fields(Limits)}

TIMEOUT = 240.0
"""Seconds after which what does not come will not come."""


class Client:
    """A client's end of a connection."""

    def __init__(self, harness: "Harness", end: socket.socket) -> None:
        self.harness = harness
        self.socket = end
        self.socket.setblocking(False)
        self.head = b""
        """The response to the request, once it is whole."""
        self.frames: list[Received] = []
        self.ended = False
        """The server has shut down writing, or closed."""
        self.reset = False
        self.says_goodbye = True
        self._rest = b""

    def send(self, data: bytes) -> None:
        """Send all of it, with turns of the loop in between when the socket is full."""
        view = memoryview(data)
        end = time.monotonic() + TIMEOUT
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                assert time.monotonic() < end, "the server does not read"
                self.harness.turn()

    def send_pieces(self, pieces: Iterable[bytes]) -> bool:
        """Send each piece and let the loop turn before the next.

        Returns:
            False if the server closed the connection before all was sent.
        """
        try:
            for piece in pieces:
                self.send(piece)
                self.harness.turn()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self) -> None:
        """Take in what there is, without a turn."""
        while not self.ended:
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                return
            except ConnectionResetError:
                self.reset = self.ended = True
                return
            if not data:
                self.ended = True
                return
            self._rest += data
            if not self.head:
                head, found, rest = self._rest.partition(b"\r\n\r\n")
                if not found:
                    continue
                self.head = head + found
                self._rest = rest
            if self.status == 101:
                frames, self._rest = parse(self._rest)
                deflated = b"permessage-deflate" in self.head
                assert deflated or not any(f.compressed for f in frames), "RSV1 is not agreed on"
                self.frames += frames
                self._answer_drop(frames)

    def _answer_drop(self, frames: list[Received]) -> None:
        """Say goodbye when dropped, as RFC 6455 section 5.5.1 asks; tests answer other closes."""
        if self.says_goodbye and any(f.opcode == CLOSE and f.code in DROPS for f in frames):
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                self.socket.send(close_frame(1000))

    @property
    def status(self) -> int | None:
        """The HTTP status of the response."""
        return int(self.head.split()[1]) if self.head else None

    @property
    def body(self) -> bytes:
        """What followed the head of a refusal."""
        return self._rest

    def close(self) -> None:
        self.ended = True
        self.socket.close()


class Harness:
    """An engine that records what its callbacks hear.

    It takes the fields of `Limits`, and what else an `Engine` takes besides its callbacks. A slow
    machine has its time for a handshake, unless a test gives one.

    Attributes:
        opened, messages, closed: The arguments of the callbacks, in order.
        open_callback, message_callback, close_callback: What to do besides; may be set at any time.
    """

    def __init__(self, **settings: Any) -> None:
        self.opened: list[tuple[Connection, Request]] = []
        self.messages: list[tuple[Connection, bool, bytes]] = []
        self.closed: list[tuple[Connection, int, str]] = []
        self.open_callback: Callable[[Connection, Request], Refusal | None] | None = None
        self.message_callback: Callable[[Connection, bool, bytes], object] | None = None
        self.close_callback: Callable[[Connection, int, str], object] | None = None
        self.clients: list[Client] = []
        settings = {"handshake_timeout": 600} | settings
        limits = {name: settings.pop(name) for name in LIMITS & settings.keys()}
        self.engine = Engine(
            on_open=self._on_open,
            on_message=self._on_message,
            on_close=self._on_close,
            limits=Limits(**limits),
            **settings,
        )

    def _on_open(self, conn: Connection, request: Request) -> Refusal | None:
        self.opened.append((conn, request))
        return self.open_callback(conn, request) if self.open_callback else None

    def _on_message(self, conn: Connection, binary: bool, payload: bytes) -> None:
        self.messages.append((conn, binary, payload))
        if self.message_callback:
            self.message_callback(conn, binary, payload)

    def _on_close(self, conn: Connection, code: int, reason: str) -> None:
        self.closed.append((conn, code, reason))
        if self.close_callback:
            self.close_callback(conn, code, reason)

    def connect(self) -> Client:
        """A client that has not sent anything yet."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.engine.adopt(ours.detach())
        client = Client(self, theirs)
        self.clients.append(client)
        return client

    def open(self, request: bytes = REQUEST) -> Client:
        """A client whose handshake has been accepted."""
        client = self.connect()
        client.send(request)
        self.until(lambda: client.status is not None, client)
        assert client.status == 101, client.head
        return client

    def connection(self, client: Client) -> Connection:
        """The server's side of a client, by the order in which they were opened."""
        opened = [c for c in self.clients if c.status == 101]
        return self.opened[opened.index(client)][0]

    def turn(self, times: int = 1) -> None:
        """Turn the loop without waiting."""
        for _ in range(times):
            self.engine.poll()

    def until(self, condition: Callable[[], object], *clients: Client) -> None:
        """Turn the loop, and let the clients (all, if none is named) read, until `condition()`."""
        end = time.monotonic() + TIMEOUT
        while True:
            self.turn()
            for client in clients or self.clients:
                client.receive()
            if condition():
                return
            assert time.monotonic() < end, "what was waited for did not come"
            timeout = self.engine.timeout()
            descriptors = [self.engine.fileno()]
            descriptors += [c.socket.fileno() for c in clients or self.clients if not c.ended]
            poller = select.poll()
            for descriptor in descriptors:
                poller.register(descriptor, select.POLLIN)
            poller.poll(20 if timeout is None else min(20, timeout * 1000))

    def settle(self) -> None:
        """Turn the loop until nothing is ready any more."""
        for _ in range(1000):
            self.turn()
            for client in self.clients:
                client.receive()
            if not select.select([self.engine.fileno()], [], [], 0)[0]:
                return
        raise AssertionError("the loop does not come to rest")

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class LogRecords(logging.Handler):
    """Collects the records of the logger ``dorrit``."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> str:
        """All of them, without tracebacks."""
        return "\n".join(record.getMessage() for record in self.records)

    @property
    def text(self) -> str:
        """All of them, with tracebacks."""
        return "\n".join(self.format(record) for record in self.records)
