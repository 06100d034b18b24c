"""dorrit.testing: a server within the test crashes, and goes on with what was written down."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dorrit import Connection, Server
from dorrit.testing import AsyncClient, Closed, serve, serve_async
from tests.support.harness import LogRecords

TIMEOUT = 60.0


class App:
    """A server that counts for each client, and notes what it hears.

    Attributes:
        server: The server.
        heard: What was called, in order.
    """

    def __init__(self) -> None:
        self.server = Server("crashing")
        self.heard: list[object] = []
        self.server.on_start(lambda: self.heard.append("start"))
        self.server.on_stop(lambda: self.heard.append("stop"))
        self.server.on_open(self.opened)
        self.server.on_message(self.said)
        self.server.on_resume(self.resumed)
        self.server.on_close(self.left)

    def opened(self, conn: Connection) -> None:
        conn.data = 0

    def said(self, conn: Connection, message: str) -> None:
        conn.data += 1
        conn.save(str(conn.data).encode())
        conn.send(f"{message} {conn.data}")

    def resumed(self, conn: Connection, state: bytes | None) -> None:
        conn.data = int(state or b"0")

    def left(self, conn: Connection, code: int, reason: str) -> None:
        self.heard.append((conn.number, code, conn.data, conn.saved))


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(TIMEOUT):
            await test()

    asyncio.run(main())


async def code_of(client: AsyncClient) -> int:
    """The code that a client is closed with, before any message."""
    with pytest.raises(Closed) as raised:
        await client.receive()
    return raised.value.code


def test_L3_all_go_on_but_the_one_whose_handler_has_crashed(log: LogRecords) -> None:
    app = App()
    with serve(app.server) as server, server.connect() as one, server.connect() as other:
        for client in (one, other):
            client.send("a")
            assert client.receive() == "a 1"
        before = server.connections
        with server.connect() as culprit:
            server.crash(culprit)
            assert not any(conn.is_open for conn in before)
            with pytest.raises(Closed) as raised:
                culprit.receive()
            assert raised.value.code == 1011
        for client in (one, other):
            client.send("b")
            assert client.receive() == "b 2"
        assert {conn.number for conn in server.connections} == {1, 2}
        assert app.heard == ["start", "start", (3, 1011, None, b"")]
    assert app.heard.count("stop") == 1
    assert log.text == ""


def test_L3_a_crash_of_nobodys_handler_closes_nobody_however_often() -> None:
    app = App()
    with serve(app.server) as server, server.connect() as client:
        for number, restart in enumerate(
            [server.crash, server.crash, server.reload, server.crash], start=1
        ):
            client.send("a")
            assert client.receive() == f"a {number}"
            restart()
        client.send("a")
        assert client.receive() == "a 5"
    assert [one for one in app.heard if isinstance(one, str)] == [
        *["start"] * 3, "stop", *["start"] * 2, "stop",
    ]  # fmt: skip
    assert app.heard.count((1, 1000, 5, b"5")) == 1


def test_L3_what_was_sent_before_comes_once_and_in_order() -> None:
    app = App()

    async def main() -> None:
        async with (
            serve_async(app.server) as server,
            server.connect() as one,
            server.connect() as other,
        ):
            for number in range(150):
                app.server.broadcast(server.connections, f"{number}" * 1000)
            await server.crash()  # no turn has been in between
            for conn in server.connections:
                conn.send("last")
            for client in (one, other):
                for number in range(150):
                    assert await client.receive() == f"{number}" * 1000
                assert await client.receive() == "last"

    run(main)


def test_L6_who_has_gone_is_told_to_the_new_close_handler_once() -> None:
    app, said = App(), asyncio.Event()

    async def hang(conn: Connection, message: str) -> None:
        said.set()
        await asyncio.get_running_loop().create_future()

    app.server = Server("crashing")
    app.server.on_message(hang)
    app.server.on_close(app.left)

    async def main() -> None:
        async with serve_async(app.server) as server, server.connect() as other:
            async with server.connect() as client:
                await client.send("wait")
                await said.wait()
            await other.ping()
            assert app.heard == []  # behind the message that is under way
            await server.crash()
            await other.ping()
            assert app.heard == [(2, 1000, None, b"")]

    run(main)


class Hanging:
    """A server whose handler begins with a message and does not end by itself.

    Attributes:
        server: The server.
        is_stubborn: The handler ends as if it had not been cancelled.
        begun: Is set when it has begun.
        ended: What its ends were, in order.
        handled: What was handled to its end.
    """

    def __init__(self) -> None:
        self.server = Server("hanging")
        self.server.on_message(self.said)
        self.is_stubborn = False
        self.begun = asyncio.Event()
        self.ended: list[str] = []
        self.handled: list[object] = []

    async def said(self, conn: Connection, message: str) -> None:
        if message == "wait":
            self.begun.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.ended.append("cancelled")
                conn.send("from the one that has crashed")
                if self.is_stubborn:
                    return
                raise
        self.handled.append(message)
        conn.send(message)


def test_L7_a_message_whose_handler_had_begun_is_given_to_on_resume_and_others_are_handled(
    log: LogRecords,
) -> None:
    app = Hanging()

    @app.server.on_resume
    async def resumed(conn: Connection, state: bytes | None, begun: str | None) -> None:
        app.handled.append(("begun", begun))

    async def main() -> None:
        async with serve_async(app.server) as server, server.connect() as client:
            for message in ("wait", "one", "two"):
                await client.send(message)
            await app.begun.wait()
            await client.ping()  # the others have come as well
            await server.crash()
            assert app.ended == ["cancelled"]
            assert [await client.receive() for _ in range(2)] == ["one", "two"]
            assert app.handled == [("begun", "wait"), "one", "two"]
            await server.crash()
            await client.send("three")
            assert await client.receive() == "three"
            assert app.handled[3:] == [("begun", None), "three"]

    run(main)
    assert log.text == ""


def test_L7_what_on_resume_has_dealt_with_is_not_given_to_it_again() -> None:
    app, resumed = Hanging(), asyncio.Event()

    @app.server.on_resume
    async def resume(conn: Connection, state: bytes | None, begun: str | None) -> None:
        app.handled.append(begun)
        await asyncio.sleep(0)
        resumed.set()

    async def main() -> None:
        async with serve_async(app.server) as server, server.connect() as client:
            await client.send("wait")
            await app.begun.wait()
            await server.crash()
            await resumed.wait()
            resumed.clear()
            await server.crash()  # before the server has had a turn
            await resumed.wait()
            assert app.handled == ["wait", None]

    run(main)


def test_L7_who_waits_for_a_handler_that_nobody_goes_on_with_is_closed() -> None:
    app = Hanging()

    async def main() -> None:
        async with serve_async(app.server) as server, server.connect() as client:
            await client.send("wait")
            await app.begun.wait()
            await server.crash()
            assert await code_of(client) == 1012

    run(main)
    assert app.handled == []


def test_L7_a_handler_that_does_not_end_when_it_is_cancelled_begins_with_nothing_more(
    log: LogRecords,
) -> None:
    app = Hanging()
    app.is_stubborn = True

    @app.server.on_resume
    def resumed(conn: Connection, state: bytes | None, begun: str | None) -> None:
        conn.send(f"begun: {begun}")

    async def main() -> None:
        async with serve_async(app.server) as server, server.connect() as client:
            await client.send("wait")
            await client.send("one")
            await app.begun.wait()
            await client.ping()
            await server.crash()
            assert [await client.receive() for _ in range(2)] == ["begun: wait", "one"]
            assert app.ended == ["cancelled"]
            assert app.handled == ["one"]

    run(main)
    assert log.text == ""


@pytest.mark.parametrize("how", ["raises", "is cancelled"])
def test_L6_a_close_handler_that_has_begun_is_not_called_again(how: str, log: LogRecords) -> None:
    app, calls = Server("closing"), []
    begun = asyncio.Event()

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        calls.append(conn.number)
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if how == "raises":
                raise ValueError("no") from None
            raise

    async def main() -> None:
        async with serve_async(app, stop_grace=0) as server, server.connect() as other:
            async with server.connect():
                pass
            await begun.wait()
            await server.crash()
            await other.ping()
            assert calls == [2]
            assert log.text == ""

    run(main)


def test_L5_a_request_whose_open_handler_has_not_answered_is_asked_again(log: LogRecords) -> None:
    app, asked = Server("opening"), []
    begun, may_end = asyncio.Event(), asyncio.Event()

    @app.on_open
    async def opened(conn: Connection) -> bool:
        asked.append(conn.number)
        begun.set()
        try:
            await may_end.wait()
        except asyncio.CancelledError:
            return False  # which nobody hears
        return True

    app.on_message(lambda conn, message: conn.send(message))

    async def main() -> None:
        async with serve_async(app) as server:
            client = server.connect()
            connecting = asyncio.create_task(client.__aenter__())
            await begun.wait()
            may_end.clear()
            await server.crash()
            may_end.set()
            await connecting
            await client.send("here")
            assert await client.receive() == "here"
            assert asked == [1, 1]
            await client.__aexit__()

    run(main)
    assert log.text == ""


def test_what_the_start_handler_raises_after_a_crash_is_raised_and_ends_the_server() -> None:
    app, starts = Server("starting"), []

    @app.on_start
    def start() -> None:
        starts.append(1)
        if len(starts) == 2:
            raise ValueError("no")

    with serve(app) as server, server.connect() as client:
        with pytest.raises(ValueError, match="no"):
            server.crash()
        with pytest.raises(RuntimeError, match="does not run"):
            server.crash()
        with pytest.raises(Closed, match="1006"):
            client.receive()


def test_only_a_client_that_is_connected_to_it_has_a_server_crash() -> None:
    app, other = App(), App()
    with serve(app.server) as server, serve(other.server) as elsewhere:
        with (
            elsewhere.connect() as stranger,
            pytest.raises(ValueError, match="not connected to this server"),
        ):
            server.crash(stranger)
        gone = server.connect()
        with pytest.raises(ValueError, match="not connected to this server"):
            server.crash(gone)
        with gone:
            gone.send("a")
            assert gone.receive() == "a 1"
        with pytest.raises(ValueError, match="not connected to this server"):
            server.crash(gone)
        assert app.heard == ["start", (1, 1000, 1, b"1")]
    with pytest.raises(RuntimeError, match="'with' block"):
        server.crash()


def test_a_handler_can_not_have_its_own_server_crash(log: LogRecords) -> None:
    app = Server("handling")
    server = serve_async(app)

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        with pytest.raises(RuntimeError, match="a handler must not"):
            await server.crash()
        await asyncio.sleep(0)  # and in a turn of the event loop that is not the server's
        with pytest.raises(RuntimeError, match="call it in the test"):
            await server.crash()
        conn.send("still here")

    async def main() -> None:
        async with server, server.connect() as client:
            await client.send("x")
            assert await client.receive() == "still here"

    run(main)
