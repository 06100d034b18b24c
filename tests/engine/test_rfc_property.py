"""RFC 6455 section 5.4, RFC 7692: fragments and compressed messages mean what wsproto says.

As test_parsing_property, with its reference and streams, for engines that take all of RFC 6455.
wsproto's own permessage-deflate forgets that a message is compressed when a control frame comes
within it, and bounds nothing: `Inflating` takes its place in wsproto's decoder.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import (
    CloseReason,
    Frame,
    FrameDecoder,
    FrameProtocol,
    MessageDecoder,
    Opcode,
    ParseFailed,
    RsvBits,
)

from dorrit.protocol.deflate import RESTARTS_MAX
from tests.engine.test_parsing_property import (
    PONGS_MAX,
    Meaning,
    assert_meant,
    at,
    binaries,
    closes,
    finely,
    invalid,
    is_doomed,
    masks,
    read_close,
    texts,
    valid,
)
from tests.support.deflating import RSV1, TAIL, ZlibClient, offering
from tests.support.examples import examples
from tests.support.frames import BINARY, CONTINUATION, PING, PONG, REQUEST, TEXT, frame

# What the reference says


def too_big() -> ParseFailed:
    return ParseFailed("a message is too big", CloseReason.MESSAGE_TOO_BIG)


class Inflating(PerMessageDeflate):
    """permessage-deflate for wsproto's decoder of frames."""

    def __init__(self, message_max: int, *, takeover: bool) -> None:
        super().__init__()
        self._enabled = True
        self.message_max = message_max
        self.takeover = takeover
        self.compressed = False
        self.in_control = False
        self.length = 0
        self.restarts = 0
        self.stream = zlib.decompressobj(-15)

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self.in_control = opcode.iscontrol()
        if self.in_control or opcode is Opcode.CONTINUATION:
            return RsvBits(False, False, False)
        self.compressed = rsv.rsv1
        self.length = 0
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        if self.in_control or not self.compressed:
            return data
        try:
            inflated = b"".join(self._inflate(data))
        except (zlib.error, OverflowError):
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self.length += len(inflated)
        return inflated

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        """At most one byte more than there is room for."""
        room = self.message_max + 1 - self.length
        while room > 0:
            inflated = self.stream.decompress(data, room)
            room -= len(inflated)
            yield inflated
            if not self.stream.eof or room <= 0:
                return
            self.restarts += 1
            if self.restarts > RESTARTS_MAX:
                raise OverflowError
            data = self.stream.unused_data
            self.stream = zlib.decompressobj(-15)

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        if self.in_control or not fin or not self.compressed:
            return None
        rest = self.frame_inbound_payload_data(proto, TAIL)
        self.restarts = 0
        if not self.takeover:
            self.stream = zlib.decompressobj(-15)
        return rest


class BoundedDecoder(FrameDecoder):
    """wsproto's decoder of frames; fragments are looked at as soon as there is a header."""

    def __init__(self, message_max: int, inflating: Inflating | None) -> None:
        super().__init__(client=False, extensions=[] if inflating is None else [inflating])
        self.message_max = message_max
        self.inflating = inflating
        self.in_message = False
        self.length = 0

    def parse_header(self) -> bool:
        if not super().parse_header():
            return False
        assert self.header is not None
        opcode, fin, size = self.header.opcode, self.header.fin, self.header.payload_len
        if opcode.iscontrol():
            return True
        if (opcode is Opcode.CONTINUATION) is not self.in_message:
            raise ParseFailed("out of order", CloseReason.PROTOCOL_ERROR)
        if not self.in_message:
            self.length = 0
        most = self.message_max - self.length
        if self.inflating is not None and self.inflating.compressed:
            most = self.message_max + (self.message_max >> 8) + 64
        if size > most:
            raise too_big()
        self.length += size
        self.in_message = not fin
        return True


def meaning_of(stream: bytes, message_max: int, inflating: Inflating | None) -> Meaning:
    """What the stream means to the reference."""
    messages: list[tuple[bool, bytes]] = []
    pings: list[bytes] = []
    decoder = BoundedDecoder(message_max, inflating)
    assembler = MessageDecoder()
    decoder.receive_bytes(stream)
    message = b""
    try:
        while (part := decoder.process_buffer()) is not None:
            assert isinstance(part.payload, bytes)
            if part.opcode is Opcode.CLOSE:
                return Meaning(messages, pings, read_close(part.payload), None)
            if part.opcode is Opcode.PING:
                pings.append(part.payload)
            if part.opcode.iscontrol():
                continue
            message += part.payload
            if len(message) > message_max:
                # What comes before that may be wrong.
                good = part.payload[: len(part.payload) - (len(message) - message_max)]
                assembler.process_frame(Frame(part.opcode, good, False, False))
                raise too_big()
            taken = assembler.process_frame(part)
            if taken.message_finished:
                messages.append((taken.opcode is Opcode.BINARY, message))
                message = b""
    except ParseFailed as failure:
        return Meaning(messages, pings, None, failure.code)
    if decoder.header is None and is_doomed(
        bytes(decoder.buffer.buffer), [] if inflating is None else [Inflating(1, takeover=False)]
    ):
        return Meaning(messages, pings, None, CloseReason.PROTOCOL_ERROR)
    return Meaning(messages, pings, None, None)


# Streams


