"""Carry the bytes of one upgraded connection both ways.

One thread, two sockets, and for each direction at most one chunk in memory: a side that does not
read stops the other one, as a web server in front of dorrit would.
"""

import select
import socket
import time
from dataclasses import dataclass, field

CHUNK = 65536
"""The most bytes that one direction holds."""

LINGER = 10.0
"""Seconds that the client has to close its side after the server has closed its own.

RFC 6455 section 7.1.1: "when a server is instructed to _Close the WebSocket Connection_ it SHOULD
initiate a TCP Close immediately, and when a client is instructed to do the same, it SHOULD wait for
a TCP Close from the server." So what follows the end of the server's stream is the client's own.
"""


class ClientGoneError(Exception):
    """The client's socket failed: nobody is left to carry anything for."""


@dataclass
class _Direction:
    """What flows from ``source`` to ``sink``.

    ``pending`` is what was received and not yet sent. The source has ``ended`` at its end of
    stream; the direction is ``finished`` when the sink has been told so too. A direction that
    ``discards`` reads on although its sink takes nothing any more, so that the close of the other
    socket does not become a reset, which would destroy what that socket has yet to deliver.
    """

    source: socket.socket
    sink: socket.socket
    pending: memoryview = field(default_factory=lambda: memoryview(b""))
    ended: bool = False
    finished: bool = False
    discards: bool = False

    def receive(self) -> None:
        """Take one chunk from the source if it has one."""
        try:
            data = self.source.recv(CHUNK)
        except BlockingIOError:
            return
        self.ended = not data
        self.pending = memoryview(b"" if self.discards else data)

    def send(self) -> None:
        """Give the sink as much of the pending bytes as it takes."""
        try:
            self.pending = self.pending[self.sink.send(self.pending) :]
        except BlockingIOError:
            return

    def finish(self) -> None:
        """Pass the end of the stream on once everything before it has been sent."""
        if self.ended and not self.pending and not self.finished:
            self.finished = True
            if not self.discards:
                self.sink.shutdown(socket.SHUT_WR)

    def give_up(self) -> None:
        """Go on reading for nobody."""
        self.discards = True
        self.pending = memoryview(b"")


def _step_from_client(inbound: _Direction) -> None:
    if not inbound.pending and not inbound.ended:
        try:
            inbound.receive()
        except OSError as error:
            raise ClientGoneError from error
    try:
        if inbound.pending:
            inbound.send()
        inbound.finish()
    except OSError:
        # The server has closed while the client was still sending. What the server said before
        # that (its close frame) is still to be delivered.
        inbound.give_up()
        inbound.finish()


def _step_to_client(outbound: _Direction, if_silent: bytes, *, heard: bool) -> bool:
    """Move bytes from the server to the client; return whether the server has said anything."""
    if not outbound.pending and not outbound.ended:
        try:
            outbound.receive()
        except OSError:
            # A reset comes after the last byte that the server wrote; for the client the two ends
            # look alike, except that no close frame came before this one.
            outbound.ended = True
        heard = heard or bool(outbound.pending)
        if outbound.ended and not heard:
            outbound.pending = memoryview(if_silent)
    try:
        if outbound.pending:
            outbound.send()
        outbound.finish()
    except OSError as error:
        raise ClientGoneError from error
    return heard


def _wait(inbound: _Direction, outbound: _Direction, deadline: float | None) -> bool:
    """Wait until a direction can go on; return False when the deadline has passed.

    A socket that nothing is wanted from is left out: poll reports POLLHUP and POLLERR whether asked
    for or not, and would return at once for ever.
    """
    interest: dict[int, int] = {}
    for direction in (inbound, outbound):
        if direction.pending:
            descriptor = direction.sink.fileno()
            interest[descriptor] = interest.get(descriptor, 0) | select.POLLOUT
        elif not direction.ended:
            descriptor = direction.source.fileno()
            interest[descriptor] = interest.get(descriptor, 0) | select.POLLIN
    poller = select.poll()
    for descriptor, events in interest.items():
        poller.register(descriptor, events)
    if deadline is None:
        poller.poll()
        return True
    remaining = deadline - time.monotonic()
    return remaining > 0 and bool(poller.poll(remaining * 1000))


def splice(
    client: socket.socket,
    server: socket.socket,
    *,
    to_server: bytes = b"",
    if_silent: bytes = b"",
    linger: float = LINGER,
) -> None:
    """Carry bytes between the two sockets until both ends have closed.

    An end of stream on one side is passed on to the other as one (``shutdown``), after everything
    that came before it. When the client's socket fails, the server's is left to be closed by the
    caller, who owns both.

    Args:
        client: The connected socket of the client; becomes non-blocking.
        server: The connected socket of the server; becomes non-blocking.
        to_server: Bytes for the server that come before anything the client sends.
        if_silent: What the client gets if the server closes without having sent one byte.
        linger: Seconds that the client has to close after the server has.
    """
    client.settimeout(0)
    server.settimeout(0)
    inbound = _Direction(client, server, pending=memoryview(to_server))
    outbound = _Direction(server, client)
    deadline: float | None = None
    heard = False
    try:
        while True:
            _step_from_client(inbound)
            heard = _step_to_client(outbound, if_silent, heard=heard)
            if inbound.finished and outbound.finished:
                return
            if outbound.finished and deadline is None:
                deadline = time.monotonic() + linger
            if not _wait(inbound, outbound, deadline):
                return
    except ClientGoneError:
        return
