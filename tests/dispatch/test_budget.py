"""What clients make the server hold for `async` handlers counts for `--max-buffered`, and ends."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

from dorrit import Connection, Server
from dorrit.api.server import application_of
from dorrit.drive.asyncio_driver import AsyncioDriver
from dorrit.settings import merge
from tests.support.frames import BINARY, REQUEST, close_frame, frame, parse
from tests.support.harness import LogRecords

MEBIBYTE = 1 << 20
SIZE = 10_000
"""Bytes of a message, of which six may wait for one connection before it is read no more."""


class Client:
    """One end of a socket pair, which is closed when the server ends."""

    all: ClassVar[list["Client"]] = []

    def __init__(self, loop: AsyncioDriver) -> None:
        ours, self.socket = socket.socketpair()
        self.all.append(self)
        ours.setblocking(False)
        self.socket.setblocking(False)
        loop.engine.adopt(ours.detach())

    async def send(self, *pieces: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, b"".join(pieces))

    async def read_to_the_end(self) -> bytes:
        received = b""
        while data := await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16):
            received += data
        return received


@asynccontextmanager
async def running(app: Server, **settings: object) -> AsyncIterator[AsyncioDriver]:
    """The loop of a server, turned by the event loop of the test."""
    loop = AsyncioDriver(application_of(app), merge(settings, {}))
    await loop.start()
    try:
        yield loop
    finally:
        await loop.shut_down(5)
        loop.close()
        while Client.all:
            Client.all.pop().socket.close()


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what it asks for tells nobody
            await asyncio.sleep(0.001)


def test_messages_that_wait_for_a_handler_count_and_are_given_back() -> None:
    app = Server()
    done = asyncio.Event()

    @app.on_message
    async def wait(conn: Connection, message: bytes) -> None:
        await done.wait()

    async def main() -> None:
        async with running(app) as loop:
            client = Client(loop)
            await client.send(REQUEST, frame(BINARY, bytes(SIZE)) * 5)
            await until(lambda: loop.engine.assembled > 4 * SIZE)
            assert loop.engine.assembled < 5 * SIZE
            done.set()
            await until(lambda: loop.engine.assembled == 0)

    asyncio.run(main())


def test_who_has_most_waiting_goes_and_its_messages_with_it(log: LogRecords) -> None:
    app = Server()
    done = asyncio.Event()
    handled: dict[Connection, int] = {}

    @app.on_message
    async def wait(conn: Connection, message: bytes) -> None:
        handled[conn] = handled.get(conn, 0) + 1
        await done.wait()

    async def main() -> None:
        async with running(app, max_buffered=MEBIBYTE, max_message=MEBIBYTE // 2) as loop:
            modest = Client(loop)
            await modest.send(REQUEST, frame(BINARY, bytes(SIZE)) * 5)
            await until(lambda: loop.engine.assembled > 4 * SIZE)
            crowd = [Client(loop) for _ in range(20)]
            for client in crowd:
                await client.send(REQUEST, frame(BINARY, bytes(SIZE)) * 7)
                await turns()
            await until(lambda: "more messages are under way" in log.text)
            assert loop.engine.assembled <= MEBIBYTE
            done.set()
            await until(lambda: loop.engine.assembled == 0)
            counts = list(handled.values())
            assert counts[0] == 5
            # Of those that were closed only what a handler had begun with; of the others all.
            assert set(counts[1:]) == {1, 7}
            for client in [modest, *crowd]:
                await client.send(close_frame(1000))
            codes = [parse((await c.read_to_the_end()).partition(b"\r\n\r\n")[2]) for c in crowd]
            assert 1013 in [frames[-1].code for frames, _ in codes]
            await modest.read_to_the_end()

    asyncio.run(main())


def test_messages_of_those_that_have_gone_are_let_go_before_anybody_is_closed() -> None:
    app = Server()
    done = asyncio.Event()
    closed: list[int] = []

    @app.on_message
    async def wait(conn: Connection, message: bytes) -> None:
        await done.wait()

    @app.on_close
    def left(conn: Connection, code: int, reason: str) -> None:
        closed.append(code)

    async def main() -> None:
        async with running(app, max_buffered=MEBIBYTE, max_message=MEBIBYTE // 2) as loop:
            for _ in range(30):  # each comes, leaves 40 KB that wait, and goes
                client = Client(loop)
                await client.send(REQUEST, frame(BINARY, bytes(SIZE)) * 5)
                await turns()
                client.socket.close()
                await turns()
            assert loop.engine.assembled <= MEBIBYTE
            assert loop.engine.departed == 30
            here = Client(loop)
            await here.send(REQUEST, frame(BINARY, bytes(SIZE)) * 5)
            await turns()
            done.set()
            await until(lambda: loop.engine.departed == 0)
            assert loop.engine.assembled == 0
            assert closed == [1006] * 30
            await here.send(close_frame(1000))
            assert b"\x03\xf5" not in (await here.read_to_the_end())[-10:]

    asyncio.run(main())


def test_who_has_gone_keeps_its_place_while_a_handler_runs_for_it() -> None:
    app = Server()
    done = asyncio.Event()

    @app.on_message
    async def wait(conn: Connection, message: bytes) -> None:
        await done.wait()

    async def main() -> None:
        async with running(app, max_connections=3) as loop:
            for _ in range(3):
                client = Client(loop)
                await client.send(REQUEST, frame(BINARY, b"x"))
                await turns()
                client.socket.close()
                await turns()
            assert loop.engine.connections == 0
            late = Client(loop)
            await late.send(REQUEST)
            assert (await late.read_to_the_end()).startswith(b"HTTP/1.1 503 ")
            done.set()
            await until(lambda: loop.engine.departed == 0)
            again = Client(loop)
            await again.send(REQUEST, close_frame(1000))
            assert (await again.read_to_the_end()).startswith(b"HTTP/1.1 101 ")

    asyncio.run(main())


def request_of(size: int) -> bytes:
    """A request with a head of about so many bytes."""
    return REQUEST[:-2] + b"X-Padding: " + b"x" * size + b"\r\n\r\n"


def test_requests_count_while_an_open_handler_takes_its_time(log: LogRecords) -> None:
    app = Server()
    done = asyncio.Event()
    opened = 0

    @app.on_open
    async def wait(conn: Connection) -> None:
        nonlocal opened
        await done.wait()
        opened += 1

    @app.on_message
    def ignore(conn: Connection, message: bytes) -> None: ...

    async def main() -> None:
        async with running(app, max_buffered=MEBIBYTE, max_message=MEBIBYTE // 2) as loop:
            clients = [Client(loop) for _ in range(60)]
            for client in clients:
                await client.send(request_of(30_000))
                await turns()
                assert loop.engine.assembled <= MEBIBYTE
            refused = 0
            for client in clients:
                try:
                    answer = client.socket.recv(1 << 16)
                except BlockingIOError:
                    continue
                assert answer.startswith(b"HTTP/1.1 503 ")
                refused += 1
            assert refused >= 60 - MEBIBYTE // 30_000
            assert "more messages are under way than --max-buffered allows" in log.text
            done.set()
            await until(lambda: opened == 60 - refused)
            assert loop.engine.assembled == 0
            assert "raised" not in log.text
            for client in clients:
                client.socket.close()
            await until(lambda: loop.engine.connections == 0)
            assert loop.engine.departed == 0

    asyncio.run(main())


def test_who_goes_while_an_open_handler_runs_keeps_its_place_as_well() -> None:
    app = Server()
    done = asyncio.Event()

    @app.on_open
    async def wait(conn: Connection) -> None:
        await done.wait()

    @app.on_message
    def ignore(conn: Connection, message: bytes) -> None: ...

    async def main() -> None:
        async with running(app, max_connections=3) as loop:
            for _ in range(3):
                client = Client(loop)
                await client.send(REQUEST)
                await turns()
                client.socket.close()
            await until(lambda: loop.engine.departed + loop.engine.connections == 3)
            late = Client(loop)
            await late.send(REQUEST)
            assert (await late.read_to_the_end()).startswith(b"HTTP/1.1 503 ")
            done.set()
            await until(lambda: loop.engine.departed + loop.engine.connections == 0)

    asyncio.run(main())
