"""Connection as its user sees it: what it takes, what it refuses, what it says when it is over."""

import socket
import time

import pytest

from dorrit.engine import Connection, Engine, broadcast, queue_message
from dorrit.engine.limits import Limits
from dorrit.protocol.refusal import refusal
from tests.support.frames import BINARY, PING, REQUEST, TEXT, close_frame, frame
from tests.support.harness import Harness, LogRecords
from tests.support.narrow import NarrowHarness


class Text(str):
    """A str that is not only one."""

    __slots__ = ()


@pytest.fixture
def harness() -> Harness:
    return Harness(rfc=True)


def test_only_the_server_makes_connections() -> None:
    with pytest.raises(TypeError, match="connections are made by the server"):
        Connection()


@pytest.mark.parametrize(
    ("message", "opcode", "payload"),
    [
        ("t\u00e9xt", TEXT, "t\u00e9xt".encode()),
        (Text("more than text"), TEXT, b"more than text"),
        (b"bytes", BINARY, b"bytes"),
        (bytearray(b"array"), BINARY, b"array"),
        (memoryview(b"view"), BINARY, b"view"),
        ("", TEXT, b""),
        (b"", BINARY, b""),
    ],
)
def test_each_kind_of_message_is_sent_as_what_it_is(
    harness: Harness, message: object, opcode: int, payload: bytes
) -> None:
    with harness:
        client = harness.open()
        assert harness.connection(client).send(message)  # type: ignore[arg-type]
        harness.settle()
        assert [(f.opcode, f.payload) for f in client.frames] == [(opcode, payload)]


@pytest.mark.parametrize("message", [None, 5, ["list"]])
def test_anything_else_is_a_type_error(harness: Harness, message: object) -> None:
    with harness:
        conn = harness.connection(harness.open())
        with pytest.raises(TypeError, match="a message is str or bytes, not "):
            conn.send(message)  # type: ignore[arg-type]


def test_a_closed_one_has_no_peer_and_takes_nothing(harness: Harness) -> None:
    with harness:
        conn = harness.connection(harness.open())
        assert conn.peer is not None
        conn.abort()
        assert conn.peer is None
        assert conn.send("late") is False


def test_it_is_as_old_as_its_acceptance_is_long_ago(harness: Harness) -> None:
    ages: list[float] = []
    harness.open_callback = lambda conn, request: ages.append(conn.age)
    with harness:
        began = time.monotonic()
        conn = harness.connection(harness.open())
        accepted = time.monotonic()
        time.sleep(0.05)
        least = time.monotonic() - accepted
        age = conn.age
        # The engine counts hundredths of a second.
        assert least - 0.01 <= age <= time.monotonic() - began + 0.01
        assert ages == [0.0]


def test_a_reason_is_cut_between_characters(harness: Harness) -> None:
    with harness:
        client = harness.open()
        harness.connection(client).close(4000, "é" * 100)
        harness.settle()
        assert client.frames[-1].payload[2:].decode() == "é" * 61


def test_a_request_is_answered_once(harness: Harness) -> None:
    with harness:
        conn = harness.connection(harness.open())
        with pytest.raises(RuntimeError, match="has been answered already"):
            harness.engine.answer(conn, refusal(403, "too late"))


def test_who_is_over_has_room_for_whatever_is_sent(harness: Harness) -> None:
    with harness:
        conn = harness.connection(harness.open())
        assert harness.engine.has_room(conn)
        conn.abort()
        assert harness.engine.has_room(conn)


def test_room_is_counted_in_bytes_too_where_they_are_limited() -> None:
    with Harness(max_pending_bytes=1000) as harness:
        conn = harness.connection(harness.open())
        assert conn.send(bytes(400))
        assert harness.engine.has_room(conn)
        assert conn.send(bytes(400))
        assert not harness.engine.has_room(conn)


def test_what_was_read_when_reading_was_paused_comes_before_what_is_read_then() -> None:
    with Harness(ping_interval=3600) as harness:
        client = harness.open()
        conn = harness.connection(client)

        def pause(conn: Connection, binary: bool, payload: bytes) -> None:
            harness.engine.pause(conn)

        harness.message_callback = pause
        client.send(b"".join(frame(TEXT, b"%d" % n) for n in range(3)))
        harness.turn(3)
        assert len(harness.messages) == 1
        client.send(frame(PING, b"behind") + frame(TEXT, b"3"))
        harness.turn(3)
        for count in (2, 3, 4):
            harness.engine.resume(conn)
            harness.engine.pause(conn)  # in between: it is to be resumed once
            harness.engine.resume(conn)
            harness.until(lambda count=count: len(harness.messages) == count)  # type: ignore[misc]
        assert [payload for _, _, payload in harness.messages] == [b"0", b"1", b"2", b"3"]


def test_a_text_that_is_none_is_1007_where_texts_are_str() -> None:
    with Harness(text_as_str=True, idle_timeout=3600) as harness:
        client = harness.connect()
        client.send(REQUEST)
        harness.until(lambda: client.status is not None)
        client.send(frame(TEXT, b"\xff") + close_frame(1000))
        harness.settle()
        assert client.frames[-1].code == 1007


