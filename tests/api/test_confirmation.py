"""A server is told when a subscription stands, and what it says then comes first (T4)."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from dorrit import Connection, Recovered, Server, ws_publish, ws_subscribe
from dorrit.api.functions import application_of
from dorrit.api.server import application_of as application_of_server
from dorrit.drive.asyncio_loop import loop_factory
from dorrit.drive.own_loop import OwnLoop
from dorrit.settings import merge
from dorrit.testing import AsyncServing, Closed, serve, serve_async
from tests.support.frames import REQUEST
from tests.support.harness import LogRecords

KINDS = pytest.mark.parametrize("kind", ["plain", "async"])


def room(kind: str, *, message: str = "plain") -> Server:
    """Who says a topic's name is subscribed to it, and is greeted; then all hear who has come."""
    app = Server("room")

    def greet(conn: Connection, topic: str, recovered: Recovered) -> None:
        assert recovered == Recovered(messages=0, complete=True)
        conn.send(f"welcome to {topic}")
        app.publish(topic, f"{conn.number} has come")

    async def greet_later(conn: Connection, topic: str, recovered: Recovered) -> None:
        await asyncio.sleep(0)
        greet(conn, topic, recovered)
        await asyncio.sleep(0)

    def said(conn: Connection, message: str) -> None:
        conn.subscribe(message)
        app.publish(message, f"{conn.number} was subscribed")

    async def said_later(conn: Connection, message: str) -> None:
        said(conn, message)
        await asyncio.sleep(0)

    app.on_message(said if message == "plain" else said_later)
    app.on_subscribed(greet if kind == "plain" else greet_later)
    return app


@KINDS
@pytest.mark.parametrize("message", ["plain", "async"])
def test_T4_a_greeting_comes_before_anything_of_the_topic(kind: str, message: str) -> None:
    with serve(room(kind, message=message)) as server, ExitStack() as stack:
        for number in range(1, 4):
            client = stack.enter_context(server.connect())
            client.send("a")
            assert [client.receive() for _ in range(3)] == [
                "welcome to a", f"{number} was subscribed", f"{number} has come",
            ]  # fmt: skip


@KINDS
def test_T4_what_the_handler_raises_costs_that_connection(kind: str, log: LogRecords) -> None:
    app = Server()

    def plain(conn: Connection, topic: str, _recovered: Recovered) -> None:
        raise LookupError(topic)

    async def later(conn: Connection, topic: str, recovered: Recovered) -> None:
        await asyncio.sleep(0)
        plain(conn, topic, recovered)

    app.on_message(lambda conn, message: conn.subscribe(message) and None)
    app.on_subscribed(plain if kind == "plain" else later)
    with serve(app) as server, server.connect() as client:
        client.send("a")
        with pytest.raises(Closed) as closed:
            client.receive()
        assert closed.value.code == 1011
        client.close()
    assert log.text.count("the subscribed handler raised LookupError") == 1
    assert app.count("a") == 0


def run(
    app: Server, talk: Callable[[AsyncServing], Awaitable[None]], loop: str = "asyncio"
) -> None:
    async def serving() -> None:
        async with serve_async(app) as server:
            await talk(server)

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(serving())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_T4_an_async_handler_has_its_turn_among_the_messages(loop: str) -> None:
    app, stood, goes_on, heard = Server(), asyncio.Event(), asyncio.Event(), []

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        heard.append(message)
        if message == "subscribe":
            conn.subscribe("a")
            await asyncio.sleep(0.01)  # the subscription stands by now, but this one goes on
        heard.append(f"end of {message}")

    @app.on_subscribed
    async def stands(conn: Connection, topic: str, recovered: Recovered) -> None:
        heard.append("stands")
        stood.set()
        await goes_on.wait()
        conn.send("first")

    async def talk(server: AsyncServing) -> None:
        async with server.connect() as client:
            await client.send("subscribe")
            await stood.wait()
            await client.send("next")
            await client.ping()
            app.publish("a", "second")
            goes_on.set()
            assert [await client.receive(), await client.receive()] == ["first", "second"]
            app.publish("a", "third")
            assert await client.receive() == "third"

    run(app, talk, loop)
    assert heard == ["subscribe", "end of subscribe", "stands", "next", "end of next"]


def test_T4_who_leaves_and_comes_again_while_it_is_told_is_told_again_before_the_topic() -> None:
    app, goes_on = Server(), asyncio.Event()

    @app.on_message
    def said(conn: Connection, message: str) -> None:
        conn.unsubscribe("a")
        conn.subscribe("a")

    @app.on_subscribed
    async def stands(conn: Connection, topic: str, recovered: Recovered) -> None:
        conn.send("welcome")
        await goes_on.wait()
        conn.send("told")

    async def talk(server: AsyncServing) -> None:
        async with server.connect() as client:
            for _ in range(2):
                await client.send("come")
                await client.ping()
            app.publish("a", "x")
            goes_on.set()
            assert [await client.receive() for _ in range(5)] == [
                "welcome", "told", "welcome", "told", "x",
            ]  # fmt: skip

    run(app, talk)


