"""Order and completeness across reloads: many clients, cuts and images, handlers that wait."""

import asyncio
import random
import socket
from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dorrit import Connection, Server
from dorrit.api.server import application_of
from dorrit.drive.asyncio_driver import RunningServer
from dorrit.settings import merge
from tests.support.frames import BINARY, REQUEST, close_frame, frame, parse

PIECES = st.lists(st.integers(1, 4000), max_size=30)


class Talk:
    """What one client says, and hears.

    Attributes:
        messages: What it says.
        handled: What a handler has been called with, in order.
        ends: What the close handlers have been called with.
        heard: What the server has sent.
    """

    def __init__(self, name: int, count: int, size: int, pieces: list[int]) -> None:
        self.name = name
        self.messages = [b"%d:%d:" % (name, number) + bytes(size) for number in range(count)]
        self.pieces = pieces
        self.handled: list[bytes] = []
        self.ends: list[int] = []
        self.heard: list[bytes] = []

    async def run(self, running: RunningServer) -> None:
        loop = asyncio.get_running_loop()
        request = REQUEST.replace(b"/chat", b"/%d" % self.name)
        data = request + b"".join(frame(BINARY, message) for message in self.messages)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        with theirs:
            running.driver.engine.adopt(ours.detach())
            reading = asyncio.ensure_future(self._read(theirs))
            for size in [*self.pieces, len(data)]:
                piece, data = data[:size], data[size:]
                await loop.sock_sendall(theirs, piece)
                await asyncio.sleep(0)
            while len(self.heard) < len(self.messages):  # noqa: ASYNC110 - without an event
                await asyncio.sleep(0)
            await loop.sock_sendall(theirs, close_frame(1000))
            await reading

    async def _read(self, client: socket.socket) -> None:
        received = b""
        while data := await asyncio.get_running_loop().sock_recv(client, 1 << 16):
            received += data
            head, found, rest = received.partition(b"\r\n\r\n")
            if found:
                frames, _ = parse(rest)
                self.heard = [one.payload for one in frames if one.opcode == BINARY]
        assert head.startswith(b"HTTP/1.1 101 ")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    max_waiting=st.integers(1, 20),
    clients=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 300), PIECES), max_size=4),
    reloads=st.lists(st.integers(0, 30), max_size=6),
    asyncs=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)
def test_every_message_is_handled_once_in_order_whenever_the_server_is_reloaded(
    seed: int,
    max_waiting: int,
    clients: list[tuple[int, int, list[int]]],
    reloads: list[int],
    asyncs: tuple[bool, bool, bool, bool],
) -> None:
    chance = random.Random(seed)
    talks = [Talk(name, *each) for name, each in enumerate(clients)]
    resumed: dict[bytes, int] = defaultdict(int)
    app = Server()

    async def pause() -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    def talk_of(conn: Connection) -> Talk:
        return talks[int(conn.saved)]

    def came(conn: Connection) -> None:
        conn.save(conn.request.path[1:].encode())

    def said(conn: Connection, message: bytes) -> None:
        talk_of(conn).handled.append(message)
        assert conn.send(message)

    def left(conn: Connection, code: int, reason: str) -> None:
        talk_of(conn).ends.append(code)

    def again(conn: Connection, state: bytes | None) -> None:
        assert state == conn.saved
        resumed[state] += 1

    async def came_later(conn: Connection) -> None:
        await pause()
        came(conn)

    async def said_later(conn: Connection, message: bytes) -> None:
        await pause()
        said(conn, message)
        await conn.drain()
        await pause()

    async def left_later(conn: Connection, code: int, reason: str) -> None:
        await pause()
        left(conn, code, reason)

    async def again_later(conn: Connection, state: bytes | None) -> None:
        await pause()
        again(conn, state)

    app.on_open(came_later if asyncs[0] else came)
    app.on_message(said_later if asyncs[1] else said)
    app.on_close(left_later if asyncs[2] else left)
    app.on_resume(again_later if asyncs[3] else again)
    application = application_of(app)
    merged = merge({"max_waiting": max_waiting, "buffer_size": 65540}, {})

    async def main() -> None:
        async with RunningServer(application, merged, 5, carries=True) as running:
            talking = [asyncio.ensure_future(talk.run(running)) for talk in talks]
            await asyncio.sleep(0)  # they have connected
            for turns in reloads:
                for _ in range(turns):
                    await asyncio.sleep(0)
                await running.reload(application, merged)
            async with asyncio.timeout(60):
                await asyncio.gather(*talking)

    asyncio.run(main())
    for talk in talks:
        assert talk.handled == talk.messages
        assert talk.heard == talk.messages
        assert talk.ends == [1000]
    assert all(count <= len(reloads) for count in resumed.values())
