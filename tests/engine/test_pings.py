"""R4: pings are answered with pongs that carry the same payload; pongs are ignored."""

import pytest

from dorrit.engine import Connection, queue_message
from dorrit.protocol.handshake import Request
from tests.support.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    REQUEST,
    TEXT,
    Received,
    close_frame,
    frame,
)
from tests.support.harness import Client, Harness


def pongs_of(client: Client) -> list[bytes]:
    return [received.payload for received in client.frames if received.opcode == PONG]


@pytest.mark.parametrize("payload", [b"", b"p", b"\x00\xff\xfe", bytes(range(125))])
def test_R4_a_ping_is_answered_with_its_own_payload(harness: Harness, payload: bytes) -> None:
    client = harness.open()
    client.send(frame(PING, payload))
    harness.until(lambda: client.frames)
    assert client.frames == [Received(PONG, payload)]
    assert harness.messages == []


def test_R4_each_ping_is_answered_in_order(harness: Harness) -> None:
    client = harness.open()
    for number in range(100):
        client.send(frame(PING, b"%d" % number))
        harness.turn()
    harness.until(lambda: len(client.frames) == 100)
    assert client.frames == [Received(PONG, b"%d" % number) for number in range(100)]


def test_R4_a_ping_between_messages_is_answered_and_disturbs_nothing(harness: Harness) -> None:
    client = harness.open()
    client.send(frame(TEXT, b"one") + frame(PING, b"now") + frame(TEXT, b"two"))
    harness.until(lambda: client.frames)
    assert client.frames == [Received(PONG, b"now")]
    assert [payload for _, _, payload in harness.messages] == [b"one", b"two"]


@pytest.mark.parametrize("received", [1, 3, 8, 100, 1000, 60000])
def test_R4_a_ping_before_half_a_message_is_answered_at_once(
    harness: Harness, received: int
) -> None:
    message = frame(BINARY, b"m" * 65535)
    client = harness.open()
    client.send(frame(PING, b"now") + message[:received])
    harness.until(lambda: client.frames)
    assert client.frames == [Received(PONG, b"now")]
    assert harness.messages == []
    client.send(message[received:] + frame(PING, b"then"))
    harness.until(lambda: len(client.frames) == 2)
    assert client.frames[1] == Received(PONG, b"then")
    assert len(harness.messages) == 1


def test_R4_a_ping_byte_by_byte_is_answered_once(harness: Harness) -> None:
    client = harness.open()
    client.send_pieces(bytes([byte]) for byte in frame(PING, b"slowly"))
    harness.settle()
    assert client.frames == [Received(PONG, b"slowly")]


def test_R4_a_ping_in_the_same_read_as_the_request_is_answered_behind_the_101(
    harness: Harness,
) -> None:
    def welcome(conn: Connection, _request: Request) -> None:
        queue_message(conn, False, "welcome")

    harness.open_callback = welcome
    client = harness.connect()
    client.send(REQUEST + b"".join(frame(PING, b"%d" % number) for number in range(3)))
    harness.until(lambda: len(client.frames) == 4)
    assert client.status == 101
    pongs = [Received(PONG, b"%d" % number) for number in range(3)]
    assert client.frames == [*pongs, Received(TEXT, b"welcome")]


def test_R4_a_pong_goes_before_messages_that_wait(harness: Harness) -> None:
    def answer(conn: Connection, _binary: bool, data: bytes) -> None:
        for number in range(5):
            queue_message(conn, True, data + b"%d" % number)

    harness.message_callback = answer
    client = harness.open()
    client.send(frame(TEXT, b"m") + frame(PING, b"a") + frame(TEXT, b"n") + frame(PING, b"b"))
    harness.until(lambda: len(client.frames) == 12)
    assert [received.payload for received in client.frames] == [
        *(b"a", b"b"),
        *(b"m%d" % number for number in range(5)),
        *(b"n%d" % number for number in range(5)),
    ]


def fill(harness: Harness, conn: Connection, payload: bytes) -> None:
    """Queue messages until the kernel takes no more and 200 frames wait."""
    while not conn.dropped:
        while not conn.dropped:
            queue_message(conn, True, payload)
        pending = conn.pending_bytes
        harness.turn(3)
        if conn.pending_bytes == pending:
            assert conn.pending == 200
            return
        while conn.pending < 200:
            queue_message(conn, True, payload)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 40, 2000])
def test_R4_pongs_are_not_lost_when_200_frames_wait(harness: Harness, count: int) -> None:
    client = harness.open()
    conn = harness.connection(client)
    fill(harness, conn, b"d" * 65535)
    waiting = conn.pending_bytes
    client.send(b"".join(frame(PING, b"%d" % number) for number in range(count)))
    harness.turn(12)  # 256 frames in each
    assert conn.pending == 200
    assert conn.pending_bytes <= waiting + 16 * 127, "a flood of pings makes no queue of pongs"
    harness.until(lambda: conn.pending == 0)
    harness.settle()
    # Each of the first 16 in order; from then on the newest takes the last one's place.
    answered = [*range(min(count, 16))]
    answered[-1] = count - 1
    assert pongs_of(client) == [b"%d" % number for number in answered]
    data = [received for received in client.frames if received.opcode != PONG]
    assert {(received.opcode, received.payload) for received in data} == {(BINARY, b"d" * 65535)}
    first = [received.opcode for received in client.frames].index(PONG)
    opcodes = [received.opcode for received in client.frames[first:]]
    assert opcodes == [PONG] * len(answered) + [BINARY] * (len(opcodes) - len(answered))
    assert len(opcodes) >= 190, "the pongs did not wait for the 200"
    assert conn.is_open


def test_R4_after_a_flood_of_pings_each_one_is_answered_again(harness: Harness) -> None:
    client = harness.open()
    client.send(b"".join(frame(PING, b"%d" % number) for number in range(50)))
    harness.settle()
    client.frames.clear()
    client.send(b"".join(frame(PING, b"%d" % number) for number in range(16)))
    harness.until(lambda: len(client.frames) == 16)
    assert pongs_of(client) == [b"%d" % number for number in range(16)]


def test_R4_pongs_are_ignored(harness: Harness) -> None:
    client = harness.open()
    client.send(frame(PONG) + frame(PONG, b"p" * 125) + frame(PONG, b"\xff") + frame(TEXT, b"m"))
    harness.until(lambda: harness.messages)
    harness.settle()
    assert client.frames == []
    assert harness.closed == []
    assert [payload for _, _, payload in harness.messages] == [b"m"]


def test_R4_a_ping_before_a_close_frame_is_answered_first(harness: Harness) -> None:
    client = harness.open()
    client.send(frame(PING, b"last") + close_frame(1000))
    harness.until(lambda: client.ended)
    assert [(received.opcode, received.payload) for received in client.frames] == [
        (PONG, b"last"),
        (CLOSE, b"\x03\xe8"),
    ]


def test_R4_no_pong_follows_a_close_frame(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    conn.close()
    client.send(frame(PING, b"late"))
    harness.until(lambda: client.frames)
    client.send(frame(PING, b"later"))
    harness.settle()
    assert [received.opcode for received in client.frames] == [CLOSE]
