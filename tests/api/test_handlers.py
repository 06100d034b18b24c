"""The handlers of a server, plain and async: when they are called, with what, what they raise."""

import asyncio
import contextlib
import inspect
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import dorrit
from dorrit import Connection, Reject, Server
from dorrit.testing import Closed, Rejected, serve
from tests.support.harness import LogRecords


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def later(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, async, with a pause before it."""
    parameters = list(inspect.signature(function).parameters.values())

    async def called(*arguments: Any) -> Any:
        await asyncio.sleep(0.002)
        return function(*arguments)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called


KINDS = [plain, later]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=["plain", "async"])
each_mix = pytest.mark.parametrize(
    "kinds",
    list(itertools.product(KINDS, repeat=3)),
    ids=["-".join(k.__name__ for k in kinds) for kinds in itertools.product(KINDS, repeat=3)],
)


@pytest.fixture
def log() -> Iterator[LogRecords]:
    records = LogRecords()
    logger = logging.getLogger("dorrit")
    before = logger.level, logger.propagate
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield records
    logger.removeHandler(records)
    logger.level, logger.propagate = before


class Recorded:
    """An echo server that writes down what its handlers are called with."""

    def __init__(self, kinds: Any = (plain, plain, plain)) -> None:
        self.events: list[Any] = []
        self.app = Server("recorded")
        on_open, on_message, on_close = kinds
        self.app.on_open(on_open(self.opened))
        self.app.on_message(on_message(self.said))
        self.app.on_close(on_close(self.left))

    def opened(self, conn: Connection) -> None:
        self.events.append("open")
        conn.send("welcome")

    def said(self, conn: Connection, message: str | bytes) -> None:
        self.events.append(message)
        conn.send(message)

    def left(self, conn: Connection, code: int, reason: str) -> None:
        assert not conn.is_open
        assert not conn.send("too late")
        self.events.append((code, reason))


@each_mix
def test_the_callbacks_of_a_connection_come_in_order_whatever_they_are(kinds: Any) -> None:
    recorded = Recorded(kinds)
    messages: list[str | bytes] = [f"{number} é" for number in range(50)]
    messages += [bytes([number]) for number in range(50)]
    with serve(recorded.app) as server:
        with server.connect() as client:
            assert client.receive() == "welcome"
            for message in messages:
                client.send(message)
            assert [client.receive() for _ in messages] == messages
            client.close(4000, "bye")
        # Its close callback is under way at the latest when the next client has its answer.
        with server.connect():
            pass
    first = recorded.events[: len(messages) + 2]
    if kinds[2] is plain:
        assert first == ["open", *messages, (4000, "bye")]
    assert recorded.events.count((4000, "bye")) == 1
    assert recorded.events.count((1000, "")) == 1
    assert recorded.events[:-1].count("open") == 2


@each_mix
def test_messages_that_came_before_the_end_are_handled_before_the_close_callback(
    kinds: Any,
) -> None:
    recorded = Recorded(kinds)
    with serve(recorded.app) as server, server.connect() as client:
        for number in range(10):
            client.send(str(number))
        client.close(1001)
    assert recorded.events == ["open", *map(str, range(10)), (1001, "")]


@each_kind
def test_what_the_open_callback_sends_follows_the_response(kind: Any) -> None:
    app = Server()

    @app.on_open
    @kind
    def opened(conn: Connection) -> None:
        assert conn.send("first")
        assert conn.send(b"second")

    with serve(app) as server, server.connect() as client:
        assert client.receive() == "first"
        assert client.receive() == b"second"


@each_kind
@pytest.mark.parametrize(
    ("verdict", "status"), [(False, 403), (True, 101), (None, 101), (0, 500), ("no", 500)]
)
def test_what_the_open_callback_returns_decides(
    kind: Any, verdict: object, status: int, log: LogRecords
) -> None:
    app, closed = Server(), []
    app.on_open(kind(lambda conn: verdict))
    app.on_close(lambda conn, code, reason: closed.append(code))
    with serve(app) as server:
        if status == 101:
            with server.connect():
                assert len(app.connections) == len(server.connections) == 1
        else:
            with pytest.raises(Rejected) as raised, server.connect():
                pass
            assert raised.value.status == status
            assert app.connections == []
    assert closed == ([1000] if status == 101 else [])
    assert ("TypeError" in log.text) is (status == 500)


@each_kind
def test_an_origin_is_refused_before_the_open_callback_is_asked(kind: Any, log: LogRecords) -> None:
    app, asked = Server(origin="https://a.example"), []
    app.on_open(kind(lambda conn: asked.append(conn.request.origin)))
    with serve(app) as server:
        with pytest.raises(Rejected) as raised, server.connect(origin="https://b.example"):
            pass
        assert raised.value.status == 403
        with server.connect(origin="https://a.example"):
            pass
    assert asked == ["https://a.example"]


def test_a_coroutine_that_nobody_awaits_is_an_error_and_accepts_nobody(log: LogRecords) -> None:
    app = Server()

    async def opened(conn: Connection) -> bool:
        return True

    app.on_open(lambda conn: (conn.send("x"), opened(conn))[1])
    with serve(app) as server, pytest.raises(Rejected) as raised, server.connect():
        pass
    assert raised.value.status == 500
    assert "on_open has returned a coroutine, which nobody awaits" in log.text


@each_kind
def test_a_rejection_is_what_the_client_gets(kind: Any, log: LogRecords) -> None:
    app = Server()

    @app.on_open
    @kind
    def opened(conn: Connection) -> None:
        conn.send("nobody reads this")
        raise Reject(401, {"WWW-Authenticate": "Basic"}, "who are you?")

    with serve(app) as server, pytest.raises(Rejected) as raised, server.connect():
        pass
    assert raised.value.status == 401
    assert raised.value.headers["www-authenticate"] == "Basic"
    assert raised.value.body == b"who are you?"
    assert "Traceback" not in log.text


@each_kind
def test_an_open_callback_that_raises_refuses_with_500_and_is_logged(
    kind: Any, log: LogRecords
) -> None:
    app, closed = Server(), []
    app.on_open(kind(lambda conn: 1 / 0))
    app.on_close(lambda conn, code, reason: closed.append(code))
    with serve(app) as server, pytest.raises(Rejected) as raised, server.connect():
        pass
    assert raised.value.status == 500
    assert "the open handler raised ZeroDivisionError" in log.text
    assert closed == []


@each_kind
def test_a_message_callback_that_raises_closes_its_connection_with_1011(
    kind: Any, log: LogRecords
) -> None:
    app, events = Server(), []

    @app.on_message
    @kind
    def said(conn: Connection, message: str) -> None:
        events.append(message)
        if message == "raise":
            raise LookupError("an error of the handler")
        conn.send(message)

    app.on_close(lambda conn, code, reason: events.append(code))
    with serve(app) as server, server.connect() as other:
        with server.connect() as client:
            for message in ("a", "raise", "b", "c"):
                client.send(message)
            assert client.receive() == "a"
            with pytest.raises(Closed) as raised:
                client.receive()
            assert raised.value.code == 1011
        other.send("still there")
        assert other.receive() == "still there"
        assert events[:3] == ["a", "raise", 1011]
    assert "the message handler raised LookupError" in log.text
    assert "an error of the handler" in log.text
    assert "in said" in log.text


@each_kind
def test_what_a_close_callback_raises_is_logged(kind: Any, log: LogRecords) -> None:
    app = Server()
    app.on_close(kind(lambda conn, code, reason: 1 / 0))
    with serve(app) as server, server.connect():
        pass
    assert "the close handler raised ZeroDivisionError" in log.text


@each_kind
def test_the_start_comes_before_all_and_the_stop_after_all(kind: Any) -> None:
    recorded = Recorded()
    recorded.app.on_start(kind(lambda: recorded.events.append("start")))
    recorded.app.on_stop(kind(lambda: recorded.events.append("stop")))
    with serve(recorded.app) as server, server.connect():
        pass
    assert recorded.events == ["start", "open", (1000, ""), "stop"]
    with serve(recorded.app):  # it can be run again
        pass
    assert recorded.events[4:] == ["start", "stop"]


@each_kind
def test_a_server_whose_start_raises_does_not_start(kind: Any) -> None:
    app, events = Server(), []
    app.on_start(kind(lambda: 1 / 0))
    app.on_stop(lambda: events.append("stop"))
    with pytest.raises(ZeroDivisionError), serve(app):
        pass
    assert events == []


@each_kind
def test_R14_a_periodic_function_is_called_again_and_again(kind: Any, log: LogRecords) -> None:
    app, calls = Server(), []

    @app.every(0.01)
    @kind
    def tick() -> None:
        calls.append(len(calls))
        if len(calls) == 2:
            raise LookupError("once")
        for conn in app.connections:
            conn.send("tick")

    with serve(app) as server, server.connect() as client:
        assert [client.receive() for _ in range(3)] == ["tick"] * 3
    assert len(calls) >= 4
    assert "the periodic function raised LookupError" in log.text


def test_an_async_periodic_function_is_not_called_before_its_last_call_is_over() -> None:
    app = Server()
    running = most = 0

    @app.every(0.005)
    async def tick() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.03)
        running -= 1

    with serve(app) as server:
        server.run(0.15)
    assert most == 1


def test_async_callbacks_of_different_connections_run_at_the_same_time() -> None:
    app = Server()
    together = asyncio.Event()
    waiting = 0

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 10:
            together.set()
        await together.wait()
        conn.send(message)

    with serve(app) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(str(number))
        assert [client.receive() for client in clients] == [str(n) for n in range(10)]


def test_a_message_waits_while_the_last_one_is_handled() -> None:
    app = Server()
    running: list[str] = []

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        assert running == []
        running.append(message)
        await asyncio.sleep(0.005)
        running.clear()
        conn.send(message)

    with serve(app) as server, server.connect() as client:
        for number in range(40):
            client.send(str(number))
        assert [client.receive() for _ in range(40)] == [str(n) for n in range(40)]


def test_a_handler_that_is_cancelled_closes_its_connection_with_1011(log: LogRecords) -> None:
    app, closed = Server(), []
    tasks: list[Any] = []

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        if message == "cancel":
            tasks[0].cancel()
            return
        tasks.append(asyncio.current_task())
        await asyncio.sleep(60)

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        await asyncio.sleep(0.001)  # what was cancelled is over: this is not
        closed.append(code)

    with serve(app) as server, server.connect() as client, server.connect() as other:
        client.send("wait")
        client.send("never handled")
        client.ping()
        other.send("cancel")
        other.ping()
        with pytest.raises(Closed) as raised:
            client.receive()
        assert raised.value.code == 1011
        assert len(tasks) == 1
    assert closed == [1011, 1000]
    assert "the message handler raised CancelledError" in log.text


def test_a_handler_may_cancel_itself_or_raise_cancellation(log: LogRecords) -> None:
    app = Server()

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        raise asyncio.CancelledError

    with serve(app) as server, server.connect() as client:
        client.send("x")
        with pytest.raises(Closed) as raised:
            client.receive()
        assert raised.value.code == 1011
        with server.connect() as another:
            another.ping()


def test_an_open_callback_that_takes_too_long_is_answered_503(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dorrit.dispatch.awaited_handler.TIMEOUT", 0.05)
    app, events = Server(), []

    @app.on_open
    async def opened(conn: Connection) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            events.append("cancelled")

    app.on_close(lambda conn, code, reason: events.append("closed"))
    with serve(app) as server:
        with pytest.raises(Rejected) as raised, server.connect():
            pass
        assert raised.value.status == 503
    assert events == ["cancelled"]


def test_a_timeout_of_the_open_callbacks_own_is_an_error_of_its_own(log: LogRecords) -> None:
    app = Server()

    @app.on_open
    async def opened(conn: Connection) -> None:
        raise TimeoutError("the database")

    with serve(app) as server, pytest.raises(Rejected) as raised, server.connect():
        pass
    assert raised.value.status == 500
    assert "the database" in log.text


def test_a_client_that_goes_while_the_open_callback_runs_has_its_close_callback() -> None:
    app, events = Server(), []
    may_go_on = asyncio.Event()

    @app.on_open
    async def opened(conn: Connection) -> None:
        conn.abort()
        await may_go_on.wait()
        events.append("accepted")

    app.on_close(lambda conn, code, reason: events.append(code))
    with serve(app) as server:
        with pytest.raises(Closed), server.connect():
            pass
        assert events == []
        may_go_on.set()
        server.run(0.01)
        assert events == ["accepted", 1006]


@each_kind
def test_a_subprotocol_is_chosen_in_the_open_callback(kind: Any) -> None:
    app = Server()
    app.on_open(kind(lambda conn: conn.request.select("v2", "v1") is not None))
    with serve(app) as server:
        with server.connect(subprotocols=["v0", "v1"]) as client:
            assert client.subprotocol == "v1"
        with pytest.raises(Rejected), server.connect(subprotocols=["v0"]):
            pass


@each_kind
def test_the_request_is_let_go_after_the_open_callback(kind: Any) -> None:
    app = Server()

    @app.on_open
    @kind
    def opened(conn: Connection) -> None:
        request = conn.request
        assert (request.path, request.query["room"]) == ("/chat", "7")
        assert request.cookies == {"user": "Ann"}
        assert request.headers["host"] == "localhost"
        conn.data = request.cookies["user"]

    @app.on_message
    def said(conn: Connection, message: str) -> None:
        try:
            conn.send(conn.request.path)
        except RuntimeError as error:
            conn.send(f"{conn.data}: {error}")

    with (
        serve(app) as server,
        server.connect("/chat?room=7", headers={"Cookie": "user=Ann"}) as client,
    ):
        client.send("?")
        assert "Ann: the request was let go" in str(client.receive())
    kept = serve(app, keep_requests=True)
    with kept as server, server.connect("/chat?room=7", headers={"Cookie": "user=Ann"}) as client:
        client.send("?")
        assert client.receive() == "/chat"


def test_a_broadcast_reaches_the_open_connections() -> None:
    app = Server()
    app.on_message(lambda conn, message: conn.send(str(app.broadcast(app.connections, message))))
    with serve(app) as server:
        with server.connect() as one, server.connect() as two:
            one.send("hello")
            assert one.receive() == two.receive() == "hello"
            assert one.receive() == "2"
        with server.connect() as three:
            three.send("alone")
            assert three.receive() == "alone"
            assert three.receive() == "1"


def test_a_broadcast_to_one_connection_says_how_to_send() -> None:
    app = Server()

    @app.on_message
    def said(conn: Connection, message: str) -> None:
        try:
            app.broadcast(conn, message)  # type: ignore[arg-type]
        except TypeError as error:
            conn.send(str(error))

    with serve(app) as server, server.connect() as client:
        client.send("hello")
        told = "broadcast takes several connections: conn.send(message) is for one"
        assert client.receive() == told


# Room in the queue


def test_drain_waits_until_the_client_has_read_and_nothing_is_left_out() -> None:
    app = Server()
    chunk = b"x" * 60_000

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        for _ in range(int(message)):
            assert conn.send(chunk)
            await conn.drain()
            assert conn.pending <= 100

    with serve(app) as server, server.connect() as client:
        client.send("500")
        assert all(client.receive() == chunk for _ in range(500))


def test_drain_after_a_refused_message_waits_for_an_empty_queue() -> None:
    app = Server()
    big = b"x" * 150 * 65535

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        refused = 0
        for _ in range(3):
            while not conn.send(big):
                refused += 1
                await conn.drain()
        assert refused >= 2
        assert conn.dropped == refused

    with serve(app) as server, server.connect() as client:
        client.send("go")
        assert all(client.receive(30.0) == big for _ in range(3))


def test_drain_returns_when_the_connection_is_over() -> None:
    app, events = Server(), []

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        while conn.send(b"x" * 60_000):
            pass
        await conn.drain()
        events.append(conn.is_open)
        assert not conn.send("x")

    app.on_close(lambda conn, code, reason: events.append("closed"))
    with serve(app) as server, server.connect() as client:
        client.send("go")
        server.run(0.05)
        assert events == []
        client._client._writer.transport.abort()
        server.run(0.05)
        assert events == [False, "closed"]


def test_drain_needs_an_event_loop() -> None:
    ours = dorrit.engine.Engine(
        on_open=lambda conn, request: None,
        on_message=lambda *arguments: None,
        on_close=lambda *arguments: None,
    )
    import socket

    left, right = socket.socketpair()
    left.setblocking(False)
    conn = ours.adopt(left.detach())
    assert conn is not None
    with pytest.raises(RuntimeError, match="async handlers"):
        conn.drain()
    ours.close()
    right.close()


def test_the_time_that_a_handler_takes_is_no_idle_time(log: LogRecords) -> None:
    app = Server("idle", idle_timeout=0.25)

    @app.on_message
    async def said(conn: Connection, message: str) -> None:
        await asyncio.sleep(1)
        conn.send(message)

    with serve(app) as server, server.connect() as client:
        client.send("slowly")
        assert client.receive() == "slowly"
        with pytest.raises(Closed) as closed:
            client.receive()
    assert closed.value.code == 3008
