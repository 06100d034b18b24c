"""A server within a program that has its own event loop: asyncio's, uvloop's, trio's, or none."""

import asyncio
import contextlib
import gc
import selectors
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import uvloop

import dorrit
from dorrit import Connection, Server, StartError
from dorrit.testing import AsyncClient, Closed, connect, connect_async
from tests.support.frames import REQUEST
from tests.support.harness import LogRecords
from tests.support.servers import Client

Main = Callable[[], Coroutine[Any, Any, None]]


def in_asyncio(main: Main) -> None:
    asyncio.run(main())


def in_uvloop(main: Main) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


each_loop = pytest.mark.parametrize("run", [in_asyncio, in_uvloop])


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "guest.socket"


def echo(conn: Connection, message: str | bytes) -> None:
    conn.send(message)


async def echo_later(conn: Connection, message: str | bytes) -> None:
    await asyncio.sleep(0)
    conn.send(message)


def left_in(directory: Path) -> list[str]:
    return [file.name for file in directory.iterdir()]


# In asyncio


@each_loop
@pytest.mark.parametrize("handler", [echo, echo_later])
def test_it_serves_until_its_block_ends_and_removes_what_it_made(
    run: Callable[[Main], None], handler: Any, path: Path
) -> None:
    events: list[object] = []

    async def main() -> None:
        guest = dorrit.listen(
            path,
            on_open=lambda conn: events.append("open"),
            on_message=handler,
            on_close=lambda conn, code, reason: events.append((code, reason)),
        )
        assert left_in(path.parent) == []  # nothing is made before the block begins
        async with guest as entered:
            assert entered is guest
            assert guest.path == str(path)
            async with connect_async(path) as one, connect_async(path) as two:
                for number in range(20):
                    await one.send(str(number))
                    await two.send(bytes([number]))
                assert [await one.receive() for _ in range(20)] == [str(n) for n in range(20)]
                assert [await two.receive() for _ in range(20)] == [bytes([n]) for n in range(20)]
                assert len(guest.connections) == len(guest.server.connections) == 2
                assert guest.server.broadcast(guest.connections, "both") == 2
                assert await one.receive() == await two.receive() == "both"
                await one.close(4000, "bye")
        assert left_in(path.parent) == []
        assert guest.connections == []
        assert len(asyncio.all_tasks()) == 1

    run(main)
    assert events == ["open", "open", (4000, "bye"), (1000, "")]


@each_loop
def test_at_the_end_of_the_block_clients_are_told_and_handlers_finish(
    run: Callable[[Main], None], path: Path
) -> None:
    events: list[object] = []
    app = Server()
    app.on_stop(lambda: events.append("stop"))

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        await asyncio.sleep(0.02)
        events.append(message)
        conn.send(message)

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        await asyncio.sleep(0.001)
        events.append(code)

    async def read_to_the_end(client: AsyncClient) -> list[object]:
        got: list[object] = []
        try:
            while True:
                got.append(await client.receive())
        except Closed as closed:
            return [*got, closed.code]

    async def main() -> None:
        async with dorrit.listen(path, app):
            client = await connect_async(path).__aenter__()
            for message in "abc":
                await client.send(message)
            await client.ping()
            reading = asyncio.ensure_future(read_to_the_end(client))
        assert events == ["a", "b", "c", 1001, "stop"]
        assert await reading == ["a", "b", "c", 1001]
        await client.__aexit__(None, None, None)
        assert len(asyncio.all_tasks()) == 1

    run(main)


@each_loop
def test_what_the_block_raises_goes_on_when_all_is_in_order(
    run: Callable[[Main], None], path: Path
) -> None:
    closed = []

    async def main() -> None:
        async with (
            dorrit.listen(path, on_close=lambda conn, code, reason: closed.append(code)),
            connect_async(path) as client,
        ):
            await client.ping()
            raise LookupError("of the block")

    with pytest.raises(LookupError, match="of the block"):
        run(main)
    assert closed == [1000]
    assert left_in(path.parent) == []


