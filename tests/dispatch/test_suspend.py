"""How async handlers come to rest when the next image of the process is to go on."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dorrit import Connection, Server
from dorrit.api.server import application_of
from dorrit.dispatch.worker import Workers
from dorrit.drive.asyncio_driver import AsyncioDriver
from dorrit.drive.asyncio_loop import AsyncioLoop, loop_factory
from dorrit.drive.own_loop import OwnLoop
from dorrit.process.exec.memfd import nameless_file
from dorrit.settings import merge
from tests.support.frames import REQUEST, TEXT, close_frame, frame, parse
from tests.support.harness import LogRecords


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    with asyncio.Runner(loop_factory=loop_factory(request.param)) as runner:
        yield runner.run


class Client:
    """One end of a socket pair; the server of the driver has the other."""

    def __init__(self, driver: AsyncioDriver) -> None:
        ours, self.socket = socket.socketpair()
        ours.setblocking(False)
        self.socket.setblocking(False)
        driver.engine.adopt(ours.detach())
        self._received = b""

    def send(self, *messages: str) -> None:
        self.socket.sendall(b"".join(frame(TEXT, message.encode()) for message in messages))

    async def receive(self) -> str:
        """The next message, or close frame."""
        head, found, rest = self._received.partition(b"\r\n\r\n")
        frames, rest = parse(rest) if found else ([], b"")
        if not frames:
            data = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
            assert data, "the server has gone"
            self._received += data
            return await self.receive()
        left = b"".join(frame(one.opcode, one.payload, mask=None) for one in frames[1:])
        self._received = head + found + left + rest
        return frames[0].payload.decode()


class Scene:
    """A server whose async handlers go on when the test says so.

    Attributes:
        said: What has been handled, in order, from its begin ("a") to its end ("a.").
        may_go_on: Lets all handlers end.
    """

    def __init__(self, app: Server) -> None:
        self.said: list[str] = []
        self.may_go_on = asyncio.Event()
        self.driver = AsyncioDriver(
            application_of(app), merge({"max_waiting": 3}, {}), carries=True
        )
        self.clients: list[Client] = []

    def connect(self, request: bytes = REQUEST) -> Client:
        """A client that has asked."""
        client = Client(self.driver)
        self.clients.append(client)
        client.socket.sendall(request)
        return client

    @property
    def workers(self) -> Workers:
        workers = self.driver.dispatcher.unhandled.__self__  # type: ignore[attr-defined]
        assert isinstance(workers, Workers)
        return workers

    async def handle(self, word: str) -> None:
        self.said.append(word)
        await self.may_go_on.wait()
        self.said.append(f"{word}.")

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the event loop turn until something is so that a client's bytes lead to."""
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0)

    async def turn(self) -> None:
        """Let the event loop turn as often as anything needs that could happen."""
        for _ in range(100):
            await asyncio.sleep(0)

    async def next(self) -> None:
        """Go on as the process's next image does, with all connections."""
        ledger = nameless_file("ledger")
        await self.driver.suspend(0)
        self.driver.carry_out(ledger)
        self.driver.close()
        self.driver = AsyncioDriver(self.driver.application, self.driver.settings, carries=True)
        await self.driver.start()
        self.driver.engine.carry_in(ledger)
        os.close(ledger)

    @property
    def connection(self) -> Connection:
        (connection,) = self.driver.engine.open_connections()
        return connection


@asynccontextmanager
async def scene(
    make: Callable[[Callable[[str], Awaitable[None]]], Server],
) -> AsyncIterator[Scene]:
    """Run a server that `make` makes with what handlers call."""

    async def handle(word: str) -> None:
        await made.handle(word)

    made = Scene(make(handle))
    await made.driver.start()
    try:
        yield made
    finally:
        made.driver.close()
        for client in made.clients:
            client.socket.close()


def listening(handle: Callable[[str], Awaitable[None]]) -> Server:
    app = Server()

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        await handle(message)
        conn.send(message)

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        await handle(str(code))

    return app


def opening(handle: Callable[[str], Awaitable[None]]) -> Server:
    app = Server()

    @app.on_open
    async def came(conn: Connection) -> None:
        await handle("open")

    return app


def stubborn(handle: Callable[[str], Awaitable[None]]) -> Server:
    """Its handler goes on though it is cancelled."""
    app = Server()

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        try:
            await handle(message)
        except asyncio.CancelledError:
            await handle("still")

    return app


