"""What begins coroutines; handlers of a server begin in the turn of their message."""

import asyncio
import inspect
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from dorrit import Connection, Server
from dorrit.api.server import application_of
from dorrit.dispatch.eager import eager_starter
from dorrit.dispatch.eager_task import EagerStarter
from dorrit.dispatch.worker import Workers
from dorrit.drive.asyncio_driver import AsyncioDriver
from dorrit.settings import merge
from dorrit.testing import serve, serve_async
from tests.support.frames import BINARY, REQUEST, close_frame, frame, parse


def test_coroutines_begin_at_once_in_an_event_loop_of_asyncio_and_of_uvloop() -> None:
    async def main() -> None:
        assert isinstance(eager_starter(asyncio.get_running_loop(), "a name"), EagerStarter)

    asyncio.run(main())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_a_loop_in_which_no_attribute_can_be_set_has_tasks_of_asyncio() -> None:
    class Closed:
        __slots__ = ()

        def get_task_factory(self) -> None:
            return None

    closed: Any = Closed()
    begin: Any = eager_starter(closed, "a name")
    if sys.version_info < (3, 12):
        assert begin.keywords == {"loop": closed, "name": "a name"}
    else:
        assert begin.keywords == {"loop": closed, "name": "a name", "eager_start": True}


def test_somebodys_task_factory_is_used() -> None:
    made = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def nothing() -> None:
        pass

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        coroutine = nothing()
        task = eager_starter(loop, "mine")(coroutine)
        assert task is not None
        await task
        assert coroutine in made

    asyncio.run(main())


class OneTurn:
    """A server whose one client has sent its request and some messages: one turn, by hand."""

    def __init__(self, app: Server, *messages: bytes, end: bytes = b"") -> None:
        self.app = app
        self.stream = b"".join(frame(BINARY, message) for message in messages) + end
        self.received: list[bytes] = []

    async def main(self, prepare: Callable[[], None]) -> None:
        prepare()
        loop = AsyncioDriver(application_of(self.app), merge({}, {}))
        turned = asyncio.Event()
        await loop.start()
        # The event loop does not turn it.
        asyncio.get_running_loop().remove_reader(loop.engine.fileno())
        ours, client = socket.socketpair()
        with client:
            ours.setblocking(False)
            client.settimeout(5)
            loop.engine.adopt(ours.detach())
            client.sendall(REQUEST)
            loop.engine.poll()
            assert client.recv(4096).endswith(b"\r\n\r\n")
            client.sendall(self.stream)

            def turn() -> None:
                loop.engine.poll()
                client.setblocking(False)
                frames, _ = parse(client.recv(65536))
                self.received = [one.payload for one in frames]
                turned.set()

            asyncio.get_running_loop().call_soon(turn)
            await turned.wait()
        loop.close()

    def run(self, prepare: Callable[[], None] = lambda: None) -> list[bytes]:
        asyncio.run(self.main(prepare))
        return self.received


def test_what_a_handler_sends_before_it_waits_is_written_in_the_turn_of_its_message() -> None:
    app = Server()

    @app.on_message
    async def said(conn: Connection, message: bytes) -> None:
        conn.send(message)

    messages = [b"one", b"two", b"three"]
    assert OneTurn(app, *messages).run() == messages


@pytest.mark.parametrize(
    ("end", "answer"),
    [
        (close_frame(1000), b"\x03\xe8"),
        (frame(BINARY, b"no mask", mask=None), b"\x03\xeaa frame is not masked"),
    ],
    ids=["a close frame", "a frame that is not masked"],
)
def test_messages_are_answered_before_the_end_that_came_in_the_same_read(
    end: bytes, answer: bytes
) -> None:
    app = Server()

    @app.on_message
    async def said(conn: Connection, message: bytes) -> None:
        assert conn.send(message)

    messages = [b"one", b"two"]
    assert OneTurn(app, *messages, end=end).run() == [*messages, answer]


def test_messages_that_come_together_share_a_task() -> None:
    app = Server()
    tasks = []

    @app.on_message
    async def said(conn: Connection, message: bytes) -> None:
        tasks.append(asyncio.current_task())
        conn.send(message)

    OneTurn(app, b"one", b"two", b"three").run()
    assert len(tasks) == 3
    assert len(set(tasks)) == 1


def test_who_looks_at_the_task_of_a_handler_sees_that_it_waits() -> None:
    app = Server()
    states = []
    tasks: list[asyncio.Task[None]] = []

    def look() -> None:
        coroutine: Any = tasks[0].get_coro()
        states.append(inspect.getcoroutinestate(coroutine))

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        look()
        asyncio.get_running_loop().call_soon(look)
        await asyncio.sleep(0.001)
        look()
        conn.send(message)

    with serve(app) as server, server.connect() as client:
        client.send("look")
        assert client.receive() == "look"
    look()
    running = inspect.CORO_RUNNING
    assert states == [running, inspect.CORO_SUSPENDED, running, inspect.CORO_CLOSED]


def test_a_handler_has_no_task_of_its_own_before_it_waits() -> None:
    app = Server()
    counts = []

    def count() -> None:
        loop = application_of(app).driver
        assert isinstance(loop, AsyncioDriver)
        counts.append(len(loop.dispatcher.workers.tasks()))

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        count()
        await asyncio.sleep(0)
        count()
        conn.send(message)

    with serve(app) as server, server.connect() as client:
        client.send("count")
        assert client.receive() == "count"
    assert counts == [0, 1]


