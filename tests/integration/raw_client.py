"""A client that sends exactly the bytes it is told to, right or wrong."""

import base64
import socket
import struct
from collections.abc import Sequence
from typing import Self
from urllib.parse import urlsplit

from tests.integration.processes import DEADLINE

FIN = 0x80
RSV1 = 0x40
MASK = 0x80
CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

KEY = base64.b64encode(bytes(range(16))).decode()
MASKING_KEY = bytes.fromhex("37fa213d")  # that of the example in RFC 6455 section 5.7

Fields = Sequence[tuple[str, str]]

UPGRADE_FIELDS: Fields = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)


def frame(first_byte: int, payload: bytes, *, masked: bool = True) -> bytes:
    """Return a frame (RFC 6455 section 5.2) that begins with ``first_byte``: FIN, RSV, opcode."""
    length = len(payload)
    mask = MASK if masked else 0
    if length < 126:
        head = struct.pack(">BB", first_byte, mask | length)
    elif length < 1 << 16:
        head = struct.pack(">BBH", first_byte, mask | 126, length)
    else:
        head = struct.pack(">BBQ", first_byte, mask | 127, length)
    if not masked:
        return head + payload
    keys = MASKING_KEY * (length // 4 + 1)
    return head + MASKING_KEY + bytes(byte ^ key for byte, key in zip(payload, keys, strict=False))


def without(fields: Fields, name: str) -> Fields:
    """Return header fields without those called ``name``."""
    return tuple(field for field in fields if field[0] != name)


class RawClient:
    """A TCP connection to the server of a WebSocket; a context manager."""

    def __init__(self, url: str) -> None:
        """Connect to the server of ``url`` and send nothing."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._authority = parts.netloc
        self._path = parts.path
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), DEADLINE)
        self._received = b""
        self._head = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def send_request(
        self, fields: Fields = UPGRADE_FIELDS, *, method: str = "GET", body: bytes = b""
    ) -> None:
        """Send a request with Host and ``fields``, and ``body`` behind it."""
        lines = [f"{method} {self._path} HTTP/1.1", f"Host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in fields]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def request(
        self, fields: Fields = UPGRADE_FIELDS, *, method: str = "GET", body: bytes = b""
    ) -> int:
        """Send a request, as `send_request` does, and return the status of the answer."""
        self.send_request(fields, method=method, body=body)
        return self.receive_status()

    def receive_status(self) -> int:
        """Return the status of the next answer; its fields are to be had from `field`."""
        while b"\r\n\r\n" not in self._received:
            self._receive_more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        self._head = head.decode("latin-1")
        version, status, _ = self._head.split(" ", 2)
        assert version == "HTTP/1.1"
        return int(status)

    def field(self, name: str) -> str | None:
        """Return a header field of the answer."""
        for line in self._head.split("\r\n")[1:]:
            found, _, value = line.partition(":")
            if found.lower() == name.lower():
                return value.strip()
        return None

    def receive_content(self) -> bytes:
        """Return the content of the answer, which must have a Content-Length."""
        return self._take(int(self.field("Content-Length") or ""))

    def receive_frame(self) -> tuple[int, bytes]:
        """Return the next frame's first byte and its payload."""
        first_byte, length = self._take(2)
        if length == 126:
            (length,) = struct.unpack(">H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._take(8))
        return first_byte, self._take(length)

    def receive_close_code(self) -> int:
        """Return the code of the close frame that comes next."""
        first_byte, payload = self.receive_frame()
        assert first_byte == FIN | CLOSE, (first_byte, payload)
        (code,) = struct.unpack(">H", payload[:2])
        return int(code)

    def receive_end(self) -> None:
        """Wait until the server closes.

        Raises:
            AssertionError: It sent more first.
            ConnectionResetError: It reset the connection instead.
        """
        more = self._received or self._socket.recv(65_536)
        assert more == b""

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive_more()
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def _receive_more(self) -> None:
        data = self._socket.recv(65_536)
        assert data, f"the server closed after {self._received!r}"
        self._received += data
