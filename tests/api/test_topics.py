"""Topics as a server's own code uses them (T1)."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dorrit import Connection, Server, ws_publish, ws_subscribe, ws_unsubscribe
from dorrit.api.functions import application_of
from dorrit.api.server import application_of as application_of_server
from dorrit.drive.asyncio_loop import loop_factory
from dorrit.drive.own_loop import OwnLoop
from dorrit.settings import merge
from dorrit.testing import serve, serve_async
from tests.support.frames import REQUEST
from tests.support.harness import LogRecords


def chat() -> Server:
    """Each client is in the room that its path names; what it says goes to the others."""
    app = Server("chat")

    @app.on_open
    def joined(conn: Connection) -> None:
        conn.subscribe(conn.request.path)
        conn.data = conn.request.path

    @app.on_message
    def said(conn: Connection, message: str | bytes) -> None:
        assert app.publish(conn.data, message, exclude=conn) is True

    @app.on_close
    def left(conn: Connection, _code: int, _reason: str) -> None:
        for topic in conn.topics:
            app.publish(topic, f"{app.count(topic)} are left")

    return app


def test_T1_a_room_hears_what_one_of_it_says_and_when_he_leaves() -> None:
    with (
        serve(chat()) as server,
        server.connect("/one") as first,
        server.connect("/two") as other,
    ):
        with server.connect("/one") as second:
            first.send("hello")
            assert second.receive() == "hello"
            second.send(b"bytes")
            assert first.receive() == b"bytes"
            other.send("nobody hears it")
        assert first.receive() == "1 are left"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_T1_async_handlers_subscribe_and_publish_as_plain_ones_do(loop: str) -> None:
    app = Server("chat")

    @app.on_open
    async def joined(conn: Connection) -> None:
        await asyncio.sleep(0)
        assert conn.subscribe("all")
        await asyncio.sleep(0)

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        await asyncio.sleep(0)
        app.publish("all", f"{conn.number}: {message}")

    async def talk() -> None:
        async with (
            serve_async(app) as server,
            server.connect() as first,
            server.connect() as second,
        ):
            await first.send("hello")
            assert [await first.receive(), await second.receive()] == ["1: hello"] * 2
            app.publish("all", "from a task")
            assert [await first.receive(), await second.receive()] == ["from a task"] * 2

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(talk())


@pytest.mark.parametrize("is_async", [False, True])
def test_L6_an_open_handler_that_decides_again_begins_without_topics(is_async: bool) -> None:
    """Or a client would be in the room that it has left again, and in both of them."""
    app = Server("moving")

    def enter(conn: Connection) -> None:
        assert conn.topics == frozenset()
        conn.subscribe("lobby")

    async def enter_later(conn: Connection) -> None:
        await asyncio.sleep(0)
        enter(conn)

    app.on_open(enter_later if is_async else enter)

    @app.on_message
    def said(conn: Connection, message: str) -> None:
        conn.unsubscribe("lobby")
        conn.subscribe(message)
        conn.send("moved")

    with serve(app) as server, server.connect() as client:
        client.send("garden")
        assert client.receive() == "moved"
        server.reload()
        client.ping()
        assert [app.count("lobby"), app.count("garden")] == [1, 0]


def test_T1_functions_hear_what_is_published_in_order_and_after_the_publisher() -> None:
    app = chat()
    heard: list[Any] = []

    @app.on_topic("/one")
    def first(topic: str, message: str | bytes) -> None:
        heard.append(("first", topic, message))
        if message == "question":
            app.publish(topic, "answer")
            heard.append("asked")

    def second(topic: str, message: str | bytes) -> None:
        heard.append(("second", topic, message))

    assert app.on_topic("/one", second) is second
    with serve(app) as server, server.connect("/one") as client:
        app.publish("/one", "question")
        app.publish("/two", "not for them")
        app.publish("/one", bytearray(b"bytes"))
        assert heard == []
        assert [client.receive() for _ in range(3)] == ["question", b"bytes", "answer"]
        client.ping()
        until_then = list(heard)
    assert until_then == [
        ("first", "/one", "question"), "asked", ("second", "/one", "question"),
        ("first", "/one", b"bytes"), ("second", "/one", b"bytes"),
        ("first", "/one", "answer"), ("second", "/one", "answer"),
    ]  # fmt: skip


def test_T1_a_function_may_begin_to_listen_while_the_server_runs_and_what_it_raises_is_logged(
    log: LogRecords,
) -> None:
    app = chat()
    heard: list[Any] = []
    with serve(app) as server, server.connect("/one") as client:

        @app.on_topic("/one")
        def fails(topic: str, message: str | bytes) -> None:
            raise ZeroDivisionError

        app.on_topic("/one", lambda topic, message: heard.append(message))
        app.publish("/one", "x")
        assert client.receive() == "x"
        client.ping()
        assert heard == ["x"]
    assert "the function of on_topic raised ZeroDivisionError" in log.text


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_T1_an_async_function_hears_it_too(loop: str, log: LogRecords) -> None:
    app = Server("listening")
    heard: list[Any] = []

    @app.on_topic("a")
    async def listen(topic: str, message: str | bytes) -> None:
        heard.append(message)
        await asyncio.sleep(0)
        if message == "bad":
            raise ZeroDivisionError
        heard.append(f"{message!r} again")

    app.on_topic("a", lambda topic, message: heard.append((topic, message)))

    async def publish() -> None:
        async with serve_async(app) as server, server.connect() as client:
            for message in ("good", b"good", "bad"):
                app.publish("a", message)
            await client.ping()

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(publish())
    assert [one for one in heard if one in ("good", b"good", "bad")] == ["good", b"good", "bad"]
    assert heard.count("'good' again") == heard.count("b'good' again") == 1
    assert heard.count("'bad' again") == 0
    assert [one for one in heard if isinstance(one, tuple)] == [
        ("a", "good"), ("a", b"good"), ("a", "bad"),
    ]  # fmt: skip
    assert "the function of on_topic raised ZeroDivisionError" in log.text


def test_T1_what_is_published_before_a_reload_or_the_end_is_heard() -> None:
    app = chat()
    heard: list[Any] = []
    app.on_topic("/one", lambda _topic, message: heard.append(message))
    with serve(app) as server, server.connect("/one") as client:
        client.send("before")
        client.ping()
        app.publish("/one", "at the reload")
        server.reload()
        app.publish("/one", "after it")
        client.ping()
    assert heard == ["before", "at the reload", "after it", "0 are left"]


@pytest.mark.parametrize(
    ("topic", "function", "error"),
    [
        (b"a", print, TypeError), ("", print, ValueError), ("a", 1, TypeError),
        ("a", lambda topic: None, TypeError), ("a", "b", TypeError),
    ],
)  # fmt: skip
def test_T1_what_can_not_listen_is_refused(topic: Any, function: Any, error: type) -> None:
    with pytest.raises(error):
        Server().on_topic(topic, function)


def test_T1_a_function_that_is_assigned_would_not_hear_anything() -> None:
    with pytest.raises(AttributeError, match="on_topic can't be assigned"):
        Server().on_topic = print  # type: ignore[assignment,method-assign]


def test_T1_a_server_that_does_not_run_publishes_to_nobody_and_says_so() -> None:
    app = chat()
    with pytest.raises(
        RuntimeError, match="the server does not run: there is nobody to publish to"
    ):
        app.publish("a", "x")
    assert app.count("a") == 0


def test_T1_another_thread_has_the_server_publish() -> None:
    app = chat()
    with serve(app) as server, server.connect("/one") as client:
        thread = threading.Thread(
            target=app.call_soon_threadsafe, args=(app.publish, "/one", "from a thread")
        )
        thread.start()
        thread.join()
        assert client.receive() == "from a thread"


@pytest.fixture
def running() -> Iterator[OwnLoop]:
    """A server of five functions, and its loop."""
    application = application_of(
        {
            **dict.fromkeys(["ws_init_func", "ws_exit_func"], lambda: None),
            **dict.fromkeys(["ws_close_callback", "ws_read_callback"], lambda *_: None),
            "ws_open_callback": lambda _conn, _cookie: 0,
        }
    )
    application.init()
    loop = OwnLoop(application, merge({"max_topics": 1}, application.defaults))
    loop.start()
    yield loop
    loop.close()


def test_T1_the_five_functions_subscribe_and_publish(running: OwnLoop) -> None:
    ours, client = socket.socketpair()
    ours.setblocking(False)
    conn = running.engine.adopt(ours.detach())
    client.sendall(REQUEST)
    running.engine.poll()
    assert [ws_subscribe(conn, topic) for topic in ("a", "b", "a")] == [0, -1, 0]
    assert ws_publish("a", False, "\xe9") == ws_publish("a", False, b"text") == 0
    assert ws_publish("a", True, bytearray(b"\xff")) == ws_publish("b", True, b"nobody") == 0
    assert ws_publish("a", False, "") == ws_publish("a", True, memoryview(b"")) == -2
    ws_unsubscribe(conn, "a")
    assert ws_publish("a", True, b"nobody") == 0
    running.engine.poll()
    response, _, frames = client.recv(65536).partition(b"\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 101 ")
    assert frames == b"\x81\x02\xc3\xa9\x81\x04text\x82\x01\xff"
    client.close()


def test_T1_an_async_function_can_not_begin_to_listen_without_an_event_loop() -> None:
    app = chat()
    loop = OwnLoop(application_of_server(app), merge({}, {}))
    loop.start()
    with pytest.raises(RuntimeError, match="add async functions before it runs"):
        app.on_topic("a", asyncio.sleep)
    app.on_topic("a", print)
    loop.close()


@pytest.mark.parametrize(
    ("binary", "data", "error"),
    [
        (False, 1, TypeError),
        (True, "x", TypeError),
        (False, b"\xff", ValueError),
        (False, "\ud800", ValueError),
    ],
)
@pytest.mark.usefixtures("running")
def test_T1_what_is_not_a_message_is_refused(binary: bool, data: Any, error: type) -> None:
    with pytest.raises(error):
        ws_publish("a", binary, data)


def test_T1_before_it_runs_a_server_of_five_functions_publishes_to_nobody(running: OwnLoop) -> None:
    running.close()
    with pytest.raises(RuntimeError, match="the server does not run"):
        ws_publish("a", False, "x")
