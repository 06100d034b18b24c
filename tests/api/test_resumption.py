"""What a server's own code says to connections that survive a reload."""

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from dorrit import Connection, Reject, Request, Server, ws_save, ws_write_conn
from dorrit.api.application import Application
from dorrit.api.client_limit import ClientLimit
from dorrit.api.functions import application_of as application_of_functions
from dorrit.api.server import application_of
from dorrit.drive.asyncio_loop import loop_factory
from dorrit.drive.own_loop import OwnLoop
from dorrit.process.exec.memfd import nameless_file
from dorrit.settings import merge
from dorrit.testing import Client, Closed, Rejected, serve, serve_async
from tests.support.frames import REQUEST, TEXT, close_frame, frame
from tests.support.harness import LogRecords

Resume = Callable[..., Any]


@pytest.fixture(autouse=True)
def garbage_is_the_tests(log: LogRecords) -> Iterator[None]:
    """What is not awaited, or not closed, warns within the test whose it is."""
    yield
    gc.collect()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    with asyncio.Runner(loop_factory=loop_factory(request.param)) as runner:
        yield runner.run


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop turn until something is so."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0)


def echo(**settings: Any) -> Server:
    """A server that answers each message with itself and `conn.data`."""
    app = Server(**settings)

    @app.on_message
    def said(conn: Connection, message: str) -> None:
        conn.send(f"{message}: {conn.data}")

    return app


def note_ends(app: Server, codes: list[Any]) -> None:
    """Have each connection's close code noted when its close handler is called."""

    @app.on_close
    def left(conn: Connection, code: int, reason: str) -> None:
        codes.append(code)


# With on_resume


def with_resume(resume: Resume, **settings: Any) -> Server:
    app = echo(**settings)
    app.on_resume(resume)
    return app


@pytest.mark.parametrize("is_async", [False, True])
def test_L6_a_resume_handler_hears_of_each_connection_once_before_its_messages(
    is_async: bool,
) -> None:
    app, events = Server(), []

    @app.on_open
    def came(conn: Connection) -> None:
        conn.request.select("v1")
        conn.data = "here"
        conn.save(conn.request.path.encode())
        events.append("open")

    @app.on_message
    def said(conn: Connection, message: str) -> None:
        events.append(message)
        conn.send(f"{message} {conn.data} {conn.saved!r}")

    def resume(conn: Connection, state: bytes | None) -> None:
        request = conn.request
        assert isinstance(request, Request)
        assert conn.data is None
        events.append((request.path, request.subprotocol, state, conn.saved))
        conn.data = "again"
        conn.send("resumed")

    async def resume_later(conn: Connection, state: bytes | None) -> None:
        await asyncio.sleep(0)
        resume(conn, state)

    app.on_resume(resume_later if is_async else resume)

    note_ends(app, events)

    with serve(app) as server, server.connect("/a?b", subprotocols=["v1"]) as client:
        client.send("one")
        assert client.receive() == "one here b'/a'"
        server.reload()
        client.send("two")
        assert client.receive() == "resumed"
        assert client.receive() == "two again b'/a'"
        client.close()
        client_of_later(server, events)
    assert events == ["open", "one", ("/a", "v1", b"/a", b"/a"), "two", 1000]


def client_of_later(server: Any, events: list[Any]) -> None:
    """Let the server run until the close handler has been called."""
    while not isinstance(events[-1], int):
        server.run(0.001)


def test_L6_without_a_state_none_is_given_and_saving_nothing_forgets() -> None:
    app, states = Server(), []

    @app.on_message
    def said(conn: Connection, message: str) -> None:
        conn.save(message.encode())
        conn.send("saved")

    @app.on_resume
    def resume(conn: Connection, state: bytes | None) -> None:
        states.append(state)

    with serve(app) as server, server.connect() as client:
        for message in ("first", "second", "", None):
            if message is not None:
                client.send(message)
                client.receive()
            server.reload()
            client.ping()
    assert states == [b"first", b"second", None, None]