@pytest.mark.parametrize("kind", ["async", "plain"])
def test_what_a_callback_raises_that_is_no_exception_does_not_stop_the_timers(kind: str) -> None:
    class NoError(BaseException):
        pass

    app = Server()
    ticks: list[Connection] = []

    @app.every(0.001)
    def tick() -> None:
        if heard.is_set():
            ticks.extend(app.connections)
        if len(ticks) == 2:
            ticks[0].abort()
        elif len(ticks) == 0 and raised:
            finished.set()

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        conn.send(message)

    def leave(conn: Connection, code: int, reason: str) -> None:
        ticks.clear()
        raised.append(code)
        raise NoError

    async def leave_async(conn: Connection, code: int, reason: str) -> None:
        leave(conn, code, reason)

    app.on_close(leave_async if kind == "async" else leave)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
        async with serve_async(app) as server, server.connect() as client:
            await client.send("hello")
            assert await client.receive() == "hello"
            heard.set()
            async with asyncio.timeout(10):
                await finished.wait()

    heard = asyncio.Event()
    finished = asyncio.Event()
    raised: list[int] = []
    faults: list[BaseException] = []
    asyncio.run(main())
    assert len(raised) == 1
    assert faults == [], "it is logged by dorrit, and does not come as far as the event loop"


def test_a_task_factory_that_the_start_callback_sets_is_used() -> None:
    app = Server()
    made = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    @app.on_start
    async def started() -> None:
        asyncio.get_running_loop().set_task_factory(factory)

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        conn.send(message)

    with serve(app) as server, server.connect() as client:
        client.send("hello")
        assert client.receive() == "hello"
    assert "Workers._run" in made


def test_a_handler_that_is_closed_from_outside_leaves_nothing_behind() -> None:
    app = Server()
    coroutines: list[Any] = []
    workers: list[Workers] = []

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        coroutines.append(task.get_coro())
        loop = application_of(app).driver
        assert isinstance(loop, AsyncioDriver)
        workers.append(loop.dispatcher.workers)
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(context))
        async with serve_async(app) as server, server.connect() as client:
            await client.send("hello")
            while not coroutines:  # noqa: ASYNC110 - it is there in some turns
                await asyncio.sleep(0)
            assert len(workers[0].tasks()) == 1
            loop.call_soon(coroutines[0].close)
            while workers[0].workers:  # noqa: ASYNC110 - it is over in some turns
                await asyncio.sleep(0)
            assert faults == []

    faults: list[dict[str, Any]] = []
    asyncio.run(main())


def test_a_task_factory_that_raises_costs_the_connection_only() -> None:
    app, handled = Server(), []

    @app.on_message
    async def said(conn: Connection, message: bytes) -> None:
        handled.append(message)

    def refuse(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        if coroutine.__qualname__.startswith("Workers."):
            raise MemoryError
        return asyncio.Task(coroutine, loop=loop, **options)

    def prepare() -> None:
        asyncio.get_running_loop().set_task_factory(refuse)

    assert OneTurn(app, b"one").run(prepare) == [close_payload(1011)]
    assert handled == []


def close_payload(code: int) -> bytes:
    return code.to_bytes(2)


def test_a_handler_that_raises_SystemExit_in_its_first_step_ends_the_event_loop() -> None:
    app, closed = Server(), []

    @app.on_message
    async def said(conn: Connection, message: bytes) -> None:
        raise SystemExit(3)

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        closed.append(code)

    async def make() -> AsyncioDriver:
        loop = AsyncioDriver(application_of(app), merge({}, {}))
        await loop.start()
        return loop

    async def serve() -> None:
        ours.setblocking(False)
        loop.engine.adopt(ours.detach())
        await loop.run()

    ours, client = socket.socketpair()
    with client, asyncio.Runner() as runner:
        client.sendall(REQUEST + frame(BINARY, b"leave"))
        loop = runner.run(make())
        with pytest.raises(SystemExit):
            runner.run(serve())
        client.sendall(close_frame(1000))
        runner.run(loop.shut_down(5))
        loop.close()
    assert len(closed) == 1


@pytest.mark.parametrize("exits", ["message", "close"])
def test_a_handler_that_exits_after_its_client_has_gone_ends_the_event_loop(exits: str) -> None:
    app, closed = Server(), []
    gone: list[asyncio.Event] = []

    @app.on_message
    async def said(conn: Connection, message: bytes) -> None:
        gone.append(asyncio.Event())
        await gone[0].wait()
        if exits == "message":
            raise SystemExit(3)

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        closed.append(code)
        if exits == "close":
            raise SystemExit(3)

    async def make() -> AsyncioDriver:
        loop = AsyncioDriver(application_of(app), merge({}, {}))
        await loop.start()
        return loop

    async def serve() -> None:
        ours.setblocking(False)
        conn = loop.engine.adopt(ours.detach())
        while not gone:  # noqa: ASYNC110 - what is waited for is the engine's turn
            await asyncio.sleep(0)
        assert conn is not None
        loop.engine.fail(conn, 1011, "")
        loop.engine.poll()  # in which the worker hears of it
        gone[0].set()
        await loop.run()

    ours, client = socket.socketpair()
    with client, asyncio.Runner() as runner:
        client.sendall(REQUEST + frame(BINARY, b"leave"))
        loop = runner.run(make())
        with pytest.raises(SystemExit):
            runner.run(serve())
        client.close()
        runner.run(loop.shut_down(5))
        loop.close()
    assert closed == [1011]
