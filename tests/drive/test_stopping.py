"""How a server with async handlers stops, and what its handlers must not do to it."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from dorrit import Connection, Server
from dorrit.api.server import application_of
from dorrit.drive.asyncio_driver import AsyncioDriver
from dorrit.drive.asyncio_loop import AsyncioLoop, loop_factory
from dorrit.drive.choice import loop_type
from dorrit.drive.own_loop import OwnLoop
from dorrit.errors import StartError
from dorrit.settings import merge
from dorrit.testing import Closed, Rejected, serve, serve_async
from tests.support.harness import LogRecords


@pytest.fixture(autouse=True)
def nothing_is_left(log: LogRecords, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    gc.collect()
    assert "never retrieved" not in caplog.text  # asyncio would say so


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    with asyncio.Runner(loop_factory=loop_factory(request.param)) as runner:
        yield runner.run


def test_handlers_have_the_grace_period_and_what_waits_is_handled(run: Any) -> None:
    app = Server(max_waiting=4)
    events: list[object] = []

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        await asyncio.sleep(0.005)
        events.append(message)

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        await asyncio.sleep(0.005)
        events.append(code)

    async def main() -> None:
        async with serve_async(app) as server:
            client = await server.connect().__aenter__()
            for message in "abc":
                await client.send(message)
            await client.ping()
            assert events == []
        assert events == ["a", "b", "c", 1001]
        with pytest.raises(Closed) as raised:
            await client.receive()
        assert raised.value.code == 1001
        await client.__aexit__(None, None, None)
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_after_the_grace_period_handlers_are_cancelled(run: Any, log: LogRecords) -> None:
    app = Server(stop_grace=0.05)
    events: list[object] = []

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            events.append(message)
            raise

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        events.append(code)

    @app.every(0.001)
    async def tick() -> None:
        ticking.set()
        try:
            await asyncio.sleep(60)
        finally:
            events.append("tick")

    async def main() -> None:
        async with serve_async(app) as server:
            client = await server.connect().__aenter__()
            await client.send("a")
            await client.send("never handled")
            await client.ping()
            await ticking.wait()
        with pytest.raises(Closed) as raised:
            await client.receive()
        assert raised.value.code == 1011
        await client.__aexit__(None, None, None)
        assert len(asyncio.all_tasks()) == 1

    ticking = asyncio.Event()
    run(main())
    assert sorted(map(str, events)) == ["1011", "a", "tick"]
    assert "2 async handlers have not ended in time" in log.text


def test_a_handler_that_does_not_end_though_it_is_cancelled_is_named_and_left(
    run: Any, log: LogRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dorrit.drive.stopping.CANCELLED", 0.02)
    app = Server(stop_grace=0)
    done: list[bool] = []

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        while not done:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        async with serve_async(app) as server:
            client = await server.connect().__aenter__()
            await client.send("a")
            await client.ping()
        assert "1 async handlers go on though they were cancelled" in log.text
        done.append(True)
        await client.__aexit__(None, None, None)
        await asyncio.sleep(0.02)

    run(main())


def test_a_second_stop_does_not_wait(run: Any, log: LogRecords) -> None:
    app = Server(stop_grace=3600)

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        server._server.driver.stop()
        server._server.driver.stop()
        await asyncio.sleep(3600)

    server = serve_async(app)

    async def main() -> None:
        async with server:
            client = await server.connect().__aenter__()
            await client.send("a")
            await server._server.driver.run()
        await client.__aexit__(None, None, None)

    run(main())
    assert "1 async handlers have not ended in time" in log.text


def test_a_client_that_floods_the_server_does_not_keep_it_from_stopping(run: Any) -> None:
    app, handled = Server(max_waiting=2, stop_grace=3600), []

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        handled.append(message)
        if len(handled) == 100:
            has_begun.set()
        await asyncio.sleep(0)

    async def main() -> None:
        async with serve_async(app) as server:
            client = await server.connect().__aenter__()
            flood = asyncio.ensure_future(flood_with(client))
            await has_begun.wait()
            stopping = len(handled)
        # One that runs, those that wait, and those that the engine had read.
        assert len(handled) - stopping <= 4
        with pytest.raises(Closed):
            await flood
        await client.__aexit__(None, None, None)

    async def flood_with(client: Any) -> None:
        while True:
            await client.send("x" * 1000)

    has_begun = asyncio.Event()
    run(main())


def test_an_open_callback_that_runs_when_it_stops_refuses_with_503(run: Any) -> None:
    app = Server(stop_grace=0)

    @app.on_open
    async def opened(conn: Connection) -> None:
        begun.set()
        await asyncio.sleep(60)

    async def main() -> None:
        async with serve_async(app) as server:
            connecting = asyncio.ensure_future(server.connect().__aenter__())
            await begun.wait()
        with pytest.raises(Rejected) as raised:
            await connecting
        assert raised.value.status == 503

    begun = asyncio.Event()
    run(main())


def test_a_client_that_leaves_while_the_open_callback_runs(run: Any) -> None:
    app = Server()
    events: list[object] = []

    @app.on_open
    async def opened(conn: Connection) -> None:
        begun.set()
        await has_left.wait()
        conn.send("nobody reads this")
        events.append("open")

    @app.on_close
    def left(conn: Connection, code: int, reason: str) -> None:
        events.append(code)
        closed.set()

    async def main() -> None:
        async with serve_async(app) as server:
            connecting = asyncio.ensure_future(server.connect().__aenter__())
            await begun.wait()
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            has_left.set()
            await closed.wait()
            assert server.connections == []

    begun, has_left, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    run(main())
    assert events == ["open", 1006]


def test_an_open_callback_that_is_cancelled_refuses_with_500(run: Any) -> None:
    app = Server()

    @app.on_open
    async def opened(conn: Connection) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    async def main() -> None:
        async with serve_async(app) as server:
            with pytest.raises(Rejected) as raised:
                await server.connect().__aenter__()
            assert raised.value.status == 500

    run(main())


def test_a_cancellation_in_drain_closes_with_1011_and_others_get_their_room(run: Any) -> None:
    app = Server()
    drained: list[str] = []
    tasks: dict[str, Any] = {}

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        tasks[message] = asyncio.current_task()
        if len(tasks) == 2:
            both.set()
        while conn.send(bytes(60_000)):
            pass
        await conn.drain()
        drained.append(message)
        conn.close(4000)

    async def main() -> None:
        async with serve_async(app) as server:
            one = await server.connect().__aenter__()
            two = await server.connect().__aenter__()
            await one.send("one")
            await two.send("two")
            await both.wait()
            for _ in range(10):
                await asyncio.sleep(0)
            tasks["one"].cancel()
            codes = [await code_of(one), await code_of(two)]
            assert codes == [1011, 4000]
            await one.__aexit__(None, None, None)
            await two.__aexit__(None, None, None)
            assert server._server.driver.room._waiting == {}

    async def code_of(client: Any) -> int:
        while True:
            try:
                await client.receive()
            except Closed as closed:
                return closed.code

    both = asyncio.Event()
    run(main())
    assert drained == ["two"]


def test_a_handler_that_closes_its_connection_goes_on_and_hears_no_more_messages(run: Any) -> None:
    app = Server()
    events: list[object] = []

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        events.append(message)
        await asyncio.sleep(0.005)  # the others have come meanwhile, and wait
        if message == "1":
            conn.close(4000)
            assert not conn.send("too late")
            await asyncio.sleep(0.005)
            events.append("goes on")

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        events.append(code)

    async def main() -> None:
        async with serve_async(app) as server, server.connect() as client:
            for number in range(10):
                await client.send(str(number))
            with pytest.raises(Closed) as raised:
                await client.receive()
            assert raised.value.code == 4000

    run(main())
    assert events == ["0", "1", "goes on", 4000]


def test_an_engine_that_can_not_go_on_ends_the_server_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Server()
    events: list[object] = []
    app.on_stop(lambda: events.append("stop"))

    @app.on_start
    async def start() -> None:
        pass

    application = application_of(app)
    loop = AsyncioLoop(application, merge({"event_loop": "asyncio"}, {}))

    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

        def poll(self) -> None:
            raise OSError("the poller is gone")

    loop.start()
    engine = loop.engine
    loop.driver.engine = Broken()  # type: ignore[assignment]
    with pytest.raises(OSError, match="the poller is gone"):
        loop._runner.run(turn_and_run(loop.driver))
    loop.shutdown(1)
    loop.finish()
    loop.close()
    assert events == ["stop"]


async def turn_and_run(driver: AsyncioDriver) -> None:
    driver._turn()
    await driver.run()


# The whole life, as `dorrit serve` has it


def run_whole(app: Server, event_loop: str = "asyncio") -> OwnLoop:
    application = application_of(app)
    settings = merge({"event_loop": event_loop}, application.defaults)
    loop = loop_type(application, settings)(application, settings)
    try:
        loop.start()
        loop.run()
        loop.shutdown(1)
        loop.finish()
    finally:
        loop.close()
    return loop


@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop", "auto"])
def test_it_runs_from_start_to_stop_in_the_event_loop_of_the_setting(event_loop: str) -> None:
    app = Server()
    events: list[object] = []

    @app.on_start
    async def start() -> None:
        events.append(isinstance(asyncio.get_running_loop(), uvloop.Loop))
        app.call_soon_threadsafe(called, "later")

    async def called(what: str) -> None:
        events.append(what)
        loop = application_of(app).driver
        assert loop is not None
        loop.stop()

    app.on_stop(lambda: events.append("stop"))
    loop = run_whole(app, event_loop)
    assert isinstance(loop, AsyncioLoop)
    assert events == [event_loop != "asyncio", "later", "stop"]
    loop.stop()  # a signal that comes late
    assert application_of(app).driver is None


def test_an_event_loop_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    assert loop_factory("auto") is None
    with pytest.raises(StartError, match="pip install uvloop"):
        loop_factory("uvloop")


def test_a_server_that_has_not_been_started_can_be_closed() -> None:
    application = application_of(Server())
    AsyncioLoop(application, merge({"event_loop": "asyncio"}, {})).close()
    assert application.driver is None


def test_async_functions_come_before_a_plain_server_runs() -> None:
    app, errors = Server(), []

    @app.on_start
    def start() -> None:
        async def later() -> None:
            pass

        for ask in (lambda: app.every(1)(later), lambda: app.call_soon_threadsafe(later)):
            try:
                ask()
            except (RuntimeError, TypeError) as error:
                errors.append(str(error))
        app.call_soon_threadsafe(stop)

    def stop() -> None:
        loop = application_of(app).driver
        assert loop is not None
        loop.stop()

    assert type(run_whole(app)) is OwnLoop
    assert len(errors) == 2
    assert "before it runs" in errors[0]
    assert "no event loop" in errors[1]


def test_what_is_called_from_a_thread_and_raises_is_logged(log: LogRecords) -> None:
    app = Server()
    calls: list[None] = []

    async def fails() -> None:
        raise LookupError("called from a thread")

    async def is_cancelled() -> None:
        calls.append(None)
        raise asyncio.CancelledError

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        conn.send(message)

    with serve(app) as server, server.connect() as client:
        app.call_soon_threadsafe(fails)
        app.call_soon_threadsafe(is_cancelled)
        app.call_soon_threadsafe(lambda: 1 / 0)
        client.ping()
        client.ping()
    assert calls == [None]
    assert "the function of call_soon_threadsafe raised LookupError" in log.text
    assert "the function of call_soon_threadsafe raised ZeroDivisionError" in log.text


def factories() -> list[Any]:
    """Task factories of somebody's, that of Python 3.12 for eager tasks among them."""

    def plain(loop: Any, coroutine: Any, **settings: Any) -> Any:
        return asyncio.Task(coroutine, loop=loop, **settings)

    eager = getattr(asyncio, "eager_task_factory", None)
    return [plain] if eager is None else [plain, eager]


@pytest.mark.parametrize("factory", factories())
@pytest.mark.parametrize("waits", [True, False])
def test_a_task_factory_of_the_program_makes_the_tasks(factory: Any, waits: bool) -> None:
    app = Server()
    events: list[object] = []
    made = []

    async def pause() -> None:
        if waits:
            await asyncio.sleep(0)

    @app.on_open
    async def opened(conn: Connection) -> None:
        await pause()
        events.append("open")

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        await pause()
        events.append(message)
        conn.send(message)

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        await pause()
        events.append(code)

    def counting(loop: Any, coroutine: Any, **settings: Any) -> Any:
        made.append(coroutine)
        return factory(loop, coroutine, **settings)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(counting)
        async with serve_async(app) as server, server.connect() as client:
            for message in "abc":
                await client.send(message)
            assert [await client.receive() for _ in range(3)] == ["a", "b", "c"]

    asyncio.run(main())
    assert events == ["open", "a", "b", "c", 1000]
    assert len(made) >= 3


def test_time_is_not_wasted_on_a_server_that_has_nothing_to_do() -> None:
    app = Server()

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        pass

    with serve(app) as server, server.connect():
        before = time.process_time()
        server.run(0.3)
        assert time.process_time() - before < 0.15