def test_a_plain_resume_handler_that_raises_costs_its_connection_and_is_told(
    log: LogRecords,
) -> None:
    app, events = echo(), []

    @app.on_resume
    def resume(conn: Connection, state: bytes | None) -> None:
        raise ValueError("no such user")

    note_ends(app, events)

    with serve(app) as server, server.connect() as client:
        server.reload()
        with pytest.raises(Closed, match="1011"):
            client.receive()
    assert events == [1011]
    assert "the resume handler raised ValueError" in log.text


def test_an_async_resume_handler_that_raises_costs_its_connection_and_is_told(
    run: Any, log: LogRecords
) -> None:
    app, events = echo(), []

    @app.on_resume
    async def resume(conn: Connection, state: bytes | None) -> None:
        await asyncio.sleep(0)
        raise ValueError("no such user")

    note_ends(app, events)

    async def main() -> None:
        async with serve_async(app) as server, server.connect() as client:
            await server.reload()
            with pytest.raises(Closed, match="1011"):
                await client.receive()

    run(main())
    assert events == [1011]
    assert "the resume handler raised ValueError" in log.text


def test_a_resume_handler_that_did_not_run_is_an_error(log: LogRecords) -> None:
    async def later(conn: Connection) -> None: ...

    def resume(conn: Connection, state: bytes | None) -> Any:
        return later(conn)

    with serve(with_resume(resume)) as server, server.connect() as client:
        server.reload()
        with pytest.raises(Closed, match="1011"):
            client.receive()
    assert "on_resume has returned a coroutine" in log.text


def test_nothing_is_read_while_an_async_resume_handler_runs(run: Any) -> None:
    app, events = Server(), []

    @app.on_message
    def said(conn: Connection, message: str) -> None:
        events.append(message)
        conn.send(message)

    async def main() -> None:
        may_end = asyncio.Event()

        @app.on_resume
        async def resume(conn: Connection, state: bytes | None) -> None:
            events.append("begun")
            await may_end.wait()
            await conn.drain()
            events.append("resumed")

        async with serve_async(app) as server, server.connect() as client:
            await server.reload()
            await client.send("a")
            await until(lambda: events)
            for _ in range(100):
                await asyncio.sleep(0)
            assert events == ["begun"]
            may_end.set()
            assert await client.receive() == "a"
            assert events == ["begun", "resumed", "a"]

    run(main())


