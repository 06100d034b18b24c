"""A client's side of RFC 7692, with zlib alone, written apart from dorrit's."""

import zlib
from collections.abc import Iterable

from tests.support.frames import CLOSE, CONTINUATION, REQUEST, Received, frame

TAIL = b"\x00\x00\xff\xff"
RSV1 = 4


def offering(offer: str = "permessage-deflate") -> bytes:
    """The request of a client that offers an extension."""
    return REQUEST[:-2] + b"Sec-WebSocket-Extensions: " + offer.encode() + b"\r\n\r\n"


def deflated(payload: bytes, level: int = 6) -> bytes:
    """A message as it is sent, without any past."""
    return ZlibClient(level=level).deflate(payload)


def deflated_frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A frame that begins a compressed message of this content."""
    return frame(opcode, deflated(payload), reserved=RSV1, fin=fin)


class ZlibClient:
    """Compresses and decompresses messages.

    Args:
        out_takeover: Its own messages refer to earlier ones.
        in_takeover: The server's may.
        in_bits: The server's window, as the power of two: to refer to more is an error.
    """

    def __init__(
        self,
        *,
        out_takeover: bool = False,
        in_takeover: bool = False,
        in_bits: int = 15,
        level: int = 6,
    ) -> None:
        self.out_takeover = out_takeover
        self.in_takeover = in_takeover
        self.in_bits = in_bits
        self.level = level
        self._out = self._compressor()
        self._in = zlib.decompressobj(-in_bits)

    def _compressor(self) -> "zlib._Compress":
        return zlib.compressobj(self.level, zlib.DEFLATED, -15)

    def deflate(self, payload: bytes) -> bytes:
        if not self.out_takeover:
            self._out = self._compressor()
        made = self._out.compress(payload) + self._out.flush(zlib.Z_SYNC_FLUSH)
        assert not made or made.endswith(TAIL)
        return made[:-4] or b"\0"

    def inflate(self, content: bytes) -> bytes:
        if not self.in_takeover:
            self._in = zlib.decompressobj(-self.in_bits)
        return self._in.decompress(content + TAIL)

    def messages(self, frames: Iterable[Received]) -> list[tuple[int, bytes]]:
        """The messages in these frames, reassembled; control frames are left out."""
        messages = []
        opcode, compressed, content = 0, False, b""
        for received in frames:
            if received.opcode >= CLOSE:
                continue
            if received.opcode == CONTINUATION:
                assert not received.compressed, "only the first fragment may say so"
            else:
                opcode, compressed, content = received.opcode, received.compressed, b""
            content += received.payload
            if received.fin:
                messages.append((opcode, self.inflate(content) if compressed else content))
        return messages
