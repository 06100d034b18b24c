"""Topics as a server's own code uses them (T1)."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dorrit import Connection, Server, ws_publish, ws_subscribe, ws_unsubscribe
from dorrit.api.functions import application_of
from dorrit.drive.asyncio_loop import loop_factory
from dorrit.drive.own_loop import OwnLoop
from dorrit.settings import merge
from dorrit.testing import serve, serve_async
from tests.support.frames import REQUEST


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