def test_what_runs_ends_in_the_grace_and_what_waits_and_comes_then_is_left(run: Any) -> None:
    async def main() -> None:
        async with scene(listening) as made:
            client = made.connect()
            client.send("a", "b")
            await made.until(lambda: made.said == ["a"])
            conn = made.connection
            assert made.workers.unhandled(conn) == ("a", ["b"])
            suspending = asyncio.ensure_future(made.driver.suspend(3600))
            await asyncio.sleep(0)
            client.send("c")
            await made.until(lambda: made.workers.unhandled(conn)[1] == ["b", "c"])
            made.may_go_on.set()
            await suspending
            assert made.said == ["a", "a."]
            assert await client.receive() == "a"
            assert made.workers.unhandled(conn) == (None, ["b", "c"])
            # It is read as far as may wait, and no further.
            client.send("d", "e", "f")
            await made.until(lambda: made.workers.workers[conn].paused)
            assert made.workers.unhandled(conn) == (None, ["b", "c", "d", "e"])
            assert made.said == ["a", "a."]
            assert made.workers.tasks() == []

    run(main())


def test_what_comes_to_an_idle_connection_is_left(run: Any) -> None:
    async def main() -> None:
        async with scene(listening) as made:
            client = made.connect()
            await made.until(made.driver.engine.open_connections)
            conn = made.connection
            await made.driver.suspend(0)
            assert made.workers.unhandled(conn) == (None, [])
            client.send("a", "b")
            await made.until(lambda: made.workers.unhandled(conn) == (None, ["a", "b"]))
            assert made.said == []

    run(main())


def test_after_the_grace_a_handler_is_cut_off_and_its_message_is_known(
    run: Any, log: LogRecords
) -> None:
    async def main() -> None:
        async with scene(listening) as made:
            client = made.connect()
            client.send("a", "b")
            await made.until(lambda: made.said == ["a"])
            conn = made.connection
            await made.driver.suspend(0)
            assert made.said == ["a"]
            assert made.workers.unhandled(conn) == ("a", ["b"])
            assert conn.is_open
            client.send("c")
            await made.until(lambda: made.workers.unhandled(conn) == ("a", ["b", "c"]))

    run(main())
    assert "1 async handlers have not ended in time, and are cancelled" in log.text
    assert "raised" not in log.text