def test_an_async_resume_handler_that_does_not_end_is_late(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dorrit.dispatch.awaited_handler.TIMEOUT", 0.02)
    app, events = echo(), []

    @app.on_resume
    async def resume(conn: Connection, state: bytes | None) -> None:
        await asyncio.sleep(3600)

    note_ends(app, events)

    async def main() -> None:
        async with serve_async(app) as server, server.connect() as client:
            await server.reload()
            with pytest.raises(Closed, match="1013: the server's code has not answered in time"):
                await client.receive()

    run(main())
    assert events == [1013]


def test_a_client_may_go_while_an_async_resume_handler_runs(run: Any) -> None:
    app, events = echo(), []

    async def main() -> None:
        may_end = asyncio.Event()

        @app.on_resume
        async def resume(conn: Connection, state: bytes | None) -> None:
            conn.abort()  # as if it had gone
            events.append("begun")
            await may_end.wait()
            events.append(conn.send("x"))

        @app.on_close
        async def left(conn: Connection, code: int, reason: str) -> None:
            events.append(code)

        async with serve_async(app) as server, server.connect() as client:
            await server.reload()
            await until(lambda: events)
            may_end.set()
            await until(lambda: len(events) == 3)
            with pytest.raises(Closed, match="1006"):
                await client.receive()

    run(main())
    assert events == ["begun", False, 1006]


def test_an_async_resume_handler_that_a_stop_cuts_off_has_its_client_told(
    run: Any, log: LogRecords
) -> None:
    app, events = echo(stop_grace=0), []

    @app.on_resume
    async def resume(conn: Connection, state: bytes | None) -> None:
        events.append("begun")
        await asyncio.sleep(3600)

    note_ends(app, events)

    async def main() -> None:
        async with serve_async(app) as server:
            client = await server.connect().__aenter__()
            await server.reload()
            await until(lambda: events)
        with pytest.raises(Closed, match="1001"):
            await client.receive()
        await client.__aexit__(None, None, None)

    run(main())
    assert events == ["begun", 1001]


def test_a_second_reload_asks_again_who_has_not_answered_yet(run: Any, log: LogRecords) -> None:
    app, events = echo(stop_grace=0), []

    @app.on_open
    def came(conn: Connection) -> None:
        conn.save(b"state")

    async def main() -> None:
        may_end = asyncio.Event()

        @app.on_resume
        async def resume(conn: Connection, state: bytes | None) -> None:
            events.append(state)
            await may_end.wait()
            conn.data = len(events)

        async with serve_async(app) as server, server.connect() as client:
            await server.reload()
            await client.send("a")
            await until(lambda: events)
            await server.reload()
            may_end.set()
            assert await client.receive() == "a: 2"

    run(main())
    assert events == [b"state", b"state"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_resume_handler_that_exits_ends_the_server(is_async: bool) -> None:
    app, events = echo(), []

    def resume(conn: Connection, state: bytes | None) -> None:
        events.append("resume")
        raise SystemExit(3)

    async def resume_later(conn: Connection, state: bytes | None) -> None:
        await asyncio.sleep(0)
        resume(conn, state)

    app.on_resume(resume_later if is_async else resume)

    note_ends(app, events)

    with serve(app) as server, server.connect() as client:

        def turn() -> None:
            server.reload()  # in which of the two it is called is not said
            server.run(60)

        with pytest.raises(SystemExit, match="3"):
            turn()
        if is_async:
            with pytest.raises(Closed, match="1001"):
                client.receive()
    assert events == ["resume", 1001 if is_async else 1000]


# A message that was cut off


def cut_off(run: Any, app: Server, log: LogRecords) -> tuple[list[Any], int | None]:
    """Reload a server in whose handler the message "a" hangs; "b" and "c" wait.

    Returns:
        What the client has received then, and the close code.
    """
    hangs = True

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        conn.send(f"{message} begun")
        await until(lambda: not hangs)
        conn.send(f"{message} handled")

    async def main() -> tuple[list[Any], int | None]:
        nonlocal hangs
        received = []
        async with serve_async(app) as server, server.connect() as client:
            await client.send("a")
            await client.send("b")
            assert await client.receive() == "a begun"
            await client.send("c")
            await client.ping()
            await server.reload()
            hangs = False
            try:
                while received[-1:] != ["c handled"]:
                    received.append(await client.receive())
            except Closed as closed:
                return received, closed.code
        return received, None

    result: tuple[list[Any], int | None] = run(main())
    assert "1 async handlers have not ended in time" in log.text
    return result


THE_REST = ["b begun", "b handled", "c begun", "c handled"]


@pytest.mark.parametrize("is_async", [False, True])
def test_L7_a_message_that_was_begun_is_given_to_a_handler_that_takes_it(
    run: Any, log: LogRecords, is_async: bool
) -> None:
    app, begun_messages = Server(stop_grace=0), []

    def resume(conn: Connection, state: bytes | None, begun: str | bytes | None) -> None:
        begun_messages.append(begun)

    async def resume_later(
        conn: Connection, state: bytes | None, begun: str | bytes | None
    ) -> None:
        await asyncio.sleep(0)
        begun_messages.append(begun)

    app.on_resume(resume_later if is_async else resume)
    assert cut_off(run, app, log) == (THE_REST, None)
    assert begun_messages == ["a"]


@pytest.mark.parametrize("resumes", [False, True])
def test_L7_if_nobody_takes_it_the_connection_is_closed_before_anything_is_called(
    run: Any, log: LogRecords, resumes: bool
) -> None:
    app, events = Server(stop_grace=0), []

    @app.on_open
    def came(conn: Connection) -> None:
        conn.save(b"kept")
        events.append("open")

    if resumes:

        @app.on_resume
        def resume(conn: Connection, state: bytes | None) -> None:
            events.append("resume")

    @app.on_close
    def left(conn: Connection, code: int, reason: str) -> None:
        events.append((code, reason, conn.data, conn.saved))

    assert cut_off(run, app, log) == ([], 1012)
    reason = "the message under way was cut off"
    assert events == ["open", (1012, reason, None, b"kept")]


def test_L7_messages_that_wait_behind_a_handler_that_ends_are_handled_once_and_in_order(
    run: Any,
) -> None:
    app, handled = Server(), []

    async def main() -> None:
        may_end = asyncio.Event()

        @app.on_message
        async def said(conn: Connection, message: str | bytes) -> None:
            handled.append(message)
            await may_end.wait()

        async with serve_async(app) as server, server.connect() as client:
            await client.send("a")
            await client.send(b"b")
            await client.send("grüße")
            await client.ping()
            assert handled == ["a"]
            reloading = asyncio.ensure_future(server.reload())
            await asyncio.sleep(0)
            await client.send("d")
            may_end.set()
            await reloading
            await client.send("e")
            await until(lambda: len(handled) == 5)

    run(main())
    assert handled == ["a", b"b", "grüße", "d", "e"]


# Without on_resume: the open handler decides again


@pytest.mark.parametrize("is_async", [False, True])
def test_L6_without_a_resume_handler_the_open_handler_decides_again(is_async: bool) -> None:
    app, events = Server(), []

    def came(conn: Connection) -> object:
        events.append((conn.request.path, conn.request.select("v2", "v1"), conn.data))
        conn.data = len(events)
        return True

    async def came_later(conn: Connection) -> object:
        await asyncio.sleep(0)
        return came(conn)

    app.on_open(came_later if is_async else came)

    @app.on_message
    def said(conn: Connection, message: str) -> None:
        conn.send(f"{message} {conn.data}")

    with serve(app) as server, server.connect("/a", subprotocols=["v1"]) as client:
        client.send("one")
        assert client.receive() == "one 1"
        server.reload()
        client.send("two")
        assert client.receive() == "two 2"
        assert client.subprotocol == "v1"
    assert events == [("/a", "v1", None), ("/a", "v1", None)]


def refuses(conn: Connection) -> object:
    return False


def rejects(conn: Connection) -> object:
    raise Reject(401)


def fails(conn: Connection) -> object:
    raise ValueError("not today")


def means_nothing(conn: Connection) -> object:
    return 5


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("decide", "code", "logged"),
    [
        (refuses, 1008, ""),
        (rejects, 1008, ""),
        (fails, 1011, "the open handler raised ValueError"),
        (means_nothing, 1011, "the open handler raised TypeError"),
    ],
)
def test_L6_whom_the_open_handler_refuses_now_is_closed_and_the_close_handler_not_called(
    is_async: bool, decide: Callable[[Connection], object], code: int, logged: str, log: LogRecords
) -> None:
    app, closed = echo(trust="X-Real-IP", max_per_client=1), []
    has_reloaded = False

    def came(conn: Connection) -> object:
        return decide(conn) if has_reloaded else True

    async def came_later(conn: Connection) -> object:
        await asyncio.sleep(0)
        return came(conn)

    app.on_open(came_later if is_async else came)

    note_ends(app, closed)

    headers = {"X-Real-IP": "192.0.2.1"}
    with serve(app) as server, server.connect(headers=headers) as client:
        has_reloaded = True
        server.reload()
        with pytest.raises(Closed, match=str(code)):
            client.receive()
        client.close()
        has_reloaded = False
        # It is not counted any more.
        with server.connect(headers=headers) as other:
            other.ping()
            assert counts_of(app) == {"192.0.2.1": 1}
    assert closed == [1000]
    assert logged in log.text
    assert ("raised" in log.text) is bool(logged)


@pytest.mark.parametrize("accepts", [True, False])
def test_who_goes_while_the_open_handler_decides_again_is_told_of_if_that_accepts(
    run: Any, accepts: bool
) -> None:
    app, asked, closed = echo(), [], []

    @app.on_open
    async def came(conn: Connection) -> bool:
        asked.append(conn)
        if len(asked) == 1:
            return True
        conn.abort()  # as if it had gone
        await asyncio.sleep(0)
        return accepts

    note_ends(app, closed)

    async def main() -> None:
        async with serve_async(app) as server, server.connect() as client:
            await server.reload()
            with pytest.raises(Closed):
                await client.receive()

    run(main())
    assert len(asked) == 2
    assert closed == [1006] * accepts


def test_an_async_open_handler_that_is_under_way_is_asked_again_with_the_same_request(
    run: Any, log: LogRecords
) -> None:
    app, asked = echo(stop_grace=0), []

    async def main() -> None:
        may_end = asyncio.Event()

        @app.on_open
        async def came(conn: Connection) -> None:
            asked.append((conn.request.path, conn.request.cookie))
            await may_end.wait()
            conn.data = len(asked)

        async with serve_async(app) as server:
            client = server.connect("/a", headers={"Cookie": "b=c"})
            connecting = asyncio.ensure_future(client.__aenter__())
            await until(lambda: asked)
            await server.reload()
            may_end.set()
            await connecting
            await client.send("hello")
            assert await client.receive() == "hello: 2"
            await client.__aexit__(None, None, None)

    run(main())
    assert asked == [("/a", "b=c")] * 2


def test_without_either_handler_a_connection_just_goes_on() -> None:
    with serve(echo()) as server, server.connect() as client:
        server.reload()
        client.send("hello")
        assert client.receive() == "hello: None"


# Admission


def counts_of(app: Server) -> dict[str, int]:
    driver = application_of(app).driver
    assert driver is not None
    limit = driver.lifecycle.observers[0]  # type: ignore[attr-defined]
    assert isinstance(limit, ClientLimit)
    return dict(limit._counts)


def connect(server: Any, address: str = "192.0.2.1") -> Client:
    client: Client = server.connect(headers={"X-Real-IP": address})
    return client


def test_L2_who_is_there_stays_though_the_limit_is_smaller_now_and_is_counted() -> None:
    def limited(most: int) -> Server:
        return echo(trust="X-Real-IP", max_per_client=most, keep_requests=True)

    more, fewer = limited(2), limited(1)
    with serve(more) as server:
        with connect(server) as one, connect(server) as two:
            server.reload(fewer)
            for client in (one, two):
                client.send("hello")
                assert client.receive() == "hello: None"
            assert counts_of(fewer) == {"192.0.2.1": 2}
            assert [conn.request.client for conn in server.connections] == ["192.0.2.1"] * 2
            with pytest.raises(Rejected) as refused, connect(server):
                pass
            assert refused.value.status == 429
        while counts_of(fewer):
            server.run(0.001)
        with connect(server) as three:
            three.ping()


def test_keep_requests_may_differ_in_the_next_image() -> None:
    requests = []

    def asked(**settings: Any) -> Server:
        app = Server(**settings)

        @app.on_message
        def said(conn: Connection, message: str) -> None:
            try:
                requests.append(conn.request.path)
            except RuntimeError:
                requests.append(None)
            conn.send(message)

        return app

    with serve(asked(keep_requests=True)) as server, server.connect("/path") as client:
        for app in (None, asked(keep_requests=False), asked(keep_requests=True)):
            if app is not None:
                server.reload(app)
            client.send("x")
            client.receive()
    assert requests == ["/path", None, "/path"]


# Without asyncio


class Image:
    """A server in the engine's own loop, turned by hand."""

    def __init__(self, application: Application) -> None:
        application.init()
        self.loop = OwnLoop(application, merge({}, application.defaults))
        self.loop.start()

    def next(self, application: Application) -> "Image":
        self.loop.suspend(0)
        self.loop.finish()
        ledger = nameless_file("ledger")
        self.loop.engine.carry_out(ledger)
        self.loop.close()
        image = Image(application)
        image.loop.engine.carry_in(ledger)
        os.close(ledger)
        return image

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.loop.close()


class RawClient:
    """One end of a socket pair, by its bytes."""

    def __init__(self, image: Image) -> None:
        ours, self.socket = socket.socketpair()
        ours.setblocking(False)
        self.socket.setblocking(False)
        image.loop.engine.adopt(ours.detach())
        self.socket.sendall(REQUEST)
        self.data = b""

    def until(self, image: Image, what: bytes) -> None:
        for _ in range(1000):
            image.loop.engine.poll()
            with contextlib.suppress(BlockingIOError):
                self.data += self.socket.recv(1 << 16)
            if what in self.data:
                self.data = self.data.partition(what)[2]
                return
        raise AssertionError(f"{what!r} does not come, but {self.data!r}")


def test_plain_handlers_resume_in_the_engines_own_loop(log: LogRecords) -> None:
    app, events = echo(), []

    @app.on_open
    def came(conn: Connection) -> None:
        conn.save(b"kept")

    @app.on_resume
    def resume(conn: Connection, state: bytes | None) -> None:
        events.append(state)
        conn.data = "resumed"

    @app.on_stop
    def stop() -> None:
        events.append("stop")

    first = Image(application_of(app))
    client = RawClient(first)
    with client.socket:
        client.until(first, b"101")
        with first.next(application_of(app)) as second:
            client.socket.sendall(frame(TEXT, b"hello"))
            client.until(second, b"hello: resumed")
            second.loop.finish()
    assert events == ["stop", b"kept", "stop"]


@pytest.mark.parametrize(
    ("decide", "code", "logged"), [(refuses, 1008, ""), (fails, 1011, "the open handler raised")]
)
def test_the_open_handler_decides_again_in_the_engines_own_loop(
    decide: Callable[[Connection], object], code: int, logged: str, log: LogRecords
) -> None:
    before, after, closed = echo(), echo(), []
    after.on_open(decide)
    after.on_close(lambda conn, code, reason: closed.append(code))
    first = Image(application_of(before))
    client = RawClient(first)
    with client.socket:
        client.until(first, b"101")
        with first.next(application_of(after)) as second:
            client.until(second, code.to_bytes(2, "big"))
            client.socket.sendall(close_frame(code))
            while second.loop.engine.connections:
                second.loop.engine.poll()
    assert closed == []
    assert logged in log.text


# The five functions


def five(**others: object) -> Application:
    def ignore(*arguments: object) -> None: ...

    def read(conn: Connection, binary: bool, data: bytes) -> None:
        ws_save(conn, data)
        ws_write_conn(conn, binary, b"saved")

    functions = dict.fromkeys(["ws_init_func", "ws_exit_func"], ignore)
    functions |= dict.fromkeys(["ws_open_callback", "ws_close_callback"], ignore)
    return application_of_functions({**functions, "ws_read_callback": read, **others})


def test_L6_a_resume_callback_gets_the_cookie_and_the_state() -> None:
    heard = []

    def resume(conn: Connection, cookie: str, state: bytes | None) -> None:
        heard.append((cookie, state))

    def close(conn: Connection) -> None:
        heard.append(("close", conn.saved))

    first = Image(five(ws_resume_callback=resume))
    client = RawClient(first)
    with client.socket:
        client.socket.sendall(frame(TEXT, b"state"))
        client.until(first, b"saved")
        with first.next(five(ws_resume_callback=resume, ws_close_callback=close)) as second:
            client.socket.sendall(frame(TEXT, b"more"))
            client.until(second, b"saved")
            client.socket.sendall(close_frame(1000))
            while second.loop.engine.connections:
                second.loop.engine.poll()
    assert heard == [("", b"state"), ("close", b"more")]


def test_L6_without_one_the_open_callback_decides_again(log: LogRecords) -> None:
    heard = []

    def refuse(conn: Connection, cookie: str) -> int:
        heard.append("open")
        return 1

    def close(conn: Connection) -> None:
        heard.append("close")

    first = Image(five())
    client = RawClient(first)
    with client.socket:
        client.until(first, b"101")
        with first.next(five(ws_open_callback=refuse, ws_close_callback=close)) as second:
            client.until(second, (1008).to_bytes(2, "big"))
            client.socket.sendall(close_frame(1008))
            while second.loop.engine.connections:
                second.loop.engine.poll()
    assert heard == ["open"]


def test_a_resume_callback_that_returns_a_coroutine_has_not_run(log: LogRecords) -> None:
    async def later() -> None: ...

    def resume(conn: Connection, cookie: str, state: bytes | None) -> Any:
        return later()

    first = Image(five())
    client = RawClient(first)
    with client.socket:
        client.until(first, b"101")
        with first.next(five(ws_resume_callback=resume)) as second:
            client.until(second, (1011).to_bytes(2, "big"))
    assert "ws_resume_callback has returned a coroutine" in log.text
    assert "the resume callback raised TypeError" in log.text
