"""A client of the soak: what it sends comes back whole and in order, or the soak has failed."""

import zlib
from pathlib import Path
from random import Random

from tests.support.deflating import RSV1, ZlibClient
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    REQUEST,
    TEXT,
    Received,
    frame,
)
from tests.support.servers import AnsweringClient

LARGEST = 1 << 20
"""Bytes of the largest message that a server takes by default."""

EDGES = (0, 1, 125, 126, 127, 4096, 16384, 65534, 65535, 65536, 100_000, LARGEST)
"""Sizes beside which something changes: the header, how it is written, whether it is taken."""

USUAL = (1000, 1000, 1000, 5000, 70_000)

WORDS = "what a client says, größer wird es mit Umlauten, 水 and 🐟 in between; "


def random_size(random: Random) -> int:
    """Mostly a small message, seldom the largest."""
    if random.random() < 0.1:
        return random.choice(EDGES)
    return random.randrange(random.choice(USUAL))


def random_message(random: Random, size: int) -> str | bytes:
    """A text or a binary message of so many bytes."""
    if random.random() < 0.5:
        return random.randbytes(size)
    words = WORDS[random.randrange(20) :].encode()
    text = (words * (size // len(words) + 1))[:size].decode(errors="ignore")
    return text + "." * (size - len(text.encode()))


def request_for(path: str, *, deflate: bool = False) -> bytes:
    """A request with a path, and with an offer to compress."""
    made = REQUEST.replace(b"/chat", path.encode())
    if deflate:
        made = made[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    return made


class Closed(AssertionError):  # noqa: N818 - it is told apart where it may come
    """The server has closed the connection where a message was to come."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Guest(AnsweringClient):
    """A client that takes messages apart and together.

    Attributes:
        pongs: The payloads of the pongs that have come and not been expected yet.
    """

    def __init__(
        self, path: Path, random: Random, where: str = "/", *, deflate: bool = False
    ) -> None:
        super().__init__(path, request_for(where, deflate=deflate))
        self._random = random
        self.pongs: list[bytes] = []
        self._zlib: ZlibClient | None = None
        if b"permessage-deflate" in self.head:
            self._zlib = ZlibClient(
                out_takeover=b"client_no_context_takeover" not in self.head,
                in_takeover=b"server_no_context_takeover" not in self.head,
                level=1,
            )

    @property
    def has_past(self) -> bool:
        """Whether its messages refer to earlier ones: they are compressed with takeover."""
        return self._zlib is not None and self._zlib.out_takeover

    def frames_of(self, message: str | bytes) -> bytes:
        """A message as it is sent: whole or in fragments, compressed or not."""
        random = self._random
        opcode = TEXT if isinstance(message, str) else BINARY
        payload = message.encode() if isinstance(message, str) else message
        reserved = 0
        if self._zlib is not None and random.random() < 0.8:
            payload, reserved = self._zlib.deflate(payload), RSV1
        if random.random() < 0.7:
            return frame(opcode, payload, reserved=reserved, mask=random.randbytes(4))
        cuts = sorted(random.randrange(len(payload) + 1) for _ in range(random.randrange(1, 6)))
        made = b""
        for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(payload)], strict=True)):
            made += frame(
                CONTINUATION if number else opcode,
                payload[start:end],
                fin=number == len(cuts),
                reserved=0 if number else reserved,
                mask=random.randbytes(4),
            )
            if random.random() < 0.2:
                made += frame(PONG, b"nobody asked")
        return made

    def say(self, message: str | bytes) -> None:
        """Send a message."""
        self.socket.sendall(self.frames_of(message))

    def ping(self, payload: bytes) -> None:
        self.socket.sendall(frame(PING, payload))

    def hear(self) -> str | bytes:
        """The next message."""
        frames: list[Received] = []
        while True:
            received = self.receive()
            if received.opcode == PONG:
                self.pongs.append(received.payload)
            elif received.opcode == CLOSE:
                raise Closed(received.code)
            else:
                assert received.opcode in {TEXT, BINARY, CONTINUATION}, received
                frames.append(received)
                if received.fin:
                    return self._whole(frames)

    def _whole(self, frames: list[Received]) -> str | bytes:
        assert frames[0].opcode != CONTINUATION
        if self._zlib is None:
            assert not frames[0].compressed
            payload = b"".join(received.payload for received in frames)
        else:
            try:
                [(_, payload)] = self._zlib.messages(frames)
            except zlib.error as error:
                raise AssertionError("what came can't be decompressed") from error
        return payload.decode() if frames[0].opcode == TEXT else payload

    def expect(self, message: str | bytes) -> None:
        """The next message must be this one."""
        heard = self.hear()
        if heard != message:
            raise AssertionError(f"{_brief(message)} was said, and {_brief(heard)} was heard")

    def command(self, words: str) -> str:
        """Have the server do something, and return what it says."""
        self.say(words)
        answer = self.hear()
        assert isinstance(answer, str), answer
        return answer

    def expect_end(self, code: int) -> None:
        """Nothing but the end comes, with this code."""
        found = self.close_code()
        assert found == code, f"it was closed with {found} instead of {code}"
        assert self.ended()
        self.socket.close()


def _brief(message: str | bytes) -> str:
    return f"{message[:60]!r} ({len(message)} of {type(message).__name__})"
