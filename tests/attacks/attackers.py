"""Clients that mean harm, each attack in a process of its own: bounded in time and in sockets.

`python -m tests.attacks.attackers NAME ADDRESS SECONDS LEAST` attacks, and then says in one line of
JSON what it has done, so that a test can tell whether there was an attack at all. ADDRESS is the
path of a socket, or that of a web server: 127.0.0.1:PORT. LEAST is JSON: how often it must have
done what. It goes on for these seconds, and then until it has done that much and its standard input
has ended: a machine that has much else to do takes longer.
"""

import contextlib
import json
import select
import socket
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.support.frames import (
    BINARY,
    CONTINUATION,
    PING,
    REQUEST,
    TEXT,
    close_frame,
    frame,
)

HOLD: Final = 500
"""Sockets that an attack has open at most, unless it says otherwise."""

TIMEOUT: Final = 10.0
"""Seconds that an attacker waits for the answer to its request."""

LIMIT: Final = 60.0
"""Seconds after which an attack ends, whatever it has done."""

WEB_PATH: Final = b"/websocket"
"""Where the web server has the WebSocket."""

UNMASKED: Final = b"\x00\x00\x00\x00"
"""A masking key that changes nothing: what is sent by the megabyte need not be masked slowly."""

DEFLATING: Final = REQUEST[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"


class Attack:
    """One attack: until when, on what, and what it has done so far."""

    def __init__(self, address: str, seconds: float, least: dict[str, int]) -> None:
        self.address = address
        self.began = time.monotonic()
        self.end = self.began + seconds
        self.least = least
        self.tally: Counter[str] = Counter()

    def goes_on(self) -> bool:
        now = time.monotonic()
        return now < self.end or (now < self.began + LIMIT and not self._is_enough())

    def _is_enough(self) -> bool:
        if any(self.tally[name] < count for name, count in self.least.items()):
            return False
        return bool(select.select([sys.stdin], [], [], 0)[0])

    def connect(self) -> socket.socket | None:
        """A connection, or None if the server has no place for it now."""
        host, colon, port = self.address.partition(":")
        client = socket.socket(socket.AF_INET if colon else socket.AF_UNIX)
        client.settimeout(TIMEOUT)
        try:
            client.connect((host, int(port)) if colon else self.address)
        except OSError:
            client.close()
            self.tally["not connected"] += 1
            time.sleep(0.001)  # the backlog is full, which is all that can be done to it
            return None
        self.tally["connections"] += 1
        return client

    def upgrade(self, request: bytes = REQUEST) -> socket.socket | None:
        """A WebSocket whose socket does not block, or None if the server refuses it."""
        client = self.connect()
        if client is None:
            return None
        try:
            client.sendall(request.replace(b"/chat", WEB_PATH) if ":" in self.address else request)
            head = client.recv(1 << 16)
        except OSError:
            head = b""
        if not head.startswith(b"HTTP/1.1 101 "):
            self.tally["refused"] += 1
            client.close()
            return None
        self.tally["websockets"] += 1
        client.setblocking(False)
        return client


# Floods: what WebSockets send without end


@dataclass(frozen=True, slots=True)
class Flood:
    """So many WebSockets send a block again and again.

    Attributes:
        block: What is sent.
        count: WebSockets. Those that the server closes are replaced.
        reads: What the server answers is read.
        step: Bytes that are handed over at once.
        request: How each begins.
    """

    block: bytes
    count: int = 4
    reads: bool = True
    step: int = 1 << 16
    request: bytes = REQUEST

    def __call__(self, attack: Attack) -> None:
        view = memoryview(self.block)
        places: dict[int, tuple[socket.socket, int]] = {}
        poller = select.poll()
        while attack.goes_on():
            while len(places) < self.count and attack.goes_on():
                client = attack.upgrade(self.request)
                if client is None:
                    break
                places[client.fileno()] = client, 0
                poller.register(client, select.POLLOUT | (select.POLLIN if self.reads else 0))
            for descriptor, events in poller.poll(50):
                client, place = places[descriptor]
                try:
                    if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                        self._read(client)
                    if events & select.POLLOUT:
                        sent = client.send(view[place : place + self.step])
                        attack.tally["bytes"] += sent
                        places[descriptor] = client, (place + sent) % len(view)
                except BlockingIOError:
                    pass
                except OSError:
                    attack.tally["closed"] += 1
                    poller.unregister(descriptor)
                    client.close()
                    del places[descriptor]
        for client, _ in places.values():
            client.close()

    @staticmethod
    def _read(client: socket.socket) -> None:
        if not client.recv(1 << 18):
            raise EndedError


class EndedError(OSError):
    """The server has ended the connection."""


def message(opcode: int, payload: bytes, *, fin: bool = True, reserved: int = 0) -> bytes:
    return frame(opcode, payload, fin=fin, mask=UNMASKED, reserved=reserved)


def bomb(size: int) -> bytes:
    """A message of some bytes that becomes `size` of them."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = compressor.compress(bytes(size)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return message(BINARY, payload.removesuffix(b"\x00\x00\xff\xff"), reserved=4)


def fragments(piece: bytes, count: int) -> bytes:
    """One message in so many fragments."""
    middle = message(CONTINUATION, piece, fin=False) * (count - 2)
    return message(TEXT, piece, fin=False) + middle + message(CONTINUATION, piece)


MIB: Final = 1 << 20

FLOODS: Final[dict[str, Flood]] = {
    "byte at a time": Flood(frame(TEXT, b"a byte at a time") * 100, count=100, step=1),
    "pings": Flood(frame(PING, b"p" * 125) * 1000),
    "pings, pongs not read": Flood(frame(PING, b"p" * 125) * 1000, reads=False),
    "empty pings": Flood(frame(PING) * 20_000),
    "tiny messages": Flood(frame(TEXT) * 20_000, count=32),
    "tiny messages, echoes not read": Flood(frame(TEXT) * 20_000, count=32, reads=False),
    "a million fragments": Flood(fragments(b"f", 1_000_000)),
    "a million empty fragments": Flood(fragments(b"", 1_000_000)),
    "65,535 bytes": Flood(message(BINARY, bytes(65_535)) * 16, count=8),
    "65,535 bytes, echoes not read": Flood(message(BINARY, bytes(65_535)) * 16, reads=False),
    "1 MiB messages": Flood(message(BINARY, bytes(MIB)), count=8),
    "1 MiB messages, echoes not read": Flood(message(BINARY, bytes(MIB)), count=64, reads=False),
    "bombs": Flood(bomb(MIB) * 20, count=8, request=DEFLATING),
    "bombs, echoes not read": Flood(bomb(MIB) * 20, count=8, reads=False, request=DEFLATING),
    "bombs that are too large": Flood(bomb(200 * MIB), count=8, request=DEFLATING),
    "broken frames": Flood(b"\xff\xff" * 100, count=8),
}


# Connections that lead to nothing


def slowloris(attack: Attack, count: int = HOLD) -> None:
    """Requests of which a byte comes now and then."""
    clients: list[socket.socket] = []
    while attack.goes_on():
        while len(clients) < count and attack.goes_on():
            client = attack.connect()
            if client is None:
                break
            clients.append(client)
        for client in list(clients):
            try:
                client.send(b"G")
                attack.tally["bytes"] += 1
            except OSError:
                attack.tally["closed"] += 1
                client.close()
                clients.remove(client)
        time.sleep(0.01)
    for client in clients:
        client.close()


def few_slow_requests(attack: Attack) -> None:
    """As many as leave some of the 512 connections of the tests' nginx to others."""
    slowloris(attack, 120)


def is_readable(client: socket.socket) -> bool:
    poll = select.poll()  # not select(2), which knows no descriptor above 1023
    poll.register(client, select.POLLIN)
    return poll.poll(0) != []


def silence(attack: Attack) -> None:
    """More and more connections that say nothing; the oldest are given up for new ones."""
    clients: list[socket.socket] = []
    while attack.goes_on():
        client = attack.connect()
        if client is not None:
            clients.append(client)
        # The oldest one is the first that is turned away, when the server comes to that.
        if clients and is_readable(clients[0]):
            attack.tally["refused"] += 1
            clients.pop(0).close()
        elif len(clients) > 4 * HOLD:
            clients.pop(0).close()
    for client in clients:
        client.close()


def connect_and_leave(attack: Attack) -> None:
    """Connections that end as soon as they are there, with or without a request."""
    while attack.goes_on():
        for request in (b"", REQUEST[:40], REQUEST, b"\x16\x03\x01\x02\x00"):
            client = attack.connect()
            if client is not None:
                with contextlib.suppress(OSError):
                    client.send(request)
                client.close()


def large_heads(attack: Attack) -> None:
    """Requests with as many fields and bytes as are accepted, and some more."""
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 480) for number in range(120))
    requests = (REQUEST[:-2] + fields + b"\r\n", REQUEST[:-2] + fields * 2)  # 60 and 120 KB
    while attack.goes_on():
        for request in requests:
            client = attack.connect()
            if client is not None:
                with contextlib.suppress(OSError):
                    client.sendall(request)
                    client.recv(1 << 16)
                client.close()


