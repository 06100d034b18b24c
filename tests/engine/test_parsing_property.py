"""R4, R5, R6: any stream of bytes means to dorrit what it means to wsproto, however it is cut.

wsproto is an independent implementation of RFC 6455. Where dorrit differs from it by design stands
in `StricterDecoder`, `is_doomed` and `assert_same`, and nowhere else.
"""

import struct
from codecs import getincrementaldecoder
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from wsproto.extensions import Extension
from wsproto.frame_protocol import (
    CloseReason,
    Frame,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    ParseFailed,
)

from tests.support.examples import examples
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
    in_pieces,
)
from tests.support.harness import Harness

PONGS_MAX = 16
"""From the 17th on, pongs that wait are coalesced."""


# What the reference says


class Meaning(NamedTuple):
    """What a stream means: what is delivered and answered, and how it ends."""

    messages: list[tuple[bool, bytes]]
    pings: list[bytes]
    ended: tuple[int, str] | None
    """Code and reason of the client's close frame."""
    dropped: int | None
    """Close code that the client is dropped with."""


class StricterDecoder(FrameDecoder):
    """wsproto's decoder of frames, with the rules of R5 that RFC 6455 does not have."""

    def __init__(self, payload_max: int) -> None:
        super().__init__(client=False)
        self.payload_max = payload_max

    def parse_header(self) -> bool:
        if not super().parse_header():
            return False
        assert self.header is not None
        if self.header.opcode is Opcode.CONTINUATION:
            raise ParseFailed("nothing is ever left to be continued", CloseReason.PROTOCOL_ERROR)
        if not self.header.fin:
            raise ParseFailed("fragments are not accepted", CloseReason.UNSUPPORTED_DATA)
        if self.header.payload_len > self.payload_max and not self.header.opcode.iscontrol():
            raise ParseFailed("R5 bounds the payload", CloseReason.MESSAGE_TOO_BIG)
        return True


def is_doomed(header: bytes, extensions: Sequence[Extension] = ()) -> bool:
    """Whether an incomplete header is wrong already: wsproto looks once it is whole, dorrit before.

    It is, when wsproto refuses the best that can be made of it.
    """
    if not header:
        return False
    # A short masked frame; else the largest length that has its top bit clear.
    rest = b"\x80" if len(header) == 1 else b"\x7f" if len(header) == 2 else b""
    decoder = FrameDecoder(client=False, extensions=list(extensions))
    decoder.receive_bytes((header + rest).ljust(14, b"\xff"))
    try:
        decoder.parse_header()
    except ParseFailed:
        return True
    return False


