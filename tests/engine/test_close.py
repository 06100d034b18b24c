"""R5, R11, R21: how connections end, and that the close callback runs once whatever the end is."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from dorrit.engine import Connection, queue_message
from tests.support.frames import (
    BINARY,
    CLOSE,
    PING,
    REQUEST,
    TEXT,
    Received,
    close_frame,
    frame,
    in_pieces,
)
from tests.support.harness import Client, Harness, LogRecords

BAD = frame(TEXT, b"\xff")
"""A frame that a client is dropped for, with 1007."""

CLOSE_BYTES = frame(CLOSE, mask=bytes(4))
"""A close frame as it stands in a payload, where it is none."""


def closes_of(client: Client) -> list[bytes]:
    return [received.payload for received in client.frames if received.opcode == CLOSE]


# The client closes.


@pytest.mark.parametrize(
    ("sent", "answer", "end"),
    [
        (b"", b"", (1005, "")),
        (b"\x03\xe8", b"\x03\xe8", (1000, "")),
        (b"\x03\xe9going", b"\x03\xe9", (1001, "going")),
        (b"\x03\xf6" + "zażółć".encode(), b"\x03\xf6", (1014, "zażółć")),
        (b"\x0b\xb8", b"\x0b\xb8", (3000, "")),
        (b"\x13\x87" + b"r" * 123, b"\x13\x87", (4999, "r" * 123)),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_R5_a_close_frame_is_answered_and_the_connection_closed(
    harness: Harness, size: int, sent: bytes, answer: bytes, end: tuple[int, str]
) -> None:
    client = harness.open()
    client.send_pieces(in_pieces(frame(CLOSE, sent), size))
    harness.until(lambda: client.ended)
    assert client.frames == [Received(CLOSE, answer)]
    assert not client.reset
    conn = harness.opened[0][0]
    assert harness.closed == [(conn, *end)]
    assert not conn.is_open
    # RFC 6455 section 7.1.1: the server closes the socket first.
    assert harness.engine.connections == 0


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
)
def test_R5_each_close_code_that_may_be_sent_is_accepted(harness: Harness, code: int) -> None:
    client = harness.open()
    client.send(close_frame(code))
    harness.until(lambda: client.ended)
    assert closes_of(client) == [struct.pack("!H", code)]
    assert [(code, reason) for _, code, reason in harness.closed] == [(code, "")]


@pytest.mark.parametrize(
    "behind",
    [frame(TEXT, b"late"), BAD, frame(PING, b"p"), close_frame(4000), b"\x82", b"\xff" * 90000],
)
@pytest.mark.parametrize("together", [True, False])
def test_R5_what_follows_a_close_frame_is_discarded(
    harness: Harness, behind: bytes, together: bool
) -> None:
    client = harness.open()
    if together:
        client.send(close_frame(1000) + behind)
    else:
        client.send_pieces([close_frame(1000), behind])
    harness.until(lambda: client.ended)
    assert closes_of(client) == [b"\x03\xe8"]
    assert len(client.frames) == 1
    assert not client.reset
    assert harness.messages == []
    assert [(code, reason) for _, code, reason in harness.closed] == [(1000, "")]
    client.close()
    harness.until(lambda: harness.engine.connections == 0)
    assert len(harness.closed) == 1


def test_R5_what_was_queued_goes_out_before_the_answer_to_a_close_frame(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    for number in range(150):
        queue_message(conn, True, bytes([number]) * 60000)
    client.send(close_frame(1000))
    harness.turn(5)
    assert harness.closed == []
    harness.until(lambda: client.ended)
    assert client.frames == [
        *(Received(BINARY, bytes([number]) * 60000) for number in range(150)),
        Received(CLOSE, b"\x03\xe8"),
    ]
    assert [(code, reason) for _, code, reason in harness.closed] == [(1000, "")]


# The server closes.


def test_R21_the_queue_goes_out_first_then_the_close_frame(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    queue_message(conn, False, "one")
    queue_message(conn, False, "two")
    conn.close(4000, "bye")
    assert not conn.is_open
    queue_message(conn, False, "three")
    harness.until(lambda: closes_of(client))
    assert [received.payload for received in client.frames] == [b"one", b"two", b"\x0f\xa0bye"]
    assert harness.closed == []
    client.send(close_frame(4000))
    harness.until(lambda: client.ended)
    assert len(client.frames) == 3
    assert harness.closed == [(conn, 4000, "")]
    assert harness.engine.connections == 0


def test_R21_nothing_more_is_read_from_a_client_that_is_being_closed(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    conn.close()
    client.send(frame(TEXT, b"one") + frame(PING, b"p") + frame(BINARY, b"x" * 60000))
    client.send_pieces(in_pieces(frame(TEXT, b"two")))
    harness.settle()
    assert harness.messages == []
    client.send(close_frame(1000))
    harness.until(lambda: client.ended)
    assert [received.opcode for received in client.frames] == [CLOSE]
    assert len(harness.closed) == 1


def test_R21_a_close_inside_the_read_callback_stops_the_messages_of_the_same_read(
    harness: Harness,
) -> None:
    harness.message_callback = lambda conn, _binary, _data: conn.close(1008, "enough")
    client = harness.open()
    client.send(frame(TEXT, b"one") + frame(TEXT, b"two"))
    harness.until(lambda: client.frames)
    client.send(close_frame(1008))
    harness.until(lambda: client.ended)
    assert [payload for _, _, payload in harness.messages] == [b"one"]
    assert closes_of(client) == [b"\x03\xf0enough"]


def test_R21_an_abort_inside_the_read_callback_stops_at_once(harness: Harness) -> None:
    harness.message_callback = lambda conn, _binary, _data: conn.abort()
    client = harness.open()
    client.send(frame(TEXT, b"one") + frame(TEXT, b"two"))
    harness.until(lambda: client.ended)
    assert [payload for _, _, payload in harness.messages] == [b"one"]
    assert client.frames == []
    assert harness.closed == [(harness.opened[0][0], 1006, "")]
    assert harness.engine.connections == 0


def test_R21_close_frames_that_cross_are_one_each(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    conn.close(1001)
    client.send(close_frame(1000, "mine"))
    harness.until(lambda: client.ended)
    assert closes_of(client) == [b"\x03\xe9"]
    assert harness.closed == [(conn, 1000, "mine")]


@pytest.mark.parametrize(
    "bad", [BAD, frame(TEXT, b"x", fin=False), frame(CLOSE, b"\x03"), b"\x01\x01"]
)
def test_R21_a_bad_frame_after_our_close_frame_is_not_answered_with_another(
    harness: Harness, bad: bytes
) -> None:
    client = harness.open()
    conn = harness.connection(client)
    conn.close(1001)
    harness.until(lambda: client.frames)
    client.send(bad + frame(TEXT, b"more") * 1000)
    client.send(close_frame(1001))
    harness.settle()
    client.close()
    harness.until(lambda: harness.engine.connections == 0)
    assert closes_of(client) == [b"\x03\xe9"]
    assert len(client.frames) == 1
    assert harness.messages == []
    assert len(harness.closed) == 1


def test_R21_a_bad_frame_while_our_close_frame_is_half_written_does_not_cut_it(
    harness: Harness,
) -> None:
    client = harness.open()
    conn = harness.connection(client)
    for _ in range(8):
        queue_message(conn, True, b"x" * 65535)
    conn.close(1001)
    harness.turn(10)
    assert conn.pending > 0
    client.send(frame(CLOSE, b"\x03"))
    harness.turn(3)
    harness.until(lambda: client.ended)
    assert client.body == b"", "no frame is cut off"
    assert len(closes_of(client)) == 1
    assert len(harness.closed) == 1


def test_R21_a_client_that_never_answers_a_close_frame_is_cut_off() -> None:
    with Harness(close_timeout=0.01) as harness:
        client = harness.open()
        conn = harness.connection(client)
        conn.close(1001, "time")
        harness.until(lambda: client.ended)
        assert client.frames == [Received(CLOSE, b"\x03\xe9time")]
        harness.until(lambda: harness.closed)
        assert harness.closed == [(conn, 1001, "time")]
        assert harness.engine.connections == 0


def test_R21_a_client_that_does_not_read_is_cut_off_while_it_is_being_closed() -> None:
    with Harness(close_timeout=0.01) as harness:
        client = harness.open()
        conn = harness.connection(client)
        while not conn.dropped:
            queue_message(conn, True, b"x" * 65535)
        conn.close()
        reader = harness.open()
        harness.until(lambda: harness.closed, reader)
        assert [closed for closed, _, _ in harness.closed] == [conn]
        assert harness.engine.connections == 1


# Somebody is gone, or won't go.


@pytest.mark.parametrize(
    "left", [b"", b"\x81", b"\x81\xfe\x01", frame(TEXT, b"x" * 500)[:-1], frame(TEXT, b"whole")]
)
def test_R11_a_client_that_vanishes_ends_with_1006(harness: Harness, left: bytes) -> None:
    client = harness.open()
    client.send(left)
    client.close()
    harness.until(lambda: harness.closed)
    harness.settle()
    assert harness.closed == [(harness.opened[0][0], 1006, "")]
    assert harness.engine.connections == 0


def test_R11_a_client_that_vanishes_in_its_handshake_has_no_close_callback(
    harness: Harness,
) -> None:
    client = harness.connect()
    client.send(b"GET / HT")
    harness.turn()
    client.close()
    harness.until(lambda: harness.engine.connections == 0)
    assert harness.closed == []


def test_trap_a_dropped_client_that_keeps_sending_still_reads_why(log: LogRecords) -> None:
    more = frame(BINARY, b"x" * 65535)
    with Harness(linger_timeout=3600) as harness:
        client = harness.open()
        client.says_goodbye = False
        client.send(BAD)
        for _ in range(20):
            assert client.send_pieces([more]), "the server waits for the client"
            client.receive()
            assert not client.ended, "the server's end would have a web server cut the client off"
        assert [received.code for received in client.frames] == [1007]
        client.send(close_frame(1000))
        harness.until(lambda: client.ended)
        assert not client.reset
        assert [code for _, code, _ in harness.closed] == [1007]
        assert harness.messages == []


@pytest.mark.parametrize("fin", [True, False], ids=["too large", "fragments"])
def test_R5_a_dropped_client_can_finish_its_message_and_say_goodbye(
    harness: Harness, fin: bool
) -> None:
    """Whatever its size, and nothing of it is kept."""
    client = harness.open()
    message = frame(BINARY, bytes(3_000_000), fin=fin)
    client.send(message[:100_000])
    harness.settle()
    assert [received.code for received in client.frames] == [1009]
    assert [code for _, code, _ in harness.closed] == [1009]
    assert not client.ended
    client.says_goodbye = False
    client.send(message[100_000:] + frame(PING) + close_frame(1009))
    harness.until(lambda: client.ended)
    assert not client.reset
    assert harness.engine.connections == 0


def test_R5_the_close_frame_of_a_dropped_client_is_found_however_it_is_cut(
    harness: Harness,
) -> None:
    behind = frame(BINARY, CLOSE_BYTES * 30) + frame(TEXT, fin=False) + frame(PING) + frame(TEXT)
    stream = behind + close_frame(1000)
    for start in (BAD, frame(TEXT, b"x" * 65536)[:-3], frame(BINARY, b"x", fin=False)):
        whole = frame(TEXT, b"x" * 65536)[-3:] if len(start) > 100 else b""
        for size in range(1, len(stream) + 4):
            client = harness.open()
            client.says_goodbye = False
            *pieces, last = in_pieces(whole + stream, size)
            assert client.send_pieces([start, *pieces])
            client.receive()
            assert not client.ended, "the close frame has not come yet"
            client.send_pieces([last])
            client.receive()
            assert client.ended
            assert not client.reset
            assert [received.opcode for received in client.frames] == [CLOSE]
            client.close()
        assert harness.engine.connections == 0
    assert harness.messages == []


@pytest.mark.parametrize(
    "last", [BAD, close_frame(1000) + b"unread"], ids=["dropped", "closed by itself"]
)
def test_trap_a_client_that_goes_on_sending_for_ever_is_cut_off(last: bytes) -> None:
    with Harness(linger_timeout=0.01) as harness:
        client = harness.open()
        client.send(last)
        harness.turn()
        while client.send_pieces([b"x" * 1000]):
            pass
        assert harness.engine.connections == 0
        assert len(harness.closed) == 1
        # It has what it was told, whatever became of its own data.
        client.receive()
        assert len(closes_of(client)) == 1


def test_trap_a_dropped_client_that_does_nothing_is_cut_off() -> None:
    with Harness(linger_timeout=0.01) as harness:
        client = harness.open()
        client.send(BAD)
        harness.until(lambda: harness.engine.connections == 0)
        assert closes_of(client)
        assert not client.reset
        assert len(harness.closed) == 1


def vanish(client: Client, _conn: Connection) -> None:
    client.close()


def be_dropped(client: Client, _conn: Connection) -> None:
    client.send(BAD * 3)


def close(client: Client, _conn: Connection) -> None:
    client.send(close_frame(1000) * 3)


def be_closed(client: Client, conn: Connection) -> None:
    conn.close()
    conn.close(1001)
    client.send(close_frame(1000))


def be_aborted(_client: Client, conn: Connection) -> None:
    conn.abort()
    conn.abort()


def be_closed_and_aborted(_client: Client, conn: Connection) -> None:
    conn.close()
    conn.abort()
    conn.close()


def drop_and_abort(client: Client, conn: Connection) -> None:
    client.send(BAD)
    client.harness.turn()
    conn.abort()
    conn.close()


@pytest.mark.parametrize(
    "end",
    [vanish, be_dropped, close, be_closed, be_aborted, be_closed_and_aborted, drop_and_abort],
)
def test_R11_the_close_callback_runs_once_whatever_the_end(
    harness: Harness, end: Callable[[Client, Connection], None]
) -> None:
    during: list[bool] = []
    harness.close_callback = lambda conn, _code, _reason: during.append(conn.is_open)
    client = harness.open()
    conn = harness.connection(client)
    queue_message(conn, True, b"queued" * 1000)
    end(client, conn)
    harness.settle()
    client.close()
    harness.until(lambda: harness.engine.connections == 0)
    conn.close()
    conn.abort()
    harness.settle()
    assert [closed for closed, _, _ in harness.closed] == [conn]
    assert during == [False]
    assert conn.pending == conn.pending_bytes == 0


@pytest.mark.parametrize("end", [Connection.close, Connection.abort])
def test_R11_a_connection_that_ends_in_its_open_callback_has_its_close_callback_once(
    harness: Harness, end: Callable[[Connection], None]
) -> None:
    harness.open_callback = lambda conn, _request: end(conn)
    client = harness.connect()
    client.send(REQUEST + frame(TEXT, b"m"))
    harness.settle()
    client.close()
    harness.until(lambda: harness.engine.connections == 0)
    assert [conn for conn, _, _ in harness.closed] == [harness.opened[0][0]]
    assert harness.messages == []


def test_a_handler_that_begins_late_may_fail_the_connection_before_its_close_frame_is_taken(
    log: LogRecords,
) -> None:
    """What is `async` begins when a read is over; here the close frame comes in the same one."""
    with Harness(text_as_str=True) as harness:

        def begin(conn: Connection, first: str | bytes, others: list[str | bytes]) -> None:
            assert (first, others) == ("one", [])
            harness.engine.fail(conn, 1011, "")

        def nothing(*_: object) -> None:
            pytest.fail("nobody asks for room")

        harness.engine.join_loop(nothing, nothing, begin)  # type: ignore[arg-type]
        client = harness.open()
        client.send(frame(TEXT, b"one") + close_frame(1000))
        harness.until(lambda: harness.closed)
        assert [code for _, code, _ in harness.closed] == [1011]
        harness.until(lambda: client.frames)
        assert [got.code for got in client.frames] == [1011]


@pytest.mark.parametrize("code", [1001.0, "1001", None])
def test_a_close_code_is_an_int(harness: Harness, code: Any) -> None:
    client = harness.open()
    conn = harness.connection(client)
    with pytest.raises(TypeError, match=f"^a close code is an int, not {type(code).__name__}$"):
        conn.close(code)
    assert conn.is_open
