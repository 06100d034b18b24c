"""dorrit.testing: clients of a server within the test, and of one that runs elsewhere."""

import asyncio
import contextlib
import functools
import gc
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Opcode

import dorrit
import dorrit.testing
from dorrit import Connection, Reject, Server, StartError
from dorrit.api.server import application_of
from dorrit.testing import (
    AsyncClient,
    Client,
    Closed,
    Rejected,
    connect,
    connect_async,
    serve,
    serve_async,
)
from tests.support.harness import LogRecords

Make = Callable[..., Client]


@pytest.fixture
def app() -> Server:
    app = Server("tested")

    @app.on_open
    def opened(conn: Connection) -> None:
        request = conn.request
        if request.path == "/refused":
            raise Reject(401, {"WWW-Authenticate": "Basic"}, "who are you?")
        if request.path == "/moved":
            raise Reject(302, [("Location", "/login")])
        if request.path == "/gone":
            conn.abort()
        request.select("v2", "v1")
        conn.data = [
            request.target,
            request.origin,
            request.cookie,
            request.headers["Host"],
        ]

    @app.on_message
    def said(conn: Connection, message: str | bytes) -> None:
        if message == "request":
            conn.send(repr(conn.data))
        elif message == "close":
            conn.send("last")
            conn.send("words")
            conn.close(4000, "bye")
        elif message == "abort":
            conn.abort()
        else:
            conn.send(message)

    return app


@contextlib.contextmanager
def elsewhere(app: Server, path: Path) -> Iterator[None]:
    """Runs a server in another thread."""

    async def main() -> None:
        async with dorrit.listen(path, app):
            stopped = asyncio.Event()
            stop.append((asyncio.get_running_loop(), stopped))
            listening.set()
            await stopped.wait()

    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    listening = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    listening.wait()
    try:
        yield
    finally:
        loop, stopped = stop[0]
        loop.call_soon_threadsafe(stopped.set)
        thread.join()


@pytest.fixture(params=["within", "elsewhere"])
def make(request: pytest.FixtureRequest, app: Server, directory: Path) -> Iterator[Make]:
    """Makes clients that are not async: of a server within the test, or by its socket."""
    if request.param == "within":
        with serve(app) as server:
            yield server.connect
    else:
        path = directory / "socket"
        with elsewhere(app, path):
            yield lambda *arguments, **more: connect(path, *arguments, **more)


