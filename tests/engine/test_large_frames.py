"""R17, R18: frames larger than the buffer, and buffers smaller than anything."""

import random

import pytest

from dorrit.engine import Connection, frames_alive
from tests.support.examples import examples
from tests.support.frames import BINARY, CONTINUATION, REQUEST, TEXT, Received, frame, parse
from tests.support.harness import Client, Harness, LogRecords
from tests.support.narrow import NarrowHarness

MEGABYTE = 1 << 20


def joined(frames: list[Received]) -> bytes:
    return b"".join(received.payload for received in frames)


def received_in_a_turn(harness: Harness, client: Client) -> bytes:
    """What one turn of the loop lets the client read."""
    harness.turn()
    return client.socket.recv(1 << 24)


@pytest.mark.parametrize("buffer_size", [10, 11, 100, 131, 4096, 65540])
@pytest.mark.parametrize("largest", [1 << 10, MEGABYTE, 16 * MEGABYTE])
def test_R18_no_write_is_larger_than_the_buffer_whatever_the_frames_are(
    buffer_size: int, largest: int
) -> None:
    with Harness(buffer_size=buffer_size, rfc=True, max_message=largest) as harness:
        client = harness.open()
        conn = harness.connection(client)
        payload = random.Random(1).randbytes(min(largest, 40 * buffer_size))
        sizes = [1, 3, len(payload) // 3, 0, len(payload) // 2, 2]
        for size in sizes:
            assert conn.send(payload[:size])
        total = conn.pending_bytes
        turns = 0
        came = b""
        while len(came) < total:
            data = received_in_a_turn(harness, client)
            assert 0 < len(data) <= buffer_size
            came += data
            turns += 1
        # At least half of the buffer is used in each, when there are whole frames or large ones.
        assert turns <= 2 * (total // buffer_size + len(sizes)) + 2
        frames, rest = parse(came)
        assert rest == b""
        assert joined(frames) == b"".join(payload[:size] for size in sizes)


@pytest.mark.parametrize("buffer_size", [50, 100, 128])
def test_R18_what_the_open_callback_sends_is_not_written_at_once_behind_a_large_response(
    buffer_size: int,
) -> None:
    """The response to the request is larger than the buffer, which counts as full then."""

    def welcome(conn: Connection, _: object) -> None:
        # A hundred frames each, of 2,000 bytes.
        assert conn.send(bytes(200_000))
        assert conn.send(bytes(200_000))

    with Harness(buffer_size=buffer_size, rfc=True, max_message=MEGABYTE) as harness:
        harness.open_callback = welcome
        client = harness.connect()
        client.send(REQUEST)
        harness.turn()
        client.receive()
        assert client.status == 101
        assert client.body == b""
        harness.until(lambda: len(client.frames) >= 9)
        assert {received.payload for received in client.frames} == {bytes(2000)}


@pytest.mark.parametrize("buffer_size", [10, 65540])
def test_the_largest_message_that_is_accepted_can_be_sent_back(buffer_size: int) -> None:
    largest = examples(16 * MEGABYTE) if buffer_size > 10 else 20_000
    with Harness(buffer_size=buffer_size, rfc=True, max_message=largest) as harness:
        harness.message_callback = lambda conn, binary, payload: conn.send(payload)
        client = harness.open()
        payload = random.Random(2).randbytes(largest)
        if largest < 65536:
            client.send(frame(BINARY, payload))
        else:
            client.send(b"\x82\xff" + largest.to_bytes(8, "big") + bytes(4) + payload)
        harness.until(lambda: client.frames and client.frames[-1].fin)
        assert joined(client.frames) == payload
        assert [f.opcode for f in client.frames[:2]] == [BINARY, CONTINUATION]
        assert len(client.frames) <= 100, "half of a queue at most"
        assert frames_alive() == 0


def test_large_frames_of_several_clients_take_turns_and_are_whole(log: LogRecords) -> None:
    with NarrowHarness(rfc=True, max_message=16 * MEGABYTE, buffer_size=1000) as harness:
        clients = [harness.open() for _ in range(3)]
        payload = random.Random(3).randbytes(400_000)
        for client in clients:
            assert harness.connection(client).send(payload)
            assert harness.connection(client).send("behind it")
        harness.until(lambda: all(c.frames and c.frames[-1].opcode == TEXT for c in clients))
        for client in clients:
            assert joined(client.frames) == payload + b"behind it"


def test_pongs_and_close_frames_go_behind_a_large_frame_that_has_been_begun() -> None:
    with NarrowHarness(rfc=True, max_message=16 * MEGABYTE, buffer_size=1000) as harness:
        client = harness.open()
        conn = harness.connection(client)
        payload = random.Random(4).randbytes(160_000)
        conn.send(payload)
        conn.send("second")
        harness.turn(3)
        assert 0 < conn.pending_bytes < 160_030
        client.send(frame(9, b"ping"))
        harness.turn(3)
        conn.close(1000)
        harness.until(lambda: client.frames[-1:] and client.frames[-1].opcode == 8)
        assert max(len(f.payload) for f in client.frames) == 1600
        pong = next(i for i, f in enumerate(client.frames) if f.opcode == 10)
        assert client.frames.pop(pong).payload == b"ping"
        assert 0 < pong < 20, "behind the frame that had been begun, and not behind all of them"
        *first, second, close = client.frames
        assert joined(first) == payload
        assert (second.opcode, second.payload) == (TEXT, b"second")
        assert (close.opcode, close.payload) == (8, b"\x03\xe8")
