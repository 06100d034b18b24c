"""A client of the fuzzer: what it is to send, what it has sent, and what it was sent."""

import re
import socket
import zlib
from dataclasses import dataclass, field
from typing import Final

from fuzz.reference import (
    BINARY,
    CLOSE,
    CONTINUATION,
    OPCODES,
    PING,
    PONG,
    TEXT,
    is_close_code,
)

RESPONSE: Final = re.compile(
    rb"HTTP/1\.1 ([1-5]\d\d) [A-Za-z \-]*\r\n((?:[A-Za-z\-]+: [ -~]*\r\n)+)\r\n"
)
TAIL: Final = b"\x00\x00\xff\xff"


@dataclass
class Heard:
    """What the server has sent, checked as RFC 6455 has a client check it.

    Attributes:
        status: The HTTP status; None if the response is not complete.
        messages: Those that are complete: whether it is binary, and the payload.
        pongs: Their payloads.
        closed: The code of the close frame, 1005 if it has none; None: there is none.
    """

    status: int | None = None
    fields: dict[str, str] = field(default_factory=dict)
    messages: list[tuple[bool, bytes]] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    closed: int | None = None


class Client:
    """One end of a socket pair."""

    def __init__(self, end: socket.socket) -> None:
        """Take the client's end."""
        end.setblocking(False)
        self._socket = end
        self.outbox = bytearray()
        self.sent = b""
        self.received = b""
        self.ended = False
        """The server sends nothing more."""
        self.gone = False
        """We have closed our end."""
        self.was_reset = False
        self._compressor = zlib.compressobj(1, zlib.DEFLATED, -15)

    def compress(self, payload: bytes, *, takeover: bool) -> bytes:
        """Return a payload as RFC 7692 has it."""
        if not takeover:
            self._compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
        made = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return made.removesuffix(TAIL) or b"\0"

    def push(self, count: int) -> None:
        """Send some bytes of the outbox, as many as the kernel takes."""
        piece = bytes(self.outbox[:count])
        if self.gone or not piece:
            return
        try:
            taken = self._socket.send(piece)
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self.was_reset = True
            return
        self.sent += piece[:taken]
        del self.outbox[:taken]

    def pull(self, count: int) -> bool:
        """Read up to so many bytes; return whether there were any."""
        if self.gone or self.ended:
            return False
        try:
            data = self._socket.recv(count)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            self.ended = self.was_reset = True
            return False
        self.ended = not data
        self.received += data
        return bool(data)

    def end_sending(self) -> None:
        """Say that nothing more comes."""
        if not (self.gone or self.ended or self.was_reset):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Be gone."""
        self.gone = True
        self._socket.close()

    def heard(self, fragment_max: int) -> Heard:
        """Return what the server has sent.

        Raises:
            AssertionError: No server may send that.
        """
        heard = Heard()
        response = RESPONSE.match(self.received)
        if response is None:
            assert b"\r\n\r\n" not in self.received, self.received
            assert self.received[:9] == b"HTTP/1.1 "[: len(self.received)], self.received
            return heard
        heard.status = int(response[1])
        lines = response[2].decode().splitlines()
        heard.fields = dict(line.split(": ", 1) for line in lines)
        rest = self.received[response.end() :]
        if heard.status == 101:
            _Frames(heard, fragment_max).read(rest)
            return heard
        size = int(heard.fields["Content-Length"])
        assert len(rest) <= size
        assert len(rest) == size or not self.ended or self.was_reset or heard.status == 405
        return heard


class _Frames:
    """Reads a server's frames."""

    def __init__(self, heard: Heard, fragment_max: int) -> None:
        self.heard = heard
        self.fragment_max = fragment_max
        words = heard.fields.get("Sec-WebSocket-Extensions", "").split("; ")
        self.deflate = words[0] == "permessage-deflate"
        self.takeover = "server_no_context_takeover" not in words
        bits = [word.partition("=")[2] for word in words if word.startswith("server_max_window")]
        self.bits = int(bits[0]) if bits else 15
        self.stream = zlib.decompressobj(-self.bits)
        self.opcode: int | None = None
        self.compressed = False
        self.payload = b""

    def read(self, data: bytes) -> None:
        at = 0
        while len(data) - at >= 2:
            first, length = data[at], data[at + 1]
            at += 2
            extended = {126: 2, 127: 8}.get(length, 0)
            if len(data) - at < extended:
                return
            assert length < 0x80, "a server does not mask"
            if extended:
                length = int.from_bytes(data[at : at + extended])
                assert length > (125 if extended == 2 else 0xFFFF), "the shortest form"
                at += extended
            assert self.heard.closed is None, "nothing follows a close frame"
            self.check(first, length)
            if len(data) - at < length:
                return
            self.take(first, data[at : at + length])
            at += length

    def check(self, first: int, length: int) -> None:
        opcode, fin, compressed = first & 0x0F, bool(first & 0x80), bool(first & 0x40)
        assert opcode in OPCODES
        assert not first & 0x30
        if opcode >= CLOSE:
            assert fin
            assert not compressed
            assert length <= 125
        else:
            assert length <= self.fragment_max
            assert (opcode == CONTINUATION) == (self.opcode is not None)
            assert not compressed or (self.deflate and opcode != CONTINUATION)

    def take(self, first: int, payload: bytes) -> None:
        opcode = first & 0x0F
        if opcode == CLOSE:
            assert len(payload) != 1
            self.heard.closed = int.from_bytes(payload[:2]) if payload else 1005
            assert not payload or is_close_code(self.heard.closed)
            payload[2:].decode()
        elif opcode == PONG:
            self.heard.pongs.append(payload)
        elif opcode == PING:
            assert payload == b""
        else:
            if opcode != CONTINUATION:
                self.opcode, self.payload, self.compressed = opcode, b"", bool(first & 0x40)
            self.payload += payload
            if first & 0x80:
                self.end_message()

    def end_message(self) -> None:
        payload = self.payload
        if self.compressed:
            if not self.takeover:
                self.stream = zlib.decompressobj(-self.bits)
            payload = self.stream.decompress(payload + TAIL)
            assert not self.stream.eof
        if self.opcode == TEXT:
            payload.decode()
        self.heard.messages.append((self.opcode == BINARY, payload))
        self.opcode = None
