"""What a client's bytes mean: RFC 6455 and RFC 7692 once more, as plainly as Python has it.

It looks at all bytes at once, where the engine sees them in whatever pieces they come.
"""

import codecs
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from fuzz.deflate import Reference

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
OPCODES: Final = {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}
PROTOCOL_ERROR, UNSUPPORTED, INVALID, TOO_BIG = 1002, 1003, 1007, 1009


class Rules(NamedTuple):
    """What the server accepts of this client."""

    rfc: bool
    message_max: int
    deflate: bool
    takeover: bool


@dataclass
class Meaning:
    """What a stream of frames says.

    Attributes:
        messages: Those that are complete: whether it is binary, and the payload.
        pings: The payloads of pings.
        faults: The codes of which one says why the client must be dropped; empty if it need not be.
        closed: The close frame: its code, 1005 if it has none.
    """

    messages: list[tuple[bool, bytes]] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)
    faults: set[int] = field(default_factory=set)
    closed: int | None = None


class Header(NamedTuple):
    """The header of a frame, and the payload as far as it has come."""

    fin: bool
    compressed: bool
    opcode: int
    length: int
    payload: bytes
    end: int

    @property
    def is_whole(self) -> bool:
        """Whether all of the payload has come."""
        return len(self.payload) == self.length


class Malformed(Exception):  # noqa: N818 - it says what the client is
    """A client that breaks the protocol."""

    def __init__(self, *codes: int) -> None:
        """Take the close codes that say so."""
        super().__init__(codes)
        self.codes = set(codes)


def require(holds: bool, *codes: int) -> None:
    """Raise `Malformed` if something does not hold."""
    if not holds:
        raise Malformed(*codes)


def xor(data: bytes, key: bytes) -> bytes:
    """Mask or unmask a payload that begins where the key begins."""
    size = len(data)
    stream = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(size)


def read_header(data: bytes, start: int, rules: Rules) -> Header | None:
    """Return the frame at an offset; None if its header is incomplete and may become right."""
    head = data[start : start + 14]
    if not head:
        return None
    opcode = head[0] & 0x0F
    is_control = opcode >= CLOSE
    compressed = bool(head[0] & 0x40)
    fin = bool(head[0] & 0x80)
    require(not head[0] & 0x30, PROTOCOL_ERROR)
    require(not compressed or (rules.deflate and opcode in (TEXT, BINARY)), PROTOCOL_ERROR)
    require(opcode in OPCODES, PROTOCOL_ERROR)
    require(fin or not is_control, PROTOCOL_ERROR)
    if len(head) < 2:
        return None
    require(bool(head[1] & 0x80), PROTOCOL_ERROR)
    length = head[1] & 0x7F
    require(length <= 125 or not is_control, PROTOCOL_ERROR)
    extended = {126: 2, 127: 8}.get(length, 0)
    given = head[2 : 2 + extended]
    if extended == 8:
        require(not given or given[0] < 0x80, PROTOCOL_ERROR)
        require(len(given) < 6 or any(given[:6]), PROTOCOL_ERROR)
    if len(given) < extended:
        return None
    if extended:
        length = int.from_bytes(given)
        require(length > 125, PROTOCOL_ERROR)
    begin = 2 + extended + 4
    if len(head) < begin:
        return None
    payload = data[start + begin : start + begin + length]
    return Header(
        fin,
        compressed,
        opcode,
        length,
        xor(payload, head[begin - 4 : begin]),
        start + begin + length,
    )


class Message:
    """A message under way."""

    def __init__(self, first: Header, rules: Rules, inflator: Reference) -> None:
        """Begin; the first frame's payload is not taken yet."""
        self.binary = first.opcode == BINARY
        self.compressed = first.compressed
        self.payload = b""
        self._max = rules.message_max
        self._inflator = inflator
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def require_room(self, length: int) -> None:
        """Look whether a frame of this length may come."""
        most = self._max - len(self.payload)
        if self.compressed:
            most = self._max + self._max // 256 + 64
        require(length <= most, TOO_BIG)

    def take(self, payload: bytes) -> None:
        """Take a part of a frame's payload."""
        if self.compressed:
            self._add(self._inflator.feed(payload, self._max - len(self.payload)))
        else:
            self._add(payload)

    def finish(self) -> None:
        """Take the end of the last frame."""
        if self.compressed:
            self._add(self._inflator.finish(self._max - len(self.payload)))
        if not self.binary:
            self._decode(b"", final=True)

    def _add(self, payload: bytes | None) -> None:
        if payload is None:
            raise Malformed(INVALID)
        self.payload += payload
        if not self.binary:
            self._decode(payload)
        # What follows may be malformed, which zlib may see at once.
        require(len(self.payload) <= self._max, TOO_BIG, *((INVALID,) if self.compressed else ()))

    def _decode(self, payload: bytes, *, final: bool = False) -> None:
        try:
            self._decoder.decode(payload, final)
        except UnicodeDecodeError:
            # What is decompressed in one go may be too large before it is looked at as text.
            raise Malformed(INVALID, *((TOO_BIG,) if self.compressed else ())) from None


def is_close_code(code: int) -> bool:
    """Whether RFC 6455 and the registry let an endpoint send it."""
    return code in {1000, 1001, 1002, 1003, *range(1007, 1015)} or 3000 <= code < 5000


def read_close(payload: bytes) -> int:
    """Return the code of a close frame."""
    if not payload:
        return 1005
    require(len(payload) > 1, PROTOCOL_ERROR)
    code = int.from_bytes(payload[:2])
    require(is_close_code(code), PROTOCOL_ERROR)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise Malformed(INVALID) from None
    return code


@lru_cache(maxsize=64)  # many clients say the same
def meaning_of(data: bytes, rules: Rules) -> Meaning:
    """Return what a client's bytes say, behind the head of its request."""
    meaning = Meaning()
    try:
        _read(data, rules, meaning)
    except Malformed as fault:
        meaning.faults = fault.codes
    return meaning


def _read(data: bytes, rules: Rules, meaning: Meaning) -> None:
    at = 0
    message: Message | None = None
    inflator = Reference()
    while (frame := read_header(data, at, rules)) is not None:
        at = frame.end
        if frame.opcode >= CLOSE:
            if not frame.is_whole:
                return
            if frame.opcode == PING:
                meaning.pings.append(frame.payload)
            elif frame.opcode == CLOSE:
                meaning.closed = read_close(frame.payload)
                return
            continue
        if not rules.rfc:
            require(frame.length <= rules.message_max, TOO_BIG)
            require(frame.opcode != CONTINUATION, PROTOCOL_ERROR)
            require(frame.fin, UNSUPPORTED)
        require((frame.opcode == CONTINUATION) == (message is not None), PROTOCOL_ERROR)
        if message is None:
            if not rules.takeover:
                inflator = Reference()
            message = Message(frame, rules, inflator)
        message.require_room(frame.length)
        message.take(frame.payload)
        if not frame.is_whole:
            return
        if frame.fin:
            message.finish()
            meaning.messages.append((message.binary, message.payload))
            message = None