def test_T4_who_has_left_when_an_async_handler_would_be_told_is_not_told() -> None:
    app, told = Server(), []

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        if message != "say":
            conn.subscribe(message)
            await asyncio.sleep(0.01)
            if message == "left":
                conn.unsubscribe(message)
            if message == "again":
                conn.unsubscribe(message)
                conn.subscribe(message)
        conn.send(message)

    @app.on_subscribed
    async def stands(conn: Connection, topic: str, recovered: Recovered) -> None:
        told.append(topic)

    with serve(app) as server, server.connect() as client:
        for message in ("left", "again", "stayed", "say"):
            client.send(message)
            assert client.receive() == message
        client.ping()
    assert told == ["again", "stayed"]


@pytest.mark.parametrize("restart", ["reload", "crash"])
def test_L5_who_was_being_told_at_a_restart_is_told_by_the_next_image(restart: str) -> None:
    app, told = Server(), []

    @app.on_resume
    def back(conn: Connection, state: bytes | None) -> None:
        pass

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        conn.subscribe(message)

    @app.on_subscribed
    async def stands(conn: Connection, topic: str, recovered: Recovered) -> None:
        told.append(topic)
        if len(told) == 1:
            await asyncio.sleep(3600)
        conn.send(f"welcome to {topic}")

    with serve(app, stop_timeout=1) as server, server.connect() as client:
        client.send("a")
        while not told:
            client.ping()
        getattr(server, restart)()
        assert client.receive() == "welcome to a"
        app.publish("a", "x")
        assert client.receive() == "x"
        server.reload()
        client.ping()
        server.crash()
        client.ping()
        assert told == ["a", "a"]


def test_T4_a_handler_may_wait_until_a_subscription_stands_also_before_the_client_is_accepted() -> (
    None
):
    app, results = Server(), []

    @app.on_open
    async def opened(conn: Connection) -> None:
        conn.subscribe("a")
        results.append(await conn.subscribed("a"))
        results.append(await conn.subscribed("b"))

    @app.on_subscribed
    def stands(conn: Connection, topic: str, recovered: Recovered) -> None:
        results.append(topic)

    async def talk(server: AsyncServing) -> None:
        async with server.connect() as client:
            app.publish("a", "x")
            assert await client.receive() == "x"
            (conn,) = app.connections
            conn.abort()
            results.append(await conn.subscribed("a"))

    run(app, talk)
    assert results == [Recovered(), None, "a", None]
    assert (Recovered().messages, Recovered().complete) == (0, True)


def test_T4_what_can_be_no_topic_or_is_not_awaited_is_an_error() -> None:
    app, errors = Server(), []

    @app.on_open
    def opened(conn: Connection) -> None:
        for topic in (1, "", "a"):
            try:
                conn.subscribed(topic)  # type: ignore[arg-type,unused-coroutine]
            except Exception as error:
                errors.append(type(error))

    loop = OwnLoop(application_of_server(app), merge({}, {}))
    loop.start()
    with client_of(loop):
        assert errors == [TypeError, ValueError, RuntimeError]
    loop.close()


@contextmanager
def client_of(loop: OwnLoop) -> Iterator[socket.socket]:
    """A client of a loop, which has been accepted."""
    ours, client = socket.socketpair()
    ours.setblocking(False)
    loop.engine.adopt(ours.detach())
    client.sendall(REQUEST)
    loop.engine.poll()
    with client:
        yield client


def five(**more: Callable[..., Any]) -> dict[str, Any]:
    return {
        **dict.fromkeys(["ws_init_func", "ws_exit_func"], lambda: None),
        **dict.fromkeys(["ws_close_callback", "ws_read_callback"], lambda *_: None),
        "ws_open_callback": lambda conn, _cookie: ws_subscribe(conn, "a"),
        **more,
    }


def test_T4_the_five_functions_have_a_callback_for_it(log: LogRecords) -> None:
    told: list[Any] = []

    def subscribed(conn: Connection, topic: str, recovered: Recovered) -> Any:
        told.append((conn.number, topic, recovered))
        ws_publish(topic, False, "joined")
        return asyncio.sleep(0) if conn.number == 2 else None

    application = application_of(five(ws_subscribed_callback=subscribed))
    application.init()
    loop = OwnLoop(application, merge({}, application.defaults))
    loop.start()
    with client_of(loop) as first, client_of(loop) as second:
        loop.engine.poll()
        assert told == [(1, "a", Recovered()), (2, "a", Recovered())]
        assert first.recv(65536).endswith(b"\x81\x06joined\x81\x06joined")
        assert second.recv(65536).partition(b"\r\n\r\n")[2][:4] == b"\x88\x02\x03\xf3"
    loop.close()
    assert "ws_subscribed_callback has returned a coroutine" in log.text