@each_loop
@pytest.mark.parametrize("kind", ["plain", "async", "open", "close", "every"])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_program_ends_it_and_its_guest_in_order(
    run: Callable[[Main], None],
    kind: str,
    error: type[BaseException],
    path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, events = Server(), []
    raised: list[type[BaseException]] = []
    app.on_stop(lambda: events.append("stop"))

    def ends(*arguments: object) -> None:
        raise error("enough")

    async def ends_later(*arguments: object) -> None:
        await asyncio.sleep(0)
        # Once: a second one, while the program ends because of the first, ends its event loop.
        if not raised:
            raised.append(error)
            raise error("enough")

    if kind == "every":
        app.every(0.01)(ends_later)
    elif kind in {"plain", "async"}:
        app.on_message(ends if kind == "plain" else ends_later)
    else:
        getattr(app, f"on_{kind}")(ends_later)
    if kind != "close":
        app.on_close(lambda conn, code, reason: events.append("closed"))

    async def main() -> None:
        async with dorrit.listen(path, app), connect_async(path) as client:
            await client.send("x")
            await client.ping()
            if kind == "close":
                await client.close()
            await asyncio.sleep(60)

    with pytest.raises(error, match="enough"):
        run(main)
    assert events == (["stop"] if kind in {"open", "close"} else ["closed", "stop"])
    assert left_in(path.parent) == []
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_cancellation_while_it_stops_is_a_reason_to_hurry(path: Path, log: LogRecords) -> None:
    app, events = Server(), []
    app.on_close(lambda conn, code, reason: events.append(code))

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            events.append("cancelled")

    async def block() -> None:
        async with dorrit.listen(path, app):
            listening.set()
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.ensure_future(block())
        await listening.wait()
        async with connect_async(path) as client:
            await client.send("wait")
            await begun.wait()
            task.cancel()
            for _ in range(10):
                await asyncio.sleep(0)
            assert not task.done()  # the handler has its grace period
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert sorted(map(str, events)) == ["1006", "cancelled"]
            with pytest.raises(Closed):
                await client.receive()
        assert len(asyncio.all_tasks()) == 1
        assert left_in(path.parent) == []

    with asyncio.Runner() as runner:
        listening, begun = asyncio.Event(), asyncio.Event()
        runner.run(main())


# Whatever the event loop


def test_a_server_runs_once_at_a_time_and_again_afterwards(path: Path) -> None:
    async def main() -> None:
        app = Server()
        app.on_message(echo)
        first, other = dorrit.listen(path, app), dorrit.listen(f"{path}2", app)
        for _ in range(2):
            async with first:
                with pytest.raises(RuntimeError, match="the server runs already"):
                    await other.__aenter__()
                with pytest.raises(RuntimeError, match="the server runs already"):
                    await first.__aenter__()
                with pytest.raises(RuntimeError, match="the server runs already"), other:
                    pass
                with pytest.raises(ValueError, match="the server runs already"):
                    dorrit.listen(path, app)
                async with connect_async(path) as client:
                    await client.send("x")
                    assert await client.receive() == "x"
                    assert len(app.connections) == 1
            assert left_in(path.parent) == []

    asyncio.run(main())


async def enter(guest: dorrit.Guest) -> None:
    async with guest:
        pass


def enter_plain(guest: dorrit.Guest) -> None:
    with guest:
        pass


def enter_in_asyncio(guest: dorrit.Guest) -> None:
    asyncio.run(enter(guest))


each_way = pytest.mark.parametrize("begin", [enter_plain, enter_in_asyncio])


@each_way
def test_what_was_started_is_stopped_if_the_socket_can_not_be_made(
    begin: Callable[[dorrit.Guest], None], path: Path
) -> None:
    app, events = Server(), []
    app.on_start(lambda: events.append("start"))
    app.on_stop(lambda: events.append("stop"))
    with pytest.raises(StartError, match="the socket can't be made"):
        begin(dorrit.listen(path.parent / "missing" / "x", app))
    assert events == ["start", "stop"]
    begin(dorrit.listen(path, app))
    assert events == ["start", "stop"] * 2


@each_way
def test_a_start_that_raises_makes_nothing(
    begin: Callable[[dorrit.Guest], None], path: Path
) -> None:
    app, events = Server(), []
    app.on_start(lambda: 1 / 0)
    app.on_stop(lambda: events.append("stop"))
    with pytest.raises(ZeroDivisionError):
        begin(dorrit.listen(path, app))
    assert events == []
    assert left_in(path.parent) == []
    assert app._application.driver is None


@each_way
def test_a_socket_on_which_a_server_answers_is_left_alone(
    begin: Callable[[dorrit.Guest], None], path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(StartError, match="a server answers there"):
            begin(dorrit.listen(path, on_message=echo))
        assert path.is_socket()
    begin(dorrit.listen(path, on_message=echo))  # the other one is gone: it is stale
    assert not path.exists()


def test_a_server_or_handlers_are_given_and_not_both(path: Path) -> None:
    with pytest.raises(TypeError, match="one or the other"):
        dorrit.listen(path, Server(), on_message=echo)
    with pytest.raises(TypeError, match="one or the other"):
        dorrit.listen(path, Server(), max_waiting=5)
    with pytest.raises(TypeError, match="did you mean max_waiting"):
        dorrit.listen(path, max_waitings=5)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="max_waiting"):
        dorrit.listen(path, max_waiting=0)


def test_async_handlers_need_asyncio(path: Path) -> None:
    with (
        pytest.raises(TypeError, match="'async with', in asyncio"),
        dorrit.listen(path, on_message=echo_later),
    ):
        pass
    assert left_in(path.parent) == []


def test_what_needs_a_guest_that_runs_says_so(path: Path) -> None:
    guest = dorrit.listen(path)
    for ask in (guest.fileno, guest.timeout, guest.poll):
        with pytest.raises(RuntimeError, match="in a 'with' block"):
            ask()
    assert guest.connections == []


def test_a_path_is_made_absolute_when_it_is_given(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    guest = dorrit.listen(path.name, on_message=echo)
    monkeypatch.chdir("/")
    with guest:
        assert guest.path == str(path)
        assert path.is_socket()


# Anywhere else


@contextlib.contextmanager
def conversation(path: Path) -> Iterator[list[object]]:
    """A client in a thread of its own; what it has got, at the end."""
    got: list[object] = []

    def talk() -> None:
        with connect(path) as client:
            for number in range(20):
                client.send(str(number))
                got.append(client.receive())
            client.send("close")
            with contextlib.suppress(Closed):
                client.receive()
            got.append(client.close_code)

    thread = threading.Thread(target=talk)
    thread.start()
    yield got
    thread.join()
    assert got == [*map(str, range(20)), 4000]


def answer(conn: Connection, message: str | bytes) -> None:
    if message == "close":
        conn.close(4000)
    else:
        conn.send(message)


def test_a_program_with_a_selector_polls(path: Path) -> None:
    closed: list[int] = []
    with (
        dorrit.listen(
            path,
            on_message=answer,
            on_close=lambda conn, code, reason: closed.append(code),
        ) as guest,
        selectors.DefaultSelector() as selector,
        conversation(path),
    ):
        selector.register(guest, selectors.EVENT_READ)
        while not closed:
            selector.select(guest.timeout())
            guest.poll()
    assert closed == [4000]
    assert left_in(path.parent) == []


def test_a_program_of_trio_waits_for_the_descriptor(path: Path) -> None:
    closed: list[int] = []

    async def serve(guest: dorrit.Guest) -> None:
        while not closed:
            timeout = guest.timeout()
            with trio.move_on_after(float("inf") if timeout is None else timeout):
                await trio.lowlevel.wait_readable(guest.fileno())
            guest.poll()

    async def main() -> None:
        ticks = 0
        with dorrit.listen(
            path,
            on_message=answer,
            on_close=lambda conn, code, reason: closed.append(code),
        ) as guest:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, guest)
                with conversation(path):
                    while not closed:  # the program has its turns, too
                        await trio.lowlevel.checkpoint()
                        ticks += 1
        assert ticks > 1

    trio.run(main)
    assert closed == [4000]
    assert left_in(path.parent) == []


def test_a_periodic_function_wakes_a_program_that_polls(path: Path) -> None:
    app = Server()
    calls: list[None] = []
    app.every(0.01)(lambda: calls.append(None))
    with dorrit.listen(path, app) as guest, selectors.DefaultSelector() as selector:
        selector.register(guest, selectors.EVENT_READ)
        while len(calls) < 3:
            selector.select(guest.timeout())
            guest.poll()


def test_at_the_end_of_a_plain_block_clients_are_told(path: Path) -> None:
    closed: list[int] = []
    got: list[int | None] = []

    def talk() -> None:
        client = Client(path, REQUEST)
        has_connected.set()
        got.append(client.close_code())
        client.socket.close()

    has_connected = threading.Event()
    thread = threading.Thread(target=talk)
    with dorrit.listen(path, on_close=lambda conn, code, reason: closed.append(code)) as guest:
        thread.start()
        while not has_connected.is_set():
            guest.poll()
    thread.join()
    assert got == closed == [1001]


def test_a_keyboard_interrupt_of_a_handler_ends_a_plain_block_in_order(path: Path) -> None:
    events: list[object] = []

    def interrupt(conn: Connection, message: str | bytes) -> None:
        raise KeyboardInterrupt

    def talk() -> None:
        client = Client(path, REQUEST)
        client.send("x")
        events.append(client.close_code())
        client.socket.close()

    def serve() -> None:
        with dorrit.listen(
            path,
            on_message=interrupt,
            on_close=lambda conn, code, reason: events.append("closed"),
        ) as guest:
            thread.start()
            while True:
                guest.poll()

    thread = threading.Thread(target=talk)
    with pytest.raises(KeyboardInterrupt):
        serve()
    thread.join()
    assert sorted(map(str, events)) == ["1001", "closed"]
    assert left_in(path.parent) == []


def test_a_handler_does_not_poll(path: Path, log: LogRecords) -> None:
    def said(conn: Connection, message: str | bytes) -> None:
        guest.poll()

    got: list[int | None] = []

    def talk() -> None:
        client = Client(path, REQUEST)
        client.send("x")
        got.append(client.close_code())
        client.socket.close()

    thread = threading.Thread(target=talk)
    guest = dorrit.listen(path, on_message=said)
    with guest:
        thread.start()
        while not got:
            guest.poll()
    thread.join()
    assert got == [1011]
    assert "RuntimeError: the loop is running already" in log.text
