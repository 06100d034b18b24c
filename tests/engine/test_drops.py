"""R5: what gets a client dropped, and how it hears of it."""

import socket
import struct

import pytest

from dorrit.engine import queue_message
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    REQUEST,
    TEXT,
    close_frame,
    frame,
    in_pieces,
)
from tests.support.harness import Client, Harness, LogRecords

MASK = b"\x01\x02\x03\x04"
PROTOCOL_ERROR, UNSUPPORTED_DATA, INVALID_PAYLOAD, TOO_BIG = 1002, 1003, 1007, 1009


def close_of(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


BAD: dict[str, tuple[int, bytes]] = {
    "unmasked with a payload": (PROTOCOL_ERROR, frame(TEXT, b"hello", mask=None)),
    "unmasked and empty": (PROTOCOL_ERROR, frame(BINARY, b"", mask=None)),
    "unmasked ping": (PROTOCOL_ERROR, frame(PING, b"hello", mask=None)),
    "unmasked close": (PROTOCOL_ERROR, frame(CLOSE, b"\x03\xe8", mask=None)),
    "first fragment of a text": (UNSUPPORTED_DATA, frame(TEXT, b"hel", fin=False)),
    "first fragment of a binary": (UNSUPPORTED_DATA, frame(BINARY, b"hel", fin=False)),
    "empty first fragment": (UNSUPPORTED_DATA, frame(TEXT, b"", fin=False)),
    "continuation": (PROTOCOL_ERROR, frame(CONTINUATION, b"lo")),
    "continuation, FIN clear": (PROTOCOL_ERROR, frame(CONTINUATION, b"lo", fin=False)),
    "RSV1": (PROTOCOL_ERROR, frame(TEXT, b"hello", reserved=0b100)),
    "RSV2": (PROTOCOL_ERROR, frame(TEXT, b"hello", reserved=0b010)),
    "RSV3": (PROTOCOL_ERROR, frame(BINARY, b"", reserved=0b001)),
    "RSV1 of a ping": (PROTOCOL_ERROR, frame(PING, b"", reserved=0b100)),
    "RSV3 of a close": (PROTOCOL_ERROR, frame(CLOSE, b"", reserved=0b001)),
    "payload of 65,536 bytes": (TOO_BIG, frame(BINARY, bytes(65536))),
    "length of 2 to the 32nd": (TOO_BIG, b"\x82\xff" + struct.pack("!Q", 1 << 32) + MASK),
    "length of 2 to the 63rd less 1": (TOO_BIG, b"\x82\xff\x7f" + b"\xff" * 7 + MASK),
    "length with its top bit set": (PROTOCOL_ERROR, b"\x82\xff\x80" + bytes(5) + b"\x01\0" + MASK),
    "length of all ones": (PROTOCOL_ERROR, b"\x82\xff" + b"\xff" * 8 + MASK),
    "0 in 16 bits": (PROTOCOL_ERROR, b"\x82\xfe\0\0" + MASK),
    "125 in 16 bits": (PROTOCOL_ERROR, b"\x82\xfe\0\x7d" + MASK + bytes(125)),
    "0 in 64 bits": (PROTOCOL_ERROR, b"\x82\xff" + bytes(8) + MASK),
    "125 in 64 bits": (PROTOCOL_ERROR, b"\x82\xff" + struct.pack("!Q", 125) + MASK + bytes(125)),
    "65,535 in 64 bits": (PROTOCOL_ERROR, b"\x82\xff" + struct.pack("!Q", 65535) + MASK),
    "text: a stray tail": (INVALID_PAYLOAD, frame(TEXT, b"a\x80b")),
    "text: overlong, 2 bytes": (INVALID_PAYLOAD, frame(TEXT, b"\xc0\xaf")),
    "text: overlong, 3 bytes": (INVALID_PAYLOAD, frame(TEXT, b"\xe0\x9f\xbf")),
    "text: overlong, 4 bytes": (INVALID_PAYLOAD, frame(TEXT, b"\xf0\x8f\xbf\xbf")),
    "text: a surrogate": (INVALID_PAYLOAD, frame(TEXT, b"\xed\xa0\x80")),
    "text: beyond U+10FFFF": (INVALID_PAYLOAD, frame(TEXT, b"\xf4\x90\x80\x80")),
    "text: 0xFF": (INVALID_PAYLOAD, frame(TEXT, b"\xff")),
    "text: cut within its last character": (INVALID_PAYLOAD, frame(TEXT, b"caf\xc3")),
    "text: cut, and long": (INVALID_PAYLOAD, frame(TEXT, b"x" * 5000 + b"\xf0\x9f\x98")),
    "close: half a code": (PROTOCOL_ERROR, frame(CLOSE, b"\x03")),
    "close: a reason that is not UTF-8": (INVALID_PAYLOAD, close_of(1000, b"\xc3\x28")),
    "close: a reason cut within a character": (INVALID_PAYLOAD, close_of(1000, b"\xe2\x82")),
}
BAD |= {
    f"opcode {opcode:#x}": (PROTOCOL_ERROR, frame(opcode, b"hello"))
    for opcode in (*range(0x3, 0x8), *range(0xB, 0x10))
}
BAD |= {
    f"{name} of 126 bytes": (PROTOCOL_ERROR, frame(opcode, bytes(126)))
    for name, opcode in (("ping", PING), ("pong", PONG), ("close", CLOSE))
}
BAD |= {
    f"{name}, 64-bit length": (PROTOCOL_ERROR, bytes((0x80 | opcode, 0xFF)) + bytes(8) + MASK)
    for name, opcode in (("ping", PING), ("pong", PONG), ("close", CLOSE))
}
BAD |= {
    f"{name}, FIN clear": (PROTOCOL_ERROR, frame(opcode, b"", fin=False))
    for name, opcode in (("ping", PING), ("pong", PONG), ("close", CLOSE))
}
BAD |= {
    f"close code {code}": (PROTOCOL_ERROR, close_frame(code))
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
}


def assert_dropped(harness: Harness, client: Client, code: int) -> None:
    """One close frame with the code and a reason, the end without a reset, one close callback."""
    harness.until(lambda: client.frames, client)
    if code == TOO_BIG and not client.ended:
        # The rest of the frame is waited for, but will not come.
        client.socket.shutdown(socket.SHUT_WR)
    harness.until(lambda: client.ended, client)
    assert [(received.opcode, received.code) for received in client.frames] == [(CLOSE, code)]
    reason = client.frames[0].payload[2:].decode()
    assert reason
    assert not client.reset
    assert client.body == b""
    conn = harness.opened[0][0]
    assert not conn.is_open
    assert harness.closed == [(conn, code, reason)]
    client.close()
    harness.until(lambda: harness.engine.connections == 0)
    assert harness.closed == [(conn, code, reason)]


@pytest.mark.parametrize(("code", "bad"), BAD.values(), ids=BAD)
def test_R5_a_bad_frame_is_answered_with_its_close_code(
    harness: Harness, log: LogRecords, code: int, bad: bytes
) -> None:
    client = harness.open()
    client.send(bad)
    assert_dropped(harness, client, code)
    assert harness.messages == []
    assert len(log.records) == 1
    assert str(code) in log.text


@pytest.mark.parametrize(("code", "bad"), BAD.values(), ids=BAD)
def test_R5_a_bad_frame_in_the_smallest_pieces_has_the_same_close_code(
    harness: Harness, code: int, bad: bytes
) -> None:
    client = harness.open()
    first = bad[:64]
    client.send_pieces([*in_pieces(first), bad[64:]])
    assert_dropped(harness, client, code)
    assert harness.messages == []


@pytest.mark.parametrize(("code", "bad"), BAD.values(), ids=BAD)
def test_R5_what_stands_before_a_bad_frame_counts_and_what_follows_it_does_not(
    harness: Harness, code: int, bad: bytes
) -> None:
    client = harness.open()
    client.send(frame(TEXT, b"before") + bad + frame(TEXT, b"after"))
    assert_dropped(harness, client, code)
    assert [payload for _, _, payload in harness.messages] == [b"before"]


@pytest.mark.parametrize(("code", "bad"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("together", [True, False])
def test_R5_what_answers_the_messages_before_a_bad_frame_goes_out_first(
    harness: Harness, code: int, bad: bytes, together: bool
) -> None:
    harness.message_callback = queue_message
    client = harness.open()
    before = [frame(TEXT, b"one"), frame(PING, b"two"), frame(BINARY, b"three")]
    if together:
        client.send(b"".join(before) + bad)
    else:
        client.send_pieces([*before, bad])
    harness.until(lambda: client.frames and client.frames[-1].opcode == CLOSE, client)
    *answers, last = client.frames
    assert sorted((each.opcode, each.payload) for each in answers) == [
        (TEXT, b"one"),
        (BINARY, b"three"),
        (PONG, b"two"),
    ]
    assert last.code == code


@pytest.mark.parametrize(("code", "bad"), BAD.values(), ids=BAD)
def test_R5_a_bad_frame_right_behind_the_request_is_dropped_after_the_101(
    harness: Harness, code: int, bad: bytes
) -> None:
    client = harness.connect()
    client.send(REQUEST + bad)
    assert_dropped(harness, client, code)
    assert client.status == 101


@pytest.mark.parametrize(
    "header", [b"\x82\xfe\xff\xff", b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00"]
)
def test_R5_a_payload_that_is_too_large_is_refused_before_it_comes(header: bytes) -> None:
    with Harness(buffer_size=65539) as harness:
        client = harness.open()
        client.send(header + MASK)
        assert_dropped(harness, client, TOO_BIG)


@pytest.mark.parametrize("buffer_size", [10, 11, 130, 131, 132, 4096, 65539, 65540])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_R5_R30_the_largest_payload_is_the_buffer_size_less_5(
    log: LogRecords, buffer_size: int, opcode: int
) -> None:
    payload = b"y" * (buffer_size - 5)
    with Harness(buffer_size=buffer_size) as harness:
        client = harness.open()
        client.send(frame(opcode, payload))
        harness.until(lambda: harness.messages)
        assert harness.messages == [(harness.opened[0][0], opcode == BINARY, payload)]
        assert harness.closed == []
        client.send(frame(opcode, payload + b"y"))
        assert_dropped(harness, client, TOO_BIG)
        assert len(harness.messages) == 1


def test_R5_control_frames_of_125_bytes_pass_the_smallest_buffer() -> None:
    with Harness(buffer_size=10) as harness:
        client = harness.open()
        client.send(frame(PONG, b"q" * 125) + frame(PING, b"p" * 125))
        harness.until(lambda: client.frames)
        assert [(f.opcode, f.payload) for f in client.frames] == [(PONG, b"p" * 125)]
        client.send(close_of(1000, b"r" * 123))
        harness.until(lambda: harness.closed)
        assert harness.closed[0][1:] == (1000, "r" * 123)


def test_R5_a_text_of_every_width_is_accepted(harness: Harness) -> None:
    text = "\0\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff".encode()
    client = harness.open()
    client.send(frame(TEXT, text))
    harness.until(lambda: harness.messages)
    assert harness.messages == [(harness.opened[0][0], False, text)]


def test_R5_a_drop_ends_a_frame_that_was_begun_and_leaves_out_the_others(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    for index in range(100):
        assert conn.pending == index
        queue_message(conn, True, bytes([index]) * 65535)
    harness.turn(20)
    assert conn.pending > 90, "the client does not read"
    client.send(frame(TEXT, b"\xff"))
    harness.turn(3)
    harness.until(lambda: client.ended, client)
    assert not client.reset
    assert client.body == b"", "no frame is cut off"
    *data, last = client.frames
    assert 0 < len(data) < 20
    assert [f.payload for f in data] == [bytes([i]) * 65535 for i in range(len(data))]
    assert (last.opcode, last.code) == (CLOSE, INVALID_PAYLOAD)