@pytest.fixture(params=["within", "elsewhere"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.asynccontextmanager
async def async_connect(
    how: str, app: Server, directory: Path, target: str = "/"
) -> AsyncIterator[AsyncClient]:
    if how == "within":
        async with serve_async(app) as server, server.connect() as client:
            yield client
    else:
        with elsewhere(app, directory / "socket"):
            async with connect_async(directory / "socket") as client:
                yield client


def test_messages_come_back(make: Make) -> None:
    with make() as client:
        messages: list[Any] = ["text é", "", b"binary", b"", "x" * 65535, bytearray(b"array")]
        for message in messages:
            client.send(message)
        assert [client.receive() for _ in messages] == messages
        assert client.close_code is None
        assert client.close_reason == ""
        assert client.subprotocol is None
    assert client.close_code == 1000


def test_async_messages_come_back(how: str, app: Server, directory: Path) -> None:
    async def main() -> None:
        async with async_connect(how, app, directory) as client:
            messages: list[Any] = ["text é", "", b"binary", b"", "x" * 65535, memoryview(b"view")]
            for message in messages:
                await client.send(message)
            assert [await client.receive() for _ in messages] == messages
            await client.ping()
            assert client.close_code is None
        assert client.close_code == 1000

    asyncio.run(main())


def test_what_a_client_says_in_its_request(make: Make) -> None:
    with make("/a?b=c") as client:
        client.send("request")
        assert client.receive() == "['/a?b=c', None, '', 'localhost']"
    with make(
        "/",
        headers={"Cookie": "a=b", "Host": "example.org"},
        subprotocols=["v0", "v1"],
        origin="https://example.org",
    ) as client:
        assert client.subprotocol == "v1"
        client.send("request")
        assert client.receive() == "['/', 'https://example.org', 'a=b', 'example.org']"


def test_a_refusal_is_raised_with_what_the_server_says(make: Make) -> None:
    with pytest.raises(Rejected, match="answered 401: who are you") as raised, make("/refused"):
        pass
    assert raised.value.status == 401
    assert raised.value.headers["www-authenticate"] == "Basic"
    assert raised.value.body == b"who are you?"
    with pytest.raises(Rejected) as raised, make("/moved"):
        pass
    assert (raised.value.status, raised.value.headers["location"]) == (302, "/login")


def test_a_server_that_ends_without_an_answer_has_closed(make: Make) -> None:
    with pytest.raises(Closed) as raised, make("/gone"):
        pass
    assert raised.value.code == 1006


def test_what_came_before_the_end_is_received_first_then_closed_is_raised(make: Make) -> None:
    with make() as client:
        client.send("close")
        with pytest.raises(Closed):
            client.ping()  # what is still to be received does not keep it
        assert client.receive() == "last"
        assert client.receive() == "words"
        for use in (client.receive, client.ping, lambda: client.send("x"), client.receive):
            with pytest.raises(Closed, match="4000: bye") as raised:
                use()
            assert (raised.value.code, raised.value.reason) == (4000, "bye")
        assert (client.close_code, client.close_reason) == (4000, "bye")
        client.close()  # it is over: this does nothing


def test_an_end_without_a_close_frame_is_1006(make: Make) -> None:
    with make() as client:
        client.send("abort")
        with pytest.raises(Closed) as raised:
            client.receive()
        assert raised.value.code == 1006
        assert str(raised.value) == "the connection was closed, 1006"
        with pytest.raises(Closed):
            client.send("x")


def test_a_close_of_the_clients_own(make: Make) -> None:
    with make() as client:
        client.close(4001, "enough")
        assert client.close_code == 4001
        with pytest.raises(Closed):
            client.send("x")
        with pytest.raises(Closed):
            client.ping()


def test_what_does_not_come_is_a_timeout_and_the_client_goes_on(make: Make) -> None:
    with make() as client:
        with pytest.raises(TimeoutError):
            client.receive(timeout=0.01)
        client.send("x")
        assert client.receive() == "x"


@pytest.fixture
def raw(directory: Path) -> Iterator[tuple[Path, socket.socket]]:
    """A server that is a socket, in the hands of the test."""
    path = directory / "raw"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path, listener


def test_a_server_that_does_not_answer_is_a_timeout(
    raw: tuple[Path, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dorrit.testing, "TIMEOUT", 0.05)
    with pytest.raises(TimeoutError), connect(raw[0]):
        pass


def test_an_answer_that_is_no_http_is_no_connection(raw: tuple[Path, socket.socket]) -> None:
    def answer() -> None:
        with raw[1].accept()[0] as server:
            server.recv(1 << 16)
            server.sendall(b"220 mail.example.org\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(Closed), connect(raw[0]):
        pass
    thread.join()


def test_no_socket_is_an_error_of_the_system(directory: Path) -> None:
    with pytest.raises(FileNotFoundError), connect(directory / "missing"):
        pass


def test_a_message_in_fragments_is_one() -> None:
    app = Server(buffer_size=10)
    app.on_message(lambda conn, message: conn.send("é" * 20) and conn.send(bytes(range(20))))
    with serve(app) as server, server.connect() as client:
        client.send("go")
        assert client.receive() == "é" * 20
        assert client.receive() == bytes(range(20))


def test_a_ping_of_the_server_is_answered_while_the_client_receives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pings = 0
    take = AsyncClient._take

    def count(client: AsyncClient, event: Any) -> None:
        nonlocal pings
        pings += getattr(event, "opcode", None) is Opcode.PING
        take(client, event)

    monkeypatch.setattr(AsyncClient, "_take", count)
    app = Server(ping_interval=0.25, ping_timeout=10)
    with serve(app) as server, server.connect() as client:
        while pings < 3:  # the next one is only sent when the one before has been answered
            with pytest.raises(TimeoutError):
                client.receive(timeout=0.3)
        client.ping()


def test_a_server_within_a_test_runs_while_a_client_does_something_or_is_let() -> None:
    app = Server()
    calls: list[None] = []
    app.every(0.001)(lambda: calls.append(None))
    with serve(app) as server:
        before = len(calls)
        threading.Event().wait(0.01)
        assert len(calls) == before
        server.run(0.05)
        assert len(calls) > before


def test_settings_of_the_test_go_before_the_servers_own(log: LogRecords) -> None:
    app = Server(origin="https://example.org", allow_peer="root")
    app.on_message(lambda conn, message: conn.send(message))
    with serve(app) as server, pytest.raises(Rejected) as raised, server.connect():
        pass
    assert raised.value.status == 403
    with serve(app, origin=()) as server, server.connect() as client:
        client.send("x")
        assert client.receive() == "x"
    with pytest.raises(TypeError, match="did you mean origin"):
        serve(app, orgin="x")  # type: ignore[call-arg]


def test_settings_that_do_not_fit_each_other_are_refused_as_when_it_runs(app: Server) -> None:
    settings: list[tuple[Any, str]] = [
        ({"deflate": True, "rfc": False}, "--deflate needs --rfc"),
        ({"max_per_client": 1}, "--max-per-client needs --trust"),
    ]
    for given, said in settings:
        for make in (serve, serve_async):
            with pytest.raises(StartError, match=said):
                make(app, **given)


@pytest.mark.parametrize("target", ["chat?x=1", "", "/a b", "/a\tb", "/a#b", "/a\r\nX: y", "/\x7f"])
def test_a_target_is_a_path_with_a_query(target: str, app: Server, directory: Path) -> None:
    with pytest.raises(ValueError, match="is not a path with a query"):
        connect(directory / "socket", target)
    with serve(app) as server, pytest.raises(ValueError, match=r"/chat\?room=7, a space is %20"):
        server.connect(target)


def test_without_with_nothing_runs(app: Server, directory: Path) -> None:
    server = serve(app)
    for use in (lambda: server.connections, server.connect, lambda: server.run(0)):
        with pytest.raises(
            RuntimeError, match="the server does not run: it does in a 'with' block"
        ):
            use()
    with server:
        clients = [server.connect(), connect(directory / "socket")]
        for client in clients:
            for use in (
                client.receive,
                client.ping,
                client.close,
                functools.partial(client.send, "x"),
            ):
                with pytest.raises(RuntimeError, match="the client is not connected: it is in a"):
                    use()
            assert client.subprotocol is client.close_code is None
            client._end()
    with pytest.raises(RuntimeError, match="the server does not run"):
        server.connect()


def test_without_async_with_nothing_runs(app: Server) -> None:
    async def main() -> None:
        server = serve_async(app)
        with pytest.raises(RuntimeError, match="the server does not run"):
            assert server.connections
        with pytest.raises(RuntimeError, match="the server does not run"):
            async with server.connect():
                pass

    asyncio.run(main())


def test_a_server_is_served_once_at_a_time(app: Server) -> None:
    with serve(app) as server:
        with pytest.raises(RuntimeError, match="runs already"), serve(app):
            pass
        assert server.connections == []
        with server.connect():
            assert len(server.connections) == 1
    with serve(app) as server, server.connect():
        pass


def test_what_the_stop_handler_raises_is_not_lost(app: Server) -> None:
    app.on_stop(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError), serve(app) as server, server.connect():
        pass
    assert app.connections == []
    assert app._application.driver is None


def test_a_client_that_is_open_at_the_end_is_told(app: Server) -> None:
    closed: list[int] = []
    app.on_close(lambda conn, code, reason: closed.append(code))

    async def main() -> None:
        async with serve_async(app) as server:
            client = await server.connect().__aenter__()
            await client.ping()
        with pytest.raises(Closed) as raised:
            await client.receive()
        assert raised.value.code == 1001
        await client.__aexit__(None, None, None)

    asyncio.run(main())
    assert closed == [1001]


def test_without_websockets_it_says_what_to_install() -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['websockets.client'] = None; import dorrit.testing",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ImportError: dorrit.testing needs the package websockets" in result.stderr
    assert "pip install 'dorrit[testing]'" in result.stderr


def test_a_server_that_does_not_start_has_not_started(app: Server) -> None:
    started: list[int] = []

    @app.on_start
    def start() -> None:
        started.append(1)
        if len(started) == 1:
            raise OSError("no database")

    with pytest.raises(OSError, match="no database"), serve(app):
        pass
    with serve(app) as server, server.connect():
        assert started == [1, 1]


async def keep_sending(client: AsyncClient) -> None:
    for _ in range(1000):
        await client.send("again")
        await asyncio.sleep(0)


def test_sending_to_a_server_that_has_gone_says_so() -> None:
    app = Server()
    app.on_message(lambda conn, message: conn.abort())

    async def main() -> None:
        gone = asyncio.Event()
        app.on_close(lambda conn, code, reason: gone.set())
        async with serve_async(app) as server, server.connect() as client:
            await client.send("go")
            await gone.wait()
            # The system notices at the first message or at the second one.
            with pytest.raises(Closed, match="1006"):
                await keep_sending(client)

    asyncio.run(main())


# Errors that say what to do


def echoing() -> Server:
    app = Server()

    @app.on_message
    def echo(conn: Connection, message: str | bytes) -> None:
        conn.send(message)

    return app


@pytest.mark.filterwarnings("error")
def test_where_an_event_loop_runs_the_plain_ones_say_what_to_use(directory: Path) -> None:
    app = echoing()

    async def main() -> None:
        with pytest.raises(
            RuntimeError, match=r"use .async with dorrit\.testing\.serve_async"
        ) as one:
            serve(app).__enter__()
        with pytest.raises(RuntimeError, match="connect_async") as other:
            connect(directory / "socket").__enter__()
        for raised in (one, other):
            assert raised.value.__context__ is None
        async with serve_async(app) as server, server.connect() as client:
            await client.send("it was not in the way")
            assert await client.receive() == "it was not in the way"

    asyncio.run(main())
    with serve(app) as server, server.connect() as client:

        async def within() -> None:
            for use in (lambda: client.send("x"), client.receive, client.ping, client.close):
                with pytest.raises(RuntimeError, match="serve_async"):
                    use()
            with pytest.raises(RuntimeError, match="serve_async"):
                server.run(0)

        asyncio.run(within())
    gc.collect()


@pytest.mark.parametrize("what", ["run", "main"])
@pytest.mark.filterwarnings("error")
def test_so_does_a_server_of_its_own(what: str) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"use 'async with dorrit.listen\(path, app\)'"):
            echoing().run([]) if what == "run" else dorrit.main()

    asyncio.run(main())


def test_a_socket_that_is_not_there_is_named(directory: Path) -> None:
    path = directory / "nobody.socket"
    with pytest.raises(FileNotFoundError, match="No such file") as missing:
        connect(path).__enter__()
    assert missing.value.filename == str(path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        with pytest.raises(ConnectionRefusedError) as refused:
            connect(path).__enter__()
    assert refused.value.filename == str(path)

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError) as refused:
            await connect_async(path).__aenter__()
        assert refused.value.filename == str(path)

    asyncio.run(main())


def test_what_does_not_come_in_time_is_said_in_one_sentence() -> None:
    app = Server()

    @app.on_message
    def said(conn: Connection, message: str) -> None:
        pass

    with serve(app) as server, server.connect() as client:
        with pytest.raises(TimeoutError, match=r"^nothing came within 0\.02 s$") as raised:
            client.receive(timeout=0.02)
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__
        with pytest.raises(TimeoutError, match=r"^no pong came within 0 s$"):
            client.ping(timeout=0)


def counting(step: int) -> Server:
    """A server that counts for each client, in steps, and remembers it."""
    app = Server(f"counting by {step}")

    @app.on_open
    def came(conn: Connection) -> None:
        conn.data = 0

    @app.on_resume
    def resume(conn: Connection, state: bytes | None) -> None:
        conn.data = int(state or b"0")

    @app.on_message
    def said(conn: Connection, message: str) -> None:
        conn.data += step
        conn.save(str(conn.data).encode())
        conn.send(str(conn.data))

    return app


def test_a_reload_keeps_the_clients_and_begins_all_else_anew() -> None:
    app, events = counting(1), []
    app.on_start(lambda: events.append("start"))
    app.on_stop(lambda: events.append("stop"))
    with serve(app) as server, server.connect() as one, server.connect() as other:
        for count in ("1", "2"):
            one.send("more")
            assert one.receive() == count
        (before, _) = sorted(server.connections, key=lambda conn: conn.number)
        server.reload()
        assert events == ["start", "stop", "start"]
        assert not before.is_open
        for client, count in ((one, "3"), (other, "1"), (one, "4")):
            client.send("more")
            assert client.receive() == count
        numbers = {conn.number for conn in server.connections}
        assert numbers == {1, 2}
        assert before not in server.connections
    assert events == ["start", "stop", "start", "stop"]


def test_a_reload_may_bring_other_code() -> None:
    async def main() -> None:
        async with serve_async(counting(1)) as server, server.connect() as client:
            await client.send("more")
            assert await client.receive() == "1"
            for step, count in ((10, "11"), (5, "16")):
                await server.reload(counting(step))
                await client.send("more")
                assert await client.receive() == count
            async with server.connect() as other:
                await other.send("more")
                assert await other.receive() == "5"

    asyncio.run(main())


def test_a_reload_keeps_the_settings_of_the_test_and_takes_those_of_the_code() -> None:
    first, second = Server(max_message=10), Server(max_message=20, max_waiting=3)
    with serve(first, max_waiting=7) as server:
        server.reload(second)
        driver = application_of(second).driver
        assert driver is not None
        assert (driver.settings.max_message, driver.settings.max_waiting) == (20, 7)
        assert application_of(first).driver is None


def test_only_a_server_that_does_not_run_is_reloaded_to(app: Server) -> None:
    other = Server("other")
    with serve(app) as server, serve(other):
        with pytest.raises(RuntimeError, match="runs already"):
            server.reload(other)
        with pytest.raises(TypeError, match=r"a dorrit\.Server, not int"):
            server.reload(5)  # type: ignore[arg-type]
        with pytest.raises(StartError):
            server.reload(Server("other", deflate=True, rfc=False))
        with server.connect() as client:
            client.send("still here")
            assert client.receive() == "still here"
    with pytest.raises(RuntimeError, match="'with' block"):
        server.reload()


@pytest.mark.parametrize("event", ["start", "stop"])
def test_what_a_handler_raises_in_a_reload_is_raised_and_ends_the_server(event: str) -> None:
    app, calls = Server(), []

    def fail() -> None:
        calls.append(event)
        if len(calls) == {"start": 2, "stop": 1}[event]:
            raise ValueError("no")

    getattr(app, f"on_{event}")(fail)
    with serve(app) as server, server.connect() as client:
        with pytest.raises(ValueError, match="no"):
            server.reload()
        with pytest.raises(RuntimeError, match="does not run"):
            server.reload()
        with pytest.raises(Closed, match="1006"):
            client.receive()
    with serve(app):
        pass  # it can be run again