@pytest.mark.parametrize("cut", [1, 10, len(REQUEST) - 1])
def test_a_client_that_leaves_within_its_request_is_forgotten(harness: Harness, cut: int) -> None:
    with harness:
        client = harness.connect()
        client.send(REQUEST[:cut])
        harness.turn(2)
        client.close()
        harness.turn(2)
        assert harness.engine.connections == 0
        assert harness.opened == []


def test_a_callback_that_raises_in_the_read_of_the_request_does_not_eat_the_101(
    harness: Harness,
) -> None:
    def fail(conn: Connection, binary: bool, payload: bytes) -> None:
        raise ValueError("as it is")

    harness.message_callback = fail
    with harness:
        client = harness.connect()
        client.send(REQUEST + frame(TEXT, b"at once"))
        harness.until(lambda: client.frames)
        assert client.status == 101
        assert [f.code for f in client.frames] == [1011]


def test_a_socket_that_is_full_at_the_first_byte_is_written_later() -> None:
    with NarrowHarness() as harness:
        client = harness.open()
        conn = harness.connection(client)
        for number in range(10):
            assert conn.send(b"%d" % number * 3000)
            harness.turn()
        assert conn.pending > 0
        harness.until(lambda: len(client.frames) == 10)
        assert [f.payload for f in client.frames] == [b"%d" % n * 3000 for n in range(10)]


def test_more_tiny_messages_than_two_reads_bring_are_all_there_in_order(harness: Harness) -> None:
    count = 30_000
    with harness:
        client = harness.open()
        client.send(b"".join(frame(BINARY, b"%05d" % number) for number in range(count)))
        harness.until(lambda: len(harness.messages) == count)
        assert [int(payload) for _, _, payload in harness.messages] == list(range(count))


def test_texts_that_are_str_keep_an_idle_connection() -> None:
    heard: list[object] = []
    engine = Engine(
        on_open=lambda conn, request: None,
        on_message=lambda conn, message: heard.append(message),
        on_close=lambda conn, code, reason: heard.append(code),
        text_as_str=True,
        limits=Limits(idle_timeout=3600),
    )
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    engine.adopt(ours.detach())
    with theirs:
        theirs.sendall(REQUEST + frame(TEXT, "t\u00e9xt".encode()) + frame(BINARY, b"bytes"))
        engine.poll()
        assert heard == ["t\u00e9xt", b"bytes"]
    engine.close()


def test_a_client_that_has_gone_is_noticed_when_it_is_written_to(harness: Harness) -> None:
    with harness:
        client = harness.open()
        conn = harness.connection(client)
        harness.engine.pause(conn)  # so that nothing is read of its end
        client.close()
        assert conn.send("are you there?")
        harness.turn()
        assert (conn.is_open, conn.pending_bytes) == (False, 0)
        assert conn.send("are you there?") is False
        assert (queue_message(conn, True, b"x"), broadcast([conn], "x")) == (0, 0)
        assert (conn.pending, conn.dropped) == (0, 0)
        harness.engine.resume(conn)
        harness.turn()
        assert [(conn, code) for conn, code, _ in harness.closed] == [(conn, 1006)]


@pytest.mark.parametrize("messages", [40, 1000])
@pytest.mark.parametrize("pauses", [False, True])
def test_R6_what_a_client_sent_before_it_went_is_delivered_though_answers_fail(
    log: LogRecords, messages: int, pauses: bool
) -> None:
    with Harness() as harness:

        def acknowledge(conn: Connection, _binary: bool, payload: bytes) -> None:
            queue_message(conn, True, payload)
            if pauses:
                harness.engine.pause(conn)

        harness.message_callback = acknowledge
        client = harness.open()
        conn = harness.connection(client)
        sent = [b"%d" % number for number in range(messages)]
        client.send(b"".join(frame(TEXT, payload) for payload in sent) + close_frame(1000, "bye"))
        client.close()
        while not harness.closed:
            harness.engine.resume(conn)
            harness.turn()
        assert [payload for _, _, payload in harness.messages] == sent
        assert harness.closed == [(conn, 1000, "bye")]


@pytest.mark.parametrize("how", ["close", "fail", "abort", "shutdown"])
def test_a_client_that_has_gone_is_closed_as_any_other(log: LogRecords, how: str) -> None:
    with Harness(close_timeout=0.01, linger_timeout=0.01) as harness:
        client = harness.open()
        conn = harness.connection(client)
        harness.engine.pause(conn)
        client.close()
        conn.send("are you there?")
        harness.turn()
        if how == "close":
            conn.close(4000, "enough")
        elif how == "fail":
            harness.engine.fail(conn, 4000, "enough")
        elif how == "abort":
            conn.abort()
        else:
            harness.engine.shutdown(1, 4000, "enough")
        harness.until(lambda: harness.engine.connections == 0)
        expected = (conn, 1006, "") if how == "abort" else (conn, 4000, "enough")
        assert harness.closed == [expected]