class Mode(NamedTuple):
    """How the engine is set up."""

    message_max: int
    deflate: bool
    takeover: bool

    def meaning(self, stream: bytes) -> Meaning:
        inflating = Inflating(self.message_max, takeover=self.takeover) if self.deflate else None
        return meaning_of(stream, self.message_max, inflating)

    def check(self, expected: Meaning, pieces: list[bytes]) -> None:
        takeover = "client" if self.takeover else "none"
        request = offering() if self.deflate else REQUEST
        deflate = {"deflate": self.deflate, "deflate_takeover": takeover}
        limits = {"max_message": self.message_max, **deflate}
        assert_meant(expected, pieces, request, rfc=True, **limits)


class Stream(NamedTuple):
    mode: Mode
    frames: list[bytes]
    cuts: list[int]

    @property
    def data(self) -> bytes:
        return b"".join(self.frames)


modes = st.builds(
    Mode,
    st.sampled_from([1, 5, 6, 125, 126, 1000, 65535, 65536, 70000]),
    st.booleans(),
    st.booleans(),
)


@st.composite
def message(draw: st.DrawFn, mode: Mode, client: ZlibClient, size_max: int) -> list[bytes]:
    """A message, whole or in fragments with control frames between them."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    content = draw((texts if opcode == TEXT else binaries)(size_max))
    change = draw(st.integers(0, 12))
    if change == 0:
        content += draw(st.binary(max_size=3))
    reserved = 0
    if mode.deflate and draw(st.integers(0, 2)):
        reserved = RSV1
        content = client.deflate(content)
        if change == 1 and content:
            index = draw(st.integers(0, min(len(content), 40) - 1))
            flipped = bytearray(content)
            flipped[index] ^= 1 << draw(st.integers(0, 7))
            content = bytes(flipped)
        elif change == 2:
            content += draw(st.binary(max_size=4))
        elif change == 3:
            final = zlib.compressobj(1, zlib.DEFLATED, -15)
            content = final.compress(b"final") + final.flush() + content
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=3)))
    fragments = at(cuts, content)
    made = []
    for index, piece in enumerate(fragments):
        last = index == len(fragments) - 1
        made.append(
            frame(
                CONTINUATION if index else opcode,
                piece,
                fin=last,
                mask=draw(masks),
                reserved=0 if index else reserved,
            )
        )
        if not last and draw(st.booleans()):
            made.append(frame(draw(st.sampled_from([PING, PONG])), draw(binaries(125))))
    return made


@st.composite
def wrong(draw: st.DrawFn, mode: Mode) -> bytes:
    """Something that is wrong, or may be where it stands."""
    payload = draw(st.binary(max_size=30))
    opcode = draw(st.sampled_from([TEXT, BINARY, CONTINUATION, PING]))
    match draw(st.integers(0, 5)):
        case 0:
            return frame(CONTINUATION, payload, fin=draw(st.booleans()), mask=draw(masks))
        case 1:
            return frame(opcode, payload, fin=draw(st.booleans()), mask=draw(masks))
        case 2:
            return frame(opcode, payload, reserved=RSV1, fin=draw(st.booleans()))
        case 3:
            length = draw(st.integers(mode.message_max - 3, mode.message_max + 400))
            return struct.pack("!BBQ", 0x80 | opcode, 0xFF, max(length, 0)) + bytes(4) + payload
        case 4:
            return frame(opcode, bytes(mode.message_max + draw(st.integers(0, 2))))
        case _:
            return draw(invalid(min(mode.message_max, 65535)))


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    mode = draw(modes)
    client = ZlibClient(out_takeover=mode.takeover, level=draw(st.sampled_from([0, 1, 9])))
    frames: list[bytes] = []
    for _ in range(draw(st.integers(0, 4))):
        more = draw(st.sampled_from([0, 0, 0, 1, 300]))
        frames += draw(message(mode, client, mode.message_max + more))
        if draw(st.integers(0, 3)) == 0:
            frames.append(draw(valid(min(mode.message_max, 200))))
    if draw(st.booleans()):
        place = draw(st.integers(0, len(frames)))
        frames.insert(place, draw(st.one_of(wrong(mode), closes())))
    change = draw(st.integers(0, 5))
    if change == 0 and frames:
        del frames[draw(st.integers(0, len(frames) - 1))]
    if change == 1 and frames:
        frames[-1] = frames[-1][: draw(st.integers(0, min(len(frames[-1]), 200)))]
    size = sum(map(len, frames))
    cuts = draw(st.lists(st.integers(0, size), max_size=10))
    return Stream(mode, frames, sorted(cuts))


LONG_AND_BAD = Stream(
    Mode(5, True, False),
    [frame(TEXT, ZlibClient().deflate(b"abc\xff and what is too much"), reserved=RSV1)],
    [],
)
"""Which of the two comes first must not depend on how it is cut."""


@given(stream=streams(), behind=valid(1))
@example(stream=LONG_AND_BAD, behind=b"")
@settings(
    max_examples=examples(500),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)
def test_a_stream_of_fragments_and_compressed_messages_means_the_same_however_it_is_cut(
    stream: Stream, behind: bytes
) -> None:
    data, mode = stream.data, stream.mode
    expected = mode.meaning(data)
    assume(len(expected.pings) < PONGS_MAX)
    mode.check(expected, [data])
    mode.check(expected, finely(stream.frames))
    mode.check(expected, at(stream.cuts, data))
    # With more behind it, in the same read and in the next one.
    longer = mode.meaning(data + behind)
    if expected.ended is not None or expected.dropped is not None:
        assert longer == expected, "nothing counts after the end"
    mode.check(longer, [data + behind])
    mode.check(longer, [data, behind])
