"""Compressed messages (RFC 7692), beside zlib.

The only outcomes allowed, of any bytes in any pieces:

- what zlib makes of the whole, if it is no larger than it may be;
- one byte more than it may be, if it is larger;
- ValueError, if zlib refuses it, or if it has more final blocks than a message may have. What is
  too large and malformed as well may be called either.

And whatever is compressed becomes itself again, for zlib with the window that was agreed on.
"""

import zlib
from typing import Final

from dorrit.protocol.deflate import RESTARTS_MAX, Deflate, Inflator, Terms, deflate_of
from fuzz.choices import Choices

TAIL: Final = b"\x00\x00\xff\xff"
ROOMS: Final = (1024, 0, 1, 5, 64, 65535, 200_000)


class Reference:
    """A decompressor that takes byte after byte, so that it knows what precedes a fault."""

    def __init__(self) -> None:
        """Begin without a past."""
        self._stream = zlib.decompressobj(-15)
        self._final_blocks = 0

    def feed(self, payload: bytes, room: int) -> bytes | None:
        """Return what bytes become, or the first `room` + 1 of it; None if it is malformed."""
        made = b""
        for byte in payload:
            piece = bytes((byte,))
            while piece:
                try:
                    made += self._stream.decompress(piece, room + 1 - len(made))
                except zlib.error:
                    return None
                if len(made) > room:
                    return made
                if not self._stream.eof:
                    break
                self._final_blocks += 1
                if self._final_blocks > RESTARTS_MAX:
                    return None
                piece = self._stream.unused_data
                self._stream = zlib.decompressobj(-15)
        return made

    def finish(self, room: int) -> bytes | None:
        """Return what is left of a message; as `feed`."""
        made = self.feed(TAIL, room)
        self._final_blocks = 0
        return made


def inflate(inflator: Inflator, pieces: list[bytes], room: int) -> bytes | None:
    """Return what an inflator makes of a message in pieces, or None."""
    made = b""
    try:
        for piece in pieces:
            made += inflator.inflate(piece, room - len(made))
            if len(made) > room:
                break
        else:
            made += inflator.finish(room - len(made))
    except ValueError:
        return None
    assert len(made) <= room + 1, "no more than one byte beyond the room"
    return made


def cut(choices: Choices, data: bytes) -> list[bytes]:
    """Return some data in pieces."""
    pieces = []
    size = choices.byte()
    while data:
        step = size or 1 + choices.number() % len(data)
        pieces.append(data[:step])
        data = data[step:]
    return pieces


def any_bytes(choices: Choices) -> None:
    """Messages of any bytes mean what zlib says that they mean."""
    takeover = choices.flag()
    room = choices.one_of(ROOMS)
    inflator, reference = Inflator(), Reference()
    for _ in range(1 + choices.byte() % 4):
        payload = choices.bytes(choices.number() or 65535)
        made = inflate(inflator, cut(choices, payload), room)
        expected = reference.feed(payload, room)
        if expected is not None and len(expected) <= room:
            rest = reference.finish(room - len(expected))
            expected = None if rest is None else expected + rest
        is_too_large = expected is not None and len(expected) > room
        # Whether zlib sees a fault that follows what is too large depends on how it gets it.
        assert made == expected or (is_too_large and made is None), (made, expected)
        if made is None or len(made) > room:
            return
        if not takeover:
            inflator, reference = Inflator(), Reference()


def there_and_back(choices: Choices) -> None:
    """What is compressed becomes itself again, for zlib and for an inflator."""
    terms = Terms(choices.flag(), choices.flag(), 9 + choices.byte() % 7, says_window=False)
    deflate: Deflate = deflate_of(terms)
    assert deflate.keeps_state == terms.server_takeover
    stream = zlib.decompressobj(-terms.server_max_window_bits)
    inflator = Inflator()
    for _ in range(1 + choices.byte() % 8):
        payload = choices.bytes(choices.number()) * (1 + choices.number() % 3000)
        payload = payload[:300_000]
        deflated = deflate.deflate(payload)
        assert deflated, "an empty payload would be no block at all"
        assert not deflated.endswith(TAIL)
        if not terms.server_takeover:
            stream = zlib.decompressobj(-terms.server_max_window_bits)
            inflator = Inflator()
        assert stream.decompress(deflated + TAIL) == payload, "what zlib makes of it"
        assert not stream.eof, "a final block would end the stream"
        room = len(payload) if choices.flag() else len(payload) + choices.byte()
        assert inflate(inflator, cut(choices, deflated), room) == payload


def fuzz_one(data: bytes) -> None:
    """Judge one input."""
    choices = Choices(data)
    if choices.flag():
        there_and_back(choices)
    else:
        any_bytes(choices)
