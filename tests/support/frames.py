"""A client's side of RFC 6455, written apart from dorrit's so that both can't be wrong alike."""

import struct
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="

REQUEST = (
    b"GET /chat HTTP/1.1\r\n"
    b"Host: server.example.com\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"\r\n"
)
"""The request of RFC 6455 section 1.2."""


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    reserved: int = 0,
) -> bytes:
    """A client's frame; `mask=None` leaves it unmasked."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    masked = 0x80 if mask is not None else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, masked | len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, masked | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, masked | 127, len(payload))
    if mask is None:
        return head + payload
    # As two numbers: byte by byte, a megabyte takes a tenth of a second.
    pattern = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked_payload = int.from_bytes(payload) ^ int.from_bytes(pattern)
    return head + mask + masked_payload.to_bytes(len(payload))


def in_pieces(data: bytes, size: int = 1) -> list[bytes]:
    """`data`, cut into pieces of `size` bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def close_frame(code: int, reason: str = "") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason.encode())


class Received(NamedTuple):
    """A frame of the server."""

    opcode: int
    payload: bytes
    fin: bool = True
    compressed: bool = False
    """RSV1: the frame begins a message that is compressed (RFC 7692)."""

    @property
    def code(self) -> int | None:
        """The close code of a close frame; None if it has none."""
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else None


def parse(data: bytes) -> tuple[list[Received], bytes]:
    """The complete frames in `data`, and what is left of an incomplete one."""
    frames = []
    while len(data) >= 2:
        length = data[1]
        assert length & 0x80 == 0, "a server does not mask"
        assert data[0] & 0x30 == 0, "no reserved bit is set"
        start = 2
        if length == 126:
            if len(data) < 4:
                break
            (length,) = struct.unpack("!H", data[2:4])
            assert length >= 126, "the shortest form"
            start = 4
        elif length == 127:
            if len(data) < 10:
                break
            (length,) = struct.unpack("!Q", data[2:10])
            assert length >= 65536, "the shortest form"
            start = 10
        if len(data) < start + length:
            break
        frames.append(
            Received(
                data[0] & 0xF,
                data[start : start + length],
                bool(data[0] & 0x80),
                bool(data[0] & 0x40),
            )
        )
        data = data[start + length :]
    return frames, data