def test_a_handler_that_goes_on_though_it_is_cancelled_has_begun_its_message(
    run: Any, log: LogRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dorrit.drive.stopping.CANCELLED", 0.02)

    async def main() -> None:
        async with scene(stubborn) as made:
            client = made.connect()
            client.send("a", "b")
            await made.until(lambda: made.said == ["a"])
            conn = made.connection
            await made.driver.suspend(0)
            assert made.said == ["a", "still"]
            assert made.workers.unhandled(conn) == ("a", ["b"])
            # If it ends before the image does, it has handled its message.
            made.may_go_on.set()
            await made.until(lambda: made.workers.unhandled(conn) == (None, ["b"]))
            assert made.said == ["a", "still", "still."]

    run(main())
    assert "1 async handlers go on though they were cancelled" in log.text


def test_what_a_handler_raises_in_the_grace_closes_its_connection(
    run: Any, log: LogRecords
) -> None:
    def make(handle: Callable[[str], Awaitable[None]]) -> Server:
        app = Server()

        @app.on_message
        async def said(conn: Connection, message: str) -> None:
            await handle(message)
            raise asyncio.CancelledError  # which is not what the server has done

        return app

    async def main() -> None:
        async with scene(make) as made:
            client = made.connect()
            client.send("a", "b")
            await made.until(lambda: made.said == ["a"])
            conn = made.connection
            suspending = asyncio.ensure_future(made.driver.suspend(3600))
            await asyncio.sleep(0)
            made.may_go_on.set()
            await suspending
            assert made.workers.unhandled(conn) == (None, [])
            assert not conn.is_open

    run(main())
    assert "the message handler raised CancelledError" in log.text


def test_who_has_closed_its_connection_hears_nothing_more_of_it(run: Any) -> None:
    def make(handle: Callable[[str], Awaitable[None]]) -> Server:
        app = Server()

        @app.on_message
        async def said(conn: Connection, message: str) -> None:
            conn.close()
            await handle(message)

        return app

    async def main() -> None:
        async with scene(make) as made:
            client = made.connect()
            client.send("a", "b")
            await made.until(lambda: made.said == ["a"])
            ((conn, _),) = made.workers.workers.items()
            assert made.workers.unhandled(conn) == ("a", [])
            await made.driver.suspend(0)
            assert made.workers.unhandled(conn) == ("a", [])

    run(main())


def test_a_connection_that_is_over_is_handled_to_its_end_in_the_grace(run: Any) -> None:
    async def main() -> None:
        async with scene(listening) as made:
            client = made.connect()
            client.send("a", "b")
            await made.until(lambda: made.said == ["a"])
            suspending = asyncio.ensure_future(made.driver.suspend(3600))
            await asyncio.sleep(0)
            client.socket.sendall(close_frame(1000))
            await made.until(lambda: not made.driver.engine.open_connections())
            made.may_go_on.set()
            await suspending
            assert made.said == ["a", "a.", "b", "b.", "1000", "1000."]
            assert made.workers.workers == {}
            assert made.driver.engine.departed == 0

    run(main())


@pytest.mark.parametrize("waits", [["b"], []])
def test_who_goes_when_what_waits_is_left_already_is_handled_to_its_end(
    run: Any, waits: list[str]
) -> None:
    async def main() -> None:
        async with scene(listening) as made:
            client = made.connect()
            await made.until(made.driver.engine.open_connections)
            conn = made.connection
            await made.driver.suspend(0)
            made.may_go_on.set()
            client.send(*waits)
            await made.until(lambda: made.workers.unhandled(conn) == (None, waits))
            client.socket.sendall(close_frame(1000))
            await made.until(lambda: "1000." in made.said)
            assert made.said == [
                *(word + end for word in waits for end in ("", ".")),
                "1000",
                "1000.",
            ]
            await made.until(lambda: made.workers.workers == {})
            assert made.driver.engine.departed == 0

    run(main())


def test_who_goes_when_a_handler_was_cut_off_has_its_close_handler_only(
    run: Any, log: LogRecords
) -> None:
    async def main() -> None:
        async with scene(listening) as made:
            client = made.connect()
            client.send("a", "b")
            await made.until(lambda: made.said == ["a"])
            await made.driver.suspend(0)
            made.may_go_on.set()
            client.socket.sendall(close_frame(1000))
            await made.until(lambda: made.workers.workers == {})
            assert made.said == ["a", "1000", "1000."]
            assert made.driver.engine.departed == 0

    run(main())


def test_who_goes_while_a_handler_goes_on_though_it_is_cancelled_has_the_next_close_handler(
    run: Any, log: LogRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dorrit.drive.stopping.CANCELLED", 0.02)

    def make(handle: Callable[[str], Awaitable[None]]) -> Server:
        app = stubborn(handle)

        @app.on_open
        def came(conn: Connection) -> None:
            conn.save(b"kept")

        @app.on_close
        async def left(conn: Connection, code: int, reason: str) -> None:
            await handle(f"{code} {reason} {conn.saved!r}")

        return app

    async def main() -> None:
        async with scene(make) as made:
            client = made.connect()
            client.send("a", "b")
            await made.until(lambda: made.said == ["a"])
            client.socket.sendall(close_frame(4000, "bye"))
            await made.until(lambda: not made.driver.engine.open_connections())
            assert made.driver.dispatcher.due() == list(made.workers.workers)
            ledger = nameless_file("ledger")
            await made.driver.suspend(0)
            assert made.said == ["a", "still"]
            made.driver.carry_out(ledger)
            made.driver.close()
            made.may_go_on.set()
            await made.until(lambda: made.workers.workers == {})
            assert made.said == ["a", "still"]
            made.driver = AsyncioDriver(made.driver.application, made.driver.settings, carries=True)
            await made.driver.start()
            made.driver.engine.carry_in(ledger)
            os.close(ledger)
            await made.until(lambda: len(made.said) == 4)
            assert made.said[2:] == ["4000 bye b'kept'", "4000 bye b'kept'."]

    run(main())


def test_who_goes_while_its_resumption_is_not_answered_has_the_next_close_handler(
    run: Any, log: LogRecords
) -> None:
    closed: list[tuple[int, bytes]] = []

    def make(handle: Callable[[str], Awaitable[None]]) -> Server:
        app = Server(stop_grace=0)

        @app.on_resume
        async def again(conn: Connection, state: bytes | None) -> None:
            conn.save(b"kept")
            await handle("resume")

        @app.on_close
        def left(conn: Connection, code: int, reason: str) -> None:
            closed.append((code, conn.saved))

        return app

    async def main() -> None:
        async with scene(make) as made:
            clients = [made.connect(), made.connect()]
            await made.until(lambda: len(made.driver.engine.open_connections()) == 2)
            for _ in range(2):
                await made.next()
                if len(made.said) == 0:
                    await made.until(lambda: made.said == ["resume"] * 2)
                    made.driver.engine.all_connections()[0].abort()
                    await made.turn()
                    assert closed == []
            await made.until(lambda: closed)
            await made.until(lambda: made.said == ["resume"] * 3)
            assert len(made.driver.engine.all_connections()) == 1
            del clients

    run(main())
    assert closed == [(1006, b"kept")]


def test_a_handler_that_a_task_factory_has_not_begun_is_left_unbegun() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coroutine, **options: asyncio.Task(coroutine, loop=loop))
        async with scene(listening) as made:
            client = made.connect()
            await made.until(made.driver.engine.open_connections)
            conn = made.connection
            client.send("a", "b")
            while made.workers.unhandled(conn) == (None, []):
                made.driver.engine.poll()
            assert made.workers.unhandled(conn) == (None, ["a", "b"])
            await made.driver.suspend(3600)
            assert made.workers.unhandled(conn) == (None, ["a", "b"])
            assert made.said == []
            # Who goes then is handled to the end.
            made.may_go_on.set()
            client.socket.sendall(close_frame(1000))
            await made.until(lambda: made.workers.workers == {})
            assert made.said == ["a", "a.", "b", "b.", "1000", "1000."]

    asyncio.run(main())


def test_an_open_handler_has_the_grace_and_its_client_is_not_answered_after_it(
    run: Any, log: LogRecords
) -> None:
    async def main() -> None:
        async with scene(opening) as made:
            first = made.connect()
            await made.until(lambda: made.said == ["open"])
            await made.driver.suspend(0)
            second = made.connect()
            await made.until(lambda: len(made.driver.engine.all_connections()) == 2)
            await made.turn()
            assert made.said == ["open"]
            for client in (first, second):
                with pytest.raises(BlockingIOError):
                    client.socket.recv(1)
            assert made.driver.engine.open_connections() == []

    run(main())


def test_an_open_handler_that_ends_in_the_grace_answers(run: Any) -> None:
    async def main() -> None:
        async with scene(opening) as made:
            client = made.connect()
            await made.until(lambda: made.said == ["open"])
            suspending = asyncio.ensure_future(made.driver.suspend(3600))
            await asyncio.sleep(0)
            made.may_go_on.set()
            await suspending
            assert made.connection.is_open
            await made.until(lambda: client.socket.recv(5, socket.MSG_PEEK) == b"HTTP/")

    run(main())


def test_periodic_functions_are_begun_no_more_if_they_are_async(run: Any) -> None:
    calls: list[str] = []

    def make(handle: Callable[[str], Awaitable[None]]) -> Server:
        app = Server()

        @app.every(0.001)
        async def tick() -> None:
            calls.append("async")

        @app.every(0.001)
        def tack() -> None:
            calls.append("plain")

        return app

    async def main() -> None:
        async with scene(make) as made:
            await made.until(lambda: len(calls) > 4)
            await made.driver.suspend(1)
            before = calls.count("async")
            plain = calls.count("plain")
            await made.until(lambda: calls.count("plain") > plain + 4)
            assert calls.count("async") == before

    run(main())


def test_plain_handlers_serve_on_in_the_grace(run: Any) -> None:
    def make(handle: Callable[[str], Awaitable[None]]) -> Server:
        app = Server()

        @app.on_message
        def said(conn: Connection, message: str) -> None:
            conn.send(message)

        @app.on_open
        async def came(conn: Connection) -> None:
            if conn.request.path == "/slow":
                await handle("slow")

        return app

    async def main() -> None:
        async with scene(make) as made:
            client = made.connect()
            await made.until(made.driver.engine.open_connections)
            made.connect(REQUEST.replace(b"/chat", b"/slow"))
            await made.until(lambda: made.said == ["slow"])
            suspending = asyncio.ensure_future(made.driver.suspend(3600))
            client.send("a")
            assert await client.receive() == "a"
            assert not suspending.done()
            made.may_go_on.set()
            await suspending

    run(main())


def test_a_request_to_stop_ends_the_grace_and_what_waits_is_handled_then(run: Any) -> None:
    async def main() -> None:
        async with scene(listening) as made:
            client = made.connect()
            client.send("a", "b")
            await made.until(lambda: made.said == ["a"])
            suspending = asyncio.ensure_future(made.driver.suspend(3600))
            await asyncio.sleep(0)
            other = made.connect()
            other.send("c")
            await made.until(lambda: len(made.workers.workers) == 2)
            made.driver.stop()
            await suspending
            assert made.said == ["a"]
            stopping = asyncio.ensure_future(made.driver.shut_down(0))
            made.may_go_on.set()
            await stopping
            ends = ["1001", "1001", "1001.", "1001."]
            assert sorted(made.said) == [*ends, "a", "a.", "b", "b.", "c", "c."]
            # Whoever has been told to stop before comes to rest at once.
            await made.driver.suspend(3600)

    run(main())


def test_if_the_server_stops_after_all_who_was_cut_off_is_closed(run: Any, log: LogRecords) -> None:
    async def main() -> None:
        async with scene(listening) as made:
            client = made.connect()
            client.send("a", "b")
            await made.until(lambda: made.said == ["a"])
            await made.driver.suspend(0)
            made.may_go_on.set()
            await made.driver.shut_down(0)
            assert made.said == ["a", "1011", "1011."]
            assert made.workers.workers == {}

    run(main())
    assert "the message handler raised CancelledError" in log.text


def test_if_the_server_stops_after_all_who_waits_to_come_in_is_refused(
    run: Any, log: LogRecords
) -> None:
    async def main() -> None:
        async with scene(opening) as made:
            made.connect()
            await made.until(lambda: made.said == ["open"])
            await made.driver.suspend(0)
            made.connect()
            await made.until(lambda: len(made.driver.engine.all_connections()) == 2)
            await made.turn()
            await made.driver.shut_down(1)
            for client in made.clients:
                assert client.socket.recv(12) == b"HTTP/1.1 503"

    run(main())


@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])
def test_a_loop_of_its_own_ends_all_tasks_with_the_stop_handler_and_keeps_its_connections(
    event_loop: str,
) -> None:
    app, events = Server(), []

    @app.on_start
    async def start() -> None:
        tasks.append(asyncio.ensure_future(background()))
        # This wakes the engine, which has its first turn before connections are carried in.
        app.call_soon_threadsafe(called.set)
        await called.wait()

    async def background() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            events.append("background")

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        events.append(message)
        app.call_soon_threadsafe(loop.stop)

    @app.on_stop
    async def stop() -> None:
        events.append("stop")

    def make() -> AsyncioLoop:
        called.clear()
        return AsyncioLoop(application_of(app), merge({"event_loop": event_loop}, {}))

    called = asyncio.Event()
    tasks: list[asyncio.Future[None]] = []
    ledger = nameless_file("ledger")
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = make()
    try:
        loop.start()
        loop.engine.adopt(ours.detach())
        theirs.sendall(REQUEST)
        while not loop.engine.open_connections():
            loop.engine.poll()
        loop.suspend(0)
        theirs.sendall(frame(TEXT, b"left"))
        loop.finish()
        assert events == ["stop", "background"]
        assert len(loop.engine.open_connections()) == 1
        loop.engine.carry_out(ledger)
        loop.close()
        called = asyncio.Event()  # it belongs to an event loop
        loop = make()
        loop.start()
        assert loop.engine.carry_in(ledger) == (1, 0)
        loop.run()
        assert events == ["stop", "background", "left"]
    finally:
        loop.close()
        theirs.close()
        os.close(ledger)


def test_a_loop_without_async_functions_has_nothing_to_wait_for() -> None:
    app = Server()
    app.on_message(lambda conn, message: None)
    loop = OwnLoop(application_of(app), merge({}, {}))
    try:
        loop.start()
        loop.suspend(3600)
        loop.finish()
    finally:
        loop.close()
