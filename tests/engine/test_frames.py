"""R6, R10: messages come whole and in order, however they are cut, in bounded memory."""

import gc
import random
import tracemalloc
from collections.abc import Iterator

import pytest

from tests.support.examples import pieces
from tests.support.frames import BINARY, REQUEST, TEXT, close_frame, frame, in_pieces
from tests.support.harness import Harness

LARGEST = 65535
SMALL_CHANGE = 2048
"""Bytes for what a test itself holds meanwhile; far less than the buffers in question."""


def payloads_of(harness: Harness) -> list[bytes]:
    return [payload for _, _, payload in harness.messages]


def test_R6_each_message_is_one_callback_in_order_with_its_type(harness: Harness) -> None:
    client = harness.open()
    sent = [(index % 3 == 0, b"%d " % index * (index % 50)) for index in range(500)]
    client.send(b"".join(frame(BINARY if binary else TEXT, data) for binary, data in sent))
    harness.until(lambda: len(harness.messages) == len(sent))
    conn = harness.opened[0][0]
    assert harness.messages == [(conn, binary, data) for binary, data in sent]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 7, 8, 15, 31, 125, 126, 127, 65534, LARGEST])
def test_R6_the_payload_is_whole_and_unmasked_at_each_length(harness: Harness, length: int) -> None:
    payload = random.Random(length).randbytes(length)
    client = harness.open()
    for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x20\x03\x40"):
        client.send(frame(BINARY, payload, mask=mask))
    harness.until(lambda: len(harness.messages) == 3)
    assert payloads_of(harness) == [payload] * 3


def test_R6_messages_of_several_connections_go_to_their_own(harness: Harness) -> None:
    clients = [harness.open() for _ in range(20)]
    for number in range(10):
        for index, client in enumerate(clients):
            client.send(frame(TEXT, b"%d %d" % (index, number))[: 4 + number])
            harness.turn(number % 2)
            client.send(frame(TEXT, b"%d %d" % (index, number))[4 + number :])
    harness.until(lambda: len(harness.messages) == 200)
    for index, (conn, _) in enumerate(harness.opened):
        own = [payload for other, _, payload in harness.messages if other is conn]
        assert own == [b"%d %d" % (index, number) for number in range(10)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 13, 14, 15, 64, 511, 512, 513, 4096])
def test_R6_pieces_of_any_size_make_the_same_messages(harness: Harness, size: int) -> None:
    sent = [
        bytes([65 + index]) * length for index, length in enumerate((0, 3, 125, 126, 700, 5000))
    ]
    client = harness.open()
    client.send_pieces(in_pieces(b"".join(frame(TEXT, payload) for payload in sent), size))
    harness.settle()
    assert payloads_of(harness) == sent


def test_R6_two_pieces_cut_anywhere_make_the_same_messages(harness: Harness) -> None:
    sent = [b"a", b"b" * 130, b""]
    stream = b"".join(frame(BINARY, payload) for payload in sent)
    client = harness.open()
    for cut in range(1, len(stream)):
        harness.messages.clear()
        client.send_pieces([stream[:cut], stream[cut:]])
        assert payloads_of(harness) == sent


def test_R2_frames_in_the_same_read_as_the_request_are_messages(harness: Harness) -> None:
    client = harness.connect()
    client.send(REQUEST + frame(TEXT, b"one") + frame(BINARY, b"t" * 5000) + close_frame(1000))
    harness.until(lambda: client.ended)
    assert client.status == 101
    assert payloads_of(harness) == [b"one", b"t" * 5000]
    assert [code for _, code, _ in harness.closed] == [1000]


def test_R2_a_request_and_its_frames_may_be_cut_anywhere(harness: Harness) -> None:
    stream = REQUEST + frame(TEXT, b"one") + frame(BINARY, b"two")
    for cut in range(1, len(stream)):
        client = harness.connect()
        client.send_pieces([stream[:cut], stream[cut:]])
        client.receive()
        assert client.status == 101
        assert payloads_of(harness) == [b"one", b"two"]
        harness.messages.clear()
        client.close()