def read_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame, or ParseFailed."""
    # 1014 was registered after wsproto's list was written.
    known = payload.replace(b"\x03\xf6", b"\x03\xf5", 1) if payload[:2] == b"\x03\xf6" else payload
    protocol = FrameProtocol(client=False, extensions=[])
    content = protocol._process_close(Frame(Opcode.CLOSE, known, True, True)).payload
    assert isinstance(content, tuple)
    code, reason = content
    return (1014 if known != payload else int(code)), reason


def meaning_of(stream: bytes, payload_max: int) -> Meaning:
    """What the stream means to the reference."""
    messages: list[tuple[bool, bytes]] = []
    pings: list[bytes] = []
    decoder = StricterDecoder(payload_max)
    decoder.receive_bytes(stream)
    try:
        while (part := decoder.process_buffer()) is not None and part.frame_finished:
            assert isinstance(part.payload, bytes)
            if part.opcode is Opcode.CLOSE:
                return Meaning(messages, pings, read_close(part.payload), None)
            if part.opcode is Opcode.PING:
                pings.append(part.payload)
            elif part.opcode is not Opcode.PONG:
                if part.opcode is Opcode.TEXT:
                    part.payload.decode()
                messages.append((part.opcode is Opcode.BINARY, part.payload))
        if part is not None and part.opcode is Opcode.TEXT:
            # It is incomplete; what has come of it may be wrong already.
            assert isinstance(part.payload, bytes)
            getincrementaldecoder("utf-8")().decode(part.payload)
    except UnicodeDecodeError:
        return Meaning(messages, pings, None, CloseReason.INVALID_FRAME_PAYLOAD_DATA)
    except ParseFailed as failure:
        return Meaning(messages, pings, None, failure.code)
    if decoder.header is None and is_doomed(bytes(decoder.buffer.buffer)):
        return Meaning(messages, pings, None, CloseReason.PROTOCOL_ERROR)
    return Meaning(messages, pings, None, None)


# What dorrit does


def assert_same(expected: Meaning, pieces: list[bytes], payload_max: int) -> None:
    """Send the pieces, one for each read, and compare what happens with what is expected."""
    assert_meant(expected, pieces, REQUEST, buffer_size=payload_max + 5)


def assert_meant(
    expected: Meaning, pieces: list[bytes], request: bytes, **engine_settings: Any
) -> None:
    """The same, with any request and settings of the engine."""
    with Harness(**engine_settings) as harness:
        client = harness.connect()
        # The first piece comes with the request.
        client.send_pieces([request + pieces[0], *pieces[1:]])
        harness.settle()
        assert client.status == 101
        assert not client.reset
        assert [(binary, data) for _, binary, data in harness.messages] == expected.messages
        assert client.body == b"", "whole frames only"
        pongs = [Received(PONG, payload) for payload in expected.pings]
        ended = [(code, reason) for _, code, reason in harness.closed]
        if expected.dropped is not None:
            # A drop says why at once: pongs that still waited are left out.
            *before, last = client.frames
            assert before == pongs[: len(before)]
            assert (last.opcode, last.code) == (CLOSE, expected.dropped)
            assert ended == [(expected.dropped, last.payload[2:].decode())]
        elif expected.ended is not None:
            code, _ = expected.ended
            answer = b"" if code == CloseReason.NO_STATUS_RCVD else struct.pack("!H", code)
            assert client.frames == [*pongs, Received(CLOSE, answer)]
            assert ended == [expected.ended]
        else:
            assert client.frames == pongs
            assert ended == []
        if expected.dropped is None:
            assert client.ended == bool(ended)


# Streams

masks = st.one_of(st.just(bytes(4)), st.binary(min_size=4, max_size=4))
limits = st.sampled_from([5, 6, 124, 125, 126, 127, 1000, 65534, 65535])
short = st.integers(0, 5)
edges = st.sampled_from([124, 125, 126, 127, 128, 999, 1000, 1001, 65533, 65534, 65535, 65536])
patterns = st.sampled_from(["x", "é", "€", "\U0001f600", "a\u0300", "\0"])


@st.composite
def texts(draw: st.DrawFn, size_max: int) -> bytes:
    """UTF-8 of at most, and often of just about, `size_max` bytes."""
    if draw(st.booleans()):
        return _cut(draw(st.text(max_size=40)).encode(), size_max)
    length = min(draw(st.one_of(short, edges)), size_max)
    return _cut(draw(patterns).encode() * length, length)


def _cut(text: bytes, size: int) -> bytes:
    """Whole characters of at most `size` bytes."""
    return text[:size].decode(errors="ignore").encode()


@st.composite
def binaries(draw: st.DrawFn, size_max: int) -> bytes:
    if draw(st.booleans()):
        return draw(st.binary(max_size=min(size_max, 40)))
    length = min(draw(st.one_of(short, edges)), size_max)
    return (draw(st.binary(min_size=1, max_size=3)) * length)[:length]


@st.composite
def valid(draw: st.DrawFn, payload_max: int) -> bytes:
    """A frame that goes on."""
    opcode = draw(st.sampled_from([TEXT, TEXT, BINARY, BINARY, PING, PONG]))
    if opcode == TEXT:
        payload = draw(texts(payload_max))
    elif opcode == BINARY:
        payload = draw(binaries(payload_max))
    else:
        payload = draw(binaries(125))
    return frame(opcode, payload, mask=draw(masks))


valid_codes = [*range(1000, 1004), *range(1007, 1015), 3000, 4999]
codes = st.one_of(
    st.sampled_from(valid_codes),
    st.sampled_from(valid_codes),
    st.integers(990, 1020),
    st.integers(0, 65535),
).map(struct.Struct("!H").pack)


@st.composite
def closes(draw: st.DrawFn) -> bytes:
    """A close frame, valid or not."""
    reasons = st.one_of(texts(123), texts(123), st.binary(max_size=9))
    payload = draw(st.one_of(st.binary(max_size=1), st.builds(bytes.__add__, codes, reasons)))
    return frame(CLOSE, payload, mask=draw(masks))


@st.composite
def invalid(draw: st.DrawFn, payload_max: int) -> bytes:
    """Something that is wrong, or most probably so."""
    opcode = draw(st.sampled_from([TEXT, BINARY, PING, PONG, CLOSE]))
    payload = draw(binaries(min(payload_max, 200)))
    mask = draw(masks)
    match draw(st.integers(0, 11)):
        case 0:
            return frame(opcode, payload, mask=mask, reserved=draw(st.integers(1, 7)))
        case 1:
            return frame(draw(st.integers(0, 15)), payload, mask=mask)
        case 2:
            return frame(opcode, payload, mask=None)
        case 3:
            return frame(opcode, payload, mask=mask, fin=False)
        case 4:
            return frame(CONTINUATION, payload, mask=mask, fin=draw(st.booleans()))
        case 5:
            return frame(BINARY, bytes(payload_max + draw(st.integers(1, 3))), mask=mask)
        case 6:
            length = draw(st.integers(0, 130))
            return struct.pack("!BBH", 0x80 | opcode, 0xFE, length) + mask + payload
        case 7:
            length = draw(st.one_of(st.integers(0, 70000), st.integers(0, 2**64 - 1)))
            return struct.pack("!BBQ", 0x80 | opcode, 0xFF, length) + mask + payload
        case 8:
            return draw(st.binary(min_size=1, max_size=40))
        case 9:
            return frame(draw(st.sampled_from([TEXT, BINARY])), payload, mask=mask, fin=False)
        case _:
            return frame(TEXT, draw(st.binary(max_size=min(payload_max, 12))), mask=mask)


class Stream(NamedTuple):
    payload_max: int
    frames: list[bytes]
    """As they were made; a bit may be wrong, and the end may be missing."""
    cuts: list[int]

    @property
    def data(self) -> bytes:
        return b"".join(self.frames)


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    payload_max = draw(limits)
    frames = draw(st.lists(valid(payload_max), max_size=6))
    if draw(st.booleans()):
        frames.append(draw(st.one_of(invalid(payload_max), closes())))
        frames += draw(st.lists(valid(payload_max), max_size=2))
    change = draw(st.integers(0, 5))
    if change == 0 and frames:
        # A bit of a header, most of the time.
        index = draw(st.integers(0, len(frames) - 1))
        at = draw(st.integers(0, min(len(frames[index]), 15) - 1))
        changed = bytearray(frames[index])
        changed[at] ^= 1 << draw(st.integers(0, 7))
        frames[index] = bytes(changed)
    if change == 1 and frames:
        frames[-1] = frames[-1][: draw(st.integers(0, min(len(frames[-1]), 200)))]
    size = sum(map(len, frames))
    cuts = draw(st.lists(st.integers(0, size), max_size=10))
    return Stream(payload_max, frames, sorted(cuts))


def finely(frames: list[bytes]) -> list[bytes]:
    """Byte by byte; of what is long, only its beginning and its end."""
    pieces: list[bytes] = []
    for made in frames:
        if len(made) <= 600:
            pieces += in_pieces(made)
        else:
            pieces += in_pieces(made[:20]) + in_pieces(made[20:-20], 5003) + in_pieces(made[-20:])
    return pieces or [b""]


def at(cuts: list[int], data: bytes) -> list[bytes]:
    return [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]


@given(stream=streams(), behind=valid(5))
@settings(
    max_examples=examples(1000),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_R5_R6_a_stream_means_what_it_means_to_wsproto_however_it_is_cut(
    stream: Stream, behind: bytes
) -> None:
    data, payload_max = stream.data, stream.payload_max
    expected = meaning_of(data, payload_max)
    assume(len(expected.pings) <= PONGS_MAX)
    assert_same(expected, [data], payload_max)
    assert_same(expected, finely(stream.frames), payload_max)
    assert_same(expected, at(stream.cuts, data), payload_max)
    # With more behind it, in the same read and in the next one.
    longer = meaning_of(data + behind, payload_max)
    if expected.ended is not None or expected.dropped is not None:
        assert longer == expected, "nothing counts after the end"
    assert_same(longer, [data + behind], payload_max)
    assert_same(longer, [data, behind], payload_max)


@pytest.mark.parametrize("start", [b"\x81", b"\x82\xfe", b"\x82\xff\0\0\0\0\0", b"\x89\xfd"])
def test_the_reference_does_not_doom_a_header_that_can_be_completed(start: bytes) -> None:
    assert not is_doomed(start)
    assert meaning_of(start, 65535) == Meaning([], [], None, None)


@pytest.mark.parametrize(
    "start", [b"\xc1", b"\x83", b"\x81\x00", b"\x89\xfe", b"\x82\xff\x80", b"\x82\xff" + bytes(6)]
)
def test_R5_a_header_that_cannot_be_completed_is_refused_without_its_rest(start: bytes) -> None:
    assert is_doomed(start)
    assert_same(Meaning([], [], None, 1002), [start], 65535)
    assert_same(Meaning([], [], None, 1002), in_pieces(start), 65535)