def half_open(attack: Attack) -> None:
    """WebSockets that end in part: a close frame and no end, an end and no close frame, a frame for
    which the server closes and then neither."""
    clients: list[socket.socket] = []
    while attack.goes_on():
        for data in (close_frame(1000), b"", b"\x81\x00", message(BINARY, bytes(65_535))[:70]):
            client = attack.upgrade()
            if client is None:
                continue
            clients.append(client)
            with contextlib.suppress(OSError):
                client.send(data)
                if not data:
                    client.shutdown(socket.SHUT_WR)
        while len(clients) > HOLD:
            clients.pop(0).close()
    for client in clients:
        client.close()


def dropped_and_still_there(attack: Attack) -> None:
    """WebSockets for which the server waits to take in why they were dropped, which they don't."""
    clients: list[socket.socket] = []
    while attack.goes_on():
        client = attack.upgrade()
        if client is not None:
            clients.append(client)
            with contextlib.suppress(OSError):
                client.send(message(BINARY, b"text", reserved=0, fin=True)[:1] + b"\xff")
        if len(clients) > 8 * HOLD:
            clients.pop(0).close()
    for client in clients:
        client.close()


def occupation(attack: Attack) -> None:
    """As many WebSockets as there is place for, held to the end."""
    clients: list[socket.socket] = []
    while attack.goes_on():
        client = attack.upgrade() if len(clients) < 8 * HOLD else None
        if client is not None:
            clients.append(client)
        else:
            time.sleep(0.002)
    for client in clients:
        client.close()


def never_reading(attack: Attack) -> None:
    """WebSockets that take nothing of what the server sends them."""
    clients: list[socket.socket] = []
    while attack.goes_on():
        client = attack.upgrade() if len(clients) < HOLD else None
        if client is not None:
            clients.append(client)
        else:
            time.sleep(0.01)
    for client in clients:
        client.close()


ATTACKS: Final[dict[str, Callable[[Attack], None]]] = {
    **FLOODS,
    "slowloris": slowloris,
    "a few slow requests": few_slow_requests,
    "silence": silence,
    "connect and leave": connect_and_leave,
    "large heads": large_heads,
    "half-open closes": half_open,
    "dropped and still there": dropped_and_still_there,
    "occupation": occupation,
    "never reading": never_reading,
}


def main(name: str, address: str, seconds: str, least: str) -> None:
    attack = Attack(address, float(seconds), json.loads(least))
    ATTACKS[name](attack)
    print(json.dumps({"began": attack.began, "ended": time.monotonic(), **attack.tally}))


if __name__ == "__main__":
    main(*sys.argv[1:])