def test_R2_a_request_and_its_frames_may_come_byte_by_byte(harness: Harness) -> None:
    client = harness.connect()
    client.send_pieces(in_pieces(REQUEST + frame(TEXT, b"one") + frame(BINARY, b"two")))
    harness.settle()
    assert client.status == 101
    assert payloads_of(harness) == [b"one", b"two"]


def test_R10_data_may_be_kept(harness: Harness) -> None:
    source = random.Random(10)
    sent = [source.randbytes(source.choice((1, 16, 100, 3000, LARGEST))) for _ in range(60)]
    client = harness.open()
    for payload in sent:
        client.send(frame(BINARY, payload))
    harness.until(lambda: len(harness.messages) == len(sent))
    client.send(frame(BINARY, bytes(LARGEST)) * 3)
    harness.until(lambda: len(harness.messages) == len(sent) + 3)
    assert payloads_of(harness)[: len(sent)] == sent
    assert {type(payload) for payload in payloads_of(harness)} == {bytes}
    assert {type(binary) for _, binary, _ in harness.messages} == {bool}


# Memory


@pytest.fixture
def traced() -> Iterator[None]:
    """Counts what is allocated from here on; the engine's buffers are counted as well."""
    gc.collect()
    tracemalloc.start()
    yield
    tracemalloc.stop()


def held() -> int:
    """Bytes allocated since the count began and not freed."""
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_trap_a_frame_in_tiny_pieces_holds_at_most_twice_what_has_come(
    harness: Harness, size: int, traced: None
) -> None:
    client = harness.open()
    *parts, last = in_pieces(frame(BINARY, b"x" * LARGEST), pieces(size))
    harness.turn()
    before = held()
    came = 0
    for index, piece in enumerate(parts):
        client.socket.send(piece)
        harness.turn()
        came += len(piece)
        if index % 64 == 0 or came > 65000:
            used = held() - before
            assert used <= 2 * came + SMALL_CHANGE
            assert used >= came - SMALL_CHANGE, "the buffer itself is counted"
    client.socket.send(last)
    harness.turn()
    assert payloads_of(harness) == [b"x" * LARGEST]
    harness.messages.clear()
    assert held() - before <= SMALL_CHANGE


def test_trap_a_header_that_promises_much_allocates_little(harness: Harness, traced: None) -> None:
    client = harness.open()
    harness.turn()
    before = held()
    for piece in in_pieces(frame(BINARY, b"x" * LARGEST)[:9]):
        client.socket.send(piece)
        harness.turn()
        assert held() - before <= 1024
    assert harness.closed == []


def test_trap_a_head_in_tiny_pieces_holds_at_most_twice_what_has_come(
    harness: Harness, traced: None
) -> None:
    line = b"Cookie: " + b"c" * 20000 + b"\r\n"
    head = REQUEST.replace(b"\r\n\r\n", b"\r\n" + line * 3 + b"\r\n")
    *parts, last = in_pieces(head, pieces(1))
    client = harness.connect()
    harness.turn()
    before = held()
    came = 0
    for index, piece in enumerate(parts):
        client.socket.send(piece)
        harness.turn()
        came += len(piece)
        if index % 64 == 0:
            used = held() - before
            assert used <= 2 * came + SMALL_CHANGE
            assert used >= came - SMALL_CHANGE, "the buffer itself is counted"
    client.socket.send(last)
    harness.turn()
    assert len(harness.opened) == 1
    client.receive()
    assert client.status == 101


def test_trap_what_was_held_of_a_frame_is_freed_when_the_client_goes(
    harness: Harness, traced: None
) -> None:
    client = harness.open()
    harness.turn()
    before = held()
    client.socket.send(frame(BINARY, b"x" * LARGEST)[:60000])
    harness.turn()
    assert held() - before >= 60000
    client.close()
    harness.until(lambda: harness.closed)
    assert held() - before <= SMALL_CHANGE
