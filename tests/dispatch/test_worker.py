"""Order and completeness, whatever comes when: many clients, many cuts, handlers that wait."""

import asyncio
import random
import socket
import threading
from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dorrit import Connection, Server
from dorrit.api.server import application_of
from dorrit.drive.asyncio_driver import AsyncioDriver
from dorrit.settings import merge
from dorrit.testing import serve
from tests.support.frames import BINARY, REQUEST, close_frame, frame, parse

PIECES = st.lists(st.integers(1, 4000), max_size=30)


class Client:
    """One end of a socket pair, whose bytes are written in pieces."""

    def __init__(self, loop: AsyncioDriver) -> None:
        ours, self.socket = socket.socketpair()
        ours.setblocking(False)
        self.socket.setblocking(False)
        loop.engine.adopt(ours.detach())

    async def write(self, data: bytes, pieces: list[int]) -> None:
        loop = asyncio.get_running_loop()
        for size in pieces:
            if not data:
                return
            await loop.sock_sendall(self.socket, data[:size])
            data = data[size:]
            await asyncio.sleep(0)
        if data:  # nothing can be written to a server that has taken everything and gone
            await loop.sock_sendall(self.socket, data)

    async def read_to_the_end(self) -> list[bytes]:
        loop = asyncio.get_running_loop()
        received = b""
        while data := await loop.sock_recv(self.socket, 1 << 16):
            received += data
        head, _, rest = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        frames, rest = parse(rest)
        assert rest == b""
        return [received.payload for received in frames if received.opcode == BINARY]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    max_waiting=st.integers(1, 20),
    clients=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 300), PIECES), max_size=4),
    open_is_async=st.booleans(),
)
def test_every_message_is_handled_once_in_order_and_the_close_callback_comes_last(
    seed: int, max_waiting: int, clients: list[tuple[int, int, list[int]]], open_is_async: bool
) -> None:
    chance = random.Random(seed)
    app = Server()
    events: dict[Connection, list[object]] = defaultdict(list)
    most_waiting = 0

    async def pause() -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    def opened(conn: Connection) -> None:
        events[conn].append("open")

    async def opened_later(conn: Connection) -> None:
        await pause()
        opened(conn)

    app.on_open(opened_later if open_is_async else opened)

    @app.on_message
    async def said(conn: Connection, message: bytes) -> None:
        nonlocal most_waiting
        worker = loop.dispatcher.workers.workers[conn]
        most_waiting = max(most_waiting, len(worker.waiting or ()))
        events[conn].append(message)
        await pause()
        assert conn.send(message) or not conn.is_open
        await conn.drain()
        assert events[conn][-1] is message

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        await pause()
        events[conn].append(code)

    async def talk(count: int, size: int, pieces: list[int]) -> None:
        messages = [b"%d:" % number + bytes(size) for number in range(count)]
        stream = REQUEST + b"".join(frame(BINARY, m) for m in messages) + close_frame(1000)
        client = Client(loop)
        with client.socket:
            reading = asyncio.ensure_future(client.read_to_the_end())
            await client.write(stream, pieces)
            got = await reading
        # A client's close frame is answered at once: what is handled later finds nobody to answer.
        assert got == messages[: len(got)]
        wanted.append(messages)

    wanted: list[list[bytes]] = []

    async def main() -> None:
        await loop.start()
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(talk(*client))
        await loop.shut_down(5)
        loop.close()

    async def make() -> AsyncioDriver:
        return AsyncioDriver(
            application_of(app), merge({"max_waiting": max_waiting, "buffer_size": 65540}, {})
        )

    with asyncio.Runner() as runner:
        loop = runner.run(make())
        runner.run(main())
    assert most_waiting <= max_waiting
    assert sorted(e[1:-1] for e in events.values()) == sorted(wanted)  # type: ignore[type-var]
    assert all(e[0] == "open" and e[-1] == 1000 for e in events.values())


def test_threads_may_call_in_and_each_ones_calls_are_made_in_order() -> None:
    app, calls = Server(), []
    main = threading.get_ident()

    def called(thread: int, number: int) -> None:
        assert threading.get_ident() == main
        calls.append((thread, number))

    async def called_later(thread: int, number: int) -> None:
        called(thread, number)
        await asyncio.sleep(0)

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        conn.send(message)

    def call(thread: int) -> None:
        for number in range(500):
            # A thread whose calls are async gets tasks, which begin in order, too.
            app.call_soon_threadsafe(called_later if thread == 0 else called, thread, number)

    with serve(app) as server, server.connect() as client:
        threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        while len(calls) < 3000:
            client.send("are you there?")
            assert client.receive() == "are you there?"
        for thread in threads:
            thread.join()
    assert len(calls) == 3000
    for thread in range(6):
        assert [n for t, n in calls if t == thread] == list(range(500))


def test_a_client_that_is_too_fast_feels_it_and_nothing_is_lost() -> None:
    app = Server()
    handled = []

    @app.on_message
    async def said(conn: Connection, message: bytes) -> None:
        handled.append(message)
        has_begun.set()
        await may_go_on.wait()

    async def main() -> None:
        await loop.start()
        client = Client(loop)
        with client.socket:
            await client.write(REQUEST, [])
            stream = b"".join(frame(BINARY, b"%06d" % number) for number in range(1_000_000 // 12))
            writing = asyncio.ensure_future(client.write(stream, []))
            await has_begun.wait()
            # The event loop has turned often enough for whatever could go on.
            for _ in range(1000):
                await asyncio.sleep(0)
            assert not writing.done()
            assert handled == [b"000000"]
            ((worker),) = loop.dispatcher.workers.workers.values()
            assert worker.waiting is not None
            assert len(worker.waiting) == 4
            may_go_on.set()
            await writing
            await client.write(close_frame(1000), [])
            await client.read_to_the_end()
        await loop.shut_down(5)
        loop.close()

    with asyncio.Runner() as runner:
        has_begun, may_go_on = asyncio.Event(), asyncio.Event()
        loop = AsyncioDriver(application_of(app), merge({"max_waiting": 4}, {}))
        runner.run(main())
    assert handled == [b"%06d" % number for number in range(1_000_000 // 12)]
